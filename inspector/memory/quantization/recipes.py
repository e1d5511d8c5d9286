"""Quantization at load: the bytes that a recipe of `inspector.memory.precision.RECIPES` makes of 16-bit weights."""

from __future__ import annotations

import math
from fractions import Fraction

from inspector.memory.estimate import Part
from inspector.memory.precision import FILE_TYPE_NAMES, PRECISION_BITS, RECIPES, compute_precision
from inspector.model.model import Model


def weight_bits(model: Model, dtype: str, component: str) -> Fraction:
    """Bits of one weight of a component at a precision or under a recipe."""
    recipe = RECIPES.get(dtype)
    if recipe is None:
        return Fraction(PRECISION_BITS[dtype])
    if component in recipe.keeps:
        return Fraction(PRECISION_BITS[compute_precision(model, dtype)[0]])
    return recipe.bits


def bits_of(dtype: str) -> float:
    """Bits of a quantized weight at a precision, under a recipe, or in the tensor type that a file of llama.cpp's (one
    of `FILE_TYPE_NAMES`) starts from."""
    if dtype in RECIPES:
        return RECIPES[dtype].width
    if dtype in PRECISION_BITS:
        return PRECISION_BITS[dtype]
    from inspector.memory.quantization.ggml_recipes import default_bits

    return default_bits(dtype)


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
