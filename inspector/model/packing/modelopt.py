"""NVIDIA's modelopt: NVFP4, FP8, int4, and mixtures of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from inspector.hub.checkpoint import Tensor
from inspector.model.packing.groups import shared_scheme, weight_groups
from inspector.model.packing.packing import (
    SCALES,
    SIZES,
    TAILS,
    Packing,
    Rules,
    Scheme,
    Stored,
    beside,
    every,
    first,
    mapping,
    overhead,
    two_a_byte,
)


class Modelopt(Packing):
    """modelopt names its algorithm: NVFP4, FP8, W4A16_AWQ, W4A8_AWQ, MXFP4, FP8_PB_WO, MIXED_PRECISION, ..."""

    tensors: ClassVar[Rules] = {
        "weight": two_a_byte,
        **SCALES,
        **TAILS,
        **every(overhead, "pre_quant_scale svdquant_lora_a svdquant_lora_b"),
        **every(beside, "weight_sf weight_sf_rowmajor"),
    }
    signs: ClassVar[tuple[str, ...] | None] = ("weight_scale_2",)
    counts_alone = True
    grouped = True
    marlin = True
    algorithm: ClassVar[str] = ""

    def scheme(self, recipe: Mapping[str, Any]) -> Scheme:
        inner = mapping(recipe.get("quantization")) or recipe
        algorithm = inner.get("quant_algo", self.algorithm)
        algorithm = algorithm.upper() if isinstance(algorithm, str) else ""
        size = first(inner, SIZES) or (16 if "NVFP4" in algorithm else 32 if "MXFP" in algorithm else None)
        bits = next((n for mark, n in (("FP4", 4), ("W4", 4), ("INT4", 4), ("8", 8)) if mark in algorithm), None)
        if bits is None and weight_groups(recipe):
            return shared_scheme(recipe)
        return Scheme(bits, size)

    def stored(self, weight: Tensor, scheme: Scheme, recipe: Mapping[str, Any]) -> Stored | None:
        algorithm = (mapping(recipe.get("quantization")) or recipe).get("quant_algo", self.algorithm)
        if weight.shape[1] % 16:
            return None
        rows, width = weight.shape
        one = ("F32", ())
        if algorithm == "FP8":
            return {"weight": ("F8_E4M3", weight.shape), "weight_scale": one, "input_scale": one}
        if algorithm == "NVFP4" and scheme.group_size == 16:
            scales = ("F8_E4M3", (rows, width // 16))
            return {
                "weight": ("U8", (rows, width // 2)),
                "weight_scale": scales,
                "weight_scale_2": one,
                "input_scale": one,
            }
        return None


class Nvfp4(Modelopt):
    """NVFP4 under its own name."""

    signs: ClassVar[tuple[str, ...] | None] = None
    marlin = False
    marks = ("weight", "weight_sf")
    algorithm = "NVFP4"

    def stored(self, weight: Tensor, scheme: Scheme, recipe: Mapping[str, Any]) -> Stored | None:
        del weight, scheme, recipe
        return None  # transformers does not save it today
