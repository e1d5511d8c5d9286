"""A GPU's share against what torch's own classes hold on two processes (tests/oracles/training_ranks.py)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from inspector.hub.checkpoint import Checkpoint, Tensor
from inspector.memory import Workload
from inspector.memory.training import Sharding, TrainingEstimate, TrainingSetup, training_estimate
from inspector.model import build_model

HIDDEN, INNER, HEADS, KEYS, VOCABULARY, LAYERS = 64, 160, 8, 4, 320, 3
PARAMETERS = 170_432
"""2 x 320 x 64 of embedding and head, 3 blocks of 2 x 64 x 64 + 2 x 32 x 64 + 3 x 64 x 160 + 2 x 64, and 64."""


@pytest.fixture(scope="module")
def found() -> list[dict[str, Any]]:
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    command = [sys.executable, "-m", "tests.oracles.training_ranks"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3])
    processes: list[dict[str, Any]] = json.loads(done.stdout)
    assert len(processes) == 2
    return processes


def estimate(**sharding: Any) -> TrainingEstimate:
    """The same model in fp32, by its headers."""
    config = {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "num_hidden_layers": LAYERS,
        "hidden_size": HIDDEN,
        "intermediate_size": INNER,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KEYS,
        "vocab_size": VOCABULARY,
        "tie_word_embeddings": False,
    }
    square, key, wide = (HIDDEN, HIDDEN), (HIDDEN // 2, HIDDEN), (INNER, HIDDEN)
    block = {"self_attn.q_proj": square, "self_attn.k_proj": key, "self_attn.v_proj": key, "self_attn.o_proj": square}
    block |= {"mlp.gate_proj": wide, "mlp.up_proj": wide, "mlp.down_proj": (HIDDEN, INNER)}
    norms: dict[str, tuple[int, ...]] = {"input_layernorm": (HIDDEN,), "post_attention_layernorm": (HIDDEN,)}
    shapes = {f"model.layers.{i}.{name}": shape for i in range(LAYERS) for name, shape in (block | norms).items()}
    shapes |= {"model.embed_tokens": (VOCABULARY, HIDDEN), "lm_head": (VOCABULARY, HIDDEN), "model.norm": (HIDDEN,)}
    tensors = tuple(Tensor(f"{name}.weight", "F32", shape) for name, shape in shapes.items())
    model = build_model(Checkpoint("a/model", None, "local", config, tensors))
    assert model.parameters.total == PARAMETERS
    setup = TrainingSetup(precision="fp32", optimizer_impl="fused")
    return training_estimate(model, Workload(16, 2), setup, Sharding(**sharding))


def size(training: TrainingEstimate, name: str) -> int:
    part = training.part(name)
    assert part is not None
    assert part.bytes is not None
    return part.bytes


def test_ddps_buckets_are_as_large_as_the_gradients(found: list[dict[str, Any]]) -> None:
    plain, viewed = estimate(ddp=2).phases["optimizer"], estimate(ddp=2, bucket_view=True).phases["optimizer"]
    for process in found:
        assert process["ddp"]["gradients"] == 4 * PARAMETERS
        assert process["ddp"]["buckets"] == plain - viewed


def test_zero_1_deals_states_out_by_whole_parameters(found: list[dict[str, Any]]) -> None:
    """torch's ZeroRedundancyOptimizer: together all states, and no share is off by more than the largest parameter."""
    estimated = size(estimate(ddp=2, zero=1), "optimizer_states")
    shares = [process["zero_1"]["optimizer_states"] for process in found]
    assert sum(shares) == 2 * estimated == 8 * PARAMETERS
    assert max(shares) - estimated < found[0]["zero_1"]["largest"]
    assert estimated == pytest.approx(max(shares), rel=0.02)


def test_fsdps_shards_are_those_of_fully_shard(found: list[dict[str, Any]]) -> None:
    training = estimate(fsdp=2)
    for process in found:
        assert process["fsdp"]["weights"] == size(training, "weights")
        assert process["fsdp"]["optimizer_states"] == size(training, "optimizer_states")
        gradients = training.phases["optimizer"] - size(training, "weights") - size(training, "optimizer_states")
        assert process["fsdp"]["gradients"] == gradients


def test_tensor_parallel_shares_are_those_of_parallelize_module(found: list[dict[str, Any]]) -> None:
    """transformers' plan for Llama: matrices are halved, and the norms of 64 are not."""
    for process in found:
        assert process["tensor_parallel"]["weights"] == size(estimate(tp=2), "weights")


def test_the_first_stage_has_as_many_microbatches_in_flight_as_the_schedule_of_torch(
    found: list[dict[str, Any]],
) -> None:
    """Of six microbatches over two stages. What one of them keeps is what a sixth of GPipe's, or half of 1F1B's is."""
    assert found[0]["in_flight"] == {"1f1b": 2, "gpipe": 6}
    assert found[1]["in_flight"] == {"1f1b": 1, "gpipe": 6}
    two, six = (estimate(pp=2, grad_accum=6, schedule=schedule).phases["backward"] for schedule in ("1f1b", "gpipe"))
    three = estimate(pp=2, grad_accum=3, schedule="gpipe").phases["backward"]
    assert six - two == pytest.approx(4 / 3 * (six - three), rel=1e-3)
