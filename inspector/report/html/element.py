"""HTML as elements: whatever text is put into one stays text, and what it hides is shown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Union
from xml.etree import ElementTree

from inspector.report.columns import value_at
from inspector.report.units import inert, number_text

if TYPE_CHECKING:
    from inspector.record import Record

Element = ElementTree.Element
Child = Union[str, Element, "Iterable[Child]", None]

MAX_TEXT = 160
"""Characters of a name that are shown: the rest stands in its `title`."""
MAX_PROSE = 2_000
"""Characters of a note or a formula that are shown."""
MAX_TITLE = 10_000


def element(tag: str, *children: Child, **attributes: str | bool | None) -> Element:
    """An element of HTML. Text is made visible (`inert`) and escaped when it is written, attributes likewise.

    Args:
        children: texts, elements, or sequences of them; None for nothing.
        attributes: `class_` and the like without their last underscore, others' underscores as hyphens; True for one
            without a value, None or False for none.

    Example: element("p", "a < b", class_="quiet") is written <p class="quiet">a &lt; b</p>.
    """
    made = Element(tag)
    for name, value in attributes.items():
        if value is not None and value is not False:
            made.set(name.rstrip("_").replace("_", "-"), "" if value is True else inert(value)[:MAX_TITLE])
    _append(made, children)
    return made


def _append(parent: Element, children: Iterable[Child]) -> None:
    for child in children:
        if isinstance(child, Element):
            parent.append(child)
        elif isinstance(child, str):
            if len(parent):
                parent[-1].tail = (parent[-1].tail or "") + inert(child)
            else:
                parent.text = (parent.text or "") + inert(child)
        elif child is not None:
            _append(parent, child)


def markup(made: Element) -> str:
    """An element as it is written into a file."""
    return ElementTree.tostring(made, encoding="unicode", method="html")


def name(text: object, tag: str = "bdi", most: int = MAX_TEXT, **attributes: str) -> Element:
    """A name from a repo: a long one is cut, and whole in its `title`; its direction moves nothing else."""
    whole = inert(str(text))
    cut = len(whole) > most
    shown = whole[: most - 1] + "…" if cut else whole
    attributes |= {"title": whole[:MAX_TITLE]} if cut else {}
    return element(tag, shown, **({"dir": "auto"} if tag != "bdi" else {}), **attributes)


def figure(record: Record, key: str, shown: Callable[[Any], str] = number_text, unit: str = "") -> Element:
    """A number of a record as people read it, with the key that it stands under, and exactly in its `title`.

    Args:
        record: what the page is made of.
        key: keys joined by dots: "memory.inference.total".
        shown: one of report/units.py.
        unit: of the exact number: "bytes".
    """
    return number(value_at(record, key), key, shown, unit)


def number(value: Any, key: str, shown: Callable[[Any], str], unit: str = "") -> Element:
    """A number with the key that it stands under; arguments as of `figure`."""
    exact = None if value is None else f"{value:,} {unit}".strip() if isinstance(value, int) else str(value)
    return element("data", shown(value), value="" if value is None else str(value), data_key=key, title=exact)


def table(
    heads: Sequence[Child], rows: Iterable[Sequence[Child] | Element], caption: str = "", **attributes: str
) -> Element:
    """A table whose first column names its rows and whose others hold numbers; wide ones scroll by themselves.

    Args:
        rows: cells, or what `row` made of them.
        caption: what it is of, and in which unit.
    """
    return element(
        "div",
        element(
            "table",
            element("caption", caption) if caption else None,
            element("thead", element("tr", *(_cell("th", head, at, scope="col") for at, head in enumerate(heads)))),
            element("tbody", *(each if isinstance(each, Element) else row(each) for each in rows)),
            **attributes,
        ),
        class_="scroll",
        tabindex="0",
        role="region",
        aria_label=caption or f"Table by {heads[0]}",
    )


def row(cells: Sequence[Child], **attributes: str) -> Element:
    """A row of `table`."""
    return element(
        "tr",
        *(_cell("td" if at else "th", cell, at, scope=None if at else "row") for at, cell in enumerate(cells)),
        **attributes,
    )


def _cell(tag: str, content: Child, at: int, scope: str | None) -> Element:
    return element(tag, content, class_="number" if at else None, scope=scope)


def folded(summary: Child, *inside: Child, number: Child = None, opened: bool = False) -> Element:
    """A row of `rows`: what it is and its number, and folded below it what it is made of."""
    return element(
        "details",
        element(
            "summary",
            element("span", summary),
            element("span", number, class_="number") if number is not None else None,
        ),
        element("div", *inside, class_="inside"),
        open=opened,
    )


def rows(*children: Child) -> Element:
    """A list of `folded` rows."""
    return element("div", *children, class_="rows")


def section(heading: str, *children: Child, about: Child = None) -> Element:
    """A part of the page under a heading, with a word on what its numbers are."""
    return element("section", element("h2", heading), element("p", about, class_="quiet") if about else None, *children)


def chart(kind: str, model: int, **data: str) -> Element:
    """Where report.js draws, and nothing without it: a table beside has the same numbers.

    Args:
        kind: a key of report.js's `CHARTS`.
        model: its place among the page's models.
        data: what the chart asks for beside, `data_...`.
    """
    return element("div", hidden=True, data_chart=kind, data_model=str(model), **data)
