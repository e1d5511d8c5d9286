"""The Hub asked from within a browser (Pyodide): its own fetch, which knows no proxies, no threads and no redirects."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx2
from huggingface_hub.utils._http import set_client_factory

_RANGE = re.compile(r"bytes=(\d+)-\d+")


def use_fetch() -> None:
    """Has huggingface_hub's session send its requests through the browser."""
    set_client_factory(lambda: httpx2.Client(transport=FetchTransport(), trust_env=False))


class FetchTransport(httpx2.HTTPTransport):
    """httpx2's own transport for browsers, for what a page may send to another site and see of its answer.

    It waits by JavaScript Promise Integration, or where a browser lacks that by a synchronous XMLHttpRequest.
    """

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Sends the range and nothing else: for any other header a browser first asks whether it may (CORS), also the
        servers that the Hub redirects to. It follows redirects, and unpacks what is packed."""
        asked = httpx2.Request(request.method, request.url, extensions=request.extensions)
        asked.headers = httpx2.Headers({"range": request.headers["range"]} if "range" in request.headers else {})
        answer = super().handle_request(asked)
        headers = dict(answer.headers) | {"content-encoding": "identity"}
        if answer.status_code == 206 and "content-range" not in headers:
            headers["content-range"] = _range_of(asked, answer.read())
        return httpx2.Response(answer.status_code, headers=headers, stream=_Body(answer))


def _range_of(request: httpx2.Request, body: bytes) -> str:
    """The range of an answer whose server does not let pages see it: from where it was asked for, of a file of unknown
    size."""
    first = _RANGE.fullmatch(request.headers.get("range", ""))
    return f"bytes {first[1]}-{int(first[1]) + len(body) - 1}/*" if first else ""


class _Body(httpx2.SyncByteStream):
    """The body of an answer, read already or as it comes."""

    def __init__(self, answer: httpx2.Response) -> None:
        self._answer = answer

    def __iter__(self) -> Iterator[bytes]:
        if self._answer.is_stream_consumed:
            yield self._answer.content
        else:
            yield from self._answer.iter_raw()

    def close(self) -> None:
        """Lets go of the rest."""
        self._answer.close()
