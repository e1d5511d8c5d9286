"""A model's address as people copy it, from a browser or a script, read as a repo ID."""

from __future__ import annotations

import os
import re
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from inspector.errors import UsageError

HOSTS = ("huggingface.co", "www.huggingface.co", "hf.co", "hf-mirror.com")
"""Whose paths are the Hub's; so are those of HF_ENDPOINT."""

_NO_SCHEME = re.compile(rf"({'|'.join(map(re.escape, HOSTS))})/.", re.IGNORECASE)
_PAGES = {"tree", "blob", "resolve", "raw", "blame", "commits", "commit", "edit", "revision"}
"""What stands before a revision in an address."""

_OTHER_KINDS = {"datasets": "a dataset", "spaces": "a Space", "buckets": "a bucket"}
_SITE = {
    "api", "blog", "chat", "collections", "docs", "enterprise", "inference", "join", "learn", "login", "models",
    "new", "organizations", "papers", "posts", "pricing", "search", "settings", "storage", "tasks",
}  # fmt: skip
"""First parts of paths that are the site's own, never a model's owner."""

_PART_OF_A_SET = re.compile(r"-\d{5}-of-\d{5}\.")
_WEIGHTS = (".safetensors", ".gguf", ".bin", ".pt", ".pth")


class Address(NamedTuple):
    """A repo ID in three pieces: `org/name`, its revision and what is selected of it, None where not said."""

    name: str
    revision: str | None
    selector: str | None


def is_address(text: str) -> bool:
    """Whether this is written as an address is: with a scheme, or with a host of the Hub."""
    return "://" in text or _NO_SCHEME.match(text) is not None


def read_address(text: str) -> Address:
    """The model of `https://huggingface.co/org/name/tree/REV`, `hf.co/org/name:Q4_K_M`, `hf://org/name@REV/FILE`, ...

    A file of weights is selected, unless it is one of a set; any other file stands for its repo.

    Raises:
        UsageError: it is no model's address.
    """
    scheme, found, rest = text.partition("://")
    if scheme.lower() == "hf" and found:
        return _of_path(text, rest.removeprefix("models/"))
    try:
        split = urlsplit(text if found else f"https://{text}")
        ours = urlsplit(os.environ.get("HF_ENDPOINT", ""))
    except ValueError:
        raise _no_model(text) from None
    path = split.path.strip("/")
    if ours.netloc and split.netloc.lower() == ours.netloc.lower():
        path = path.removeprefix(ours.path.strip("/")).strip("/")
    elif split.scheme not in ("http", "https") or split.hostname not in HOSTS:
        raise _no_model(text)
    return _of_path(text, path.removeprefix("api/models/"))


def _of_path(text: str, path: str) -> Address:
    parts = [part for part in path.split("/") if part]
    if not parts or parts[0] in _SITE:
        raise _no_model(text)
    if parts[0] in _OTHER_KINDS:
        raise UsageError(f"{text[:200]!r} is {_OTHER_KINDS[parts[0]]}, not a model", "Give a model: org/name.")
    size = 1 if len(parts) == 1 or parts[1] in _PAGES else 2
    name, at, revision = "/".join(parts[:size]).partition("@")
    name, colon, selector = name.partition(":")
    if at:
        revision, colon, selector = revision.partition(":")
    rest = parts[size:]
    page = rest[0] if rest and rest[0] in _PAGES else ""
    if page:
        # A branch with a slash is not told from a folder; the Hub's own refs are.
        many = 3 if rest[1:2] == ["refs"] else 1
        revision, at, rest = unquote("/".join(rest[1 : 1 + many])), "@", rest[1 + many :]
    elif not text.lower().startswith("hf://"):
        rest = []  # discussions, settings: another page about the same repo
    if rest and not colon:
        selector = _selected(unquote("/".join(rest)), is_folder=page == "tree")
    return Address(unquote(name), (revision or None) if at else None, selector or None)


def _selected(path: str, *, is_folder: bool) -> str:
    is_weights = path.lower().endswith(_WEIGHTS) and not _PART_OF_A_SET.search(path)
    return path if is_folder or is_weights else path.rpartition("/")[0]


def _no_model(text: str) -> UsageError:
    return UsageError(f"{text[:200]!r} is no model's address on the Hub", "Give a repo ID such as org/name.")
