"""JSON: one document for a command's answer, or a line for each record."""

from __future__ import annotations

import json
import math
import sys
from typing import TYPE_CHECKING, Any

from inspector.report.writers import Answer, Writer

if TYPE_CHECKING:
    from inspector.record import Record


class JsonWriter(Writer):
    """An object for one model, an array for several."""

    def print(self, answer: Answer) -> None:
        records = answer.records()
        sys.stdout.write(json_text(records if answer.array else records[0], indent=2) + "\n")


class JsonLinesWriter(Writer):
    """An object a line: the record, or of a batch with `columns` these keys of it."""

    def line(self, record: Record) -> str:
        if self.columns is not None:
            from inspector.report.columns import batch_columns, value_at

            record = {column: value_at(record, column) for column in batch_columns(self.columns)}
        return json_text(record) + "\n"

    def read(self, line: str) -> tuple[str, str]:
        from inspector.report.columns import FIRST_COLUMNS, id_and_outcome

        row = json.loads(line)
        return id_and_outcome([row.get(name) for name in FIRST_COLUMNS] if isinstance(row, dict) else [])


def json_text(value: Any, *, indent: int | None = None) -> str:
    """A value as JSON, on one line without `indent`. A config's own NaN, for which JSON has no word, is a string."""
    separators = (",", ":") if indent is None else None
    try:
        return json.dumps(value, indent=indent, separators=separators, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(value), indent=indent, separators=separators)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value
