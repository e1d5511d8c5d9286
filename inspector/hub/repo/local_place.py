"""Files on this disk: a folder as a `Place`, and reading them with errors that a person understands."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from inspector.errors import FileMissing, InvalidHeader, UnreadableModel
from inspector.hub.checkpoint import File
from inspector.hub.formats.documents import MAX_INDEX_BYTES, Index, parse_index
from inspector.hub.formats.reader import LocalFile, RangeReader
from inspector.hub.formats.registry import header_of
from inspector.hub.formats.safetensors import PREFIX_BYTES, Header, header_length, parse_header
from inspector.hub.formats.weights import WeightsFile

T = TypeVar("T")

MAX_LISTED_FILES = 10_000
"""Of a folder without safetensors, to say what it holds instead."""


class LocalPlace:
    """See `Place`.

    Args:
        where: the folder, or the file in it, as the user named it.
        deep: with the folders below; else the files in this one only.
    """

    selects_files = True

    def __init__(self, folder: Path, where: str, *, deep: bool = True) -> None:
        self._folder = folder
        self._where = where
        self._deep = deep

    @property
    def where(self) -> str:
        return self._where

    def files(self) -> tuple[File, ...]:
        files: list[File] = []
        for root, folders, names in os.walk(self._folder):
            if not self._deep:
                folders.clear()
            for name in names:
                path = Path(root, name)
                try:
                    size = path.stat().st_size
                except OSError:
                    continue
                files.append(File(path.relative_to(self._folder).as_posix(), size))
            if len(files) > MAX_LISTED_FILES:
                break
        return tuple(files)

    def index(self, name: str) -> Index | None:
        path = self._folder / name
        if not path.is_file():
            return None
        with path.open("rb") as file:
            return parse_index(file.read(MAX_INDEX_BYTES + 1), self._where, name)

    def read(self, files: Sequence[File], parse: Callable[[RangeReader, str], T]) -> list[T]:
        values = []
        for file in files:
            path = self._folder / file.name
            where = self._where if self._where.endswith(file.name) else f"{file.name} of {self._where}"
            if not path.exists():
                raise FileMissing(f"{self._where} has no {file.name}", "Was the download cut short?")
            with LocalFile(path) as reader:
                values.append(parse(reader, where))
        return values

    def gather(self, documents: Sequence[str], weights: Sequence[File]) -> tuple[list[bytes], list[WeightsFile]]:
        bodies = []
        for name in documents:
            with self._path(name).open("rb") as file:
                bodies.append(file.read(MAX_INDEX_BYTES + 1))
        headers: list[WeightsFile] = [
            read_header(self._path(file.name), f"{file.name} of {self._where}")
            if file.name.endswith(".safetensors")
            else self.read([file], partial(header_of, name=file.name))[0]
            for file in weights
        ]
        return bodies, headers

    def _path(self, name: str) -> Path:
        path = self._folder / name
        if not path.is_file():
            raise FileMissing(f"{self._where} has no {name}", "Was the download cut short?")
        return path

    def how_to_select(self, selector: str) -> str:
        """The file's path: a folder has no other way."""
        return str(self._folder / selector)


def read_header(path: Path, where: str) -> Header:
    """A safetensors file's header; of the file nothing else is read.

    Raises:
        FileMissing: no such file.
        InvalidHeader: the safetensors library would refuse the file.
    """
    size = file_size(path, where)
    data = read_start(path, PREFIX_BYTES, where)
    length = header_length(data, where, size)
    data = read_start(path, PREFIX_BYTES + length, where)[PREFIX_BYTES:]
    if len(data) < length:
        raise InvalidHeader(f"{where} was cut short while it was read")
    return parse_header(data, where, size)


def exists(path: Path) -> bool:
    """Whether something of this name is there that should be a file."""
    return path.is_file() or path.is_symlink()  # a link to nowhere is a download cut short, and is named as missing


def file_size(path: Path, where: str) -> int:
    """Bytes of a file. Raises FileMissing where it is none, UnreadableModel where it cannot be looked at."""
    try:
        if not path.is_file():
            raise FileMissing(f"{where} is no file that can be read", "Was the download cut short?")
        return path.stat().st_size
    except OSError as error:
        raise unreadable(where, error) from None


def read_start(path: Path, most: int, where: str) -> bytes:
    """The first bytes of a file. Raises as `file_size`."""
    try:
        if not path.is_file():
            raise FileMissing(f"{where}: {path.name} is no file that can be read")
        with path.open("rb") as file:
            return file.read(most)
    except OSError as error:
        raise unreadable(where, error) from None


def unreadable(where: str, error: OSError) -> UnreadableModel:
    """The error of a path that the system does not let us read."""
    return UnreadableModel(f"{where} cannot be read: {error.strerror or type(error).__name__}")
