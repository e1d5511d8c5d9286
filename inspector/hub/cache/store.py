"""Answers kept between runs, one file a commit: below huggingface_hub's assets cache, the user's alone.

About `LLM_INSPECT_CACHE_SIZE` bytes at most (512 MB where it is not set): what was not used for the longest time goes.

assets/llm-inspect/ORG--NAME/HOST/COMMIT.json       a line with the checksum of the rest, and the snapshot
assets/llm-inspect/ORG--NAME/HOST/COMMIT-SELECTOR.json  the same of one of its GGUF models or files
assets/llm-inspect/ORG--NAME/HOST/refs/REVISION     the commit that a revision stood for last
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote, urlsplit

from inspector.errors import UsageError
from inspector.hub.cache.snapshot import FIRST_WORD, SCHEMA, TEMPORARY_PREFIX, decode, encode
from inspector.hub.checkpoint import Checkpoint
from inspector.hub.repo_id import RepoId, is_commit

MAGIC = f"{FIRST_WORD}{SCHEMA} sha256"
"""Begins the first line. Another version of the form is another schema, and is fetched again."""
SIZE_VARIABLE = "LLM_INSPECT_CACHE_SIZE"
DEFAULT_LIMIT = 512_000_000
WRITE_ATTEMPTS = 10
PRUNE_SHARE = 16
"""The cache is looked through once a run has written this part of its limit, and by the first that writes in a day."""
DAILY_SECONDS = 0.3


class Cache:
    """The kept answers of one endpoint. What cannot be read or written is as if it were not there."""

    def __init__(self, folder: Path, endpoint: str) -> None:
        self._folder = folder
        self._endpoint = endpoint
        self._limit = cache_limit()
        self._written = 0
        self._looked = False
        self._pruning: threading.Thread | None = None

    def load(self, repo: RepoId, commit: str) -> Checkpoint | None:
        """The kept answer, None if there is none or it is damaged."""
        try:
            path = self._answer(repo, commit)
            head, _, payload = path.read_bytes().partition(b"\n")
            if head.decode("ascii") != f"{MAGIC} {hashlib.sha256(payload).hexdigest()}":
                return None
            data = json.loads(payload)
            if data["endpoint"] != self._endpoint or data["repo"] != repo.selected_name or data["commit"] != commit:
                return None
            checkpoint = decode(data["checkpoint"])
            if checkpoint.revision != commit:
                return None
            with contextlib.suppress(OSError):
                os.utime(path)  # it was used
            return replace(checkpoint, source="cache")
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None

    def store(self, repo: RepoId, checkpoint: Checkpoint) -> str | None:
        """Keeps an answer that has a commit. Returns why it could not be kept, None if it was."""
        commit = checkpoint.revision
        if commit is None or self._limit == 0:
            return None
        try:
            data = {
                "endpoint": self._endpoint,
                "repo": repo.selected_name,
                "commit": commit,
                "checkpoint": encode(checkpoint),
            }
            payload = json.dumps(data, separators=(",", ":")).encode("ascii")
            head = f"{MAGIC} {hashlib.sha256(payload).hexdigest()}\n".encode("ascii")
            self._write(self._answer(repo, commit), head + payload)
            self.remember(repo, commit)
            self._prune_when_due(len(head) + len(payload))
        except OSError as error:
            return f"the answer could not be kept for the next run ({error.strerror or type(error).__name__})"
        except (ValueError, RecursionError):
            return None  # a checkpoint that has no such form (two tensors of one name, say) is fetched each time
        return None

    def remember(self, repo: RepoId, commit: str) -> None:
        """Notes what the revision stands for now. A note that cannot be written costs the next run a question."""
        if repo.is_commit or self.commit(repo) == commit:
            return
        with contextlib.suppress(OSError):
            self._write(self._ref(repo), commit.encode("ascii"))

    def commit(self, repo: RepoId) -> str | None:
        """The commit that the repo's revision stood for last, None if it was never asked for."""
        if repo.is_commit:
            return repo.revision
        try:
            text = self._ref(repo).read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            return None
        return text if is_commit(text) else None

    def _place(self, repo: RepoId) -> Path:
        parts = urlsplit(self._endpoint)
        digest = hashlib.sha256(self._endpoint.encode()).hexdigest()[:8]
        return self._folder / repo.name.replace("/", "--") / f"{parts.hostname}-{digest}"

    def _answer(self, repo: RepoId, commit: str) -> Path:
        selector = "" if repo.selector is None else "-" + hashlib.sha256(repo.selector.encode()).hexdigest()[:16]
        return self._place(repo) / f"{commit}{selector}.json"

    def _ref(self, repo: RepoId) -> Path:
        return self._place(repo) / "refs" / quote(repo.revision, safe="")

    def _write(self, path: Path, data: bytes) -> None:
        """Writes all of a file or nothing: next to it first, then in its place."""
        import tempfile  # once the answer is there, not before it is asked for

        for attempt in range(WRITE_ATTEMPTS):
            try:
                self._make_private(path.parent)
                descriptor, temporary = tempfile.mkstemp(prefix=TEMPORARY_PREFIX, dir=path.parent)  # mode 0600
                break
            except FileNotFoundError:  # another run has removed the folder, which was empty, between the two
                if attempt == WRITE_ATTEMPTS - 1:
                    raise
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise

    def _prune_when_due(self, size: int) -> None:
        """Keeps the cache within its limit, without a look at all of it each time.

        A run that writes much does it beside its work. One that writes a little does it once a day, and not for long.
        """
        self._written += size
        first, self._looked = not self._looked, True
        busy = self._pruning is not None and self._pruning.is_alive()
        if self._written >= self._limit / PRUNE_SHARE and not busy:
            from inspector.hub.cache.upkeep import prune

            self._written = 0
            self._pruning = threading.Thread(
                target=prune, args=(self._folder, self._limit), name="llm-inspect-cache", daemon=True
            )
            self._pruning.start()
        elif first:
            from inspector.hub.cache.upkeep import is_due, prune

            if is_due(self._folder):
                prune(self._folder, self._limit, DAILY_SECONDS)

    def _make_private(self, folder: Path) -> None:
        """Makes the folder and those above it up to the cache's own, for the user alone."""
        if folder.is_dir():
            return
        if folder != self._folder:
            self._make_private(folder.parent)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def cache_limit() -> int:
    """Bytes that the cache may take: LLM_INSPECT_CACHE_SIZE (a number, or one with KB, MB, GB, MiB, ...; 0: keep none).

    Raises:
        UsageError: it is no size.
    """
    text = os.environ.get(SIZE_VARIABLE)
    if text is None or not text.strip():
        return DEFAULT_LIMIT
    import re

    match = re.fullmatch(r"(\d{1,15})\s*(?:([kmgt])(i?)b|b)?", text.strip(), re.IGNORECASE)
    if match is None:
        raise UsageError(f"{SIZE_VARIABLE} is no size: {text[:40]!r}", "Write 512MB, 2GiB or a number of bytes.")
    power = 0 if match[2] is None else "kmgt".index(match[2].lower()) + 1
    return int(match[1]) * int((1024 if match[3] else 1000) ** power)


def has_hub_cache(hub_cache: Path, repo: RepoId) -> bool:
    """Whether huggingface_hub has downloaded anything of a repo."""
    return (hub_cache / ("models--" + repo.name.replace("/", "--")) / "snapshots").is_dir()
