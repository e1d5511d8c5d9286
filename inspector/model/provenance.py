"""Where a value of the language part comes from: a key of config.json, the class's default, or other values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inspector.model.config.common import OTHER_NAMES
from inspector.model.config.light import table
from inspector.model.config.text import LANGUAGE_PARTS, TextConfig

DERIVED_FROM = {"head_dim": "hidden_size / num_attention_heads", "num_key_value_heads": "num_attention_heads"}
"""What stands in for a key that neither the file nor the class gives."""


def value_and_origin(config: Mapping[str, Any], text: TextConfig, key: str) -> tuple[Any, str]:
    """The value that counts for a standard key, and where it comes from.

    Args:
        config: config.json as parsed.
        text: what was read of it.

    Returns:
        E.g. (4, "default of gemma3_text"), (8, "config.json: text_config.num_key_value_heads"), or
        (64, "hidden_size / num_attention_heads").
    """
    value = text.get(key)
    entry = table().get(text.text_type or text.model_type or "", {})
    names = dict.fromkeys((*entry.get("names", {}).get(key, (key,)), key, *OTHER_NAMES.get(key, ())))
    path = _path(config, tuple(names))
    if path is not None:
        return value, f"config.json: {path}"
    kind = text.text_type or text.model_type
    if entry.get("defaults", {}).get(key) is not None:
        return value, f"default of {kind}"
    derived = _derived(text, key)
    if derived is not None and value in (None, derived):
        return derived, DERIVED_FROM[key]
    return value, f"derived by {kind}'s config class" if text.exact else "not in config.json"


def _derived(text: TextConfig, key: str) -> int | None:
    heads, hidden = text.get("num_attention_heads"), text.get("hidden_size")
    if key == "num_key_value_heads":
        return heads if isinstance(heads, int) else None
    if key == "head_dim" and isinstance(heads, int) and isinstance(hidden, int) and heads > 0:
        return hidden // heads
    return None


def _path(config: Mapping[str, Any], names: tuple[str, ...], depth: int = 0) -> str | None:
    """The path of the first of these names that the file has, in its language part before anything else."""
    for part in LANGUAGE_PARTS if depth < 3 else ():
        inner = config.get(part)
        found = _path(inner, names, depth + 1) if isinstance(inner, Mapping) else None
        if found is not None:
            return f"{part}.{found}"
    return next((name for name in names if config.get(name) is not None), None)
