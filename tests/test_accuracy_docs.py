"""The figures of docs/accuracy.md that an oracle left in the repo are those that it left.

To write them anew: python -m tests.test_accuracy_docs
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent.parent / "docs"
PAGE = DOCS / "accuracy.md"
STEPS = "[the table](training-accuracy.md)"
NAMES = "[the table](oracles.md)"


def found(oracle: str) -> dict[str, Any]:
    """What an oracle left in docs/oracles/."""
    left: dict[str, Any] = json.loads((DOCS / "oracles" / f"{oracle}.json").read_text(encoding="utf-8"))
    return left


def parameters() -> str:
    left = found("parameters")
    others = left["classes"] - left["equal"]
    return (
        f"{left['equal']:,} of {left['classes']:,} classes equal in all of {left['variations']:,} variations; "
        f"the other {others}, and what could not be built, by name in {NAMES}"
    )


def designs() -> str:
    left, tables = found("designs"), found("designs_by_tables")
    return (
        f"{left['equal_configs']:,} of {left['configs']:,} configs, {left['equal']:,} of {left['classes']:,} classes "
        f"exact in all of theirs; by tables, where transformers cannot run, {tables['equal_configs']:,} of "
        f"{tables['configs']:,} and {tables['equal']:,} of {tables['classes']:,}, the others marked, or "
        f'"cannot tell", by name: {NAMES}'
    )


def facts() -> str:
    left = found("facts")
    return (
        f"{left['equal']:,} of {left['classes']:,} config classes in {left['configs']:,} configs; most types are read "
        "without importing transformers"
    )


def caches() -> str:
    left = found("caches")
    return (
        f"{left['equal']:,} of {left['types']:,} language parts that run, {left['configs']:,} configurations, to the "
        "byte; so is what DynamicCache and StaticCache allocate"
    )


def errors(table: str, first: str) -> tuple[str, str, str, str, str]:
    """A row of docs/training-accuracy.md: its first cell, number, median, what 95 % are under, and worst."""
    text = (DOCS / "training-accuracy.md").read_text(encoding="utf-8").partition(f"\n## {table}\n")[2]
    row = re.search(rf"(?m)^\| ({first}[^|]*) \|" + r" ([^|]+) \|" * 4 + "$", text)
    assert row, (table, first)
    cells = [cell.replace("%", " %") for cell in row.groups()]
    return cells[0], f"{int(cells[1]):,}", cells[2], cells[3], cells[4]


def steps(table: str) -> str:
    """The errors of a table's first row."""
    models, number, median, at_95, worst = errors(table, "all ")
    unseen = ""
    if table.startswith("Absolute"):
        unseen = f"; unseen architectures worst {errors(table, 'the unseen ones')[4]}"
    models = models.removeprefix("all ")
    return f"{number} steps of {models}: median {median}, 95 % under {at_95}, worst {worst}{unseen}: {STEPS}"


ROWS: dict[str, Callable[[], str]] = {
    "parameters": parameters,
    "models that are only a design": designs,
    "layers, heads, windows, experts, ...": facts,
    "KV cache and states": caches,
    "training": lambda: steps("Absolute error of the step's peak"),
    "training with images, and of text alone": lambda: steps("Images"),
    "training, other objectives": lambda: steps("Objectives"),
}
"""First cell of a row -> its result."""


def with_figures(text: str) -> str:
    """The page with its figures made anew."""
    for name, result in ROWS.items():
        pattern = rf"(?m)^(\| {re.escape(name)} \| [^|\n]* \| )[^|\n]*( \| [^|\n]* \|)$"
        row = re.search(pattern, text)
        assert row, name
        text = text.replace(row[0], f"{row[1]}{result()}{row[2]}")
    return text


def test_the_figures_are_those_that_the_oracles_left() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text == with_figures(text), "python -m tests.test_accuracy_docs writes them anew"


if __name__ == "__main__":
    PAGE.write_text(with_figures(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
