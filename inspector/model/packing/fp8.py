"""FP8 in blocks, channels or whole tensors, and MXFP8."""

from __future__ import annotations

from typing import ClassVar

from inspector.model.packing.packing import SCALES, TAILS, Packing, Parts, Rules, Scheme, beside, every
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


class W4AFp8(Fp8):
    """FP8, and experts of int4, two a byte with a scale for 128 inputs (SGLang's w4afp8.py)."""

    tensors: ClassVar[Rules] = {**Fp8.tensors, "weight": w4a_fp8}
    signs: ClassVar[tuple[str, ...] | None] = None


class FbgemmFp8(Fp8):
    """FP8 with a scale for each output."""

    signs: ClassVar[tuple[str, ...] | None] = None


class Mxfp8(FbgemmFp8):
    """FP8 with a scale for each 32 inputs."""

    group_size = 32
