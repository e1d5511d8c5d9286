"""What a config's class fills in, by a table: for Python without transformers, as in a browser.

inspector/data/design_configs.json (`python -m fixtures.make_design_configs`) has, of each type that
inspector/data/designs/ has, the keys that those tables read: their defaults, their other names, and the rules by which
the class derives one from others. A type is in it only where that gave what the class has, of random configs of which
some keys were left out.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from inspector.errors import UnreadableModel, UsageError
from inspector.model.config.derive import apply_rule
from inspector.model.design.changes import Change
from inspector.tables import table_text

Entry = Mapping[str, Any]
"""A type's row of the table, all by dotted keys:

    keys    key -> the class's default
    absent  part -> its keys' defaults where the config has no such part, if they are others
    names   key -> other names that a file may have it under, the weakest last
    rules   key -> the rules of `inspector.model.config.derive` that are applied in turn where its part is complete
"""


@lru_cache(maxsize=1)
def _types() -> Mapping[str, Entry]:
    found: Mapping[str, Entry] = json.loads(table_text("design_configs.json"))["types"]
    return found


def full_without_class(
    config: Mapping[str, Any], model_type: str, changes: Iterable[Change] = (), before: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """`full_config`, of the keys that the tables of designs read.

    Raises:
        UsageError: a changed key that neither the table nor the config has.
        UnreadableModel: a type that the table does not have.
    """
    entry = _types().get(model_type)
    if entry is None:
        raise UnreadableModel(
            f"cannot tell what a config of type {model_type[:80]!r} leaves out: transformers is not installed",
            "The command line tells it: pip install transformers.",
        )
    for change in changes:
        _check_known(change, entry, before or {})
    return filled(config, entry)


def filled(config: Mapping[str, Any], entry: Entry) -> dict[str, Any]:
    """A config with the defaults of a type and what follows from its values."""
    full: dict[str, Any] = copy.deepcopy(dict(config))
    for name, defaults in entry["absent"].items():
        if full.get(name) is None:
            full[name] = copy.deepcopy(defaults)
    for key, default in entry["keys"].items():
        part, name = _part(full, key)
        if part is None:
            continue
        given = next((each for each in (name, *entry["names"].get(key, ())) if each in part), None)
        part[name] = part[given] if given is not None else copy.deepcopy(default)
    for key, rules in entry["rules"].items():
        part, name = _part(full, key)
        if part is None:
            continue
        for rule in rules:
            part[name] = apply_rule(rule, part[name], under_all_names(part, key.removesuffix(name), entry))
    return full


def under_all_names(part: Mapping[str, Any], prefix: str, entry: Entry) -> dict[str, Any]:
    """A part's values, also under the other names of its keys, as rules have them."""
    others = {
        other: part.get(own.removeprefix(prefix))
        for own, names in entry["names"].items()
        if own.startswith(prefix)
        for other in names
    }
    return {**others, **part}


def _part(full: dict[str, Any], key: str) -> tuple[dict[str, Any] | None, str]:
    """What holds a dotted key, begun where the config has none, and the key's last name; None for what is no part."""
    *parts, name = key.split(".")
    part: Any = full
    for each in parts:
        if part.get(each) is None:
            part[each] = {}
        part = part[each]
        if not isinstance(part, dict):
            return None, name
    return part, name


def _check_known(change: Change, entry: Entry, before: Mapping[str, Any]) -> None:
    """Refuses a key that is not known here.

    Raises:
        UsageError: with what is known.
    """
    part: Any = before
    for each in change.path:
        part = part.get(each, ...) if isinstance(part, Mapping) else ...
    *parts, name = change.path
    prefix = "".join(f"{each}." for each in parts)
    names = {other for key in entry["keys"] if key.startswith(prefix) for other in entry["names"].get(key, ())}
    if (
        change.path[0] != "quantization_config"
        and part is ...
        and change.key not in entry["keys"]
        and name not in names
    ):
        raise UsageError(
            f"--set {change.key[:80]}: nothing here reads such a key",
            f"These are read: {', '.join(entry['keys'])[:400]}",
        )
