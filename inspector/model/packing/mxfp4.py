"""MXFP4, as gpt-oss has it: experts that are one stacked parameter, in blocks of 32."""

from __future__ import annotations

from typing import ClassVar

from inspector.model.packing.packing import SCALES, Packing, Rules, beside, every, two_a_byte


class Mxfp4(Packing):
    """Blocks and scales beside each other; engines have kernels of its own for it."""

    tensors: ClassVar[Rules] = {"_blocks": two_a_byte, **every(beside, "_scales"), **SCALES}
    bits = 4
    group_size = 32
    signs = ("_blocks",)
    counts_alone = True
    padded_experts = True
