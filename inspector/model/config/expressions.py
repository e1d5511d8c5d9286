"""The expressions of the tables: sizes, counts and conditions of a config's keys, as Python writes them.

    num_attention_heads*head_dim        layer_types[i] == 'full_attention' and i >= first_k_dense_replace

A dotted name is a key of a part. `i`, `j`, `k` are the numbers of a name's placeholders. What a config does not say is
None, of which nothing can be calculated: the whole is None then, and a comparison with it is not so. Nothing is run as
code: the syntax tree is walked, and holds no more than is listed here. Tables with such texts: inspector/data/designs/
(what a class stores), shapes.json (what tensors show of a config), refusals.json (what transformers refuses).
"""

from __future__ import annotations

import ast
import itertools
import math
import operator
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any

Keys = Callable[[str], Any]
"""The value of a key by its dotted name; None where there is none."""

LETTERS = "ijk"
MAX_VALUE = 2**62
"""No size of a tensor is larger."""

MAX_BITS = 124
"""Of a power."""

Number = int | float

_ARITHMETIC: Mapping[type[ast.operator], Callable[[Any, Any], Number]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_ORDER: Mapping[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


def _product(values: list[Number]) -> Number | None:
    found: Number | None = 1
    for value in values:
        found = None if found is None else _bounded(found * value)
    return found


def _stage(counts: Any, block: Any) -> int | None:
    """In which stage a block is, of stages of so many blocks each: blocks 0 to 2 of [3, 4] are in 0. What is before the
    first is in 0, too."""
    if not isinstance(counts, list) or type(block) is not int or not all(type(count) is int for count in counts):
        return None
    ends = itertools.accumulate(counts)
    return next((at for at, end in enumerate(ends) if block < end), None)


_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "ceil": math.ceil,
    "floor": math.floor,
    "int": int,
    "len": len,
    "log2": math.log2,
    "max": max,
    "min": min,
    "prod": _product,
    "round": round,
    "sqrt": math.sqrt,
    "stage": _stage,
    "sum": sum,
}
_OF_ONE, _OF_POSITIVE, _OF_LISTS = ("ceil", "floor", "int", "log2", "round", "sqrt"), ("log2", "sqrt"), ("prod", "sum")


class _Dotted(ast.NodeTransformer):
    """Makes one name of "text_config.head_dim"."""

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        return ast.Name(ast.unparse(node), node.ctx)


@lru_cache(maxsize=4096)
def parsed(text: str) -> ast.expr:
    """The tree of an expression, with dotted names as one."""
    found: ast.expr = _Dotted().visit(ast.parse(text, mode="eval").body)
    return found


def size_of(text: str, config: Mapping[str, Any] | Keys, indices: tuple[int, ...] = ()) -> int | None:
    """The value of an expression of sizes; None where the config does not tell it, or tells what no size is.

    Args:
        config: with all keys that its class has, parts as mappings; or what gives a key's value by its dotted name.
        indices: of the placeholders.
    """
    value = number_of(text, config, indices)
    return value if value is not None and 0 <= value <= MAX_VALUE else None


def number_of(text: str, config: Mapping[str, Any] | Keys, indices: tuple[int, ...] = ()) -> int | None:
    """The same of any whole number, below 0 too."""
    value = _value(parsed(text), _keys_of(config), indices)
    return value if type(value) is int else None


def holds(text: str, config: Mapping[str, Any] | Keys, indices: tuple[int, ...] = ()) -> bool:
    """Whether a condition is so; "" always is."""
    return not text or _value(parsed(text), _keys_of(config), indices) is True


@lru_cache(maxsize=4096)
def names_in(text: str) -> tuple[str, ...]:
    """The dotted names of an expression, in their order."""
    names = [node for node in ast.walk(parsed(text)) if isinstance(node, ast.Name)] if text else []
    found = dict.fromkeys(node.id for node in names)
    return tuple(name for name in found if name not in LETTERS and name not in _FUNCTIONS)


def _keys_of(config: Mapping[str, Any] | Keys) -> Keys:
    return partial(key_of, config) if isinstance(config, Mapping) else config


def key_of(config: Mapping[str, Any], name: str) -> Any:
    """A config's value under a dotted name; None where it has none."""
    first, _, rest = name.partition(".")
    value = config.get(first)
    return (key_of(value, rest) if isinstance(value, Mapping) else None) if rest else value


def _value(node: ast.expr, keys: Keys, indices: tuple[int, ...]) -> Any:
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name):
        at = LETTERS.find(node.id) if len(node.id) == 1 else -1
        return indices[at] if 0 <= at < len(indices) else keys(node.id)
    if isinstance(node, ast.BoolOp):
        every = all if isinstance(node.op, ast.And) else any
        return every(_value(each, keys, indices) is True for each in node.values)
    if isinstance(node, ast.UnaryOp):
        value = _value(node.operand, keys, indices)
        if isinstance(node.op, ast.Not):
            return value is not True
        return -value if _is_number(value) else None
    if isinstance(node, ast.Compare):
        return _compared(node, keys, indices)
    if isinstance(node, ast.BinOp):
        return _calculated(node, keys, indices)
    if isinstance(node, ast.Subscript):
        some, at = _value(node.value, keys, indices), _value(node.slice, keys, indices)
        inside = isinstance(some, list) and type(at) is int and (at >= 0 or isinstance(node.slice, ast.UnaryOp))
        return some[at] if inside and -len(some) <= at < len(some) else None
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return _called(node.func.id, [_value(each, keys, indices) for each in node.args])
    raise ValueError(f"no expression of a table: {ast.dump(node)[:80]}")


def _is_number(value: Any) -> bool:
    return type(value) is int or type(value) is float


def _called(name: str, values: list[Any]) -> Number | None:
    """A function of one number, of a list, or of several numbers: int(1.5), max(depths), max(8, hidden_size//4)."""
    if name == "len":
        return len(values[0]) if isinstance(values[0], list) else None
    if name == "stage":
        return _stage(*values) if len(values) == 2 else None
    of_list = len(values) == 1 and name not in _OF_ONE
    some = values[0] if of_list else values
    if not isinstance(some, list) or not some or None in map(_bounded, some):
        return None
    if (not of_list and name in _OF_LISTS) or (name in _OF_ONE and len(some) > 1):
        return None
    if name in _OF_POSITIVE and some[0] <= 0:
        return None
    return _bounded(_FUNCTIONS[name](*some) if name in _OF_ONE else _FUNCTIONS[name](some))


def _bounded(value: Any) -> Number | None:
    """What can be calculated with: a number, none beyond all sizes."""
    return value if _is_number(value) and abs(value) <= MAX_VALUE else None


def _calculated(node: ast.BinOp, keys: Keys, indices: tuple[int, ...]) -> Number | None:
    left, right = _value(node.left, keys, indices), _value(node.right, keys, indices)
    left, right = (int(each) if isinstance(each, bool) else each for each in (left, right))
    left, right = _bounded(left), _bounded(right)
    if left is None or right is None:
        return None
    if isinstance(node.op, ast.Pow) and (right < 0 or right * math.log2(max(2, abs(left))) > MAX_BITS):
        return None
    if isinstance(node.op, ast.Div | ast.FloorDiv | ast.Mod) and right == 0:
        return None
    return _bounded(_ARITHMETIC[type(node.op)](left, right))


def _compared(node: ast.Compare, keys: Keys, indices: tuple[int, ...]) -> bool:
    left, right = _value(node.left, keys, indices), _value(node.comparators[0], keys, indices)
    kind = type(node.ops[0])
    if kind in (ast.In, ast.NotIn):
        return isinstance(right, list) and (left in right) == (kind is ast.In)
    if kind in (ast.Eq, ast.NotEq):
        constant = isinstance(node.comparators[0], ast.Constant)
        told = isinstance(node.left, ast.Name | ast.Constant)  # a key that is None may be compared, nothing made of it
        if (left is None and not (constant and told)) or (right is None and not constant):
            return False
        same = type(left) is type(right) and left == right
        return same == (kind is ast.Eq)
    return _is_number(left) and _is_number(right) and _ORDER[kind](left, right)
