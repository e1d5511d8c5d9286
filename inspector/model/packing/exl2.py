"""EXL2: rows of mixed widths, quantized by ExLlamaV2."""

from __future__ import annotations

from typing import ClassVar

from inspector.model.packing.packing import Packing, Parts, Rules, Scheme, beside, every
from inspector.model.parameters.names import Group


def exl2(stored: Group, parts: Parts, scheme: Scheme) -> int | None:
    """q_weight (packed, out) beside the permutation of its inputs, q_invperm (in): in * out, whatever the rows' bits.

    Source: exllamav2.linear.ExLlamaV2Linear.
    """
    del scheme
    order = parts.get("q_invperm") or parts.get("q_perm")
    return None if order is None or len(stored.shape) != 2 else order.numel * stored.shape[1]


class Exl2(Packing):
    """Each layer has its own mixture of 2 to 8 bits; the recipe's `bits` is the mean."""

    marks = ("q_weight", "q_invperm")
    tensors: ClassVar[Rules] = {"q_weight": exl2, **every(beside, "q_groups q_invperm q_perm q_scale q_scale_max")}
