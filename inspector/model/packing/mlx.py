"""MLX, and transformers' layers for Metal."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

from inspector.hub.checkpoint import Tensor
from inspector.model.packing.packing import Packing, Parts, Rules, Scheme, Stored, beside, every, whole_bits
from inspector.model.parameters.names import Group


def mlx(stored: Group, parts: Parts, scheme: Scheme) -> int | None:
    """MLX and Metal: weight (out, in * bits / 32) uint32 beside scales (out, in / group size): in = scales * group
    size, where that gives whole bits. Source: mlx.nn.QuantizedLinear; MetalLinear of transformers."""
    if stored.dtype not in ("U32", "I32") or not stored.shape:
        return stored.numel
    rows, words = math.prod(stored.shape[:-1]), stored.shape[-1]
    scales = parts.get("scales")
    if scales is not None and scales.shape[:-1] == stored.shape[:-1] and scheme.group_size:
        width = scales.shape[-1] * scheme.group_size
        if whole_bits(words * 32, width):
            return rows * width
    return rows * words * 32 // scheme.bits if scheme.bits and scheme.bits <= 32 else None


class Mlx(Packing):
    """Its recipes have bits and group size of all modules, and objects under the names of single ones."""

    tensors: ClassVar[Rules] = {"weight": mlx, **every(beside, "scales biases qbiases")}

    def converts(self, component: str) -> bool:
        return component not in ("norm", "other")

    def stored(self, weight: Tensor, scheme: Scheme, recipe: Mapping[str, Any]) -> Stored | None:
        bits, size = scheme.bits, scheme.group_size
        affine = recipe.get("mode", "affine") == "affine" and "quant_method" not in recipe
        if not (affine and bits and size) or weight.shape[1] % size:
            return None
        rows, width = weight.shape
        scales = (weight.dtype, (rows, width // size))
        return {"weight": ("U32", (rows, width * bits // 32)), "scales": scales, "biases": scales}

    def told_by(self, parts: Parts) -> bool:
        return "scales" in parts and "weight" in parts and parts["weight"].dtype == "U32"

    def by_name(self, recipe: Mapping[str, Any]) -> Mapping[str, Any]:
        return recipe
