"""The command `web`: the library as a page in this machine's browser."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import sys
from typing import Any

import click

from inspector.cli.options import OUTPUT, GroupedCommand, access_options, model_argument, option
from inspector.errors import UsageError
from inspector.hub import Resolver

PORT = 8711
HOST = "127.0.0.1"


@click.command(
    cls=GroupedCommand,
    examples=(
        ("llm-inspect web", "a page to play with"),
        ("llm-inspect web ./my-model", "... on a folder of this machine"),
    ),
)
@model_argument("models", metavar="[MODEL]...", nargs=-1)
@access_options
@option(
    "--port",
    type=click.IntRange(0, 65535),
    metavar="N",
    help=f"Port to listen at, on this machine alone. Default: {PORT}, or a free one where that is taken.",
)
@option("--no-browser", group=OUTPUT, is_flag=True, help="Open no browser: print the address alone.")
def web(models: tuple[str, ...], token: str | None, offline: bool, port: int | None, no_browser: bool) -> int:
    """Open a page in the browser: any model, with sliders for what it is asked.

    Needs the packages starlette and uvicorn: pip install 'llm-inspect[web]'. Ctrl-C ends it.
    """
    try:
        import starlette  # noqa: F401
        import uvicorn
    except ImportError:
        raise UsageError(
            "the page needs starlette and uvicorn", "Install them: pip install 'starlette>=1.0' 'uvicorn>=0.40'."
        ) from None
    from inspector.web.models import Models
    from inspector.web.names import FIRST
    from inspector.web.server import app

    listener = _listener(port)
    key, port = secrets.token_urlsafe(24), listener.getsockname()[1]
    address = f"http://{HOST}:{port}/#key={key}"
    click.echo(f"{address}\nCtrl-C ends it.")
    sys.stdout.flush()
    with Resolver(token=token, offline=offline or None) as resolver:
        served = app(Models(resolver, models), key, port, models[0] if models else FIRST)
        config = uvicorn.Config(
            served, log_level="error", access_log=False, lifespan="off", timeout_graceful_shutdown=1
        )
        if not no_browser:
            _open(address)
        signal.signal(signal.SIGINT, signal.default_int_handler)  # an answer that is on its way is finished first
        with contextlib.suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listener])
    return 0


def _listener(port: int | None) -> socket.socket:
    """A socket that listens at a port of this machine; at a free one where the usual one is taken.

    Raises:
        UsageError: the port that was asked for is taken.
    """
    for tried in (PORT, 0) if port is None else (port,):
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, tried))
            listener.listen(128)
        except OSError as error:
            listener.close()
            problem = error
        else:
            return listener
    raise UsageError(f"port {port} cannot be listened at: {problem.strerror}", "Leave out --port for a free one.")


def _open(address: str) -> None:
    """The user's browser, where there is one with a window: one in the terminal would take it over."""
    import threading
    import webbrowser

    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return

    def opened() -> Any:
        return webbrowser.open(address)

    threading.Thread(target=opened, daemon=True).start()
