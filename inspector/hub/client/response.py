"""What is asked of the Hub and what comes back, the body read as it streams and cut to what was asked for."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from inspector.errors import HubError
from inspector.hub.client.urls import host
from inspector.hub.repo_id import is_commit

if TYPE_CHECKING:
    import httpx2

SMALL_BODY_BYTES = 64 * 1024
"""Of redirects and refusals this much is read, so that the connection can be used again."""

_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)")
_GZIP_WINDOW = 16 + zlib.MAX_WBITS


UNPACKED_BYTES = 1024 * 1024
"""At a time: what comes out is copied to the body, and a bomb's 64 MB in one piece would be there twice."""


class Stopped(Exception):
    """The body ended before its end; another try may bring all of it."""


class Request(NamedTuple):
    """What to ask for.

    Attributes:
        limit: bytes of the (decoded) body to read at most, where no range is asked for.
        first: with `last`, the range of bytes to ask for, both ends included.
        want: given the file's bytes so far, how many of them are needed: tells when to stop if a server ignores the
            range and sends the whole file.
        until_commit: follow redirects only until an answer names the commit.
    """

    method: str
    url: str
    limit: int = SMALL_BODY_BYTES
    first: int = 0
    last: int | None = None
    want: Callable[[bytearray], int] | None = None
    until_commit: bool = False


class Answer(NamedTuple):
    """What came back.

    Attributes:
        url: the last one, after redirects.
        headers: of the last answer, keys in lower case.
        body: what was asked for, of a range too where the server sent the whole file.
        commit: X-Repo-Commit of the Hub's own answers, None where they carry none.
        size: bytes of the whole file, None where nobody said.
        cut: whether there was more than the limit; the body is empty then.
    """

    status: int
    url: str
    headers: Mapping[str, str]
    body: bytes
    commit: str | None = None
    size: int | None = None
    cut: bool = False

    @property
    def ok(self) -> bool:
        return self.status in (200, 206)

    @property
    def code(self) -> str | None:
        """What the Hub says is wrong: RepoNotFound, GatedRepo, RevisionNotFound, EntryNotFound, ..."""
        return self.headers.get("x-error-code")

    @property
    def absent(self) -> bool:
        """Whether the repo and the revision are there, as far as one can tell, and the file is not."""
        return self.status == 404 and self.code in (None, "EntryNotFound")

    @property
    def is_page(self) -> bool:
        """Whether this is a page for people: of a proxy, or a login."""
        return "html" in self.headers.get("content-type", "").lower()


def read_answer(request: Request, url: str, response: httpx2.Response, received: Callable[[int], None]) -> Answer:
    """Reads a response that streams.

    Args:
        received: is told how many bytes came, each time; raises when it takes too long.

    Raises:
        Stopped: it broke off.
        HubError: another range than asked for, or an encoding that was not asked for.
    """
    headers = {key.lower(): value for key, value in response.headers.items()}
    status = response.status_code
    size = _number(headers.get("x-linked-size"))
    part: int | None = None
    if status == 206:
        part, total = _check_range(request, url, headers)
        size = total if total is not None else size
    elif status == 200 and size is None and "content-encoding" not in headers:
        size = _number(headers.get("content-length"))
    body, cut = b"", False
    if request.method != "HEAD":
        body, cut = _read(request, url, response, received, part)
    commit = headers.get("x-repo-commit")
    return Answer(status, url, headers, body, commit if is_commit(commit) else None, size, cut)


def _read(
    request: Request, url: str, response: httpx2.Response, received: Callable[[int], None], part: int | None
) -> tuple[bytes, bool]:
    """The body and whether it was cut. `part`: the bytes of the range that is answered, None for a whole file."""
    status = response.status_code
    ranged = request.last is not None and status == 200
    skip = request.first if ranged else 0
    decode = _Decoder(response.headers.get("content-encoding", ""), url)
    body = bytearray()

    def needed() -> int:
        if part is not None:
            return part
        if ranged and request.last is not None:
            return request.want(body) if request.want else request.last + 1
        return request.limit if status == 200 else SMALL_BODY_BYTES

    for chunk in response.iter_raw():
        received(len(chunk))
        packed, more = chunk, True
        while more and len(body) <= needed():
            # One byte more than needed tells that there is more.
            most = min(needed() + 1 - len(body), UNPACKED_BYTES)
            piece = decode(packed, most)
            body += piece
            packed, more = b"", decode.limited and len(piece) == most
        if ranged or part is not None:
            if len(body) >= needed():
                return bytes(body[skip : needed()]), False
        elif len(body) > needed():
            return b"", True
    if part is not None and len(body) < part:
        raise Stopped
    if not decode.complete and status == 200:
        raise Stopped
    return bytes(body[skip:]), False


class _Decoder:
    """Undoes gzip, never more than what is asked for: a few bytes can unpack to gigabytes."""

    def __init__(self, encoding: str, url: str) -> None:
        encoding = encoding.strip().lower()
        if encoding not in ("", "identity", "gzip", "x-gzip"):
            raise HubError(f"{host(url)} answers in an encoding that was not asked for")
        self._gzip = zlib.decompressobj(_GZIP_WINDOW) if "gzip" in encoding else None

    def __call__(self, chunk: bytes, most: int) -> bytes:
        if self._gzip is None:
            return chunk
        try:
            return self._gzip.decompress(self._gzip.unconsumed_tail + chunk, most)
        except zlib.error:
            raise Stopped from None

    @property
    def limited(self) -> bool:
        """Whether pieces are as long as asked for at most, and what is left comes with the next."""
        return self._gzip is not None

    @property
    def complete(self) -> bool:
        return self._gzip is None or self._gzip.eof


def _check_range(request: Request, url: str, headers: Mapping[str, str]) -> tuple[int, int | None]:
    """Bytes of the part that is answered, and of the whole file (None if not said)."""
    match = _CONTENT_RANGE.fullmatch(headers.get("content-range", "").strip())
    if request.last is None or match is None or headers.get("content-encoding", "identity") != "identity":
        raise HubError(f"{host(url)} answers with a range that makes no sense")
    first, last = int(match[1]), int(match[2])
    total = None if match[3] == "*" else int(match[3])
    expected = request.last if total is None else min(request.last, total - 1)
    if first != request.first or not first <= last <= request.last:
        raise HubError(f"{host(url)} answers with another range than it was asked for")
    if last < expected and total is not None:
        raise Stopped
    return last - first + 1, total


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 20 else None
