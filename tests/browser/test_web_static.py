"""The page without a server, in a real browser: Python in a web worker says what the command prints.

`make web-static` writes the folder; without it, or with one of other sources, these tests are skipped and say so.
"""

from __future__ import annotations

import functools
import json
import runpy
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

import inspector
from tests.browser.chromium import NONE, chromium
from tests.conftest import TINY_LLAMA, Run, repo_files
from tests.hub_server import Fault, LoopbackHub

pytest.importorskip("playwright.sync_api", reason="make test-browser installs Playwright")

from tests.browser.test_web import after, same, settled  # which is skipped half-way without Playwright

pytestmark = pytest.mark.skipif(chromium() is None, reason=NONE)

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "packaging" / "web_static.py"
LLAMA, SMALL = "meta-llama/Meta-Llama-3-8B", "org/small"
PATIENCE = 120_000
"""Milliseconds: Python starts within the browser, beside other tests."""


@pytest.fixture(scope="session")
def folder() -> Path:
    """What `make web-static` wrote."""
    checked = subprocess.run([sys.executable, SCRIPT, "--check"], capture_output=True, text=True, check=False)
    if checked.returncode:
        pytest.skip(checked.stderr.strip())
    return ROOT / "build" / "web"


class Quiet(SimpleHTTPRequestHandler):
    """`python -m http.server`, without its lines."""

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on the terminal."""


@contextmanager
def files_of(folder: Path) -> Iterator[str]:
    """A host of files, and its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="session")
def address(folder: Path) -> Iterator[str]:
    with files_of(folder) as address:
        yield address


@pytest.fixture
def hub(loopback_hub: LoopbackHub) -> LoopbackHub:
    loopback_hub.pages_of_others = True
    return loopback_hub


@pytest.fixture
def hub_address(folder: Path, hub: LoopbackHub, tmp_path: Path) -> Iterator[str]:
    """The page as it is written for this Hub."""
    shutil.copytree(folder, tmp_path / "web")
    runpy.run_path(str(SCRIPT))["write_page"](tmp_path / "web", hub.url)
    with files_of(tmp_path / "web") as address:
        yield address


def opened(new_page: Any, address: str, **link: Any) -> Any:
    page = new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(f"{address}/#{urlencode(link, doseq=True)}")
    settled(page)
    return page


def asked(page: Any, **request: Any) -> Any:
    """What the worker of a page answers."""
    code = "async (request) => (await import('./transport.js')).answer(request)"
    return page.evaluate(code, request)


LINKS: list[dict[str, Any]] = [
    {"model": LLAMA, "gpu": ["RTX 4090", "2xRTX 3060"], "context": 8192, "kv_dtype": "fp8"},
    {"model": "deepseek-ai/DeepSeek-V3", "gpu": "8xH200", "dtype": "awq", "engine": "vllm"},
    {"model": LLAMA, "task": "training", "method": "qlora", "gpu": "RTX 4090"},
]


def test_the_numbers_are_those_of_the_command(new_page: Any, address: str, run: Run) -> None:
    page = opened(new_page, address, **LINKS[0])
    assert same(page, run) >= 20
    for link in LINKS[1:]:
        after(page, lambda: page.goto(f"{address}/#{urlencode(link, doseq=True)}"))  # noqa: B023  # the worker stays
        assert same(page, run) >= 15


def test_a_pasted_config_and_changes_of_it_are_told_without_transformers(new_page: Any, address: str) -> None:
    page = opened(new_page, address, model=LLAMA)
    config = {**TINY_LLAMA, "rms_norm_eps": 1e-6}
    for changes in ({}, {"num_hidden_layers": 5}):
        found = asked(page, model=config, settings={"set": changes}, want=["report"])["report"]
        assert found["parameters"] == inspector.inspect(config, set=changes).to_dict()["parameters"]


def test_every_part_of_an_answer_can_be_had(new_page: Any, address: str, run: Run) -> None:
    from inspector.web.answer import PARTS

    page = opened(new_page, address, model=LLAMA)
    settings = {"context": 8192, "gpus": ["RTX 4090"], "engine": "vllm"}
    found = asked(page, model=LLAMA, settings=settings, want=list(PARTS))
    assert "error" not in found, found
    command = run(
        "fit", LLAMA, "--context", 8192, "--gpu", "RTX 4090", "--engine", "vllm", "--offline", "--json", "--explain"
    )
    assert found["report"] == command.record
    assert [name for name in PARTS if found[name] is None] == []
    assert found["html"].startswith("<!doctype html>")
    trained = asked(page, model=LLAMA, task="training", settings={"gpus": ["H100"]}, want=["report", "devices"])
    assert (
        trained["report"]["training"] == run("train", LLAMA, "--gpu", "H100", "--offline", "--json").record["training"]
    )


def test_models_of_the_hub_are_read_by_the_browser(new_page: Any, hub: LoopbackHub, hub_address: str, run: Run) -> None:
    """With a range, and nothing else that a browser would have to ask the servers about first (OPTIONS)."""
    repo = hub.add_repo(SMALL, repo_files("Qwen/Qwen3-0.6B"))
    hub.faults.append(Fault("status", path="config.json"))  # once: a passing failure
    page = opened(new_page, hub_address, model=SMALL, gpu="RTX 3060", dtype="int8")
    found = asked(page, model=SMALL, settings={"dtype": "int8", "gpus": ["RTX 3060"]})["report"]
    command = run("fit", SMALL, "--dtype", "int8", "--gpu", "RTX 3060", "--json", endpoint=hub.url).record
    for part in ("parameters", "memory", "fit", "warnings", "checkpoint"):
        assert found[part] == command[part]
    assert {seen.method for seen in hub.seen} <= {"GET", "HEAD"}
    weights = [seen for seen in hub.seen if seen.server == "cdn"]
    assert all(seen.headers["range"].startswith("bytes=0-") and "authorization" not in seen.headers for seen in weights)
    assert weights
    del repo
    page.fill("#model", "small")
    page.get_by_role("option", name=SMALL).wait_for()


@pytest.mark.parametrize("stack_switching", [True, False])
def test_shards_are_read_with_and_without_promise_integration(
    new_page: Any, hub: LoopbackHub, hub_address: str, tmp_path: Path, run: Run, stack_switching: bool
) -> None:
    """Where a browser lacks it, by synchronous requests."""
    if not stack_switching:
        worker = tmp_path / "web" / "worker.js"
        worker.write_text("delete WebAssembly.Suspending; delete WebAssembly.promising;\n" + worker.read_text())
    hub.headers_endpoint = False
    hub.add_repo(SMALL, repo_files("Qwen/Qwen3-0.6B", shards=3))
    page = opened(new_page, hub_address, model=SMALL)
    command = run(SMALL, "--json", endpoint=hub.url).record
    found = asked(page, model=SMALL)["report"]
    assert (found["revision"], found["parameters"]) == (command["revision"], command["parameters"])


def test_what_cannot_be_read_is_said(new_page: Any, hub: LoopbackHub, hub_address: str) -> None:
    hub.add_repo("org/gated", repo_files("Qwen/Qwen3-0.6B"), gated=True)
    page = opened(new_page, hub_address, model=LLAMA)
    said = {
        name: asked(page, model=name)["error"]["message"]
        for name in ("org/gated", "org/none", "./folder", LLAMA + "@other")
    }
    assert "org/gated is gated" in said["org/gated"]
    assert "no model org/none" in said["org/none"]
    assert "This page has no token" in said["org/gated"]
    assert "HF_TOKEN" not in json.dumps(said)
    hub.faults.append(Fault("close", times=None))
    assert "The bundled models need none" in asked(page, model="org/other")["error"]["message"]
    assert asked(page, model="mistralai/Mistral-7B-v0.1")["report"]["source"] == "bundled"
    new_page.faults.clear()  # a browser says by itself which requests failed


def test_python_that_does_not_start_is_said(new_page: Any, folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "web")
    (tmp_path / "web" / "packages.zip").write_bytes(b"")
    with files_of(tmp_path / "web") as address:
        page = new_page()
        page.goto(address)
        page.get_by_role("alert").get_by_text("Python did not start in this browser").wait_for(timeout=PATIENCE)
    new_page.faults.clear()
