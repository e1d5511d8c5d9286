"""A config with all that its class fills in, by the installed transformers' own class: no remote code, no network."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import Any

from inspector.errors import InvalidConfig, UsageError
from inspector.model.config.from_class import arguments, known_model_type, quiet
from inspector.model.config.light import installed, table
from inspector.model.design.changes import Change
from inspector.model.design.derived import add_derived
from inspector.model.design.without_class import full_without_class

OF_HEADS = ("hidden_size", "num_attention_heads", "num_key_value_heads", "head_dim")


def full_config(
    config: Mapping[str, Any], config_type: str, changes: Iterable[Change] = (), before: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """What the class has of a config, as JSON: defaults and derived values, parts as objects, and `num_labels`. Where
    transformers is not installed, by a table, and of the keys that the tables of designs read.

    Args:
        config_type: a model type, or one of `ClassDesign.config_type`.
        changes: which keys were changed, and have to be ones that the class knows, or that were there `before`.

    Raises:
        UsageError: a changed key that it does not know.
        InvalidConfig: the class refuses the config.
        UnreadableModel: without transformers, a type that the table does not have.
    """
    config_class = config_class_of(config_type) if installed() is not None else None
    if config_class is None:  # a browser, or a transformers that does not load
        full = full_without_class(config, config_type, changes, before)
    else:
        full = _full_by_class(config, config_class, changes, before)
    for change in changes:
        _check_heads(full, change)
    add_derived(full, config)
    return full


def config_class_of(config_type: str) -> Any:
    """The config class of a type of the tables; None where transformers, or what it wants of other packages, does not
    load.

    Raises:
        InvalidConfig: it has no such type.
    """
    model_type, _, place = config_type.partition("@")
    folder, _, name = place.partition(".")
    with quiet():
        try:
            if place and hasattr(module := import_module(f"transformers.models.{folder}.configuration_{folder}"), name):
                return getattr(module, name)
            if known_model_type(model_type):
                from transformers.models.auto.configuration_auto import CONFIG_MAPPING

                return CONFIG_MAPPING[model_type]
        except (ImportError, RuntimeError):  # what transformers makes of an import that fails
            return None
    raise InvalidConfig(f"the installed transformers has no model type {model_type[:80]!r}")


def _full_by_class(
    config: Mapping[str, Any], config_class: Any, changes: Iterable[Change], before: Mapping[str, Any] | None
) -> dict[str, Any]:
    with quiet():
        try:
            made = config_class(**arguments(config))
            full: dict[str, Any] = json.loads(made.to_json_string(use_diff=False))
        except Exception as error:  # whatever a class raises for values that it does not like
            raise InvalidConfig(
                f"transformers refuses this config: {one_line(error.__cause__ or error)}",
                "Check the values that belong together.",
            ) from None
    for change in changes:
        _check_known(change, before or {}, made)
    return full


def _check_known(change: Change, before: Mapping[str, Any], made: Any) -> None:
    """Refuses a key that neither the class nor the config had.

    Raises:
        UsageError: with the names that are near.
    """
    part, written = made, before
    *parts, key = change.path
    if change.path[0] == "quantization_config":  # any class takes one
        return
    if parts and parts[0] not in _names(made) and parts[0] not in before:
        raise UsageError(
            f"--set {change.key}: {type(made).__name__} has no part {parts[0][:80]}", _where_else(made, key)
        )
    for name in parts:
        part = getattr(part, name, None) if not isinstance(part, dict) else part.get(name)
        inner = written.get(name)
        written = inner if isinstance(inner, Mapping) else {}
    if isinstance(part, dict):
        return
    known = _names(part)
    if key in known or key in written:
        return
    near = get_close_matches(key, sorted(known), 2, 0.75)
    hint = f"Did you mean {' or '.join(near)}?" if near else _where_else(made, key)
    raise UsageError(f"--set {change.key}: {type(part).__name__} has no such key", hint)


def _check_heads(full: Mapping[str, Any], change: Change) -> None:
    """Refuses heads that no model can have: the class takes such a config, and the model or its first pass fails.

    Raises:
        InvalidConfig: with the numbers.
    """
    *parts, key = change.path
    part: Any = full
    for name in parts:
        part = part.get(name) if isinstance(part, Mapping) else None
    if not isinstance(part, Mapping):
        return
    names = table().get(str(part.get("model_type")), {}).get("names", {})
    own = {each: next((name for name in (each, *names.get(each, ())) if name in part), each) for each in OF_HEADS}
    if key not in own.values():
        return
    width, heads, kv_heads, head_dim = (part.get(own[each]) for each in OF_HEADS)
    if change.value == 0:
        raise InvalidConfig(f"{key} is 0, which no model can have", "Give 1 or more.")
    if type(heads) is int and type(kv_heads) is int and kv_heads > 0 and heads % kv_heads:
        raise InvalidConfig(f"{heads} attention heads cannot share {kv_heads} key/value heads", "Set both.")
    if type(heads) is int and type(width) is int and heads > 0 and head_dim is None and width % heads:
        raise InvalidConfig(f"{own['hidden_size']} {width} is no multiple of {heads} heads", "Set both.")


def _names(part: Any) -> set[str]:
    if part is None or not dataclasses.is_dataclass(part):
        return set()
    return {field.name for field in dataclasses.fields(part)} | set(getattr(part, "attribute_map", {})) | {"num_labels"}


def _where_else(made: Any, key: str) -> str:
    """The part that has a key, for a hint."""
    for name, part in vars(made).items():
        if dataclasses.is_dataclass(part) and key in _names(part):
            return f"Did you mean {name}.{key}?"
    return "Give a key of the config, or of a part of it: text_config.hidden_size."


def one_line(error: object) -> str:
    """What an error says, which may quote a config: no control characters, no more than a line or two."""
    text = " ".join(str(error).split())
    return "".join(each if each.isprintable() else " " for each in text)[:300]
