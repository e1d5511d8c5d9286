"""What is read off a log: a `LoggedRun`, and the collection it is made from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

MIB, GIB = 1024**2, 1024**3

Number = int | float

MAX_VALUES = 10_000
"""Values of one part that are kept: a rank prints one."""

_SMALLEST = ("kv_pool", "kv_tokens", "kv_blocks", "max_concurrency")
"""Parts of which the rank with least decides; of all others the one with most."""


@dataclass(frozen=True, slots=True)
class Printed:
    """One part as the ranks printed it: the value of the rank that decides, and how far the others are from it."""

    value: Number
    lowest: Number
    highest: Number
    times: int


@dataclass(frozen=True, slots=True)
class LoggedRun:
    """A start as its log tells it. What the log does not say is missing.

    Attributes:
        engine: "vllm", "sglang" or "llama.cpp".
        version: as printed.
        settings: the engine's own names, and values as plain Python; "draft" is what `--draft` takes for what drafted.
        printed: part -> what was printed, in bytes; `kv_tokens`, `kv_blocks` and `max_concurrency` are counts.
        GPU: the device's name as printed.
        gpu_memory: bytes of one GPU as printed.
        notes: what the reader should know of how the log was read.
    """

    engine: str
    version: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    printed: Mapping[str, Printed] = field(default_factory=dict)
    gpu: str | None = None
    gpu_memory: int | None = None
    notes: tuple[str, ...] = ()


class Collection:
    """What one engine's lines have said so far."""

    def __init__(self, engine: str) -> None:
        self.engine = engine
        self.starts = 0
        self.forget()

    def forget(self) -> None:
        """Begin anew: the log holds another start."""
        self.version: str | None = None
        self.settings: dict[str, Any] = {}
        self.values: dict[str, list[Number]] = {}
        self.gpu: str | None = None
        self.gpu_memory: int | None = None
        self.notes: list[str] = []

    def put(self, part: str, value: Number) -> None:
        """One more value of a part."""
        values = self.values.setdefault(part, [])
        if len(values) < MAX_VALUES:
            values.append(value)

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def result(self) -> LoggedRun | None:
        """The run; None where the engine has printed none of the parts."""
        if not self.values:
            return None
        printed = {part: decided(part, values) for part, values in self.values.items()}
        notes = list(self.notes)
        if self.starts > 1:
            notes.insert(0, f"the log holds {self.starts} starts: this is the last one")
        return LoggedRun(self.engine, self.version, self.settings, printed, self.gpu, self.gpu_memory, tuple(notes))


def decided(part: str, values: list[Number]) -> Printed:
    """The rank that decides: the tightest pool, the largest of anything else."""
    choose: Callable[[list[Number]], Number] = min if part in _SMALLEST else max
    return Printed(choose(values), min(values), max(values), len(values))


def number(text: str) -> float:
    """ "188,640" -> 188640.0; 0 for what is no number ("1.2.3")."""
    try:
        return float(text.replace(",", ""))
    except ValueError:
        return 0.0


def count(text: str) -> int:
    """Digits with commas, cut to what a count can be."""
    return int(text.replace(",", "")[:18] or 0)


def gib(text: str) -> int:
    """Bytes of a number of GiB."""
    return round(number(text[:20]) * GIB)


def mib(text: str) -> int:
    """Bytes of a number of MiB."""
    return round(number(text[:20]) * MIB)


def plain(text: str) -> Any:
    """A value as Python's repr wrote it: None, True, a number, or text without its quotes.

    >>> plain("'auto'"), plain("0.9"), plain("None"), plain("torch.bfloat16")
    ('auto', 0.9, None, 'torch.bfloat16')
    """
    text = text.strip().strip("'\"").rstrip(".")
    words = {"None": None, "True": True, "False": False}
    if text in words:
        return words[text]
    if text.isascii() and text.isdigit() and len(text) < 19:
        return int(text)
    if text and text[0].isdigit() and text.count(".") == 1 and text.replace(".", "").isascii():
        try:
            return float(text)
        except ValueError:
            return text
    return text
