"""packaging/hf-extension: `hf extensions install` of huggingface_hub, with a loopback server in GitHub's place."""

from __future__ import annotations

import io
import json
import sys
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.other_versions import tomllib
from tests.packages.tools import DIST, ROOT, environment, run_tool

EXTENSION = ROOT / "packaging" / "hf-extension"
REPO = "OWNER/hf-llm-inspect"
COMMIT = "c" * 40
PACKAGE = "git+https://github.com/OWNER/llm-inspect"

DRIVER = """
import subprocess, sys
from huggingface_hub.cli import extensions
server, *arguments = sys.argv[1:]
raw = "https://raw.githubusercontent.com"
here = lambda url: url.replace("https://github.com", server).replace(raw, server + "/raw")
ask, run = extensions._github_request, subprocess.run
extensions._github_request = lambda method, url, **more: ask(method, here(url), **more)
subprocess.run = lambda command, **more: run([here(str(each)) for each in command], **more)
sys.argv = ["hf", *arguments]
from huggingface_hub.cli.hf import main
main()
"""


def archive() -> bytes:
    """The extension's folder as GitHub packs a commit, with the wheel of `make dist` for the package's repository."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        for path in sorted(EXTENSION.iterdir()):
            text = path.read_text("utf-8")
            for wheel in DIST.glob("*.whl"):
                text = text.replace(PACKAGE, wheel.as_uri())
            file.writestr(f"hf-llm-inspect-{COMMIT}/{path.name}", text)
    return packed.getvalue()


@pytest.fixture
def github() -> Iterator[str]:
    """What is asked of GitHub for a public repository with the extension's files."""
    answers = {
        f"/{REPO}": b"",
        f"/{REPO}.git/info/refs": f"0000 {COMMIT} HEAD\0".encode(),
        f"/{REPO}/archive/HEAD.zip": archive(),
        **{f"/raw/{REPO}/HEAD/{path.name}": path.read_bytes() for path in EXTENSION.iterdir()},
    }

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = answers.get(self.path.partition("?")[0])
            self.send_response(404 if body is None else 200)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body or b"")

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_the_extension_is_the_package_by_another_name() -> None:
    own, package = (
        tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))["project"] for folder in (EXTENSION, ROOT)
    )
    assert own["name"] in package["scripts"], "hf runs the console script of the repository's name"
    assert own["dependencies"] == [f"{package['name']} @ {PACKAGE}"]
    for key in ("description", "license", "requires-python"):
        assert own[key] == package[key]


@pytest.mark.packages
def test_hf_installs_lists_and_runs_it(github: str, tmp_path: Path) -> None:
    alone = {"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_DISABLE_UPDATE_CHECK": "1"}
    env = environment(tmp_path / "home", **alone)

    def hf(*arguments: str, code: int = 0) -> str:
        return run_tool(sys.executable, "-c", DRIVER, github, *arguments, cwd=tmp_path, env=env, code=code)

    assert "hf llm-inspect" in hf("extensions", "install", REPO)
    folder = tmp_path / "home" / ".local" / "share" / "hf" / "extensions" / "hf-llm-inspect"
    manifest = json.loads((folder / "manifest.json").read_text())
    assert (manifest["type"], manifest["repo_id"], manifest["commit_sha"]) == ("python", REPO, COMMIT)
    assert manifest["description"].startswith("Will it fit?")
    assert "llm-inspect" in hf("extensions", "list")
    assert "fits · needs" in hf("llm-inspect", "fit", "Qwen/Qwen2.5-7B", "--gpu", "24GiB")
    assert "does not fit" in hf("llm-inspect", "fit", "Qwen/Qwen2.5-7B", "--gpu", "8GiB", code=1)
