"""The page's server as a user starts it, and a browser's requests without a browser."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.conftest import command_environment


@dataclass(frozen=True)
class Reply:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Served:
    """A server that runs.

    Attributes:
        address: as it was printed.
    """

    address: str
    process: subprocess.Popen[str]

    @property
    def port(self) -> int:
        return urlsplit(self.address).port or 0

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def key(self) -> str:
        return self.address.partition("#key=")[2]

    def ask(self, path: str, body: Any = None, *, key: bool = True, **headers: str) -> Reply:
        """A request as the page sends it; a body that is no bytes goes as JSON."""
        own = {"X-Llm-Inspect-Key": self.key} if key else {}
        own |= {name.replace("_", "-"): value for name, value in headers.items()}
        sent = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("GET" if body is None else "POST", path, sent, own)
            reply = connection.getresponse()
            return Reply(reply.status, {name.lower(): value for name, value in reply.getheaders()}, reply.read())
        finally:
            connection.close()

    def stop(self) -> tuple[int, str]:
        """Ctrl-C; the exit code, and what it said on standard error."""
        self.process.send_signal(signal.SIGINT)
        _, said = self.process.communicate(timeout=20)
        return self.process.returncode, said


@contextmanager
def serving(home: Path, *arguments: str, endpoint: str | None = None, **variables: str) -> Iterator[Served]:
    """`llm-inspect web` while it runs, at a free port unless the arguments name one."""
    port = () if "--port" in arguments else ("--port", "0")
    process = subprocess.Popen(
        [sys.executable, "-m", "inspector", "web", "--no-browser", *port, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=command_environment(home, endpoint, **variables),
    )
    assert process.stdout is not None
    assert process.stderr is not None
    with process:
        try:
            address = process.stdout.readline().strip()
            assert address, process.stderr.read()
            yield Served(address, process)
        finally:
            process.kill()
