"""llm-inspect: a model's exact parameters and memory, from its config and headers alone.

The names below are imported when they are first used, so that `import inspector` costs nothing.
"""

from __future__ import annotations

from inspector.version import __version__

TYPE_CHECKING = False  # typing's own would cost its import, a fifth of the start-up
if TYPE_CHECKING:
    from typing import Any

    from inspector.api.cells import Cell
    from inspector.api.differences import Difference, compare, inspect_pair
    from inspector.api.grid import Grid, grid, train_grid
    from inspector.api.inspection import Inspection, ainspect, fit, inspect, inspect_each
    from inspector.api.launching import launch
    from inspector.api.loaded import LoadedModel, load
    from inspector.api.side_by_side import together
    from inspector.api.training import Trained, train
    from inspector.batch import ainspect_many, inspect_many
    from inspector.batch.cluster import inspect_many_on_ray
    from inspector.batch.published import published
    from inspector.engines.serving import Serving
    from inspector.errors import InspectError
    from inspector.finding import Finding, Found, find
    from inspector.hub import Checkpoint, Resolver, Tensor
    from inspector.memory import Estimate, Part, Workload
    from inspector.memory.training import Sharding, TrainingEstimate
    from inspector.model import Architecture, Model, Parameters
    from inspector.verdict.fit import Fit

_HOMES = {
    "inspector.api.cells": ("Cell",),
    "inspector.api.grid": ("Grid", "grid", "train_grid"),
    "inspector.api.inspection": ("Inspection", "ainspect", "fit", "inspect", "inspect_each"),
    "inspector.api.launching": ("launch",),
    "inspector.api.loaded": ("LoadedModel", "load"),
    "inspector.api.side_by_side": ("together",),
    "inspector.api.training": ("Trained", "train"),
    "inspector.batch": ("ainspect_many", "inspect_many"),
    "inspector.batch.cluster": ("inspect_many_on_ray",),
    "inspector.batch.published": ("published",),
    "inspector.api.differences": ("Difference", "compare", "inspect_pair"),
    "inspector.engines.serving": ("Serving",),
    "inspector.errors": ("InspectError",),
    "inspector.finding": ("Finding", "Found", "find"),
    "inspector.hub": ("Checkpoint", "Resolver", "Tensor"),
    "inspector.memory": ("Estimate", "Part", "Workload"),
    "inspector.memory.training": ("Sharding", "TrainingEstimate"),
    "inspector.model": ("Architecture", "Model", "Parameters"),
    "inspector.verdict.fit": ("Fit",),
}

__all__ = [
    "Architecture",
    "Cell",
    "Checkpoint",
    "Difference",
    "Estimate",
    "Finding",
    "Fit",
    "Found",
    "Grid",
    "InspectError",
    "Inspection",
    "LoadedModel",
    "Model",
    "Parameters",
    "Part",
    "Resolver",
    "Serving",
    "Sharding",
    "Tensor",
    "Trained",
    "TrainingEstimate",
    "Workload",
    "__version__",
    "ainspect",
    "ainspect_many",
    "compare",
    "find",
    "fit",
    "grid",
    "inspect",
    "inspect_each",
    "inspect_many",
    "inspect_many_on_ray",
    "inspect_pair",
    "launch",
    "load",
    "published",
    "together",
    "train",
    "train_grid",
]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    for home, names in _HOMES.items():
        if name in names:
            found = getattr(import_module(home), name)
            if home.startswith("inspector.api."):
                import_module("inspector.api.inspection").Inspection.as_html = staticmethod(_report_html)
            return found
    raise AttributeError(f"module 'inspector' has no attribute '{name}'")


def _report_html(inspection: Any) -> str:
    from inspector.report.text import report_html

    return report_html(inspection)


def __dir__() -> list[str]:
    return sorted(__all__)
