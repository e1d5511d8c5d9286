"""Recipes of packed checkpoints that vLLM's and SGLang's classes refuse, by what those classes said when they were run
on them (vLLM 0.24 and 0.33, SGLang 0.5.23)."""

from __future__ import annotations

from typing import Any

import pytest

from inspector.engines.sglang import loads as sglang
from inspector.engines.vllm import loads as vllm
from inspector.model.architecture import read_architecture
from inspector.model.model import Architecture
from inspector.model.packing.recipe import read_recipe

LLAMA = {"architectures": ["LlamaForCausalLM"], "model_type": "llama"}
GPTQ = {"quant_method": "gptq", "bits": 4, "group_size": 128, "sym": True, "desc_act": False}
AWQ = {"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": True, "version": "gemm"}
SPARSE = {
    "quant_method": "compressed-tensors",
    "format": "dense",
    "sparsity_config": {"format": "sparse-24-bitmask", "sparsity_structure": "2:4", "targets": ["Linear"]},
}


def packed(recipe: dict[str, Any], *, mlx: bool = False) -> Architecture:
    return read_architecture(LLAMA, read_recipe(recipe, mlx=mlx))


@pytest.mark.parametrize(
    ("recipe", "by_vllm", "by_sglang"),
    [
        (GPTQ, None, None),
        (GPTQ | {"bits": 8}, None, None),
        (GPTQ | {"bits": 3}, "gptq of 3 bits", "gptq of 3 bits"),
        (GPTQ | {"bits": 2}, "gptq of 2 bits", "gptq of 2 bits"),
        (GPTQ | {"sym": False}, "gptq with zero points of its own (sym: false)", "gptq with zero points of its own"),
        (AWQ, None, None),
        (AWQ | {"bits": 8}, "awq of 8 bits", "awq of 8 bits"),
        (GPTQ | {"quant_method": "auto-round", "bits": 3, "sym": False}, None, None),
        ({"quant_method": "fbgemm_fp8"}, "fbgemm_fp8 checkpoints without --allow-deprecated", "fbgemm_fp8 checkpoints"),
        ({"quant_method": "nobody-has-it", "bits": 4}, "nobody-has-it checkpoints", "nobody-has-it checkpoints"),
        ({"quant_method": "experts_int8"}, None, "experts_int8 checkpoints"),
        (SPARSE, "compressed-tensors checkpoints with 2:4 sparsity", None),
        ({"bits": 4}, None, None),  # a recipe that names no method
    ],
)
def test_a_recipe_is_refused_as_the_class_refuses_it(
    recipe: dict[str, Any], by_vllm: str | None, by_sglang: str | None
) -> None:
    told = vllm.why_not_loaded(packed(recipe), vllm.NEWEST)
    assert (told or "").startswith("" if by_vllm is None else f"vLLM 0.33 does not load {by_vllm}")
    assert (told is None) == (by_vllm is None)
    told = sglang.why_not_loaded(packed(recipe))
    assert (told or "").startswith("" if by_sglang is None else f"SGLang 0.5.23 does not load {by_sglang}")
    assert (told is None) == (by_sglang is None)


def test_mlx_files_are_mlxs_alone() -> None:
    shape = packed({"bits": 4, "group_size": 64}, mlx=True)
    assert vllm.why_not_loaded(shape, vllm.NEWEST) == "vLLM 0.33 does not load mlx checkpoints"
    assert sglang.why_not_loaded(shape) == "SGLang 0.5.23 does not load mlx checkpoints"


def test_releases_whose_classes_were_not_run_are_not_said_to_refuse() -> None:
    assert vllm.why_not_loaded(packed(GPTQ | {"bits": 3}), (0, 20)) is None
    assert vllm.why_not_loaded(packed(GPTQ | {"bits": 3}), (0, 40)) is None
    assert sglang.why_not_loaded(packed(GPTQ | {"bits": 3}), (0, 5, 0)) is None
