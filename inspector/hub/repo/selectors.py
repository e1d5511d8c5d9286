"""Which of a place's files are its weights: the usual ones, what a selector names (`org/name:SELECTOR`), or what else
there is: other formats, other names, other places."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from inspector.errors import AmbiguousModel, FileMissing, UnsupportedFormat
from inspector.hub.checkpoint import NO_WEIGHTS, File, Weights
from inspector.hub.formats.composites import read_composite
from inspector.hub.formats.contents import holds_no_weights, size_text, unsupported
from inspector.hub.formats.documents import (
    ADAPTER_CONFIG,
    CONFIG_FILE,
    DIFFUSERS_INDEX,
    MODULES_FILE,
    NO_CONFIG,
    parse_config,
)
from inspector.hub.formats.file_names import Choice, choose, variants
from inspector.hub.formats.parts import Found, read_models
from inspector.hub.formats.pipelines import read_pipeline
from inspector.hub.formats.place import Folder, Place
from inspector.hub.formats.registry import FORMATS, format_of, model_formats

SAFETENSORS = ".safetensors"
INDEX_PART = ".index."
MAX_LISTED = 40
MAX_HINTED = 5
MAX_NAME = 100
"""Characters of a name in an error."""
LORA_ALONE = "the tensors of a LoRA adapter alone: its base model does not count"
_ADAPTER_NAMES = ("adapter_model.safetensors",)


def read_formats(place: Place, config: Mapping[str, Any] | None, selector: str | None = None) -> Weights:
    """The weights of a place that has neither `model.safetensors` nor its index, or what was selected of any place.

    PyTorch comes before GGUF, a single file before shards, as transformers has it; what transformers would not load by
    itself (variants, safetensors under other names) comes last, with a warning.

    Args:
        config: config.json, None where there is none.
        selector: a GGUF quantization, a variant, a folder or a file; then only that is looked for.

    Raises:
        AmbiguousModel: several models, and no selector.
        FileMissing: nothing that the selector names, or a shard.
        UnsupportedFormat: other formats only; the message names them.
        UnreadableModel: a file is damaged, hostile, or cannot be counted.
    """
    files = place.files()
    if files is None:
        return _unlisted(place)
    by_name = {file.name: file for file in files}
    if selector is not None:
        return _selected(place, by_name, selector, config)
    choice = choose(by_name)
    if choice is not None and choice.variant is None:
        return _chosen(place, choice, by_name)
    composite = read_composite(place, by_name, config)
    if composite is not None:
        return composite
    if choice is not None:
        return _chosen(place, choice, by_name)
    for each in model_formats():
        model = each.read_model(place, by_name, config or {}, None)
        if model is not None:
            return model
    return _read_other_names(place, by_name)


def _selected(place: Place, by_name: Mapping[str, File], selector: str, config: Mapping[str, Any] | None) -> Weights:
    """What a selector names: a document, a file, a folder or a variant; else a model of a format that has several."""
    found = _read_selected(place, by_name, selector)
    if found is not None:
        return found
    for each in model_formats():
        model = each.read_model(place, by_name, config or {}, selector)
        if model is not None:
            return model
    raise FileMissing(
        f"{place.where} has no file, folder, variant or GGUF model {selector[:MAX_NAME]!r}",
        _what_to_select(by_name) or unsupported(list(by_name.values()), place.where).message + ".",
    )


def _chosen(place: Place, choice: Choice, by_name: Mapping[str, File]) -> Weights:
    """The root's weights; its config.json was read already."""
    weights = read_models(place, [Found("", choice)], by_name, with_configs=False)[0][1]
    notes = [] if choice.variant is None else [f"read from the {choice.variant} files, as there are no others"]
    if ADAPTER_CONFIG in by_name:
        notes.append(f"a whole model: the adapter beside it ({ADAPTER_CONFIG}) does not count")
    weights = _named(place, "", by_name, weights, has_config=CONFIG_FILE in by_name)
    if weights.config is None and choice.name.startswith("consolidated"):
        notes.append(f"read from {choice.name[:100]}, which transformers does not look for")
    return weights._replace(warnings=(*weights.warnings, *notes))


def _named(place: Place, folder: str, by_name: Mapping[str, File], weights: Weights, *, has_config: bool) -> Weights:
    """The weights, with their params.json and transformers' names where they are Mistral's or Meta's own files."""
    if not weights.files or not weights.files[0].name.removeprefix(folder).startswith("consolidated"):
        return weights
    from inspector.hub.formats.params import read_consolidated

    return read_consolidated(place, folder, by_name, has_config, weights)


def _read_selected(place: Place, by_name: Mapping[str, File], selector: str) -> Weights | None:
    """The weights that a selector names; None where it names no file, folder or variant: it may be a GGUF model.

    Raises:
        InspectError: it is there and cannot be read.
    """
    if selector in (MODULES_FILE, DIFFUSERS_INDEX, ADAPTER_CONFIG) and selector in by_name:
        return _read_parts(place, by_name, selector)
    if selector in by_name:
        return _read_file(place, by_name, selector)
    folder = selector.rstrip("/") + "/"
    inside = [file for name, file in by_name.items() if name.startswith(folder)]
    if any(not file.name.endswith(".gguf") and format_of(file.name) is not None for file in inside):
        return _read_folder(place, folder, inside)
    if selector in variants(by_name):
        choice = choose(by_name, selector)
        if choice is not None and choice.variant == selector:
            return read_models(place, [Found("", choice)], by_name, with_configs=False)[0][1]
    if DIFFUSERS_INDEX in by_name and selector in variants(name.partition("/")[2] for name in by_name):
        return read_pipeline(place, by_name, selector)
    return None


def _read_other_names(place: Place, by_name: Mapping[str, File]) -> Weights:
    """Where no weights have a usual name: the one safetensors file that there is, with a warning.

    Raises:
        AmbiguousModel: several; the message lists them.
        UnsupportedFormat: none; the message says what there is instead, and where.
    """
    files = [file for name, file in by_name.items() if name.endswith(SAFETENSORS) and "/" not in name]
    if len(files) == 1 and files[0].name not in _ADAPTER_NAMES:
        weights = read_models(place, [Found("", Choice(files[0].name))], by_name, with_configs=False)[0][1]
        if _is_lora(weights):
            count = sum(tensor.numel for tensor in weights.tensors)
            raise UnsupportedFormat(
                f"{files[0].name[:100]} of {place.where} is a LoRA adapter ({count:,} parameters) for a model that"
                f" no {ADAPTER_CONFIG} names",
                "Ask for its base model; the model card may name it.",
            )
        note = f"read from {files[0].name[:100]}, which transformers does not look for"
        return weights._replace(warnings=(*weights.warnings, note))
    if len(files) > 1:
        head = f"{place.where} holds {len(files)} safetensors files under names of their own:"
        raise AmbiguousModel(
            "\n".join([head, *_lines(files)]),
            f"Name the one you mean, such as {place.how_to_select(files[0].name)}",
        )
    folders = _folders(by_name)
    if not folders and CONFIG_FILE in by_name and holds_no_weights(by_name.values()):
        return NO_WEIGHTS
    if not folders:
        raise unsupported(by_name.values(), place.where)
    shown = ", ".join(folder[:80] for folder in folders[:5]) + (", ..." if len(folders) > 5 else "")
    raise UnsupportedFormat(
        f"{place.where} has no weights at its root, but in {shown}",
        f"Name the folder: {place.how_to_select(folders[0])}",
    )


def _what_to_select(names: Iterable[str]) -> str:
    """What could be selected, for a hint; empty where there is nothing."""
    names = list(names)
    root = [name for name in names if "/" not in name]
    files = [name for name in root if format_of(name) is not None]
    kinds = (("variants", variants(root)), ("folders with weights", _folders(names)), ("files", files))
    found = [
        f"{kind}: {', '.join(each[:80] for each in held[:MAX_HINTED])}{', ...' if len(held) > MAX_HINTED else ''}"
        for kind, held in kinds
        if held
    ]
    return f"It has {'; '.join(found)}." if found else ""


def _unlisted(place: Place) -> Weights:
    """A mirror that has no lists of files: the names that transformers knows are tried, but for the first format's."""
    for each in FORMATS[1:]:
        reader = each.reader
        index = place.index(each.index_name(each.stems[0]))
        if index is not None:
            shards = place.read([File(shard, None) for shard in index.shards], reader.read_file)
            return reader.joined(index, dict(zip(index.shards, shards, strict=True)), place.where)
        file = File(each.file_name(each.stems[0]), None)
        with contextlib.suppress(FileMissing):
            return reader.single(place.read([file], reader.read_file)[0], file, place.where)
    raise unsupported(None, place.where)


def _read_parts(place: Place, by_name: Mapping[str, File], selector: str) -> Weights | None:
    """What the document of a pipeline, an adapter or a sentence-transformers model names, whatever else is there."""
    documents = {MODULES_FILE, DIFFUSERS_INDEX, ADAPTER_CONFIG} - {selector}
    kept = {name: file for name, file in by_name.items() if name not in documents}
    config = parse_config(place.gather([CONFIG_FILE], [])[0][0], place.where) if CONFIG_FILE in by_name else None
    return read_composite(place, kept, config)


def _read_file(place: Place, by_name: Mapping[str, File], selector: str) -> Weights | None:
    """One file, or an index with its shards; the config beside it counts, else the root's."""
    name = selector.rpartition("/")[2]
    folder = selector[: len(selector) - len(name)]
    is_index = INDEX_PART in name and name.endswith(".json")
    if format_of(name) is None and not is_index:
        return None
    found = Found(folder, Choice(name, is_index=is_index, alone=True))
    own_config = folder != "" and folder + CONFIG_FILE in by_name
    config, weights = read_models(place, [found], by_name, with_configs=own_config)[0]
    if _is_lora(weights):
        weights = weights._replace(warnings=(*weights.warnings, LORA_ALONE))
    weights = _named(place, folder, by_name, weights, has_config=folder + CONFIG_FILE in by_name)
    return weights._replace(config=config) if own_config else weights


def _read_folder(place: Place, folder: str, files: Sequence[File]) -> Weights:
    """What a folder holds, as if it were a repo of its own."""
    inner = Folder(place, folder, files)
    body = inner.gather([CONFIG_FILE], [])[0][0] if folder + CONFIG_FILE in {file.name for file in files} else None
    config = None if body is None else parse_config(body, inner.where)
    weights = read_formats(inner, config)
    named = tuple(File(folder + file.name, file.size) for file in weights.files)
    warnings = weights.warnings
    if config is None and weights.config is None:
        warnings = (NO_CONFIG, *warnings)
    return weights._replace(files=named, config=weights.config or config or {}, warnings=warnings)


def _is_lora(weights: Weights) -> bool:
    """Whether the tensors are an adapter's, as diffusers and its forerunners name them: "...lora_down.weight"."""
    names = [tensor.name for tensor in weights.tensors]
    return 2 * sum("lora" in name.lower() for name in names) > len(names)


def _folders(names: Iterable[str]) -> list[str]:
    """Folders whose weights have a usual name, in order."""
    inside: dict[str, list[str]] = {}
    for name in names:
        folder, slash, last = name.rpartition("/")
        if slash:
            inside.setdefault(folder, []).append(last)
    return sorted(folder for folder, names_in in inside.items() if choose(names_in) is not None)


def _lines(files: Sequence[File]) -> list[str]:
    ordered = sorted(files, key=lambda file: (file.size or 0, file.name))
    shown = ordered[:MAX_LISTED]
    width = max(len(file.name[:100]) for file in shown)
    lines = [
        f"  {file.name[:100]:<{width}}  {'size not known' if file.size is None else size_text(file.size):>8}"
        for file in shown
    ]
    return lines if len(ordered) <= MAX_LISTED else [*lines, f"  ... and {len(ordered) - MAX_LISTED} more"]
