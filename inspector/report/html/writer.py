"""HTML: one file for an answer, with all that can be said of each model; of a batch a table that sorts."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from inspector.report.columns import Column, columns_of, value_at
from inspector.report.html.document import document
from inspector.report.html.element import Child, Element, element, figure, name, section, table
from inspector.report.html.model import article
from inspector.report.json_text import JsonLinesWriter, json_text

if TYPE_CHECKING:
    from inspector.record import Record
    from inspector.report.writers import Answer


class HtmlWriter(JsonLinesWriter):
    """A page for an answer; of a batch, once all its lines are there, a table of them."""

    whole_file = True

    def __init__(self, columns: Sequence[str] | None = None, devices: Sequence[str] = ()) -> None:
        from inspector.report.html.batch import page_columns

        self._columns = page_columns(columns, devices)
        super().__init__([column.key for column in self._columns], devices)

    def print(self, answer: Answer) -> None:
        made = answer.drawn() if answer.drawn else [{"record": record} for record in answer.records()]
        sys.stdout.write(html_page(answer.names, made))

    def make_file(self, lines: Path, path: Path) -> None:
        from inspector.report.html.batch import write_batch

        write_batch(lines, path, self._columns)

    def lines_of(self, path: Path) -> Iterator[str]:
        from inspector.report.html.batch import lines_of_page

        return lines_of_page(path)


def html_page(models: Sequence[str], drawn: Sequence[Record]) -> str:
    """A report as text: it is made of the JSON that stands in it, no number of another.

    Args:
        models: as the user named them; empty for an answer that is about none.
        drawn: what is shown of each, of inspector/api/drawn.py; or `record` alone.
    """
    data = json_text({"models": drawn})
    pages: Sequence[Record] = json.loads(data)["models"]
    names = ", ".join(models) or "models"
    whole = any("grid" in page["record"] for page in pages)
    inside = [_compared(pages)] if len(pages) > 1 and not whole else []
    inside += [article(page, index) for index, page in enumerate(pages) if len(pages) == 1 or _is_whole(page)]
    return document(f"{names} · llm-inspect", element("main", *inside), data)


def _compared(pages: Sequence[Record]) -> Element:
    """Several models side by side; each name leads to the model's own part, where there is one."""
    columns = columns_of([page["record"] for page in pages if "error" not in page["record"]])
    lines = []
    for index, page in enumerate(pages):
        record = page["record"]
        text = name(record.get("repo_id") or "")
        cells: list[Child] = [element("a", text, href=f"#model-{index}") if _is_whole(page) else text]
        cells += ["" if "error" in record else _cell(page, column) for column in columns]
        lines.append(cells)
    heads = ["model", *(column.head for column in columns)]
    return section("Side by side", table(heads, lines, "Models side by side", class_="sortable"))


def _is_whole(page: Record) -> bool:
    """There is more to say of it than a row of a table: a model that was read, or why it was not."""
    return not page["record"].keys().isdisjoint({"memory", "grid", "error"})


def _cell(page: Record, column: Column) -> Child:
    value = value_at(page["record"], column.key)
    if value is None or isinstance(value, str):
        return name(column.shown(value))
    return figure(page, f"record.{column.key}", column.shown)
