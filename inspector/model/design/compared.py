"""The files' tensors beside those that their class itself has with the config, one by one.

Most of a config's sizes and switches some row of the tables compares with a tensor (inspector/model/lint.py, missing.py
beside this file). inspector/data/untold.json has the keys of each class that change tensors of which no row tells:
where a config states one, the installed transformers' own code is asked (by_class.py: a second to start).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from inspector.hub.cache.snapshot import format_indices
from inspector.model.config.light import installed
from inspector.model.design.by_class import ask_class
from inspector.model.parameters.classes import ModelClass
from inspector.model.parameters.names import PARAMETER, Group, TensorGroup, group_tensors

ASKED = " itself has"
"""In each note of what a class itself said."""
Layers = Mapping[int, int]
"""Layer -> tensors in it; empty for a name without a number."""
Shapes = dict[tuple[int, ...], Layers]
"""What is there of one name."""


def beside_class(
    model_class: ModelClass, config: Mapping[str, Any], tensor_groups: Sequence[TensorGroup]
) -> tuple[str, ...]:
    """Notes on where the files differ from what the class writes; none where it cannot be asked, or refuses."""
    if installed() is None:
        return ()
    asked = ask_class(model_class.name, config)
    if asked.tensors is None or asked.held is None:
        return ()
    due = group_tensors(each for each in asked.tensors if each.name not in asked.held.buffers)
    return tuple(differing(due, model_class, config, tensor_groups))


def differing(
    due: Iterable[Group], model_class: ModelClass, config: Mapping[str, Any], tensor_groups: Sequence[TensorGroup]
) -> Iterator[str]:
    """Notes on tensors that no file holds, on those that the class has not with the config, and on those that it has of
    another shape, or in other layers: the first of each kind.

    Args:
        due: what the class itself would write.
        tensor_groups: the files', sorted.
    """
    itself, twins = model_class.name + ASKED, {**model_class.ties, **model_class.shared}
    several = {*twins, *twins.values()}  # of which a file holds one
    loaded = [each for each in tensor_groups if each.role == PARAMETER]
    held = _by_name((each.name, each.group.shape, each.layers) for each in loaded)
    stored = _by_name(
        (model_class.locate(each.group.template)[0], each.group.shape, each.layers) for each in tensor_groups
    )
    asked = _by_name(_as_loaded(each, model_class, config) for each in due)
    if none := [each for each in asked if each not in stored and each not in held and each not in several]:
        yield f"the files hold no {_first(none)}, which {itself} with this config: made anew, not counted"
    if more := [each for each in held if each not in asked and each not in several]:
        yield f"the files hold {_first(more)}, which {itself} not with this config: not loaded, but counted"
    both, packed = [each for each in asked if each in held], {each.name for each in loaded if each.packed}
    if other := [each for each in both if asked[each].keys() != held[each].keys() and each not in packed]:
        found, expected = (_listed(some[other[0]]) for some in (held, asked))
        yield f"{_first(other)} is of shape {found} in the files; {itself} {expected} with this config"
    elif other := [each for each in both if not _is_in_layers(asked[each], held[each], stored.get(each, {}))]:
        found, expected = (format_indices(sorted(_layers(some[other[0]]))) or "none" for some in (held, asked))
        yield f"{_first(other)} is there for layers {found}; {itself} it for {expected} with this config"


def _as_loaded(
    group: Group, model_class: ModelClass, config: Mapping[str, Any]
) -> tuple[str, tuple[int, ...], Mapping[int, int]]:
    """Name, shape and layers of what a class writes, without the rows that pad it."""
    rows, shape = model_class.rows_of(group.template, config), group.shape
    if rows is not None and shape:
        shape = (min(rows, shape[0]), *shape[1:])
    return model_class.locate(group.template)[0], shape, group.layers


def _by_name(groups: Iterable[tuple[str, tuple[int, ...], Layers]]) -> dict[str, Shapes]:
    """Groups by their names."""
    found: dict[str, Shapes] = {}
    for name, shape, layers in groups:
        shapes = found.setdefault(name, {})
        shapes[shape] = {**shapes.get(shape, {}), **layers}
    return found


def _is_in_layers(asked: Shapes, held: Shapes, stored: Shapes) -> bool:
    """Whether a name is in the layers that have it; those that predict more tokens may be there, or not."""
    return _layers(asked) in (_layers(held), _layers(stored))


def _layers(shapes: Shapes) -> dict[int, int]:
    """All layers that have a name."""
    return {layer: count for layers in shapes.values() for layer, count in layers.items()}


def _first(names: Sequence[str]) -> str:
    """The first of some names, and how many more there are."""
    return names[0] + (f" (and {len(names) - 1} more)" if len(names) > 1 else "")


def _listed(shapes: Iterable[tuple[int, ...]]) -> str:
    return " and ".join(str(list(each)) for each in sorted(shapes)[:3])
