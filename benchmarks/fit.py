"""The constants of inspector/engines/vllm/profile.py that are fitted on logs, fitted again.

benchmarks/fitted.json has the logs they were fitted on. A case that is one of them is scored with constants fitted
without its group.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from inspector.engines.vllm.profile import GRAPH_GIB_A_LAYER, GRAPH_GIB_BASE, NON_TORCH_GIB, version_class
from inspector.engines.vllm.version import parse_version

FITTED = Path(__file__).parent / "fitted.json"

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Constants:
    """What is fitted: GiB outside torch by version class and ranks, and the graphs' line."""

    non_torch_gib: dict[tuple[str, int], float]
    graph_base: float
    graph_a_layer: float


SHIPPED = Constants(NON_TORCH_GIB, GRAPH_GIB_BASE, GRAPH_GIB_A_LAYER)


def load_rows(path: Path = FITTED) -> list[Row]:
    """The logs that the constants are fitted on."""
    rows: list[Row] = json.loads(path.read_text(encoding="utf-8"))
    return rows


def fit(rows: Sequence[Row]) -> Constants:
    """Medians over groups, and the line of least absolute deviation (it runs through two of the points)."""
    groups: dict[tuple[str, int], dict[str, list[float]]] = {}
    for row in rows:
        key = (version_class(parse_version(row["engine_version"])), row["tp"])
        groups.setdefault(key, {}).setdefault(row["group"], []).append(row["non_torch_gib"])
    table = {
        key: round(statistics.median(statistics.median(values) for values in of.values()), 4)
        for key, of in sorted(groups.items())
    }
    points = [(row["layers"], row["graph_estimated_gib"]) for row in rows if "graph_estimated_gib" in row]
    lines = [
        ((by - ay) / (bx - ax), ay - (by - ay) / (bx - ax) * ax)
        for (ax, ay), (bx, by) in combinations(sorted(set(points)), 2)
        if ax != bx
    ]
    slope, base = min(lines, key=lambda line: sum(abs(line[1] + line[0] * x - y) for x, y in points))
    return Constants(table, round(base, 6), round(slope, 6))


def constants_without(group: str, rows: Sequence[Row]) -> Constants:
    """The shipped constants, or, where this group had a part in them, those that the others give."""
    others = [row for row in rows if row["group"] != group]
    return SHIPPED if len(others) == len(rows) else fit(others)
