"""optimum's quanto."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from inspector.model.packing.packing import Packing, Parts, Rules, Scheme, beside, every, overhead
from inspector.model.parameters.names import Group


def quanto(stored: Group, parts: Parts, scheme: Scheme) -> int | None:
    """_data: int8 and FP8 as they are; int4 two and int2 four a byte. Source: optimum.quanto's PackedTensor."""
    del parts
    if stored.dtype != "U8":
        return stored.numel
    return stored.numel * (8 // scheme.bits) if scheme.bits in (2, 4, 8) else None


class Quanto(Packing):
    """Parts that come after the parameter's whole name."""

    tensors: ClassVar[Rules] = {
        "._data": quanto,
        "._data._data": quanto,
        **every(beside, "._scale ._shift"),
        **every(overhead, "input_scale output_scale"),
    }
    signs = ()

    def told_by(self, parts: Parts) -> bool:
        return "._data" in parts or "._data._data" in parts

    def recipe_of(self, bits: int, group_size: int | None) -> dict[str, Any]:
        del group_size
        return {"weights": f"int{bits}"}

    def scheme(self, recipe: Mapping[str, Any]) -> Scheme:
        weights = recipe.get("weights")
        return Scheme({"int2": 2, "int4": 4, "int8": 8, "float8": 8}.get(weights) if isinstance(weights, str) else None)
