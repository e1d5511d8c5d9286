"""vLLM's buffers for adapters: as its own LoRA manager makes them (`make oracle-launch` wrote the table)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import inspector
from inspector.errors import UsageError
from tests.oracles.adapters import told

MADE: dict[str, int] = json.loads(Path(__file__).with_name("data").joinpath("vllm_lora.json").read_text("utf-8"))
QWEN = "Qwen/Qwen3-8B"


@pytest.mark.parametrize("case", MADE)
def test_the_buffers_are_those_of_its_manager(case: str) -> None:
    name, ranks = case.split()
    assert told(name, int(ranks)) == MADE[case]


def test_a_layer_has_an_a_and_a_b_for_each_adapter() -> None:
    """Mistral 7B takes none at its ends: per layer q, k, v, o of 4096 x 4096 or 1024, gate, up, down of 14336."""
    sides = (4096 + 4096) * 2 + (4096 + 1024) * 2 + (4096 + 14336) * 3
    assert MADE["mistralai/Mistral-7B-v0.1 1"] == 2 * 16 * 2 * 32 * sides


def test_more_adapters_and_ranks_take_more_of_the_pool() -> None:
    pools = [
        inspector.inspect(QWEN, gpus="H100", engine="vllm", offline=True, serving=serving)
        .servings[0]
        .per_gpu["kv_pool"]
        for serving in ({}, {"max_loras": 1}, {"max_loras": 4}, {"max_loras": 4, "max_lora_rank": 64})
    ]
    assert pools == sorted(pools, key=lambda size: -(size or 0))
    assert len(set(pools)) == 4


def test_stages_hold_the_buffers_of_their_own_layers() -> None:
    def weights(**serving: int) -> int:
        found = inspector.inspect(QWEN, gpus="2xH100", engine="vllm", offline=True, serving=serving)
        return found.servings[0].per_gpu["weights"] or 0

    stages = {"pipeline_parallel": 2}
    assert weights(**stages, max_loras=2) - weights(**stages) == MADE[f"{QWEN} 1"] // 2


@pytest.mark.parametrize(
    ("model", "serving", "said"),
    [
        (QWEN, {"max_lora_rank": 7}, "--max-lora-rank"),
        ("tiiuae/falcon-7b", {"max_loras": 2}, "no adapters of FalconForCausalLM"),
        ("google/gemma-3-4b-it", {"max_loras": 2, "tensor_parallel": 3}, "3"),
    ],
)
def test_what_vllm_refuses_is_refused(model: str, serving: dict[str, int], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        inspector.inspect(model, gpus="H100", engine="vllm", offline=True, serving=serving)


def test_layers_of_other_shapes_cannot_be_told() -> None:
    found = inspector.fit("deepseek-ai/DeepSeek-V3", "8xH200", engine="vllm", offline=True, serving={"max_loras": 2})
    assert found.fits is None
    assert "adapters" in found.notes[0]


def test_adapters_are_among_the_flags() -> None:
    found = inspector.launch(QWEN, "H100", "vllm", offline=True, serving={"max_loras": 8, "max_lora_rank": 64})
    assert found is not None
    assert found.command[-5:] == ("--enable-lora", "--max-loras", "8", "--max-lora-rank", "64")
