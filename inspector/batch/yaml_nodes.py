"""YAML read as nodes, not values: they know their lines, nothing in them is built, and an alias is not multiplied out.

Scalars are their text: a commit of digits alone, or one that looks like a number with an exponent, stays a commit.
"""

from __future__ import annotations

from typing import Any

from inspector.errors import UsageError

MAX_CHARACTERS = 2_000_000
"""Of a whole file: about 5,000 entries of a manifest."""
_PREFIX = "tag:yaml.org,2002:"
_PLAIN = ("null", "bool", "int", "float", "str", "timestamp", "value")
"""What a scalar without a tag of its own is taken for; all but the first four are text here."""


def compose(name: str, text: str) -> Any:
    """The root node of a file's text, None of an empty one.

    Raises:
        UsageError: no YAML, or too much of it; the message names file and line.
    """
    import yaml

    if len(text) > MAX_CHARACTERS:
        raise UsageError(f"{name} is larger than any list of models in YAML", "Give an ID a line instead.")
    try:
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{name}, line {mark.line + 1}" if mark is not None else name
        deep = isinstance(error, RecursionError)
        problem = "nested too deeply" if deep else getattr(error, "problem", None) or error
        raise UsageError(f"{where}: no valid YAML: {_one_line(problem)}") from None


def entries(root: Any, key: str, name: str) -> list[Any]:
    """The nodes of a list that stands at the top, or under a key of the mapping that does.

    Raises:
        UsageError: there is none.
    """
    found = value_of(root, key) or root
    if getattr(found, "id", "") != "sequence":
        raise UsageError(f"{name}: no list of models", f"Give a list, at the top or under `{key}`.")
    nodes: list[Any] = found.value
    return nodes


def line_of(node: Any) -> int:
    """The line, from 1, that a node begins on."""
    return int(node.start_mark.line) + 1


def items_of(node: Any) -> list[tuple[Any, Any]] | None:
    """The key and value nodes of a mapping, None of anything else."""
    return list(node.value) if getattr(node, "id", "") == "mapping" else None


def value_of(node: Any, key: str) -> Any:
    """The node under a key of a mapping; None where the node is none, or has no such key."""
    return next((value for name, value in reversed(items_of(node) or []) if name.value == key), None)


def is_text(node: Any) -> bool:
    """Whether a node is a scalar that is not empty."""
    return getattr(node, "id", "") == "scalar" and bool(node.value)


def scalar(node: Any) -> Any:
    """A scalar's value: None, a bool, an int or float written in decimal, else its text.

    Raises:
        ValueError: no scalar, or one with a tag of its own.
    """
    if getattr(node, "id", "") != "scalar":
        raise ValueError("no single value")
    kind, text = node.tag.removeprefix(_PREFIX), node.value
    if kind not in _PLAIN:
        raise ValueError("a tag of its own")
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() in ("true", "yes", "on")
    if kind == "int" and len(text) <= 40 and text.replace("_", "").isdigit() and text.isascii():
        return int(text.replace("_", ""))
    if kind == "float" and len(text) <= 40:
        try:
            return float(text)
        except ValueError:
            return text
    return text


def _one_line(problem: object) -> str:
    return " ".join(str(problem).split())[:160]
