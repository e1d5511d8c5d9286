"""BitNet: ternary weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from inspector.model.packing.packing import Packing, Parts, Rules, Scheme, beside, every
from inspector.model.parameters.names import Group


def bitnet(stored: Group, parts: Parts, scheme: Scheme) -> int:
    """weight (out / 4, in): four ternary values a byte. Source: BitLinear of transformers."""
    del parts, scheme
    return stored.numel * (4 if stored.dtype == "U8" else 1)


class Bitnet(Packing):
    """Always 2 bits, whatever the recipe says."""

    tensors: ClassVar[Rules] = {"weight": bitnet, **every(beside, "weight_scale")}

    def told_by(self, parts: Parts) -> bool:
        """Bytes under one scale; NVFP4's have one for each group, too."""
        weight, scale = parts.get("weight"), parts.get("weight_scale")
        return weight is not None and scale is not None and weight.dtype == "U8" and scale.numel == 1

    def scheme(self, recipe: Mapping[str, Any]) -> Scheme:
        del recipe
        return Scheme(2)
