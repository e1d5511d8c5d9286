"""What a torch pickle may come to: names, storages, tensors without data, and inert objects for all the rest.

The constructors' arguments are those of torch/_utils.py (`_rebuild_tensor_v2` and kin); the persistent IDs those of
`persistent_load` in torch/serialization.py, torch 1.6 to 2.13.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from inspector.errors import UnreadableModel

MAX_RANK = 64
"""torch itself allows no more dimensions."""
MAX_INT = 2**63 - 1

DTYPES: dict[str, str] = {
    "float32": "F32",
    "float64": "F64",
    "float16": "F16",
    "bfloat16": "BF16",
    "int64": "I64",
    "int32": "I32",
    "int16": "I16",
    "int8": "I8",
    "uint8": "U8",
    "uint16": "U16",
    "uint32": "U32",
    "uint64": "U64",
    "bool": "BOOL",
    "complex64": "C64",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
    "float8_e4m3fnuz": "F8_E4M3FNUZ",
    "float8_e5m2fnuz": "F8_E5M2FNUZ",
    "float8_e8m0fnu": "F8_E8M0",
    "float4_e2m1fn_x2": "F4",
}
"""torch's dtypes under safetensors' names (safetensors/torch.py). The others have none."""

STORAGES: dict[str, str] = {
    "FloatStorage": "F32",
    "DoubleStorage": "F64",
    "HalfStorage": "F16",
    "BFloat16Storage": "BF16",
    "LongStorage": "I64",
    "IntStorage": "I32",
    "ShortStorage": "I16",
    "CharStorage": "I8",
    "ByteStorage": "U8",
    "BoolStorage": "BOOL",
    "ComplexFloatStorage": "C64",
    "QInt8Storage": "I8",
    "QUInt8Storage": "U8",
    "QInt32Storage": "I32",
}
"""Storage class -> dtype of its elements; quantized ones as the integers that they store (torch/storage.py)."""
UNTYPED = "UntypedStorage"

ELEMENT_BYTES: dict[str, int] = {
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 8),
    **dict.fromkeys(("F32", "I32", "U32"), 4),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 2),
    **dict.fromkeys(("I8", "U8", "BOOL", "F8_E4M3", "F8_E5M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "F8_E8M0"), 1),
    "F4": 1,
}
"""Of an element as torch counts them: a pair of 4-bit numbers is one."""


class Name(NamedTuple):
    """A global: two words, of which nothing is ever imported."""

    module: str
    name: str


class Opaque:
    """An object of which nothing is known but who would have made it; its items and state are kept unread."""

    __slots__ = ("_items", "made_by", "state")

    def __init__(self, made_by: Name | None) -> None:
        self.made_by = made_by
        self.state: Any = None
        self._items: dict[str, Any] | None = None

    @property
    def items(self) -> dict[str, Any]:
        if self._items is None:
            self._items = {}
        return self._items

    @property
    def is_lost_tensor(self) -> bool:
        """A tensor of a kind that is not understood: sparse, on no device, of a subclass, of a dtype without a name."""
        made_by = self.made_by
        return made_by is not None and made_by.module.split(".")[0] == "torch" and made_by.name.startswith("_rebuild")


class Storage(NamedTuple):
    """A block of bytes of the file, one `data/KEY` entry. Several tensors may look into the same one.

    Attributes:
        dtype: of its elements; None where the tensor says it, or it has no safetensors name.
        elements: how many it has; bytes where it is untyped.
    """

    key: str
    dtype: str | None
    untyped: bool
    elements: int

    @property
    def nbytes(self) -> int:
        return self.elements * (1 if self.dtype is None else ELEMENT_BYTES[self.dtype])


class TensorRef(NamedTuple):
    """A tensor without its data.

    Attributes:
        dtype: safetensors' name.
        shape: in elements of that dtype.
        storage: the key of the bytes it looks into.
        view: where in them, to tell tied weights: the same view of the same storage is the same weight.
    """

    dtype: str
    shape: tuple[int, ...]
    storage: Storage
    view: tuple[int, tuple[int, ...]]


def read_storage(pid: Any) -> Any:
    """A persistent ID: ("storage", class, key, device, elements)."""
    if type(pid) is not tuple or len(pid) != 5 or pid[0] != "storage":
        return Opaque(None)
    _, kind, key, _, elements = pid
    if not isinstance(kind, Name) or kind.module.split(".")[0] != "torch" or type(key) is not str:
        raise UnreadableModel("its pickle has a storage that is none of torch's")
    if not is_size(elements):
        raise UnreadableModel("its pickle has a storage of an impossible size")
    return Storage(key, STORAGES.get(kind.name), kind.name == UNTYPED, elements)


def is_size(value: Any) -> bool:
    """A number that a dimension, stride or offset may have. True is none."""
    return type(value) is int and 0 <= value <= MAX_INT


def _tensor(made_by: Name, arguments: tuple[Any, ...], dtype: str | None) -> Any:
    storage, offset, shape, stride = arguments[:4]
    if dtype is None:
        return Opaque(made_by)
    sizes = type(shape) is tuple and type(stride) is tuple and len(shape) == len(stride) <= MAX_RANK
    if not sizes or not all(map(is_size, shape)) or not all(map(is_size, stride)) or not is_size(offset):
        raise UnreadableModel("its pickle has a tensor of an impossible shape")
    if math.prod(shape) > MAX_INT // 2:  # // 2: see F4 below
        raise UnreadableModel("its pickle has a tensor of more elements than can be counted")
    last = sum((n - 1) * step for n, step in zip(shape, stride, strict=True))
    if 0 not in shape and (offset + last + 1) * ELEMENT_BYTES[dtype] > storage.nbytes:
        raise UnreadableModel("its pickle has a tensor that is larger than its storage")
    if dtype == "F4":  # safetensors counts single numbers, torch pairs
        shape = (*shape[:-1], shape[-1] * 2) if shape else (2,)
    return TensorRef(dtype, shape, storage, (offset, stride))


def _typed_tensor(made_by: Name, arguments: tuple[Any, ...]) -> Any:
    """`_rebuild_tensor`, `_rebuild_tensor_v2`, `_rebuild_qtensor`: (storage, offset, size, stride, ...)."""
    if len(arguments) < 4 or not isinstance(arguments[0], Storage) or arguments[0].untyped:
        return Opaque(made_by)
    return _tensor(made_by, arguments, arguments[0].dtype)


def _untyped_tensor(made_by: Name, arguments: tuple[Any, ...]) -> Any:
    """`_rebuild_tensor_v3`: (storage, offset, size, stride, requires_grad, hooks, dtype, ...)."""
    if len(arguments) < 7 or not isinstance(arguments[0], Storage) or not arguments[0].untyped:
        return Opaque(made_by)
    dtype = arguments[6]
    known = DTYPES.get(dtype.name) if isinstance(dtype, Name) and dtype.module == "torch" else None
    return _tensor(made_by, arguments, known)


def _first(made_by: Name, arguments: tuple[Any, ...]) -> Any:
    """`_rebuild_parameter` and `_rebuild_parameter_with_state`: (tensor, ...)."""
    return arguments[0] if arguments and isinstance(arguments[0], TensorRef) else Opaque(made_by)


def _subclass(made_by: Name, arguments: tuple[Any, ...]) -> Any:
    """`_rebuild_from_type_v2`: (function, type, its arguments, state). A subclass of Tensor with its own storage."""
    if len(arguments) < 3 or not isinstance(arguments[0], Name) or type(arguments[2]) is not tuple:
        return Opaque(made_by)
    constructor = CONSTRUCTORS.get(arguments[0])
    if constructor is None or constructor is _subclass:
        return Opaque(made_by)
    return constructor(made_by, arguments[2])


def _size(made_by: Name, arguments: tuple[Any, ...]) -> Any:
    return arguments[0] if arguments and type(arguments[0]) is tuple else Opaque(made_by)


MAPPINGS = frozenset(
    {
        Name("collections", "OrderedDict"),
        Name("collections", "defaultdict"),
        Name("builtins", "dict"),
        Name("__builtin__", "dict"),
    }
)
CONSTRUCTORS: dict[Name, Callable[[Name, tuple[Any, ...]], Any]] = {
    Name("torch._utils", "_rebuild_tensor"): _typed_tensor,
    Name("torch._utils", "_rebuild_tensor_v2"): _typed_tensor,
    Name("torch._utils", "_rebuild_qtensor"): _typed_tensor,
    Name("torch._utils", "_rebuild_tensor_v3"): _untyped_tensor,
    Name("torch._utils", "_rebuild_parameter"): _first,
    Name("torch._utils", "_rebuild_parameter_with_state"): _first,
    Name("torch._tensor", "_rebuild_from_type_v2"): _subclass,
    Name("torch", "Size"): _size,
}
"""All that is understood of torch. They only check numbers and put them together."""
