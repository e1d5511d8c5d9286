"""A log beside its prediction: the table for people, the object for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.text import Text

from inspector.engines.common.comparison import COUNTS
from inspector.engines.registry import engine_named
from inspector.report.text import indented, plain_table
from inspector.report.units import gib_text, inert, label

if TYPE_CHECKING:
    from rich.console import Console

    from inspector.engines.common.log import Number
    from inspector.logs import Comparison, Row

_HIDDEN = ("model", "v1", "devices", "cards", "free_at_start", "free_before", "layers", "streams")
"""Settings that the heading or a note shows, or that only the comparison needs."""


def print_comparison(console: Console, comparison: Comparison, repo_id: str) -> None:
    """The engine and its settings, the table, and what may explain a difference."""
    run = comparison.run
    version = f" {inert(run.version)}" if run.version else ""
    gpus = f" on {comparison.count} x {inert(comparison.gpu)}" if comparison.gpu else ""
    heading = (f"{run.engine}{version}", "bold cyan"), f"{gpus}, beside the prediction for {inert(repo_id)}"
    indented(console, Text.assemble(*heading), 0)
    words = ", ".join(f"{name} {inert(str(value)[:80])}" for name, value in run.settings.items() if name not in _HIDDEN)
    if words:
        indented(console, Text(f"in the log: {words}", "dim"))
    console.print()
    table = plain_table("part", "printed", "predicted", "difference")
    for row in comparison.rows:
        difference = "" if row.difference is None else f"{row.difference:+.1f} %"
        table.add_row(
            _name(row.part, run.engine),
            _value(row, row.printed, "not printed"),
            _value(row, row.predicted, "unknown"),
            difference,
        )
    indented(console, table)
    spread = [row for row in comparison.rows if row.lowest != row.highest and not row.part.endswith("_of_pool")]
    for row in spread:
        which = "the tightest" if row.printed == row.lowest else "the largest"
        between = f"{_text(row.part, row.lowest)} to {_text(row.part, row.highest)}"
        indented(console, Text(f"{_name(row.part, run.engine)}: {which} of {between} is shown"))
    for note in comparison.notes:
        indented(console, Text(inert(note)))


def comparison_record(comparison: Comparison, repo_id: str) -> dict[str, Any]:
    """The comparison as a JSON object: sizes in bytes, the difference in percent; null where not known."""
    run = comparison.run
    return {
        "schema": 1,
        "repo_id": repo_id,
        "engine": run.engine,
        "engine_version": run.version,
        "gpu": comparison.gpu,
        "count": comparison.count,
        "capacity": comparison.capacity,
        "logged_settings": dict(run.settings),
        "settings": dict(comparison.settings),
        "parts": [
            {
                "part": row.part,
                "unit": "count" if row.part in COUNTS else "bytes",
                "printed": row.printed,
                "predicted": row.predicted,
                "difference_percent": None if row.difference is None else round(row.difference, 3),
                "lowest": row.lowest,
                "highest": row.highest,
            }
            for row in comparison.rows
        ],
        "notes": list(comparison.notes),
    }


def _name(part: str, engine: str) -> str:
    names = {
        "kv_tokens": "KV tokens",
        "kv_blocks": "KV blocks",
        "max_concurrency": "requests at once",
        "kv_tokens_of_pool": "KV tokens of the printed pool",
        "max_concurrency_of_pool": "requests at once, likewise",
        **engine_named(engine).part_names,
    }
    return names.get(part, label(part)) + ("" if part in COUNTS else ", GiB")


def _value(row: Row, value: Number | None, missing: str) -> str:
    return missing if value is None else _text(row.part, value)


def _text(part: str, value: Number | None) -> str:
    if value is None:
        return ""
    if part.startswith("max_concurrency"):
        return f"{value:,.2f}"
    return f"{value:,.0f}" if part in COUNTS else gib_text(round(value))
