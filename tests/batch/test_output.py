"""Two batches and one file: the second is refused, whatever the first is doing."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from inspector.batch.output import OutputFile, new_file, resume_file
from inspector.errors import UsageError
from inspector.report.writers import make_writer
from tests.batch.mixed import small_files
from tests.batch.test_batch_command import listed, start
from tests.conftest import Run
from tests.hub_server import Fault, LoopbackHub

pytestmark = pytest.mark.skipif(os.name != "posix", reason="locks of POSIX systems")

LINE = '{"id":"org/a","outcome":"ok"}\n'
PASSING = '{"id":"org/b","outcome":"hub_unreachable"}\n'


def test_a_file_is_locked_until_it_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    first = new_file(path)
    for attempt in (new_file, OutputFile, lambda path: resume_file(path, make_writer("jsonl"))):
        with pytest.raises(UsageError, match="another batch"):
            attempt(path)
    first.write(LINE)
    first.close()
    with pytest.raises(UsageError, match="there already"):
        new_file(path)
    second, done = resume_file(path, make_writer("jsonl"))
    assert done == {"org/a": "ok"}
    second.close()
    assert path.read_text() == LINE


def test_a_file_that_is_put_in_order_is_locked_as_well(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text(LINE + PASSING)
    first, done = resume_file(path, make_writer("jsonl"))
    assert (done, path.read_text()) == ({"org/a": "ok"}, LINE)
    with pytest.raises(UsageError, match="another batch"):
        resume_file(path, make_writer("jsonl"))
    first.write(PASSING)
    first.close()
    assert path.read_text() == LINE + PASSING
    assert [each.name for each in tmp_path.iterdir()] == ["out.jsonl"]


def test_a_refused_file_is_let_go(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text("precious\n")
    for _ in range(2):
        with pytest.raises(UsageError, match="no result of a batch"):
            resume_file(path, make_writer("jsonl"))
    assert path.read_text() == "precious\n"


def test_a_second_run_is_refused_and_the_first_goes_on(
    run: Run, loopback_hub: LoopbackHub, command_home: Path, tmp_path: Path
) -> None:
    for name in ("org/a", "org/hangs"):
        loopback_hub.add_repo(name, small_files())
    loopback_hub.faults.append(Fault("hang", path="/org/hangs/", times=None))
    path, out = listed(tmp_path, ["org/a", "org/hangs"]), tmp_path / "out.jsonl"
    with start(command_home, loopback_hub, path, "--output", out) as process:
        while not out.exists() or not out.read_text():
            assert process.poll() is None
            time.sleep(0.01)
        done = run("batch", path, "--output", out, "--resume", endpoint=loopback_hub.url)
        assert done.code == 2
        assert "another batch writes to" in done.err
        assert process.wait(30) == 5
        process.communicate()
    assert {json.loads(line)["id"] for line in out.read_text().splitlines()} == {"org/a", "org/hangs"}
