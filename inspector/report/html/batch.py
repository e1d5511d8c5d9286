"""Of the HTML report: a batch as a table that sorts, with histograms of its sizes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inspector.errors import UsageError
from inspector.report.columns import FIRST_COLUMNS, MEMORY_COLUMNS, Column, batch_columns, device_columns
from inspector.report.html.document import DATA_END, DATA_START, data_block, frame
from inspector.report.html.element import Child, Element, chart, element, markup, name, number, row, section
from inspector.report.html.verdicts import said_verdict
from inspector.report.json_text import json_text
from inspector.report.units import bytes_text, count_text, number_text, verdict_text

if TYPE_CHECKING:
    from inspector.record import Record

HISTOGRAMS = 4
"""Columns of numbers that have one, the first of them."""
_HISTOGRAM_WORDS: dict[Callable[..., str], str] = {bytes_text: "bytes", count_text: "count"}
_OUTCOMES = {"fits": "good", "ok": "", "cannot_tell": "unsure"}
ERROR = "error.message"


def page_columns(columns: Sequence[str] | None, devices: Sequence[str]) -> list[Column]:
    """The columns of a batch's page after id and outcome: the user's own choice, or what people want to see."""
    if columns is not None:
        return [Column(key, key, _shown) for key in batch_columns(columns)[len(FIRST_COLUMNS) :]]
    sizes = [Column(f"fit.{at}.needed", f"needs on {device}", bytes_text) for at, device in enumerate(devices)]
    return [*MEMORY_COLUMNS, *device_columns(devices), *sizes, Column(ERROR, "error", lambda value: value or "")]


def write_batch(lines: Path, path: Path, columns: Sequence[Column]) -> None:
    """Makes the page of a batch's lines, and puts it in the place of an older one.

    Raises:
        OSError: the disk is full, say.
    """
    temporary = path.with_name(f".{path.name}.page")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.writelines(_page(lines, columns))
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def lines_of_page(path: Path) -> Iterator[str]:
    """The lines that a batch's page was made of.

    Raises:
        UsageError: it is no such page.
    """
    _, found, rest = path.read_text(encoding="utf-8").partition(DATA_START)
    try:
        rows = json.loads(rest.partition(DATA_END)[0])["rows"] if found else None
    except (ValueError, KeyError, TypeError):
        rows = None
    if not isinstance(rows, list):
        raise UsageError(f"{path} is no page of a batch")
    for each in rows:
        yield json_text(each) + "\n"


def _page(lines: Path, columns: Sequence[Column]) -> Iterator[str]:
    """The file in pieces: however many models, a row of them at a time."""
    outcomes = Counter(str(each.get("outcome")) for each in _rows(lines))
    failed = any(each.get(ERROR) for each in _rows(lines))
    shown = [column for column in columns if column.key != ERROR or failed]
    begin, end = frame(f"{outcomes.total():,} models · llm-inspect")
    yield begin
    before, _, after = markup(_body(outcomes, shown)).partition("<tbody>")
    yield f"{before}<tbody>"
    for each in _rows(lines):
        yield markup(_row(each, shown)) + "\n"
    yield after
    yield from data_block(_data(lines))
    yield end


def _data(lines: Path) -> Iterator[str]:
    yield '{"rows":['
    for at, each in enumerate(_rows(lines)):
        yield ("," if at else "") + json_text(each)
    yield "]}"


def _body(outcomes: Counter[str], columns: Sequence[Column]) -> Element:
    """All but the rows."""
    told = ", ".join(f"{count:,} {_outcome_text(outcome, count)}" for outcome, count in outcomes.most_common())
    drawn = [
        (column, words)
        for column in columns
        if (words := _HISTOGRAM_WORDS.get(column.shown) or ("number" if column.shown is _shown else ""))
    ]
    histograms = (
        element(
            "figure",
            element("figcaption", name(column.head)),
            chart("histogram", 0, data_column=column.key, data_words=words, data_about=column.head),
        )
        for column, words in drawn[:HISTOGRAMS]
    )
    heads = (element("th", name(head), scope="col") for head in ("model", "outcome", *(each.head for each in columns)))
    table = element(
        "table",
        element("caption", "Select a column's head to sort by it."),
        element("thead", element("tr", *heads)),
        element("tbody"),
        class_="sortable batch",
    )
    return element(
        "main",
        element("header", element("h1", f"{outcomes.total():,} models"), element("p", told, class_="quiet")),
        element("div", *histograms, class_="histograms"),
        section("Models", element("div", table, class_="scroll", tabindex="0", role="region", aria_label="Models")),
        class_="wide",
    )


def _outcome_text(outcome: str, count: int = 1) -> str:
    plural = {"fits": "fit", "does_not_fit": "do not fit"} if count != 1 else {}
    return plural.get(outcome, outcome.replace("_", " "))


def _row(record: Record, columns: Sequence[Column]) -> Element:
    outcome = str(record.get("outcome"))
    kind = _OUTCOMES.get(outcome, "bad")
    cells: list[Child] = [name(record.get("id")), element("span", _outcome_text(outcome), class_=kind or None)]
    for column in columns:
        value = record.get(column.key)
        unread = value is None and record.get(ERROR)
        cells.append("" if unread else _cell(column, value))
    return row(cells)


def _cell(column: Column, value: Any) -> Child:
    if column.shown is verdict_text:
        return said_verdict(value, column.key)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return number(value, column.key, column.shown)
    return name(column.shown(value))


def _shown(value: Any) -> str:
    """A value of a column that the user chose."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return number_text(value) if isinstance(value, int) else f"{value:,.6g}"
    return "" if value is None else value if isinstance(value, str) else json_text(value)


def _rows(lines: Path) -> Iterator[Record]:
    with lines.open("rb") as file:
        for line in file:
            yield json.loads(line)
