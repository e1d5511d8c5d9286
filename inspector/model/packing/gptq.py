"""GPTQ and what else is stored as qweight: Marlin's format and EXL3."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

from inspector.hub.checkpoint import Tensor
from inspector.hub.dtypes import DTYPE_BITS
from inspector.model.packing.packing import (
    NO_LAYERS,
    PLAIN,
    TOWERS,
    Packing,
    Parts,
    Rules,
    Scheme,
    Schemes,
    Stored,
    beside,
    blocks,
    by_pattern,
    every,
    mapping,
    scheme_in,
    whole_bits,
)
from inspector.model.packing.patterns import Matching
from inspector.model.parameters.names import Group


def gptq(stored: Group, parts: Parts, scheme: Scheme) -> int | None:
    """qweight (in * bits / word, out), words packed without gaps: at 3 bits, 32 values fill 3 int32.

    g_idx has one entry an input, and qzeros (groups, out * bits / word) is packed as the weight is, beside scales
    (groups, out): either tells the bits. Source: the buffers of GPTQModel's and AutoGPTQ's QuantLinear; v2 has
    other values only.
    """
    word = DTYPE_BITS[stored.dtype]
    if stored.dtype in PLAIN or len(stored.shape) < 2:
        return stored.numel if stored.dtype in PLAIN else None
    rows, out = stored.shape[-2:]
    stack = math.prod(stored.shape[:-2])
    index, zeros, scales = parts.get("g_idx"), parts.get("qzeros"), parts.get("scales")
    if index is not None and index.shape[-1:] and whole_bits(rows * word, index.shape[-1]):
        return stack * index.shape[-1] * out
    bits = scheme.bits
    if zeros is not None and scales is not None and zeros.dtype not in PLAIN and scales.shape[-1:] == (out,):
        bits = whole_bits(zeros.shape[-1] * DTYPE_BITS[zeros.dtype], out) or bits
    return stored.numel * word // bits if bits and bits <= word else None


def marlin(stored: Group, parts: Parts, scheme: Scheme) -> int | None:
    """AutoGPTQ's Marlin format: B (in / 16, out * 2) int32, 4 bits always. Source: auto_gptq's qlinear_marlin.py."""
    del parts, scheme
    return stored.numel * 8 if stored.dtype == "I32" else None


def exl3(stored: Group, parts: Parts, scheme: Scheme) -> int | None:
    """trellis (in / 16, out / 16, 16 * bits) int16: tiles of 16 x 16 weights. Source: GPTQModel's EXL3 layers."""
    del parts, scheme
    return 256 * math.prod(stored.shape[:2]) if len(stored.shape) == 3 else None


class Exl3(Packing):
    """EXL3 in GPTQModel's layers."""

    marks: ClassVar[tuple[str, ...]] = ("trellis",)
    tensors: ClassVar[Rules] = {
        "qweight": gptq,
        "B": marlin,
        "trellis": exl3,
        **every(beside, "qzeros scales g_idx s workspace suh svh su sv mcg mul1"),
    }


class Gptq(Exl3):
    """GPTQ, whose recipes may say more of modules by patterns ("dynamic")."""

    marks = ("B", "s")
    signs = ("qweight",)
    grouped = True
    marlin = True

    def converts(self, component: str) -> bool:
        return component not in NO_LAYERS | TOWERS  # the language part's layers alone

    def stored(self, weight: Tensor, scheme: Scheme, recipe: Mapping[str, Any]) -> Stored | None:
        bits = scheme.bits
        if bits not in (2, 3, 4, 8) or recipe.get("checkpoint_format") == "marlin":
            return None
        out, into = weight.shape
        if out * bits % 32 or into * bits % 32:
            return None
        groups = blocks(into, scheme.group_size)
        return {
            "qweight": ("I32", (into * bits // 32, out)),
            "qzeros": ("I32", (groups, out * bits // 32)),
            "scales": ("F16", (groups, out)),
            "g_idx": ("I32", (into,)),
        }

    def schemes(self, recipe: Mapping[str, Any]) -> Schemes:
        default = self.scheme(recipe)
        dynamic = mapping(recipe.get("dynamic"))
        if not dynamic:
            return Schemes(default, default)
        patterns = {
            key.removeprefix("+:"): scheme_in(value, default) for key, value in dynamic.items() if key[:2] != "-:"
        }
        return by_pattern(default, patterns, Matching().matches)
