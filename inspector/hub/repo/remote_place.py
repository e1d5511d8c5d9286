"""A repo at one commit as a `Place`: what its list of files shows, read over the network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from inspector.errors import FileMissing, HubError, InspectError, RepoNotFound
from inspector.hub.checkpoint import File, Weights
from inspector.hub.client.workers import Task
from inspector.hub.formats.documents import INDEX_FILE, Index
from inspector.hub.formats.modules import read_modules
from inspector.hub.formats.parts import instead_of
from inspector.hub.formats.reader import RangeReader
from inspector.hub.formats.registry import header_of
from inspector.hub.formats.weights import WeightsFile
from inspector.hub.repo.files import Found, Listing, RepoFiles
from inspector.hub.repo.selectors import read_formats
from inspector.hub.repo_id import RepoId

T = TypeVar("T")


def read_remote_formats(
    files: RepoFiles,
    revision: str,
    config: Mapping[str, Any] | None,
    listing: Task[Found[Listing]] | None = None,
) -> Weights:
    """The weights of a repo without safetensors, or of what was selected of it.

    Args:
        revision: the commit, where one is known.
        config: config.json, None where there is none.
        listing: the list of the commit's files, where it was asked for already.

    Raises:
        InspectError: of the kind that tells what is wrong.
    """
    place = RemotePlace(files, revision, listing, has_config=config is not None)
    return read_formats(place, config, files.repo.selector)


def read_remote_modules(
    files: RepoFiles, revision: str, config: Mapping[str, Any] | None, listing: Listing, root: Weights
) -> Weights | None:
    """The weights of a sentence-transformers model whose root was read already; None where nothing else holds weights.

    Raises:
        InspectError: of the kind that tells what is wrong.
    """
    place = RemotePlace(files, revision, None, has_config=config is not None)
    return read_modules(place, {file.name: file for file in listing.files}, config, root)


def instead_of_missing(files: RepoFiles, index: Index, missing: str, listing: Task[Found[Listing]]) -> Index:
    """What to read where a shard that the index names is not there: a whole set that the list of files shows.

    Raises:
        FileMissing: there is none, or no list.
    """
    instead = None
    for done in files.as_done(listing):
        listed = None if done.error is not None else done.result.value
        if listed is not None:
            instead = instead_of(index, missing, [file.name for file in listed.files], INDEX_FILE)
    if instead is None:
        raise FileMissing(
            f"{files.repo} has no {missing}, which its index names", "The upload may be under way or incomplete."
        )
    return instead


class RemotePlace:
    """See `Place`."""

    selects_files = False

    def __init__(
        self, files: RepoFiles, revision: str, listing: Task[Found[Listing]] | None, *, has_config: bool
    ) -> None:
        self._files = files
        self._revision = revision
        self._listing = listing
        self._has_config = has_config

    @property
    def where(self) -> str:
        return str(self._files.repo)

    def files(self) -> tuple[File, ...] | None:
        try:
            listing = self._files.one(self._listing or self._files.listing(self._revision)).value
        except RepoNotFound:
            if not self._has_config:
                raise
            return None
        except InspectError:  # a mirror without lists
            return None
        return None if listing is None else listing.files

    def index(self, name: str) -> Index | None:
        return self._files.one(self._files.index(self._revision, name)).value

    def read(self, files: Sequence[File], parse: Callable[[RangeReader, str], T]) -> list[T]:
        tasks = [self._files.container(self._revision, file.name, file.size, parse) for file in files]
        found = self._files.all(tasks)
        self._check_commit(found)
        values = []
        for file, each in zip(files, found, strict=True):
            if each.value is None:
                raise FileMissing(f"{self.where} has no {file.name}")
            values.append(each.value)
        return values

    def gather(self, documents: Sequence[str], weights: Sequence[File]) -> tuple[list[bytes], list[WeightsFile]]:
        bodies = [self._files.document(self._revision, name) for name in documents]
        headers: list[Task[Any]] = [
            self._files.header(self._revision, file.name)
            if file.name.endswith(".safetensors")
            else self._files.container(self._revision, file.name, file.size, partial(header_of, name=file.name))
            for file in weights
        ]
        found: list[Found[Any]] = self._files.all([*bodies, *headers])
        self._check_commit(found)
        for name, each in zip([*documents, *(file.name for file in weights)], found, strict=True):
            if each.value is None:
                raise FileMissing(f"{self.where} has no {name}", "The upload may be under way or incomplete.")
        values: list[Any] = [each.value for each in found]
        return values[: len(documents)], values[len(documents) :]

    def how_to_select(self, selector: str) -> str:
        repo = self._files.repo
        return f"{RepoId(repo.name, repo.revision)}:{selector}"

    def _check_commit(self, found: Sequence[Found[Any]]) -> None:
        if len({answer.commit for answer in found if answer.commit}) > 1:
            raise HubError(f"{self.where} changed while it was read", "Try again.")
