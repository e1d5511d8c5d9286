"""inspector/data/designs/: the tensors of each model class, as its config's keys tell them.

`python -m fixtures.make_designs` makes them. Only the one file that describes a class is read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from inspector.hub.cache.snapshot import parse_indices
from inspector.hub.checkpoint import PLACEHOLDER
from inspector.model.config.expressions import holds, key_of, size_of
from inspector.model.parameters.classes import class_folders
from inspector.tables import table_text

Cases = tuple[tuple[str, str], ...]
"""(expression, condition) pairs, of which the first that holds counts."""
BASE = "~"
"""In a name, what stands for the prefix of the base model."""


@dataclass(frozen=True, slots=True)
class Row:
    """Tensors of one name.

    Attributes:
        name: with `{}` for its numbers, as save_pretrained writes it.
        dtype: that a class in 32 bits writes.
        condition: where they are, by the config and their numbers.
        shape: each axis' size.
        lists: how many members each of its placeholders counts.
    """

    name: str
    dtype: str
    condition: str
    shape: tuple[Cases, ...]
    lists: tuple[Cases, ...]


@dataclass(frozen=True, slots=True)
class ClassDesign:
    """What one class holds.

    Attributes:
        config_type: of its config. Of a part of others that has a class of its own, with "@", its folder and its config
            class: "fine_acoustics@bark.BarkFineConfig".
        wrong: builds in which some tensor was otherwise when the table was made: then nothing is exact.
        fixed: keys that the class reads and that were the same in all builds, dotted -> what they were: of another
            value nothing is known.
        parts: part of the config -> its model type.
        seen: switches of the class tables that were set in some build, and whose tensors are called otherwise in files.
    """

    name: str
    config_type: str
    rows: tuple[Row, ...]
    wrong: int
    fixed: Mapping[str, Any]
    parts: Mapping[str, str]
    seen: frozenset[str]

    @property
    def model_type(self) -> str:
        """As the config has it; "" where it has none."""
        return self.config_type.partition("@")[0]

    def others(self, full: Mapping[str, Any]) -> dict[str, str]:
        """Part of a config -> its type, of those that are of another type than here: their tensors are others."""
        found = {part: key_of(full, f"{part}.model_type") for part in self.parts}
        return {part: str(kind) for part, kind in found.items() if kind is not None and kind != self.parts[part]}

    def changed(self, full: Mapping[str, Any]) -> dict[str, Any]:
        """Fixed key -> its value, of those that have another one in a config with all that its class has."""
        found = {path: size_of(path, full) if path.startswith("len(") else key_of(full, path) for path in self.fixed}
        return {
            path: value
            for path, value in found.items()
            if value != self.fixed[path] and not (value is None and "." in path)
        }


def size(cases: Cases, full: Mapping[str, Any], indices: tuple[int, ...] = ()) -> int | None:
    """The size that the first case which holds gives; None where none does, or the config does not tell it."""
    text = next((text for text, condition in cases if holds(condition, full, indices)), None)
    return size_of(text, full, indices) if text is not None else None


@lru_cache(maxsize=8)
def _folder(name: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(table_text(f"designs/{name}.json"))
    except OSError:
        return {"types": {}}
    return found


@lru_cache(maxsize=64)
def class_design(name: str) -> ClassDesign | None:
    """What is known of a class; None where the tables do not have it."""
    folder = class_folders().get(name)
    for config_type, entry in _folder(folder)["types"].items() if folder else ():
        own = entry["classes"].get(name)
        if own is not None:
            return _design(name, config_type, entry, own)
    return None


def classes_of(model_type: str) -> list[str]:
    """The classes of a config type that a config without `architectures` may mean, the most usual first: what generates
    text, then the model without a head."""
    order = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration", "Model")
    found = []
    for folder in dict.fromkeys(folder for name, folder in class_folders().items() if name.endswith(order)):
        if model_type.replace("-", "_").startswith(folder.replace("-", "_")[:4]):
            entry = _folder(folder)["types"].get(model_type)
            found += list(entry["classes"]) if entry else []
    return sorted((name for name in found if name.endswith(order)), key=lambda name: order.index(_ending(name, order)))


def _ending(name: str, order: tuple[str, ...]) -> str:
    return next(each for each in order if name.endswith(each))


def _design(name: str, config_type: str, entry: Mapping[str, Any], own: Mapping[str, Any]) -> ClassDesign:
    places = [at for some in parse_indices(own["rows"]) for at in some] if own["rows"] else []
    lists = {stack: _cases(cases) for stack, cases in entry["lists"].items()}

    def row(at: int) -> Row:
        template, dtype, condition, shape = entry["rows"][at]
        counts = tuple(lists[stack] for stack in _stacks(template))
        whole = own.get("prefix", "") + template[1:] if template.startswith(BASE) else template
        return Row(whole, dtype, condition, tuple(map(_cases, shape)), counts)

    return ClassDesign(
        name,
        config_type,
        tuple(map(row, places)),
        own.get("wrong", 0),
        entry["fixed"] | own.get("fixed", {}),
        entry["parts"],
        frozenset(own.get("seen", ())),
    )


def _cases(written: Any) -> Cases:
    """Of one case the expression alone is written."""
    return ((written, ""),) if isinstance(written, str) else tuple((text, condition) for text, condition in written)


def _stacks(template: str) -> list[str]:
    parts = template.split(PLACEHOLDER)
    return [PLACEHOLDER.join(parts[: at + 1]).rstrip(".") for at in range(len(parts) - 1)]
