"""Real-world reports as small inputs (tests/cases): what the tool says of each is right, or null where it may be.

A case is one JSON: `files` (tests/case_files.py; what is left of a file is a hole) and `checks`: `path` into the
`--json` of `llm-inspect [fit] MODEL args`, the value that is right (`expect`, with a relative tolerance `tol`), divided
by `per` where given. `source` says where that is from, `before` what the tool said when the case was found.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from inspector.cli.main import run
from tests.case_files import lay_out

CASES = Path(__file__).parent / "cases"


def value_at(record: Any, path: str) -> Any:
    """The value under "memory.inference.kv_cache"; None where there is none. A key of a list is its first item's."""
    for key in path.split("."):
        if isinstance(record, list):
            if key.isdigit():
                record = record[int(key)] if int(key) < len(record) else None
                continue
            record = record[0] if record else None
        record = record.get(key) if isinstance(record, dict) else None
    return record


def is_right(got: Any, check: dict[str, Any]) -> bool:
    """Whether a value is the case's, or null where that is allowed."""
    expect = check["expect"]
    if got is None and check.get("null_ok"):
        return True
    if all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in (got, expect)):
        return bool(abs(got - expect) <= check.get("tol", 0) * abs(expect))
    return bool(got == expect)


@pytest.mark.parametrize("path", sorted(CASES.glob("*.json")), ids=lambda path: path.stem)
def test_a_report_from_the_wild_is_told_right(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    case = json.loads(path.read_text("utf-8"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    model = lay_out(case["files"], tmp_path / path.stem)
    records: dict[tuple[str, ...], Any] = {}
    for check in case["checks"]:
        args = tuple(check.get("args", ()))
        if args not in records:
            run([str(check.get("model") or model), "--json", *args])
            records[args] = json.loads(capsys.readouterr().out)
        got = value_at(records[args], check["path"])
        if check.get("per") and got is not None:
            got /= value_at(records[args], check["per"])
        assert is_right(got, check), (
            f"{' '.join(args)} {check['path']}: {got}, right {check['expect']} ({case['what']})"
        )
