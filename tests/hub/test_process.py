"""The resolver in a process of its own: what it imports, what the environment sets, and Ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.hub_server import Content, Fault, LoopbackHub, sparse

ROOT = Path(__file__).parents[2]
FILES: dict[str, Content] = {"config.json": {"a": 1}, "model.safetensors": sparse({"x": ("F32", [2, 3])})}
RESOLVE = "from inspector.hub import resolve; import sys; c = resolve(sys.argv[1]); print(c.source, len(c.tensors))"


def start(code: str, *arguments: str, home: Path, **variables: str) -> subprocess.Popen[str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING"))}
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        env={**kept, "HF_HOME": str(home), **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=60)
    return process.returncode, out.strip(), err


def test_importing_the_resolver_imports_no_client(home: Path) -> None:
    heavy = ("httpx2", "huggingface_hub", "concurrent.futures", "urllib.request", "importlib.metadata")
    code = f"import inspector.hub, sys; print([name for name in {heavy} if name in sys.modules])"
    assert finish(start(code, home=home)) == (0, "[]", "")


def test_local_files_are_read_without_a_client(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "m.safetensors"
    content = sparse({"x": ("F32", [2])})
    file.write_bytes(content.head + bytes(content.zeros))
    code = RESOLVE + "; print('httpx2' in sys.modules)"
    assert finish(start(code, str(file), home=home)) == (0, "local 1\nFalse", "")


def test_the_environment_says_where_the_hub_is_and_who_asks(hub: LoopbackHub, home: Path) -> None:
    hub.tokens["hf_env"] = {"*"}
    hub.add_repo("org/name", FILES, private=True)
    variables = {"HF_ENDPOINT": hub.url, "HF_TOKEN": "hf_env"}
    assert finish(start(RESOLVE, "org/name", home=home, **variables)) == (0, "hub 1", "")
    assert finish(start(RESOLVE, "org/name", home=home, **variables)) == (0, "cache 1", "")
    hub.forget()
    offline = finish(start(RESOLVE, "org/name", home=home, HF_HUB_OFFLINE="1", **variables))
    assert (offline, hub.seen) == ((0, "cache 1", ""), [])
    assert (home / "assets" / "llm-inspect").is_dir()


def test_the_bundled_snapshots_answer_without_a_network(home: Path) -> None:
    code, out, err = finish(start(RESOLVE, "meta-llama/Meta-Llama-3-8B", home=home, HF_HUB_OFFLINE="1"))
    assert (code, out, err) == (0, "bundled 291", "")


def test_the_environment_says_how_long_to_wait(hub: LoopbackHub, home: Path) -> None:
    hub.faults.append(Fault("hang", times=None))
    code, _, err = finish(start(RESOLVE, "org/name", home=home, HF_ENDPOINT=hub.url, HF_HUB_DOWNLOAD_TIMEOUT="1"))
    assert code == 1
    assert "within 1 seconds" in err


@pytest.mark.parametrize("value", ["abc", "0.5"])
def test_a_time_out_that_is_no_number_is_a_usage_error(home: Path, value: str) -> None:
    _, _, err = finish(start(RESOLVE, "org/name", home=home, HF_HUB_DOWNLOAD_TIMEOUT=value))
    assert "UsageError: HF_HUB_DOWNLOAD_TIMEOUT" in err


@pytest.mark.parametrize("kind", ["hang", "hang_body", "drip", "drip_head"])
def test_ctrl_c_ends_it_at_once(hub: LoopbackHub, home: Path, kind: str) -> None:
    hub.add_repo("org/name", FILES)
    hub.faults.append(Fault(kind, times=None, seconds=1))
    # A parent that was started in the background ignores Ctrl-C, and its children inherit that.
    listening = "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
    lines = RESOLVE.replace("; ", "\n    ")
    code = f"{listening}try:\n    {lines}\nexcept KeyboardInterrupt:\n    print('stopped')"
    process = start(code, "org/name", home=home, HF_ENDPOINT=hub.url, HF_HUB_DOWNLOAD_TIMEOUT="50")
    deadline = time.monotonic() + 20
    while len(hub.seen) < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    assert finish(process) == (0, "stopped", "")


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize("kind", ["endless", "bomb"])
def test_an_endless_body_takes_little_memory(hub: LoopbackHub, home: Path, kind: str) -> None:
    hub.add_repo("org/name", FILES)
    hub.faults.append(Fault(kind, times=None))
    code = (
        "from inspector.hub import resolve\n"
        "try:\n    resolve('org/name')\nexcept Exception as e:\n    print(e.exit_code in (4, 5))\n"
        "peak = next(line for line in open('/proc/self/status') if line.startswith('VmHWM'))\n"
        "print(int(peak.split()[1]) < 200_000)"
    )
    assert finish(start(code, home=home, HF_ENDPOINT=hub.url)) == (0, "True\nTrue", "")
