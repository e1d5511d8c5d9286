"""The estimate of a case of tests/memory/data/training_peaks.json, from the stored config and parameter count alone."""

from __future__ import annotations

from typing import Any

from inspector.memory import Workload
from inspector.memory.training import TrainingEstimate, TrainingSetup, training_estimate
from inspector.model import Model, Parameters
from inspector.model.architecture import read_architecture

SETUP = ("method", "precision", "optimizer", "optimizer_impl", "attention", "checkpointing", "lora_rank")


def model_of(config: dict[str, Any], parameters: int) -> Model:
    """A model that is known by its config and its number of parameters."""
    counted = Parameters(
        total=parameters,
        active=parameters,
        by_component={},
        by_dtype={},
        buffers=0,
        stored_only={},
        stored_bytes=2 * parameters,
    )
    return Model("a/model", read_architecture(config, None), counted, "BF16")


def estimate_of(model: dict[str, Any], case: dict[str, Any]) -> TrainingEstimate:
    """The estimate for a stored model and one of its cases."""
    setup = TrainingSetup(**{key: case[key] for key in SETUP})
    workload = Workload(context=case["context"], batch=case["batch"])
    return training_estimate(model_of(model["config"], model["parameters"]), workload, setup)
