"""A weights file on the Hub as a `RangeReader`: every read is one ranged request, all of them of one commit's file."""

from __future__ import annotations

from collections.abc import Callable

from inspector.errors import FileMissing, HubError, UnreadableModel
from inspector.hub.client.response import Answer, Request
from inspector.hub.client.urls import host, origin

MAX_WHOLE_BYTES = 64 * 1024 * 1024
"""Of a server that ignores ranges and sends the file from its start, this much is read to get at a part."""


class RemoteFile:
    """A file of a repo at a commit.

    Args:
        fetch: sends a request, on the worker's thread that reads this file.
        check: raises the error that an answer stands for.
        url: the file's, pinned to the commit.
        where: names the file in errors.
        size: the file's size in bytes, where it is known; else it is asked for.
    """

    def __init__(
        self,
        fetch: Callable[[Request], Answer],
        check: Callable[[Answer], None],
        url: str,
        where: str,
        size: int | None,
    ) -> None:
        self._fetch = fetch
        self._check = check
        self._url = url
        self._address = url
        self._where = where
        self._size = size
        self.answer: Answer | None = None
        """The first answer: it names the commit."""

    @property
    def size(self) -> int:
        """Raises an InspectError where nobody says it."""
        if self._size is None:
            answer = self._get(0, 1)
            if answer.size is None:
                raise UnreadableModel(f"the server does not say how large {self._where} is", "Download it first.")
            self._size = answer.size
        return self._size

    def read(self, offset: int, length: int) -> bytes:
        answer = self._get(offset, length)
        if self._size is not None and answer.size not in (None, self._size):
            raise HubError(f"{self._where} changed while it was read", "Try again.")
        return answer.body

    def _get(self, offset: int, length: int) -> Answer:
        answer = self._fetch(self._request(self._address, offset, length))
        if not answer.ok and self._address != self._url:  # a signed address lives for a while only
            self._address = self._url
            answer = self._fetch(self._request(self._url, offset, length))
        if answer.absent:
            raise FileMissing(f"{self._where} is not there", "The upload may be under way or incomplete.")
        if answer.status == 416:
            raise UnreadableModel(f"{self._where} is empty, or shorter than the list of files says")
        self._check(answer)
        self.answer = self.answer or answer
        # The host that the Hub redirects to keeps a file under its content: the same address is the same file.
        if origin(answer.url) != origin(self._url):
            self._address = answer.url
        return answer

    def _request(self, url: str, offset: int, length: int) -> Request:
        last = offset + length - 1

        def needed(_: bytearray) -> int:
            if last >= MAX_WHOLE_BYTES:
                raise HubError(
                    f"{host(url)} sends files whole only, and {self._where} is too large for that",
                    "Download it and give its path.",
                )
            return last + 1

        return Request("GET", url, first=offset, last=last, want=needed)
