"""The server of `llm-inspect web`: the page's files and its answers, for this machine's browser alone.

Whoever asks must name this host, must be no other site's page, and must have the key that stands in the address that
was printed: another program, or a page that a browser has open, gets nothing.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
from anyio.to_thread import run_sync
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from inspector.web.answer import answer
from inspector.web.form import form
from inspector.web.models import Models
from inspector.web.names import known_models, search_hub

STATIC = (Path(__file__).parent / "static", Path(__file__).parent.parent / "report" / "html")
"""Folders whose files are the page's: its own, and the charts and the look that it shares with the HTML report."""
MAX_BODY = 1024**2
"""Bytes of a request: the longest configs have some 100 kB."""
AT_ONCE = 4
"""Answers that are worked on together: what waits for the Hub must not hold up the rest."""
MAX_WAITING = 64
"""Requests beyond these are told to come again."""
MAX_SEARCH = 200
KEY = "x-llm-inspect-key"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cache-control": "no-cache",
}

Next = Callable[[Request], Awaitable[Response]]


def app(models: Models, key: str, port: int, first: str) -> ASGIApp:
    """What is served.

    Args:
        models: those that may be asked for.
        key: what a request for an answer must have.
        port: that is listened at.
        first: the model that the page begins with.
    """
    files = page_files()
    waiting = Waiting()

    async def file(request: Request) -> Response:
        path = files.get(request.url.path)
        if path is None:
            return _problem(404, "there is no such file")
        return Response(path.read_bytes(), media_type=TYPES[path.suffix])

    async def start(_request: Request) -> Response:
        return await waiting.answered(lambda: form() | {"first": first, "models": known_models(models)})

    async def search(request: Request) -> Response:
        words = request.query_params.get("words", "")
        if len(words) > MAX_SEARCH:
            return _problem(400, f"words of at most {MAX_SEARCH} characters")
        return await waiting.answered(lambda: search_hub(models, words))

    async def asked(request: Request) -> Response:
        try:
            wanted = json.loads(await request.body())
        except TooLong:
            return _problem(413, f"a request has at most {MAX_BODY:,} bytes")
        except (ValueError, RecursionError):
            return _problem(400, "that is no JSON")
        return await waiting.answered(lambda: answer(wanted, models))

    routes = [
        Route("/api/form", start),
        Route("/api/search", search),
        Route("/api/answer", asked, methods=["POST"]),
        Route("/{path:path}", file),
    ]
    return Guard(Starlette(routes=routes), key, port)


def page_files() -> dict[str, Path]:
    """All that is served without the key, by its path: nothing else is."""
    files = {f"/{path.name}": path for folder in STATIC for path in folder.iterdir() if path.suffix in TYPES}
    return files | {"/": files["/index.html"]}


class Waiting:
    """Answers in threads, a few at once; the rest waits its turn, and the hundredth is sent away."""

    def __init__(self) -> None:
        self._limiter: anyio.CapacityLimiter | None = None
        self._count = 0

    async def answered(self, work: Callable[[], Any]) -> Response:
        """What `work` gives, as JSON."""
        if self._count >= MAX_WAITING:
            return _problem(503, "too many requests at once", {"retry-after": "1"})
        self._limiter = self._limiter or anyio.CapacityLimiter(AT_ONCE)
        self._count += 1
        try:
            return JSONResponse(await run_sync(work, limiter=self._limiter))
        finally:
            self._count -= 1


class TooLong(Exception):
    """A request's body has more than `MAX_BODY` bytes."""


class Guard:
    """Refuses what is not this page's, before anything else sees it; adds what a browser should hold the page to."""

    def __init__(self, inner: ASGIApp, key: str, port: int) -> None:
        self._inner = inner
        self._key = key.encode()
        hosts = [f"{name}:{port}" for name in ("127.0.0.1", "localhost")]
        self._hosts = [host.encode() for host in hosts]
        self._origins = [f"http://{host}".encode() for host in hosts]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            return

        async def dressed(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message = {**message, "headers": [*message["headers"], *own]}
            await send(message)

        refusal = self._refusal(scope)
        await (refusal or self._inner)(scope, _limited(receive), dressed)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = dict(scope["headers"])
        if headers.get(b"host") not in self._hosts:
            return _problem(421, "this is another host's page")
        if headers.get(b"origin", self._origins[0]) not in self._origins:
            return _problem(403, "this page answers no other site")
        if not scope["path"].startswith("/api/"):
            return None
        if headers.get(b"sec-fetch-site", b"same-origin") != b"same-origin":
            return _problem(403, "this page answers no other site")
        if not hmac.compare_digest(headers.get(KEY.encode(), b""), self._key):
            return _problem(401, "the key is missing: open the address that llm-inspect web printed")
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length) > MAX_BODY:
            return _problem(413, f"a request has at most {MAX_BODY:,} bytes")
        return None


def _limited(receive: Receive) -> Receive:
    """The body of a request that did not say its length, up to `MAX_BODY`."""
    read = 0

    async def limited() -> Message:
        nonlocal read
        message = await receive()
        read += len(message.get("body", b""))
        if read > MAX_BODY:
            raise TooLong
        return message

    return limited


def _problem(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"problem": message}, status, headers)
