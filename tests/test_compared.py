"""docs/compared.md says of llm-inspect what it answers now, and has every tool and model of benchmarks/compared.py."""

from __future__ import annotations

import pytest

import inspector
from benchmarks.compared import MODELS, PAGE, TOOLS, cell, named, reason

SNAPSHOTS = [name for name, shown in MODELS.items() if shown.files == "snapshot"]
TEXT = PAGE.read_text(encoding="utf-8")


def own_cell(heading: str, name: str) -> str:
    table = TEXT.partition(f"## {heading}")[2].partition("\n## ")[0]
    row = next(line for line in table.splitlines() if line.startswith(f"| {name} |"))
    return row.split(" | ")[3]


@pytest.mark.parametrize("name", SNAPSHOTS)
def test_the_page_says_what_we_answer(name: str) -> None:
    model = inspector.load(name, offline=True)
    cache = model.estimate(context=MODELS[name].tokens).kv_cache.bytes
    assert cache is not None
    assert own_cell("Parameters", name) == f"**{model.model.parameters.total / 1e9:,.3f}**"
    assert own_cell("KV cache", name) == f"**{cache / 1024**3:,.3f}**"


def test_the_page_names_every_tool_and_model() -> None:
    assert all(f" {tool} |" in TEXT for tool in TOOLS)
    assert all(f"| {name} |" in TEXT for name in MODELS)


def test_a_cell_says_how_far_off_a_value_is() -> None:
    assert cell("parameters", None, 10**9) == "-"
    assert cell("parameters", 1_004_000_000, 10**9) == "**1.004**"
    assert cell("parameters", 750_000_000, 10**9) == "0.750 (-25%)"
    assert cell("parameters", 12 * 10**9, 10**9) == "12.000 (12.0 times)"


def test_what_a_tool_says_of_a_failure() -> None:
    assert reason("at line 3\nValueError: no weights\n  at x\nNode.js v20") == "ValueError: no weights"
    assert reason("") == ""
    rows = [["a.{}.b", "BF16", [1], "0-1"], ["c", "F32", [2]]]
    assert [each[0] for each in named(rows)] == ["a.0.b", "a.1.b", "c"]
