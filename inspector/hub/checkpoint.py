"""What the resolver hands on: a `Checkpoint`, everything that is known of a repo without its weights."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from inspector.hub.formats.ggml_types import BLOCKS

if TYPE_CHECKING:  # rarely needed
    from inspector.hub.formats.parts import Part

Source = Literal["hub", "cache", "local", "bundled"]

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


class Tensor(NamedTuple):
    """One stored tensor. A named tuple, not a dataclass: a large model has 90,000 of them.

    Attributes:
        name: as the file has it.
        dtype: a safetensors dtype, a key of `DTYPE_BITS`; of a GGUF file ggml's type ("Q4_K"), a key of `BLOCKS`, or
            what `measured` makes of a type that is no key of it.
        shape: as stored (packed weights stay packed; ggml's types give the unpacked shape).
    """

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def numel(self) -> int:
        """Stored elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes in the file."""
        return stored_bytes(self.dtype, self.shape)


class File(NamedTuple):
    """A file of the repo: its path in the repo and its size in bytes (None where the Hub did not say)."""

    name: str
    size: int | None


class Network(NamedTuple):
    """What an answer cost: requests sent (redirects count), bytes of bodies received, read from the cache or not."""

    requests: int = 0
    bytes: int = 0
    cached: bool = False


NOTHING_ASKED = Network()


@dataclass(frozen=True)
class Checkpoint:
    """A repo's config, and every tensor's name, dtype and shape, all of one commit.

    Attributes:
        repo_id: as the Hub names it, with `:PICK` where one of its models, folders or files was picked, or the local
            path as the user gave it.
        revision: the commit (40 hex digits), or None for local files, bundled snapshots and mirrors that do not say.
        source: where the answer came from.
        config: config.json as parsed, or for a GGUF file what its metadata says; empty where there is neither.
        tensors: every tensor of the weight files that transformers would load.
        format: the container: "safetensors", "pytorch" or "gguf".
        files: the weight files, with their sizes.
        metadata: the index's `metadata` (or the single file's `__metadata__`).
        warnings: what the user should know of how this was read.
        snapshot_date: of a bundled snapshot, the day it was made (ISO 8601).
        parts: of a diffusers pipeline, a sentence-transformers model or an adapter with its base: the checkpoints that
            it is made of. Then `tensors` is empty, and `files` are those of all parts.
    """

    repo_id: str
    revision: str | None
    source: Source
    config: dict[str, Any]
    tensors: tuple[Tensor, ...]
    format: str = "safetensors"
    files: tuple[File, ...] = ()
    metadata: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    network: Network = NOTHING_ASKED
    snapshot_date: str | None = None
    parts: tuple[Part, ...] = ()

    @property
    def tensor_bytes(self) -> int:
        """Bytes of all stored tensors, headers left out."""
        return sum(t.nbytes for t in self.tensors) + sum(part.checkpoint.tensor_bytes for part in self.parts)

    @property
    def tensor_count(self) -> int:
        """Stored tensors, those of the parts included."""
        return len(self.tensors) + sum(part.checkpoint.tensor_count for part in self.parts)
