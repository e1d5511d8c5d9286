"""What runs on a device, as a table for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from inspector.report.columns import BUNDLED_COLUMNS, FOUND_COLUMNS, value_at
from inspector.report.text import indented, plain_table
from inspector.report.units import inert

if TYPE_CHECKING:
    from rich.console import Console

    from inspector.record import Record
    from inspector.report.columns import Column
    from inspector.report.text import Grid

WORDS = ("dtype", "engine", "license", "pipeline_tag")
"""Keys of columns that hold words, not numbers."""


def print_found(
    console: Console,
    records: Sequence[Record],
    *,
    heading: str,
    criterion: str,
    left_out: Mapping[str, int],
    costs: bool = False,
) -> None:
    """A row for each model, in their order; why others are left out, and how the order is made.

    Args:
        costs: a price was asked for: what a million tokens cost at least is shown.
    """
    from rich.text import Text

    console.print(Text(heading, "bold"))
    if records:
        columns = [each for each in FOUND_COLUMNS if costs or each.key != "decode_cost"]
        indented(console, _table(columns, records))
        indented(console, Text("tok/s: an upper bound of decoding; likely: what is measured", "dim"))
        indented(console, Text(criterion, "dim"))
    for why, count in sorted(left_out.items()):
        indented(console, Text(f"{count:,} {why}", "dim"))


def print_bundled(console: Console, records: Sequence[Record]) -> None:
    """The bundled models."""
    console.print(f"{len(records):,} bundled models, of which a report needs no server")
    indented(console, _table(BUNDLED_COLUMNS, records))


def _table(columns: Sequence[Column], records: Sequence[Record]) -> Grid:
    table = plain_table(columns[0].head)
    for column in columns[1:]:
        table.add_column(column.short or column.head, number=column.key not in WORDS)
    for record in records:
        table.add_row(*(inert(column.narrow(value_at(record, column.key))) for column in columns))
    return table
