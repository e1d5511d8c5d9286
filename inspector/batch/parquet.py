"""Parquet output (extra `parquet`): the lines of a batch first, a table of them once the batch is done.

A Parquet file is readable only when it is whole, so results go to a journal beside it, FILE.parquet.jsonl: a line each,
on disk as soon as it is finished. At the end the table takes the place of an older one in one step, and the journal
goes. A batch that is killed leaves the journal, from which --resume goes on.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from inspector.batch.output import OutputFile, new_file, resume_file
from inspector.batch.rows import Rows
from inspector.errors import UsageError

ROW_GROUP = 10_000
MAX_COLUMNS = 2000
"""Keys that come later than this many others go into `REST` as JSON."""
REST = "rest"

Row = dict[str, Any]


def journal_of(path: Path) -> Path:
    """Where the lines are until the table is written."""
    return path.with_name(f"{path.name}.jsonl")


def check_pyarrow() -> None:
    """Raises UsageError where Parquet cannot be written."""
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError:
        raise UsageError("Parquet needs pyarrow", "Install it: pip install 'llm-inspect[parquet]'.") from None


def new_journal(path: Path) -> OutputFile:
    """The journal of a new table.

    Raises:
        UsageError: the table or its journal is there already.
    """
    if path.exists():
        raise UsageError(f"{path} is there already", "Add --resume to go on with it, or move it away.")
    return new_file(journal_of(path))


def resume_journal(path: Path, rows: Rows) -> tuple[OutputFile, dict[str, str]]:
    """The journal of a batch that was ended early, or made anew from its table. As `output.resume_file`.

    Raises:
        UsageError: the table cannot be read, or the journal cannot be gone on with.
    """
    journal = journal_of(path)
    guard = OutputFile(journal)
    try:
        if guard.is_empty and path.exists():
            temporary = journal.with_name(f".{journal.name}.table")
            with temporary.open("w", encoding="utf-8") as file:
                file.writelines(json.dumps(row, separators=(",", ":")) + "\n" for row in _rows_of(path))
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(journal)
    except OSError as error:
        raise UsageError(f"{path} cannot be resumed: {error.strerror or error}") from None
    finally:
        guard.close()
    return resume_file(journal, rows)


def write_table(path: Path) -> None:
    """Makes the table of the journal's lines, and takes the journal away.

    Columns have one type: whole numbers, numbers, truth values or text; what is mixed is text.

    Raises:
        OSError: the disk is full, say; the journal stays.
    """
    import pyarrow as pa
    from pyarrow import parquet

    journal = journal_of(path)
    kinds: dict[str, set[type]] = {}
    for row in _lines(journal):
        for key, value in row.items():
            kinds.setdefault(key, set()).update(() if value is None else (_kind(value),))
    columns = list(kinds)[: MAX_COLUMNS - 1] if len(kinds) > MAX_COLUMNS else list(kinds)
    types = {
        frozenset((bool,)): pa.bool_(),
        frozenset((int,)): pa.int64(),
        frozenset((float,)): pa.float64(),
        frozenset((int, float)): pa.float64(),
    }
    schema = pa.schema([(key, types.get(frozenset(kinds[key]), pa.string())) for key in columns])
    if len(columns) < len(kinds):
        schema = schema.append(pa.field(REST, pa.string()))
    temporary = path.with_name(f".{path.name}.table")
    try:
        lines = _lines(journal)
        with parquet.ParquetWriter(temporary, schema) as writer:
            while rows := [_cells(row, schema, pa.string()) for row in islice(lines, ROW_GROUP)]:
                writer.write_table(pa.Table.from_pylist(rows, schema))
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    journal.unlink(missing_ok=True)


def _cells(row: Row, schema: Any, text: Any) -> Row:
    cells = {}
    for field in schema:
        value = row.pop(field.name, None)
        is_text = field.type == text
        cells[field.name] = value if value is None or not is_text or isinstance(value, str) else json.dumps(value)
    if row:
        cells[REST] = json.dumps(row)
    return cells


def _kind(value: Any) -> type:
    """The type of a cell; a number that is too large for a column of numbers is text."""
    return str if type(value) is int and not -(2**63) <= value < 2**63 else type(value)


def _lines(journal: Path) -> Iterator[Row]:
    with journal.open("rb") as file:
        for line in file:
            yield json.loads(line)


def _rows_of(path: Path) -> Iterator[Row]:
    """The rows of a table, without what is null in them."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as table:
            for batch in table.iter_batches(ROW_GROUP):
                for row in batch.to_pylist():
                    rest = row.pop(REST, None)
                    more = json.loads(rest) if isinstance(rest, str) else {}
                    yield {key: value for key, value in (row | more).items() if value is not None}
    except (pa.ArrowException, ValueError) as error:
        raise UsageError(f"{path} is no table of a batch: {' '.join(str(error).split())[:100]}") from None
