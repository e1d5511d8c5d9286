"""Packed weights whose config has no recipe: the method by what stands beside a weight, bits and groups by the widths
that the config gives. What is made is a recipe as the method's own tool would have written it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from inspector.model.packing.packing import Packing, Parts
from inspector.model.packing.registry import all_packings
from inspector.model.parameters.names import Group

BITS = (4, 8, 2, 3, 6, 5, 1)
SIZES = (None, 64, 128, 32, 16, 256)
"""Of groups, the usual ones first; None where the number of parameters does not hang on it."""
GROUPS = (8, 16, 32, 64, 128, 256, 512, 1024)
SCALES = ("scales", "weight_scale", "scale", "._scale", "meta.*")


class Guess(NamedTuple):
    """What tensors tell of their packing.

    Attributes:
        recipe: as the method's own tool writes it.
        doubt: why the numbers may be wrong, None where every weight whose number the config tells has it.
    """

    recipe: dict[str, Any]
    doubt: str | None = None


def guessed_recipe(groups: Iterable[Group], widths: Mapping[str, int]) -> Guess | None:
    """A recipe for tensors that are packed in a way that their names tell, None where none does.

    Args:
        groups: of all tensors.
        widths: projections ("k_proj") and the parameters that the config gives one of them.
    """
    from inspector.model.packing.unpack import families_of

    groups = list(groups)
    for method, packing in all_packings().items():
        if type(packing).told_by is Packing.told_by and not packing.marks:
            continue
        told: dict[str, Parts] = {}
        for name, parts in families_of(groups, packing).items():
            siblings = {key: groups[0] for key, groups in parts.items()}
            if packing.told_by(siblings):
                told[name] = siblings
        if told:
            recipe, doubt = _scheme(packing, told, widths)
            return Guess({"quant_method": method, **recipe}, doubt)
    return None


def _scheme(packing: Packing, told: Mapping[str, Parts], widths: Mapping[str, int]) -> Guess:
    """Bits and group size by which the key projections have the parameters that they should have; empty if unclear."""
    known = {
        name: widths[last] for name in told if (last := name.split(".")[-2:][0]) in widths and ".experts." not in name
    }
    keys = [name for name in known if ".k_proj." in name]
    for size in SIZES if keys else ():
        for bits in BITS:
            if not all(_fits(packing, told[name], packing.recipe_of(bits, size), known[name]) for name in keys):
                continue
            parts = told[keys[0]]
            group = size or _group(parts, known[keys[0]])
            recipe = packing.recipe_of(bits, group)
            odd = [name for name in known if not _fits(packing, told[name], recipe, known[name], ".q_proj." in name)]
            doubt = f"no recipe says how: of {odd[0]} the widths are not those of {bits} bits" if odd else None
            return Guess(recipe, doubt)
    return Guess({})


def _group(parts: Parts, numel: int) -> int | None:
    """Values under one scale."""
    scales = next((parts[key] for key in SCALES if key in parts and parts[key].numel > 1), None)
    if scales is None or ("weight_scale" in parts and scales.shape[-1] == 1):
        return None  # a scale for each output
    zeros = parts.get("qzeros")
    if zeros is not None and len(zeros.shape) == 2 and scales.shape[-1] // 8 == zeros.shape[1] < zeros.shape[0]:
        return None  # padded, in the layout of AWQ's gemv
    size = numel // scales.numel
    return size if size in GROUPS else None


def _fits(packing: Packing, parts: Parts, recipe: Mapping[str, Any], expected: int, gated: bool = False) -> bool:
    """Whether a weight stands for so many parameters in so many bits each. Words that hold a number of values with bits
    to spare take less than a bit more each.

    Args:
        gated: it may have a gate, and so twice as many.
    """
    scheme = packing.scheme(recipe)
    counted = [
        (group, numel)
        for key, group in parts.items()
        if (rule := packing.tensors.get(key)) is not None and (numel := rule(group, parts, scheme))
    ]
    if len(counted) != 1 or counted[0][1] not in (expected, 2 * expected if gated else expected):
        return False
    group, numel = counted[0]
    return not scheme.bits or "meta" in parts or scheme.bits <= group.nbytes * 8 / numel < scheme.bits + 1
