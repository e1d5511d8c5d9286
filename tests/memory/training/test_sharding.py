"""A GPU's share of a run, against numbers worked out by hand."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import inspector
from inspector.errors import UsageError
from inspector.memory import Workload
from inspector.memory.training import Sharding, TrainingEstimate, TrainingSetup, training_estimate
from inspector.memory.training.logits import chunk_tokens
from inspector.memory.training.ranks import GATHERED, GATHERED_APART
from inspector.model import Model

P = 8_030_261_248


@pytest.fixture(scope="module")
def llama() -> Model:
    return inspector.inspect("meta-llama/Llama-3.1-8B", offline=True).model


def estimate(model: Model, setup: TrainingSetup | None = None, context: int = 16, **sharding: Any) -> TrainingEstimate:
    return training_estimate(model, Workload(context), setup or TrainingSetup(), Sharding(**sharding))


def size(training: TrainingEstimate, name: str) -> int:
    part = training.part(name)
    assert part is not None
    assert part.bytes is not None
    return part.bytes


MASTERS = TrainingSetup(precision="bf16-master", optimizer_impl="fused")


@pytest.mark.parametrize(
    ("zero", "weights", "gradients", "states"),
    [(None, 2, 2, 12), (1, 2, 2, 1.5), (2, 2, 0.25, 1.5), (3, 0.25, 0.25, 1.5)],
)
def test_zero_divides_states_then_gradients_then_weights(
    llama: Model, zero: int | None, weights: float, gradients: float, states: float
) -> None:
    """Figure 1 of the ZeRO paper: 2 + 2 + K bytes a parameter with K = 12, over 8 GPUs. Before the step stage 1 has
    all gradients and its share of them apart; stages 2 and 3 put the share's (of stage 3, those of 1e9 parameters)
    together and cast them."""
    none = {"reduce_bucket_size": 0, "param_persistence_threshold": 0} if zero else {}
    training = estimate(llama, MASTERS, ddp=8, zero=zero, bucket_view=True, **none)
    assert size(training, "weights") == pytest.approx(weights * P)
    assert size(training, "optimizer_states") == pytest.approx(states * P)
    more = {None: 0, 1: 2 / 8, 2: (2 + 4) / 8, 3: (2 + 4) * 10**9 / P}[zero]
    assert training.phases["optimizer"] == pytest.approx((weights + gradients + states + more) * P)


def test_ddp_keeps_a_copy_of_the_gradients_unless_they_are_views_of_its_buckets(llama: Model) -> None:
    setup = TrainingSetup(optimizer_impl="fused")
    plain = estimate(llama, setup).phases["optimizer"]
    assert plain == 8 * P
    assert estimate(llama, setup, ddp=4).phases["optimizer"] == 10 * P
    assert estimate(llama, setup, ddp=4, bucket_view=True).phases["optimizer"] == 8 * P


def test_fsdp_gathers_as_many_blocks_as_torch_does() -> None:
    """torch's own fully_shard on a fake process group of eight, in a process of its own: the group is global."""
    pytest.importorskip("torch")
    command = [sys.executable, "-m", "tests.oracles.training_fsdp"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3])
    found = json.loads(done.stdout)
    assert found["together"] == pytest.approx(GATHERED, abs=0.1)
    assert found["apart"] == pytest.approx(GATHERED_APART, abs=0.1)


def test_fsdp_gathers_a_4_bit_base_as_it_is_packed() -> None:
    """torchtune's README: Llama 3.1 405B with QLoRA on eight A100s takes 44.8 GB each; blocks of 3.2 billion parameters
    gathered in bf16, three at once, would be 19 GB of it."""
    found = inspector.train(
        "meta-llama/Llama-3.1-405B",
        offline=True,
        context=2048,
        batch=2,
        sharding={"fsdp": 8, "shard_embeddings": True},
        **{"method": "qlora", "adapter_dtype": "bf16", "checkpointing": "full", "logits": "chunked-loss"},
        **{"optimizer_impl": "fused", "lora_targets": "q_proj,v_proj,o_proj,gate_proj,up_proj,down_proj"},
    ).training
    assert found.peak is not None
    assert found.peak / 2**30 == pytest.approx(44.8, rel=0.13)
    part = found.part("temporaries")
    assert part is not None
    assert "blocks at 0.5159 B as they are packed" in part.formula


def test_fsdp_gathers_three_blocks_and_what_is_outside_them(llama: Model) -> None:
    """A block of Llama 3 8B has 218,112,000 parameters; embedding, head and norm 1,050,677,248."""
    alone, spread = estimate(llama), estimate(llama, fsdp=8)
    steady = 2 * P // 8 + 4 * P // 8
    assert size(spread, "weights") + size(spread, "optimizer_states") == steady
    gathered = spread.phases["forward"] - steady - (alone.phases["forward"] - 6 * P)
    assert gathered == 2 * (3 * 218_112_000 + 1_050_677_248)


def test_tensor_parallel_divides_matrices_and_logits_but_not_norms(llama: Model) -> None:
    whole = TrainingSetup(optimizer="sgd", checkpointing="full")
    one, four = estimate(llama, whole, context=32768), estimate(llama, whole, context=32768, tp=4)
    norms = 65 * 4096
    assert size(four, "weights") == pytest.approx(2 * ((P - norms) / 4 + norms))
    assert size(one, "logits") == 12 * 32768 * 128_256
    assert size(four, "logits") == 12 * 32768 * 128_256 // 4
    assert size(estimate(llama, whole, context=32768, tp=4, sp=True), "activations") < size(four, "activations")


def test_the_first_pipeline_stage_holds_as_many_microbatches_as_there_are_stages(llama: Model) -> None:
    """16 of 32 blocks on each of two stages, whose inputs are kept twice on the first: as much as on one GPU."""
    setup = TrainingSetup(checkpointing="full", logits="chunked", optimizer="sgd")
    two, first = (estimate(llama, setup, context=65536, pp=2, grad_accum=count) for count in (2, 8))
    assert size(first, "weights") < 0.6 * 2 * P
    assert first.phases == two.phases  # no more than there are stages
    assert size(first, "activations") == pytest.approx(32 * 65536 * 4096 * 2, rel=0.1)


def test_context_parallel_is_a_shorter_sequence(llama: Model) -> None:
    setup = TrainingSetup(checkpointing="full", method="lora")
    assert size(estimate(llama, setup, context=8192, cp=4), "logits") == 12 * 2048 * 128_256


def test_what_is_offloaded_is_not_on_the_gpu(llama: Model) -> None:
    setup = TrainingSetup(checkpointing="full")
    offloaded = estimate(llama, setup, ddp=8, zero=3, offload=("optimizer", "params"))
    assert size(offloaded, "weights") == size(offloaded, "optimizer_states") == 0
    kept = estimate(llama, setup, context=8192).phases["loss"]
    assert kept - estimate(llama, setup, context=8192, offload=("activations",)).phases["loss"] == 30 * 8192 * 4096 * 2


def test_gradients_of_earlier_microbatches_are_there_in_every_phase(llama: Model) -> None:
    once, often = estimate(llama), estimate(llama, grad_accum=4)
    assert often.phases["forward"] - once.phases["forward"] == 2 * P
    assert often.phases["optimizer"] == once.phases["optimizer"]


def test_a_chunk_of_logits_is_about_as_large_as_the_hidden_states(llama: Model) -> None:
    """8,192 tokens / ceil(128,256 / 4,096) = 256, a power of two already."""
    assert chunk_tokens(8192, 4096, 128_256) == 256
    setup = TrainingSetup(method="lora", checkpointing="full", logits="chunked")
    training = estimate(llama, setup, context=8192)
    assert (
        training.phases["loss"]
        < estimate(llama, TrainingSetup(method="lora", checkpointing="full"), 8192).phases["loss"]
    )


@pytest.mark.parametrize(
    "sharding",
    [
        {"zero": 4},
        {"fsdp": 2, "ddp": 2},
        {"fsdp": 2, "zero": 1},
        {"hsdp": 2},
        {"sp": True},
        {"offload": ("cache",)},
        {"offload": ("params",)},
        {"tp": 0},
    ],
)
def test_impossible_layouts_are_refused(sharding: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Sharding(**sharding)


def test_more_gpus_never_take_more_on_the_fullest(llama: Model) -> None:
    for setup in (TrainingSetup(), TrainingSetup(method="lora"), MASTERS):
        for kind in ("fsdp", "tp", "cp"):
            peaks = [estimate(llama, setup, 4096, **{kind: gpus}).peak or 0 for gpus in (2, 4, 8)]
            assert peaks == sorted(peaks, reverse=True)
