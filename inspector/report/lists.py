"""Several models or devices side by side, for a person."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from inspector.report.text import VERDICT_STYLE, Grid, indented, plain_table, print_name, workload_text
from inspector.report.units import SHOWN_OPTIONS, device_text, gib_text, inert, number_text, rate_text

if TYPE_CHECKING:
    from inspector.api.inspection import Inspection
    from inspector.record import Record


def print_fleet(console: Console, inspection: Inspection) -> None:
    """The devices that a model fits on, least memory first."""
    print_name(console, inspection)
    heading = f"{len(inspection.fits)} known devices hold it · {workload_text(inspection.estimate)}"
    indented(console, Text(heading, "bold"), 0)
    table = plain_table("GiB", "memory", "per GPU", "left", "context", "tok/s")
    for fit in inspection.fits:
        rate = "" if fit.decode_bound is None else rate_text(fit.decode_bound)
        memory, needed, left = map(gib_text, (fit.capacity * fit.count, fit.needed, fit.headroom))
        table.add_row(device_text(fit.gpu, fit.count), memory, needed, left, number_text(fit.max_context), rate)
    indented(console, table)
    if inspection.fits:
        indented(console, Text("context and tok/s are upper bounds; tok/s: decode, by the memory bandwidth", "dim"))


def print_published(console: Console, rows: Sequence[Record], *, cut: bool) -> None:
    """The quantized checkpoints of a model, those that fit first, and the commands of the best; errors in a line."""
    indented(console, Text("published checkpoints" if rows else "the Hub lists no quantized checkpoints", "bold"), 0)
    if not rows:
        return
    table = plain_table("GiB", "weights", "bits", "needs", "of", "context", "at once", "downloads")
    for row in rows:
        if "error" in row:
            table.add_row(Text(inert(row["id"])), Text(row["outcome"].replace("_", " "), VERDICT_STYLE[None]))
            continue
        bits = "" if row["bits_per_weight"] is None else f"{row['bits_per_weight']:.2f}"
        sizes = map(gib_text, (row["tensor_bytes"], row["needed"], row["usable"]))
        weights, needed, usable = sizes
        counts = map(number_text, (row["max_context"], row["max_batch"], row["downloads"]))
        table.add_row(Text(inert(row["id"]), VERDICT_STYLE[row["fits"]]), weights, bits, needed, usable, *counts)
    indented(console, table)
    for row in [row for row in rows if row.get("fits")][:SHOWN_OPTIONS]:
        console.print(Text(f"    {inert(row['command'])}"), soft_wrap=True)
    ranked = "those that fit first: the most bytes of weights, then context, sequences at once, downloads"
    more = "; the Hub lists more" if cut else ""
    indented(console, Text(f"{ranked}{more}", "dim"))


def print_comparison(console: Console, names: Sequence[str], records: Sequence[Record]) -> None:
    """Several models side by side, and for each device its verdict; of those that could not be read the name alone."""
    from inspector.report.columns import columns_of, value_at

    good = [record for record in records if "error" not in record]
    if not good:
        return
    columns = columns_of(good)
    table = Grid("model", head_style="bold")
    for column in columns:
        table.add_column(column.short or column.head, number=not column.key.startswith("fit."))
    styles = {"fits": VERDICT_STYLE[True], "no": VERDICT_STYLE[False], "unknown": VERDICT_STYLE[None]}
    for name, record in zip(names, records, strict=True):
        cells = ["error", *("-" for _ in columns[1:])]
        if "error" not in record:
            cells = [column.narrow(value_at(record, column.key)) for column in columns]
        table.add_row(*(Text(cell, styles.get(cell, "")) for cell in (inert(name), *cells)))
    indented(console, table, 0)
