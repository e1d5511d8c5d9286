"""Changes of a config, as `--set KEY=VALUE` writes them: read, checked against what the config knows, and made."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from inspector.errors import UsageError

MAX_TEXT = 10_000
_COUNT = re.compile(r"(\d{1,12})([km])", re.IGNORECASE)


class Change(NamedTuple):
    """A key of a config, dotted within its parts ("text_config.hidden_size"), and its new value, as JSON has it."""

    key: str
    value: Any

    @property
    def path(self) -> list[str]:
        """The parts' names, and the key's last one."""
        return self.key.split(".")

    @property
    def text(self) -> str:
        """As `--set` takes it."""
        return f"{self.key}={json.dumps(self.value)}"


def read_changes(given: Iterable[str] | Mapping[str, Any]) -> tuple[Change, ...]:
    """The changes that texts (`num_hidden_layers=40`) or a mapping ask for; of a key that is there twice the last.

    A value is JSON; where it is none it is text, and 32k is 32,768.

    Raises:
        UsageError: no `KEY=VALUE`, or no value that JSON has.
    """
    if isinstance(given, Mapping):
        try:
            pairs = [(key, json.loads(json.dumps(value, allow_nan=False))) for key, value in given.items()]
        except (TypeError, ValueError):
            raise UsageError("set takes values that JSON has", "Numbers, text, lists, True, False and None.") from None
    else:
        pairs = [_read(text) for text in given]
    for key, _ in pairs:
        if not isinstance(key, str) or not all(part.isidentifier() for part in key.split(".")) or len(key) > 200:
            raise UsageError(f"{str(key)[:80]!r} is no key of a config", "Write --set num_hidden_layers=40.")
    return tuple(Change(key, value) for key, value in dict(pairs).items())


def _read(text: str) -> tuple[str, Any]:
    key, found, value = text.partition("=")
    if not found:
        raise UsageError(f"'{text[:80]}' changes nothing", "Write --set KEY=VALUE: --set num_hidden_layers=40.")
    value = value.strip()
    count = _COUNT.fullmatch(value)
    if count:
        return key.strip(), int(count[1]) * (1024 if count[2].lower() == "k" else 1024**2)
    try:
        read = json.loads(value) if len(value) <= MAX_TEXT else value
    except (ValueError, RecursionError):
        read = value
    return key.strip(), value if isinstance(read, float) and not -1e300 < read < 1e300 else read


def changed(config: Mapping[str, Any], changes: Iterable[Change]) -> dict[str, Any]:
    """The config with the changes made; parts that it lacks are begun.

    Raises:
        UsageError: a key within what is no part.
    """
    made: dict[str, Any] = copy.deepcopy(dict(config))
    for change in changes:
        target = made
        *parts, key = change.path
        for part in parts:
            inner = target.setdefault(part, {})
            if not isinstance(inner, dict):
                raise UsageError(
                    f"{part} of the config is no part of it that has keys", f"--set {change.key} cannot be."
                )
            target = inner
        target[key] = change.value
    return made
