"""AutoRound, which writes GPTQ's layout, AWQ's, or those of compressed-tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from inspector.model.packing.awq import awq
from inspector.model.packing.compressed_tensors import CompressedTensors
from inspector.model.packing.gptq import Exl3, gptq
from inspector.model.packing.packing import Packing, Parts, Rules, Scheme, mapping
from inspector.model.parameters.names import Group


def auto_round(stored: Group, parts: Parts, scheme: Scheme) -> int | None:
    """GPTQ's layout or AWQ's, whichever the recipe's packing_format names; the shapes tell which: only AWQ's zero
    points have the weight's own columns."""
    zeros = parts.get("qzeros")
    as_awq = zeros is not None and zeros.shape[-1:] == stored.shape[-1:] and "g_idx" not in parts
    return (awq if as_awq else gptq)(stored, parts, scheme)


class AutoRound(Packing):
    """AutoRound; its extra_config names single modules."""

    tensors: ClassVar[Rules] = {**CompressedTensors.tensors, **Exl3.tensors, "qweight": auto_round}
    grouped = True
    marlin = True

    def by_name(self, recipe: Mapping[str, Any]) -> Mapping[str, Any]:
        return mapping(recipe.get("extra_config"))
