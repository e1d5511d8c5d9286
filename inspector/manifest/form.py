"""The form of a manifest: YAML in, checked entries out, and back. A manifest may come from a stranger's repo."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from inspector.api.inspection import device_specs
from inspector.api.settings import Settings
from inspector.batch.yaml_nodes import MAX_CHARACTERS, compose, entries, items_of, line_of, scalar
from inspector.errors import FileMissing, UsageError
from inspector.hub.repo_id import RepoId, is_commit, parse_model
from inspector.settings import Setting, settings_of
from inspector.version import __version__

SCHEMA = 1
MODELS_KEY = "models"
FIRST_WORDS = "# A manifest of llm-inspect"
"""By which `lock` knows a file that it may write over."""
UNKNOWN = "unknown"
"""Of a verdict that cannot be told; null means the same."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What is to be found. None, or an empty mapping: it is not checked.

    Attributes:
        parameters: exactly.
        tensor_bytes: bytes of all stored tensors.
        total: bytes of memory, by transformers' accounting.
        fits: for each of the entry's devices, as the entry names it: the verdict (None: cannot be told).
        needed: for each, the bytes that the engine needs on its fullest GPU.
    """

    parameters: int | None = None
    tensor_bytes: int | None = None
    total: int | None = None
    fits: Mapping[str, bool | None] = field(default_factory=dict)
    needed: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Entry:
    """One model of a manifest.

    Attributes:
        model: a repo ID, perhaps with a `:SELECTOR`, or a local path; without a revision.
        settings: what is asked of it, the devices among them.
        expected: what is to be found.
        revision: the branch or tag that is watched; None for the repo's main.
        commit: what the revision stood for; None where it is not pinned.
        tolerance: the share of the expected bytes that may be missing or too many: 0.01 is one per cent.
        line: of the manifest, for messages.
    """

    model: str
    settings: Settings
    expected: Expected
    revision: str | None = None
    commit: str | None = None
    tolerance: float = 0.0
    line: int = 0


def read_manifest(path: str | Path) -> list[Entry]:
    """The entries of a manifest, all checked before anything is asked of a server.

    Raises:
        FileMissing: there is no such file.
        UsageError: it is no manifest; the message names the file and the line.
    """
    name = str(path)
    try:
        with Path(path).open("rb") as file:
            data = file.read(4 * MAX_CHARACTERS + 1)
        text = data.decode("utf-8-sig")
    except FileNotFoundError:
        raise FileMissing(f"no such file: {name}", "Write one with `llm-inspect lock MODEL... -o FILE`.") from None
    except OSError as error:
        raise UsageError(f"{name} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{name}: no UTF-8 text", "A manifest is YAML, saved as UTF-8.") from None
    root = compose(name, text)
    if root is None:
        raise UsageError(f"{name} is empty", "Write one with `llm-inspect lock MODEL... -o FILE`.")
    found = []
    for node in entries(root, MODELS_KEY, name):
        try:
            found.append(_entry(node))
        except _Wrong as wrong:
            raise UsageError(f"{name}, line {wrong.line}: {wrong}", wrong.hint) from None
        except UsageError as error:
            raise UsageError(f"{name}, line {line_of(node)}: {error.message}", error.hint) from None
    if not found:
        raise UsageError(f"{name} names no models", f"Give them under `{MODELS_KEY}`.")
    return found


def write_manifest(entries: Iterable[Entry]) -> str:
    """The entries as YAML. Text stands in JSON's quotes, so that no commit is taken for a number."""
    lines = [
        f"{FIRST_WORDS} {__version__}: what these models were when it was written.",
        "# Check it with `llm-inspect verify FILE`; write it anew with `llm-inspect lock`.",
        f"schema: {SCHEMA}",
        f"{MODELS_KEY}:",
    ]
    for entry in entries:
        settings, expected = entry.settings, entry.expected
        rows: dict[str, Any] = {
            "model": entry.model,
            "revision": entry.revision,
            "commit": entry.commit,
            **{name: _written(getattr(settings, name)) for name in SETTINGS},
            "tolerance": entry.tolerance or None,
        }
        mark = "  - "
        for key, value in rows.items():
            if value is not None:
                lines.append(f"{mark}{key}: {json.dumps(value, ensure_ascii=False)}")
                mark = "    "
        lines.append("    expected:")
        for each in fields(expected):
            value = getattr(expected, each.name)
            if value is not None and value != {}:
                lines.append(f"      {each.name}: {json.dumps(value, ensure_ascii=False)}")
    return "\n".join(lines) + "\n"


class _Wrong(Exception):
    """Something in a manifest that cannot be, and its line."""

    def __init__(self, node: Any, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.line = line_of(node)
        self.hint = hint


SETTINGS = {name: each for name, each in settings_of(Settings).items() if not name.startswith("all_")}
"""A manifest's keys that are settings. Which devices it is about, it says one by one."""
_ENTRY_KEYS = ("model", "revision", "commit", *SETTINGS, "tolerance", "expected")


def _written(value: Any) -> Any:
    """A setting's value as JSON, None for one that is left out."""
    if isinstance(value, Mapping):
        return dict(value) or None
    return (list(value) or None) if isinstance(value, tuple) else value


def _read(each: Setting, node: Any) -> Any:
    """A setting's value, as the field's type has it."""
    if each.type.startswith("Mapping"):
        return {key: _plain(value) for key, value in _pairs(node, each.name)}
    if each.many:
        return _texts(node)
    if each.type.startswith("tuple[int"):
        return _wholes(node)
    if "int" in each.type:
        return _whole(node, least=int(1 if each.about.least is None else each.about.least))
    if "float" in each.type or "bool" in each.type:
        return _number(node) if "float" in each.type else _flag(node)
    return _text(node)


def _entry(node: Any) -> Entry:
    given = _mapping(node, _ENTRY_KEYS, "an entry")
    if "model" not in given:
        raise _Wrong(node, "this entry names no model", "Give `model: org/name`.")
    model, revision, commit = (_optional_text(given, key) for key in ("model", "revision", "commit"))
    if commit is not None and not is_commit(commit):
        raise _Wrong(given["commit"], "a commit is 40 hexadecimal digits", "Leave it out, or write it with `lock`.")
    target = parse_model(str(model), commit)
    if not isinstance(target, RepoId) and (revision or commit):
        raise _Wrong(node, f"{model} is a path, and a path has no revision")
    parse_model(str(model), revision)
    gpus = _texts(given["gpus"]) if "gpus" in given else ()
    if "auto" in map(str.lower, gpus):
        raise _Wrong(given["gpus"], "`auto` is another GPU on each machine", "Name the GPU, or its size: 24GiB.")
    settings = Settings(**{name: _read(each, given[name]) for name, each in SETTINGS.items() if name in given})
    device_specs(gpus)
    expected = _expected(given["expected"], gpus) if "expected" in given else Expected()
    tolerance = _tolerance(given["tolerance"]) if "tolerance" in given else 0.0
    if expected == Expected() and commit is None:
        raise _Wrong(node, f"nothing is expected of {model}", "Give a `commit`, or `expected` with `fits: true`, say.")
    return Entry(str(model), settings, expected, revision, commit, tolerance, line_of(node))


def _expected(node: Any, gpus: tuple[str, ...]) -> Expected:
    given = _mapping(node, [each.name for each in fields(Expected)], "`expected`")
    numbers = {
        key: _whole(given[key], least=0) for key in ("parameters", "tensor_bytes", "total") if not _is_null(given, key)
    }
    fits: dict[str, bool | None] = {}
    needed: dict[str, int] = {}
    if "fits" in given:
        fits = _per_gpu(given["fits"], gpus, _verdict, "fits")
    if not _is_null(given, "needed"):
        needed = _per_gpu(given["needed"], gpus, lambda each: _whole(each, least=0), "needed")
    return Expected(**numbers, fits=fits, needed=needed)


def _per_gpu(node: Any, gpus: tuple[str, ...], parse: Callable[[Any], Any], what: str) -> dict[str, Any]:
    """One value for all devices, or a mapping from some of them, as `gpus` names them, to theirs."""
    if not gpus:
        raise _Wrong(node, f"`{what}` needs `gpus`: the devices it is about")
    if items_of(node) is None:
        return dict.fromkeys(gpus, parse(node))
    return {name: parse(value) for name, value in _mapping(node, gpus, f"`{what}`").items()}


def _mapping(node: Any, known: Iterable[str], what: str) -> dict[str, Any]:
    names = list(known)
    found: dict[str, Any] = {}
    for name, value in _pairs(node, what):
        if name not in names:
            near = difflib.get_close_matches(name, names, 1)
            raise _Wrong(
                value,
                f"{what} has no key {name[:40]!r}",
                f"Did you mean {near[0]}?" if near else f"Known: {', '.join(names)}.",
            )
        if name in found:
            raise _Wrong(value, f"the key {name!r} is there twice")
        found[name] = value
    return found


def _pairs(node: Any, what: str) -> list[tuple[str, Any]]:
    items = items_of(node)
    if items is None:
        raise _Wrong(node, f"{what} is a mapping: `key: value`")
    return [(_text(name), value) for name, value in items]


def _is_null(given: Mapping[str, Any], key: str) -> bool:
    return key not in given or _plain(given[key], scalars=False) is None


def _plain(node: Any, *, scalars: bool = True) -> Any:
    """A scalar's value; of anything else (where allowed) the node."""
    try:
        return scalar(node)
    except ValueError:
        if scalars:
            raise _Wrong(node, "one value is wanted here") from None
        return node


def _text(node: Any) -> str:
    """A scalar as it is written: a commit of digits stays one."""
    _plain(node)
    text = str(node.value)
    if not text.isprintable() or len(text) > 1000:
        raise _Wrong(node, "text that can be printed is wanted here")
    return text


def _optional_text(given: Mapping[str, Any], key: str) -> str | None:
    return None if key not in given or _plain(given[key]) is None else _text(given[key])


def _texts(node: Any) -> tuple[str, ...]:
    if getattr(node, "id", "") == "sequence":
        return tuple(_text(each) for each in node.value)
    return (_text(node),)


def _whole(node: Any, least: int = 1) -> int:
    value = _plain(node)
    if type(value) is not int or not least <= value < 2**63:
        raise _Wrong(node, f"a whole number from {least} is wanted here")
    return value


def _wholes(node: Any) -> tuple[int, ...]:
    """A list of whole numbers: [1024, 768]."""
    if getattr(node, "id", "") != "sequence":
        raise _Wrong(node, "a list of whole numbers is wanted here")
    return tuple(_whole(each) for each in node.value)


def _number(node: Any) -> float:
    value = _plain(node)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _Wrong(node, "a number is wanted here")
    return value


def _flag(node: Any) -> bool:
    value = _plain(node)
    if not isinstance(value, bool):
        raise _Wrong(node, "true or false is wanted here")
    return value


def _verdict(node: Any) -> bool | None:
    value = _plain(node)
    if value is None or value == UNKNOWN:
        return None
    if not isinstance(value, bool):
        raise _Wrong(node, f"a verdict is true, false or {UNKNOWN}")
    return value


def _tolerance(node: Any) -> float:
    """A share, or one with a per cent sign."""
    value = _plain(node)
    if isinstance(value, str) and value.endswith("%"):
        try:
            value = float(value[:-1]) / 100
        except ValueError:
            value = None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise _Wrong(node, "a tolerance is a share from 0 to 1, or 1%")
    return float(value)
