"""The command as a user runs it, against a loopback Hub: every ID one line, right exit codes, nothing lost."""

from __future__ import annotations

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from inspector.report.writers import make_writer
from tests.batch.mixed import MIXED, PARAMETERS, add_mixed, small_files
from tests.conftest import Run, command_environment
from tests.hub_server import Fault, LoopbackHub

posix = pytest.mark.skipif(os.name != "posix", reason="signals and devices")


def records(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]


def add_models(hub: LoopbackHub, count: int) -> list[str]:
    files = small_files()
    ids = [f"org/m{i}" for i in range(count)]
    for model in ids:
        hub.add_repo(model, files)
    return ids


def listed(folder: Path, ids: list[str]) -> Path:
    path = folder / "models.txt"
    path.write_text("\n".join(ids) + "\n")
    return path


def asked_for(hub: LoopbackHub) -> set[str]:
    """The repos that any request was about."""
    parts = [path.removeprefix("/api/models/").strip("/").split("/") for path in hub.paths()]
    return {"/".join(part[:2]) for part in parts if part[0] == "org"}


def start(home: Path, hub: LoopbackHub, *arguments: str | Path, **pipes: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "inspector", "batch", *map(str, arguments)],
        text=True,
        env=command_environment(home, hub.url),
        **({"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | pipes),
    )


def test_a_mixed_list_has_a_line_each_and_the_highest_exit_code(
    run_process: Run, loopback_hub: LoopbackHub, tmp_path: Path
) -> None:
    add_mixed(loopback_hub)
    path = listed(tmp_path, ["# a list", *MIXED, "", *MIXED])
    done = run_process("batch", path, endpoint=loopback_hub.url, HF_HUB_DOWNLOAD_TIMEOUT="1")
    found = records(done.out)
    assert {record["id"]: record["outcome"] for record in found} == MIXED
    assert len(found) == len(MIXED)
    assert done.code == 5
    counts = Counter(MIXED.values())
    assert f"{len(MIXED)} models: {counts['ok']} ok, {len(MIXED) - counts['ok']} failed" in done.err
    assert "1 gated repo" in done.err
    assert "\x1b" not in done.err


def test_standard_input_csv_and_columns_in_order(run_process: Run, loopback_hub: LoopbackHub) -> None:
    ids = add_models(loopback_hub, 12)
    text = "model,likes\n" + "".join(f"{model},1\n" for model in ids)
    columns = "parameters.total,model.model_type"
    arguments = ("batch", "-", "--format", "csv", "--columns", columns, "--ordered", "--jobs", "3")
    done = run_process(*arguments, stdin=text, endpoint=loopback_hub.url)
    assert done.code == 0, done.err
    assert list(csv.reader(done.out.splitlines())) == [
        ["id", "outcome", "parameters.total", "model.model_type"],
        *([model, "ok", str(PARAMETERS), "gpt2"] for model in ids),
    ]


def test_verdicts_for_several_devices_as_a_markdown_file(run: Run, loopback_hub: LoopbackHub, tmp_path: Path) -> None:
    (model,) = add_models(loopback_hub, 1)
    out = tmp_path / "out.md"
    arguments = ("batch", listed(tmp_path, [model]), "--gpu", "24GiB", "--gpu", "100MB", "--output", out)
    done = run(*arguments, endpoint=loopback_hub.url)
    assert (done.code, done.out) == (1, "")
    assert "1 model: 1 does not fit" in done.err
    head, _, row = out.read_text().splitlines()
    assert head.endswith("| 24GiB | 100MB | error |")
    assert row.startswith(f"| {model} | does_not_fit | 124 M | 475 MiB |")
    assert row.endswith("| fits | does not fit |  |")
    assert run("batch", "-", "--gpu", "24GiB", stdin=model, endpoint=loopback_hub.url).code == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-", "--resume"], "--output"),
        (["-", "--gpu", "RTX 4900"], "RTX 4090"),
        (["-", "--jobs", "0"], "jobs"),
        (["-", "--columns", "a,,b"], "--columns"),
        (["-", "--format", "parquet"], "format"),
        (["empty.txt"], "no models in"),
        (["-", "--output", "no/such/folder/x.jsonl"], "cannot be written"),
        (["-", "--output", "results.jsonl"], "there already"),
        (["-", "--output", "results.jsonl", "--resume"], "line 1 is no result"),
        (["-", "--output", "results.csv", "--resume"], "other columns"),
    ],
)
def test_a_wrong_command_line_costs_no_request_and_touches_no_file(
    run: Run,
    loopback_hub: LoopbackHub,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    for name in ("results.jsonl", "results.csv"):
        Path(name).write_text("precious\n")
    Path("empty.txt").write_text("# nothing\n")
    Path("wrong.txt").write_text("org/a\na/b/c\n")
    done = run("batch", *arguments, stdin="org/model", endpoint=loopback_hub.url)
    assert done.code == 2, done.err
    assert words in done.err
    assert done.out == ""
    assert loopback_hub.seen == []
    assert Path("results.jsonl").read_text() == Path("results.csv").read_text() == "precious\n"


def test_a_warm_run_asks_once_a_model_and_offline_not_at_all(
    run: Run, loopback_hub: LoopbackHub, tmp_path: Path
) -> None:
    path = listed(tmp_path, add_models(loopback_hub, 10))
    cold = records(run("batch", path, "--ordered", endpoint=loopback_hub.url).out)
    loopback_hub.forget()
    warm = records(run("batch", path, "--ordered", endpoint=loopback_hub.url).out)
    assert len(loopback_hub.seen) == 10
    offline = records(run("batch", path, "--ordered", "--offline", endpoint=loopback_hub.url).out)
    assert len(loopback_hub.seen) == 10
    assert [[record["parameters"] for record in found] for found in (warm, offline)] == 2 * [
        [record["parameters"] for record in cold]
    ]


@pytest.mark.parametrize("name", ["out.jsonl", "out.csv", "out.md"])
def test_resume_asks_again_for_failures_of_the_network_only(
    run: Run, loopback_hub: LoopbackHub, tmp_path: Path, name: str
) -> None:
    add_mixed(loopback_hub)
    path, out = listed(tmp_path, list(MIXED)), tmp_path / name
    arguments = ("batch", path, "--output", out, "--resume")
    first = run(*arguments, endpoint=loopback_hub.url, HF_HUB_DOWNLOAD_TIMEOUT="1")
    assert first.code == 5
    whole, rows = out.read_bytes(), make_writer({".jsonl": "jsonl", ".csv": "csv", ".md": "markdown"}[out.suffix])
    cut, _ = rows.read(whole.splitlines()[-1].decode())
    out.write_bytes(whole[:-3])
    loopback_hub.faults.clear()
    loopback_hub.forget()
    second = run(*arguments, endpoint=loopback_hub.url)
    assert second.code == 4
    assert asked_for(loopback_hub) <= {"org/hangs", "org/down", cut.partition("@")[0]}
    text = out.read_text()
    found = [rows.read(line) for line in text.removeprefix(rows.head).splitlines()]
    assert text.startswith(rows.head)
    assert dict(found) == {**MIXED, "org/hangs": "ok", "org/down": "ok"}
    assert len(found) == len(MIXED)
    before = out.read_bytes()
    assert run(*arguments, "--offline", endpoint=loopback_hub.url).code == 4
    assert out.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == sorted(["models.txt", name])


@posix
def test_killed_again_and_again_the_output_has_each_id_once_and_none_is_asked_for_twice(
    run: Run, loopback_hub: LoopbackHub, command_home: Path, tmp_path: Path
) -> None:
    ids = add_models(loopback_hub, 120)
    path, out = listed(tmp_path, ids), tmp_path / "out.jsonl"
    loopback_hub.latency = 0.02
    chance = random.Random(6)
    for kill in range(4):
        written = {json.loads(line)["id"] for line in out.read_text().split("\n")[:-1]} if out.exists() else set()
        loopback_hub.forget()
        process = start(command_home, loopback_hub, path, "--output", out, "--resume", "--jobs", "4")
        wanted = len(written) + 8 * kill + chance.randrange(15)
        while process.poll() is None and (not out.exists() or out.read_bytes().count(b"\n") <= wanted):
            time.sleep(0.001)
        time.sleep(chance.random() / 50)
        process.kill()
        process.communicate()
        assert not asked_for(loopback_hub) & written
    written = {json.loads(line)["id"] for line in out.read_text().split("\n")[:-1]}
    assert 0 < len(written) < 120
    loopback_hub.forget()
    done = run("batch", path, "--output", out, "--resume", endpoint=loopback_hub.url)
    assert done.code == 0
    assert asked_for(loopback_hub) == set(ids) - written
    assert sorted(record["id"] for record in records(out.read_text())) == sorted(ids)
    assert "120 models: 120 ok" in done.err


@posix
def test_ctrl_c_leaves_whole_lines_a_partial_summary_and_130(
    loopback_hub: LoopbackHub, command_home: Path, tmp_path: Path
) -> None:
    ids = [*add_models(loopback_hub, 10), "org/hangs"]
    loopback_hub.add_repo("org/hangs", small_files())
    loopback_hub.faults.append(Fault("hang", path="/org/hangs/", times=None))
    out = tmp_path / "out.jsonl"
    with subprocess.Popen(
        [sys.executable, "-m", "inspector", "batch", listed(tmp_path, ids), "--output", out],
        stderr=subprocess.PIPE,
        text=True,
        env=command_environment(command_home, loopback_hub.url, HF_HUB_DOWNLOAD_TIMEOUT="50"),
    ) as process:
        while not out.exists() or out.read_bytes().count(b"\n") < 10:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Interrupted: 10 of 11 models are done." in err
    assert "10 models: 10 ok" in err
    assert "Traceback" not in err
    assert {record["id"] for record in records(out.read_text())} == set(ids[:10])


@posix
@pytest.mark.parametrize("as_file", [True, False])
def test_a_full_disk_is_a_clear_error(
    loopback_hub: LoopbackHub, command_home: Path, tmp_path: Path, as_file: bool
) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full on this system")
    path = listed(tmp_path, add_models(loopback_hub, 3))
    with Path("/dev/full").open("w") as full:
        pipes = {} if as_file else {"stdout": full}
        process = start(command_home, loopback_hub, path, *(["--output", "/dev/full"] if as_file else []), **pipes)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 6
    assert "could not be written: No space left" in err
    assert "Traceback" not in err


@posix
def test_a_disk_that_fills_up_keeps_whole_lines_and_resume_goes_on(
    run: Run, loopback_hub: LoopbackHub, command_home: Path, tmp_path: Path
) -> None:
    import resource

    ids = add_models(loopback_hub, 12)
    path, out = listed(tmp_path, ids), tmp_path / "out.jsonl"
    with start(
        command_home,
        loopback_hub,
        path,
        *("--output", out),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000)),
    ) as process:
        _, err = process.communicate(timeout=60)
    assert process.returncode == 6, err
    assert "could not be written" in err
    kept = records(out.read_text())
    assert 1 <= len(kept) < 12
    assert out.read_bytes().endswith(b"}\n")
    assert run("batch", path, "--output", out, "--resume", endpoint=loopback_hub.url).code == 0
    found = records(out.read_text())
    assert found[: len(kept)] == kept
    assert sorted(record["id"] for record in found) == sorted(ids)


@posix
def test_a_closed_pipe_ends_quietly(loopback_hub: LoopbackHub, command_home: Path, tmp_path: Path) -> None:
    with start(command_home, loopback_hub, listed(tmp_path, add_models(loopback_hub, 5))) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        err = process.stderr.read()
    assert (process.returncode, err) == (141, "")


def test_a_line_that_names_no_model_is_a_record_of_its_own(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "models.txt"
    path.write_text("openai-community/gpt2\na/b/c\n")
    done = run("batch", path, "--offline", "--json", "-o", tmp_path / "out", "--jobs", "1")
    assert done.code == 2
    assert "models.txt, line 2: 'a/b/c'" in done.err
    found = {record["id"]: record for record in records((tmp_path / "out").read_text())}
    assert found["openai-community/gpt2"]["outcome"] == "ok"
    assert found["a/b/c"]["error"]["kind"] == "usage"
