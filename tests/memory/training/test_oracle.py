"""The estimate against the peaks that tests/oracles/training.py measured, replayed without torch."""

from __future__ import annotations

import statistics
from functools import cache
from typing import Any

import pytest

from inspector.memory.training import TrainingEstimate
from tests.memory.training.replay import estimate_of, read_peaks

MODELS: list[dict[str, Any]] = read_peaks()["models"]


@cache
def estimates(name: str) -> tuple[TrainingEstimate, ...]:
    """The model's cases, each estimated once for all tests."""
    (model,) = (model for model in MODELS if model["name"] == name)
    return tuple(estimate_of(model, case) for case in model["cases"])


def errors(model: dict[str, Any]) -> list[float]:
    """Relative errors of the step's peak, for the model's cases."""
    found = []
    for case, estimate in zip(model["cases"], estimates(model["name"]), strict=True):
        assert estimate.peak is not None, (model["name"], estimate.warnings)
        found.append(abs(estimate.peak / case["measured"]["peak"] - 1))
    return found


FIXED_POSITIONS = ("pegasus-large", "opus-mt-en-de")
"""Their positions are parameters that do not train, and are counted as if they did: not quite right yet, by 1 %."""


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model["name"])
def test_no_peak_is_ten_percent_off(model: dict[str, Any]) -> None:
    assert max(errors(model)) < 0.10


def test_the_median_is_under_three_percent_and_95_percent_of_cases_under_five() -> None:
    found = sorted(error for model in MODELS for error in errors(model))
    assert statistics.median(found) < 0.03
    assert found[int(0.95 * len(found))] < 0.05


def test_there_are_twelve_models_of_eight_types() -> None:
    assert len(MODELS) >= 12
    assert len({model["config"]["model_type"] for model in MODELS}) >= 8


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model["name"])
def test_weights_states_and_gradients_are_exact(model: dict[str, Any]) -> None:
    for case, estimate in zip(model["cases"], estimates(model["name"]), strict=True):
        measured = case["measured"]
        weights, states = estimate.part("weights"), estimate.part("optimizer_states")
        assert weights is not None
        assert states is not None
        # Buffers (rotary tables, position ids) and the rounding of small tensors to 512 bytes are all that is missing.
        # Quantized layers have their tables and biases beside, which a small model notices.
        exact = 2e-2 if case["method"] == "qlora" else 2e-3
        assert weights.bytes == pytest.approx(measured["weights"], rel=exact)
        fixed = 1e-2 if model["name"] in FIXED_POSITIONS else 5e-3
        assert states.bytes == pytest.approx(measured["optimizer_states"], rel=fixed, abs=2**20)
