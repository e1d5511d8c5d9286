"""A folder's PyTorch and GGUF files: the folder as a `Place`."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from inspector.errors import FileMissing
from inspector.hub.checkpoint import File
from inspector.hub.formats.reader import LocalFile, RangeReader
from inspector.hub.formats.weights import WeightsFile
from inspector.hub.repo.documents import MAX_INDEX_BYTES, Index, parse_index

T = TypeVar("T")

MAX_LISTED_FILES = 10_000
"""Of a folder without safetensors, to say what it holds instead."""


class LocalPlace:
    """See `Place`.

    Args:
        where: the folder, or the file in it, as the user named it.
        deep: with the folders below; else the files in this one only.
    """

    picks_files = True

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
        from inspector.hub.formats.places import read_shard
        from inspector.hub.repo.local import read_header

        bodies = []
        for name in documents:
            with self._path(name).open("rb") as file:
                bodies.append(file.read(MAX_INDEX_BYTES + 1))
        headers: list[WeightsFile] = [
            read_header(self._path(file.name), f"{file.name} of {self._where}")
            if file.name.endswith(".safetensors")
            else self.read([file], read_shard)[0]
            for file in weights
        ]
        return bodies, headers

    def _path(self, name: str) -> Path:
        path = self._folder / name
        if not path.is_file():
            raise FileMissing(f"{self._where} has no {name}", "Was the download cut short?")
        return path

    def how_to_pick(self, pick: str) -> str:
        """The file's path: a folder has no other way."""
        return str(self._folder / pick)
