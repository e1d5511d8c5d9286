"""From a `Model` and a workload to bytes. Pure functions: no input, no output, no globals."""

from inspector.memory.estimate import Estimate, Formulas, Part, Workload
from inspector.memory.inference import default_context, estimate
from inspector.memory.precision import PRECISION_BITS, STORED, parse_precision
from inspector.memory.training import (
    TrainingEstimate,
    TrainingSetup,
    article_training,
    training_estimate,
    training_total,
)

__all__ = [
    "PRECISION_BITS",
    "STORED",
    "Estimate",
    "Formulas",
    "Part",
    "TrainingEstimate",
    "TrainingSetup",
    "Workload",
    "article_training",
    "default_context",
    "estimate",
    "parse_precision",
    "training_estimate",
    "training_total",
]
