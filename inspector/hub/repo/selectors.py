"""What `org/name:PICK` names beside GGUF models: a file, a folder or a variant; and weights under unusual names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from inspector.errors import AmbiguousModel, UnsupportedFormat
from inspector.hub.checkpoint import File
from inspector.hub.formats.parts import Found, read_models
from inspector.hub.formats.places import PYTORCH_ENDINGS, Place, read_formats
from inspector.hub.formats.weights import Weights, WeightsFile
from inspector.hub.repo.choice import Choice, choose, variants
from inspector.hub.repo.contents import ADAPTER_CONFIG, DIFFUSERS_INDEX, size_text, unsupported
from inspector.hub.repo.documents import CONFIG_FILE, MODULES_FILE, NO_CONFIG, Index, parse_config

if TYPE_CHECKING:
    from inspector.hub.formats.reader import RangeReader

T = TypeVar("T")

SAFETENSORS = ".safetensors"
INDEX_PART = ".index."
MAX_LISTED = 40
MAX_HINTED = 5
LORA_ALONE = "the tensors of a LoRA adapter alone: its base model does not count"
_ADAPTER_NAMES = ("adapter_model.safetensors",)


def read_pick(place: Place, by_name: Mapping[str, File], pick: str) -> Weights | None:
    """The weights that a pick names; None where it names no file, folder or variant, so that it may be a GGUF model.

    Raises:
        InspectError: it is there and cannot be read.
    """
    if pick in (MODULES_FILE, DIFFUSERS_INDEX, ADAPTER_CONFIG) and pick in by_name:
        return _read_parts(place, by_name, pick)
    if pick in by_name:
        return _read_file(place, by_name, pick)
    folder = pick.rstrip("/") + "/"
    inside = [file for name, file in by_name.items() if name.startswith(folder)]
    if any(not file.name.endswith(".gguf") and _is_weights(file.name) for file in inside):
        return _read_folder(place, folder, inside)
    if pick in variants(by_name):
        choice = choose(by_name, pick)
        if choice is not None and choice.variant == pick:
            return read_models(place, [Found("", choice)], by_name, with_configs=False)[0][1]
    if DIFFUSERS_INDEX in by_name and pick in variants(name.partition("/")[2] for name in by_name):
        from inspector.hub.formats.pipelines import read_pipeline

        return read_pipeline(place, by_name, pick)
    return None


def read_other_names(place: Place, by_name: Mapping[str, File]) -> Weights:
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
            f"Name the one you mean, such as {place.how_to_pick(files[0].name)}",
        )
    error = unsupported(by_name.values(), place.where)
    folders = _folders(by_name)
    if not folders:
        raise error
    shown = ", ".join(folder[:80] for folder in folders[:5]) + (", ..." if len(folders) > 5 else "")
    raise UnsupportedFormat(
        f"{place.where} has no weights at its root, but in {shown}",
        f"Name the folder: {place.how_to_pick(folders[0])}",
    )


def what_to_pick(names: Iterable[str]) -> str:
    """What could be picked, for a hint; empty where there is nothing."""
    names = list(names)
    root = [name for name in names if "/" not in name]
    files = [name for name in root if _is_weights(name)]
    kinds = (("variants", variants(root)), ("folders with weights", _folders(names)), ("files", files))
    found = [
        f"{kind}: {', '.join(each[:80] for each in held[:MAX_HINTED])}{', ...' if len(held) > MAX_HINTED else ''}"
        for kind, held in kinds
        if held
    ]
    return f"It has {'; '.join(found)}." if found else ""


def _read_parts(place: Place, by_name: Mapping[str, File], pick: str) -> Weights | None:
    """What the document of a pipeline, an adapter or a sentence-transformers model names, whatever else is there."""
    from inspector.hub.formats.composites import read_composite

    documents = {MODULES_FILE, DIFFUSERS_INDEX, ADAPTER_CONFIG} - {pick}
    kept = {name: file for name, file in by_name.items() if name not in documents}
    config = parse_config(place.gather([CONFIG_FILE], [])[0][0], place.where) if CONFIG_FILE in by_name else None
    return read_composite(place, kept, config)


def _read_file(place: Place, by_name: Mapping[str, File], pick: str) -> Weights | None:
    """One file, or an index with its shards; the config beside it counts, else the root's."""
    name = pick.rpartition("/")[2]
    folder = pick[: len(pick) - len(name)]
    is_index = INDEX_PART in name and name.endswith(".json")
    if not name.endswith(SAFETENSORS) and not name.lower().endswith(PYTORCH_ENDINGS) and not is_index:
        return None
    found = Found(folder, Choice(name, is_index=is_index))
    own_config = folder != "" and folder + CONFIG_FILE in by_name
    config, weights = read_models(place, [found], by_name, with_configs=own_config)[0]
    if _is_lora(weights):
        weights = weights._replace(warnings=(*weights.warnings, LORA_ALONE))
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


class Folder:
    """A folder of a place, as a `Place`."""

    picks_files = False

    def __init__(self, place: Place, folder: str, files: Sequence[File]) -> None:
        self._place = place
        self._folder = folder
        self._files = tuple(File(file.name[len(folder) :], file.size) for file in files)

    @property
    def where(self) -> str:
        return f"{self._folder.rstrip('/')} of {self._place.where}"

    def files(self) -> tuple[File, ...]:
        return self._files

    def index(self, name: str) -> Index | None:
        return self._place.index(self._folder + name)

    def read(self, files: Sequence[File], parse: Callable[[RangeReader, str], T]) -> list[T]:
        return self._place.read(self._outer(files), parse)

    def gather(self, documents: Sequence[str], weights: Sequence[File]) -> tuple[list[bytes], list[WeightsFile]]:
        return self._place.gather([self._folder + name for name in documents], self._outer(weights))

    def how_to_pick(self, pick: str) -> str:
        return self._place.how_to_pick(self._folder + pick)

    def _outer(self, files: Sequence[File]) -> list[File]:
        return [File(self._folder + file.name, file.size) for file in files]


def _is_lora(weights: Weights) -> bool:
    """Whether the tensors are an adapter's, as diffusers and its forerunners name them: "...lora_down.weight"."""
    names = [tensor.name for tensor in weights.tensors]
    return 2 * sum("lora" in name.lower() for name in names) > len(names)


def _is_weights(name: str) -> bool:
    return name.endswith(SAFETENSORS) or name.lower().endswith(PYTORCH_ENDINGS)


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
