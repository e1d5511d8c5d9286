"""The expressions of inspector/data/designs/: sizes, counts and conditions of a config's keys, as Python writes them.

    num_attention_heads*head_dim        layer_types[i] == 'full_attention' and i >= first_k_dense_replace

A dotted name is a key of a part. `i`, `j`, `k` are the numbers of a name's placeholders. What a config does not say is
None, of which nothing can be calculated: the whole is None then, and a comparison with it is not so. Nothing is run as
code: the syntax tree is walked, and holds no more than is listed here.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

LETTERS = "ijk"
MAX_VALUE = 2**62
"""No size of a tensor is larger."""

MAX_EXPONENT = 40
"""Of 2."""

_ARITHMETIC: Mapping[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_ORDER: Mapping[type[ast.cmpop], Callable[[int, int], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_OF_LISTS: Mapping[str, Callable[[list[Any]], int]] = {"len": len, "sum": sum, "max": max}


@lru_cache(maxsize=4096)
def parsed(text: str) -> ast.expr:
    """The tree of an expression."""
    return ast.parse(text, mode="eval").body


def size_of(text: str, config: Mapping[str, Any], indices: tuple[int, ...] = ()) -> int | None:
    """The value of an expression of numbers; None where the config does not tell it, or tells what no size is.

    Args:
        config: with all keys that its class has, parts as mappings.
        indices: of the placeholders.
    """
    value = _value(parsed(text), config, indices)
    return value if type(value) is int and 0 <= value <= MAX_VALUE else None


def holds(text: str, config: Mapping[str, Any], indices: tuple[int, ...] = ()) -> bool:
    """Whether a condition is so; "" always is."""
    return not text or _value(parsed(text), config, indices) is True


def names_in(text: str) -> set[str]:
    """The dotted names of an expression."""
    found = set()
    inner = set()
    for node in ast.walk(parsed(text)) if text else ():
        if isinstance(node, ast.Attribute | ast.Name) and node not in inner:
            path = _path(node)
            if path is not None and path not in LETTERS and path not in _OF_LISTS:
                found.add(path)
        if isinstance(node, ast.Attribute):
            inner.add(node.value)
    return found


def _path(node: ast.expr) -> str | None:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = _path(node.value)
        return None if before is None else f"{before}.{node.attr}"
    return None


def _value(node: ast.expr, config: Mapping[str, Any], indices: tuple[int, ...]) -> Any:
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name):
        at = LETTERS.find(node.id) if len(node.id) == 1 else -1
        return indices[at] if 0 <= at < len(indices) and node.id not in config else config.get(node.id)
    if isinstance(node, ast.Attribute):
        part = _value(node.value, config, indices)
        return part.get(node.attr) if isinstance(part, Mapping) else None
    if isinstance(node, ast.BoolOp):
        every = all if isinstance(node.op, ast.And) else any
        return every(_value(each, config, indices) is True for each in node.values)
    if isinstance(node, ast.UnaryOp):
        value = _value(node.operand, config, indices)
        if isinstance(node.op, ast.Not):
            return value is not True
        return -value if type(value) is int else None
    if isinstance(node, ast.Compare):
        return _compared(node, config, indices)
    if isinstance(node, ast.BinOp):
        return _calculated(node, config, indices)
    if isinstance(node, ast.Subscript):
        some, at = _value(node.value, config, indices), _value(node.slice, config, indices)
        inside = isinstance(some, list) and type(at) is int and (at >= 0 or isinstance(node.slice, ast.UnaryOp))
        return some[at] if inside and -len(some) <= at < len(some) else None
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        some = _value(node.args[0], config, indices)
        plain = isinstance(some, list) and (node.func.id == "len" or (some and all(type(each) is int for each in some)))
        return _OF_LISTS[node.func.id](some) if plain else None
    raise ValueError(f"no expression of a table: {ast.dump(node)[:80]}")


def _calculated(node: ast.BinOp, config: Mapping[str, Any], indices: tuple[int, ...]) -> int | None:
    left, right = _value(node.left, config, indices), _value(node.right, config, indices)
    left, right = (int(each) if isinstance(each, bool) else each for each in (left, right))
    if type(left) is not int or type(right) is not int or max(abs(left), abs(right)) > MAX_VALUE:
        return None
    if isinstance(node.op, ast.Pow):
        if left == 2 and 0 <= right <= MAX_EXPONENT:
            return 1 << right
        return left * left if right == 2 else None
    if isinstance(node.op, ast.FloorDiv | ast.Mod) and right == 0:
        return None
    return _ARITHMETIC[type(node.op)](left, right)


def _compared(node: ast.Compare, config: Mapping[str, Any], indices: tuple[int, ...]) -> bool:
    left, right = _value(node.left, config, indices), _value(node.comparators[0], config, indices)
    kind = type(node.ops[0])
    if kind in (ast.In, ast.NotIn):
        return isinstance(right, list) and (left in right) == (kind is ast.In)
    if kind in (ast.Eq, ast.NotEq):
        constant = isinstance(node.comparators[0], ast.Constant)
        if (left is None and (not constant or isinstance(node.left, ast.Subscript))) or (
            right is None and not constant
        ):
            return False
        same = type(left) is type(right) and left == right
        return same == (kind is ast.Eq)
    return type(left) is int and type(right) is int and _ORDER[kind](left, right)
