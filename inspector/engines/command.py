"""A server's launch command as people paste it: `vllm serve MODEL -tp 2 ...`, as the settings of an account.

Each engine's folder has a command.py that says how its own are read. What starts one is looked for anywhere in the
words, so that variables, `docker run ... IMAGE` and `python3 -m` may stand before it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from inspector.engines.common.commands import Commands, number
from inspector.engines.engine import Engine
from inspector.engines.registry import engines
from inspector.errors import UsageError
from inspector.settings import Setting, settings_of

MOST_WORDS = 1000


_OPERATOR = re.compile(r"[();<>|&]+")
_SUBSTITUTED = ("$(", "`")
_TAG = re.compile(r":(?:\S*?\bv?(\d+\.\d+(?:\.\d+)?)|\S*-(b\d{3,6}))(?![\d.])")
"""A container image's tag: v0.21.0, v0.5.9-cu129, server-cuda-b9525."""


class _Start(NamedTuple):
    """The words after those that start an engine, and its release where an image's tag names one."""

    words: list[str]
    version: str | None = None


class Pasted(NamedTuple):
    """A command, read.

    Attributes:
        engine: the name of the engine that it starts.
        model: what it serves.
        settings: of the library, by their fields' names ("context", "dtype", "batch", "images").
        serving: the engine's own options, by their fields' names.
        files: "draft" and "mmproj".
        ignored: its options that are taken to take no memory, as they were written.
        whole_length: it leaves the length of a request to the model's own maximum.
    """

    engine: str
    model: str
    settings: Mapping[str, Any]
    serving: Mapping[str, Any]
    files: Mapping[str, str]
    ignored: tuple[str, ...] = ()
    whole_length: bool = False


def is_command(text: str) -> bool:
    """Whether a text may be a command: it has several words."""
    return len(text.split()) > 1


def read_command(text: str) -> Pasted:
    """What a command says.

    Raises:
        UsageError: it starts no engine that is known here, names no model, or has a value that cannot be read.
    """
    words = _words(text)
    for engine in engines():
        commands = engine.commands()
        rest = None if commands is None else _after(words, commands)
        if commands is not None and rest is not None:
            return _read(engine, commands, rest)
    known = ", ".join(" ".join(each.starts[0]) for engine in engines() if (each := engine.commands()))
    raise UsageError(f"{text[:60]!r} is neither a model nor a command that is known here", f"Commands: {known}.")


def _words(text: str) -> list[str]:
    reader = shlex.shlex(text.replace("\\\r\n", " ").replace("\\\n", " "), posix=True, punctuation_chars=True)
    reader.whitespace_split = True
    try:
        words = list(reader)
    except ValueError as error:
        raise UsageError(f"the command cannot be read: {error}") from None
    for word in words:
        if _OPERATOR.fullmatch(word) or any(each in word for each in _SUBSTITUTED):
            raise UsageError(f"{word[:20]!r} is a shell's: one command is read here", "Give that of the server alone.")
    if len(words) > MOST_WORDS:
        raise UsageError(f"the command has more than {MOST_WORDS} words")
    return words


def _after(words: Sequence[str], commands: Commands) -> _Start | None:
    """What follows the words that start the engine; None where nothing starts it."""
    contained = bool(words) and words[0] in ("docker", "podman", "nerdctl", "sudo")
    image = next((word for word in words if contained and any(each in word for each in commands.images)), "")
    tag = _TAG.search(image)
    version = (tag[1] or tag[2]) if tag else None
    names = [word.rpartition("/")[2] if "/" in word and not word.startswith("-") else word for word in words]
    for start in commands.starts:
        for index in range(len(words) - len(start) + 1):
            if tuple(names[index : index + len(start)]) == start:
                return _Start(list(words[index + len(start) :]), version)
    return _Start(list(words[list(words).index(image) + 1 :]), version) if image else None


def _read(engine: Engine, commands: Commands, start: _Start) -> Pasted:
    own = settings_of(engine.options)
    fields = {option.about.option.lstrip("-"): name for name, option in own.items() if option.about.option}
    fields |= commands.aliases
    flags = {name for name, at in fields.items() if at in own and own[at].type == "bool"} | commands.flags
    given, first = _given(start.words, flags)
    serving: dict[str, Any] = {} if start.version is None or "version" not in own else {"version": start.version}
    for name, value in given.items():
        at = fields.get(name, "")
        if at in own:
            serving[at] = _value(own[at], name, value)
    found = dict(commands.read(given, serving))
    read = {*found.pop("read", ()), *(name for name in given if fields.get(name) in own), *commands.model}
    model = found.pop("model", None) or next((given[name] for name in commands.model if name in given), None)
    model = model or (first if commands.positional else None)
    if not isinstance(model, str):
        raise UsageError(f"the command of {engine.title} names no model")
    files: dict[str, str] = {name: found.pop(name) for name in ("draft", "mmproj") if name in found}
    whole = "context" not in found
    ignored = tuple(f"--{name}" if len(name) > 3 else f"-{name}" for name in given if name not in read)
    return Pasted(engine.name, model, found, serving, files, ignored, whole)


def _given(words: Sequence[str], flags: set[str]) -> tuple[dict[str, str | bool], str | None]:
    """The options, and the first word that is neither one nor the value of one."""
    given: dict[str, str | bool] = {}
    first = None
    index = 0
    while index < len(words):
        word, index = words[index], index + 1
        if not _is_option(word):
            first = first or word
            continue
        name, equals, value = word.lstrip("-").partition("=")
        name = name.replace("_", "-")
        if equals:
            given[name] = value
        elif name not in flags and index < len(words) and not _is_option(words[index]):
            given[name], index = words[index], index + 1
        else:
            given[name] = True
    return given, first


def _is_option(word: str) -> bool:
    return word.startswith("-") and len(word) > 1 and not word[1].isdigit()


def _value(setting: Setting, name: str, value: str | bool) -> Any:
    """A value of the setting's type.

    Raises:
        UsageError: it is none.
    """
    if setting.type == "bool":
        return value is True or str(value).lower() not in ("false", "0", "off")
    if value is True:
        raise UsageError(f"--{name} of the command has no value")
    text = str(value)
    if setting.type.startswith("int"):
        return number(name, value)
    if setting.type.startswith("float"):
        try:
            return float(text)
        except ValueError:
            raise UsageError(f"--{name} {text[:40]!r} of the command is no number") from None
    return text
