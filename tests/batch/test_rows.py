"""Records as lines: what the formats show, and that a resumed batch finds IDs and outcomes in each."""

from __future__ import annotations

import csv
import json
from typing import Any

import pytest

from inspector.batch.rows import Rows
from inspector.errors import UsageError

GOOD: dict[str, Any] = {
    "id": "org/a@v1",
    "outcome": "does_not_fit",
    "parameters": {"total": 1_500_000_000, "exact": True},
    "memory": {"inference": {"weights": 3 * 2**30, "kv_cache": None, "total": -1, "context": 4096}},
    "fit": [{"gpu": "H100", "fits": True}, {"gpu": "24GiB", "fits": False}],
    "warnings": ["one", "=two\x1b[31m"],
}
BAD: dict[str, Any] = {
    "id": "./a|b",
    "outcome": "gated_repo",
    "error": {"kind": "gated_repo", "message": "=no\nAsk | for it.", "exit_code": 3},
}


def test_json_lines_have_the_whole_record_or_the_chosen_keys() -> None:
    assert json.loads(Rows("jsonl").line(GOOD)) == GOOD
    rows = Rows("jsonl", ["parameters.total", "fit.1.fits", "fit.7.fits", "no.such", "id"])
    assert json.loads(rows.line(GOOD)) == {
        "id": "org/a@v1",
        "outcome": "does_not_fit",
        "parameters.total": 1_500_000_000,
        "fit.1.fits": False,
        "fit.7.fits": None,
        "no.such": None,
    }


def test_csv_cells_are_bytes_and_nothing_that_a_spreadsheet_runs() -> None:
    rows = Rows("csv", devices=["H100", "24GiB"])
    head, good, bad = csv.reader((rows.head + rows.line(GOOD) + rows.line(BAD)).splitlines())
    row = dict(zip(head, good, strict=True))
    assert row["memory.inference.weights"] == "3221225472"
    assert row["memory.inference.total"] == "-1"
    assert row["memory.inference.kv_cache"] == ""
    assert (row["fit.0.fits"], row["fit.1.fits"]) == ("true", "false")
    assert row["warnings"] == "one; =two\\x1b[31m"
    assert dict(zip(head, bad, strict=True))["error.message"] == "'=no Ask | for it."


def test_markdown_is_for_people() -> None:
    rows = Rows("markdown", devices=["H100", "24GiB"])
    assert (rows.head + rows.line(GOOD) + rows.line(BAD)).splitlines() == [
        "| id | outcome | parameters | weights | KV cache | total | context | H100 | 24GiB | error |",
        "|---|---|---|---|---|---|---|---|---|---|",
        "| org/a@v1 | does_not_fit | 1.50 B | 3.00 GiB | unknown | -1 B | 4,096 | fits | does not fit |  |",
        "| ./a\\|b | gated_repo |  |  |  |  |  |  |  | =no Ask \\| for it. |",
    ]
    assert Rows("markdown", ["parameters.total"]).line(GOOD) == "| org/a@v1 | does_not_fit | 1500000000 |\n"


@pytest.mark.parametrize("format", ["jsonl", "csv", "markdown"])
@pytest.mark.parametrize("columns", [None, ["parameters.total"], ["outcome"]])
@pytest.mark.parametrize("model", ["org/a@v1", "./a|b", "-x", "=x", "'x", 'a"b,c'])
def test_ids_and_outcomes_are_found_again(format: str, columns: list[str] | None, model: str) -> None:
    rows = Rows(format, columns)
    for record in (GOOD, BAD):
        line = rows.line({**record, "id": model})
        assert line.count("\n") == 1
        assert rows.read(line) == (model, record["outcome"])


@pytest.mark.parametrize("format", ["jsonl", "csv", "markdown"])
@pytest.mark.parametrize("line", ["", "\n", "{}\n", "[1]\n", "7\n", '{"id": 3, "outcome": "ok"}\n', "org/a\n", '"\n'])
def test_other_lines_are_not_taken_for_results(format: str, line: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  (JSON's own among them)
        Rows(format).read(line)


@pytest.mark.parametrize("columns", [[""], ["a", ""], ["x"] * 1000])
def test_columns_that_cannot_be_are_refused(columns: list[str]) -> None:
    with pytest.raises(UsageError):
        Rows("csv", columns)
