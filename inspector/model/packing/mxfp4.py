"""MXFP4, as gpt-oss has it: experts that are one stacked parameter, in blocks of 32."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from inspector.hub.checkpoint import Tensor
from inspector.model.packing.packing import SCALES, Packing, Rules, Scheme, Stored, beside, every, two_a_byte


class Mxfp4(Packing):
    """Blocks and scales beside each other; engines have kernels of its own for it."""

    tensors: ClassVar[Rules] = {"_blocks": two_a_byte, **every(beside, "_scales"), **SCALES}
    bits = 4
    group_size = 32
    signs = ("_blocks",)
    counts_alone = True
    padded_experts = True
    stacks = True

    def converts(self, component: str) -> bool:
        return component == "experts"

    def stored(self, weight: Tensor, scheme: Scheme, recipe: Mapping[str, Any]) -> Stored | None:
        """The inputs of each output, 32 in 16 bytes beside a scale."""
        del scheme, recipe
        experts, into, out = weight.shape
        if into % 32:
            return None
        return {"_blocks": ("U8", (experts, out, into // 32, 16)), "_scales": ("U8", (experts, out, into // 32))}
