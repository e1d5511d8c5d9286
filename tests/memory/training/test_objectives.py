"""Objectives other than the model's own loss: against TRL's own trainers, and by what they have to be."""

from __future__ import annotations

import statistics
from typing import Any

import pytest

import inspector
from inspector.errors import UsageError
from inspector.memory import Workload
from inspector.memory.training import TrainingSetup, training_estimate
from inspector.memory.training.objectives.registry import OBJECTIVES, objective_of
from tests.conftest import Run
from tests.memory.training.objectives_replay import errors, read_cases

LLAMA = "meta-llama/Llama-3.1-8B"
PARAMETERS = 8_030_261_248


def trained(**settings: Any) -> inspector.Trained:
    return inspector.train(LLAMA, offline=True, context=1024, **settings)


def test_peaks_are_those_of_trls_own_trainers() -> None:
    """tests/oracles/objectives: each trainer's own loss under fake tensors, before 1.14 and with its fused head."""
    rows = errors(read_cases())
    assert len(rows) > 600
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
        ({"objective": "dpo", "sharding": {"cp": 2}}, "context parallelism is known for sft alone"),
        ({"objective": "embedding", "sharding": {"tp": 4, "loss_parallel": True}}, "divided logits is known for sft"),
        ({"objective": "orpo", "logits": "chunked"}, "over whole logits"),
        ({"objective": "orpo", "reference": "copy"}, "has no reference model"),
        ({"objective": "dpo", "completion_tokens": 512}, "generates no completions"),
        ({"generation": "server"}, "generates no completions"),
        ({"objective": "grpo", "completion_tokens": 2048}, "do not fit into 1,024"),
        ({"objective": "grpo", "vllm_gpu_memory_utilization": 0.5}, "what a vLLM on the same GPU takes"),
        ({"objective": "dpo", "method": "lora", "reference_repo": LLAMA}, "keeps no reference model of its own"),
        ({"reference_repo": LLAMA}, "sft has no reference model"),
        ({"objective": "gkd", "reference_repo": "Qwen/Qwen3-8B"}, "compares logits of one vocabulary"),
        ({"texts": 3}, "are of embedding models"),
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


def phases(**settings: Any) -> dict[str, int]:
    return dict(trained(objective="grpo", method="lora", batch=4, **settings).training.phases)


def test_grpo_makes_the_logits_of_completions_alone() -> None:
    whole, half = (phases(completion_tokens=tokens)["loss"] for tokens in (1024, 512))
    # bf16: logits, the same by temperature, and logarithms: 6 B each of 4 x 512 x 128,256 fewer.
    assert whole - half == 6 * 4 * 512 * 128256


def test_who_generates_decides_what_is_there_meanwhile() -> None:
    own, server = phases(generation="generate"), phases(generation="server")
    assert "generation" in own
    assert "scoring" not in own  # beta 0, and the policy's own tokens are its own
    assert "generation" not in server
    assert "scoring" in server  # importance sampling against vLLM's log-probabilities
    assert {name: own[name] for name in ("forward", "loss", "backward")} == {
        name: server[name] for name in ("forward", "loss", "backward")
    }
    more = phases(generation="generate", sharding={"grad_accum": 4})
    cache = 4 * 1024 * 131072  # Llama-3.1-8B: 128 KiB a token in bf16
    assert more["generation"] - own["generation"] >= 3 * cache


def test_a_colocated_vllm_takes_its_share_of_the_gpu_always_or_while_it_is_awake() -> None:
    common = {"gpus": "H100", "vllm_gpu_memory_utilization": 0.4}
    awake, asleep = phases(generation="colocated", **common), phases(generation="colocated-sleep", **common)
    server = phases(generation="server")
    share = int(0.4 * inspector.train(LLAMA, offline=True, gpus="H100").fits[0].capacity)
    for name in ("forward", "loss", "backward", "optimizer"):
        assert awake[name] == server[name] + share
        assert asleep[name] == server[name]
    assert asleep["generation"] > share
    part = trained(objective="grpo", method="lora", generation="colocated").training.part("inference_engine")
    assert part is not None
    assert part.bytes is not None
    assert part.bytes > 2 * PARAMETERS  # without a GPU the least: its weights and a cache
    assert "no GPU is named" in part.formula


def test_the_reference_scores_before_the_step_where_completions_are_generated() -> None:
    with_reference = phases(reference="adapters-off")
    assert "scoring" in with_reference
    assert "reference" not in with_reference
    assert with_reference["loss"] == phases()["loss"]


def test_a_vllm_whose_share_does_not_hold_its_weights_does_not_start(run: Run) -> None:
    command = ("train", "Qwen/Qwen3-8B", "--offline", "--objective", "grpo", "--generation", "colocated")
    lora = ("--method", "lora", "--checkpointing", "full", "--gpu", "24GiB")
    for how in ((), ("--fsdp", "8")):
        result = run(*command, *lora, *how)
        assert result.code == 2
        assert "does not start in 0.3 of the GPU's 24.00 GiB" in result.err
    assert run(*command, *lora[:-1], "H100").code == 0


def test_a_teacher_is_another_model_that_scores_the_same_tokens() -> None:
    """Llama-3.1-8B beside Llama-3.2-1B: its weights, and its pass while the student's logits are kept."""
    small = "meta-llama/Llama-3.2-1B"
    own, taught = (
        inspector.train(small, offline=True, objective="gkd", context=1024, reference_repo=teacher).training
        for teacher in (None, LLAMA)
    )
    parts = [own.part("frozen_models"), taught.part("frozen_models")]
    assert [part.bytes for part in parts if part] == [2 * 1_235_814_400, 2 * PARAMETERS]
    more = 2 * (PARAMETERS - 1_235_814_400)
    assert taught.phases["loss"] == own.phases["loss"] + more
    assert taught.phases["reference"] > own.phases["reference"] + more  # wider blocks
    record = inspector.train(small, offline=True, objective="gkd", reference_repo=LLAMA).to_dict()["training"]
    assert record["reference_model"] == LLAMA


def test_a_teacher_that_was_not_read_leaves_the_peak_unknown() -> None:
    model = inspector.load("meta-llama/Llama-3.2-1B", offline=True).model
    training = training_estimate(model, Workload(1024), TrainingSetup(objective="gkd", reference_repo=LLAMA))
    assert training.peak is None
    assert any(f"{LLAMA} was not read" in warning for warning in training.warnings)


def test_a_table_over_settings_has_the_teacher_in_each_cell() -> None:
    grid = inspector.train_grid(
        "meta-llama/Llama-3.2-1B",
        ranges={"batch": [1, 2]},
        offline=True,
        objective="gkd",
        context=512,
        reference_repo=LLAMA,
    )
    assert {cell.parts["frozen_models"] for cell in grid.cells} == {2 * PARAMETERS}


BERT = "google-bert/bert-base-uncased"
HEAD = 768 * 768 + 768 + 30522  # the transform and the bias; the vocabulary's weight is the embedding's


def embedding(**settings: Any) -> inspector.TrainingEstimate:
    return inspector.train(BERT, offline=True, objective="embedding", context=128, **settings).training


def test_embeddings_train_without_a_head() -> None:
    whole = inspector.train(BERT, offline=True, context=128).training
    step = embedding(batch=32)
    assert whole.trainable_parameters is not None
    assert step.trainable_parameters == whole.trainable_parameters - HEAD
    assert step.part("logits").bytes == 0  # type: ignore[union-attr]


def test_every_text_of_a_row_keeps_its_activations_and_mini_batches_only_theirs() -> None:
    two, three = embedding(batch=32), embedding(batch=32, texts=3)
    one = inspector.train(BERT, offline=True, context=128, batch=32).training
    kept = [step.phases["forward"] - step.part("weights").bytes for step in (two, three)]  # type: ignore[union-attr, operator]
    assert kept[1] / kept[0] == pytest.approx(1.5, rel=0.06)
    assert two.phases["forward"] > one.phases["forward"]
    cached = [embedding(batch=batch, mini_batch=32).peak for batch in (64, 4096)]
    assert cached[0] is not None
    assert cached[1] is not None
    assert two.peak is not None
    assert cached[0] < two.peak
    assert cached[1] - cached[0] < 200 * 2**20  # embeddings, their gradients and copies alone


def test_with_several_gpus_the_account_is_the_first_ones(run: Run) -> None:
    model = ("meta-llama/Llama-3.2-1B", "--offline", "--method", "lora")
    how = ("--objective", "grpo", "--generation", "colocated", "--context", "1k")
    both = run("train", *model, *how, "--gpu", "H100,RTX 4090")
    share = inspector.train(LLAMA, offline=True, gpus="H100").fits[0].capacity * 0.3 / 2**30
    assert f"inference engine {share:.2f}" in " ".join(both.out.split())
    assert "the account is that of H100" in both.err


SMALL, SMALL_PARAMETERS, SMALL_HEAD = "meta-llama/Llama-3.2-1B", 1_235_814_400, 2048


def ppo(**settings: Any) -> inspector.TrainingEstimate:
    return inspector.train(SMALL, offline=True, objective="ppo", context=512, batch=2, **settings).training


def test_ppo_trains_a_value_model_and_keeps_two_frozen_ones() -> None:
    step = ppo(completion_tokens=128)
    both = 2 * SMALL_PARAMETERS + SMALL_HEAD  # the head is the embedding; the value model's is one of one value
    assert step.trainable_parameters == both
    assert step.part("weights").bytes == 2 * both  # type: ignore[union-attr]
    assert step.part("optimizer_states").bytes == 4 * both  # type: ignore[union-attr]
    assert step.part("frozen_models").bytes == 2 * both  # type: ignore[union-attr]
    assert sum(part.bytes or 0 for part in step.parts) == step.peak == max(step.phases.values())


def test_the_scores_of_an_updates_completions_stay() -> None:
    """fp32, of all its micro-batches, in every phase."""
    short, long = ppo(completion_tokens=128), ppo(completion_tokens=256)
    scores = 2 * 128 * 128256 * 4
    assert long.phases["optimizer"] - short.phases["optimizer"] == scores
    two = ppo(completion_tokens=128, sharding={"grad_accum": 2})
    assert two.phases["optimizer"] - short.phases["optimizer"] == scores


def test_a_reward_model_of_its_own_is_the_value_models_shape_too() -> None:
    step = ppo(completion_tokens=128, reward_repo=LLAMA, method="lora")
    other = PARAMETERS - 128256 * 4096 + 4096
    assert step.part("frozen_models").bytes == 2 * other  # type: ignore[union-attr]
    assert step.trainable_parameters == other + 11_272_192


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"sharding": {"tp": 2}}, "two models that train are known without"),
        ({"generation": "server"}, "generates by itself"),
        ({"completion_tokens": 1024}, "do not fit into 512"),
    ],
)
def test_ppo_refuses_what_was_not_looked_at(settings: dict[str, Any], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        ppo(**settings)


def test_a_loaded_model_reads_the_teacher_that_a_question_names() -> None:
    asked: dict[str, Any] = {"objective": "gkd", "reference_repo": "meta-llama/Meta-Llama-3-8B", "method": "lora"}
    found = inspector.load(LLAMA, offline=True).train(**asked)
    assert found.peak is not None
    assert found.peak == inspector.train(LLAMA, offline=True, **asked).peak
