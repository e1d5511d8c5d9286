"""How an engine's launch commands are read: what each engine's command.py says of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Given = Mapping[str, str | bool]
"""Option without its dashes -> its value; True for one without."""


def is_on(given: Given, *names: str) -> bool:
    """Whether one of the flags is there, and not switched off."""
    return any(str(given[name]).lower() not in ("false", "0", "off") for name in names if name in given)


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
