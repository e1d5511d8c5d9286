"""charts.js in a browser: its words are those of report/units.py, and names of a repo are text in it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import inspector
from inspector.report.units import bytes_text, count_text, inert, label, number_text

ASSETS = Path(inspector.__file__).parent / "report" / "html"
NAMES = re.compile(r"^export (?:const|function) (\w+)", re.MULTILINE)

HOSTILE = "<script>alert(1)</script>\u202e\u2066\x1b[31m\n\t\r\xa0\u2028\U000e0041 é模型 א"


@pytest.fixture
def charts(page: Any) -> Any:
    """A page of the style sheet and the module, whose functions are `charts.NAME`."""
    source = (ASSETS / "charts.js").read_text("utf-8")
    exported = ", ".join(NAMES.findall(source))
    style = (ASSETS / "style.css").read_text("utf-8")
    page.set_content(
        f"<!doctype html><html lang=en><title>Charts</title><style>{style}</style><main><div id=here></div></main>"
        f"<script type=module>{source}\nwindow.charts = {{ {exported} }};</script></html>"
    )
    page.wait_for_function("window.charts")
    return page


def shown(page: Any, name: str, *arguments: Any) -> str:
    """What the page shows of a chart."""
    page.evaluate(
        "([name, values]) => document.querySelector('#here').replaceChildren(charts[name](...values))",
        [name, list(arguments)],
    )
    text: str = page.locator("#here").inner_text()
    return text


SIZES = (None, 0, 5, 1023, 1024, 1536, 10_234, 102_348, 1024**2 - 1, 16_060_522_240, 3 * 1024**4 + 7, -16_060_522_240)


def test_values_have_the_words_of_the_text_report(charts: Any) -> None:
    for name, python in (("bytesText", bytes_text), ("countText", count_text), ("numberText", number_text)):
        values = [value for value in SIZES if value is None or value >= 0 or name == "bytesText"]
        assert charts.evaluate("([name, all]) => all.map(charts[name])", [name, values]) == list(map(python, values))
    names = ["kv_cache", "optimizer_states", "mtp", "constructor"]
    assert charts.evaluate("(all) => all.map(charts.label)", names) == list(map(label, names))


def test_what_a_name_hides_is_shown_as_the_text_report_shows_it(charts: Any) -> None:
    assert charts.evaluate("(text) => charts.inert(text)", HOSTILE) == inert(HOSTILE)
    long = charts.evaluate("(text) => charts.inert(text)", "a" * 10_000)
    assert len(long) == 160
    assert long.endswith("…")


def sweep(**other: Any) -> dict[str, Any]:
    """A sweep of one device over three contexts."""
    parts = {"weights": [8 * 1024**3] * 3, "kv_cache": [0, 1024**3, 2 * 1024**3]}
    totals = [8 * 1024**3, 9 * 1024**3, 10 * 1024**3]
    device = {"gpu": "RTX 9", "count": 1, "engine": "transformers", "capacity": 10 * 1024**3, "needed": totals}
    device |= {"usable": [int(9.5 * 1024**3)] * 3, "fits": [True, True, False], "largest": 6000}
    common = {"over": "context", "values": [1, 4096, 8192], "asked": 4096, "parts": parts, "total": totals}
    return common | {"devices": [device]} | other


def test_a_curve_is_read_with_the_keyboard(charts: Any) -> None:
    assert "4,096 tokens · total 9.00 GiB · RTX 9 fits" in shown(charts, "curveChart", sweep(), 700)
    slider = charts.get_by_role("slider")
    slider.focus()
    slider.press("ArrowRight")
    assert "8,192 tokens · total 10.0 GiB · RTX 9 does not fit" in charts.locator("#here").inner_text()
    assert slider.get_attribute("aria-valuenow") == "8192"
    slider.press("Home")
    slider.press("ArrowLeft")
    assert slider.get_attribute("aria-valuenow") == "1"


def test_a_curve_of_several_gpus_shows_what_one_must_hold_beside_what_it_has(charts: Any) -> None:
    device = sweep()["devices"][0] | {"gpu": "4 x RTX 9", "count": 4, "needed": [2 * 1024**3, 3 * 1024**3, None]}
    text = shown(charts, "curveChart", sweep(devices=[device]), 700)
    assert "3.00 GiB of 9.50 GiB" in text
    assert "total" not in text


def test_bars_have_the_totals_and_a_line_for_each_device(charts: Any) -> None:
    bars = sweep(over="dtype", values=["stored", "bf16", "int4"], asked="stored")
    text = shown(charts, "barChart", bars, 700)
    assert all(each in text for each in ("as stored", "8.00 GiB", "9.00 GiB", "10.0 GiB", "RTX 9"))
    assert charts.locator("#here line.limit").count() == 1
    assert charts.locator("#here rect.part").count() == 5
    assert "bf16 9.00 GiB" in charts.locator("#here svg").get_attribute("aria-label")


@pytest.mark.parametrize("width", [320, 900])
def test_layers_are_drawn_in_their_order(charts: Any, width: int) -> None:
    rows = [
        {"layers": [0, 2], "kind": "full_attention", "parameters": 200, "kv_bytes": 8},
        {"layers": [1, 3], "kind": HOSTILE, "parameters": 100, "kv_bytes": None},
        {"layers": [], "kind": None, "parameters": 50, "kv_bytes": 0},
    ]
    text = shown(charts, "layerStrip", rows, width)
    assert "full attention" in text
    assert charts.locator("#here script").count() == 0
    titles = charts.locator("#here rect title").all_text_contents()
    assert titles[0] == "layer 0: full attention, 200 parameters, cache 8 B"
    assert [title.split(":")[0] for title in titles] == [f"layer {index}" for index in range(4)]


def test_the_phase_of_the_peak_shows_its_parts(charts: Any) -> None:
    training = {"phases": {"forward": 5 * 1024**3, "backward": 7 * 1024**3}, "peak_phase": "backward"}
    training |= {"weights": 4 * 1024**3, "gradients": 3 * 1024**3, "logits": 0}
    text = shown(charts, "phaseTimeline", training, 700, [{"name": "RTX 9", "bytes": 6 * 1024**3}])
    assert all(each in text for each in ("forward", "5.00 GiB", "7.00 GiB", "gradients", "RTX 9"))
    assert charts.locator("#here rect.part").count() == 2


def test_a_histogram_counts_every_value_once(charts: Any) -> None:
    values = [1, 2, 3, None, 1000, 2000, 1e6]
    shown(charts, "histogram", values, 700)
    counts = charts.locator("#here text.tick").all_text_contents()[:-2]
    assert sum(map(int, counts)) == 6
    assert shown(charts, "histogram", [None], 700) == "no values"


def test_a_curve_beyond_the_chart_leaves_it_at_the_top(charts: Any) -> None:
    """What needs far more than the device has is not drawn level at the chart's edge."""
    totals = [size * 1024**3 for size in (8, 80, 800)]
    device = sweep()["devices"][0] | {"needed": totals}
    shown(charts, "curveChart", sweep(total=totals, parts={"weights": totals}, devices=[device]), 700)
    heights = [float(pair.split(",")[1]) for pair in charts.locator("polyline.total").get_attribute("points").split()]
    assert heights == sorted(set(heights), reverse=True)
    assert heights[-1] < 0
    clipped = charts.locator("svg svg:has(polyline.total)")
    assert clipped.evaluate("each => getComputedStyle(each).overflow") == "hidden"


def test_a_curve_without_devices_is_drawn_whole(charts: Any) -> None:
    totals = [size * 1024**3 for size in (8, 80, 800)]
    shown(charts, "curveChart", sweep(total=totals, parts={"weights": totals}, devices=[]), 700)
    points = charts.locator("polyline.total").get_attribute("points").split()
    assert all(float(pair.split(",")[1]) >= 22 for pair in points)
