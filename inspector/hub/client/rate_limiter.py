"""The rate limiter that each request asks whether it may be sent: one that limits nothing, until a caller with many
requests sets up its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

Report = Callable[[int, Mapping[str, str]], None]
"""Told the status and the headers of the answer, as soon as they are there."""

TOO_MANY_REQUESTS = 429


class RateLimiter:
    """Lets every request pass at once, and leaves a 429 to the client, which waits once and not for long."""

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
