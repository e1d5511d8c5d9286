"""Packed weights whose config has no recipe: what the registry's packings store, all together."""

from __future__ import annotations

from typing import ClassVar

from inspector.model.packing.bitsandbytes import bitsandbytes
from inspector.model.packing.packing import Packing, Parts, Rules, Scheme, two_a_byte
from inspector.model.packing.registry import all_packings
from inspector.model.parameters.names import Group


def no_recipe(stored: Group, parts: Parts, scheme: Scheme) -> int | None:
    """A weight whose config names no method: what is beside it tells."""
    if ".absmax" in parts or "SCB" in parts:
        return bitsandbytes(stored, parts, scheme)
    if stored.dtype == "U8" and not {"weight_scale", "weight_scale_2", "_weight_scale"} & parts.keys():
        return None
    return two_a_byte(stored, parts, scheme)


def _tensors() -> Rules:
    tables = [packing.tensors for packing in all_packings().values() if packing.signs is not None]
    return {key: rule for table in tables for key, rule in table.items()} | {"weight": no_recipe}


class NoRecipe(Packing):
    """What packings store that may come without a recipe."""

    tensors: ClassVar[Rules] = _tensors()
