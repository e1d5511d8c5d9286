"""Well-known models that come with the package, for where the Hub cannot be reached or the repo is gated."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from inspector.hub.cache.snapshot import loads
from inspector.hub.checkpoint import Checkpoint, ListedModel

INDEX = "index.json"
LIST = "list.json"
"""What `find` has to know before it reads a snapshot: parameters (all, and beside the embedding), license, task."""

_PACKAGE = Path(__file__).resolve().parents[2]
FOLDERS = (_PACKAGE / "snapshots", _PACKAGE.parent / "fixtures" / "snapshots")
"""In an installed package, and in a checkout."""


def read_bundled(repo: str, reason: str) -> Checkpoint | None:
    """The bundled snapshot of a repo, None if there is none.

    Args:
        reason: why it answers, for the note that everybody sees.
    """
    folder = _folder()
    if folder is None:
        return None
    try:
        name = _names(folder).get(repo.lower())
        if name is None:
            return None
        checkpoint = loads((folder / name).read_bytes())
    except (OSError, ValueError):  # a damaged installation has no snapshots
        return None
    note = (
        f"bundled snapshot of {checkpoint.snapshot_date or 'unknown date'}, made from published hyper-parameters:"
        f" {reason}"
    )
    return replace(checkpoint, repo_id=repo, source="bundled", revision=None, warnings=(note, *checkpoint.warnings))


def bundled_names() -> tuple[str, ...]:
    """The repo IDs of the bundled snapshots, aliases included."""
    folder = _folder()
    try:
        return tuple(json.loads((folder / INDEX).read_bytes())) if folder is not None else ()
    except (OSError, ValueError):
        return ()


def bundled_models() -> tuple[ListedModel, ...]:
    """The bundled models, each once, in the order of their IDs; those of the same config and headers say so."""
    folder = _folder()
    try:
        if folder is None:
            return ()
        files = json.loads((folder / INDEX).read_bytes())
        rows = json.loads((folder / LIST).read_bytes())["models"]
        return tuple(
            ListedModel(name, license, task, parameters=total, at_least=at_least, same_as=files[name])
            for name, total, at_least, license, task in rows
        )
    except (OSError, ValueError, KeyError):
        return ()


def _folder() -> Path | None:
    return next((folder for folder in FOLDERS if (folder / INDEX).is_file()), None)


@lru_cache(maxsize=1)
def _names(folder: Path) -> dict[str, str]:
    """File names by repo ID or alias, in lower case."""
    index = json.loads((folder / INDEX).read_bytes())
    return {repo.lower(): name for repo, name in index.items()}
