"""The Hub's rate limits, kept before they are met: all threads of a batch ask one rate limiter before each request.

The Hub says with every answer how much is left: `RateLimit: "api";r=312;t=55` (312 more requests in the 55 seconds that
are left of the window) and `RateLimit-Policy: ...;q=500;w=300` (of 500 in 300 seconds). It counts API calls and file
resolves apart. A server that says nothing, a CDN say, is not limited.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from inspector.errors import RateLimited
from inspector.hub.client.requests import TOO_MANY_REQUESTS, RateLimiter, Report, retry_after
from inspector.hub.client.urls import host, origin

WINDOW_SECONDS = 300.0
"""The Hub's window: who waits as long has a full allowance again."""
MARGIN_SECONDS = 1.0
"""Added to each wait: the Hub counts whole seconds, and its clock is not ours."""
NAMELESS_SECONDS = 15.0
"""How long to wait after a 429 that does not say."""
LOOK_AGAIN_SECONDS = 0.5
"""A waiting thread looks this often whether the wait is over, the batch was ended or another answer knew better."""

Key = tuple[object, str]
"""A host and what is limited there: "api", "resolvers", or whatever else the server calls it."""


@dataclass
class _Bucket:
    """What is left of one limit.

    Attributes:
        remaining: requests that may be sent before `until`; None where no answer has said.
        until: when the window ends (`time.monotonic`), None where no answer has said.
        quota: requests of a whole window, None where no answer has said.
        in_flight: sent and not answered: the server may not have counted them yet.
        blocked_until: after a 429, the end of the wait that it named, whatever other answers say is left.
    """

    remaining: int | None = None
    until: float | None = None
    quota: int | None = None
    in_flight: int = 0
    blocked_until: float = 0.0

    def wait(self, now: float) -> float:
        """Seconds until a request may be sent; 0.0: now."""
        if now < self.blocked_until:
            return self.blocked_until - now
        if self.until is not None and now >= self.until:
            self.until = None
            self.remaining = None if self.quota is None else max(self.quota - self.in_flight, 1)
        if self.remaining is None or self.remaining > 0:
            return 0.0
        if self.until is not None:
            return self.until - now
        # The answers under way will tell when the window ends; without any, one has to be asked for.
        return LOOK_AGAIN_SECONDS if self.in_flight else 0.0

    def learn(self, remaining: int, until: float, quota: int | None) -> None:
        """An answer said what was left when the server wrote it."""
        left = max(remaining - self.in_flight, 0)
        newer_window = self.until is None or until > self.until + 2 * MARGIN_SECONDS
        # Answers overtake each other: within a window what is left never grows.
        if self.remaining is None or (newer_window and left > self.remaining):
            self.remaining = left
        else:
            self.remaining = min(self.remaining, left)
        self.until = until
        self.quota = self.quota if quota is None else quota


class HubRateLimiter(RateLimiter):
    """Lets requests through as fast as the Hub allows. Shared by all threads; one for each account.

    Args:
        budget: seconds that one request waits at most, all its waits together; then it fails with RateLimited.

    Attributes:
        requests: how many were let through.
    """

    def __init__(self, budget: float = WINDOW_SECONDS) -> None:
        self.budget = budget
        self.requests = 0
        self._buckets: dict[Key, _Bucket] = {}
        self._names: dict[Key, str] = {}
        self._lock = threading.Lock()
        self._closed = False

    @contextmanager
    def turn(self, url: str, pause: Callable[[float], None]) -> Iterator[Report]:
        """Waits until a request may be sent; what is called within tells how it was answered. See `RateLimiter`.

        Raises:
            RateLimited: the wait is longer than the budget, or the rate limiter was closed.
        """
        bucket = self._enter(url, pause)
        answered = False

        def report(status: int, headers: Mapping[str, str]) -> None:
            nonlocal answered
            answered = True
            self.leave(bucket, url, status, headers)

        try:
            yield report
        finally:
            if not answered:
                self.give_up(bucket)

    def retries(self, url: str, started: float) -> bool:
        """Whether a request that got a 429 waits for its next turn: it does within the budget.

        Args:
            started: when the request was sent first (`time.monotonic`).
        """
        with self._lock:
            now = time.monotonic()
            wait = max(self._bucket(url).wait(now), MARGIN_SECONDS)
            return not self._closed and now - started + wait <= self.budget + 2 * MARGIN_SECONDS

    def waiting(self) -> float:
        """Seconds until the fullest limit lifts, 0.0 where none holds anything up."""
        with self._lock:
            now = time.monotonic()
            return max((bucket.wait(now) for bucket in self._buckets.values()), default=0.0)

    def close(self) -> None:
        """Nobody waits any longer: those who do get RateLimited."""
        self._closed = True

    def enter(self, url: str) -> tuple[_Bucket | None, float]:
        """What a request counts for from now on, if it may be sent; else None and the seconds to wait."""
        with self._lock:
            bucket = self._bucket(url)
            seconds = bucket.wait(time.monotonic())
            if self._closed or seconds > 0:
                return None, seconds
            self.requests += 1
            bucket.in_flight += 1
            if bucket.remaining is not None:
                bucket.remaining = max(bucket.remaining - 1, 0)
            return bucket, 0.0

    def give_up(self, entered: _Bucket) -> None:
        """A request that had entered brought no answer."""
        with self._lock:
            entered.in_flight -= 1

    def _enter(self, url: str, pause: Callable[[float], None]) -> _Bucket:
        started = time.monotonic()
        while True:
            bucket, seconds = self.enter(url)
            if bucket is not None:
                return bucket
            if self._closed or time.monotonic() - started + seconds > self.budget + 2 * MARGIN_SECONDS:
                raise limited(url, seconds)
            pause(min(seconds, LOOK_AGAIN_SECONDS))

    def leave(self, entered: _Bucket, url: str, status: int, headers: Mapping[str, str]) -> None:
        """A request that had entered was answered."""
        from huggingface_hub.utils._http import parse_ratelimit_headers

        limit = parse_ratelimit_headers(headers)
        with self._lock:
            now = time.monotonic()
            entered.in_flight -= 1
            if limit is not None:
                self._names[limit_key(url)] = limit.resource_type
                until = now + limit.reset_in_seconds + MARGIN_SECONDS
                self._bucket(url).learn(limit.remaining, until, limit.limit)
            if status == TOO_MANY_REQUESTS:
                named = retry_after(headers)
                wait = (NAMELESS_SECONDS if named is None else named) + MARGIN_SECONDS
                bucket = self._bucket(url)
                bucket.blocked_until = max(bucket.blocked_until, now + wait)

    def _bucket(self, url: str) -> _Bucket:
        where, kind = key = limit_key(url)
        return self._buckets.setdefault((where, self._names.get(key, kind)), _Bucket())


def limit_key(url: str) -> Key:
    """The host, and the limit that a request counts for by its path, until an answer calls it otherwise."""
    path = urlsplit(url).path
    if path.startswith("/api/resolve-cache/"):
        return origin(url), "resolve-cache"
    return origin(url), "api" if path.startswith("/api/") else "resolvers"


def limited(url: str, seconds: float) -> RateLimited:
    """The error of a request that would have to wait too long."""
    return RateLimited(
        f"{host(url)} takes no more requests from you for now", f"Try again in {max(seconds, 1):.0f} seconds."
    )
