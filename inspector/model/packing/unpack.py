"""Sorts stored tensors by the parameter that they belong to, and tells how many parameters each stands for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from inspector.hub.cache.snapshot import split_name
from inspector.hub.checkpoint import Tensor
from inspector.model.packing.packing import PLAIN, Packing, Rule, Rules, Scheme, Schemes, beside, overhead
from inspector.model.packing.recipe import method_of
from inspector.model.packing.registry import facts_of, packing_of
from inspector.model.parameters.names import Group


class Unpacked(NamedTuple):
    """What a group of stored tensors stands for.

    Attributes:
        group: the tensors.
        name: the parameter's template where they hold its values, the stored one else.
        numel: parameters that one tensor stands for: 0 for overhead, None where that cannot be told.
        packed: they hold a weight that is not stored as a plain float, or belong to one.
    """

    group: Group
    name: str
    numel: int | None
    packed: bool


class _Keys:
    """A method's table, sorted by how its keys are matched."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.children = sorted((key for key in rules if key.startswith(".")), key=len, reverse=True)
        self.around = sorted((key for key in rules if "_*_" in key), key=len, reverse=True)
        self.tails = sorted((key for key in rules if key[0] == "_" and "*" not in key), key=len, reverse=True)
        self.within = [key.removesuffix(".*") for key in rules if key.endswith(".*")]
        self.dotted = [key for key in rules if "." in key[1:] and not key.startswith(".") and not key.endswith(".*")]

    def split(self, template: str) -> tuple[str, str]:
        """The parameter and the table's key: "mlp.up.qzeros" -> ("mlp.up.weight", "qzeros")."""
        module, dot, last = template.rpartition(".")
        for key in self.within:
            front, found, _ = template.partition(f".{key}.")
            if found:
                return f"{front}.weight", f"{key}.*"
        if last in self.rules and last != "weight":
            return f"{module}{dot}weight", last
        for key in self.children:
            if template.endswith(key):
                return template.removesuffix(key), key
        for key in self.dotted:
            if template.endswith(f".{key}"):
                return f"{template.removesuffix(key)}weight", key
        for key in self.around:
            end = key.removeprefix("_*")
            if last[0:1] == "_" and last.endswith(end) and len(last) > len(end) + 1:
                return f"{module}{dot}{last[1:].removesuffix(end)}", key
        for key in self.tails:
            if last.endswith(key) and last != key:
                return template.removesuffix(key), key
        return template, "weight"


def unpack(
    groups: Iterable[Group], tensors: Iterable[Tensor], recipe: Mapping[str, Any] | None, *, mlx: bool = False
) -> list[Unpacked]:
    """What every group stands for; groups whose modules differ in bits or parts come apart.

    Args:
        groups: of all tensors, by template, dtype and shape.
        tensors: the same, one by one; only looked at where one template has several shapes, or where the recipe
            speaks of single modules.
        recipe: the config's quantization_config; None for a config that has none.
        mlx: the recipe is MLX's own.
    """
    method = method_of(recipe, mlx=mlx) if recipe is not None else ""
    packing = packing_of(method)
    known = packing is not None
    keys = _Keys(packing.tensors if packing else facts_of("modelopt").tensors)
    packing = packing or Packing()
    families = _families(groups, keys)
    schemes = packing.schemes(recipe or {})
    mixed = {
        parameter
        for parameter, parts in families.items()
        if known and _holds_weight(parts, keys)
        if (not packing.counts_alone and _is_mixed(parts)) or (schemes.find and _is_open(parts, schemes.shared, keys))
    }
    found: list[Unpacked] = []
    for parameter, parts in families.items():
        if parameter not in mixed:
            found += _family(parameter, parts, schemes.shared if schemes.find else schemes.default, keys, known)
    for parameter, parts, scheme in _alike(mixed, tensors, keys, schemes):
        found += _family(parameter, parts, scheme, keys, known)
    return found


def families_of(groups: Iterable[Group], packing: Packing) -> dict[str, dict[str, list[Group]]]:
    """Each parameter's tensors by the key of a packing's table."""
    return _families(groups, _Keys(packing.tensors))


def _families(groups: Iterable[Group], keys: _Keys) -> dict[str, dict[str, list[Group]]]:
    families: dict[str, dict[str, list[Group]]] = {}
    for group in groups:
        parameter, key = keys.split(group.template)
        families.setdefault(parameter, {}).setdefault(key, []).append(group)
    return families


def not_known(recipe: Mapping[str, Any], *, mlx: bool = False) -> str | None:
    """The method's name where this version does not know how it packs its weights; None where it does."""
    method = method_of(recipe, mlx=mlx)
    return method if packing_of(method) is None else None


def _holds_weight(parts: Mapping[str, list[Group]], keys: _Keys) -> bool:
    return any(keys.rules.get(key) not in (None, overhead, beside) for key in parts)


def _is_mixed(parts: Mapping[str, list[Group]]) -> bool:
    """Whether modules of one template differ in what they store."""
    return any(len(groups) > 1 for groups in parts.values()) or len({g.count for gs in parts.values() for g in gs}) > 1


def _is_open(parts: Mapping[str, list[Group]], scheme: Scheme, keys: _Keys) -> bool:
    """Whether shapes, and what the recipe says of all modules, leave the number of parameters open."""
    siblings = {key: groups[0] for key, groups in parts.items()}
    return any(
        rule is not None and rule(group, siblings, scheme) is None
        for key, groups in parts.items()
        for rule in (keys.rules.get(key),)
        for group in groups
    )


def _family(
    parameter: str, parts: Mapping[str, list[Group]], scheme: Scheme, keys: _Keys, known: bool
) -> Iterator[Unpacked]:
    """One parameter's tensors. Siblings are those of its first group: all have one, or they were told apart before."""
    siblings = {key: groups[0] for key, groups in parts.items()}
    bare = len(parts) == 1 and parameter.rpartition(".")[2] != "weight"  # a bias, a buffer: no recipe packs these
    counted: list[tuple[Group, str, Rule | None, int | None]] = []
    for key, groups in parts.items():
        rule = None if bare and key == "weight" else keys.rules.get(key)
        for group in groups:
            if not known and rule is not overhead and not bare:
                counted.append((group, key, rule, group.numel if _is_float(group.dtype) else None))
            elif rule is None:
                counted.append((group, key, None, group.numel))
            else:
                counted.append((group, key, rule, rule(group, siblings, scheme)))
    packed = any(
        numel is None or (rule is not None and numel != 0 and (group.dtype not in PLAIN or numel != group.numel))
        for group, _, rule, numel in counted
    )
    for group, _, rule, numel in counted:
        if rule is beside and not packed:
            yield Unpacked(group, group.template, group.numel, False)
        elif numel == 0 and rule is not None:
            yield Unpacked(group, group.template, 0, packed)
        else:
            plain = numel == group.numel and (rule is None or group.dtype in PLAIN)
            yield Unpacked(group, parameter if rule is not None else group.template, numel, not plain)


def _is_float(dtype: str) -> bool:
    return dtype.startswith(("F", "BF")) and dtype != "F4"


def _alike(
    mixed: set[str], tensors: Iterable[Tensor], keys: _Keys, schemes: Schemes
) -> Iterator[tuple[str, dict[str, list[Group]], Scheme]]:
    """The modules of mixed templates, sorted by what they store and, where that leaves it open, by what the recipe says
    of them: each kind's parameter, its parts as groups, and its scheme."""
    if not mixed:
        return
    stored: dict[str, list[tuple[str, str, Tensor]]] = {}
    templates: dict[str, tuple[str, int | None]] = {}
    for tensor in tensors:
        parameter, key = keys.split(tensor.name)
        known = templates.get(parameter)
        if known is None:
            template, numbers = split_name(parameter)
            known = templates[parameter] = (template, numbers[0] if numbers else None)
        if known[0] in mixed:
            front = parameter.removesuffix("weight")
            if tensor.name.startswith(front):  # split once a parameter: a large model has 180,000 tensors
                name = known[0].removesuffix("weight") + tensor.name[len(front) :]
            else:
                name = split_name(tensor.name)[0]
            stored.setdefault(parameter, []).append((key, name, tensor))
    shared = schemes.shared if schemes.find else schemes.default
    open_kinds: dict[tuple[Any, ...], bool] = {}
    kinds: dict[tuple[Any, ...], dict[tuple[str, str], Group]] = {}
    for parameter, parts in stored.items():
        template, layer = templates[parameter]
        kind = (template, tuple(sorted((name, tensor.dtype, tensor.shape) for _, name, tensor in parts)))
        if kind not in open_kinds:
            sample = {key: [Group(name, tensor.dtype, tensor.shape)] for key, name, tensor in parts}
            open_kinds[kind] = schemes.find is not None and _is_open(sample, shared, keys)
        scheme = shared
        if open_kinds[kind] and schemes.find is not None:
            scheme = schemes.find(parameter.removesuffix(".weight")) or schemes.default
        groups = kinds.setdefault((*kind, scheme), {})
        for key, name, tensor in parts:
            group = groups.setdefault((key, name), Group(name, tensor.dtype, tensor.shape))
            group.count += 1
            if layer is not None:
                group.layers[layer] = group.layers.get(layer, 0) + 1
    for (template, _, scheme), groups in kinds.items():
        by_key: dict[str, list[Group]] = {}
        for (key, _), group in groups.items():
            by_key.setdefault(key, []).append(group)
        yield template, by_key, scheme
