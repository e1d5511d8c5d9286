"""A logged run beside its prediction: the rows, and what engines' comparisons share of reading settings and devices."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from inspector.devices.spec import GpuSpec, spec_of
from inspector.devices.table import find_device
from inspector.engines.common.log import LoggedRun, Number
from inspector.errors import UsageError

PARTS = ("weights", "activations", "non_torch", "graphs", "kv_pool", "kv_tokens", "kv_blocks", "max_concurrency")

COUNTS = ("kv_tokens", "kv_blocks", "max_concurrency", "kv_tokens_of_pool", "max_concurrency_of_pool")
"""Parts that are no bytes."""

MAX_CARDS = 1024
MAX_TOKENS = 2**40


@dataclass(frozen=True, slots=True)
class Row:
    """One part: what was printed and what is predicted, in bytes or (of `COUNTS`) as a count; None where not known."""

    part: str
    printed: Number | None
    predicted: Number | None
    lowest: Number | None = None
    highest: Number | None = None

    @property
    def difference(self) -> float | None:
        """100 * (predicted / printed - 1), in percent."""
        if self.predicted is None or not self.printed:
            return None
        return 100 * (self.predicted / self.printed - 1)


@dataclass(frozen=True, slots=True)
class Comparison:
    """All rows of a run, the settings that the prediction was made for, and what may explain a difference."""

    run: LoggedRun
    rows: tuple[Row, ...]
    gpu: str | None = None
    count: int = 1
    capacity: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def make_rows(run: LoggedRun, predicted: Mapping[str, Number | None]) -> tuple[Row, ...]:
    """A row for every part that is printed or predicted, in the usual order."""
    rows = []
    for part in dict.fromkeys((*PARTS, *predicted, *run.printed)):
        source = part.removesuffix("_of_pool")
        printed, value = run.printed.get(source), predicted.get(part)
        if printed is None and (value is None or source != part or part == "kv_blocks"):
            continue
        if printed is None:
            rows.append(Row(part, None, value))
        else:
            rows.append(Row(part, printed.value, value, printed.lowest, printed.highest))
    return tuple(rows)


def whole(value: Any, most: int) -> int | None:
    """A setting as a number from 1 to `most`; None where it is none."""
    return value if type(value) is int and 1 <= value <= most else None


def share(value: Any) -> float | None:
    """A setting as a share: above 0, at most 1."""
    return float(value) if type(value) in (int, float) and 0 < value <= 1 else None


def card_of(run: LoggedRun, spec: GpuSpec | None, count: int, notes: list[str]) -> GpuSpec | None:
    """The cards of the run: those that the user named, with the memory that the log prints; else the log's own."""
    if spec is None and run.card is not None:
        try:
            device = find_device(run.card, None if run.card_memory is None else run.card_memory // 1024**2)
        except UsageError:
            device = None
        if device is None:
            notes.append(f"the log names a card that is not known: {run.card}")
        else:
            spec = spec_of(device)
    if spec is None and run.card_memory is not None:
        spec = GpuSpec(f"{run.card_memory / 1024**3:.2f}GiB", count, run.card_memory)
    if spec is None:
        notes.append("the log does not tell the card: name it with --gpu for the cache and the activations")
        return None
    if spec.count not in (1, count):
        notes.append(f"the log has {count} ranks, --gpu {spec.count} cards: the log's number counts")
    if run.card_memory:
        off = spec.capacity / run.card_memory - 1
        if abs(off) > 0.01:
            notes.append(
                f"the log prints {run.card_memory / 1024**3:.2f} GiB for a card, {spec.name} has"
                f" {spec.capacity / 1024**3:.2f}: the log's counts"
            )
        spec = dataclasses.replace(spec, capacity=run.card_memory)
    return dataclasses.replace(spec, count=count)
