"""Training steps with images: measured peaks replayed without torch, and what is said where they are not known."""

from __future__ import annotations

import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import inspector
from inspector.errors import UsageError
from inspector.memory import Workload
from inspector.memory.training import Sharding, TrainingEstimate, TrainingSetup, read_weights, training_estimate
from inspector.memory.training.vision import _table
from inspector.tables import table_names
from tests.memory.training.replay import estimate_of, read_peaks

PEAKS = Path(__file__).parents[1] / "data" / "training_image_peaks.json"
MODELS: list[dict[str, Any]] = read_peaks(PEAKS)["models"]
QWEN = "Qwen/Qwen2.5-VL-3B-Instruct"
BASE = TrainingSetup(images=1, image_size=(1008, 1008))


def qwen(setup: TrainingSetup, sharding: Sharding | None = None, context: int = 4096) -> TrainingEstimate:
    loaded = inspector.load(QWEN, offline=True)
    weights = read_weights(loaded.checkpoint, loaded.model.architecture)
    return training_estimate(loaded.model, Workload(context), setup, sharding, weights)


def errors(model: dict[str, Any]) -> list[float]:
    """Of every case's peak, relative."""
    found = []
    for case in model["cases"]:
        estimate = estimate_of(model, case)
        assert estimate.peak is not None, (model["name"], case, estimate.warnings)
        found.append(abs(estimate.peak / case["measured"]["peak"] - 1))
    return found


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model["name"])
def test_no_peak_is_ten_percent_off(model: dict[str, Any]) -> None:
    assert max(errors(model)) < 0.10


def test_the_median_is_under_a_percent_and_90_percent_of_cases_under_three() -> None:
    found = sorted(error for model in MODELS for error in errors(model))
    assert statistics.median(found) < 0.01
    assert found[int(0.90 * len(found))] < 0.03


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model["name"])
def test_weights_and_states_are_exact(model: dict[str, Any]) -> None:
    for case in model["cases"]:
        estimate, measured = estimate_of(model, case), case["measured"]
        weights, states = estimate.part("weights"), estimate.part("optimizer_states")
        assert weights is not None
        assert states is not None
        assert weights.bytes == pytest.approx(measured["weights"], rel=2e-2 if case["method"] == "qlora" else 2e-3)
        assert states.bytes == pytest.approx(measured["optimizer_states"], rel=5e-3, abs=2**20)


def test_what_is_frozen_of_the_vision_part_has_no_gradients_or_states() -> None:
    vision, projector = 631_975_680, 36_708_608  # shapes of visual.* and visual.merger.* in the files' headers
    every = qwen(BASE).trainable_parameters
    assert every is not None
    assert qwen(replace(BASE, vision="projector")).trainable_parameters == every - vision
    assert qwen(replace(BASE, vision="frozen")).trainable_parameters == every - vision - projector


def test_a_step_of_text_alone_has_no_gradients_or_states_of_encoders_but_where_they_are_made_for_all() -> None:
    """torch's optimizers skip what has no gradient; ZeRO has states of whatever is to train."""
    vision, projector = 631_975_680, 36_708_608
    every = qwen(BASE).trainable_parameters
    assert every is not None
    text = replace(BASE, images=0)
    assert qwen(text).trainable_parameters == every - vision - projector
    assert any("668,684,288 parameters would have gradients" in note for note in qwen(text).warnings)
    assert qwen(text, Sharding(ddp=2, zero=2)).trainable_parameters == every


def test_more_of_the_vision_part_takes_more() -> None:
    ways = (("frozen", 4), ("projector", 4), ("trained", 3), ("trained", 4))
    setups = [replace(BASE, vision=vision, optimizer="sgd", images=images) for vision, images in ways]
    peaks = [qwen(setup, context=8192).peak for setup in setups]
    assert peaks == sorted(peaks, key=lambda peak: peak or 0)
    assert len(set(peaks)) == len(peaks)


def test_a_frozen_encoder_keeps_nothing_until_adapters_and_checkpointing_send_a_gradient_through_it() -> None:
    """transformers' enable_input_require_grads marks the encoder's embedding of patches, too."""
    adapters = replace(BASE, method="lora", images=3)
    text = replace(adapters, images=0)
    more = [(qwen(replace(adapters, **way)).peak or 0) - (qwen(replace(text, **way)).peak or 0) for way in WAYS]
    features = 3 * 1296 * 2048 * 2  # image tokens, hidden size, bytes
    assert 0 <= more[0] < 12 * features
    assert more[1] > 32 * 3 * 5184 * 1280 * 2  # the inputs of 32 blocks: patches, hidden size, bytes


WAYS: tuple[dict[str, Any], ...] = ({"checkpointing": "none"}, {"checkpointing": "full"})


def test_one_image_is_counted_where_none_is_named_and_its_tokens_fit() -> None:
    assert any("1 image of" in note for note in qwen(TrainingSetup(method="lora")).warnings)
    short = qwen(TrainingSetup(method="lora"), context=512)
    assert any(note.startswith("only text passes") for note in short.warnings)
    assert short.peak is not None


@pytest.mark.parametrize(
    ("change", "sharding", "context", "reason"),
    [
        ({}, Sharding(tp=2), 4096, "tensor, pipeline or context"),
        ({"images": 9}, None, 4096, "are more than the context of 4,096"),
        ({"precision": "fp32"}, None, 4096, "no entry trained/fp32/sdpa/none"),
        ({"objective": "dpo"}, None, 4096, "not known with --objective dpo"),
        ({"method": "frozen-except", "trained": "*merger*"}, None, 4096, "may train by their names"),
        ({"method": "lora", "modules_to_save": "visual.merger"}, None, 4096, "may train by their names"),
    ],
)
def test_what_is_not_known_of_images_is_said(
    change: dict[str, Any], sharding: Sharding | None, context: int, reason: str
) -> None:
    found = qwen(replace(BASE, **change), sharding, context)
    assert found.peak is None
    assert reason in found.warnings[-1]


def test_gemmas_image_tokens_have_a_mask_in_every_block() -> None:
    """Gemma3Model masks both kinds of layers where there are images; sdpa keeps the mask in 16 bits for each block."""

    def peak(**more: Any) -> int:
        more = {"attention": "sdpa", "images": 1, **more}
        found = inspector.train("google/gemma-3-4b-it", offline=True, method="lora", context=8192, **more)
        return found.training.peak or 0

    image, text = peak(), peak(images=0)
    full_layers, pairs = 5, 8192**2
    assert 0 < image - text - full_layers * 2 * pairs < 4 * pairs  # and the masks themselves, of both kinds of layers
    assert peak(attention="eager") > image
    assert not peak(attention="flash")


def test_adapters_leave_the_vision_part_frozen_but_where_they_are_put_there() -> None:
    with pytest.raises(UsageError, match="trains parameters of the model itself"):
        TrainingSetup(method="lora", vision="trained")
    with pytest.raises(UsageError, match="--vision adapters is of adapters"):
        TrainingSetup(vision="adapters")
    lora = replace(BASE, method="lora", lora_rank=8)
    language, both = (qwen(replace(lora, vision=vision)) for vision in ("frozen", "adapters"))
    attention = (1280 + 3 * 1280) + (1280 + 1280)
    block, merger = attention + 3 * (1280 + 3420), (5120 + 5120) + (5120 + 2048)
    assert both.trainable_parameters - language.trainable_parameters == 8 * (32 * block + merger)
    assert (both.peak or 0) > (language.peak or 0)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"lora_targets": "q_proj,v_proj"}, "known on all linear layers"),
        ({"dora": True}, "without DoRA"),
        ({"method": "qlora", "precision": "mixed", "kbit_upcast": False, "dora": True}, "without DoRA"),
        (
            {"method": "qlora", "precision": "mixed", "kbit_upcast": False, "lora_targets": "q_proj"},
            "all linear layers",
        ),
        ({"images": 0, "image_size": None}, "known for steps with images"),
    ],
)
def test_adapters_on_the_vision_part_that_no_table_has_are_said(change: dict[str, Any], reason: str) -> None:
    found = qwen(replace(BASE, **{"method": "lora", "vision": "adapters", **change}))
    assert found.peak is None
    assert reason in found.warnings[-1]


def test_no_fit_is_far_from_the_steps_it_was_made_of() -> None:
    for name in table_names("training_vision"):
        for way, profile in _table(name)["profiles"].items():
            assert profile["error"] < 0.25, (name, way)


def test_images_of_a_model_that_takes_none_are_not_silently_left_out() -> None:
    for asked, noted in ({"images": 2}, True), ({"image_size": "64x64"}, True), ({"images": 0}, False), ({}, False):
        found = inspector.train("Qwen/Qwen3-8B", offline=True, method="lora", **asked)
        assert noted == ("no image is counted: the model takes none" in found.warnings)
