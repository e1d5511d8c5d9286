"""One request to the Hub, its redirects and retries: huggingface_hub's session within limits of our own."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from inspector.errors import HubError, HubUnreachable, InspectError, UsageError
from inspector.hub.checkpoint import Network
from inspector.hub.client.response import Answer, Request, Stopped, read_answer
from inspector.hub.client.settings import Settings, check_token
from inspector.hub.client.urls import host, origin, redirect_target
from inspector.hub.client.workers import Task, timed_out

MAX_REDIRECTS = 5
"""The Hub needs one, two for a renamed repo."""
REDIRECTS = frozenset({301, 302, 303, 307, 308})
RETRY_STATUS = frozenset({408, 500, 502, 503, 504})
"""What passes by itself, as in huggingface_hub. 429 is handled apart: it says how long to wait."""
TOO_MANY_REQUESTS = 429
BACKOFF_SECONDS = (0.25, 0.5)
"""Waits before the retries: two, as a command has somebody waiting for it."""
FLOOR_BYTES_PER_SECOND = 16 * 1024
"""Slower than this on average, after the time-out, counts as hung: a server that drips keeps a program for ever."""

Report = Callable[[int, Mapping[str, str]], None]
"""Told the status and the headers of the answer, as soon as they are there."""


class RateLimiter:
    """What each request asks whether it may be sent. This one lets all pass at once and leaves a 429 to the client,
    which waits once and not for long; a caller with many requests sets up its own."""

    @contextmanager
    def turn(self, url: str, pause: Callable[[float], None]) -> Iterator[Report]:  # noqa: ARG002
        """Entered before a request (not one with its redirects) is sent, left once its answer's headers are there.

        Args:
            url: what is asked for.
            pause: waits some seconds, which do not count as the server's; raises where nobody wants the answer.
        """
        yield _ignore

    def retries(self, url: str, started: float) -> bool:  # noqa: ARG002
        """Whether a request that got a 429, sent first at `started` (`time.monotonic`), takes another turn."""
        return False


def _ignore(_status: int, _headers: Mapping[str, str]) -> None:
    """Nobody wants to know."""


class Meter:
    """Counts what one model's answer costs, over all threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests = 0
        self._bytes = 0

    def add(self, *, requests: int = 0, bytes: int = 0) -> None:
        with self._lock:
            self._requests += requests
            self._bytes += bytes

    def network(self, *, cached: bool = False) -> Network:
        with self._lock:
            return Network(self._requests, self._bytes, cached)


class Client:
    """Sends requests. Safe to share between threads."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.rate_limiter = RateLimiter()
        self._headers: dict[str, str] | None = None
        self._lock = threading.Lock()
        # All that a request needs is imported here, on the caller's thread: on a worker's it would take time from the
        # request, and go on beside what the caller imports while it waits, each held up by the other.
        import encodings.idna  # noqa: F401  # a host's name to bytes

        from huggingface_hub.utils._http import get_session

        if sys.platform == "emscripten":
            from inspector.hub.client.browser import use_fetch

            use_fetch()
        if not isinstance(settings.token, str) and settings.token is not False:
            import huggingface_hub.utils._headers  # noqa: F401  # the saved token
        get_session()

    @property
    def has_token(self) -> bool:
        """Whether requests carry a token."""
        return "authorization" in self._own_headers()

    def fetch(self, request: Request, task: Task[Any], meter: Meter) -> Answer:
        """The answer, whatever its status, on a worker's thread. A passing failure is tried again, a time-out is not.

        Raises:
            HubError: no answer, or one that makes no sense.
        """
        import httpx2

        timeout = self.settings.timeout
        clock = _Clock(task, timeout, meter)
        started = time.monotonic()
        waited_for_limit = False
        for pause in (*BACKOFF_SECONDS, None):
            try:
                answer = self._follow(request, clock)
                while answer.status == TOO_MANY_REQUESTS and self.rate_limiter.retries(answer.url, started):
                    answer = self._follow(request, clock)
                while answer.status == TOO_MANY_REQUESTS and not waited_for_limit:
                    waited_for_limit = True
                    seconds = retry_after(answer.headers)
                    if seconds is None or seconds > timeout:
                        break
                    clock.pause(seconds)
                    answer = self._follow(request, clock)
                if answer.status not in RETRY_STATUS or pause is None:
                    return answer
            except (httpx2.NetworkError, httpx2.RemoteProtocolError, Stopped) as error:
                if isinstance(error, httpx2.ConnectError) or pause is None:
                    raise unreachable(error, self.settings, request.url) from None
            except InspectError:
                raise
            except Exception as error:  # whatever else the client can raise: a bad URL, a proxy, a certificate
                raise unreachable(error, self.settings, request.url) from None
            clock.pause(pause)
        raise AssertionError("the last attempt returns or raises")

    def _follow(self, request: Request, clock: _Clock) -> Answer:
        url = request.url
        commit: str | None = None
        size: int | None = None
        for _ in range(MAX_REDIRECTS + 1):
            answer = self._send(request, url, clock)
            if origin(url) == origin(self.settings.endpoint):
                if commit is not None and answer.commit not in (None, commit):
                    raise HubError(f"{host(url)} names two commits for one file", "Try again.")
                commit = commit or answer.commit
            size = size or answer.size
            location = answer.headers.get("location")
            arrived = answer.status not in REDIRECTS or location is None
            if location is None or arrived or (request.until_commit and commit is not None):
                return Answer(answer.status, url, answer.headers, answer.body, commit, size, answer.cut)
            url = redirect_target(url, location)
        raise HubError(f"{host(request.url)} redirects in circles")

    def _send(self, request: Request, url: str, clock: _Clock) -> Answer:
        """One request and its answer, without redirects."""
        import httpx2
        from huggingface_hub.utils._http import get_session

        session = get_session()
        with self.rate_limiter.turn(url, clock.pause) as report:
            sent = session.build_request(
                request.method, url, headers=self._headers_for(request, url), timeout=httpx2.Timeout(clock.left())
            )
            clock.sent()
            response = session.send(sent, stream=True, follow_redirects=False)
            report(response.status_code, response.headers)
        try:
            return read_answer(request, url, response, clock.received)
        finally:
            response.close()

    def _headers_for(self, request: Request, url: str) -> dict[str, str]:
        headers = self._own_headers()
        if origin(url) != origin(self.settings.endpoint):
            headers = {key: value for key, value in headers.items() if key != "authorization"}
        if request.last is not None:
            return {**headers, "accept-encoding": "identity", "range": f"bytes={request.first}-{request.last}"}
        return {**headers, "accept-encoding": "gzip"}

    def _own_headers(self) -> dict[str, str]:
        """Token and user agent. Not `build_hf_headers`: it may ask the Hub for a list of agents, once a day."""
        with self._lock:
            if self._headers is None:
                from inspector.version import __version__

                headers = {"user-agent": user_agent(__version__)}
                token = saved_token(self.settings.token)
                if token is not None:
                    headers["authorization"] = f"Bearer {token}"
                self._headers = headers
            return self._headers


class _Clock:
    """The time that one task's requests may take: the time-out, or as long as its bytes need at the slowest pace."""

    def __init__(self, task: Task[Any], timeout: float, meter: Meter) -> None:
        self._task = task
        self._meter = meter
        self._timeout = timeout
        self._start = time.monotonic()
        self._bytes = 0
        task.give_up_at = self._start + timeout

    def left(self) -> float:
        """Seconds to wait for the next byte, at most the time-out.

        Raises:
            HubUnreachable: none left.
        """
        left = self._task.give_up_at - time.monotonic()
        if left <= 0 or self._task.cancelled.is_set():
            raise timed_out(self._timeout)
        return min(left, self._timeout)

    def sent(self) -> None:
        self._meter.add(requests=1)

    def received(self, count: int) -> None:
        """Bytes came. Raises HubUnreachable if they come too slowly, or nobody wants them any more."""
        self._meter.add(bytes=count)
        self._bytes += count
        self._task.give_up_at = self._start + max(self._timeout, self._bytes / FLOOR_BYTES_PER_SECOND)
        self.left()

    def pause(self, seconds: float) -> None:
        """Waits before another try; the wait does not count."""
        begun = time.monotonic()
        self._task.give_up_at += seconds
        self._task.cancelled.wait(seconds)
        waited = time.monotonic() - begun
        self._start += waited
        self._task.give_up_at += max(waited - seconds, 0.0)
        self.left()


def user_agent(version: str) -> str:
    """Who asks: this library, huggingface_hub and Python with their versions."""
    import platform

    import huggingface_hub
    from huggingface_hub import constants

    parts = [f"llm-inspect/{version}", f"hf_hub/{huggingface_hub.__version__}", f"python/{platform.python_version()}"]
    if constants.HF_HUB_USER_AGENT_ORIGIN:
        parts.append(f"origin/{constants.HF_HUB_USER_AGENT_ORIGIN}")
    return "; ".join(parts)


def saved_token(token: str | bool | None) -> str | None:
    """The token to send: the one given, or what huggingface_hub finds (HF_TOKEN, the saved login).

    Raises:
        UsageError: True was given and there is none, or it is no token.
    """
    if token is False or isinstance(token, str):
        return token or None
    from huggingface_hub.errors import LocalTokenNotFoundError
    from huggingface_hub.utils._headers import get_token_to_send

    try:
        found = get_token_to_send(token)
    except LocalTokenNotFoundError:
        raise UsageError("there is no saved login on this machine", "Run `hf auth login`, or set HF_TOKEN.") from None
    except Exception as error:  # an expired login that cannot be renewed, say
        raise HubError(f"the saved login cannot be used ({type(error).__name__})", "Run `hf auth login`.") from None
    if found is not None:
        check_token(found)
    return found


def retry_after(headers: Mapping[str, str]) -> int | None:
    """Seconds until the rate limit lifts, None where the server does not say."""
    from huggingface_hub.utils._http import parse_ratelimit_headers

    plain = headers.get("retry-after", "").strip()
    if plain.isascii() and plain.isdigit() and len(plain) < 10:
        return int(plain)
    limit = parse_ratelimit_headers(headers)
    return limit.reset_in_seconds if limit is not None and limit.remaining == 0 else None


def unreachable(error: Exception, settings: Settings, url: str) -> HubError:
    """A failure of the network in one line, without the URL (a signed one gives access) or a header."""
    import httpx2
    from huggingface_hub.errors import OfflineModeIsEnabled

    where = host(url)
    if isinstance(error, httpx2.TimeoutException):
        return timed_out(settings.timeout)
    if isinstance(error, OfflineModeIsEnabled):
        return HubUnreachable("HF_HUB_OFFLINE is set: the Hub was not asked", "Unset it, or use --offline.")
    if isinstance(error, Stopped):
        return HubUnreachable(f"{where} broke off in the middle of an answer", "Try again.")
    hint = "Check the connection, HF_ENDPOINT and the proxy settings, or use --offline."
    if isinstance(error, (httpx2.ConnectError, httpx2.ProxyError)):
        return HubUnreachable(f"cannot connect to {where}: {_reason(error)}", hint)
    if isinstance(error, (httpx2.NetworkError, httpx2.RemoteProtocolError)):
        return HubUnreachable(f"{where} broke the connection", "Try again.")
    return HubError(f"{where} could not be asked ({type(error).__name__})", hint)


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    return "".join(c for c in text if c.isprintable())[:120] or type(error).__name__
