"""torch's functions that make tensors."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from inspector.measure.shapes.dtypes import DTYPES, OF_PYTHON, Dtype, dtype_of
from inspector.measure.shapes.module import DEFAULT, empty
from inspector.measure.shapes.operations import einsum, joined, outer, stacked, where
from inspector.measure.shapes.tensor import MOST_VALUES, Tensor, given_sizes, of


def kind_of(named: Any, otherwise: Dtype | None = None) -> Dtype:
    """The dtype that is named, also as a type of Python; else another, or the default one."""
    found: Dtype = OF_PYTHON.get(named, named) or otherwise or DEFAULT[0]
    return found


def _shape(given: Sequence[Any]) -> list[int]:
    return [operator.index(size) for size in given_sizes(given)]


def made(*shape: Any, size: Any = None, dtype: Any = None, **_: Any) -> Tensor:
    return empty(*_shape(shape if size is None else (size,)), kind=dtype)


def valued(value: float) -> Any:
    def make(*shape: Any, size: Any = None, dtype: Any = None, **_: Any) -> Tensor:
        kind = kind_of(dtype)
        return of(np.broadcast_to(np.asarray(value, kind.numpy), _shape(shape if size is None else (size,))), kind)

    return make


def full(size: Any, fill_value: Any, dtype: Any = None, **_: Any) -> Tensor:
    kind = kind_of(dtype, None if isinstance(fill_value, float) else dtype_of(np.asarray(fill_value)))
    value = fill_value.array if isinstance(fill_value, Tensor) else np.asarray(fill_value)
    return of(np.broadcast_to(value, _shape((size,))), kind, getattr(fill_value, "known", True))


def like(maker: Any) -> Any:
    """torch's zeros_like of zeros, and so on: of a tensor's shape and dtype."""
    return lambda tensor, *more, dtype=None, **_: maker(tuple(tensor.shape), *more, dtype=dtype or tensor.dtype)


def tensor(data: Any, dtype: Any = None, **_: Any) -> Tensor:
    plain = data.array if isinstance(data, Tensor) else np.asarray(_plain(data))
    if isinstance(data, Tensor):
        return of(plain, kind_of(dtype, data.dtype), data.known)
    own = isinstance(data, (np.ndarray, np.generic))
    return of(plain, kind_of(dtype, dtype_of(plain, own) if own or plain.size else None))


def _plain(data: Any) -> Any:
    if isinstance(data, Tensor):
        return data.tolist()
    return [_plain(each) for each in data] if isinstance(data, (list, tuple)) else data


def arange(*bounds: Any, dtype: Any = None, start: Any = None, end: Any = None, step: Any = 1, **_: Any) -> Tensor:
    values = list(bounds) if end is None else [0 if start is None else start, end]
    values = [each.item() if isinstance(each, Tensor) else each for each in values]
    values = values if len(values) > 1 else [0, *values]
    step = values[2] if len(values) > 2 else step
    floats = any(isinstance(each, float) for each in (*values, step))
    kind = kind_of(dtype, None if floats else DTYPES["int64"])
    count = int(np.ceil((values[1] - values[0]) / step))
    if count < 0:
        raise RuntimeError("upper bound and lower bound inconsistent with step sign")
    if count > MOST_VALUES:
        return empty(count, kind=kind)
    return of(values[0] + np.arange(count) * step, kind)


def linspace(start: Any, end: Any, steps: int, dtype: Any = None, **_: Any) -> Tensor:
    return of(np.linspace(float(start), float(end), int(steps)), kind_of(dtype))


def eye(n: int, m: int | None = None, dtype: Any = None, **_: Any) -> Tensor:
    return empty(n, n if m is None else m, kind=dtype)


def meshgrid(*tensors: Any, indexing: str = "ij") -> tuple[Tensor, ...]:
    given = given_sizes(tensors)
    arrays: list[Any] = [each.array for each in given]
    return tuple(of(each, given[0].dtype) for each in np.meshgrid(*arrays, indexing="xy" if indexing == "xy" else "ij"))


def pad(tensor: Tensor, pad: Sequence[int], *_: Any, **__: Any) -> Tensor:
    """torch.nn.functional.pad: how much before and after, the last dimension first."""
    shape = list(tensor.shape)
    for at in range(len(pad) // 2):
        shape[-1 - at] += int(pad[2 * at]) + int(pad[2 * at + 1])
    return empty(*shape, kind=tensor.dtype)


def polar(one: Tensor, other: Tensor) -> Tensor:
    return empty(*np.broadcast_shapes(one.shape, other.shape), kind=DTYPES["complex64"])


def view_as_real(one: Tensor) -> Tensor:
    return empty(*one.shape, 2)


def view_as_complex(one: Tensor) -> Tensor:
    return empty(*one.shape[:-1], kind=DTYPES["complex64"])


def window(window_length: int, *_: Any, dtype: Any = None, **__: Any) -> Tensor:
    return empty(int(window_length), kind=dtype)


def normal(mean: Any, std: Any = None, size: Any = None, dtype: Any = None, **_: Any) -> Tensor:
    given = [each for each in (mean, std) if isinstance(each, Tensor)]
    return empty(*(np.broadcast_shapes(*(each.shape for each in given)) if given else size), kind=dtype)


MAKERS: dict[str, Any] = dict.fromkeys(("empty", "rand", "randn"), made)
MAKERS |= {"zeros": valued(0.0), "ones": valued(1.0), "full": full}
MAKERS |= dict.fromkeys(("tensor", "as_tensor", "from_numpy"), tensor)
MAKERS |= {f"{name}_like": like(MAKERS[name]) for name in ("empty", "rand", "randn", "zeros", "ones", "full")}
MAKERS |= {"arange": arange, "linspace": linspace, "eye": eye, "meshgrid": meshgrid, "polar": polar}
MAKERS |= {"cat": joined, "concat": joined, "concatenate": joined, "stack": stacked, "outer": outer, "ger": outer}
MAKERS |= {"where": where, "einsum": einsum, "view_as_real": view_as_real}
MAKERS |= {"view_as_complex": view_as_complex, "normal": normal}
MAKERS |= dict.fromkeys(
    ("hann_window", "hamming_window", "kaiser_window", "blackman_window", "bartlett_window"), window
)
MAKERS |= {"randint": lambda *a, size=None, dtype=None, **_: empty(*(size or a[-1]), kind=dtype or DTYPES["int64"])}
MAKERS |= {"randperm": lambda n, **_: empty(n, kind=DTYPES["int64"])}
