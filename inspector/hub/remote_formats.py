"""A repo's PyTorch and GGUF files over the network: the repo, at one commit, as a `Place`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from inspector.errors import FileMissing, HubError, InspectError, RepoNotFound
from inspector.hub.checkpoint import File
from inspector.hub.containers import RangeReader
from inspector.hub.documents import Index
from inspector.hub.formats import read_formats
from inspector.hub.repo_files import Found, Listing, RepoFiles
from inspector.hub.repo_id import RepoId
from inspector.hub.weights import Weights
from inspector.hub.workers import Errand

T = TypeVar("T")


def read_remote_formats(
    files: RepoFiles,
    revision: str,
    config: Mapping[str, Any] | None,
    listing: Errand[Found[Listing]] | None = None,
) -> Weights:
    """The weights of a repo without safetensors, or of what was picked of it.

    Args:
        revision: the commit, where one is known.
        config: config.json, None where there is none.
        listing: the list of the commit's files, where it was asked for already.

    Raises:
        InspectError: of the kind that tells what is wrong.
    """
    place = RemotePlace(files, revision, listing, has_config=config is not None)
    return read_formats(place, config or {}, files.repo.pick)


class RemotePlace:
    """See `Place`."""

    picks_files = False

    def __init__(
        self, files: RepoFiles, revision: str, listing: Errand[Found[Listing]] | None, *, has_config: bool
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
        errands = [self._files.container(self._revision, file.name, file.size, parse) for file in files]
        found = self._files.all(errands)
        if len({answer.commit for answer in found if answer.commit}) > 1:
            raise HubError(f"{self.where} changed while it was read", "Try again.")
        values = []
        for file, each in zip(files, found, strict=True):
            if each.value is None:
                raise FileMissing(f"{self.where} has no {file.name}")
            values.append(each.value)
        return values

    def how_to_pick(self, pick: str) -> str:
        repo = self._files.repo
        return f"{RepoId(repo.name, repo.revision)}:{pick}"
