"""The tensors of a design by the tables of its class (inspector/data/designs/)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from inspector.errors import InvalidConfig, UnreadableModel
from inspector.hub.cache.snapshot import MAX_TENSORS
from inspector.hub.checkpoint import PLACEHOLDER, Held, Tensor
from inspector.model.config.expressions import holds
from inspector.model.config.light import release
from inspector.model.design.changes import Change
from inspector.model.design.full import full_config
from inspector.model.design.tables import Cases, ClassDesign, Row, class_design, classes_of, size
from inspector.model.parameters.classes import class_of, find_class
from inspector.model.parameters.names import component

HINT = "A model with weights is counted from their headers."
NUMBER = re.compile(r"\.\d+(?=\.)\.")
"""A number in a tensor's name."""


class Made(NamedTuple):
    """The tensors of a class with a config, as it makes them: in 32 bits, but for what always has another dtype.

    Attributes:
        source: whose word they are: "transformers 5.24.0 would write", by the tables.
        assumed: what the config does not say, and what is taken instead.
        doubts: why they may not be those that the class would write.
        held: which of them are parameters, where the class itself said it.
    """

    class_name: str
    tensors: tuple[Tensor, ...]
    source: str
    assumed: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    held: Held | None = None


def by_tables(config: Mapping[str, Any], changes: Sequence[Change], before: Mapping[str, Any]) -> Made:
    """The tensors of a config's class, by its tables.

    Args:
        changes: which keys were changed, of the config `before`.

    Raises:
        UsageError: a change of a key that the class does not know.
        InvalidConfig: the class refuses the config, or it does not tell a size.
        UnreadableModel: the tables do not have the class, or not with such a part.
    """
    name, _, assumed = class_of_config(config)
    design = _design_of(name)
    full = full_config(config, design.config_type, changes, before)
    full = {**full, "class_name": design.name}
    _check_parts(design, full)
    doubts = (*_inexact(design, full), *_never_seen(design, full))
    doubts += read_as(config, design.model_type, design.name)
    tensors = tuple(_with_ties(design, tuple(made_tensors(design, full)), full))
    return Made(design.name, tensors, f"transformers {release()} would write", assumed, doubts)


def read_as(config: Mapping[str, Any], model_type: str, class_name: str) -> tuple[str, ...]:
    """A doubt where a config's model type is not the one that its class has."""
    own = config.get("model_type")
    if not isinstance(own, str) or own == model_type:
        return ()
    return (f"{own[:80]!r} is read as {model_type!r}, the type of {class_name}",)


def class_of_config(config: Mapping[str, Any]) -> tuple[str, str, tuple[str, ...]]:
    """The class that a config names, the type of its config (inspector/model/design/full.py), and what was assumed.

    Raises:
        UnreadableModel: it names none, and its model type has none of the tables'.
    """
    names, kind = config.get("architectures"), config.get("model_type")
    name = names[0] if isinstance(names, list) and names and isinstance(names[0], str) else None
    if name is not None:
        known = class_of(name, kind if isinstance(kind, str) else None)
        design = class_design(known.name) if known is not None else None
        if design is not None:
            return design.name, design.config_type, ()
        return known.name if known is not None else name, str(kind), ()
    if not isinstance(kind, str):
        raise UnreadableModel(
            "the config names neither a class (architectures) nor a model_type", "Is this a model's config.json?"
        )
    for each in classes_of(kind):
        design = class_design(each)
        if design is not None:
            assumed = f"the config names no class (architectures): taken for {each}, as is usual of {kind!r}"
            return each, design.config_type, (assumed,)
    raise UnreadableModel(
        f"the config names no class (architectures), and the tables have none for model type {kind[:80]!r}",
        "Name it: --set 'architectures=[\"LlamaForCausalLM\"]'.",
    )


def _design_of(name: str) -> ClassDesign:
    """The tables' entry of a class.

    Raises:
        UnreadableModel: they have none.
    """
    design = class_design(name)
    if design is None:
        raise UnreadableModel(
            f"cannot tell the parameters of {name[:80]!r} from its config alone: the tables do not have this class",
            HINT,
        )
    return design


def _check_parts(design: ClassDesign, full: Mapping[str, Any]) -> None:
    """Refuses a part of another type than the tables are of: its tensors are others.

    Raises:
        UnreadableModel: with the part.
    """
    for part, kind in design.others(full).items():
        raise UnreadableModel(
            f"cannot tell the parameters from the config alone: its {part} is of type {kind[:80]!r}, and the tables"
            f" have {design.name} with {design.parts[part]!r}",
            HINT,
        )


def _inexact(design: ClassDesign, full: Mapping[str, Any]) -> tuple[str, ...]:
    """Why the tables do not answer for such a config; nothing where they do."""
    doubts = []
    if design.wrong:
        doubts.append(f"the tables of {design.name} are not right for every config: parameters may differ")
    for path, found in design.changed(full).items():
        doubts.append(f"config.json: {path} is {str(found)[:40]}; the tables know {str(design.fixed[path])[:40]} alone")
    return tuple(doubts[:3])


def _never_seen(design: ClassDesign, full: Mapping[str, Any]) -> tuple[str, ...]:
    """A tensor that the class has with such a config, by the class tables, and had in no build of the designs."""
    known = find_class(design.name)
    if known is None:
        return ()
    names = {NUMBER.sub(".{}.", row.name.removeprefix(f"{known.base}.")) for row in design.rows}
    called = {_ends(name) for name in names}
    for switch, tensors in sorted(known.switches_on(full).items()):
        unknown = sorted(each for each in tensors - names if _ends(each) not in called)
        for tensor in unknown if switch not in design.seen else ():
            return (f"the tables do not know the sizes of {tensor[:80]}",)
    return ()


def _ends(name: str) -> tuple[str, ...]:
    """The first and the last of a tensor's names: some files have more between them ("language_model.model.layers")."""
    parts = name.split(".")
    return parts[0], *parts[-4:]


def made_tensors(design: ClassDesign, full: Mapping[str, Any]) -> Iterator[Tensor]:
    """The tensors of a class with such a config as it makes them, in the tables' order.

    Args:
        full: the config with all that its class has, and `class_name`.

    Raises:
        InvalidConfig: a size that the config does not tell, or more tensors than any model has.
    """
    total = 0
    for row in design.rows:
        if not row.lists and not holds(row.condition, full):
            continue
        for indices in _indices(row, full):
            if row.lists and not holds(row.condition, full, indices):
                continue
            total += 1
            if total > MAX_TENSORS:
                raise InvalidConfig("the config asks for more tensors than any model has")
            shape = tuple(_size(cases, full, indices, row) for cases in row.shape)
            yield Tensor(_name(row.name, indices), row.dtype, shape)


def _with_ties(design: ClassDesign, tensors: tuple[Tensor, ...], full: Mapping[str, Any]) -> Iterator[Tensor]:
    """The tensors without the twins that are tied under such a config, and with those that are not: which they are the
    class tables tell, and not the keys that a class reads as it is made."""
    known = find_class(design.name)
    if known is None or not known.ties:
        yield from tensors
        return
    by_name = {known.bare(tensor.name): tensor for tensor in tensors}
    one = known.twins(full, tied=known.ties_with(full))
    yield from (tensor for tensor in tensors if one.get(known.bare(tensor.name)) not in by_name)
    for name, kept in known.ties.items():
        head = name not in one and name in known.held and component(name) == "head"
        others = {other for other, same in known.ties.items() if same == kept and component(other) == "head"}
        if head and kept in by_name and not others & by_name.keys() and not known.always_tied:
            yield by_name[kept]._replace(name=name)
            by_name[name] = by_name[kept]  # a head of two spellings is one


def _indices(row: Row, full: Mapping[str, Any]) -> Iterator[tuple[int, ...]]:
    found: list[tuple[int, ...]] = [()]
    for cases in row.lists:
        longer: list[tuple[int, ...]] = []
        for outer in found:
            count = _size(cases, full, outer, row, missing=0)
            if len(longer) + count > MAX_TENSORS:
                raise InvalidConfig("the config asks for more tensors than any model has")
            longer += [(*outer, index) for index in range(count)]
        found = longer
    return iter(found)


def _size(cases: Cases, full: Mapping[str, Any], indices: tuple[int, ...], row: Row, missing: int | None = None) -> int:
    found = size(cases, full, indices)
    if found is not None:
        return found
    if missing is not None:
        return missing
    raise InvalidConfig(
        f"config.json does not tell the sizes of {row.name[:80]}: {cases[0][0]} has no value that a size can have"
    )


def _name(template: str, indices: tuple[int, ...]) -> str:
    parts = template.split(PLACEHOLDER)
    return parts[0] + "".join(f"{index}{part}" for index, part in zip(indices, parts[1:], strict=True))
