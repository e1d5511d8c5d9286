"""The headers of a model's files put together: one file, or an index and its shards."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from inspector.hub.checkpoint import File, Tensor
from inspector.hub.documents import Index
from inspector.hub.safetensors import Header

MAX_NAMED = 3
"""Tensors that a warning names; the rest are counted."""


@dataclass(frozen=True, slots=True)
class Weights:
    """What the weight files hold: the weights' part of a `Checkpoint`.

    Attributes:
        config: what the files themselves say of the model, None where config.json says it.
    """

    tensors: tuple[Tensor, ...]
    files: tuple[File, ...]
    metadata: dict[str, Any]
    warnings: tuple[str, ...] = ()
    format: str = "safetensors"
    config: dict[str, Any] | None = None


class Part(Protocol):
    """One file of several: a safetensors `Header`, or what stands for one."""

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """What it holds."""

    @property
    def file_bytes(self) -> int | None:
        """Its size, None where that is not known."""


def single(name: str, header: Header) -> Weights:
    """One file."""
    return Weights(header.tensors, (File(name, header.file_bytes),), dict(header.metadata))


def sharded(
    index: Index,
    headers: Mapping[str, Part],
    sizes: Mapping[str, int | None] | None = None,
    left_out: Collection[str] = (),
) -> Weights:
    """All shards of an index, in its order. A tensor that two shards hold counts once: the loader keeps the last.

    Args:
        left_out: names that are in the shards and in no `tensors`, as they stand for a tensor that is.
    """
    found: dict[str, Tensor] = {}
    twice: list[str] = []
    files = []
    for shard in index.shards:
        header = headers[shard]
        size = header.file_bytes
        files.append(File(shard, (sizes or {}).get(shard) if size is None else size))
        for tensor in header.tensors:
            if tensor.name in found:
                twice.append(tensor.name)
            found[tensor.name] = tensor
    warnings = list(index.warnings)
    if twice:
        warnings.append(f"{_some(twice)} stands in two shards; the last one counts")
    if index.weight_map is not None:
        lost = [name for name in index.weight_map if name not in found and name not in left_out]
        if lost:
            warnings.append(f"{_some(lost)} stands in the index and in no shard")
        unlisted = [name for name in found if name not in index.weight_map]
        if unlisted:
            warnings.append(f"{_some(unlisted)} stands in a shard and not in the index")
    return Weights(tuple(found.values()), tuple(files), index.metadata, tuple(warnings))


def _some(names: list[str]) -> str:
    """`tensor 'a'`, or `5 tensors ('a', 'b', 'c', ...)`."""
    if len(names) == 1:
        return f"tensor {names[0][:100]!r}"
    shown = ", ".join(repr(name[:100]) for name in names[:MAX_NAMED])
    return f"{len(names):,} tensors ({shown}{', ...' if len(names) > MAX_NAMED else ''})"
