"""What a class has with a config and the files have not, which transformers makes anew, of random values; and the other
way round, which it does not load.

inspector/data/designs/ says what each class writes. Where its tables do not know a config, or the files have names that
they do not know (those of another release, say), nothing is said. tests/oracles/parameters.py demands silence on what
each class saves itself.
"""

from __future__ import annotations

import copy
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import suppress
from typing import Any, NamedTuple

from inspector.errors import InvalidConfig, UnreadableModel
from inspector.hub.cache.snapshot import format_indices
from inspector.hub.checkpoint import PLACEHOLDER
from inspector.model.config.expressions import holds, key_of, names_in
from inspector.model.design.derived import add_derived
from inspector.model.design.tables import ClassDesign, Row, class_design, size
from inspector.model.design.without_class import full_without_class
from inspector.model.parameters.classes import ModelClass
from inspector.model.parameters.names import PARAMETER, TensorGroup, modules

NUMBER = re.compile(r"(?<=\.)\d+(?=\.)")
"""A number in a tensor's name: the tables have some apart ("mlp.0.weight"), which files' templates join."""
INNER = re.compile(r"\b[jk]\b")
"""In a condition, the number of an expert, or of what else is in a layer."""
QUOTED = re.compile(r"'([^']*)'")
"""In a condition, a text."""
MOST_LAYERS = 4096
MOST_NOTES = 3


class _Asked(NamedTuple):
    """A tensor of the class, or one of each layer: its name as it is written, all that it is called, whether the config
    asks for it (None: of some experts, or whatever else its other numbers count, it may), and the layers that have it,
    where that is told (no other number is in its name)."""

    written: str
    names: frozenset[str]
    is_due: bool | None
    layers: frozenset[int] | None


def missing(
    model_class: ModelClass, config: Mapping[str, Any], tensor_groups: Sequence[TensorGroup]
) -> tuple[str, ...]:
    """Notes on modules, or tensors of one, that the class has with this config and no file holds, and on those that
    files hold and it has not."""
    design = class_design(model_class.name)
    if design is None or design.wrong:
        return ()
    called = {row: _called(row.name, model_class) for row in design.rows}
    several = _one_of_several(model_class)
    loaded = [each for each in tensor_groups if each.role == PARAMETER]
    if not {joined(each.name) for each in loaded if not each.packed} <= set().union(*called.values()) | several:
        return ()
    asked, name = list(_asked(design, model_class, config, called)), model_class.name
    due = [each for each in asked if each.is_due and not each.names & several]
    held = _held(tensor_groups, model_class)
    return (*_not_held(due, held, name), *_not_in_layers(due, held, name), *_not_asked(asked, loaded, name))


def joined(name: str) -> str:
    """A tensor's name without any number."""
    return NUMBER.sub(PLACEHOLDER, name)


def _called(name: str, model_class: ModelClass) -> frozenset[str]:
    """What a tensor of the tables may be called, once its numbers are left out."""
    return frozenset({joined(model_class.locate(name)[0]), joined(model_class.bare(name))})


def _held(tensor_groups: Sequence[TensorGroup], model_class: ModelClass) -> dict[str, set[int]]:
    """What the files hold: name -> the layers that have it."""
    found: dict[str, set[int]] = defaultdict(set)
    for each in tensor_groups:
        for name in {joined(each.name), joined(model_class.bare(each.group.template))}:
            found[name].update(each.layers)
    return found


def _one_of_several(model_class: ModelClass) -> frozenset[str]:
    """Names of which a file holds one for several."""
    twins = {**model_class.ties, **model_class.shared}
    return frozenset(map(joined, (*twins, *twins.values())))


def _asked(
    design: ClassDesign, model_class: ModelClass, config: Mapping[str, Any], called: Mapping[Row, frozenset[str]]
) -> Iterator[_Asked]:
    """The parameters of the class, and whether it has them with a config; only those that it has, where the tables do
    not know what the config leaves out."""
    known = True
    try:
        full = full_without_class(config, design.config_type)
    except UnreadableModel:  # what the config leaves out is not known: of the tables, what it says counts
        full, known = copy.deepcopy(dict(config)), False
    with suppress(InvalidConfig):
        add_derived(full, config)
    full |= {"class_name": design.name}
    changed = design.changed(full)
    if design.others(full) or any(known or value is not None for value in changed.values()):
        return
    strange = _strange(design, full, full_without_class({}, design.config_type) if known else {})
    for row in design.rows:
        if model_class.locate(row.name)[1] != "parameter" or not (known or _is_told(row, full)):
            continue
        if not strange.isdisjoint(names_in(row.condition)):
            yield _Asked(row.name, called[row], None, None)
            continue
        count = (size(row.lists[0], full) or 0) if row.lists else 1
        inner = (0,) * (len(row.lists) - 1)
        places = range(min(count, MOST_LAYERS))
        layers = frozenset(at for at in places if holds(row.condition, full, (at, *inner) if row.lists else ()))
        alone = known and len(row.lists) == 1 and not NUMBER.search(row.name)
        is_due = True if layers else None if INNER.search(row.condition) else False
        if known or is_due:
            yield _Asked(row.name, called[row], is_due, layers if alone else None)


def _strange(design: ClassDesign, full: Mapping[str, Any], usual: Mapping[str, Any]) -> set[str]:
    """The keys of conditions that are lists of kinds, of which some are neither among the class's `usual` ones nor in
    any condition: a class may have nothing for it (Qwen3-Next's for a sliding layer)."""
    kinds = {text for row in design.rows for text in QUOTED.findall(row.condition)}
    found = set()
    for key in {key for row in design.rows for key in names_in(row.condition)}:
        value, known = key_of(full, key), key_of(usual, key)
        known = {*kinds, *map(str, known if isinstance(known, list) else ())}
        if isinstance(value, list) and any(isinstance(each, str) and each not in known for each in value):
            found.add(key)
    return found


def _is_told(row: Row, config: Mapping[str, Any]) -> bool:
    """Whether a config itself has all keys that tell whether there is a weight (none of a part's, whose class may know
    others), and of how many members."""
    asked, counts = names_in(row.condition), [text for cases in row.lists for case in cases for text in case]
    keys = {*asked, *(key for text in counts for key in names_in(text))}
    told = all(key_of(config, key) is not None for key in keys)
    return told and row.name.endswith(".weight") and not any("." in key for key in asked)


def _not_held(asked: Sequence[_Asked], held: Mapping[str, Set[int]], class_name: str) -> Iterator[str]:
    """Notes on what no file holds at all, by the outermost module that is not there."""
    there = modules(held)
    lost: dict[str, list[str]] = defaultdict(list)
    for written, names, *_ in asked:
        if not names & held.keys():
            name, rest = joined(written), min((_beyond(each, there) for each in names), key=len)
            outermost = f"{name.removesuffix(rest)}{rest.partition('.')[0]}" if name.endswith(rest) else name
            lost[outermost].append(name)
    for module, some in [*lost.items()][:MOST_NOTES]:
        what = "tensor " if some == [module] else ""
        yield (
            f"the files hold no {what}{module}, which {class_name} has with this config: it is made anew, and is not"
            " counted"
        )


def _beyond(name: str, there: Set[str]) -> str:
    """What is left of a name behind its innermost module that is there."""
    parts = name.split(".")
    at = next((at for at in range(len(parts) - 1, 0, -1) if ".".join(parts[:at]) in there), 0)
    return ".".join(parts[at:])


def _not_in_layers(asked: Sequence[_Asked], held: Mapping[str, Set[int]], class_name: str) -> Iterator[str]:
    """Notes on weights that some layers have, and others, of which something is there, have not."""
    lists: dict[str, set[int]] = defaultdict(set)
    for name, having in held.items():
        lists[name.partition(PLACEHOLDER)[0]] |= having
    lost: dict[frozenset[int], list[str]] = defaultdict(list)
    for written, names, _, layers in asked:
        found = next((each for each in names if each in held), None)
        if found is None or not layers or not written.endswith(".weight"):
            continue
        without = (layers & lists[found.partition(PLACEHOLDER)[0]]) - held[found]
        if without:
            lost[frozenset(without)].append(joined(written))
    for places, some in [*lost.items()][:MOST_NOTES]:
        where = f"layer{'' if len(places) == 1 else 's'} {format_indices(sorted(places))}"
        more = f" (nor {len(some) - 1} more)" if len(some) > 1 else ""
        yield (
            f"the files hold no {some[0]}{more} in {where}, where {class_name} has it with this config: it is made"
            " anew, and is not counted"
        )


def _not_asked(asked: Sequence[_Asked], loaded: Sequence[TensorGroup], class_name: str) -> Iterator[str]:
    """Notes on what the files hold and the class has not with this config: it does not load it, and here it counts."""
    by_name: dict[str, list[_Asked]] = defaultdict(list)
    for each in asked:
        for name in each.names:
            by_name[name].append(each)
    unasked = dict[str, None]()
    for group in loaded:
        rows = by_name.get(joined(group.name), [])
        if rows and all(each.is_due is False for each in rows):
            unasked[group.group.template] = None
    if unasked:
        first, more = next(iter(unasked)), f" and {len(unasked) - 1} more" if len(unasked) > 1 else ""
        yield f"the files hold {first}{more}, which {class_name} has not with this config: not loaded, but counted here"
