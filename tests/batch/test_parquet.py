"""Parquet: one row an ID with flat keys; the lines come first, so that nothing finished is lost."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from inspector.batch.output import journal_of, make_whole, new_journal, resume_journal
from inspector.errors import UsageError
from inspector.report.columns import flat
from inspector.report.writers import make_writer
from tests.batch.mixed import MIXED, PARAMETERS, add_mixed
from tests.batch.test_batch_command import add_models, asked_for, listed, start
from tests.conftest import Run
from tests.hub_server import LoopbackHub

parquet = pytest.importorskip("pyarrow.parquet", reason="the extra `parquet` is not installed")


def table(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
    return rows


def test_nested_keys_are_joined_by_dots_devices_by_their_index_and_lists_are_json() -> None:
    record = {
        "id": "a",
        "model": {"x": {"y": 1}, "none": None},
        "fit": [{"fits": True, "per_card": [1, 2]}, {"fits": None}],
        "warnings": ["w"],
        "empty": {},
    }
    assert flat(record)["warnings"] == ["w"]
    assert json.loads(make_writer("parquet").line(record)) == {
        "id": "a",
        "model.x.y": 1,
        "model.none": None,
        "fit.0.fits": True,
        "fit.0.per_card": "[1,2]",
        "fit.1.fits": None,
        "warnings": '["w"]',
    }


def test_columns_have_one_type_and_what_is_mixed_is_text(tmp_path: Path) -> None:
    path, rows = tmp_path / "t.parquet", make_writer("parquet")
    output = new_journal(path)
    base = {"outcome": "ok", "never": None}
    for record in (
        {"id": "a", **base, "n": 1, "f": 1, "b": True, "m": 1, "big": 2**70, "l": []},
        {"id": "b", **base, "n": None, "f": 0.5, "b": False, "m": "x", "big": 1},
        {"id": "c", **base, "late": -(2**63)},
    ):
        output.write(rows.line(record))
    make_whole(path, rows)
    output.close()
    types = {field.name: str(field.type) for field in parquet.read_schema(path)}
    assert types == {
        **dict.fromkeys(("id", "outcome", "never", "m", "big", "l"), "string"),
        **{"n": "int64", "f": "double", "b": "bool", "late": "int64"},
    }
    assert [row["m"] for row in table(path)] == ["1", "x", None]
    assert [row["big"] for row in table(path)] == [str(2**70), "1", None]
    assert [row["late"] for row in table(path)] == [None, None, -(2**63)]
    assert not journal_of(path).exists()


def test_a_key_too_many_goes_with_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inspector.report.parquet.MAX_COLUMNS", 4)
    path, rows = tmp_path / "t.parquet", make_writer("parquet")
    output = new_journal(path)
    output.write(rows.line({"id": "a", "outcome": "ok", "x": 1, "y": 2, "z": "three"}))
    output.write(rows.line({"id": "b", "outcome": "ok", "x": 1}))
    make_whole(path, rows)
    output.close()
    assert [json.loads(row["rest"]) if row["rest"] else None for row in table(path)] == [{"y": 2, "z": "three"}, None]
    output, done = resume_journal(path, rows)
    output.close()
    assert done == {"a": "ok", "b": "ok"}
    assert json.loads(journal_of(path).read_text().splitlines()[0]) == {
        "id": "a",
        "outcome": "ok",
        "x": 1,
        "y": 2,
        "z": "three",
    }


def test_a_batch_writes_a_row_an_id_and_goes_on_from_its_table(
    run: Run, loopback_hub: LoopbackHub, tmp_path: Path
) -> None:
    add_mixed(loopback_hub)
    path, out = listed(tmp_path, list(MIXED)), tmp_path / "out.parquet"
    arguments = ("batch", path, "--output", out)
    done = run(*arguments, endpoint=loopback_hub.url, HF_HUB_DOWNLOAD_TIMEOUT="1")
    assert done.code == 5, done.err
    rows = {row["id"]: row for row in table(out)}
    assert {model: row["outcome"] for model, row in rows.items()} == MIXED
    assert rows["org/good1"]["parameters.total"] == PARAMETERS
    assert rows["org/gated"]["parameters.total"] is None
    assert rows["org/gated"]["error.kind"] == "gated_repo"
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_file()) == ["models.txt", "out.parquet"]
    refused = run(*arguments, endpoint=loopback_hub.url)
    assert (refused.code, "--resume" in refused.err) == (2, True)
    # The failures of the network are asked for again, and nothing else.
    loopback_hub.faults.clear()
    loopback_hub.forget()
    again = run(*arguments, "--resume", endpoint=loopback_hub.url)
    assert again.code == 4, again.err
    assert asked_for(loopback_hub) == {"org/hangs", "org/down"}
    assert {row["id"]: row["outcome"] for row in table(out)} == {**MIXED, "org/hangs": "ok", "org/down": "ok"}
    assert len(table(out)) == len(MIXED)


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_killed_the_journal_has_what_was_done(
    run: Run, loopback_hub: LoopbackHub, command_home: Path, tmp_path: Path
) -> None:
    ids = add_models(loopback_hub, 40)
    path, out = listed(tmp_path, ids), tmp_path / "out.parquet"
    loopback_hub.latency = 0.02
    journal = journal_of(out)
    process = start(command_home, loopback_hub, path, "--output", out, "--jobs", "4")
    while process.poll() is None and (not journal.exists() or journal.read_bytes().count(b"\n") < 10):
        time.sleep(0.001)
    process.kill()
    process.communicate()
    assert not out.exists()
    written = {json.loads(line)["id"] for line in journal.read_text().split("\n")[:-1]}
    assert 10 <= len(written) < 40
    loopback_hub.forget()
    done = run("batch", path, "--output", out, "--resume", endpoint=loopback_hub.url)
    assert done.code == 0, done.err
    assert asked_for(loopback_hub) == set(ids) - written
    assert sorted(row["id"] for row in table(out)) == sorted(ids)
    assert not journal.exists()


def test_a_table_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    path.write_text("precious")
    with pytest.raises(UsageError, match="there already"):
        new_journal(path)
    with pytest.raises(UsageError, match="no table of a batch"):
        resume_journal(path, make_writer("parquet"))
    assert path.read_text() == "precious"


def test_without_pyarrow_the_way_to_it_is_named(run_process: Run, tmp_path: Path) -> None:
    hidden = tmp_path / "hidden"
    (hidden / "pyarrow").mkdir(parents=True)
    (hidden / "pyarrow" / "__init__.py").write_text("raise ImportError('not installed')\n")
    path = os.pathsep.join([str(hidden), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = run_process("batch", "-", "--output", tmp_path / "x.parquet", stdin="org/a", PYTHONPATH=path)
    assert done.code == 2
    assert "pip install 'pyarrow>=17'" in done.err
    assert not (tmp_path / "x.parquet.jsonl").exists()
    assert sys.executable
