"""Of the HTML report: the tables over ranges of settings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from inspector.report.grid import WORDS, body_of, device_of, heading_of, heads_of, reasons_of, tables_of
from inspector.report.html.element import Child, Element, element, name, section, table
from inspector.report.html.verdicts import CLASSES

if TYPE_CHECKING:
    from inspector.record import Record
    from inspector.report.grid import Table


def grid_section(grid: Record) -> Element:
    """A table of each device, or of all; a verdict is told by a word and a colour."""
    what, *fixed = heading_of(grid)
    reasons = [element("li", name(reason, "span")) for reason in reasons_of(grid)]
    return section(
        what,
        *(_table(each) for each in tables_of(grid, apart=True)),
        element("ul", *reasons, class_="notes") if reasons else None,
        about=", ".join(fixed),
    )


def _table(found: Table) -> Element:
    caption = "" if found.device is None else device_of(found)
    return table(heads_of(found), _lines(found), caption or "GiB")


def _lines(found: Table) -> Iterator[list[Child]]:
    for values, cells in body_of(found, WORDS):
        yield [
            *(name(value) for value in values),
            *(
                element("span", text, class_=CLASSES[cell["fits"]]) if cell and cell["gpu"] else text
                for text, cell in cells
            ),
        ]
