"""bitsandbytes: nf4, fp4 and int8."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from inspector.model.packing.packing import BITS, PLAIN, Packing, Parts, Rules, Scheme, beside, every, first, overhead
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

    def scheme(self, recipe: Mapping[str, Any]) -> Scheme:
        return Scheme(4 if recipe.get("load_in_4bit") else 8 if recipe.get("load_in_8bit") else first(recipe, BITS))
