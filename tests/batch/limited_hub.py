"""A loopback Hub that limits requests as the real one does: counts each resource in windows, tells in headers, 429s."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from typing import Any

from tests.hub_server import LoopbackHub, Seen, _Handler


class Limits:
    """Windows of `seconds`, `quotas` by resource; `over` counts the requests that were one too many."""

    def __init__(self, seconds: float, quotas: dict[str, int], *, tell: bool = True) -> None:
        self.seconds = seconds
        self.quotas = quotas
        self.tell = tell
        self.over: Counter[str] = Counter()
        self.windows: list[Counter[str]] = [Counter()]
        self._ends = 0.0
        self._lock = threading.Lock()

    def count(self, resource: str) -> tuple[bool, dict[str, str]]:
        """Whether a request is within the limit, and the headers that tell what is left."""
        with self._lock:
            now = time.monotonic()
            if now >= self._ends:
                self._ends = now + self.seconds
                self.windows.append(Counter())
            used = self.windows[-1]
            used[resource] += 1
            quota, left = self.quotas[resource], self.quotas[resource] - used[resource]
            allowed = left >= 0
            self.over[resource] += not allowed
            reset = math.ceil(self._ends - now)
            if not self.tell:
                return allowed, {} if allowed else {"Retry-After": str(reset)}
            return allowed, {
                "RateLimit": f'"{resource}";r={max(left, 0)};t={reset}',
                "RateLimit-Policy": f'"fixed window";"{resource}";q={quota};w={math.ceil(self.seconds)}',
            }


def limit(hub: LoopbackHub, limits: Limits) -> None:
    """Makes a running Hub (not its CDN) keep these limits."""

    class Limited(_Handler):
        def do_GET(self) -> None:
            plain_api = self.path.startswith("/api/") and not self.path.startswith("/api/resolve-cache/")
            allowed, self.told = limits.count("api" if plain_api else "resolvers")
            if allowed:
                super().do_GET()
                return
            headers = {key.lower(): value for key, value in self.headers.items()}
            self.seen, self.fault, self.kind = Seen("hub", self.command, self.path, headers), None, ""
            self.server.hub.record(self.seen)
            self._send(429, {}, b"")

        do_HEAD = do_GET

        def _send(self, status: int, headers: dict[str, str], body: Any, size: int = -1) -> None:
            super()._send(status, {**headers, **self.told}, body, size)

    hub._hub.RequestHandlerClass = Limited
