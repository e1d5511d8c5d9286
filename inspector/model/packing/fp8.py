"""FP8 in blocks, channels or whole tensors, and MXFP8."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from inspector.hub.checkpoint import Tensor
from inspector.model.packing.packing import (
    SCALES,
    TAILS,
    Packing,
    Parts,
    Rules,
    Scheme,
    Stored,
    beside,
    blocks,
    every,
    whole,
)
from inspector.model.parameters.names import Group


def fp8(stored: Group, parts: Parts, scheme: Scheme) -> int | None:
    """One value an element, or FP4 experts (DeepSeek-V4) two a byte with a scale for 32 inputs: then the bytes of a row
    are 16 times its scales. Source: FP8Experts of transformers, expert_dtype "fp4"."""
    del scheme
    if stored.dtype not in ("I8", "U8") or not stored.shape:
        return stored.numel
    for key in ("weight_scale_inv", "scale", "_scale_inv", "weight_scale"):
        scale = parts.get(key)
        if scale is not None and scale.shape[-1:] and 16 * scale.shape[-1] == stored.shape[-1]:
            return 2 * stored.numel
    return stored.numel if stored.dtype == "I8" else None


def w4a_fp8(stored: Group, parts: Parts, scheme: Scheme) -> int | None:
    """Experts of int4, two a byte beside a scale for 128 inputs; all else as FP8 has it."""
    scale = parts.get("weight_scale_inv")
    if stored.dtype == "I8" and scale is not None and scale.shape[-1:] and 64 * scale.shape[-1] == stored.shape[-1]:
        return 2 * stored.numel
    return fp8(stored, parts, scheme)


class Fp8(Packing):
    """FP8; its blocks are in two dimensions."""

    tensors: ClassVar[Rules] = {"weight": fp8, **SCALES, **TAILS, **every(beside, "scale qscale_weight qscale_act")}
    bits = 8
    signs: ClassVar[tuple[str, ...] | None] = ("weight_scale_inv", "weight_scale", "scale_inv")
    counts_alone = True

    def stored(self, weight: Tensor, scheme: Scheme, recipe: Mapping[str, Any]) -> Stored | None:
        del scheme
        if recipe.get("quant_method") not in ("fp8", "finegrained_fp8"):
            return None
        block, scales = recipe.get("weight_block_size"), tuple[int, ...]()
        if block is not None:
            if not isinstance(block, list) or len(block) != 2 or not all(map(whole, block)):
                return None
            scales = tuple(blocks(size, each) for size, each in zip(weight.shape, block, strict=True))
        static = {"activation_scale": ("F32", ())} if recipe.get("activation_scheme") == "static" else {}
        return {"weight": ("F8_E4M3", weight.shape), "weight_scale_inv": ("F32", scales), **static}


class W4AFp8(Fp8):
    """FP8, and experts of int4, two a byte with a scale for 128 inputs (SGLang's w4afp8.py)."""

    tensors: ClassVar[Rules] = {**Fp8.tensors, "weight": w4a_fp8}
    signs: ClassVar[tuple[str, ...] | None] = None


class FbgemmFp8(Fp8):
    """FP8 with a scale for each output."""

    signs: ClassVar[tuple[str, ...] | None] = None

    def stored(self, weight: Tensor, scheme: Scheme, recipe: Mapping[str, Any]) -> Stored | None:
        del scheme, recipe
        return {"weight": ("F8_E4M3", weight.shape), "weight_scale": ("F32", (weight.shape[0], 1))}


class Mxfp8(FbgemmFp8):
    """FP8 with a scale for each 32 inputs."""

    group_size = 32

    def stored(self, weight: Tensor, scheme: Scheme, recipe: Mapping[str, Any]) -> Stored | None:
        del scheme, recipe
        rows, width = weight.shape
        return {"weight": ("F8_E4M3", weight.shape), "weight_scale_inv": ("F8_E8M0", (rows, blocks(width, 32)))}
