"""The article's formulas, to the byte, for Llama-3-8B: numbers worked out by hand from its text."""

from __future__ import annotations

import pytest

import inspector
from inspector.errors import UsageError

LLAMA = "meta-llama/Meta-Llama-3-8B"


def test_inference_of_llama_3_8b_at_2048_tokens() -> None:
    estimate = inspector.inspect(LLAMA, offline=True, formulas="article", context=2048).estimate
    assert estimate.weights.bytes == 16_060_522_496
    assert estimate.kv_cache.bytes == 1_073_741_824
    assert estimate.activations.bytes == 956_301_312
    assert estimate.total == 16_060_522_496 + 1_073_741_824 + 956_301_312


@pytest.mark.parametrize(("optimizer", "state_bytes"), [("adamw", 8), ("adamw-8bit", 2), ("sgd", 4)])
def test_training_adds_states_and_gradients_for_each_trainable_parameter(optimizer: str, state_bytes: int) -> None:
    inspection, training = inspector.train(LLAMA, offline=True, formulas="article", context=2048, optimizer=optimizer)
    assert training.peak == (inspection.estimate.total or 0) + (state_bytes + 4) * 8_030_261_248


def test_only_trainable_parameters_have_states_and_gradients() -> None:
    inspection, training = inspector.train(LLAMA, offline=True, formulas="article", trainable_parameters=1_000_000)
    assert training.peak == (inspection.estimate.total or 0) + 12 * 1_000_000


@pytest.mark.parametrize(("dtype", "weights"), [("fp32", 4.0), ("fp16", 2.0), ("int8", 1.0), ("int4", 0.5)])
def test_precision_scales_the_weights(dtype: str, weights: float) -> None:
    estimate = inspector.inspect(LLAMA, offline=True, formulas="article", dtype=dtype).estimate
    assert estimate.weights.bytes == 8_030_261_248 * weights


def test_more_trainable_parameters_than_there_are_is_refused() -> None:
    with pytest.raises(UsageError):
        inspector.train(LLAMA, offline=True, formulas="article", trainable_parameters=9_000_000_000)


def test_the_article_has_no_adapters() -> None:
    with pytest.raises(UsageError, match="no formula for lora"):
        inspector.train(LLAMA, offline=True, formulas="article", method="lora")


@pytest.mark.parametrize(
    ("share", "number"), [("50%", 4_015_130_624), ("12.5%", 1_003_782_656), ("0%", 0), ("1,000", 1000)]
)
def test_a_share_of_the_parameters_trains(share: str, number: int) -> None:
    inspection, training = inspector.train(LLAMA, offline=True, formulas="article", trainable_parameters=share)
    assert training.trainable_parameters == number
    assert training.peak == (inspection.estimate.total or 0) + 12 * number


@pytest.mark.parametrize("share", ["101%", "-1%", "half", "50 %%", "", "1e3%", "nan%"])
def test_what_is_no_share_is_refused(share: str) -> None:
    with pytest.raises(UsageError, match="no number of parameters"):
        inspector.train(LLAMA, offline=True, formulas="article", trainable_parameters=share)


def test_the_articles_own_page_has_four_bytes_of_activations() -> None:
    activations = inspector.inspect(LLAMA, offline=True, formulas="article", context=2048).estimate.activations
    assert activations.bytes == 956_301_312
    assert "the article's own page takes 4 B (FP32) for each of these: 3,825,205,248 B" in activations.formula
