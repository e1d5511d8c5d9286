"""PyTorch files as a model's weights: one file, or shards; what cannot be counted is refused or said."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from inspector.errors import UnreadableModel
from inspector.hub.checkpoint import File, Tensor, Weights
from inspector.hub.formats.documents import Index
from inspector.hub.formats.pytorch.archive import PytorchFile, read_pytorch
from inspector.hub.formats.reader import RangeReader
from inspector.hub.formats.weights import WeightsFile, sharded

MAX_NAMED = 3
"""Tensors that a message names; the rest are counted."""
BUFFERS = re.compile(r"(^|[._])(position_ids|inv_freq|masked_bias|num_batches_tracked|attn_mask|causal_mask)$")
"""Names of tensors that are no parameters, so that it does no harm where they cannot be counted."""


def single(header: WeightsFile, file: File, where: str) -> Weights:
    """The weights of a model of one file. Raises UnreadableModel where it holds what cannot be counted."""
    assert isinstance(header, Shard)  # what `read_file` returns
    _check_counted([header], where)
    return Weights(
        header.tensors, (File(file.name, header.file_bytes),), {}, tuple(_oddities(header.content)), format="pytorch"
    )


def joined(index: Index, headers: Mapping[str, WeightsFile], where: str) -> Weights:
    """The weights of all shards. Raises UnreadableModel where one holds what cannot be counted."""
    shards = {name: header for name, header in headers.items() if isinstance(header, Shard)}
    _check_counted(list(shards.values()), where)
    twins = {name for shard in shards.values() for name in shard.content.duplicates}
    harmless = {name for shard in shards.values() for name in shard.content.uncounted}
    weights = sharded(index, shards, left_out=twins | harmless)
    oddities = [f"{name}: {odd}" for name, shard in shards.items() for odd in _oddities(shard.content)]
    return Weights(
        weights.tensors, weights.files, weights.metadata, (*weights.warnings, *oddities[:MAX_NAMED]), format="pytorch"
    )


@dataclass(frozen=True, slots=True)
class Shard:
    """A PyTorch file as one of several.

    Attributes:
        data_bytes: see `WeightsFile`.
    """

    content: PytorchFile
    file_bytes: int
    data_bytes: None = None

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """Each weight once: tied ones share a storage."""
        return self.content.unique_tensors


def read_file(reader: RangeReader, where: str) -> Shard:
    """A PyTorch file's pickle, of which only the shapes are made."""
    return Shard(read_pytorch(reader, where), reader.size)


def _check_counted(shards: Sequence[Shard], where: str) -> None:
    """Raises UnreadableModel where a sum over the tensors would leave out parameters."""
    lost = [name for shard in shards for name in shard.content.uncounted if not BUFFERS.search(name)]
    if lost:
        raise UnreadableModel(
            f"{where}: {_some(lost)} of a kind whose size cannot be told (sparse, quantized by torch, without data)",
            "Load it with torch on a machine you trust and save it again, best as safetensors.",
        )


def _oddities(content: PytorchFile) -> list[str]:
    """What the user should know of a file."""
    found = []
    if content.uncounted:
        found.append(f"{_some(list(content.uncounted))} left out: of a kind whose size cannot be told")
    if content.other_tensors:
        found.append(
            f"a training checkpoint: beside the model it holds {content.other_tensors:,} tensors, which do not count"
        )
    if content.whole_module:
        found.append("a pickled module, no state dict: its buffers may count as parameters")
    return found


def _some(names: Sequence[str]) -> str:
    """`5 tensors ('a', 'b', 'c', ...)`."""
    shown = ", ".join(repr(name[:100]) for name in names[:MAX_NAMED])
    count = "1 tensor" if len(names) == 1 else f"{len(names):,} tensors"
    return f"{count} ({shown}{', ...' if len(names) > MAX_NAMED else ''})"
