"""AWQ."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

from inspector.hub.checkpoint import Tensor
from inspector.hub.dtypes import DTYPE_BITS
from inspector.model.packing.gptq import Exl3
from inspector.model.packing.packing import (
    NO_LAYERS,
    PLAIN,
    TOWERS,
    Packing,
    Parts,
    Rules,
    Scheme,
    Stored,
    blocks,
    whole_bits,
)
from inspector.model.parameters.names import Group


def awq(stored: Group, parts: Parts, scheme: Scheme) -> int | None:
    """gemm: qweight (in, out * bits / 32) beside scales (groups, out). gemv: (out, in * bits / 32); gemv_fast: int16
    words, 4 rows interleaved. Source: AutoAWQ's WQLinear_GEMM, WQLinear_GEMV and WQLinear_GEMVFast.
    """
    word = DTYPE_BITS[stored.dtype]
    if stored.dtype in PLAIN or len(stored.shape) < 2:
        return stored.numel if stored.dtype in PLAIN else None
    scales, zeros = parts.get("scales"), parts.get("qzeros")
    if scales is not None and zeros is not None and len(scales.shape) == len(zeros.shape) == len(stored.shape):
        into, columns = stored.shape[-2:]
        packed_zeros = zeros.shape[-1] == columns and zeros.shape[-2] == scales.shape[-2]
        if packed_zeros and whole_bits(columns * word, scales.shape[-1]) and into % max(1, scales.shape[-2]) == 0:
            return math.prod(stored.shape[:-1]) * scales.shape[-1]
    bits = scheme.bits or 4
    return stored.numel * word // bits if bits <= word else None


class Awq(Packing):
    """AWQ: engines fall back to kernels of its own where Marlin's do not take a width."""

    tensors: ClassVar[Rules] = {**Exl3.tensors, "qweight": awq}
    marks = ()
    grouped = True

    def converts(self, component: str) -> bool:
        return component not in NO_LAYERS | TOWERS  # the language part's layers alone

    def stored(self, weight: Tensor, scheme: Scheme, recipe: Mapping[str, Any]) -> Stored | None:
        version, bits = recipe.get("version", "gemm"), scheme.bits or 4
        if not isinstance(version, str) or version.lower() != "gemm":
            return None
        out, into = weight.shape
        if out * bits % 32:
            return None
        groups, columns = blocks(into, scheme.group_size), out * bits // 32
        return {
            "qweight": ("I32", (into, columns)),
            "qzeros": ("I32", (groups, columns)),
            "scales": ("F16", (groups, out)),
        }

    def told_by(self, parts: Parts) -> bool:
        """Only AWQ's zero points have the weight's own columns, or gemv's rows of them."""
        weight, zeros, scales = parts.get("qweight"), parts.get("qzeros"), parts.get("scales")
        if weight is None or zeros is None or scales is None or "g_idx" in parts or weight.dtype in PLAIN:
            return False
        if len(weight.shape) != 2 or len(zeros.shape) != 2 or len(scales.shape) != 2:
            return False
        gemm = zeros.shape[-1] == weight.shape[-1] and scales.shape[-1] > weight.shape[-1]
        return gemm or zeros.shape[0] == weight.shape[0] == scales.shape[0]
