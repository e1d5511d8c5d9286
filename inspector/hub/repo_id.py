"""What the user typed, told apart: a repo on the Hub with its revision, or a path on this machine."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

from inspector.errors import UsageError

DEFAULT_REVISION = "main"
MAX_PART_CHARACTERS = 96
"""The Hub's limit for a name."""
MAX_REVISION_CHARACTERS = 256
"""Longer than any branch name in use; keeps a URL and a cache file's name within limits."""

_PART = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_])?")
_REVISION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./+@#=-]*")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SELECTOR = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+ ()/-]*")


class RepoId(NamedTuple):
    """A repo on the Hub: `org/name` (or an old single name), and a branch, tag, commit or ref of it.

    Attributes:
        selector: one of the models that the repo holds: a GGUF quantization ("Q4_K_M"), a variant ("fp16"), a folder
            or a file; None for the repo's own.
    """

    name: str
    revision: str = DEFAULT_REVISION
    selector: str | None = None

    @property
    def is_commit(self) -> bool:
        """Whether the revision is a full commit, which never moves."""
        return is_commit(self.revision)

    @property
    def selected_name(self) -> str:
        """The name, and what was selected: `org/name:Q4_K_M`."""
        return self.name if self.selector is None else f"{self.name}:{self.selector}"

    def __str__(self) -> str:
        return self.name if self.revision == DEFAULT_REVISION else f"{self.name}@{self.revision}"


class LocalPath(NamedTuple):
    """A folder or file on this machine, and how the user wrote it."""

    path: Path
    given: str


def is_commit(text: object) -> bool:
    """Whether this is a full commit as the Hub names it: 40 hexadecimal digits."""
    return isinstance(text, str) and _COMMIT.fullmatch(text) is not None


def model_text(model: str | os.PathLike[str]) -> str:
    """A model's name as text: a path object is a path, also where a text of the same letters would be a repo ID."""
    if isinstance(model, str):
        return model
    text = os.fspath(model)
    return text if _is_path(text) else f"./{text}"


def parse_model(model: str | os.PathLike[str], revision: str | None = None) -> RepoId | LocalPath:
    """A repo ID (`org/name`, `org/name@revision`, `gpt2`), its address (`https://huggingface.co/org/name`, `hf.co/...`,
    `hf://...`) or a path (what exists, or starts as only paths do).

    `:SELECTOR` after a repo ID (and its revision) names one of the models that it holds, as llama.cpp and Ollama write
    it: a GGUF quantization, a variant, a folder or a file.

    Raises:
        UsageError: it is neither, or names two revisions.
    """
    model = model_text(model).strip()
    if not model or not model.isprintable():
        raise UsageError(f"{model!r} names no model", "Give a repo ID such as org/name, or a local folder.")
    if _is_path(model) or (revision is None and os.path.exists(model)):  # noqa: PTH110  (Path refuses some strings)
        if revision is not None:
            raise UsageError(f"{model} is a path, and a path has no revision", "Leave out --revision.")
        return LocalPath(_expanded(model), model)
    return _parse(model, revision)


def parse_repo(name: str, revision: str | None = None) -> RepoId:
    """A repo ID that somebody else wrote: never a path, and nothing selected of it.

    Raises:
        UsageError: it is none.
    """
    if not name.isprintable() or _is_path(name) or ":" in name or "@" in name:
        raise UsageError(f"{name[:100]!r} is no repo ID")
    return _parse(name, revision)


def _parse(model: str, revision: str | None) -> RepoId:
    own_revision: str | None
    selector: str | None
    if "/" in model and ("://" in model or model.count("/") > 1 or "." in model.partition("/")[0]):
        from inspector.hub.address import is_address, read_address

        if is_address(model):
            return _checked(model, revision, *read_address(model))
    repo, colon, selector = model.partition(":")
    name, at, own_revision = repo.partition("@")
    if name.count("/") == 2 and not name.startswith("/"):
        name = name.removesuffix("/")
    return _checked(model, revision, name, own_revision if at else None, selector if colon else None)


def _checked(model: str, revision: str | None, name: str, own_revision: str | None, selector: str | None) -> RepoId:
    """What `model` names, of which `revision` stands beside it."""
    if own_revision is not None and revision is not None and own_revision != revision:
        raise UsageError(f"{model} and --revision {revision} name two revisions", "Leave one out.")
    _check_name(model, name)
    wanted = next(each for each in (own_revision, revision, DEFAULT_REVISION) if each is not None)
    _check_revision(wanted)
    if selector is not None:
        _check_selector(model, selector)
    return RepoId(name, wanted, selector)


def _is_path(model: str) -> bool:
    return model in (".", "..") or model.startswith(("./", "../", "/", "~")) or "\\" in model


def _expanded(model: str) -> Path:
    try:
        return Path(model).expanduser()
    except RuntimeError:  # an unknown user's home
        return Path(model)


def _check_name(model: str, name: str) -> None:
    parts = name.split("/")
    if (
        len(parts) <= 2
        and all(len(part) <= MAX_PART_CHARACTERS and _PART.fullmatch(part) for part in parts)
        and ".." not in name
        and "--" not in name
        and not name.endswith(".git")
    ):
        return
    hint = "A repo ID looks like org/name; a local folder like ./name."
    raise UsageError(f"{model!r} is neither a repo ID nor a path that exists", hint)


def _check_selector(model: str, selector: str) -> None:
    if (
        len(selector) <= MAX_REVISION_CHARACTERS
        and ".." not in selector
        and "//" not in selector
        and _SELECTOR.fullmatch(selector)
    ):
        return
    if "@" in selector:
        raise UsageError(f"{model!r} names its revision too late", "Write org/name@revision:QUANT.")
    raise UsageError(
        f"{selector!r} names no file, folder, variant or quantization",
        "Write org/name:Q4_K_M (a GGUF quantization), org/name:fp16, org/name:FOLDER or org/name:FILE.",
    )


def _check_revision(revision: str) -> None:
    if len(revision) > MAX_REVISION_CHARACTERS or ".." in revision or not _REVISION.fullmatch(revision):
        raise UsageError(f"{revision!r} is no revision", "A revision is a branch, a tag, a commit or refs/pr/N.")
