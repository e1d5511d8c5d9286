"""Quantization at load: what a recipe makes of 16-bit weights, scales included, and which parts it leaves alone."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import NamedTuple

from inspector.memory.estimate import Part
from inspector.memory.precision import FILE_TYPE_NAMES, PRECISION_BITS, compute_precision
from inspector.model.model import Model

_OUTSIDE = frozenset({"embedding", "head", "norm", "router", "other"})
_TOWERS = frozenset({"vision", "audio", "projector"})
_NO_LINEAR = _OUTSIDE | {"experts"}
"""bitsandbytes replaces nn.Linear modules; transformers 5 stacks a mixture's routed experts in one parameter."""


class Recipe(NamedTuple):
    """What a recipe does.

    Attributes:
        bits: of a quantized weight, with its share of scales and zero points.
        keeps: components that stay at the precision the model computes in.
        source: where the layout is from.
    """

    bits: Fraction
    keeps: frozenset[str]
    source: str


RECIPES: dict[str, Recipe] = {
    # 4 bits, and a float32 absmax for each 64; doubly quantized: a byte for each 64, and a float32 for 256 of those
    "nf4": Recipe(Fraction(9, 2), _NO_LINEAR, "bitsandbytes quantize_4bit, blocks of 64; transformers skips the head"),
    "fp4": Recipe(Fraction(9, 2), _NO_LINEAR, "bitsandbytes quantize_4bit, blocks of 64; transformers skips the head"),
    "nf4-dq": Recipe(
        4 + Fraction(8, 64) + Fraction(32, 64 * 256), _NO_LINEAR, "bitsandbytes quantize_4bit with compress_statistics"
    ),
    # 4 bits; for each 128 a float16 scale and a 4-bit zero point
    "awq": Recipe(4 + Fraction(20, 128), _OUTSIDE | _TOWERS, "AutoAWQ WQLinear_GEMM, groups of 128"),
    "gptq": Recipe(4 + Fraction(20, 128), _OUTSIDE | _TOWERS, "GPTQModel's QuantLinear, groups of 128; without g_idx"),
    "mxfp4": Recipe(Fraction(17, 4), _OUTSIDE | _TOWERS, "OCP Microscaling Formats v1.0: an 8-bit scale for each 32"),
    "nvfp4": Recipe(Fraction(9, 2), _OUTSIDE | _TOWERS, "modelopt NVFP4: an 8-bit scale for each 16"),
}
"""Recipes beside `PRECISION_BITS`, which count every weight alike. Zero points, biases and rows that don't fill a group
are left out: within 0.2 % of Llama 2 7B's published layouts (tests/memory/test_recipes.py)."""


def weight_bits(model: Model, dtype: str, component: str) -> Fraction:
    """Bits of one weight of a component at a precision or under a recipe."""
    recipe = RECIPES.get(dtype)
    if recipe is None:
        return Fraction(PRECISION_BITS[dtype])
    if component in recipe.keeps:
        return Fraction(PRECISION_BITS[compute_precision(model, dtype)[0]])
    return recipe.bits


def weight_bytes(model: Model, dtype: str) -> dict[str, int]:
    """Bytes of each component at a precision (a key of `PRECISION_BITS`), under a recipe (one of `RECIPES`), or in a
    file of llama.cpp's (one of `FILE_TYPE_NAMES`; none where its types cannot be told)."""
    if dtype in FILE_TYPE_NAMES:
        from inspector.memory.quantization.ggml_recipes import file_type_bytes

        return file_type_bytes(model, dtype)
    return {
        name: math.ceil(count * weight_bits(model, dtype, name) / 8)
        for name, count in model.parameters.by_component.items()
    }


def recipe_weights(model: Model, dtype: str) -> Part:
    """The weights under a recipe, one part a component."""
    recipe, shares = RECIPES[dtype], weight_bytes(model, dtype)
    kept = ", ".join(name for name in shares if name in recipe.keeps) or "nothing"
    counts = model.parameters.by_component
    return Part(
        "weights",
        sum(shares.values()),
        f"{float(recipe.bits):.4g} bits a weight ({dtype}, scales included); {kept} kept in"
        f" {compute_precision(model, dtype)[0]}",
        recipe.source,
        tuple(Part(name, size, f"{counts[name]:,} parameters", recipe.source) for name, size in shares.items()),
    )
