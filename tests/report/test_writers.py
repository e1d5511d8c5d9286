"""The formats: what each shows of a record, and that a resumed batch finds IDs and outcomes in its lines."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from inspector.errors import UsageError
from inspector.report.columns import flat
from inspector.report.writers import FORMATS, Answer, make_writer
from tests.conftest import Run

GOOD: dict[str, Any] = {
    "id": "org/a@v1",
    "outcome": "does_not_fit",
    "parameters": {"total": 1_500_000_000, "exact": True},
    "memory": {"inference": {"weights": 3 * 2**30, "kv_cache": None, "total": -1, "context": 4096}},
    "fit": [{"gpu": "H100", "count": 1, "fits": True}, {"gpu": "24GiB", "count": 1, "fits": False}],
    "warnings": ["one", "=two\x1b[31m"],
}
BAD: dict[str, Any] = {
    "id": "./a|b",
    "outcome": "gated_repo",
    "error": {"kind": "gated_repo", "message": "=no\nAsk | for it.", "exit_code": 3},
}


def test_json_lines_have_the_whole_record_or_the_chosen_keys() -> None:
    assert json.loads(make_writer("jsonl").line(GOOD)) == GOOD
    rows = make_writer("jsonl", ["parameters.total", "fit.1.fits", "fit.7.fits", "no.such", "id"])
    assert json.loads(rows.line(GOOD)) == {
        "id": "org/a@v1",
        "outcome": "does_not_fit",
        "parameters.total": 1_500_000_000,
        "fit.1.fits": False,
        "fit.7.fits": None,
        "no.such": None,
    }


def test_csv_cells_are_bytes_and_nothing_that_a_spreadsheet_runs() -> None:
    rows = make_writer("csv", devices=["H100", "24GiB"])
    head, good, bad = csv.reader((rows.head + rows.line(GOOD) + rows.line(BAD)).splitlines())
    row = dict(zip(head, good, strict=True))
    assert row["memory.inference.weights"] == "3221225472"
    assert row["memory.inference.total"] == "-1"
    assert row["memory.inference.kv_cache"] == ""
    assert (row["fit.0.fits"], row["fit.1.fits"]) == ("true", "false")
    assert row["warnings"] == "one; =two\\x1b[31m"
    assert dict(zip(head, bad, strict=True))["error.message"] == "'=no Ask | for it."


def test_markdown_is_for_people() -> None:
    rows = make_writer("markdown", devices=["H100", "24GiB"])
    assert (rows.head + rows.line(GOOD) + rows.line(BAD)).splitlines() == [
        "| id | outcome | parameters | weights | KV cache | total | context | H100 | 24GiB | error |",
        "|---|---|---|---|---|---|---|---|---|---|",
        "| org/a@v1 | does_not_fit | 1.50 B | 3.00 GiB | unknown | -1 B | 4,096 | fits | does not fit |  |",
        "| ./a\\|b | gated_repo |  |  |  |  |  |  |  | =no Ask \\| for it. |",
    ]
    assert make_writer("markdown", ["parameters.total"]).line(GOOD) == "| org/a@v1 | does_not_fit | 1500000000 |\n"


@pytest.mark.parametrize("format", ["jsonl", "csv", "markdown"])
@pytest.mark.parametrize("columns", [None, ["parameters.total"], ["outcome"]])
@pytest.mark.parametrize("model", ["org/a@v1", "./a|b", "-x", "=x", "'x", 'a"b,c'])
def test_ids_and_outcomes_are_found_again(format: str, columns: list[str] | None, model: str) -> None:
    rows = make_writer(format, columns)
    for record in (GOOD, BAD):
        line = rows.line({**record, "id": model})
        assert line.count("\n") == 1
        assert rows.read(line) == (model, record["outcome"])


@pytest.mark.parametrize("format", ["jsonl", "csv", "markdown"])
@pytest.mark.parametrize("line", ["", "\n", "{}\n", "[1]\n", "7\n", '{"id": 3, "outcome": "ok"}\n', "org/a\n", '"\n'])
def test_other_lines_are_not_taken_for_results(format: str, line: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  (JSON's own among them)
        make_writer(format).read(line)


@pytest.mark.parametrize("columns", [[""], ["a", ""], ["x"] * 1000])
def test_columns_that_cannot_be_are_refused(columns: list[str]) -> None:
    with pytest.raises(UsageError):
        make_writer("csv", columns)


def printed(format: str, records: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> str:
    names = [f"name {index}" for index in range(len(records))]
    make_writer(format).print(Answer(names, lambda: records, lambda: None, array=len(records) > 1))
    return capsys.readouterr().out


def test_every_format_of_the_registry_has_its_writer() -> None:
    pytest.importorskip("pyarrow")
    assert {"text", "json", "jsonl", "csv", "markdown"} < set(FORMATS)
    assert [name for name in FORMATS if make_writer(name).whole_file] == ["html", "parquet"]


def test_json_is_an_object_or_an_array_and_knows_no_nan(capsys: pytest.CaptureFixture[str]) -> None:
    assert json.loads(printed("json", [GOOD], capsys)) == GOOD
    assert json.loads(printed("json", [GOOD, BAD], capsys)) == [GOOD, BAD]
    assert printed("jsonl", [{"a": float("nan")}], capsys) == '{"a":"nan"}\n'


def test_an_answer_as_csv_has_all_keys_and_the_cells_of_a_batch(capsys: pytest.CaptureFixture[str]) -> None:
    record = {**GOOD, "name": "", "no": None, "parts": [{"name": "vae"}]}
    head, *rows = csv.reader(printed("csv", [record, BAD], capsys).splitlines())
    assert head == list(dict.fromkeys([*flat(record), *flat(BAD)]))
    good, bad = (dict(zip(head, row, strict=True)) for row in rows)
    assert (good["name"], good["no"], good["error.message"], bad["parameters.total"]) == ("", "", "", "")
    assert (good["parameters.exact"], good["fit.1.fits"], good["fit.1.gpu"]) == ("true", "false", "24GiB")
    assert good["parts"] == '[{"name":"vae"}]'
    streamed = make_writer("csv", devices=["H100", "24GiB"])
    of_batch = dict(zip(*csv.reader((streamed.head + streamed.line(record)).splitlines()), strict=True))
    assert {key: of_batch[key] for key in of_batch.keys() & good.keys()} == {
        key: good[key] for key in of_batch.keys() & good.keys()
    }
    assert len(of_batch.keys() & good.keys()) > 10


def test_an_answer_as_markdown_has_the_columns_of_a_batch(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed("markdown", [GOOD, BAD], capsys).splitlines() == [
        "| model | parameters | weights | KV cache | total | context | H100 | 24GiB |",
        "|---|---|---|---|---|---|---|---|",
        "| name 0 | 1.50 B | 3.00 GiB | unknown | -1 B | 4,096 | fits | does not fit |",
    ]


def test_training_is_printed_in_every_format(run: Run) -> None:
    command = ("train", "openai-community/gpt2", "--offline", "--format")
    head, row = csv.reader(run(*command, "csv").out.splitlines())
    training = run(*command, "json").record["training"]
    assert dict(zip(head, row, strict=True))["training.peak"] == str(training["peak"])
    assert "| optimizer states |" in run(*command, "markdown").out
    refused = run(*command, "parquet")
    assert (refused.code, refused.out) == (2, "")
    assert "'parquet' is not one of 'text', 'json', 'jsonl', 'csv', 'markdown'" in refused.err


def test_a_file_s_name_tells_the_format_or_a_note_says_that_it_does_not(run: Run, tmp_path: Path) -> None:
    asked = ("openai-community/gpt2", "--offline", "-o")
    for name in ("report.txt", "report"):
        assert "tells no format" not in run(*asked, tmp_path / name).err
        assert (tmp_path / name).read_text(encoding="utf-8").startswith("openai-community/gpt2")
    assert "the name report.xyz tells no format: written as text" in run(*asked, tmp_path / "report.xyz").err
    assert "tells no format" not in run(*asked, tmp_path / "report.xyz", "--format", "csv").err
    assert run(*asked, tmp_path / "report.jsonl").code == 0
    assert len((tmp_path / "report.jsonl").read_text(encoding="utf-8").splitlines()) == 1
