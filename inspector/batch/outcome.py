"""What a record comes to in a word, and which exit code that is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from inspector.errors import HubError, InspectError

Record = dict[str, Any]
"""The JSON object of one model, or of its error."""

OK = "ok"
FITS = "fits"
DOES_NOT_FIT = "does_not_fit"
CANNOT_TELL = "cannot_tell"
INTERNAL_ERROR = "internal_error"
VERDICTS = {OK: 0, FITS: 0, DOES_NOT_FIT: 1, CANNOT_TELL: 4}
"""Outcomes of models that could be read, in the order of the summary, and their exit codes (those of `fit`)."""
_OF_SEVERAL = {FITS: "fit", DOES_NOT_FIT: "do not fit"}


def outcome_of(record: Record) -> str:
    """The verdict over all devices that were asked for ("ok" without any), or the kind of the error."""
    if "error" in record:
        return str(record["error"]["kind"])
    verdicts = [fit["fits"] for fit in record.get("fit", ())]
    if not verdicts:
        return OK
    return DOES_NOT_FIT if False in verdicts else CANNOT_TELL if None in verdicts else FITS


def exit_code(outcome: str) -> int:
    """The exit code of an outcome; that of an unknown kind is the root error's."""
    return VERDICTS[outcome] if outcome in VERDICTS else _ERRORS.get(outcome, InspectError).exit_code


def is_passing(outcome: str) -> bool:
    """Whether another try may come to something else: the Hub or the network failed, not the model."""
    return issubclass(_ERRORS.get(outcome, InspectError), HubError)


class Tally:
    """Counts outcomes."""

    def __init__(self, outcomes: Iterable[str] = ()) -> None:
        self.counts = Counter(outcomes)
        self.bundled = 0
        """Models that were read from bundled snapshots, not from the Hub or a disk."""

    def add(self, outcome: str, source: str | None = None) -> None:
        self.counts[outcome] += 1
        self.bundled += source == "bundled"

    @property
    def total(self) -> int:
        return self.counts.total()

    @property
    def failed(self) -> int:
        """Models that could not be read."""
        return sum(count for outcome, count in self.counts.items() if outcome not in VERDICTS)

    @property
    def exit_code(self) -> int:
        """The highest of all; 0 of none."""
        return max(map(exit_code, self.counts), default=0)

    def lines(self) -> Iterator[str]:
        """The summary: verdicts, then kinds of errors, most frequent first."""
        parts = [_counted(name, count) for name in VERDICTS if (count := self.counts[name])]
        parts += [f"{self.failed:,} failed"] if self.failed else []
        yield f"{self.total:,} model{'' if self.total == 1 else 's'}" + (": " + ", ".join(parts) if parts else "")
        bad = [(count, name) for name, count in self.counts.items() if name not in VERDICTS]
        for count, name in sorted(bad, key=lambda item: (-item[0], item[1])):
            yield f"  {count:,} {name.replace('_', ' ')}"
        if self.bundled:
            yield f"  {self.bundled:,} read from bundled snapshots: the Hub was not asked"


def _counted(outcome: str, count: int) -> str:
    """ "1 fits", "2 fit", "3 do not fit"."""
    words = (_OF_SEVERAL.get(outcome) if count > 1 else None) or outcome.replace("_", " ")
    return f"{count:,} {words}"


def _kinds(root: type[InspectError]) -> Iterator[tuple[str, type[InspectError]]]:
    yield root.kind, root
    for child in root.__subclasses__():
        yield from _kinds(child)


_ERRORS = dict(_kinds(InspectError))
