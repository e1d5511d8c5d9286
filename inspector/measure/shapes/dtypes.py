"""torch's dtypes, and numpy's that calculate in their place."""

from __future__ import annotations

from typing import Any

import numpy as np


class Dtype:
    """A torch dtype: its name, and the numpy dtype that calculates in its place."""

    def __init__(self, name: str, kind: str, itemsize: int) -> None:
        self.name, self.itemsize = name, itemsize
        self.is_floating_point, self.is_complex = kind == "f", kind == "c"
        self.is_signed = kind != "u"
        floats = np.float64 if name == "float64" else np.float32
        self.numpy: Any = {"f": floats, "c": np.complex64, "b": np.bool_}.get(kind) or getattr(np, name)

    def __repr__(self) -> str:
        return f"torch.{self.name}"

    def __reduce__(self) -> str:
        return self.name

    def to_complex(self) -> Dtype:
        return DTYPES["complex64"]


DTYPES = {
    name: Dtype(name, kind, size)
    for name, kind, size in (
        ("float64", "f", 8),
        ("float32", "f", 4),
        ("float16", "f", 2),
        ("bfloat16", "f", 2),
        ("float8_e4m3fn", "f", 1),
        ("float8_e5m2", "f", 1),
        ("float8_e4m3fnuz", "f", 1),
        ("float8_e5m2fnuz", "f", 1),
        ("float8_e8m0fnu", "f", 1),
        ("float4_e2m1fn_x2", "f", 1),
        ("int64", "i", 8),
        ("int32", "i", 4),
        ("int16", "i", 2),
        ("int8", "i", 1),
        ("uint64", "u", 8),
        ("uint32", "u", 4),
        ("uint16", "u", 2),
        ("uint8", "u", 1),
        ("bool", "b", 1),
        ("complex32", "c", 4),
        ("complex64", "c", 8),
        ("complex128", "c", 16),
    )
}
ALIASES = {
    "double": "float64",
    "float": "float32",
    "half": "float16",
    "long": "int64",
    "int": "int32",
    "short": "int16",
}
ALIASES |= {"cfloat": "complex64", "cdouble": "complex128"}


OF_PYTHON: dict[Any, Dtype] = {bool: DTYPES["bool"], int: DTYPES["int64"], float: DTYPES["float64"]}


def dtype_of(values: np.ndarray[Any, Any], own: bool = False) -> Dtype:
    """In which torch would hold what Python gives; numpy's `own` dtype, of an array."""
    if own and values.dtype.name in DTYPES:
        return DTYPES[values.dtype.name]
    kind = values.dtype.kind
    return DTYPES[{"b": "bool", "f": "float32", "c": "complex64"}.get(kind, "int64")]
