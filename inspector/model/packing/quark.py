"""AMD's Quark."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from inspector.model.packing.packing import (
    SCALES,
    Packing,
    Parts,
    Rules,
    Scheme,
    Schemes,
    by_pattern,
    every,
    mapping,
    overhead,
    whole,
)
from inspector.model.packing.patterns import as_glob
from inspector.model.parameters.names import Group


def quark(stored: Group, parts: Parts, scheme: Scheme) -> int | None:
    """AMD Quark: int32 words of 32 // bits values, or bytes: two 4-bit floats each, or four 6-bit ones in three.

    Source: quark/torch/utils/pack.py.
    """
    del parts
    if stored.dtype == "I32":
        return stored.numel * (32 // scheme.bits) if scheme.bits and 32 % scheme.bits == 0 else None
    if stored.dtype == "U8":
        per_byte = {2: (4, 1), 4: (2, 1), 6: (4, 3), 8: (1, 1)}.get(scheme.bits or 4)
        return stored.numel * per_byte[0] // per_byte[1] if per_byte else None
    return stored.numel


class Quark(Packing):
    """One config for all layers, and others by globs."""

    tensors: ClassVar[Rules] = {"weight": quark, **SCALES, **every(overhead, "bias_scale bias_zero_point")}

    def told_by(self, parts: Parts) -> bool:
        return "weight_scale" in parts and "weight" in parts and parts["weight"].dtype == "I32"

    def recipe_of(self, bits: int, group_size: int | None) -> dict[str, Any]:
        return {"global_quant_config": {"weight": {"dtype": f"int{bits}", "group_size": group_size}}}

    def scheme(self, recipe: Mapping[str, Any]) -> Scheme:
        return _quark(mapping(recipe.get("global_quant_config")))

    def schemes(self, recipe: Mapping[str, Any]) -> Schemes:
        default = self.scheme(recipe)
        layers = mapping(recipe.get("layer_quant_config"))
        if not layers:
            return Schemes(default, default)
        return by_pattern(default, {pattern: _quark(mapping(value)) for pattern, value in layers.items()}, as_glob)


def _quark(found: Mapping[str, Any]) -> Scheme:
    weight = found.get("weight")
    if isinstance(weight, list) and weight:
        weight = weight[0]
    weight = mapping(weight)
    kind = weight.get("dtype")
    digits = next((c for c in kind if c in "12345678"), "") if isinstance(kind, str) else ""
    return Scheme(int(digits) if digits else None, whole(weight.get("group_size")))
