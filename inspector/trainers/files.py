"""A config file of a trainer as plain values: YAML, JSON or TOML, told apart by the file's name."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from inspector.batch.yaml_nodes import MAX_CHARACTERS, compose, items_of, scalar
from inspector.errors import FileMissing, UsageError

MAX_DEPTH = 12
"""Of nested values; trainers' files have three."""


@dataclass(frozen=True, slots=True)
class Document:
    """A file: its path, its text, and its values by dotted keys ("fsdp_config.offload_params")."""

    path: Path
    text: str
    values: Mapping[str, Any]

    @property
    def name(self) -> str:
        return self.path.name


def read_document(path: Path) -> Document:
    """A config file's values.

    Raises:
        FileMissing: there is no such file.
        UsageError: no YAML, JSON or TOML, or no mapping at its top.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FileMissing(f"{path}: cannot be read", str(getattr(error, "strerror", "") or "not UTF-8")) from None
    if len(text) > MAX_CHARACTERS:
        raise UsageError(f"{path.name} is larger than any trainer's config")
    return Document(path, text, values_of(path.name, text))


def values_of(name: str, text: str) -> dict[str, Any]:
    """A file's values by dotted keys.

    Raises:
        UsageError: no YAML, JSON or TOML, or no mapping at its top.
    """
    nested = _parsed(name, text)
    if not isinstance(nested, dict):
        raise UsageError(f"{name}: no mapping of keys to values")
    return dict(_flat(nested))


def _parsed(name: str, text: str) -> Any:
    if name.endswith(".json"):
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{name}: no valid JSON: {error}") from None
    if name.endswith(".toml"):
        return _toml(name, text)
    root = compose(name, text)
    return None if root is None else _plain(root)


def _toml(name: str, text: str) -> Any:
    try:
        reader = import_module("tomllib")  # Python 3.11
    except ImportError:
        raise UsageError(f"{name}: TOML is read with Python 3.11 or newer") from None
    try:
        return reader.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{name}: no valid TOML: {error}") from None


def _plain(node: Any, depth: int = 0) -> Any:
    """A YAML node's value; what has a tag of its own, or lies too deep, is None."""
    pairs = items_of(node)
    if depth > MAX_DEPTH:
        return None
    if pairs is not None:
        return {str(key.value): _plain(value, depth + 1) for key, value in pairs}
    if getattr(node, "id", "") == "sequence":
        return [_plain(each, depth + 1) for each in node.value]
    try:
        return scalar(node)
    except ValueError:
        return None


def _flat(values: Mapping[str, Any], before: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict) and value and depth < MAX_DEPTH:
            yield from _flat(value, f"{before}{key}.", depth + 1)
        else:
            yield f"{before}{key}", value
