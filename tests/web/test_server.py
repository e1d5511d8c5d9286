"""The server of `llm-inspect web`, started as a user starts it: it answers its own page, and nobody else."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conftest import Run, repo_files
from tests.hub_server import LoopbackHub
from tests.web.serving import Served, serving

pytest.importorskip("starlette", reason="make test-browser installs the extra web")
pytest.importorskip("uvicorn", reason="make test-browser installs the extra web")

LLAMA = "meta-llama/Meta-Llama-3-8B"
TOKEN = "hf_" + "B" * 34


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("home"), "--offline", HF_TOKEN=TOKEN) as served:
        yield served
        code, said = served.stop()
        assert (code, said) == (0, "")


def test_the_page_has_a_strict_policy_and_needs_no_key(page: Served) -> None:
    found = page.ask("/", key=False)
    assert found.status == 200
    assert found.headers["content-type"] == "text/html; charset=utf-8"
    policy = found.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert "unsafe" not in policy
    assert found.headers["x-content-type-options"] == "nosniff"


def test_it_answers_with_the_key_alone(page: Served) -> None:
    request = {"model": LLAMA}
    assert page.ask("/api/answer", request).json["report"]["parameters"]["total"] == 8_030_261_248
    for path, body in (("/api/form", None), ("/api/search?words=x", None), ("/api/answer", request)):
        assert page.ask(path, body, key=False).status == 401
        assert page.ask(path, body, key=False, X_Llm_Inspect_Key=page.key[:-1]).status == 401
        assert page.ask(path, body, key=False, X_Llm_Inspect_Key="").status == 401


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1", "127.0.0.1:1", "0.0.0.0", ""])
def test_another_host_is_refused(page: Served, host: str) -> None:
    """A page whose name leads to 127.0.0.1 (DNS rebinding) sends its own name."""
    assert page.ask("/", Host=host).status in (400, 421)
    assert page.ask("/api/form", Host=host).status in (400, 421)


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1", "http://127.0.0.1:1"])
def test_another_origin_is_refused(page: Served, origin: str) -> None:
    assert page.ask("/api/answer", {"model": LLAMA}, Origin=origin).status == 403
    assert page.ask("/api/form", Sec_Fetch_Site="cross-site").status == 403


def test_its_own_page_is_answered_by_both_of_its_names(page: Served) -> None:
    for name in ("127.0.0.1", "localhost"):
        own = {"Host": f"{name}:{page.port}", "Origin": f"http://{name}:{page.port}", "Sec_Fetch_Site": "same-origin"}
        assert "report" in page.ask("/api/answer", {"model": LLAMA}, **own).json


@pytest.mark.parametrize(
    "path",
    ["/../server.py", "/..%2fserver.py", "/%2e%2e/server.py", "//etc/passwd", "/static/../../answer.py", "/models.py"],
)
def test_no_other_file_is_served(page: Served, path: str) -> None:
    assert page.ask(path).status == 404


def test_a_body_of_ten_megabytes_is_refused_and_the_server_lives(page: Served) -> None:
    for body in (b"[" * 10 * 1024**2, json.dumps({"model": "x" * 10 * 1024**2}).encode()):
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it does not read what it refuses
            assert page.ask("/api/answer", body).status == 413
    assert "report" in page.ask("/api/answer", {"model": LLAMA}).json


def test_a_body_without_a_length_is_refused_once_it_is_too_long(page: Served) -> None:
    with socket.create_connection(("127.0.0.1", page.port), 30) as sent:
        head = f"POST /api/answer HTTP/1.1\r\nHost: 127.0.0.1:{page.port}\r\nX-Llm-Inspect-Key: {page.key}\r\n"
        sent.sendall(head.encode() + b"Transfer-Encoding: chunked\r\n\r\n")
        for _ in range(24):
            sent.sendall(b"10000\r\n" + b"[" * 0x10000 + b"\r\n")
        assert sent.recv(100).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff\xfe", b"[" * 500_000, b"NaN", b'"text"', b"[]", b'{"model": "\\ud800"}']
)
def test_what_is_no_request_is_refused_with_words(page: Served, body: bytes) -> None:
    found = page.ask("/api/answer", body)
    assert found.json.get("problem") or found.json["error"]["message"]
    assert b"Traceback" not in found.body


def test_a_hundred_at_once_are_answered_or_told_to_come_again(page: Served) -> None:
    request = {"model": LLAMA, "settings": {"gpus": ["RTX 3060"], "engine": "llama.cpp"}, "want": ["report", "devices"]}
    with ThreadPoolExecutor(100) as pool:
        found = list(pool.map(lambda _: page.ask("/api/form").status, range(100)))
        assert set(found) <= {200, 503}
        assert 200 in found
    assert "report" in page.ask("/api/answer", {**request, "want": ["report"]}).json


def test_no_token_is_in_any_answer(tmp_path: Path, loopback_hub: LoopbackHub) -> None:
    """Neither the Hub's nor the page's own key: of models that are read, refused and unknown."""
    loopback_hub.add_repo("org/private", repo_files(LLAMA), gated=True)
    loopback_hub.tokens[TOKEN] = set()
    with serving(tmp_path, endpoint=loopback_hub.url, HF_TOKEN=TOKEN) as served:
        seen = b""
        for model in ("org/private", "org/none", LLAMA, f"https://user:{'x'}@huggingface.co/org/none", "./x"):
            seen += served.ask("/api/answer", {"model": model, "want": ["report", "command"]}).body
        for path in ("/", "/api/form", "/api/search?words=llama", "/api/nothing"):
            found = served.ask(path)
            seen += found.body + repr(found.headers).encode()
        assert b"org/private" in seen
        assert served.key.encode() not in seen
    assert TOKEN.encode() not in seen


def test_models_of_the_hub_are_found_and_read(tmp_path: Path, loopback_hub: LoopbackHub) -> None:
    loopback_hub.add_repo("someone/llama-tuned", repo_files(LLAMA))
    with serving(tmp_path, endpoint=loopback_hub.url) as served:
        found = served.ask("/api/search?words=llama-tuned").json
        assert found == {"models": [{"name": "someone/llama-tuned", "where": "Hub"}], "problem": None}
        report = served.ask("/api/answer", {"model": "someone/llama-tuned"}).json["report"]
        assert report["source"] == "hub"
        names = {each["name"]: each["where"] for each in served.ask("/api/form").json["models"]}
        assert names["someone/llama-tuned"] == "cached"


def test_offline_the_hub_is_not_searched(page: Served) -> None:
    found = page.ask("/api/search?words=llama").json
    assert found == {"models": [], "problem": "offline: the Hub is not searched"}


def test_a_folder_is_read_if_it_was_named(tmp_path: Path) -> None:
    for name in ("named", "other"):
        (tmp_path / name).mkdir()
        for file, content in repo_files(LLAMA).items():
            if isinstance(content, bytes):
                (tmp_path / name / file).write_bytes(content)
    named, other = str(tmp_path / "named"), str(tmp_path / "other")
    with serving(tmp_path / "home", named, "--offline") as served:
        assert served.ask("/api/form").json["first"] == named
        assert "was not named" not in str(served.ask("/api/answer", {"model": named}).json)
        assert "was not named" in served.ask("/api/answer", {"model": other}).json["error"]["message"]


def test_a_port_that_is_taken_is_told(page: Served, run: Run) -> None:
    done = run("web", "--no-browser", "--port", str(page.port))
    assert done.code == 2
    assert f"port {page.port} cannot be listened at" in done.err


def test_it_listens_on_this_machine_alone(page: Served) -> None:
    listening = Path("/proc/net/tcp")
    if not listening.exists():
        pytest.skip("only Linux lists its listeners so")
    rows = [line.split()[1] for line in listening.read_text("ascii").splitlines()[1:]]
    own = [row for row in rows if row.endswith(f":{page.port:04X}")]
    assert {row.partition(":")[0] for row in own} == {"0100007F"}
