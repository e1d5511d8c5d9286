"""Where a config keeps its quantization recipe. What the recipe says is read by inspector.model.packing, which a config
without one never loads.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inspector.model.model import Quantization

LANGUAGE_PARTS = ("text_config", "llm_config", "language_config", "thinker_config")

SIGNS = (
    ".weight_scale",
    ".weight_scale_inv",
    ".weight_scale_2",
    ".input_scale",
    ".activation_scale",
    ".output_scale",
    ".k_scale",
    ".v_scale",
    ".q_scale",
    ".prob_scale",
    ".scale_inv",
    ".input_scale_ub",
    ".qweight",
    ".absmax",
    ".SCB",
    "_qdata",
    "_blocks",
    "._data",
)
"""Ends of names that a packed weight has beside it, whatever its config says."""


def find_recipe(config: Mapping[str, Any]) -> tuple[Mapping[str, Any], bool] | None:
    """A config's recipe, also where it sits in the language part, and whether it is MLX's own; None without one."""
    for part in (config, *(config.get(key) for key in LANGUAGE_PARTS)):
        if not isinstance(part, Mapping):
            continue
        mlx = part.get("quantization")
        for key in ("quantization_config", "compression_config"):
            recipe = part.get(key)
            if isinstance(recipe, Mapping) and recipe:
                return recipe, isinstance(mlx, Mapping) and "quant_method" not in recipe
        if isinstance(mlx, Mapping) and mlx:
            return mlx, True
    return None


def read_quantization(config: Mapping[str, Any]) -> Quantization | None:
    """The recipe in a config's quantization_config, also where that sits in the language part; None without one."""
    found = find_recipe(config)
    if found is None:
        return None
    from inspector.model.packing.recipe import read_recipe

    recipe, mlx = found
    return read_recipe(recipe, mlx=mlx)
