"""The layer table, for a person and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from inspector.memory.layer_table import LayerRow, indices_text
from inspector.report.text import indented, plain_table
from inspector.report.units import bytes_text, inert, label, number_text, tokens_text

if TYPE_CHECKING:
    from inspector.api.inspection import Inspection


MAX_INDICES = 12
"""Characters of a row's indices that the table shows; longer ones stand below it."""


def print_layer_table(console: Console, inspection: Inspection) -> None:
    """A row for equal layers, with what one of them takes; below, where the numbers come from."""
    rows, workload = inspection.layer_table(), inspection.estimate.workload
    console.print()
    tokens = f"cache for {tokens_text(workload.context, workload.batch)}"
    indented(console, (Text("Layers", "bold"), "each one's share", tokens), 0)
    table = plain_table("", "count", "parameters", "stored", "per token", "cache")
    for row in rows:
        cells = (_name(row), str(row.count), number_text(row.parameters), bytes_text(row.bytes))
        cached = (bytes_text(row.kv_bytes_per_token), bytes_text(row.kv_bytes)) if row.layers else ("", "")
        table.add_row(*map(Text, cells), *cached)
    indented(console, table)
    indented(console, Text("from", "dim"))
    for row in rows:
        where = f"layers {indices_text(row.layers)}: " if row.layers else ""
        _origin(console, _name(row), f"{where}{row.tensors}")
    for key, (value, where) in {key: found for row in rows for key, found in row.config.items()}.items():
        _origin(console, key, f"{_value_text(value)}, {where}")


def _name(row: LayerRow) -> str:
    """What a row is called: with its indices where they are short."""
    if not row.layers:
        return inert(row.name if "." in row.name else label(row.name))
    indices = indices_text(row.layers)
    return inert(f"{label(row.kind)} {indices}" if len(indices) <= MAX_INDICES else label(row.kind))


def _origin(console: Console, name: str, text: str) -> None:
    indented(console, Text.assemble((name, "dim bold"), (f" · {inert(text)}", "dim")), 4)


def _value_text(value: Any) -> str:
    if isinstance(value, list):
        return f"{len(value)} values" if len(value) > 8 else ", ".join(map(str, value))
    return "none" if value is None else str(value)
