"""What a trainer's keys are read as: our settings with the key they come from, defaults with their source, refusals.

A trainer is data: a `Trainer` with its table of keys, and one function for what several keys say together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

UNSET = (None, "", "null", "None")
"""Values that are as if the key were not there."""

YES, NO = ("true", "yes", "on", "1", "auto"), ("false", "no", "off", "0", "[]", "()", "{}")
"""Values of what is on or off, in lower case."""

SHOWN = 80
"""Characters of a value in a refusal."""

OFF: tuple[Any, ...] = (False, "false", "False", 0, [], {}, *UNSET)


@dataclass(frozen=True, slots=True)
class Assumed:
    """A setting that the file does not give: its value, and why."""

    setting: str
    value: Any
    why: str


@dataclass(frozen=True, slots=True)
class Read:
    """A key that was read: its value, and the setting it became."""

    key: str
    value: Any
    setting: str
    becomes: Any


@dataclass(slots=True)
class Reading:
    """One file as it is read.

    Attributes:
        values: dotted key -> value.
        objective: what the step trains for, where the caller says it; else "".
        settings: setting -> value, of TrainingSetup, Sharding, context and batch; "model" and "revision" beside.
        read / assumed: where those come from.
        unmodelled: key -> what of it is not modelled: the answer is "cannot tell".
        notes: what the reader should know.
        spread: how the GPUs work together: "zero", "fsdp" or "".
        processes: GPUs of the run; None where the file does not say.
        unnamed: what names the model's shape, where no repository of that shape is known.
        others: files that this one names, and whose answer is needed: key -> name.
        own_dtype: weights that do not train keep the dtype of the model's own files, which settings take as bf16.
        unless: of keys in `unmodelled`, the setting that makes good what they leave open, where it is given otherwise.
    """

    trainer: Trainer
    values: Mapping[str, Any]
    objective: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    read: list[Read] = field(default_factory=list)
    assumed: list[Assumed] = field(default_factory=list)
    unmodelled: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    spread: str = ""
    unnamed: str = ""
    processes: int | None = None
    others: dict[str, str] = field(default_factory=dict)
    own_dtype: bool = False
    unless: dict[str, str] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)

    def get(self, key: str, default: Any = None) -> Any:
        """A key's value, `default` where it is not there or unset; the key counts as known then."""
        self.taken.add(key)
        value = self.values.get(key)
        return default if _unset(value) else value

    def flag(self, key: str, *, default: bool = False) -> bool:
        """A key's value as yes or no; anything else is refused."""
        value = str(self.get(key, default)).strip().lower()
        if value not in (*YES, *NO):
            self.refuse(key, f"'{value[:SHOWN]}' is neither true nor false")
        return value in YES

    def whole(self, key: str, default: int) -> int:
        """A key's value as a whole number; anything else is refused."""
        value = self.get(key, default)
        try:
            if not isinstance(value, bool) and (number := int(value)) == float(value):
                return number
        except (TypeError, ValueError, OverflowError):
            pass
        self.refuse(key, f"'{str(value)[:SHOWN]}' is no whole number")
        return default

    def names(self, key: str) -> str:
        """A key's names, with commas between: it may be a list, or one text."""
        value = self.get(key, ())
        return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)

    def number(self, key: str, default: float) -> float:
        """A key's value as a number; anything else is refused."""
        return self._number(key, self.get(key, default), default)

    def _number(self, key: str, value: Any, default: float) -> float:
        try:
            return float(value)
        except (TypeError, ValueError):
            self.refuse(key, f"'{str(value)[:SHOWN]}' is no number")
            return default

    def put(self, setting: str, value: Any, key: str) -> None:
        """A setting that a key gives."""
        self.settings[setting] = value
        self.read.append(Read(key, self.values.get(key), setting, value))

    def assume(self, setting: str, value: Any, why: str = "") -> None:
        """A setting that no key gives: the trainer's default."""
        self.settings[setting] = value
        self.assumed.append(Assumed(setting, value, why or f"{self.trainer.title}'s default"))

    def take(self, setting: str, key: str, default: Any, why: str = "") -> Any:
        """A setting that has the same value as a key, or the trainer's default."""
        value = self.get(key)
        if value is None:
            self.assume(setting, default, why)
            return default
        if isinstance(default, int) and not isinstance(default, bool):
            value = self.whole(key, default)
        elif isinstance(default, float):
            value = self._number(key, value, default)
        elif isinstance(default, bool):
            value = self.flag(key)
        self.put(setting, value, key)
        return value

    def refuse(self, key: str, why: str, *, unless: str = "") -> None:
        """What a key asks for is not modelled.

        Args:
            unless: a setting with which it is, where the caller gives it.
        """
        self.taken.add(key)
        self.unmodelled[key] = why
        if unless:
            self.unless[key] = unless

    def choose(self, setting: str, key: str, choices: Mapping[str, Any], default: str) -> None:
        """A setting by a key's value, where names differ; what is not in the table is refused."""
        value = self.get(key)
        if value is None:
            self.assume(setting, choices[default])
        elif str(value).lower() in choices:
            self.put(setting, choices[str(value).lower()], key)
        else:
            self.refuse(key, f"'{str(value)[:SHOWN]}' is not known here")

    def finish(self) -> list[str]:
        """Refuse what is not modelled; the keys that nothing is known of are given back."""
        self.trainer.read(self)
        unknown = []
        for key, value in self.values.items():
            if key in self.taken or _unset(value):
                continue
            why = next((why for glob, why in self.trainer.unmodelled.items() if fnmatchcase(key, glob)), None)
            if why is not None:
                if value not in OFF:
                    self.unmodelled[key] = why
            elif not any(fnmatchcase(key, glob) or fnmatchcase(key, f"{glob}.*") for glob in self.trainer.ignored):
                unknown.append(key)
        return unknown


@dataclass(frozen=True, slots=True)
class Trainer:
    """What is known of one trainer's config.

    Attributes:
        name / title: as records and as people write it.
        as_of: the repository and commit, or release, whose keys and defaults these are.
        signs: sets of keys; a file that has all of one of them is this trainer's.
        ignored: globs of keys that memory does not depend on.
        unmodelled: glob of keys -> what of them is not modelled; set to no or nothing they are fine.
        read: makes settings of the keys that memory depends on.
        edits: our option -> the keys that say the same ({} in a value stands for the option's value;
            of --image-size {pixels} and {side}).
        beside: a file of this kind only adds to another's.
    """

    name: str
    title: str
    as_of: str
    signs: tuple[frozenset[str], ...]
    ignored: tuple[str, ...]
    unmodelled: Mapping[str, str]
    read: Callable[[Reading], None]
    edits: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    beside: bool = False

    def recognises(self, keys: Iterable[str]) -> bool:
        """Whether a file with these keys is this trainer's."""
        there = set(keys)
        return any(sign <= there for sign in self.signs)


def _unset(value: Any) -> bool:
    return value is None or (isinstance(value, str) and value.strip() in ("", "null", "None", "~"))
