"""What torch's functions make of tensors: values where they are few and known, else shapes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from inspector.measure.shapes.anything import Unknown
from inspector.measure.shapes.dtypes import ALIASES, DTYPES, Dtype, dtype_of
from inspector.measure.shapes.tensor import MOST_VALUES, Tensor, blank, of


class Extreme(NamedTuple):
    """What torch.max gives of a dimension."""

    values: Tensor
    indices: Tensor


def result_kind(operands: Sequence[Any], comparison: bool) -> Dtype:
    if comparison:
        return DTYPES["bool"]
    kinds = {each.dtype for each in operands if isinstance(each, Tensor)}
    best = max(kinds, key=_rank, default=DTYPES["bool"])
    if {"bfloat16", "float16"} <= {each.name for each in kinds} and best.itemsize == 2:
        return DTYPES["float32"]
    numbers = [dtype_of(np.asarray(each)) for each in operands if not isinstance(each, Tensor)]
    widest = max(numbers, key=_rank, default=best)
    return widest if _rank(widest)[0] > _rank(best)[0] else best


def _rank(kind: Dtype) -> tuple[int, int]:
    """Of two dtypes the higher one holds what an operation makes of both: complex numbers, floats, integers, truths."""
    category = 3 if kind.is_complex else 2 if kind.is_floating_point else int(kind.name != "bool")
    return category, kind.itemsize


def elementwise(function: Callable[..., Any], comparison: bool = False, floats: bool = False) -> Callable[..., Tensor]:
    """An operation on each element, by numpy; of shapes alone where a value is not known. Settings of it are not known
    here (`alpha`, `decimals`)."""

    def apply(*operands: Any, **settings: Any) -> Tensor:
        if settings:
            raise Unknown(f"{function.__name__} with {', '.join(settings)}")
        kind = result_kind(operands, comparison)
        if floats and not (kind.is_floating_point or kind.is_complex):
            kind = DTYPES["float32"]
        arrays = [each.array if isinstance(each, Tensor) else np.asarray(each) for each in operands]
        shape = np.broadcast_shapes(*(each.shape for each in arrays))
        if all(not isinstance(each, Tensor) or each.known for each in operands) and math.prod(shape) <= MOST_VALUES:
            with np.errstate(all="ignore", divide="ignore" if floats or _rank(kind)[0] > 1 else "raise"):
                return of(function(*arrays), kind)
        return blank(shape, kind)

    return apply


def reduction(function: Callable[..., Any], of_kind: Dtype | None = None, wide: bool = False) -> Callable[..., Any]:
    """Over some dimensions or all.

    Args:
        wide: whether truths and integers make 64-bit ones.
    """

    def apply(tensor: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
        axis = tuple(dim) if isinstance(dim, (tuple, list)) else dim
        kind = of_kind or (DTYPES["int64"] if wide and _rank(tensor.dtype)[0] < 2 else tensor.dtype)
        if tensor.known:
            return of(function(tensor.array, axis=axis, keepdims=keepdim), kind)
        axes = range(tensor.ndim) if axis is None else [at % tensor.ndim for at in np.atleast_1d(axis)]
        kept = [1 if at in axes else size for at, size in enumerate(tensor.shape) if keepdim or at not in axes]
        return blank(kept, kind)

    return apply


def extreme(name: str) -> Callable[..., Any]:
    """torch.max and torch.min: of all, of two tensors, or of a dimension, with the places where they stand."""
    values, places = reduction(getattr(np, name)), reduction(getattr(np, f"arg{name}"), DTYPES["int64"])

    def apply(tensor: Tensor, dim: Any = None, keepdim: bool = False) -> Any:
        if isinstance(dim, Tensor):
            return BY_NAME[f"{name}imum"](tensor, dim)
        return values(tensor) if dim is None else Extreme(values(tensor, dim, keepdim), places(tensor, dim, keepdim))

    return apply


def cumulative(function: Callable[..., Any]) -> Callable[..., Tensor]:
    def apply(tensor: Tensor, dim: int = 0, dtype: Any = None) -> Tensor:
        kind = dtype or (DTYPES["int64"] if _rank(tensor.dtype)[0] < 2 else tensor.dtype)
        return of(function(tensor.array, axis=dim), kind) if tensor.known else blank(tensor.shape, kind)

    return apply


def matmul(one: Tensor, other: Tensor) -> Tensor:
    a, b = one.shape, other.shape
    if one.known and other.known and one.numel() * (b[-1] if len(b) > 1 else 1) <= MOST_VALUES * 64:
        return of(np.matmul(one.array, other.array), one.dtype)
    if len(a) < 2 or len(b) < 2 or a[-1] != b[-2]:
        raise Unknown("a product of tensors without data")
    return blank((*np.broadcast_shapes(a[:-2], b[:-2]), a[-2], b[-1]), one.dtype)


def joined(tensors: Iterable[Tensor], dim: int = 0, **_: Any) -> Tensor:
    parts = list(tensors)
    if all(each.known for each in parts) and sum(each.numel() for each in parts) <= MOST_VALUES:
        return of(np.concatenate([each.array for each in parts], axis=dim), result_kind(parts, False))
    parts = [each for each in parts if each.shape != (0,)]
    axis = dim % parts[0].ndim
    others = {each.shape[:axis] + each.shape[axis + 1 :] for each in parts}
    if len(others) != 1:
        raise RuntimeError("tensors of other shapes are not joined")
    shape = list(parts[0].shape)
    shape[axis] = sum(each.shape[axis] for each in parts)
    return blank(shape, result_kind(parts, False))


def stacked(tensors: Iterable[Tensor], dim: int = 0, **_: Any) -> Tensor:
    return joined([each.unsqueeze(dim) for each in tensors], dim)


def triangle(function: Callable[..., Any]) -> Callable[..., Tensor]:
    def apply(tensor: Tensor, diagonal: int = 0) -> Tensor:
        return tensor._view(function(tensor.array, diagonal)) if tensor.known else tensor.same()

    return apply


def kept(tensor: Tensor, *_: Any, **__: Any) -> Tensor:
    """Of an operation that changes no shape."""
    return blank(tensor.shape, tensor.dtype)


def where(condition: Tensor, one: Any = None, other: Any = None) -> Tensor:
    if one is None:
        raise Unknown("torch.where of one tensor has a shape by its values")
    return elementwise(np.where)(condition, one, other)


def outer(one: Tensor, other: Tensor) -> Tensor:
    found: Tensor = BY_NAME["mul"](one.unsqueeze(1), other.unsqueeze(0))
    return found


def divided(one: Any, other: Any, rounding_mode: str | None = None) -> Tensor:
    """torch.div."""
    found: Tensor = BY_NAME[f"{rounding_mode or 'true'}_divide"](one, other)
    return found


def norm(tensor: Tensor, p: Any = 2, dim: Any = None, keepdim: bool = False) -> Tensor:
    """torch.norm: a length."""
    if p not in (2, "fro"):
        raise Unknown(f"a norm of {p!r}")
    return LENGTH(tensor, dim, keepdim)


def einsum(*_: Any) -> Tensor:
    raise Unknown("torch.einsum is not built here")


LENGTH = reduction(lambda values, **named: np.sqrt(np.sum(values * values, **named)))
DEVIATION = reduction(lambda values, **named: np.std(values, ddof=1, **named))
COMPARISONS: dict[str, Any] = {"eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal}
COMPARISONS |= {"gt": np.greater, "ge": np.greater_equal}
COMPARISONS |= {
    "logical_not": np.logical_not,
    "logical_and": np.logical_and,
    "logical_or": np.logical_or,
    "isin": np.isin,
}
OF_TWO: dict[str, Any] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "pow": np.power,
    "floor_divide": np.floor_divide,
}
OF_TWO |= {"trunc_divide": lambda one, other: np.trunc(one / other)}
OF_TWO |= {"remainder": np.remainder, "maximum": np.maximum, "minimum": np.minimum, "fmod": np.fmod}
OF_TWO |= {"bitwise_and": np.bitwise_and, "bitwise_or": np.bitwise_or, "bitwise_xor": np.bitwise_xor}
OF_ONE: dict[str, Any] = {
    "bitwise_not": np.invert,
    "abs": np.abs,
    "neg": np.negative,
    "floor": np.floor,
    "ceil": np.ceil,
    "round": np.round,
    "sign": np.sign,
}
OF_FLOATS: dict[str, Any] = {
    "exp": np.exp,
    "log": np.log,
    "log2": np.log2,
    "sqrt": np.sqrt,
    "sin": np.sin,
    "cos": np.cos,
}
OF_FLOATS |= {"tanh": np.tanh, "log10": np.log10, "expm1": np.expm1, "log1p": np.log1p, "reciprocal": np.reciprocal}
OF_FLOATS |= {"rsqrt": lambda x: 1 / np.sqrt(x), "sigmoid": lambda x: 1 / (1 + np.exp(-x)), "tan": np.tan}
OF_FLOATS |= {"softplus": lambda x: np.log1p(np.exp(x)), "sinc": np.sinc}
OF_FLOATS |= {"true_divide": np.true_divide, "atan": np.arctan}
BY_NAME: dict[str, Callable[..., Any]] = {name: elementwise(function, True) for name, function in COMPARISONS.items()}
BY_NAME |= {name: elementwise(function) for name, function in (OF_TWO | OF_ONE).items()}
BY_NAME |= {name: elementwise(function, floats=True) for name, function in OF_FLOATS.items()}
BY_NAME |= {"cumsum": cumulative(np.cumsum), "cumprod": cumulative(np.cumprod)}
BY_NAME |= {"sum": reduction(np.sum, wide=True), "prod": reduction(np.prod, wide=True), "mean": reduction(np.mean)}
BY_NAME |= {"std": lambda tensor, dim=None, *, keepdim=False: DEVIATION(tensor, dim, keepdim)}
BY_NAME |= {"any": reduction(np.any, DTYPES["bool"]), "all": reduction(np.all, DTYPES["bool"])}
BY_NAME |= {"max": extreme("max"), "min": extreme("min"), "amax": reduction(np.max), "amin": reduction(np.min)}
BY_NAME |= {"argmax": reduction(np.argmax, DTYPES["int64"]), "argmin": reduction(np.argmin, DTYPES["int64"])}
BY_NAME |= {"norm": norm}
BY_NAME |= {"tril": triangle(np.tril), "triu": triangle(np.triu), "matmul": matmul, "mm": matmul, "bmm": matmul}
BY_NAME |= {"outer": outer, "div": divided, "where": lambda self, condition, other: where(condition, self, other)}
BY_NAME |= dict.fromkeys(
    ["masked_fill", "softmax", "clip", "clamp", "flip", "fill", "roll", "nan_to_num", "scatter", "index_copy"], kept
)
for _name, _kind in (ALIASES | {"bool": "bool", "bfloat16": "bfloat16"}).items():
    BY_NAME[_name] = lambda self, kind=_kind, **_: self._cast(DTYPES[kind])


def _in_place(operation: Callable[..., Any]) -> Callable[[Any, Any], Any]:
    """`+=` and its like, which change the tensor itself."""

    def apply(self: Tensor, other: Any) -> Tensor:
        self[...] = operation(self, other)
        return self

    return apply


def _swapped(operation: Callable[..., Any]) -> Callable[[Any, Any], Any]:
    return lambda self, other: operation(other, self)


OPERATORS = {"truediv": "div", "floordiv": "floor_divide", "mod": "remainder"}
for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul"):
    _operation = BY_NAME[OPERATORS.get(_name, _name)]
    setattr(Tensor, f"__{_name}__", _operation)
    setattr(Tensor, f"__r{_name}__", _swapped(_operation))
    setattr(Tensor, f"__i{_name}__", _in_place(_operation))
OPERATORS = {"and": "bitwise_and", "or": "bitwise_or", "xor": "bitwise_xor", "invert": "bitwise_not"}
for _name in ("eq", "ne", "lt", "le", "gt", "ge", "and", "or", "xor", "invert", "neg", "abs"):
    setattr(Tensor, f"__{_name}__", BY_NAME[OPERATORS.get(_name, _name)])
Tensor.__hash__ = object.__hash__  # type: ignore[method-assign]
Tensor.operations = BY_NAME
