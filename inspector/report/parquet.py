"""Parquet (extra `parquet`): a batch's records as a table with flat keys, made once all of them are there."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inspector.errors import UsageError
from inspector.report.columns import flat
from inspector.report.json_text import JsonLinesWriter, json_text

if TYPE_CHECKING:
    from inspector.record import Record

ROW_GROUP = 10_000
MAX_COLUMNS = 2000
"""Keys that come later than this many others go into `REST` as JSON."""
REST = "rest"


class ParquetWriter(JsonLinesWriter):
    """Lines of JSON with flat keys, lists as JSON text; and the table of them, whose columns have one type each:
    whole numbers, numbers, truth values or text; what is mixed is text.

    Raises:
        UsageError: pyarrow is not installed.
    """

    whole_file = True

    def __init__(self, columns: Sequence[str] | None = None, devices: Sequence[str] = ()) -> None:
        super().__init__(columns, devices)
        try:
            import pyarrow.parquet  # noqa: F401
        except ImportError:
            raise UsageError("Parquet needs pyarrow", "Install it: pip install 'pyarrow>=17'.") from None

    def line(self, record: Record) -> str:
        if self.columns is None:
            items = flat(record).items()
            record = {key: json_text(value) if isinstance(value, list) else value for key, value in items}
        return super().line(record)

    def make_file(self, lines: Path, path: Path) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        schema = _schema(lines)
        temporary = path.with_name(f".{path.name}.table")
        try:
            rows = _rows(lines)
            with parquet.ParquetWriter(temporary, schema) as writer:
                while group := [_cells(row, schema, pa.string()) for row in islice(rows, ROW_GROUP)]:
                    writer.write_table(pa.Table.from_pylist(group, schema))
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)

    def lines_of(self, path: Path) -> Iterator[str]:
        """The rows, without what is null in them."""
        import pyarrow as pa
        from pyarrow import parquet

        try:
            with parquet.ParquetFile(path) as table:
                for batch in table.iter_batches(ROW_GROUP):
                    for row in batch.to_pylist():
                        rest = row.pop(REST, None)
                        more = json.loads(rest) if isinstance(rest, str) else {}
                        known = {key: value for key, value in (row | more).items() if value is not None}
                        yield json_text(known) + "\n"
        except (pa.ArrowException, ValueError) as error:
            raise UsageError(f"{path} is no table of a batch: {' '.join(str(error).split())[:100]}") from None


def _schema(lines: Path) -> Any:
    """The columns that the lines need, in the order in which they come up."""
    import pyarrow as pa

    kinds: dict[str, set[type]] = {}
    for row in _rows(lines):
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
    return schema if len(columns) == len(kinds) else schema.append(pa.field(REST, pa.string()))


def _cells(row: Record, schema: Any, text: Any) -> Record:
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


def _rows(lines: Path) -> Iterator[Record]:
    with lines.open("rb") as file:
        for line in file:
            yield json.loads(line)
