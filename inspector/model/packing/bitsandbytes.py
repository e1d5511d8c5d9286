"""bitsandbytes: nf4, fp4 and int8."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from inspector.hub.checkpoint import Tensor
from inspector.model.packing.packing import (
    BITS,
    NO_LAYERS,
    PLAIN,
    Packing,
    Parts,
    Rules,
    Scheme,
    Stored,
    beside,
    blocks,
    every,
    first,
    overhead,
)
from inspector.model.parameters.names import Group

BLOBS = " ".join(f".quant_state.bitsandbytes__{kind}" for kind in ("nf4", "fp4", "int8", "af4"))


def bitsandbytes(stored: Group, parts: Parts, scheme: Scheme) -> int | None:
    """nf4 and fp4: two values a byte in a column (bytes / element, 1), whose storage type may be any; the blocks'
    absmax beside it gives it away. int8 and what was skipped: one value an element."""
    column = len(stored.shape) == 2 and stored.shape[1] == 1
    if ".absmax" in parts or (stored.dtype == "U8" and column and scheme.bits != 8):
        return 2 * stored.nbytes
    return stored.numel if stored.dtype in PLAIN or stored.dtype in ("I8", "F8_E4M3") else None


class Bitsandbytes(Packing):
    """Columns of bytes, whatever the weight's shape."""

    tensors: ClassVar[Rules] = {
        "weight": bitsandbytes,
        **every(beside, f".absmax .quant_map .nested_absmax .nested_quant_map {BLOBS}"),
        **every(overhead, "SCB CB weight_format"),
    }
    signs = ("absmax", "SCB")
    one_rank_only = True
    under_adapters = True

    def converts(self, component: str) -> bool:
        return component not in NO_LAYERS | {"experts"}  # transformers stacks these, and a stack is no linear layer

    def stored(self, weight: Tensor, scheme: Scheme, recipe: Mapping[str, Any]) -> Stored | None:
        """Without the few bytes in which each matrix's state is described."""
        if scheme.bits == 8:
            rows = weight.shape[0]
            return {"weight": ("I8", weight.shape), "SCB": ("F32", (rows,)), "weight_format": ("U8", ())}
        if scheme.bits != 4 or recipe.get("bnb_4bit_quant_storage", "uint8") != "uint8":
            return None
        scales = blocks(weight.numel, 64)
        found: dict[str, tuple[str, tuple[int, ...]]] = {
            "weight": ("U8", (blocks(weight.numel, 2), 1)),
            ".absmax": ("F32", (scales,)),
            ".quant_map": ("F32", (16,)),
        }
        if recipe.get("bnb_4bit_use_double_quant"):
            nested = {".nested_absmax": ("F32", (blocks(scales, 256),)), ".nested_quant_map": ("F32", (256,))}
            found |= {".absmax": ("U8", (scales,)), **nested}
        return found

    def scheme(self, recipe: Mapping[str, Any]) -> Scheme:
        return Scheme(4 if recipe.get("load_in_4bit") else 8 if recipe.get("load_in_8bit") else first(recipe, BITS))
