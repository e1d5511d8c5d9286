"""What is kept between runs, seen as a whole: how much it is, what goes first when it is too much, and clearing it.

Only files that `Cache` wrote are ever removed: they are where it puts them, have the names that it gives, are plain
files (no link is followed), and an answer begins with its own first words.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import stat
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from inspector.hub.cache.snapshot import FIRST_WORD, TEMPORARY_PREFIX

DAY_SECONDS = 24 * 3600.0
LEFT_OVER_SECONDS = 3600.0
"""A temporary file this old is of a run that was killed; a younger one is about to get its place."""
KEPT_SHARE = 0.8
"""Of the limit, what is left after a clean-up: the next one is not due at once."""
STAMP = ".pruned"
"""Its age tells when the folder was looked through last."""

_REPO = re.compile(r"\w[\w.-]*")
_PLACE = re.compile(r".+-[0-9a-f]{8}")
_ANSWER = re.compile(r"[0-9a-f]{40}(-[0-9a-f]{16})?\.json")
_COMMIT = re.compile(rb"[0-9a-f]{40}")
REFS = "refs"


class Kept(NamedTuple):
    """A file of the cache.

    Attributes:
        repo: the name of the repo's folder: ORG--NAME.
        used: when it was used last (seconds since 1970).
        is_answer: an answer, not a note of a revision's commit or a left-over.
    """

    path: Path
    repo: str
    bytes: int
    used: float
    is_answer: bool


class CacheInfo(NamedTuple):
    """The cache as a whole.

    Attributes:
        entries: kept answers, one a commit of a model.
        repos: models that have any.
        bytes: of all its files.
        oldest: when the answer that was not used for the longest time was used (seconds since 1970); None without any.
        limit: bytes that it may grow to, about.
    """

    folder: Path
    entries: int
    repos: int
    bytes: int
    oldest: float | None
    limit: int


def kept_names(folder: Path) -> tuple[str, ...]:
    """The repo IDs of the answers that are kept, in the order of their names."""
    return tuple(sorted({each.repo.replace("--", "/") for each in kept_files(folder) if each.is_answer}))


def hub_cache_names(hub_cache: Path) -> tuple[str, ...]:
    """The repo IDs of the models whose config huggingface_hub has downloaded, in the order of their names."""
    found = (entry.name for entry in _scan(hub_cache) if entry.name.startswith("models--"))
    named = [(name.removeprefix("models--").replace("--", "/"), hub_cache / name / "snapshots") for name in found]
    return tuple(
        sorted(
            name
            for name, commits in named
            if any((commits / each.name / "config.json").exists() for each in _scan(commits))
        )
    )


def cache_info(folder: Path, limit: int) -> CacheInfo:
    """Counts what is there; a folder that is not there has nothing."""
    kept = list(kept_files(folder))
    answers = [each for each in kept if each.is_answer]
    return CacheInfo(
        folder,
        len(answers),
        len({each.repo for each in answers}),
        sum(each.bytes for each in kept),
        min((each.used for each in answers), default=None),
        limit,
    )


def clear(folder: Path, repo: str | None = None) -> tuple[int, int]:
    """Removes what is kept, of one repo (`org/name`) or of all. Returns how many answers that were, and the bytes."""
    name = None if repo is None else repo.replace("/", "--")
    kept = (each for each in kept_files(folder) if name in (None, each.repo))
    return _remove(folder, (each for each in kept if not _is_temporary(each.path.name) or _is_left_over(each)))


def prune(folder: Path, limit: int, seconds: float = math.inf) -> tuple[int, int]:
    """Brings the cache below its limit: what was not used for the longest time goes first. Returns as `clear`.

    A note of a revision's commit goes with the last answer beside it, not before: without it a kept answer is no use.

    Args:
        seconds: that it may take, about. What is left to do is done another time.
    """
    touch(folder)
    deadline = time.monotonic() + seconds
    kept = []
    for each in kept_files(folder):
        kept.append(each)
        if time.monotonic() > deadline:
            return 0, 0  # whether it is too much is not known yet
    extra = [each for each in kept if _is_left_over(each)]
    if sum(each.bytes for each in kept) > limit:
        answers = sorted((each for each in kept if each.is_answer), key=lambda each: each.used)
        room = limit * KEPT_SHARE
        while answers and (room := room - answers[-1].bytes) >= 0:
            answers.pop()  # stays; the ones before it were used longer ago
        going = {each.path for each in answers}
        staying = {each.path.parent for each in kept if each.is_answer and each.path not in going}
        notes = [each for each in kept if not each.is_answer and not _is_temporary(each.path.name)]
        extra += answers + [each for each in notes if each.path.parent.parent not in staying]
    return _remove(folder, extra, deadline)


def is_due(folder: Path) -> bool:
    """Whether nobody has looked through the cache for a day."""
    try:
        return time.time() - (folder / STAMP).stat().st_mtime > DAY_SECONDS
    except OSError:
        return True


def touch(folder: Path) -> None:
    """Notes that somebody looks through it now."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder / STAMP, os.O_WRONLY | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
        os.close(descriptor)
        os.utime(folder / STAMP)


def kept_files(folder: Path) -> Iterator[Kept]:
    """The cache's own files, and nothing else that may lie there."""
    for repo in _folders(folder, _REPO):
        for place in _folders(repo, _PLACE):
            yield from _files(place, repo.name, answers=True)
            for refs in _folders(place, re.compile(REFS)):
                yield from _files(refs, repo.name, answers=False)


def _files(folder: Path, repo: str, *, answers: bool) -> Iterator[Kept]:
    for entry in _scan(folder):
        try:
            status = entry.stat(follow_symlinks=False)
        except OSError:
            continue  # another run has removed it
        is_answer = answers and _ANSWER.fullmatch(entry.name) is not None
        if stat.S_ISREG(status.st_mode) and (_is_temporary(entry.name) or is_answer or not answers):
            yield Kept(Path(entry.path), repo, status.st_size, status.st_mtime, is_answer)


def _folders(folder: Path, names: re.Pattern[str]) -> Iterator[Path]:
    for entry in _scan(folder):
        with contextlib.suppress(OSError):
            if names.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False):
                yield Path(entry.path)


def _scan(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return list(found)
    except OSError:
        return []


def _remove(folder: Path, files: Iterable[Kept], deadline: float = math.inf) -> tuple[int, int]:
    answers = size = 0
    emptied = set()
    for each in files:
        if time.monotonic() > deadline:
            break
        if not _is_ours(each):
            continue
        try:
            each.path.unlink()
        except OSError:
            continue
        answers += each.is_answer
        size += each.bytes
        emptied.add(each.path.parent)
    for place in sorted(emptied, key=lambda path: len(path.parts), reverse=True):
        parent = place
        while parent != folder:
            try:
                parent.rmdir()  # of an empty folder alone
            except OSError:
                break
            parent = parent.parent
    return answers, size


def _is_ours(kept: Kept) -> bool:
    """Whether a file begins as those of the cache do. What is left of a killed run's file may be empty."""
    if _is_temporary(kept.path.name):
        return True
    try:
        with kept.path.open("rb") as file:
            begin = file.read(64)
    except OSError:
        return False
    return begin.startswith(FIRST_WORD.encode()) if kept.is_answer else _COMMIT.fullmatch(begin.strip()) is not None


def _is_temporary(name: str) -> bool:
    return name.startswith(TEMPORARY_PREFIX)


def _is_left_over(kept: Kept) -> bool:
    return _is_temporary(kept.path.name) and time.time() - kept.used > LEFT_OVER_SECONDS
