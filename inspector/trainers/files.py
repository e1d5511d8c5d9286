"""A config file of a trainer as plain values: YAML, JSON, TOML, Python or shell, told apart by the file's name."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from inspector.batch.yaml_nodes import MAX_CHARACTERS, compose, items_of, scalar
from inspector.errors import FileMissing, UsageError
from inspector.trainers import shell
from inspector.trainers.scripts import SUFFIXES, script_values

MAX_DEPTH = 12
"""Of nested values; trainers' files have three."""
MAX_YAML = 200_000
"""Characters of a YAML file, which takes a second for each 100,000 of them; the longest have about 10,000."""
MAX_VALUES = 20_000
"""Of a YAML file with its aliases multiplied out; trainers' files have fewer than 200."""
MAX_KEY = 200
"""Characters of one key; the longest of a trainer have about 60."""


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
        UsageError: no regular file, too large, no YAML, JSON or TOML, or no mapping at its top.
    """
    try:
        if path.exists() and not path.is_file():  # a pipe or a device may have no end
            raise UsageError(f"{path} is no regular file")
        with path.open("rb") as file:
            read = file.read(MAX_CHARACTERS + 1)
        if len(read) > MAX_CHARACTERS:
            raise UsageError(f"{path.name} is larger than any trainer's config")
        text = read.decode("utf-8-sig")  # Windows' editors write a mark before it
    except (OSError, ValueError) as error:
        raise FileMissing(f"{path}: cannot be read", str(getattr(error, "strerror", "") or "not UTF-8")) from None
    return Document(path, text, values_of(path.name, text))


def values_of(name: str, text: str) -> dict[str, Any]:
    """A file's values by dotted keys.

    Raises:
        UsageError: no YAML, JSON, TOML, Python or shell script that trains, or no mapping at its top.
    """
    if name.endswith(SUFFIXES):
        return script_values(name, text)
    nested = shell.shell_values(name, text) if name.endswith(shell.SUFFIXES) else _parsed(name, text)
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
    if len(text) > MAX_YAML:
        raise UsageError(f"{name} is larger than any trainer's config")
    root = compose(name, text)
    try:
        return None if root is None else _plain(root, iter(range(MAX_VALUES)))
    except StopIteration:
        raise UsageError(f"{name} has more values than any trainer's config, aliases multiplied out") from None


def _toml(name: str, text: str) -> Any:
    try:
        reader = import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    except ImportError:
        raise UsageError(f"{name}: Python before 3.11 reads no TOML by itself", "pip install tomli") from None
    try:
        return reader.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{name}: no valid TOML: {error}") from None


def _plain(node: Any, left: Iterator[int], depth: int = 0) -> Any:
    """A YAML node's value; what has a tag of its own, or lies too deep, is None.

    Raises:
        StopIteration: no more values are `left`.
    """
    next(left)
    pairs = items_of(node)
    if depth > MAX_DEPTH:
        return None
    if pairs is not None:
        found = {_key(key): _plain(value, left, depth + 1) for key, value in pairs}
        merged = found.pop("<<", None)
        for each in merged if isinstance(merged, list) else [merged]:
            found = (each | found) if isinstance(each, dict) else found
        return found
    if getattr(node, "id", "") == "sequence":
        return [_plain(each, left, depth + 1) for each in node.value]
    try:
        return scalar(node)
    except ValueError:
        return None


def _key(node: Any) -> str:
    """A mapping's key; one that is itself a list or a mapping is none of any trainer's."""
    return node.value if isinstance(node.value, str) else "?"


def _flat(values: Mapping[str, Any], before: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if len(key) > MAX_KEY:
            raise UsageError(f"a key of {len(key):,} characters is no trainer's")
        if isinstance(value, dict) and value and depth < MAX_DEPTH:
            yield from _flat(value, f"{before}{key}.", depth + 1)
        else:
            yield f"{before}{key}", value
