"""Objectives other than the model's own loss: against TRL's own trainers, and by what they have to be."""

from __future__ import annotations

import statistics
from typing import Any

import pytest

import inspector
from inspector.errors import UsageError
from inspector.memory.training.objectives.registry import OBJECTIVES, objective_of
from tests.memory.training.objectives_replay import errors, read_cases

LLAMA = "meta-llama/Llama-3.1-8B"
PARAMETERS = 8_030_261_248


def trained(**settings: Any) -> inspector.Trained:
    return inspector.train(LLAMA, offline=True, context=1024, **settings)


def test_peaks_are_those_of_trls_own_trainers() -> None:
    """tests/oracles/objectives: each trainer's own loss under fake tensors, before 1.14 and with its fused head."""
    rows = errors(read_cases())
    assert len(rows) > 100
    for key in ("error", "passes"):
        found = sorted(abs(row[key]) for row in rows)
        assert statistics.median(found) < 0.005
        assert found[int(0.95 * len(found))] < 0.03
        assert found[-1] < 0.10


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_says_its_own_name_and_source(name: str) -> None:
    objective = objective_of(name)
    assert objective.name == name
    assert objective.source


def test_dpo_keeps_a_frozen_copy_and_runs_pairs() -> None:
    sft, dpo = trained(batch=2), trained(objective="dpo")
    reference = dpo.training.part("frozen_models")
    assert reference is not None
    assert reference.bytes == 2 * PARAMETERS
    assert sft.training.part("frozen_models") is None
    # A pair is two sequences, and both models' logits are there at once, with a copy: 8 B against 12 B of one's in SFT.
    assert dpo.training.phases["forward"] - reference.bytes == pytest.approx(sft.training.phases["forward"], rel=1e-3)


def test_adapters_need_no_copy_and_precomputed_references_no_pass() -> None:
    adapters, copy = trained(objective="dpo", method="lora"), trained(objective="dpo", method="lora", reference="copy")
    assert adapters.training.part("frozen_models") is None
    assert adapters.peak is not None
    assert copy.peak == adapters.peak + 2 * PARAMETERS
    precomputed = trained(objective="dpo", method="lora", reference="precomputed")
    assert "reference" not in precomputed.training.phases
    assert "reference" in adapters.training.phases
    assert precomputed.peak is not None
    assert precomputed.peak < adapters.peak


def test_a_fused_head_makes_no_logits() -> None:
    whole, fused = (trained(objective="dpo", method="lora", logits=logits) for logits in ("all", "chunked"))
    assert whole.peak is not None
    assert fused.peak is not None
    logits = 2 * 1024 * 128256 * 2  # bf16, a pair
    assert whole.peak - fused.peak > 3 * logits
    assert fused.training.part("logits").bytes == 0  # type: ignore[union-attr]


def test_a_copy_is_divided_as_the_weights_are() -> None:
    part = trained(objective="dpo", sharding={"fsdp": 8}).training.part("frozen_models")
    assert part is not None
    assert part.bytes == PARAMETERS * 2 // 8


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"objective": "dpo", "reference": "adapters-off"}, "nothing to turn off"),
        ({"reference": "copy"}, "is of an objective that has one"),
        ({"objective": "dpo", "logits": "chunked-loss"}, "known for sft alone"),
        ({"objective": "dpo", "sharding": {"pp": 2}}, "pipeline stages"),
        ({"objective": "orpo", "logits": "chunked"}, "over whole logits"),
        ({"objective": "orpo", "reference": "copy"}, "has no reference model"),
        ({"objective": "dpo", "measure": True}, "--measure runs the class's own loss"),
    ],
)
def test_what_no_run_can_have_is_refused(settings: dict[str, Any], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        trained(**settings)


def test_the_record_says_what_the_step_trains_for() -> None:
    record = trained(objective="dpo", method="lora").to_dict()["training"]
    assert (record["objective"], record["reference"]) == ("dpo", "adapters-off")
    assert record["phases"]["reference"] > 0
    plain = trained().to_dict()["training"]
    assert (plain["objective"], plain["reference"]) == ("sft", "none")


def test_encoders_have_no_preferences() -> None:
    bert = inspector.train("google-bert/bert-base-uncased", offline=True, objective="dpo")
    assert bert.peak is None
    assert any("dpo is known for decoders" in warning for warning in bert.warnings)


def test_a_reward_model_has_one_value_in_the_place_of_the_vocabulary() -> None:
    """Llama-3.1-8B without its head of 128,256 x 4,096, with one of 4,096."""
    reward = trained(objective="reward")
    assert reward.training.trainable_parameters == PARAMETERS - 128256 * 4096 + 4096
    assert reward.training.part("logits").bytes == 0  # type: ignore[union-attr]
    # A tied head is no other parameter.
    tied = inspector.train("meta-llama/Llama-3.2-1B", offline=True, objective="reward")
    assert tied.training.trainable_parameters == 1_235_814_400 + 2048


@pytest.mark.parametrize("name", ["orpo", "cpo", "simpo"])
def test_without_a_reference_model_there_is_neither_a_copy_nor_a_pass(name: str) -> None:
    step = trained(objective=name)
    assert step.training.part("frozen_models") is None
    assert "reference" not in step.training.phases
