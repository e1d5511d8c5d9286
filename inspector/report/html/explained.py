"""Of the HTML report: `--explain` folded under each number, and rows without anything to fold."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from inspector.report.columns import value_at
from inspector.report.html.element import MAX_PROSE, Child, Element, element, figure, folded, name, rows
from inspector.report.units import bytes_text, label

if TYPE_CHECKING:
    from inspector.record import Record


def part_row(page: Record, key: str) -> Element:
    """A part of an estimate: its name and bytes; folded, its formula, source and parts.

    Args:
        key: of a part, as `record.part_record` makes them: "record.explain.0".
    """
    number = figure(page, f"{key}.bytes", bytes_text, "bytes")
    return folded(name(label(value_at(page, f"{key}.name"))), *part_inside(page, key), number=number)


def part_inside(page: Record, key: str) -> Iterator[Child]:
    """What stands folded below a part."""
    part = value_at(page, key)
    size = "unknown" if part["bytes"] is None else f"{part['bytes']:,} B"
    seen = "" if part["low"] is None else f" ({bytes_text(part['low'])} to {bytes_text(part['high'])} seen)"
    yield element("p", name(f"{size} = {part['formula']}{seen}", "span", MAX_PROSE))
    if part["parts"]:
        yield rows(*(part_row(page, f"{key}.parts.{at}") for at in range(len(part["parts"]))))
    else:
        yield element("p", f"Source: {part['source']}", class_="quiet")


def plain_row(text: Child, number: Child, *, strong: bool = False) -> Element:
    """A row of `rows` with nothing folded below it."""
    return element(
        "div", element("span", text), element("span", number, class_="number"), class_=f"plain{' strong' * strong}"
    )
