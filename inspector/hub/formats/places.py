"""Models without `model.safetensors`: other formats, other names and other places, and which of several is meant."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from inspector.errors import FileMissing, UnreadableModel
from inspector.hub.checkpoint import File, Tensor
from inspector.hub.formats.gguf.names import GGUFGroup, group_files, is_gguf
from inspector.hub.formats.gguf.weights import ambiguous, gguf_weights, read_parts
from inspector.hub.formats.gguf.weights import choose as choose_gguf
from inspector.hub.formats.pytorch.archive import PytorchFile, read_pytorch
from inspector.hub.formats.reader import RangeReader
from inspector.hub.formats.weights import Weights, WeightsFile, sharded
from inspector.hub.repo.choice import Choice, choose
from inspector.hub.repo.contents import ADAPTER_CONFIG, unsupported
from inspector.hub.repo.documents import PYTORCH_FILE, PYTORCH_INDEX_FILE, Index

T = TypeVar("T")

PYTORCH_ENDINGS = (".bin", ".pt", ".pth", ".ckpt")
MAX_NAMED = 3
"""Tensors that a message names; the rest are counted."""
BUFFERS = re.compile(r"(^|[._])(position_ids|inv_freq|masked_bias|num_batches_tracked|attn_mask|causal_mask)$")
"""Names of tensors that are no parameters, so that it does no harm where they cannot be counted."""


class Place(Protocol):
    """Where the files lie: a repo at a commit, or a folder."""

    @property
    def where(self) -> str:
        """Its name, for errors."""

    def files(self) -> tuple[File, ...] | None:
        """All its files, None where that cannot be told."""

    def index(self, name: str) -> Index | None:
        """An index of shards, None where there is none."""

    def read(self, files: Sequence[File], parse: Callable[[RangeReader, str], T]) -> list[T]:
        """Each file parsed, at the same time where that is quicker. Raises FileMissing where one is not there."""

    def gather(self, documents: Sequence[str], weights: Sequence[File]) -> tuple[list[bytes], list[WeightsFile]]:
        """Small documents, and the headers of safetensors and PyTorch files, all at the same time and of one commit.

        Raises:
            FileMissing: one is not there.
        """

    @property
    def picks_files(self) -> bool:
        """Whether a model is picked by its file, not by its quantization."""

    def how_to_pick(self, pick: str) -> str:
        """What the user types for one of its models or files."""


def read_formats(place: Place, config: Mapping[str, Any] | None, pick: str | None = None) -> Weights:
    """The weights of a place that has neither `model.safetensors` nor its index, or what was picked of any place.

    PyTorch comes before GGUF, a single file before shards, as transformers has it; what transformers would not load by
    itself (variants, safetensors under other names) comes last, with a warning.

    Args:
        config: config.json, None where there is none.
        pick: a GGUF quantization, a variant, a folder or a file; then only that is looked for.

    Raises:
        AmbiguousModel: several models, and no pick.
        FileMissing: nothing of the name that was picked, or a shard.
        UnsupportedFormat: other formats only; the message names them.
        UnreadableModel: a file is damaged, hostile, or cannot be counted.
    """
    files = place.files()
    if files is None:
        return _unlisted(place)
    by_name = {file.name: file for file in files}
    groups = group_files(by_name)
    if pick is not None:
        from inspector.hub.repo.selectors import read_pick

        picked = read_pick(place, by_name, pick)
        if picked is not None:
            return picked
        return _gguf(place, choose_gguf(groups, pick, by_name, place), groups, by_name, config)
    choice = choose(by_name)
    if choice is not None and choice.variant is None:
        return _chosen(place, choice, by_name)
    from inspector.hub.formats.composites import read_composite

    composite = read_composite(place, by_name, config)
    if composite is not None:
        return composite
    if choice is not None:
        return _chosen(place, choice, by_name)
    models = [group for group in groups if group.kind == "model"]
    if len(models) > 1:
        raise ambiguous(models, by_name, place)
    if models:
        return _gguf(place, models[0], groups, by_name, config)
    from inspector.hub.repo.selectors import read_other_names

    return read_other_names(place, by_name)


def _chosen(place: Place, choice: Choice, by_name: Mapping[str, File]) -> Weights:
    """The root's weights; its config.json was read already."""
    from inspector.hub.formats.parts import Found, read_models

    weights = read_models(place, [Found("", choice)], by_name, with_configs=False)[0][1]
    notes = [] if choice.variant is None else [f"read from the {choice.variant} files, as there are no others"]
    if ADAPTER_CONFIG in by_name:
        notes.append(f"a whole model: the adapter beside it ({ADAPTER_CONFIG}) does not count")
    return weights._replace(warnings=(*weights.warnings, *notes))


def is_readable(name: str) -> bool:
    """Whether a file of this name, alone, can be read as PyTorch's or GGUF."""
    return name.lower().endswith(PYTORCH_ENDINGS) or is_gguf(name)


def _unlisted(place: Place) -> Weights:
    """A mirror that has no lists of files: the names that transformers knows are tried."""
    index = place.index(PYTORCH_INDEX_FILE)
    if index is not None:
        shards = place.read([File(shard, None) for shard in index.shards], read_shard)
        return join_pytorch(index, dict(zip(index.shards, shards, strict=True)), place.where)
    file = File(PYTORCH_FILE, None)
    try:
        return single_pytorch(place.read([file], read_shard)[0], file, place.where)
    except FileMissing:
        raise unsupported(None, place.where) from None


def single_pytorch(shard: Shard, file: File, where: str) -> Weights:
    """One PyTorch file. Raises UnreadableModel where it holds what cannot be counted."""
    _check_counted([shard], where)
    return Weights(
        shard.tensors, (File(file.name, shard.file_bytes),), {}, tuple(_oddities(shard.content)), format="pytorch"
    )


def join_pytorch(index: Index, shards: Mapping[str, Shard], where: str) -> Weights:
    """PyTorch shards. Raises UnreadableModel where one holds what cannot be counted."""
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
    """A PyTorch file as one of several."""

    content: PytorchFile
    file_bytes: int

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """Each weight once: tied ones share a storage."""
        return self.content.unique_tensors


def read_shard(reader: RangeReader, name: str) -> Shard:
    """A PyTorch file's pickle, of which only the shapes are made."""
    return Shard(read_pytorch(reader, name), reader.size)


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


def _gguf(
    place: Place,
    group: GGUFGroup,
    groups: Sequence[GGUFGroup],
    by_name: Mapping[str, File],
    config: Mapping[str, Any] | None,
) -> Weights:
    if not group.is_complete:
        raise FileMissing(
            f"{place.where} has {len(group.files)} of the {group.parts} parts of {group.name[:100]}",
            "All must be there; is the upload or download under way?",
        )
    files = tuple(by_name[name] for name in group.files)
    parts = read_parts(place, group, files)
    return gguf_weights(parts, group, files, [other for other in groups if other is not group], by_name, config or {})


def _some(names: Sequence[str]) -> str:
    """`5 tensors ('a', 'b', 'c', ...)`."""
    shown = ", ".join(repr(name[:100]) for name in names[:MAX_NAMED])
    count = "1 tensor" if len(names) == 1 else f"{len(names):,} tensors"
    return f"{count} ({shown}{', ...' if len(names) > MAX_NAMED else ''})"
