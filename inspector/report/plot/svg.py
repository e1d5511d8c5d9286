"""Plots as one SVG file: it needs nothing beside it, is light or dark as its reader is, and text stays text."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from inspector.report.plot.charts import Chart, beside, charts_of, gib_ticks, ticks, value_name
from inspector.report.units import gib_text, inert, number_text, verdict_text

if TYPE_CHECKING:
    from inspector.api.curves import Sweep

Element = ElementTree.Element

WIDTH, LEFT, RIGHT = 760, 64, 20
CURVE_HEIGHT, BAR_HEIGHT, LINE_HEIGHT = 260, 22, 18
NAMES = 112
"""Room for the names of bars."""
TOTALS = 64
"""Room behind a bar for what it comes to."""

LIGHT = {
    "page": "#fbfbf9", "ink": "#1c2027", "quiet": "#5a6270", "rule": "#e3e4e1", "line": "#b3261e",
    "c0": "#3566cf", "c1": "#df8a2f", "c2": "#35a08b", "c3": "#a3abb8", "c4": "#8a63c8", "c5": "#c8527c",
}  # fmt: skip
DARK = {
    "page": "#15171b", "ink": "#e8eaee", "quiet": "#a4acb9", "rule": "#31353d", "line": "#ff8f85",
    "c0": "#5f8deb", "c1": "#e39b4d", "c2": "#4bb3a0", "c3": "#7d8695", "c4": "#a586e0", "c5": "#ee86aa",
}  # fmt: skip
"""As in html/style.css."""
COLOURS = {"weights": "c0", "KV cache": "c1", "activations": "c2", "overhead": "c3", "non-torch": "c3", "graphs": "c5"}
"""Of a part, wherever it is drawn; others take what is left."""


def plots_svg(name: str, curve: Sweep, bars: Sweep) -> str:
    """Memory over the context, and by precision, of a model of this name."""
    body: list[Element] = [_text(LEFT - 44, 30, name, "title")]
    y = 58.0
    for sweep in (curve, bars):
        for chart in charts_of(sweep):
            body.append(_text(LEFT - 44, y, f"{chart.title}, GiB", "head"))
            body.append(_text(LEFT - 44, y + LINE_HEIGHT, beside(sweep), "quiet"))
            y += 2 * LINE_HEIGHT
            if all(total is None for total in chart.totals):
                body.append(_text(LEFT - 44, y, "not known", "quiet"))
                y += 2 * LINE_HEIGHT
                continue
            made, height = (_bars if sweep.over == "dtype" else _curve)(chart, y)
            legend, more = _legend(chart, y + height)
            body += [*made, *legend]
            y += height + more + 28
    root = _element("svg", xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {WIDTH} {y:g}", width=f"{WIDTH}")
    root.set("height", f"{y:g}")
    root.set("role", "img")
    for tag, words in (("title", f"Memory of {name}"), ("desc", _described(curve, bars)), ("style", _style())):
        child = _element(tag)
        child.text = words if tag == "style" else inert(words)
        root.append(child)
    root.append(_element("rect", "page", width=f"{WIDTH}", height=f"{y:g}"))
    root.extend(body)
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def _curve(chart: Chart, top: float) -> tuple[list[Element], float]:
    """The stacks as areas over the axis, the devices' lines across them; and the height of it all."""
    values = [int(value) for value in chart.values]
    least, most, width = values[0], values[-1], WIDTH - LEFT - RIGHT
    bottom = top + CURVE_HEIGHT

    def x(value: float) -> float:
        return LEFT + width * (value - least) / max(most - least, 1)

    def y(size: float) -> float:
        return bottom - CURVE_HEIGHT * size / chart.top

    made: list[Element] = []
    for size, words in gib_ticks(chart.top, 5):
        made += [_rule(LEFT, y(size), LEFT + width, y(size), "rule"), _text(LEFT - 8, y(size) + 4, words, "quiet end")]
    below = [0] * len(values)
    for colour, sizes in _coloured(chart):
        above = [low + (size or 0) for low, size in zip(below, sizes, strict=True)]
        there = [(x(value), y(size)) for value, size in zip(values, above, strict=True)]
        back = [(x(value), y(size)) for value, size in zip(values, below, strict=True)]
        made.append(_element("polygon", colour, points=_points([*there, *reversed(back)])))
        below = above
    for line in chart.drawn_lines:
        made.append(_rule(LEFT, y(line.bytes), LEFT + width, y(line.bytes), "line"))
        made.append(_text(LEFT + 6, y(line.bytes) - 5, f"{line.name} {gib_text(line.bytes)}", "small"))
    for value in ticks(most, 8, binary=True):
        if value >= least:
            made.append(_rule(x(value), bottom, x(value), bottom + 5, "rule"))
            made.append(_text(x(value), bottom + 19, value_name(int(value)), "quiet middle"))
    asked = x(int(chart.asked))
    made.append(_rule(asked, top, asked, bottom, "asked"))
    unit = "tokens" if chart.over == "context" else "sequences"
    side = "small" if asked < LEFT + width / 2 else "small end"
    words = f"{number_text(int(chart.asked))} {unit}"
    made.append(_text(asked + (5 if side == "small" else -5), bottom - 7, words, side))
    return made, CURVE_HEIGHT + 26


def _bars(chart: Chart, top: float) -> tuple[list[Element], float]:
    """A bar each with its name and what it comes to, the devices' lines upright through all of them."""
    begin = LEFT - 44 + NAMES
    width = WIDTH - begin - RIGHT - TOTALS
    made: list[Element] = []
    names = LINE_HEIGHT if chart.drawn_lines else 0
    top += names
    for index, (value, total) in enumerate(zip(chart.values, chart.totals, strict=True)):
        y = top + index * (BAR_HEIGHT + 8)
        made.append(_text(LEFT - 44, y + 15, value_name(value), "strong" if value == chart.asked else "plain"))
        done = 0.0
        for colour, sizes in _coloured(chart) if total is not None else ():
            length = width * (sizes[index] or 0) / chart.top
            made.append(_element("rect", colour, x=f"{begin + done:.2f}", y=f"{y:g}", width=f"{length:.2f}"))
            made[-1].set("height", str(BAR_HEIGHT))
            done += length
        made.append(_text(WIDTH - RIGHT, y + 15, gib_text(total), "plain end"))
    height, free = len(chart.values) * (BAR_HEIGHT + 8), 0.0
    for line in sorted(chart.drawn_lines, key=lambda line: line.bytes):
        x = begin + width * line.bytes / chart.top
        made.append(_rule(x, top - 4, x, top + height - 4, "line"))
        half = 3.4 * len(line.name)
        if x - half >= free:  # a name that would lie on another stands in the legend alone
            made.append(_text(x, top - 8, line.name, "small middle"))
            free = x + half + 8
    return made, names + height + 8


def _legend(chart: Chart, top: float) -> tuple[list[Element], float]:
    """What each colour is, with its size at what was asked for; then each device."""
    at = chart.values.index(chart.asked)
    made: list[Element] = []
    x, y = LEFT - 44.0, top + 14
    for (colour, sizes), name in zip(_coloured(chart), chart.parts, strict=True):
        words = f"{name} {gib_text(sizes[at])}"
        width = 30 + 7.2 * len(words)
        if x + width > WIDTH - RIGHT:
            x, y = LEFT - 44.0, y + LINE_HEIGHT
        made.append(_element("rect", colour, x=f"{x:g}", y=f"{y - 10:g}", width="12", height="12", rx="2"))
        made.append(_text(x + 18, y, words, "plain"))
        x += width
    for line in chart.lines:
        y += LINE_HEIGHT
        words = f"{line.name} {gib_text(line.bytes)}: {verdict_text(line.fits[at])}"
        if line.largest is not None:
            words += f", up to {line.largest:,} {'tokens' if chart.over == 'context' else 'sequences'}"
        if line in chart.drawn_lines:
            made.append(_rule(LEFT - 44, y - 4, LEFT - 32, y - 4, "line"))
        else:
            words += " (above the plot)"
        made.append(_text(LEFT - 26, y, words, "plain"))
    return made, y - top


def _coloured(chart: Chart) -> Iterator[tuple[str, Sequence[int | None]]]:
    """Each part's colour and sizes."""
    taken = {COLOURS[name] for name in chart.parts if name in COLOURS}
    free = itertools.cycle([each for each in ("c0", "c4", "c5", "c1", "c2", "c3") if each not in taken] or ["c4"])
    for name, sizes in chart.parts.items():
        yield COLOURS.get(name) or next(free), sizes


def _described(curve: Sweep, bars: Sweep) -> str:
    """The plots in words."""
    charts = [*charts_of(curve), *charts_of(bars)]
    asked = [f"{chart.title}: {gib_text(chart.totals[chart.values.index(chart.asked)])} GiB" for chart in charts]
    return f"{'; '.join(asked)}; {beside(curve)}."


def _style() -> str:
    """Colours as plain values: not every program that draws SVG knows CSS variables."""

    def rules(colours: dict[str, str]) -> str:
        fills = "".join(f".{name}{{fill:{colour}}}" for name, colour in colours.items() if name != "line")
        strokes = f".rule{{stroke:{colours['rule']}}}.line{{stroke:{colours['line']}}}.asked{{stroke:{colours['ink']}}}"
        texts = f"text{{fill:{colours['ink']}}}text.quiet{{fill:{colours['quiet']}}}"
        texts += f"text.small{{stroke:{colours['page']}}}"
        return fills + strokes + texts

    return (
        "text{font:13px system-ui,-apple-system,'Segoe UI',Roboto,Inter,'Noto Sans','DejaVu Sans',sans-serif}"
        "text.title{font-size:18px;font-weight:600}text.head,text.strong{font-weight:600}"
        "text.small,text.quiet{font-size:12px}text.small{stroke-width:3px;paint-order:stroke}text.end{text-anchor:end}text.middle{text-anchor:middle}"
        "line{stroke-width:1}line.line{stroke-width:2;stroke-dasharray:6 4}line.asked{stroke-dasharray:2 3}"
        f"{rules(LIGHT)}"
        f"@media (prefers-color-scheme: dark){{{rules(DARK)}}}"
    )


def _element(tag: str, class_: str = "", **attributes: str) -> Element:
    made = Element(tag, {"class": class_} if class_ else {})
    for name, value in attributes.items():
        made.set(name, value)
    return made


def _text(x: float, y: float, words: str, class_: str) -> Element:
    made = _element("text", class_, x=f"{x:g}", y=f"{y:g}")
    made.text = inert(words)
    return made


def _rule(x1: float, y1: float, x2: float, y2: float, class_: str) -> Element:
    return _element("line", class_, x1=f"{x1:.2f}", y1=f"{y1:.2f}", x2=f"{x2:.2f}", y2=f"{y2:.2f}")


def _points(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.2f},{y:.2f}" for x, y in points)
