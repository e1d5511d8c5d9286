"""Tables of text: CSV for programs, Markdown for people."""

from __future__ import annotations

import contextlib
import csv
import io
import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from inspector.report.columns import (
    CSV_COLUMNS,
    FIRST_COLUMNS,
    FIT_COLUMNS,
    MEMORY_COLUMNS,
    batch_columns,
    columns_of,
    device_columns,
    flat,
    id_and_outcome,
    rows_of,
    value_at,
)
from inspector.report.json_text import json_text
from inspector.report.units import inert
from inspector.report.writers import Answer, Writer

if TYPE_CHECKING:
    from inspector.record import Record

_FORMULA = ("=", "+", "-", "@")
_GUARDED = re.compile("^'(?=[-=+@])")
_BAR = re.compile(r"(?<!\\)\|")


class CsvWriter(Writer):
    """A row a record, flat keys joined by dots: all that the records of an answer have; of a batch a fixed choice."""

    def __init__(self, columns: Sequence[str] | None = None, devices: Sequence[str] = ()) -> None:
        super().__init__(columns, devices)
        fits = [f"fit.{index}.{name}" for index in range(len(devices)) for name in FIT_COLUMNS]
        chosen = [*CSV_COLUMNS, *fits, "warnings", "error.message"] if columns is None else columns
        self._columns = batch_columns(chosen)
        self.head = _csv_line(self._columns)

    def line(self, record: Record) -> str:
        return _csv_line([value_at(record, column) for column in self._columns])

    def read(self, line: str) -> tuple[str, str]:
        found: list[str] = []
        with contextlib.suppress(csv.Error, StopIteration):
            found = [_GUARDED.sub("", cell) for cell in next(csv.reader([line], strict=True))]
        return id_and_outcome(found[: len(FIRST_COLUMNS)])

    def print(self, answer: Answer) -> None:
        sys.stdout.write(csv_text(answer.records()))


def csv_text(records: Sequence[Record]) -> str:
    """Records as CSV, a row each, with all the keys that they have as columns."""
    rows = [flat(row) for record in records for row in rows_of(record)]
    columns = list(dict.fromkeys(key for row in rows for key in row))
    return _csv_line(columns) + "".join(_csv_line([row.get(key) for key in columns]) for row in rows)


class MarkdownWriter(Writer):
    """A table with the columns that people want to see, sizes with their units; of a batch's `columns` as they are."""

    def __init__(self, columns: Sequence[str] | None = None, devices: Sequence[str] = ()) -> None:
        super().__init__(columns, devices)
        self._people = () if columns is not None else (*MEMORY_COLUMNS, *device_columns(devices))
        keys = [*(column.key for column in self._people), "error.message"] if columns is None else columns
        self._columns = batch_columns(keys)
        heads = {column.key: column.head for column in self._people} | {"error.message": "error"}
        self.head = _markdown_head([heads.get(key, key) if self._people else key for key in self._columns])

    def line(self, record: Record) -> str:
        shown = {column.key: column.shown for column in self._people if "error" not in record}
        values = ((key, value_at(record, key)) for key in self._columns)
        return _markdown_line([shown.get(key, _text)(value) for key, value in values])

    def read(self, line: str) -> tuple[str, str]:
        cells = [cell.strip().replace("\\|", "|") for cell in _BAR.split(line)]
        return id_and_outcome(cells[1 : 1 + len(FIRST_COLUMNS)])

    def print(self, answer: Answer) -> None:
        """The models that could be read: what is wrong with the others stands on standard error."""
        named = zip(answer.names, answer.records(), strict=True)
        good = [(name, record) for name, record in named if "error" not in record]
        if any("grid" in record for _, record in good):
            sys.stdout.write("\n".join(_grid_text(name if len(good) > 1 else "", record) for name, record in good))
            return
        columns = columns_of([record for _, record in good])
        sys.stdout.write(_markdown_head(["model", *(column.head for column in columns)]))
        for name, record in good:
            cells = [column.shown(value_at(record, column.key)) for column in columns]
            sys.stdout.write(_markdown_line([_text(name), *cells]))


def _grid_text(name: str, record: Record) -> str:
    """The table of a record's ranges, below what it is of: its model, where there are several, and what is alike."""
    from inspector.report.grid import WORDS, body_of, heading_of, heads_of, reasons_of, tables_of

    (table,) = tables_of(record["grid"], apart=False)
    rows = ([*values, *(text for text, _ in cells)] for values, cells in body_of(table, WORDS))
    above = ", ".join((*([_text(name)] if name else []), *heading_of(record["grid"])))
    lines = [_markdown_head(heads_of(table)), *map(_markdown_line, rows)]
    below = "".join(f"\n{reason}\n" for reason in reasons_of(record["grid"]))
    return f"{above}\n\n{''.join(lines)}{below}"


def _text(value: Any) -> str:
    """A value as a cell, without anything that could steer a terminal or end the line; empty for what is not known."""
    if value is None:
        return ""
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        value = "; ".join(value)
    return inert(value.replace("\n", " ") if isinstance(value, str) else json_text(value))


def _csv_line(values: Sequence[Any]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(map(_csv_cell, values))
    return out.getvalue()


def _csv_cell(value: Any) -> str:
    """A cell that no spreadsheet would run as a formula: numbers are left as they are."""
    text = _text(value)
    return f"'{text}" if isinstance(value, (str, list)) and text.startswith(_FORMULA) else text


def _markdown_head(heads: Sequence[str]) -> str:
    return _markdown_line([inert(head) for head in heads]) + "|" + "---|" * len(heads) + "\n"


def _markdown_line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"
