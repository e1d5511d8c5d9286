"""FP-Quant and Four Over Six: 4-bit floats, two a byte."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from inspector.model.packing.packing import Packing, Parts, Rules, Scheme, beside, every, overhead, plain, two_a_byte


class FpQuant(Packing):
    """FP-Quant: MXFP4 or NVFP4, and a copy for the backward pass where it trains."""

    tensors: ClassVar[Rules] = {
        "qweight": two_a_byte,
        "dqweight": plain,
        **every(beside, "scales"),
        **every(overhead, "forward_hadamard_matrix backward_hadamard_matrix act_global_scale weight_global_scale"),
    }

    def told_by(self, parts: Parts) -> bool:
        return "qweight" in parts and parts["qweight"].dtype == "U8" and "qzeros" not in parts

    def scheme(self, recipe: Mapping[str, Any]) -> Scheme:
        kind = recipe.get("forward_dtype")
        return Scheme(4, {"mxfp4": 32, "nvfp4": 16}.get(kind) if isinstance(kind, str) else None)


class FourOverSix(Packing):
    """NVFP4 with scales chosen between two."""

    marks = ("quantized_weight_values",)
    tensors: ClassVar[Rules] = {
        "quantized_weight_values": two_a_byte,
        **every(beside, "quantized_weight_scale_factors quantized_weight_amax quantized_weight_metadata"),
    }
    bits = 4
    group_size = 16
