"""Finds the state dict in what a torch pickle described, and lays it out flat.

A pickle is a graph, not a tree: one dict may be in a hundred others, or in itself. So the walk is bounded in depth, in
steps, and in the characters of the names that it makes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from inspector.errors import UnreadableModel
from inspector.hub.formats.pytorch.pickle_values import Opaque, TensorRef

WRAPPERS = ("state_dict", "model_state_dict", "model", "module", "net", "params")
"""Keys under which training programs put the state dict, beside an optimizer's and more (Lightning, DeepSpeed, ...)."""
MAX_WRAPPERS = 4
MAX_DEPTH = 32
MAX_VISITS = 2_000_000
"""Values looked at, in all walks over a pickle; there are four at most. The largest files hold 100,000 tensors."""
MAX_NAME_CHARACTERS = 60_000_000
"""Of all names made on the way; those of DeepSeek-V3's 92,000 tensors take 5 million."""
MODULE_PARTS = ("_parameters", "_buffers", "_modules")
"""Where a pickled torch.nn.Module keeps its tensors; their names are the state dict's without these words."""


@dataclass
class StateDict:
    """Tensors by name, the names of those not understood, and what else was in the file (see `PytorchFile`)."""

    tensors: dict[str, TensorRef] = field(default_factory=dict)
    uncounted: list[str] = field(default_factory=list)
    root: str = ""
    other_tensors: int = 0
    whole_module: bool = False

    def duplicates(self) -> dict[str, str]:
        """Name -> the earlier name of the same view of the same storage."""
        first: dict[tuple[Any, ...], str] = {}
        found = {}
        for name, ref in self.tensors.items():
            if 0 in ref.shape:
                continue  # empty tensors share nothing
            view = (ref.storage.key, ref.dtype, ref.shape, ref.view)
            if view in first:
                found[name] = first[view]
            else:
                first[view] = name
        return found


def find_state_dict(value: Any) -> StateDict:
    """The tensors of the state dict in `value`: under one of `WRAPPERS` where that holds any, else all there are."""
    budget = Budget()
    outer = value
    path: list[str] = []
    found = StateDict()
    while len(path) < MAX_WRAPPERS:
        children = budget.items(value)
        wrapped = next((k for k in WRAPPERS if k in children and _holds_tensors(children[k], budget)), None)
        if wrapped is None:
            break
        path.append(wrapped)
        value = children[wrapped]
    found.root = ".".join(path)
    for name, leaf in budget.walk(value):
        if isinstance(leaf, TensorRef):
            if name in found.tensors:
                raise UnreadableModel(f"two of its tensors are called {name[:80]!r}")
            found.tensors[name] = leaf
        elif leaf.is_lost_tensor:
            found.uncounted.append(name)
        else:
            found.whole_module = True
    if path:
        total = sum(not isinstance(leaf, Opaque) or leaf.is_lost_tensor for _, leaf in budget.walk(outer))
        found.other_tensors = max(0, total - len(found.tensors) - len(found.uncounted))
    return found


class Budget:
    """Bounds all walks over one pickle's values together."""

    def __init__(self) -> None:
        self.visits = MAX_VISITS
        self.characters = MAX_NAME_CHARACTERS

    def walk(self, value: Any) -> Iterator[tuple[str, Any]]:
        """Every tensor, lost tensor and module in `value` with its name, in the order of the file."""
        pending = [("", value, 0)]
        while pending:
            name, item, depth = pending.pop()
            if isinstance(item, TensorRef) or (isinstance(item, Opaque) and item.is_lost_tensor):
                yield name, item
                continue
            if _is_module(item):
                yield name, item
            if depth > MAX_DEPTH:
                raise UnreadableModel("its pickle's dicts are nested without end")
            prefix = f"{name}." if name else ""
            below = []
            for key, child in self.items(item).items():
                if _may_hold(child):
                    self.characters -= len(prefix) + len(key)
                    if self.characters < 0:
                        raise UnreadableModel("its tensors' names are too long")
                    below.append((prefix + key, child, depth + 1))
            pending += reversed(below)

    def items(self, value: Any) -> dict[str, Any]:
        """What a value holds by name; the price is paid before the work is done."""
        self.visits -= _width(value)
        if self.visits < 0:
            raise UnreadableModel("its pickle's dicts are nested without end")
        return _items(value)


def _width(value: Any) -> int:
    if _is_module(value):
        return sum(_width(value.state.get(key)) for key in MODULE_PARTS if type(value.state.get(key)) is dict)
    if isinstance(value, Opaque):
        return len(value.items)
    return len(value) if type(value) in (dict, list, tuple) else 0


def _items(value: Any) -> dict[str, Any]:
    """What a value holds by name; a module's parts merged, a list's items by their index."""
    if type(value) is dict:
        return value
    if type(value) in (list, tuple):
        return {str(i): item for i, item in enumerate(value)} if any(map(_may_hold, value)) else {}
    if isinstance(value, Opaque):
        if _is_module(value):
            parts = [value.state.get(key) for key in MODULE_PARTS]
            return {key: item for part in parts if type(part) is dict for key, item in part.items()}
        return value.items
    return {}


def _is_module(value: Any) -> bool:
    return isinstance(value, Opaque) and type(value.state) is dict and "_modules" in value.state


def _may_hold(value: Any) -> bool:
    return type(value) in (dict, list, tuple) or isinstance(value, (TensorRef, Opaque))


def _holds_tensors(value: Any, budget: Budget) -> bool:
    return any(isinstance(leaf, TensorRef) for _, leaf in budget.walk(value))
