"""The headers of a model's files put together: one file, or an index and its shards."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Protocol

from inspector.hub.checkpoint import File, Tensor, Weights
from inspector.hub.formats.documents import Index

MAX_NAMED = 3
"""Tensors that a warning names; the rest are counted."""

SCALES = ("weight_scale", "weight_scale_2", "weight_scale_inv", "input_scale", "k_scale", "v_scale")
"""Ends of names of the scales that ModelOpt stores."""


class WeightsFile(Protocol):
    """The header of one weight file, of whatever format."""

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """What it holds, each weight once."""

    @property
    def file_bytes(self) -> int | None:
        """Its size, None where that is not known."""

    @property
    def data_bytes(self) -> int | None:
        """Bytes of its tensors as an index's `total_size` counts them, None where that cannot be told: of PyTorch's
        shards, writers count tied weights as often as they stand there."""


def sharded(
    index: Index,
    headers: Mapping[str, WeightsFile],
    sizes: Mapping[str, int | None] | None = None,
    left_out: Collection[str] = (),
    listed: Iterable[File] = (),
) -> Weights:
    """All shards of an index, in its order. A tensor that two shards hold counts once: the loader keeps the last.

    Args:
        left_out: names that are in the shards and in no `tensors`, as they stand for a tensor that is.
        listed: the files beside them, where they are known.
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
    said = index.metadata.get("total_size")
    checked = said is not None and all(header.data_bytes is not None for header in headers.values())
    if checked and not _is_sum(said, headers.values(), files):
        held = sum(tensor.nbytes for tensor in found.values())
        if _contradicts(said, held, found.values(), files):
            warnings.append(f"the index says that the tensors take {said:,} bytes; they take {held:,}")
    stray = [file for file in listed if _is_stray(file.name, index.shards)]
    if stray:
        names = ", ".join(file.name[:100] for file in stray[:MAX_NAMED]) + (", ..." if len(stray) > MAX_NAMED else "")
        count = "1 safetensors file" if len(stray) == 1 else f"{len(stray)} safetensors files"
        warnings.append(f"{count} that no index names ({names}): not loaded, and not counted")
    return Weights(tuple(found.values()), tuple(files), index.metadata, tuple(warnings))


def knows_more(index: Index, names: Collection[str], file: str, header: WeightsFile) -> bool:
    """Whether an index tells of more than the file of the usual name beside it, which is else read in its place.

    It does where the file is one of its shards (Qwen3.6's model-mtp.safetensors is another), or where it has all of the
    file's tensors and more.

    Args:
        names: the tensors that the index has.
    """
    if file in index.shards:
        return len(index.shards) > 1
    return len(names) > len(header.tensors) and {tensor.name for tensor in header.tensors} < set(names)


def set_aside(weights: Weights, index_name: str, file: str, stale: str | None = None) -> Weights:
    """The weights of one file, with a note on the index beside it, which does not count.

    Args:
        stale: how it is out of date.
    """
    note = f"{index_name} and its shards do not count: {file} comes first"
    if stale is not None:
        note = f"{index_name} is out of date ({stale}): read from {file}"
    return weights._replace(warnings=(*weights.warnings, note))


def looks_packed(weights: Weights) -> bool:
    """Whether tensors are of a quantized model, or of one whose cache is: scales stand beside them."""
    return any(tensor.name.endswith(SCALES) for tensor in weights.tensors)


def _is_sum(said: object, headers: Iterable[WeightsFile], files: Iterable[File]) -> bool:
    """Whether an index's `total_size` is what the files hold, with their headers or without: told without a look at
    each of the tensors, of which there may be 90,000."""
    data = sum(header.data_bytes or 0 for header in headers)
    whole = sum(file.size or 0 for file in files)
    return isinstance(said, int | float) and 0 < data <= said <= max(data, whole)


def _contradicts(said: object, held: int, tensors: Iterable[Tensor], files: Iterable[File]) -> bool:
    """Whether an index's `total_size` is wrong. Not where it is 0, or no number, as some writers leave it; nor where it
    counts flags as an eighth of a byte (transformers did), or the files' headers, too (DeepSeek's)."""
    if isinstance(said, bool) or not isinstance(said, int | float) or not 0 < said < 2**63:
        return False
    flags = sum(tensor.nbytes for tensor in tensors if tensor.dtype == "BOOL")
    sizes = [file.size or 0 for file in files]
    return not held - flags + flags // 8 <= said <= max(held, sum(sizes))


def _is_stray(name: str, shards: Collection[str]) -> bool:
    """Whether a file at the root holds weights that the index leaves out. An adapter is told apart elsewhere."""
    return name.endswith(".safetensors") and "/" not in name and name not in shards and "adapter" not in name


def _some(names: list[str]) -> str:
    """`tensor 'a'`, or `5 tensors ('a', 'b', 'c', ...)`."""
    if len(names) == 1:
        return f"tensor {names[0][:100]!r}"
    shown = ", ".join(repr(name[:100]) for name in names[:MAX_NAMED])
    return f"{len(names):,} tensors ({shown}{', ...' if len(names) > MAX_NAMED else ''})"
