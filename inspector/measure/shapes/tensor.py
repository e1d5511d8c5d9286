"""Tensors of shapes: numpy's arrays, of which large ones have one value repeated, and so take no memory."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np

from inspector.measure.shapes.anything import Unknown
from inspector.measure.shapes.dtypes import DTYPES, Dtype

MOST_VALUES = 1 << 16
"""Tensors of more elements have a shape alone."""


class Size(tuple[int, ...]):
    def numel(self) -> int:
        return math.prod(self)


class Device:
    """torch.device, which is meta wherever a model is built."""

    def __init__(self, type: Any = "cpu", index: int | None = None) -> None:
        name, _, at = str(type).partition(":")
        self.type, self.index = name, int(at) if at.isdigit() else index

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Device) and (self.type, self.index) == (other.type, other.index)

    def __hash__(self) -> int:
        return hash((self.type, self.index))

    def __repr__(self) -> str:
        return self.type

    def __enter__(self) -> Device:
        return self

    def __exit__(self, *_: object) -> None:
        return None


META = Device("meta")


def repeated(shape: Sequence[int], kind: Any = np.float64) -> np.ndarray[Any, Any]:
    """An array of one value, which takes the memory of one."""
    sizes = [operator.index(size) for size in shape]
    if any(size < 0 for size in sizes):
        raise RuntimeError(f"a tensor of shape {sizes}")
    return np.broadcast_to(np.zeros((), kind), sizes)


def given_sizes(given: Sequence[Any]) -> Sequence[Any]:
    """Sizes that are given one by one, or as one sequence."""
    first = given[0] if len(given) == 1 else None
    return first if isinstance(first, (tuple, list)) else given


class Tensor:
    """A tensor without data. Its small values are calculated, as sizes and counts come from them.

    Called as torch's own class is: with sizes, or with a list of values.
    """

    KIND = DTYPES["float32"]
    array: np.ndarray[Any, Any]
    dtype: Dtype
    operations: ClassVar[dict[str, Callable[..., Any]]] = {}
    """Torch's functions that are methods, too: put here by operations.py."""

    def __init__(self, *given: Any) -> None:
        if len(given) == 1 and not isinstance(given[0], (int, np.integer, Size)):
            values = np.asarray(given[0].array if isinstance(given[0], Tensor) else given[0], self.KIND.numpy)
            self._hold(values, self.KIND, known=values.size <= MOST_VALUES)
        else:
            self._hold(repeated(given[0] if given and isinstance(given[0], Size) else given), self.KIND, False)

    def _hold(self, array: np.ndarray[Any, Any], kind: Dtype, known: bool, base: Tensor | None = None) -> None:
        self.array, self.dtype, self._known, self._base = array, kind, known, base
        self._changes, self._seen = 0, 0 if base is None else base._changes
        self.requires_grad = False
        self.grad = None

    @property
    def known(self) -> bool:
        """Whether the array has the values, not the shape alone. Those of a view are not known any more once what it
        is a view of was changed."""
        return self._known and (self._base is None or (self._base.known and self._base._changes == self._seen))

    device = META
    is_meta = True
    layout = "strided"
    is_cuda = is_sparse = is_quantized = False
    grad_fn = None

    @property
    def shape(self) -> Size:
        return Size(self.array.shape)

    @property
    def ndim(self) -> int:
        return self.array.ndim

    @property
    def data(self) -> Tensor:
        """A view of it, which is no parameter."""
        return self.same()

    @data.setter
    def data(self, other: Tensor) -> None:
        self.array, self.dtype, self._known, self._base = other.array, other.dtype, other.known, None
        self._changes += 1

    @property
    def T(self) -> Tensor:
        return self._view(self.array.T)

    mT = property(lambda self: self.transpose(-1, -2))
    real = imag = property(lambda self: blank(self.shape, DTYPES["float32"]))

    @property
    def itemsize(self) -> int:
        return self.dtype.itemsize

    def element_size(self) -> int:
        return self.dtype.itemsize

    def dim(self) -> int:
        return self.array.ndim

    ndimension = dim

    def size(self, dim: int | None = None) -> Any:
        return self.shape if dim is None else self.shape[dim]

    def numel(self) -> int:
        return int(self.array.size)

    nelement = numel

    def stride(self, dim: int | None = None) -> Any:
        found = tuple(math.prod(self.shape[at + 1 :]) for at in range(self.ndim))
        return found if dim is None else found[dim]

    def data_ptr(self) -> int:
        return 0

    def storage_offset(self) -> int:
        return 0

    def is_floating_point(self) -> bool:
        return self.dtype.is_floating_point

    def is_complex(self) -> bool:
        return self.dtype.is_complex

    def is_contiguous(self, **_: Any) -> bool:
        return True

    def get_device(self) -> int:
        return -1

    def _view(self, array: np.ndarray[Any, Any]) -> Tensor:
        return of(array, self.dtype, self.known, self)

    # what changes no shape

    def same(self, *_: Any, **__: Any) -> Tensor:
        return self._view(self.array)

    detach = contiguous = cpu = cuda = same

    def clone(self, **_: Any) -> Tensor:
        return of(self.array, self.dtype, self.known)

    def in_place(self, *_: Any, **__: Any) -> Tensor:
        """Of an operation that changes values: they are not followed, nor those of what this is a view of."""
        changed: Tensor | None = self
        while changed is not None:
            changed._known, changed._changes, changed = False, changed._changes + 1, changed._base
        return self

    fill_ = zero_ = normal_ = uniform_ = copy_ = mul_ = add_ = div_ = sub_ = clamp_ = trunc_normal_ = in_place
    masked_fill_ = exponential_ = erfinv_ = log_ = exp_ = index_copy_ = scatter_ = in_place
    triu_ = tril_ = clip_ = sqrt_ = pow_ = neg_ = in_place

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        self.requires_grad = requires_grad
        return self

    def to(self, *args: Any, **kwargs: Any) -> Tensor:
        kinds = [each for each in (*args, *kwargs.values()) if isinstance(each, Dtype)]
        kinds += [each.dtype for each in args if isinstance(each, Tensor)]
        return self._cast(kinds[0]) if kinds else self.same()

    def _cast(self, kind: Dtype) -> Tensor:
        if kind is self.dtype:
            return self.same()
        return of(self.array.astype(kind.numpy), kind) if self.known else blank(self.shape, kind)

    type = to

    def type_as(self, other: Tensor) -> Tensor:
        return self._cast(other.dtype)

    # views

    def view(self, *shape: Any) -> Tensor:
        if len(shape) == 1 and isinstance(shape[0], Dtype):
            if shape[0].itemsize != self.dtype.itemsize:
                raise Unknown(f"a view of {self.dtype} as {shape[0]}")
            return blank(self.shape, shape[0])
        return self._view(self.array.reshape([int(size) for size in given_sizes(shape)]))

    reshape = view

    def view_as(self, other: Tensor) -> Tensor:
        return self.view(*other.shape)

    def transpose(self, dim0: int, dim1: int) -> Tensor:
        return self._view(self.array.swapaxes(dim0, dim1))

    swapaxes = transpose

    def t(self) -> Tensor:
        return self._view(self.array.T)

    def permute(self, *order: Any) -> Tensor:
        return self._view(self.array.transpose(*order))

    def unsqueeze(self, dim: int) -> Tensor:
        return self._view(np.expand_dims(self.array, dim))

    def squeeze(self, dim: int | None = None) -> Tensor:
        if dim is not None and self.shape[dim] != 1:
            return self.same()
        return self._view(np.squeeze(self.array, dim))

    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> Tensor:
        end = end_dim % self.ndim + 1 if self.ndim else 0
        start = start_dim % self.ndim if self.ndim else 0
        return self.view(*self.shape[:start], math.prod(self.shape[start:end]), *self.shape[end:])

    def unflatten(self, dim: int, sizes: Sequence[int]) -> Tensor:
        return self.view(*self.shape[:dim], *sizes, *self.shape[dim % self.ndim + 1 :])

    def expand(self, *shape: Any) -> Tensor:
        wanted = given_sizes(shape)
        lead = len(wanted) - self.ndim
        sizes = [self.shape[at - lead] if size == -1 else int(size) for at, size in enumerate(wanted)]
        return self._view(np.broadcast_to(self.array, sizes))

    def expand_as(self, other: Tensor) -> Tensor:
        return self.expand(*other.shape)

    def repeat(self, *counts: Any) -> Tensor:
        wanted = given_sizes(counts)
        if self.known and self.numel() * math.prod(wanted) <= MOST_VALUES:
            return self._view(np.tile(self.array, wanted))
        shape = (1,) * (len(wanted) - self.ndim) + self.shape
        return blank([a * b for a, b in zip(shape, wanted, strict=True)], self.dtype)

    def repeat_interleave(self, count: int, dim: int | None = None, **_: Any) -> Tensor:
        source = self.flatten() if dim is None else self
        shape = list(source.shape)
        shape[dim or 0] *= int(count)
        return blank(shape, self.dtype)

    def chunk(self, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
        return self.split(-(-self.shape[dim] // int(chunks)) or 1, dim)

    def split(self, size: Any, dim: int = 0) -> tuple[Tensor, ...]:
        total = self.shape[dim]
        sizes = size if isinstance(size, (tuple, list)) else [min(size, total - at) for at in range(0, total, size)]
        if sum(sizes) != total:
            raise RuntimeError(f"{total} is not split into {list(sizes)}")
        ends = np.cumsum([0, *sizes])
        axis = dim % self.ndim
        return tuple(
            self._view(self.array[(slice(None),) * axis + (slice(start, end),)]) for start, end in pairwise(ends)
        )

    split_with_sizes = split

    def unbind(self, dim: int = 0) -> tuple[Tensor, ...]:
        return tuple(self._view(each) for each in np.moveaxis(self.array, dim, 0))

    def narrow(self, dim: int, start: int, length: int) -> Tensor:
        axis = dim % self.ndim
        return self._view(self.array[(slice(None),) * axis + (slice(start, start + length),)])

    def __getitem__(self, index: Any) -> Tensor:
        places = index if isinstance(index, tuple) else (index,)
        tensors = [each for each in places if isinstance(each, Tensor)]
        if not tensors:
            return self._view(np.asarray(self.array[index]))
        if self.known and all(each.known for each in tensors):
            return of(self.array[_places(index)], self.dtype)
        if len(places) > 1 or tensors[0].dtype.name == "bool":
            raise Unknown("elements chosen by a tensor without data")
        return blank((*tensors[0].shape, *self.shape[1:]), self.dtype)

    def __setitem__(self, index: Any, value: Any) -> None:
        given = value.array if isinstance(value, Tensor) else value
        operands = (value, *index) if isinstance(index, tuple) else (value, index)
        if self.known and self._base is None and all(getattr(each, "known", True) for each in operands):
            self.array, self._changes = self.array.copy(), self._changes + 1
            self.array[_places(index)] = given
        else:
            self.in_place()

    def __len__(self) -> int:
        if not self.ndim:
            raise TypeError("a tensor without dimensions has no length")
        return self.shape[0]

    def __iter__(self) -> Any:
        return iter(self.unbind())

    # values

    def _values(self) -> np.ndarray[Any, Any]:
        if not self.known:
            raise Unknown("a tensor without data has no values")
        return self.array

    def item(self) -> Any:
        return self._values().item()

    def tolist(self) -> Any:
        return self._values().tolist()

    def numpy(self) -> np.ndarray[Any, Any]:
        return self._values()

    def __bool__(self) -> bool:
        return bool(self._values())

    def __int__(self) -> int:
        return int(self._values())

    def __index__(self) -> int:
        return operator.index(self._values().item())

    def __float__(self) -> float:
        return float(self._values())

    def __array__(self, *_: Any, **__: Any) -> np.ndarray[Any, Any]:
        return self._values()

    def __repr__(self) -> str:
        return f"tensor(shape={tuple(self.shape)}, dtype={self.dtype})"

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        made = object.__new__(type(self))
        made.__dict__ |= self.__dict__
        memo[id(self)] = made
        return made

    def new_zeros(self, *shape: Any, **_: Any) -> Tensor:
        return blank(given_sizes(shape), self.dtype)

    new_empty = new_ones = new_zeros

    def __getattr__(self, name: str) -> Any:
        operation = self.operations.get(name)
        if operation is None:
            raise AttributeError(f"Tensor.{name} is not built here")
        return lambda *args, **kwargs: operation(self, *args, **kwargs)


def of(values: Any, kind: Dtype, known: bool = True, base: Tensor | None = None) -> Tensor:
    """A tensor of values, which are kept where they are few."""
    array = np.asarray(values)
    made: Tensor = object.__new__(Tensor)
    if not known or array.size > MOST_VALUES:
        made._hold(array, kind, False, base)
    else:
        made._hold(array.astype(kind.numpy, copy=False), kind, True, base)
    return made


def blank(shape: Sequence[int], kind: Dtype) -> Tensor:
    """A tensor of a shape, without values."""
    return of(repeated(shape, kind.numpy), kind, known=False)


def _places(index: Any) -> tuple[Any, ...]:
    """numpy's index of torch's."""
    wanted = index if isinstance(index, tuple) else (index,)
    return tuple(each.array if isinstance(each, Tensor) else each for each in wanted)
