"""Where a model's files lie: a repo at a commit or a folder of this disk (`Place`), or a folder within one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from inspector.hub.checkpoint import File
from inspector.hub.formats.documents import Index
from inspector.hub.formats.reader import RangeReader
from inspector.hub.formats.weights import WeightsFile

T = TypeVar("T")


class Place(Protocol):
    """Where the files lie."""

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
        """Small documents, and the headers of weight files, all at the same time and of one commit.

        Raises:
            FileMissing: one is not there.
        """

    @property
    def selects_files(self) -> bool:
        """Whether a model is selected by its file, not by its quantization."""

    def how_to_select(self, selector: str) -> str:
        """What the user types for one of its models or files."""


class Folder:
    """A folder of a place, as a `Place`."""

    selects_files = False

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

    def how_to_select(self, selector: str) -> str:
        return self._place.how_to_select(self._folder + selector)

    def _outer(self, files: Sequence[File]) -> list[File]:
        return [File(self._folder + file.name, file.size) for file in files]
