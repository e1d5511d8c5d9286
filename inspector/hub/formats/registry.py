"""The stored formats that can be read, one entry each: to add a format is to write its module and its entry here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import import_module
from typing import Any, NamedTuple, Protocol, cast

from inspector.hub.checkpoint import File, Weights
from inspector.hub.formats.documents import Index
from inspector.hub.formats.place import Place
from inspector.hub.formats.reader import RangeReader
from inspector.hub.formats.weights import WeightsFile

WORD = r"[A-Za-z][A-Za-z0-9_]{0,30}"
"""A variant's name."""


class FileFormat(Protocol):
    """The module of a format whose models are one file, or an index and its shards."""

    @staticmethod
    def read_file(reader: RangeReader, where: str) -> WeightsFile:
        """The header of one file. `where` names the file in errors."""

    @staticmethod
    def single(header: WeightsFile, file: File, where: str) -> Weights:
        """The weights of a model of one file. Raises UnreadableModel where it holds what cannot be counted."""

    @staticmethod
    def joined(index: Index, headers: Mapping[str, WeightsFile], where: str) -> Weights:
        """The weights of all shards. Raises UnreadableModel where one holds what cannot be counted."""


class ModelFormat(Protocol):
    """The module of a format of which a place may hold several models, told apart by their files' names."""

    @staticmethod
    def is_file(name: str) -> bool:
        """Whether a path names a file of this format, or a part of one."""

    @staticmethod
    def read_model(
        place: Place, by_name: Mapping[str, File], config: Mapping[str, Any], selector: str | None
    ) -> Weights | None:
        """The weights of the model that is there, or that is selected; None where there are no models of this format.

        Raises:
            AmbiguousModel: several.
            FileMissing: none that the selector names, though there are others.
        """


class StoredFormat(NamedTuple):
    """A format whose models are one file, or an index and its shards.

    Attributes:
        name: what a checkpoint's `format` says.
        endings: of its files, in lower case. The first is that of the usual names, of adapters and of shards.
        stems: the usual names without their ending, the strongest first.
        module: a `FileFormat`.
    """

    name: str
    endings: tuple[str, ...]
    stems: tuple[str, ...]
    module: str

    @property
    def ending(self) -> str:
        return self.endings[0]

    @property
    def reader(self) -> FileFormat:
        """Its module, loaded when a file of it is read."""
        return cast(FileFormat, import_module(self.module))

    def file_name(self, stem: str, variant: str | None = None) -> str:
        """`model.safetensors`, `model.fp16.safetensors`."""
        return f"{stem}{'' if variant is None else f'.{variant}'}{self.ending}"

    def index_name(self, stem: str, variant: str | None = None) -> str:
        """`model.safetensors.index.json`, `model.safetensors.index.fp16.json`."""
        return f"{stem}{self.ending}.index{'' if variant is None else f'.{variant}'}.json"

    def variant_of(self, name: str) -> str | None:
        """The variant ("fp16") that a file or an index of a usual name is of; None for plain ones and other names."""
        stems, ending = "|".join(self.stems), re.escape(self.ending)
        match = re.fullmatch(rf"(?:{stems})(?:\.({WORD}){ending}|{ending}\.index\.({WORD})\.json)", name)
        return None if match is None else match[1] or match[2]


FORMATS: list[StoredFormat] = [
    StoredFormat(
        "safetensors", (".safetensors",), ("model", "diffusion_pytorch_model"), "inspector.hub.formats.safetensors"
    ),
    StoredFormat(
        "pytorch",
        (".bin", ".pt", ".pth", ".ckpt"),
        ("pytorch_model", "diffusion_pytorch_model"),
        "inspector.hub.formats.pytorch.weights",
    ),
    StoredFormat("safetensors", (".safetensors",), ("consolidated",), "inspector.hub.formats.safetensors"),
    StoredFormat("pytorch", (".pth",), ("consolidated.00",), "inspector.hub.formats.pytorch.weights"),
]
"""In the order in which transformers and diffusers look for them; Mistral's and Meta's own files come last."""

MODEL_FORMATS: list[str] = ["inspector.hub.formats.gguf.weights"]
"""Modules of `ModelFormat`s, looked for where there is no file of the formats above."""


def model_formats() -> list[ModelFormat]:
    """The modules of the formats that keep a model's files under names of their own."""
    return [cast(ModelFormat, import_module(module)) for module in MODEL_FORMATS]


def format_of(name: str) -> StoredFormat | None:
    """The format of a file by its ending, None where it is none of `FORMATS`."""
    lowered = name.lower()
    return next((each for each in FORMATS if lowered.endswith(each.endings)), None)


def is_readable(name: str) -> bool:
    """Whether a file of this name, alone, can be read."""
    return format_of(name) is not None or any(each.is_file(name) for each in model_formats())


def header_of(reader: RangeReader, where: str, name: str) -> WeightsFile:
    """The header of a weight file by its format."""
    found = format_of(name)
    assert found is not None  # only files of a known ending are read
    return found.reader.read_file(reader, where)
