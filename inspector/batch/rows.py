"""Records as lines of text, one a record, and back to what a resumed batch has to know: JSON Lines, CSV, Markdown.

The lines of a Parquet file are JSON Lines, too, with flat keys: `batch.parquet` makes the file of them.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from inspector.batch.outcome import Record
from inspector.errors import UsageError
from inspector.report.units import bytes_text, count_text, inert, number_text

JSONL, CSV, MARKDOWN, PARQUET = FORMATS = ("jsonl", "csv", "markdown", "parquet")
SUFFIXES = {".csv": CSV, ".md": MARKDOWN, ".markdown": MARKDOWN, ".parquet": PARQUET}
"""Of output files, by which their format is known; all else is JSON Lines."""

FIRST_COLUMNS = ("id", "outcome")
"""Of every row: a resumed batch goes by them."""
CSV_COLUMNS = (
    *("repo_id", "revision", "source", "model.model_type", "model.architecture", "model.dtype"),
    *("parameters.total", "parameters.active", "parameters.exact"),
    *("checkpoint.format", "checkpoint.files", "checkpoint.tensor_bytes", "checkpoint.download_bytes"),
    *("memory.inference.weights", "memory.inference.kv_cache", "memory.inference.activations"),
    *("memory.inference.overhead", "memory.inference.total", "memory.inference.context", "memory.inference.batch"),
)
MARKDOWN_COLUMNS: dict[str, tuple[str, Callable[[int | None], str]]] = {
    "parameters.total": ("parameters", count_text),
    "memory.inference.weights": ("weights", bytes_text),
    "memory.inference.kv_cache": ("KV cache", bytes_text),
    "memory.inference.total": ("total", bytes_text),
    "memory.inference.context": ("context", number_text),
}
"""What a person wants to see, its head, and how it is shown."""
FIT_COLUMNS = ("gpu", "count", "needed", "fits", "headroom", "max_context")
MAX_COLUMNS = 200

_GUARDED = re.compile("^'(?=[-=+@])")
_WORD = re.compile("[a-z_]+")
_BAR = re.compile(r"(?<!\\)\|")


class Rows:
    """Turns records into lines of one format.

    Args:
        format: "jsonl", "csv", "markdown" or "parquet".
        columns: keys of the record joined by dots (`parameters.total`, `fit.0.fits`), after `id` and `outcome`. None:
            in JSON Lines and Parquet the whole record; else a fixed choice: rows are written before all are known.
        devices: the names of those that were asked for: the fixed choice has their verdicts.

    Raises:
        UsageError: an empty column, or more than 200.
    """

    def __init__(self, format: str, columns: Sequence[str] | None = None, devices: Sequence[str] = ()) -> None:
        if columns is not None and (len(columns) > MAX_COLUMNS or not all(columns)):
            raise UsageError("--columns is a list such as repo_id,parameters.total", "Keys are joined by dots.")
        heads: dict[str, str] = {}
        if columns is None and format == CSV:
            fits = [f"fit.{index}.{name}" for index in range(len(devices)) for name in FIT_COLUMNS]
            columns = [*CSV_COLUMNS, *fits, "warnings", "error.message"]
        self._for_people = columns is None and format == MARKDOWN
        if columns is None and format == MARKDOWN:
            heads = {column: head for column, (head, _) in MARKDOWN_COLUMNS.items()}
            heads |= {f"fit.{index}.fits": device for index, device in enumerate(devices)}
            heads["error.message"] = "error"
            columns = list(heads)
        self._format = format
        self._columns = None if columns is None else list(dict.fromkeys([*FIRST_COLUMNS, *columns]))
        self._heads = [heads.get(column, column) for column in self._columns or ()]

    @property
    def head(self) -> str:
        """What stands above the first row, whole lines; empty for JSON Lines."""
        if self._format in (JSONL, PARQUET):
            return ""
        if self._format == CSV:
            return _csv_line([_csv_cell(head) for head in self._heads])
        return _markdown_line([inert(head) for head in self._heads]) + "|" + "---|" * len(self._heads) + "\n"

    def line(self, record: Record) -> str:
        """A record as one line, its end included."""
        if self._columns is None:
            row = flat(record) if self._format == PARQUET else record
            return json.dumps(row, separators=(",", ":")) + "\n"
        values = [_value(record, column) for column in self._columns]
        if self._format in (JSONL, PARQUET):
            return json.dumps(dict(zip(self._columns, values, strict=True)), separators=(",", ":")) + "\n"
        if self._format == CSV:
            return _csv_line([_csv_cell(value) for value in values])
        if self._for_people and "error" not in record:
            return _markdown_line([_shown(column, value) for column, value in zip(self._columns, values, strict=True)])
        return _markdown_line([_text(value) for value in values])

    def read(self, line: str) -> tuple[str, str]:
        """The ID and the outcome of a line that `line` made.

        Raises:
            ValueError: it is none.
        """
        found: list[Any] = []
        if self._format in (JSONL, PARQUET):
            row = json.loads(line)
            found = [row.get(name) for name in FIRST_COLUMNS] if isinstance(row, dict) else []
        elif self._format == CSV:
            with contextlib.suppress(csv.Error, StopIteration):
                found = [_GUARDED.sub("", cell) for cell in next(csv.reader([line], strict=True))][:2]
        else:
            found = [cell.strip().replace("\\|", "|") for cell in _BAR.split(line)][1:3]
        if len(found) != len(FIRST_COLUMNS) or not all(isinstance(cell, str) and cell for cell in found):
            raise ValueError("no line of a batch")
        if not _WORD.fullmatch(found[1]):
            raise ValueError("no outcome")
        return found[0], found[1]


def flat(record: Record) -> Record:
    """A record with its nested keys joined by dots, those of devices by their index; other lists as JSON text."""
    row: Record = {}

    def walk(prefix: str, value: Any) -> None:
        if isinstance(value, list) and prefix in ("fit", "serving"):
            value = {str(index): inner for index, inner in enumerate(value)}
        if isinstance(value, dict):
            for key, inner in value.items():
                walk(f"{prefix}.{key}" if prefix else key, inner)
        else:
            row[prefix] = json.dumps(value, separators=(",", ":")) if isinstance(value, list) else value

    walk("", record)
    return row


def _value(record: Record, column: str) -> Any:
    """What stands under keys joined by dots, None where there is nothing."""
    value: Any = record
    for key in column.split("."):
        if isinstance(value, dict):
            value = value.get(key)
        elif isinstance(value, list) and key.isascii() and key.isdigit() and int(key[:9]) < len(value):
            value = value[int(key[:9])]
        else:
            return None
    return value


def _text(value: Any) -> str:
    """A value as a cell, without anything that could steer a terminal or end the line."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        value = "; ".join(value)
    return inert(value.replace("\n", " ") if isinstance(value, str) else json.dumps(value, separators=(",", ":")))


def _shown(column: str, value: Any) -> str:
    """A value as a person wants it: with its unit, a verdict in words."""
    if column in MARKDOWN_COLUMNS:
        return MARKDOWN_COLUMNS[column][1](value)
    if column.startswith("fit."):
        return "cannot tell" if value is None else "fits" if value else "does not fit"
    return _text(value)


def _csv_cell(value: Any) -> str:
    """A cell that no spreadsheet would run as a formula: numbers are left as they are."""
    text = _text(value)
    return f"'{text}" if isinstance(value, (str, list)) and text[:1] in ("=", "+", "-", "@") else text


def _csv_line(cells: Sequence[str]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(cells)
    return out.getvalue()


def _markdown_line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"
