"""EETQ: int8, one value an element."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from inspector.model.packing.packing import Packing, Rules, Scheme, beside, every, plain


class Eetq(Packing):
    """Always 8 bits, whatever the recipe says."""

    tensors: ClassVar[Rules] = {"weight": plain, **every(beside, "weight_scales")}

    marks = ("weight", "weight_scales")

    def scheme(self, recipe: Mapping[str, Any]) -> Scheme:
        del recipe
        return Scheme(8)
