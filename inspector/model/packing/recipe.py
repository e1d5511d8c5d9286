"""What a recipe says of all weights: its method, bits, group size and blocks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inspector.model.model import Quantization
from inspector.model.packing.groups import weight_groups
from inspector.model.packing.packing import Packing, mapping, whole
from inspector.model.packing.registry import packing_of


def read_recipe(recipe: Mapping[str, Any], *, mlx: bool = False) -> Quantization:
    """Method, bits and group size; None where they are not said or not whole numbers.

    Args:
        recipe: a config's quantization_config.
        mlx: it is MLX's own, whose recipes name no method.
    """
    method = method_of(recipe, mlx=mlx)
    scheme = (packing_of(method) or Packing()).scheme(recipe)
    ordered = recipe.get("desc_act") is True and recipe.get("group_size") != -1
    kv_dtype = _kv_dtype(recipe)
    return Quantization(
        method,
        scheme.bits,
        scheme.group_size,
        block=_block(recipe),
        act_order=ordered,
        kv_dtype=kv_dtype,
        asymmetric=recipe.get("sym") is False,
        sparse=bool(mapping(recipe.get("sparsity_config")).get("targets")),
    )


def _kv_dtype(recipe: Mapping[str, Any]) -> str | None:
    """The cache's precision: compressed-tensors' `kv_cache_scheme`, ModelOpt's `kv_cache_quant_algo`."""
    scheme = mapping(recipe.get("kv_cache_scheme"))
    inside = mapping(recipe.get("quantization"))
    algorithm = recipe.get("kv_cache_quant_algo") or inside.get("kv_cache_quant_algo")
    if isinstance(algorithm, str) and algorithm.lower() in ("fp8", "nvfp4"):
        return algorithm.lower()
    scheme = scheme or mapping(inside.get("kv_cache_scheme"))
    floats = scheme.get("num_bits") if scheme.get("type") == "float" else None
    if floats == 4:  # ModelOpt's alone
        return "nvfp4" if method_of(recipe) == "modelopt" else None
    return "fp8" if floats == 8 else None


def _block(recipe: Mapping[str, Any]) -> tuple[int, int] | None:
    """Outputs and inputs under one scale: `weight_block_size`, or compressed-tensors' `block_structure`."""
    found = [recipe.get("weight_block_size")]
    found += [mapping(group.get("weights")).get("block_structure") for group in weight_groups(recipe)]
    for entry in found:
        if isinstance(entry, list) and len(entry) == 2:
            out, into = whole(entry[0]), whole(entry[1])
            return (out, into) if out and into else None
    return None


def method_of(recipe: Mapping[str, Any], *, mlx: bool = False) -> str:
    """The method's name, in small letters, as the recipe has it; "unknown" where it has none."""
    named = recipe.get("quant_method")
    if isinstance(named, str) and named:
        named = named.lower()
        return "bitsandbytes" if named.startswith("bitsandbytes") or named == "bnb" else named
    if recipe.get("load_in_4bit") or recipe.get("load_in_8bit"):
        return "bitsandbytes"
    producer = recipe.get("producer")
    if "quant_algo" in recipe or (isinstance(producer, Mapping) and producer.get("name") == "modelopt"):
        return "modelopt"
    if mlx and whole(recipe.get("bits")):
        return "mlx"
    return "unknown"
