"""How an engine's launch commands are read: what each engine's command.py says of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from inspector.engines.common.sizes import human_readable
from inspector.errors import UsageError

DTYPES = {"half": "fp16", "float16": "fp16", "bfloat16": "bf16", "float": "fp32", "float32": "fp32"}
"""vLLM's and SGLang's words -> ours."""

Given = Mapping[str, str | bool]
"""Option without its dashes -> its value; True for one without."""


def is_on(given: Given, *names: str) -> bool:
    """Whether one of the flags is there, and not switched off."""
    return any(str(given[name]).lower() not in ("false", "0", "off") for name in names if name in given)


def number(name: str, value: str | bool) -> int:
    """The number that an option of the command has.

    Raises:
        UsageError: it has no value, or one that is no number.
    """
    if value is True:
        raise UsageError(f"--{name} of the command has no value")
    text = str(value)
    below = text[:1] == "-" and text[1:].isascii() and text[1:].isdigit() and len(text) < 20
    found = int(text) if below else human_readable(text)
    if found is None:
        raise UsageError(f"--{name} {text[:40]!r} of the command is no number")
    return found


def number_of(given: Given, *names: str) -> int | None:
    """The number of the first of some options that is there.

    Raises:
        UsageError: as `number` does.
    """
    return next((number(name, given[name]) for name in names if name in given), None)


def dtype_of(given: Given) -> str | None:
    """The precision that `--dtype` asks for; None where the checkpoint's own counts.

    Raises:
        UsageError: there is no such precision.
    """
    asked = str(given.get("dtype", "auto"))
    if asked != "auto" and asked not in DTYPES:
        raise UsageError(f"--dtype {asked[:40]!r} of the command is none of auto, {', '.join(DTYPES)}")
    return DTYPES.get(asked)


def _nothing_more(given: Given, serving: dict[str, Any]) -> Mapping[str, Any]:
    del given, serving
    return {}


@dataclass(frozen=True)
class Commands:
    """How an engine's commands are read.

    Attributes:
        starts: the words that begin its options, one of which is in a command: ("vllm", "serve").
        images: parts of the names of container images after which its options begin.
        model: options that name what it serves; a word without dashes that comes first does, too, where `positional`.
        aliases: its option -> the field of the engine's options that it sets, where the field's own option is called
            otherwise.
        flags: options without a value, beside those of fields.
        read: (the given options, the serving options so far) -> what else they say, and the options that it read.
    """

    starts: tuple[tuple[str, ...], ...]
    images: tuple[str, ...] = ()
    model: tuple[str, ...] = ("model",)
    positional: bool = False
    aliases: Mapping[str, str] = field(default_factory=dict)
    flags: frozenset[str] = frozenset()
    read: Callable[[Given, dict[str, Any]], Mapping[str, Any]] = field(default=_nothing_more)
