"""Recipes of quantization at load, against the stored bytes of the layouts that they make."""

from __future__ import annotations

from typing import Any

import pytest

from inspector.api.settings import Settings
from inspector.engines.common.served import served_model
from inspector.errors import UsageError
from inspector.memory import RECIPE_NAMES, Workload, estimate
from inspector.memory.precision import RECIPES
from inspector.memory.quantization.recipes import weight_bytes
from inspector.model import Model
from tests.memory.test_ledger import inspection
from tests.model.test_parameters import LLAMA_2_7B, awq, count, gptq, llama, nf4
from tests.model.test_parameters import RECIPES as CONFIGS


def llama_2_7b() -> Model:
    return inspection("meta-llama/Llama-2-7b-hf").model


@pytest.mark.parametrize(
    ("recipe", "config", "pack", "error"),
    [
        ("nf4-dq", "bnb-nf4", nf4, 1e-4),
        ("awq", "awq-4", awq, 1e-4),
        ("gptq", "gptq-4", gptq(4), 2e-3),  # g_idx and the biases of zeros that its files have
    ],
)
def test_a_recipe_takes_what_its_files_take(recipe: str, config: str, pack: Any, error: float) -> None:
    stored = count({**LLAMA_2_7B, "quantization_config": CONFIGS[config]}, *llama(pack)).stored_bytes
    made = estimate(llama_2_7b(), Workload(4096, dtype=recipe)).weights
    assert made.bytes == pytest.approx(stored, rel=error)
    assert sum(part.bytes or 0 for part in made.parts) == made.bytes


def test_nf4_by_hand() -> None:
    # 32 layers of 202,375,168 weights in 4.5 bits; embedding and head of 131,072,000 and norms of 266,240 in 2 B
    expected = 32 * 202_375_168 * 9 // 16 + 2 * (2 * 131_072_000 + 266_240)
    assert sum(weight_bytes(llama_2_7b(), "nf4").values()) == expected


def test_towers_stay_whole_where_the_recipe_leaves_them() -> None:
    gemma = inspection("google/gemma-3-4b-it").model
    vision = gemma.parameters.by_component["vision"]
    assert weight_bytes(gemma, "awq")["vision"] == 2 * vision
    assert weight_bytes(gemma, "nf4")["vision"] == vision * 9 // 16  # bitsandbytes takes every linear layer


def test_bitsandbytes_leaves_stacked_experts_alone_and_awq_does_not() -> None:
    mixtral = inspection("mistralai/Mixtral-8x7B-v0.1").model
    experts = mixtral.parameters.by_component["experts"]
    assert weight_bytes(mixtral, "nf4")["experts"] == 2 * experts
    assert weight_bytes(mixtral, "awq")["experts"] == experts * 133 // 256  # 4.15625 bits


@pytest.mark.parametrize("recipe", [name for name in RECIPES if not name.startswith("mlx")])
def test_engines_load_what_the_recipe_makes(recipe: str) -> None:
    assert sorted(RECIPES) == sorted(RECIPE_NAMES)
    model = llama_2_7b()
    served = served_model(model, recipe)
    assert served is not None
    assert served.weights is not None
    assert served.weights.total == pytest.approx(sum(weight_bytes(model, recipe).values()), rel=1e-6)


def test_a_recipe_is_no_precision_of_the_cache_nor_of_the_article() -> None:
    assert Settings(dtype="NF4").dtype == "nf4"
    with pytest.raises(UsageError, match="unknown precision 'nf4'"):
        Settings(kv_dtype="nf4")
    with pytest.raises(UsageError, match="the article has no recipe 'nf4'"):
        Settings(dtype="nf4", formulas="article")
