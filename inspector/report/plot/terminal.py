"""Plots in a terminal: stacks of characters that are told apart without colours, as wide as the terminal is."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from rich.text import Text

from inspector.report.plot.charts import Chart, Line, beside, charts_of, gib_ticks, ticks, value_name
from inspector.report.text import MARKS, VERDICT_STYLE, indented
from inspector.report.units import gib_text, inert, number_text

if TYPE_CHECKING:
    from rich.console import Console

    from inspector.api.curves import Sweep

ROWS = 14
MOST_COLUMNS = 190
LEAST_COLUMNS = 12

LINE_STYLE = "bold"


class Glyphs(NamedTuple):
    """The characters of a plot."""

    parts: tuple[str, ...]
    across: str
    upright: str
    corner: str
    axis: str
    tick: str
    asked: str
    fits: str
    not_fit: str


UNICODE = Glyphs(tuple(mark for mark, _ in MARKS), "─", "┃", "└", "─", "┴", "▲", "✓", "✗")
ASCII = Glyphs(("#", "=", "+", ":", "%"), "-", "|", "+", "-", "+", "^", "y", "n")
"""Where the stream's encoding has no other."""

STYLES = tuple(style for _, style in MARKS)


def glyphs_of(encoding: str) -> Glyphs:
    """Those that an encoding has."""
    try:
        "".join(map("".join, UNICODE)).encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return ASCII
    return UNICODE


def plot_columns(width: int) -> int:
    """Columns of a curve in a terminal so wide: one for each of its points."""
    return max(min(width - _AXIS - 4, MOST_COLUMNS), LEAST_COLUMNS)


_AXIS = 7
"""Columns of the numbers at the axis of memory."""


def print_plots(console: Console, name: str, curve: Sweep, bars: Sweep) -> None:
    """Memory over the context and by precision, below a report of a model of this name."""
    console.print()
    indented(console, Text(inert(name), "bold cyan"), 0)
    glyphs = glyphs_of(console.encoding)
    for sweep, draw in ((curve, curve_lines), (bars, bar_lines)):
        for chart in charts_of(sweep):
            if chart.over == "dtype":
                console.print()
            indented(console, (Text(f"{chart.title}, GiB", "bold"), beside(sweep)), 0)
            if all(total is None for total in chart.totals):
                indented(console, "not known")
                continue
            for line in draw(chart, console.width - 2, glyphs):
                console.print(Text("  ") + line, soft_wrap=True)
            indented(console, list(_legend(chart, glyphs)), separator=", ")
            for device in chart.lines:
                indented(console, _device_line(device, chart, glyphs))


def curve_lines(chart: Chart, width: int, glyphs: Glyphs) -> Iterator[Text]:
    """The stacks side by side, the devices' lines across them, and the axes.

    Args:
        width: columns that there are.
    """
    columns = max(min(width - _AXIS - 2, MOST_COLUMNS), LEAST_COLUMNS)
    values = [int(value) for value in chart.values]
    least, most = values[0], values[-1]
    at = [_nearest(values, least + (most - least) * column / (columns - 1)) for column in range(columns)]
    numbers = {_row(size, chart.top): text for size, text in reversed(gib_ticks(chart.top, 5))}
    lines: dict[int, list[Line]] = {}
    for line in chart.drawn_lines:
        lines.setdefault(_row(line.bytes, chart.top), []).append(line)
    for row in range(ROWS):
        middle = chart.top * (ROWS - row - 0.5) / ROWS
        text = Text(f"{numbers.get(row, ''):>{_AXIS - 2}} ").append(glyphs.upright if row in numbers else " ", "dim")
        body = Text()
        for index in at:
            body = body + _cell(chart, index, middle, glyphs)
        yield text + (_crossed(body, lines[row], glyphs) if row in lines else body)
    yield from _context_axis(chart, least, most, columns, glyphs)


def _cell(chart: Chart, index: int, middle: float, glyphs: Glyphs) -> Text:
    """What of a stack is at a height."""
    height = 0
    for (_, sizes), mark, style in zip(chart.parts.items(), itertools.cycle(glyphs.parts), itertools.cycle(STYLES)):
        size = sizes[index]
        if size is None:
            return Text(" ")
        height += size
        if middle < height:
            return Text(mark, style)
    return Text(" ")


def _crossed(body: Text, lines: Sequence[Line], glyphs: Glyphs) -> Text:
    """A row with a device's line through it, and its name at the left, where a curve is lowest."""
    names = f" {', '.join(line.name for line in lines)} "
    columns = len(body.plain)
    names = names if len(names) < columns - 2 else ""
    return Text(glyphs.across * 2 + names + glyphs.across * (columns - 2 - len(names)), LINE_STYLE)


def _context_axis(chart: Chart, least: int, most: int, columns: int, glyphs: Glyphs) -> Iterator[Text]:
    def column_of(value: float) -> int:
        return round((value - least) * (columns - 1) / max(most - least, 1))

    tokens = [value for value in ticks(most, max(columns // 8, 2), binary=True) if value >= least]
    axis = [glyphs.axis] * columns
    names = [" "] * (columns + 8)
    free = 0
    for value in tokens:
        place, text = column_of(value), value_name(int(value))
        axis[place] = glyphs.tick
        begin = max(place - len(text) // 2, 0)
        if begin >= free and begin + len(text) <= columns:
            names[begin : begin + len(text)] = text
            free = begin + len(text) + 1
    yield Text(" " * (_AXIS - 1) + glyphs.corner + "".join(axis), "dim")
    yield Text(" " * _AXIS + "".join(names).rstrip())
    unit = "tokens" if chart.over == "context" else "sequences"
    words, place = f"{number_text(int(chart.asked))} {unit}", column_of(int(chart.asked))
    asked = f"{glyphs.asked} {words}" if place + len(words) + 2 <= columns else f"{words} {glyphs.asked}"
    begin = place if asked.startswith(glyphs.asked) else max(place - len(asked) + 1, 0)
    yield Text(" " * (_AXIS + begin) + asked, LINE_STYLE)


def bar_lines(chart: Chart, width: int, glyphs: Glyphs) -> Iterator[Text]:
    """A bar each, the devices' lines upright through them, and what it comes to.

    Args:
        width: columns that there are.
    """
    names = [value_name(value) for value in chart.values]
    totals = [gib_text(total) for total in chart.totals]
    before, behind = max(map(len, names)), max(map(len, totals))
    marks = 1 + len(chart.lines) if chart.lines else 0
    columns = max(min(width - before - behind - marks - 3, MOST_COLUMNS), LEAST_COLUMNS)
    lines = {min(line.bytes * columns // chart.top, columns - 1) for line in chart.drawn_lines}
    for index, (name, total) in enumerate(zip(names, totals, strict=True)):
        style = "bold" if chart.values[index] == chart.asked else ""
        bar = Text()
        for column in range(columns):
            cell = _cell(chart, index, chart.top * (column + 0.5) / columns, glyphs)
            bar = bar + (Text(glyphs.upright, LINE_STYLE) if column in lines else cell)
        text = Text(f"{name:<{before}} ", style) + bar + Text(f" {total:>{behind}}", style)
        for line in chart.lines:
            text.append(" " if line is chart.lines[0] else "")
            text.append(_mark(line.fits[index], glyphs), VERDICT_STYLE[line.fits[index]])
        text.rstrip()
        yield text


def _legend(chart: Chart, glyphs: Glyphs) -> Iterator[Text]:
    """What is what, with its size at what was asked for."""
    at = chart.values.index(chart.asked)
    for (name, sizes), mark, style in zip(chart.parts.items(), itertools.cycle(glyphs.parts), itertools.cycle(STYLES)):
        yield Text(mark, style).append(f" {name} {gib_text(sizes[at])}")


def _device_line(line: Line, chart: Chart, glyphs: Glyphs) -> Text:
    fits = line.fits[chart.values.index(chart.asked)]
    text = Text.assemble((_mark(fits, glyphs), VERDICT_STYLE[fits]), f" {line.name} {gib_text(line.bytes)}")
    if line not in chart.drawn_lines:
        text.append(" (above the plot)")
    if line.largest is not None:
        unit = {"context": "tokens", "batch": "sequences"}[chart.over]
        text.append(f": up to {line.largest:,} {unit}")
    return text


def _mark(fits: bool | None, glyphs: Glyphs) -> str:
    return "?" if fits is None else glyphs.fits if fits else glyphs.not_fit


def _row(size: int, top: int) -> int:
    """The row from above that a height is in."""
    return min(max(ROWS - 1 - size * ROWS // top, 0), ROWS - 1)


def _nearest(values: Sequence[int], wanted: float) -> int:
    after = bisect.bisect_left(values, wanted)
    if after == 0 or after == len(values):
        return min(after, len(values) - 1)
    return after if values[after] - wanted < wanted - values[after - 1] else after - 1
