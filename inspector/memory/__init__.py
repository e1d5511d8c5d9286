"""From a `Model` and a workload to bytes. Pure functions: no input, no output, no globals.

The formulas are imported when they are first used: the settings of a `Workload` are wanted before they are. Training
has a package of its own, `inspector.memory.training`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from inspector.memory.estimate import Estimate, Formulas, Part, Workload

if TYPE_CHECKING:
    from inspector.memory.inference.total import default_context, estimated_cache
    from inspector.memory.precision import (
        FILE_TYPE_NAMES,
        PRECISION_BITS,
        RECIPE_NAMES,
        STORED,
        parse_precision,
    )
    from inspector.model import Model

__all__ = [
    "FILE_TYPE_NAMES",
    "PRECISION_BITS",
    "RECIPE_NAMES",
    "STORED",
    "Estimate",
    "Formulas",
    "Part",
    "Workload",
    "default_context",
    "estimate",
    "estimated_cache",
    "parse_precision",
]


def estimate(model: Model, workload: Workload) -> Estimate:
    """See `inspector.memory.inference.total.estimate`. It stands here since a file beside has its name, too."""
    from inspector.memory.inference import total

    return total.estimate(model, workload)


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name in ("default_context", "estimated_cache"):
        return getattr(import_module("inspector.memory.inference.total"), name)
    if name in __all__:
        return getattr(import_module("inspector.memory.precision"), name)
    raise AttributeError(f"module 'inspector.memory' has no attribute '{name}'")
