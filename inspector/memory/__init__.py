"""From a `Model` and a workload to bytes. Pure functions: no input, no output, no globals.

Training has a package of its own, `inspector.memory.training`.
"""

from inspector.memory.estimate import Estimate, Formulas, Part, Workload
from inspector.memory.inference.total import default_context, estimate
from inspector.memory.quantization.precision import (
    FILE_TYPE_NAMES,
    PRECISION_BITS,
    RECIPE_NAMES,
    STORED,
    parse_precision,
)

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
    "parse_precision",
]
