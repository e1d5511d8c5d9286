"""Plots: in terminals of all widths, and as files that need nothing beside them."""

from __future__ import annotations

import re
import struct
import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from rich.console import Console

import inspector
from inspector.api.curves import bars, curve
from inspector.api.settings import Settings
from inspector.report.plot.charts import charts_of, gib_ticks, ticks, value_name
from inspector.report.plot.svg import plots_svg
from inspector.report.plot.terminal import plot_columns, print_plots
from tests.conftest import Run, command_environment

QWEN = "Qwen/Qwen3-8B"
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def model() -> inspector.Model:
    return inspector.load(QWEN, offline=True).model


def printed(model: inspector.Model, width: int, *, encoding: str = "utf-8", colour: bool = False, **asked: Any) -> str:
    """What a terminal of so many columns shows."""

    class File(StringIO):
        @property
        def encoding(self) -> str:  # type: ignore[override]
            return encoding

    file, settings = File(), Settings(**asked)
    system: Any = "standard" if colour else None
    console = Console(file=file, width=width, force_terminal=True, color_system=system, markup=False, highlight=False)
    print_plots(console, QWEN, curve(model, settings, points=plot_columns(width)), bars(model, settings))
    return file.getvalue()


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
@pytest.mark.parametrize("engine", ["transformers", "vllm"])
def test_a_plot_is_as_wide_as_the_terminal_and_no_wider(model: inspector.Model, width: int, engine: str) -> None:
    lines = printed(model, width, gpus=("RTX 4090", "H100"), engine=engine).splitlines()
    assert max(map(len, lines)) <= width
    assert max(map(len, lines)) >= width - 4


def test_the_stacks_grow_with_the_context_and_the_line_stands_where_it_is_met(model: inspector.Model) -> None:
    lines = printed(model, 80, gpus=("RTX 4090",)).splitlines()
    start = next(at for at, line in enumerate(lines) if line.startswith("Memory over"))
    rows = [line[9:] for line in lines[start + 1 : start + 15]]
    line = next(at for at, row in enumerate(rows) if "RTX 4090" in row)
    assert line == 1  # 23.52 of 26.2 GiB
    heights = [sum(row[at : at + 1] not in ("", " ") for row in rows[line + 1 :]) for at in range(69)]
    assert heights == sorted(heights)
    assert heights[0] < heights[-1]
    assert "  ✓ RTX 4090 23.52: up to 33,799 tokens" in lines


def test_bars_are_as_long_as_what_they_stand_for(model: inspector.Model) -> None:
    lines = printed(model, 100, gpus=("RTX 4090",)).splitlines()
    found = {line.split()[0]: line for line in lines[-6:] if re.search(r"\d [✓✗]$", line)}
    lengths = {name: len(re.findall("[█▓▒░]", line)) for name, line in found.items()}
    assert list(found) == ["as", "fp32", "int8", "int4"]
    for name, total in (("fp32", 36.33), ("int8", 8.85), ("int4", 5.03)):
        assert lengths[name] / lengths["as"] == pytest.approx(total / 16.48, abs=0.06)
    assert found["as"].endswith("16.48 ✓")
    assert found["fp32"].endswith("36.33 ✗")


def test_an_encoding_without_the_characters_has_others_and_colours_are_beside_them(model: inspector.Model) -> None:
    plain = printed(model, 80, encoding="ascii", gpus=("RTX 4090",))
    marks = [line for line in plain.splitlines() if "·" not in line]
    assert "".join(marks).isascii()
    assert "#####" in plain
    assert "y RTX 4090" in plain
    assert "\x1b[34m█" in printed(model, 80, colour=True)
    assert "\x1b" not in printed(model, 80)


def test_a_far_line_is_named_and_not_drawn(model: inspector.Model) -> None:
    text = printed(model, 80, gpus=("H100",))
    assert "✓ H100 SXM 79.19 (above the plot)" in text
    assert "── H100" not in text


def test_devices_with_accounts_of_their_own_have_charts_of_their_own(model: inspector.Model) -> None:
    asked = Settings(gpus=("RTX 4090", "RTX 3090", "2xRTX 3090"))
    one, several = charts_of(curve(model, asked, points=5))
    assert [line.name for line in one.lines] == ["RTX 4090", "RTX 3090"]
    assert several.title == "Memory over the context: 2 x RTX 3090, per GPU, transformers"
    served = charts_of(bars(model, Settings(gpus=("RTX 4090", "H100"), engine="vllm")))
    assert [list(chart.parts) for chart in served] == [
        ["weights", "activations", "non-torch", "graphs", "KV cache"],
    ] * 2


def test_ticks_are_round_numbers() -> None:
    assert ticks(26.2, 5) == [0, 10, 20]
    assert ticks(40960, 8, binary=True) == [0, 8192, 16384, 24576, 32768, 40960]
    assert [text for _, text in gib_ticks(2**30, 5)] == ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]
    assert [value_name(value) for value in (1, 512, 8192, 2**20, "stored", "awq")] == [
        "1", "512", "8k", "1m", "as stored", "awq",
    ]  # fmt: skip


def drawn(model: inspector.Model, name: str = QWEN, **asked: Any) -> ElementTree.Element:
    settings = Settings(**asked)
    return ElementTree.fromstring(plots_svg(name, curve(model, settings, points=9), bars(model, settings)))


def test_an_svg_has_the_numbers_and_needs_nothing_beside_it(model: inspector.Model) -> None:
    root = drawn(model, gpus=("RTX 4090",))
    texts = [each.text or "" for each in root.iter(f"{SVG}text")]
    assert {"weights 15.26", "RTX 4090 23.52: fits, up to 33,799 tokens", "16.48", "36.33", "as stored"} <= set(texts)
    style = root.findtext(f"{SVG}style") or ""
    assert "@media (prefers-color-scheme: dark)" in style
    for banned in ("url(", "@import", "http:", "https:", "var("):
        assert banned not in style
    assert not {each.tag for each in root.iter()} - {
        f"{SVG}{tag}" for tag in ("svg", "title", "desc", "style", "rect", "text", "line", "polygon")
    }
    assert not [name for each in root.iter() for name in each.attrib if "href" in name or name.startswith("on")]


def test_the_areas_of_an_svg_are_as_high_as_what_they_stand_for(model: inspector.Model) -> None:
    root = drawn(model)
    areas = [
        [tuple(map(float, point.split(","))) for point in str(each.get("points")).split()]
        for each in root.iter(f"{SVG}polygon")
    ]
    found = curve(model, Settings(), points=9)
    bottom = areas[0][-1][1]
    top = areas[-1][len(found.values) - 1][1]
    weights = bottom - areas[0][0][1]
    assert found.total[-1] is not None
    assert (bottom - top) / weights == pytest.approx(found.total[-1] / (found.parts["weights"][-1] or 1), abs=0.01)


def test_a_hostile_name_stays_text(model: inspector.Model) -> None:
    name = "org/<script>alert(1)</script>&\u202e\x1b[31m]]>"
    settings = Settings()
    svg = plots_svg(name, curve(model, settings, points=3), bars(model, settings))
    assert "<script" not in svg
    assert "\u202e" not in svg
    assert "\x1b" not in svg
    titles = [each.text for each in ElementTree.fromstring(svg).iter(f"{SVG}text") if each.get("class") == "title"]
    assert titles == ["org/<script>alert(1)</script>&\\u202e\\x1b[31m]]>"]


def test_the_command_plots_below_the_report_or_into_a_file(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("resvg_py")
    plain = run(QWEN, "--offline").out
    plotted = run(QWEN, "--offline", "--plot", "--gpu", "RTX 4090").out
    assert "Memory over the context, GiB" in plotted
    assert run("--plot", QWEN, "--offline").out.startswith(plain)
    assert run("show", "--plot", QWEN, "--offline").code == 0
    svg, png = tmp_path / "memory.svg", tmp_path / "memory.png"
    assert run(QWEN, "--offline", "--plot", svg).out == plain
    assert ElementTree.fromstring(svg.read_bytes()).tag == f"{SVG}svg"
    assert run(QWEN, "--offline", f"--plot={png}", "--json").record["repo_id"] == QWEN
    data = png.read_bytes()
    assert data.startswith(b"\x89PNG")
    assert struct.unpack(">I", data[16:20]) == (1520,)
    several = run("--plot", QWEN, "openai-community/gpt2", "--offline").out
    assert several.count("Memory over the context") == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--plot", "--json"], "prints text, not json"),
        (["--plot=memory.pdf"], "written as .svg or .png"),
        (["--plot", "memory.gif"], "written as .svg or .png, not as 'memory.gif'"),
        (["openai-community/gpt2", "--plot", "memory.svg"], "the plot of one model"),
        (["--plot", "--context", "4k,8k"], "--plot is about one setting of each"),
        (["--plot", "missing/memory.svg"], "could not be written"),
    ],
)
def test_what_is_not_plotted_is_refused(run: Run, arguments: list[str], message: str) -> None:
    done = run(QWEN, *arguments, "--offline")
    assert done.code in (2, 6)
    assert message in done.err


def test_png_without_its_library_is_told_before_anything_is_read(tmp_path: Path) -> None:
    script = (
        "import sys; sys.modules['resvg_py'] = None; from inspector.cli.main import run; sys.exit(run(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "org/never-seen", "--offline", "--plot", "x.png"],
        env=command_environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "needs resvg_py\nInstall it: pip install 'resvg_py>=0.5'." in done.stderr


def test_memory_that_is_not_known_is_said_to_be_so(model: inspector.Model) -> None:
    import dataclasses

    settings = Settings()
    unknown = dataclasses.replace(
        curve(model, settings, points=3), parts={"weights": (1, 1, 1, 1), "kv_cache": (None, None, None, None)}
    )
    file = StringIO()
    print_plots(Console(file=file, width=80), QWEN, unknown, bars(model, settings))
    assert "\n  not known\n" in file.getvalue()
    assert "not known" in plots_svg(QWEN, unknown, bars(model, settings))
