"""GGUF models of a repo or folder: which one is meant, and its header as the weights' part of a checkpoint."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from inspector.errors import AmbiguousModel, FileMissing, InvalidConfig, UnreadableModel, UnsupportedFormat
from inspector.hub.checkpoint import File, Tensor, Weights
from inspector.hub.dtypes import BLOCKS, DTYPE_BITS, measured
from inspector.hub.formats.contents import size_text
from inspector.hub.formats.gguf.config import gguf_config
from inspector.hub.formats.gguf.header import GGUFFile, GGUFTensor, merge_parts, read_gguf
from inspector.hub.formats.gguf.names import GGUFGroup, group_files, is_gguf, quant_of
from inspector.hub.formats.place import Place
from inspector.hub.formats.reader import RangeReader

USUAL_QUANT = "Q4_K_M"
"""What llama.cpp takes where nothing is said: the example in a hint, where there is one."""
MAX_LISTED = 40
"""Models that an error lists; a repo has about 20, a folder may have more."""
MAX_NAME = 100
"""Characters of a file's name in an error."""
MAX_KEPT_TEXT = 200


is_file = is_gguf
"""See `ModelFormat`."""


def read_model(
    place: Place, by_name: Mapping[str, File], config: Mapping[str, Any], selector: str | None
) -> Weights | None:
    """The weights of the model that is there, or that is selected; None where there are no GGUF models.

    Raises:
        AmbiguousModel: several.
        FileMissing: none that the selector names, or parts of one are missing.
    """
    groups = group_files(by_name)
    models = [group for group in groups if group.kind == "model"]
    if selector is not None:
        group = choose(groups, selector, by_name, place)
    elif len(models) > 1:
        raise ambiguous(models, by_name, place)
    else:
        group = models[0] if models else None
    if group is None:
        return None
    if not group.is_complete:
        raise FileMissing(
            f"{place.where} has {len(group.files)} of the {group.parts} parts of {group.name[:100]}",
            "All must be there; is the upload or download under way?",
        )
    files = tuple(by_name[name] for name in group.files)
    parts = read_parts(place, group, files)
    return gguf_weights(parts, group, files, [other for other in groups if other is not group], by_name, config)


def ambiguous(groups: Sequence[GGUFGroup], files: Mapping[str, File], place: Place) -> AmbiguousModel:
    """The error that lists the models, smallest first, each with what to call it."""
    labels = _labels(groups)
    ordered = sorted(groups, key=lambda group: (_size(group, files), group.name))
    width = max(len(labels[group.name]) for group in ordered[:MAX_LISTED])
    lines = [f"{place.where} holds {len(groups)} GGUF models, of which one must be selected:"]
    for group in ordered[:MAX_LISTED]:
        size = _size(group, files)
        missing = "" if group.is_complete else f"  ({len(group.files)} of {group.parts} parts)"
        lines.append(f"  {labels[group.name]:<{width}}  {size_text(size) if size else 'size not known':>8}{missing}")
    if len(ordered) > MAX_LISTED:
        lines.append(f"  ... and {len(ordered) - MAX_LISTED} more")
    example = next((group for group in ordered if group.quant == USUAL_QUANT), ordered[len(ordered) // 2])
    path = example.files[0] if place.selects_files else labels[example.name]
    error = AmbiguousModel("\n".join(lines), f"Name the one you mean, such as {place.how_to_select(path)}")
    whole = [group for group in ordered if group.is_complete]
    error.choices = tuple((labels[group.name], _size(group, files) or None) for group in whole)
    return error


def choose(groups: Sequence[GGUFGroup], selector: str, files: Mapping[str, File], place: Place) -> GGUFGroup | None:
    """The model that a selector names: by a file of it, by its name without ending and part number, or by its
    quantization; None where there are no models.

    Raises:
        FileMissing: none of that name.
        AmbiguousModel: several.
    """
    models = [group for group in groups if group.kind == "model"]
    stem = selector.removesuffix(".gguf")
    named = [group for group in groups if selector in group.files or stem == group.name]
    if not named:
        named = [group for group in models if stem == group.name.rpartition("/")[2]]
    if not named:
        quant = quant_of(selector) or selector.upper()
        named = [group for group in models if group.quant == quant]
    if len(named) == 1:
        return named[0]
    if named:
        raise ambiguous(named, files, place)
    labels = [_labels(models)[group.name] for group in sorted(models, key=lambda group: _size(group, files))]
    if not labels:
        return None
    shown = ", ".join(labels[:MAX_LISTED]) + (", ..." if len(labels) > MAX_LISTED else "")
    raise FileMissing(f"{place.where} has no GGUF model {selector[:MAX_NAME]!r}", f"It has: {shown}.")


def read_parts(place: Place, group: GGUFGroup, files: Sequence[File]) -> GGUFFile:
    """The header of a model, of all its parts."""
    if not group.is_cut:
        parts = place.read(files, read_gguf)
        return merge_parts(parts) if group.parts > 1 or len(parts) > 1 else parts[0]
    sizes = [file.size for file in files if file.size is not None]
    if len(sizes) < len(files):
        raise UnreadableModel(f"{_shown(group.name)} is cut in pieces, and their sizes are not known")
    whole = sum(sizes)
    return place.read(files[:1], lambda reader, name: read_gguf(FirstPiece(reader, whole), name))[0]


class FirstPiece:
    """The first piece of a file that was cut up, read as if it were whole; the header lies within it."""

    def __init__(self, reader: RangeReader, size: int) -> None:
        self._reader = reader
        self.size = size

    def read(self, offset: int, length: int) -> bytes:
        """As much as the piece has; what is missing shows in the length."""
        return self._reader.read(offset, max(0, min(length, self._reader.size - offset)))


def gguf_weights(
    header: GGUFFile,
    group: GGUFGroup,
    files: tuple[File, ...],
    others: Sequence[GGUFGroup],
    by_name: Mapping[str, File],
    config: Mapping[str, Any],
) -> Weights:
    """The weights of one model, with the config that its metadata makes unless the repo has a whole one of its own.

    Args:
        others: the other models and projectors of the place.

    Raises:
        UnsupportedFormat: an adapter, no model.
        InvalidConfig: the metadata holds values that no model can have.
    """
    if header.metadata.get("general.type") == "adapter":
        raise UnsupportedFormat(f"{_shown(group.name)} is a LoRA adapter, no whole model", "Ask for its base model.")
    warnings = [
        f"{_shown(other.files[0])} ({size_text(_size(other, by_name))}) is a projector for images or sound beside"
        " the model: it does not count"
        for other in others
        if other.kind == "projector"
    ]
    if len(warnings) > 1:
        warnings = [f"{warnings[0]}; nor do {len(warnings) - 1} more of its kind"]
    kept = {
        key: value
        for key, value in header.metadata.items()
        if key.startswith("general.") and (type(value) is int or (type(value) is str and len(value) <= MAX_KEPT_TEXT))
    }
    quant = header.file_type or group.quant
    return Weights(
        tuple(_tensor(tensor) for tensor in header.tensors),
        files,
        {**kept, "gguf.quantization": quant} if quant else kept,
        tuple(warnings),
        format="gguf",
        config=_beside(config, header) if _is_whole(config) else _config(header, group.name),
    )


def _config(header: GGUFFile, name: str) -> dict[str, Any]:
    try:
        return gguf_config(header.metadata, {tensor.name for tensor in header.tensors})
    except InvalidConfig as error:
        raise InvalidConfig(f"{_shown(name)}: {error.message}", error.hint) from None


def _beside(config: Mapping[str, Any], header: GGUFFile) -> dict[str, Any] | None:
    """The repo's own config, with the metadata's beside it where that says more of the cache; else None."""
    try:
        own = gguf_config(header.metadata, {tensor.name for tensor in header.tensors})
    except InvalidConfig:
        return None
    more = any(key.startswith("gguf_") for key in own if key != "gguf_architecture")
    return {**config, "gguf_config": own} if more else None


def _is_whole(config: Mapping[str, Any]) -> bool:
    """Whether this is the original model's config; many repos of GGUF files have one of a model_type and no more."""
    return isinstance(config.get("model_type"), str) and isinstance(config.get("architectures"), list)


def _tensor(tensor: GGUFTensor) -> Tensor:
    settled = tensor.type in DTYPE_BITS or tensor.type in BLOCKS
    return Tensor(tensor.name, tensor.type if settled else measured(tensor.type, tensor.nbytes), tensor.shape)


def _labels(groups: Sequence[GGUFGroup]) -> dict[str, str]:
    """Group's name -> what to call it: the quantization where one model has it alone, else the name."""
    quants = Counter(group.quant for group in groups)
    return {
        group.name: group.quant if group.quant and quants[group.quant] == 1 else _shown(group.name) for group in groups
    }


def _shown(name: str) -> str:
    """A name as a part of a line."""
    return "".join(character if character.isprintable() else "?" for character in name[:MAX_NAME])


def _size(group: GGUFGroup, files: Mapping[str, File]) -> int:
    """Bytes of its files, 0 where they are not known."""
    return sum(files[name].size or 0 for name in group.files)
