"""The types that stored tensors have, and the bytes that they take: those of safetensors and those of ggml.

Sources for ggml: `enum ggml_type` in ggml/include/ggml.h, blocks in ggml/src/ggml-common.h, `GGML_QUANT_SIZES` of
gguf-py 0.19.
"""

from __future__ import annotations

import math
import re
from typing import NamedTuple

DTYPE_BITS: dict[str, int] = {
    "BOOL": 8,
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "U8": 8,
    "I8": 8,
    "F8_E5M2": 8,
    "F8_E4M3": 8,
    "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8,
    "I16": 16,
    "U16": 16,
    "F16": 16,
    "BF16": 16,
    "I32": 32,
    "U32": 32,
    "F32": 32,
    "C64": 64,
    "F64": 64,
    "I64": 64,
    "U64": 64,
}
"""Bits an element of each safetensors dtype takes. Source: `Dtype::bitsize` of the safetensors library."""


QK = 256
"""Elements of a super-block: every K-quant and most I-quants."""


class GGMLType(NamedTuple):
    """A type, and its layout where ggml has settled it.

    Attributes:
        block: elements a block.
        block_bytes: bytes a block; 0 where the layout is not the same in every program that writes this number.
    """

    name: str
    block: int = 1
    block_bytes: int = 0


# In the sums below: d, m: float16 scale and minimum; then packed scales; then the elements' bits.
GGML_TYPES: dict[int, GGMLType] = {
    0: GGMLType("F32", 1, 4),
    1: GGMLType("F16", 1, 2),
    2: GGMLType("Q4_0", 32, 2 + 16),
    3: GGMLType("Q4_1", 32, 2 + 2 + 16),
    # 4, 5: Q4_2, Q4_3, dropped before GGUF
    6: GGMLType("Q5_0", 32, 2 + 4 + 16),
    7: GGMLType("Q5_1", 32, 2 + 2 + 4 + 16),
    8: GGMLType("Q8_0", 32, 2 + 32),
    9: GGMLType("Q8_1", 32, 2 + 2 + 32),  # ggml's header; gguf-py still has 40. Never in files.
    10: GGMLType("Q2_K", QK, 2 + 2 + QK // 16 + QK // 4),
    11: GGMLType("Q3_K", QK, 2 + 12 + QK // 8 + QK // 4),
    12: GGMLType("Q4_K", QK, 2 + 2 + 12 + QK // 2),
    13: GGMLType("Q5_K", QK, 2 + 2 + 12 + QK // 8 + QK // 2),
    14: GGMLType("Q6_K", QK, 2 + QK // 16 + QK // 4 + QK // 2),
    15: GGMLType("Q8_K", QK, 4 + QK // 8 + QK),
    16: GGMLType("IQ2_XXS", QK, 2 + QK // 4),
    17: GGMLType("IQ2_XS", QK, 2 + QK // 32 + QK // 4),
    18: GGMLType("IQ3_XXS", QK, 2 + QK // 8 + QK // 4),
    19: GGMLType("IQ1_S", QK, 2 + QK // 16 + QK // 8),
    20: GGMLType("IQ4_NL", 32, 2 + 16),
    21: GGMLType("IQ3_S", QK, 2 + 4 + QK // 32 + QK // 8 + QK // 4),
    22: GGMLType("IQ2_S", QK, 2 + QK // 16 + QK // 4),
    23: GGMLType("IQ4_XS", QK, 2 + 2 + QK // 64 + QK // 2),
    24: GGMLType("I8", 1, 1),
    25: GGMLType("I16", 1, 2),
    26: GGMLType("I32", 1, 4),
    27: GGMLType("I64", 1, 8),
    28: GGMLType("F64", 1, 8),
    29: GGMLType("IQ1_M", QK, QK // 32 + QK // 16 + QK // 8),
    30: GGMLType("BF16", 1, 2),
    # 31 to 33, 36 to 38: rows interleaved for ARM in 2024, now done at load time; sizes as the plain type
    31: GGMLType("Q4_0_4_4", 32, 2 + 16),
    32: GGMLType("Q4_0_4_8", 32, 2 + 16),
    33: GGMLType("Q4_0_8_8", 32, 2 + 16),
    34: GGMLType("TQ1_0", QK, 2 + 4 * 13),
    35: GGMLType("TQ2_0", QK, 2 + QK // 4),
    36: GGMLType("IQ4_NL_4_4"),  # or I2_S of Microsoft's bitnet.cpp
    37: GGMLType("IQ4_NL_4_8", 32, 2 + 16),
    38: GGMLType("IQ4_NL_8_8", 32, 2 + 16),
    39: GGMLType("MXFP4", 32, 1 + 16),
    40: GGMLType("NVFP4", 64, 4 + 32),
    41: GGMLType("Q1_0", 128, 2 + 16),
    42: GGMLType("Q2_0"),  # blocks of 64 in ggml, of 128 in PrismML's fork that came first
    # ik_llama.cpp's own; some put a scale before every row
    133: GGMLType("Q6_0"),
    134: GGMLType("IQ1_BN"),
    135: GGMLType("IQ2_BN"),
    137: GGMLType("IQ2_K"),
    138: GGMLType("IQ3_K"),
    139: GGMLType("IQ4_K"),
    140: GGMLType("IQ5_K"),
    141: GGMLType("IQ6_K"),
    144: GGMLType("IQ4_KS"),
    145: GGMLType("IQ2_KS"),
    146: GGMLType("IQ4_KSS"),
    152: GGMLType("IQ5_KS"),
    153: GGMLType("IQ2_KT"),
    154: GGMLType("IQ3_KT"),
    155: GGMLType("IQ4_KT"),
    156: GGMLType("IQ3_KS"),
    157: GGMLType("IQ2_KL"),
    158: GGMLType("IQ1_KT"),
}
"""Number in the file -> type."""

BLOCKS: dict[str, tuple[int, int]] = {
    kind.name: (kind.block, kind.block_bytes) for kind in GGML_TYPES.values() if kind.block_bytes
}
"""Name -> elements a block, and bytes a block, of the types whose layout is settled."""

FILE_TYPES: dict[int, str] = {
    0: "F32",
    1: "F16",
    2: "Q4_0",
    3: "Q4_1",
    7: "Q8_0",
    8: "Q5_0",
    9: "Q5_1",
    10: "Q2_K",
    11: "Q3_K_S",
    12: "Q3_K_M",
    13: "Q3_K_L",
    14: "Q4_K_S",
    15: "Q4_K_M",
    16: "Q5_K_S",
    17: "Q5_K_M",
    18: "Q6_K",
    19: "IQ2_XXS",
    20: "IQ2_XS",
    21: "Q2_K_S",
    22: "IQ3_XS",
    23: "IQ3_XXS",
    24: "IQ1_S",
    25: "IQ4_NL",
    26: "IQ3_S",
    27: "IQ3_M",
    28: "IQ2_S",
    29: "IQ2_M",
    30: "IQ4_XS",
    31: "IQ1_M",
    32: "BF16",
    33: "Q4_0_4_4",
    34: "Q4_0_4_8",
    35: "Q4_0_8_8",
    36: "TQ1_0",
    37: "TQ2_0",
    38: "MXFP4_MOE",
    39: "NVFP4",
    40: "Q1_0",
    41: "Q2_0",
}
"""`general.file_type` -> the recipe's name: `enum llama_ftype` in llama.cpp's include/llama.h (without "MOSTLY_")."""


def ggml_type(number: int) -> GGMLType:
    """The type of that number; one without a layout where nobody here knows it."""
    return GGML_TYPES.get(number) or GGMLType(f"type {number}")


def tensor_bytes(kind: GGMLType, shape: tuple[int, ...]) -> int | None:
    """Bytes of a tensor of that shape (innermost dimension last), or None where the layout is not settled.

    Q4_K, 144 bytes for 256 elements: (3, 512) takes 3 rows of 2 blocks, 864 bytes.

    Raises:
        ValueError: a row is no whole number of blocks.
    """
    if not kind.block_bytes:
        return None
    row = shape[-1] if shape else 1
    if row % kind.block:
        raise ValueError(f"rows of {row:,} elements are no whole number of {kind.name} blocks of {kind.block}")
    size = row // kind.block * kind.block_bytes
    for n in shape[:-1]:
        size *= n
    return size


_MEASURED = re.compile(r"([^\[\]]{1,32})\[(0|[1-9][0-9]{0,18})\]")
"""A ggml type whose layout is not settled, and the bytes that one tensor of it takes in its file: `IQ4_K[2304]`."""


def measured(dtype: str, nbytes: int) -> str:
    """The dtype of a tensor whose type does not tell its bytes: ("IQ4_K", 2304) -> "IQ4_K[2304]"."""
    return f"{dtype}[{nbytes}]"


def plain_dtype(dtype: str) -> str:
    """The type alone: "IQ4_K[2304]" -> "IQ4_K"."""
    return dtype.partition("[")[0]


def is_dtype(dtype: str) -> bool:
    """Whether this is a dtype that a `Tensor` may have."""
    return dtype in DTYPE_BITS or dtype in BLOCKS or _MEASURED.fullmatch(dtype) is not None


def stored_bytes(dtype: str, shape: tuple[int, ...]) -> int:
    """Bytes that a tensor takes in its file.

    Of a ggml type, a row (the last dimension) is a whole number of blocks: ("Q4_K", (3, 512)) takes 3 * 2 * 144.

    Raises:
        ValueError: no dtype that a `Tensor` may have.
    """
    bits = DTYPE_BITS.get(dtype)
    if bits is not None:
        return math.prod(shape) * bits // 8
    if dtype in BLOCKS:
        values, size = BLOCKS[dtype]
        return math.prod(shape) // values * size
    match = _MEASURED.fullmatch(dtype)
    if match is None:
        raise ValueError(f"{dtype[:40]!r} is no dtype")
    return int(match[2])
