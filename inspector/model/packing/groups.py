"""A recipe's config_groups: compressed-tensors' way to speak of modules, which modelopt writes, too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inspector.model.packing.packing import Scheme, mapping, shared, whole

GAPLESS_SINCE = (0, 18)
"""compressed-tensors packs 3, 5, 6 and 7 bits without gaps from this version on: 0.17.0 does not, 0.18.0 does."""


def weight_groups(recipe: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found = mapping(recipe.get("config_groups")).values()
    return [group for group in found if isinstance(group, Mapping) and isinstance(group.get("weights"), Mapping)]


def group_scheme(group: Mapping[str, Any], recipe: Mapping[str, Any]) -> Scheme:
    """What a recipe says of one of its groups."""
    weights = mapping(group.get("weights"))
    return Scheme(whole(weights.get("num_bits")), whole(weights.get("group_size")), gapless=_gapless(recipe))


def shared_scheme(recipe: Mapping[str, Any]) -> Scheme:
    """What a recipe says of all of its groups."""
    return shared([group_scheme(group, recipe) for group in weight_groups(recipe)])


def _gapless(recipe: Mapping[str, Any]) -> bool | None:
    """Whether compressed-tensors of the recipe's version packs without gaps."""
    version = recipe.get("version")
    if not isinstance(version, str):
        return None
    numbers = version.split(".")[:2]
    if len(numbers) < 2 or not all(part.isdecimal() and len(part) < 5 for part in numbers):
        return None
    return (int(numbers[0]), int(numbers[1])) >= GAPLESS_SINCE
