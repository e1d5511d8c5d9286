"""Whether models are what their manifest says: each entry's findings, and which of them fail it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from inspector.api.differences import compare_headers
from inspector.api.inspection import Inspection, checkpoint_of, device_specs, inspect_checkpoint
from inspector.errors import InspectError
from inspector.hub import Resolver
from inspector.manifest.form import Entry
from inspector.report.units import bytes_text, number_text

AT_ONCE = 8
"""Entries that are read at the same time."""
DRIFTED = 1
"""The exit code of a finding that fails."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as the manifest says.

    Attributes:
        kind: "moved", "parameters", "tensor_bytes", "total", "needed", "fits".
        message: one line.
        expected / found: the two values; None where they are not known.
        fails: whether it fails the entry.
    """

    kind: str
    message: str
    expected: Any
    found: Any
    fails: bool = True


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an entry.

    Attributes:
        commit: what the watched revision stands for now; None where it could not be told.
        findings: what is not as expected.
        error: why it could not be checked.
    """

    entry: Entry
    commit: str | None
    findings: tuple[Finding, ...] = ()
    error: InspectError | None = None

    @property
    def exit_code(self) -> int:
        if self.error is not None:
            return self.error.exit_code
        return DRIFTED if any(finding.fails for finding in self.findings) else 0


def verify(entries: Iterable[Entry], *, resolver: Resolver, moved_ok: bool = False) -> list[Outcome]:
    """Check every entry; one that cannot be checked leaves its error in its place.

    Args:
        resolver: best one without substitutes, so that a copy that may be out of date passes for nothing.
        moved_ok: a new commit whose config and headers are the same is told and does not fail.
    """

    def one(entry: Entry) -> Outcome:
        try:
            return verify_entry(entry, resolver, moved_ok=moved_ok)
        except InspectError as error:
            return Outcome(entry, None, error=error)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(one, entries))


def verify_entry(entry: Entry, resolver: Resolver, *, moved_ok: bool = False) -> Outcome:
    """Check one entry: the numbers at the pinned commit, and where the revision has moved, those of today as well.

    Raises:
        InspectError: it could not be read.
    """
    specs = device_specs(entry.settings.gpus)
    current = checkpoint_of(resolver, entry.model, entry.revision, entry.settings)
    if entry.commit is None or current.revision == entry.commit:
        inspection = inspect_checkpoint(current, entry.settings, specs)
        return Outcome(entry, current.revision, tuple(check(entry, inspection)))
    pinned = checkpoint_of(resolver, entry.model, entry.commit, entry.settings)
    findings = list(check(entry, inspect_checkpoint(pinned, entry.settings, specs)))
    difference = compare_headers(pinned, current)
    watched = entry.revision or "main"
    if difference.equal:
        what = "config and headers are the same"
    else:
        counts = [
            (len(difference.config), "config key"),
            (sum(group.count for group in difference.tensors), "tensor"),
        ]
        what = " and ".join(f"{count:,} {name}{'s'[: count != 1]}" for count, name in counts if count) + " differ"
    if current.revision is None:
        message = f"the server does not say which commit {watched} is now, {entry.commit[:12]} is pinned: {what}"
    else:
        message = f"{watched} moved from {entry.commit[:12]} to {current.revision[:12]}: {what}"
    findings.append(Finding("moved", message, entry.commit, current.revision, not (moved_ok and difference.equal)))
    if not difference.equal:
        today = inspect_checkpoint(current, entry.settings, specs)
        findings += check(entry, today, f"at {watched} ")
    return Outcome(entry, current.revision, tuple(findings))


def check(entry: Entry, inspection: Inspection, where: str = "") -> Iterator[Finding]:
    """What an inspection has not as the entry expects it.

    Args:
        where: begins each message: which commit this is about.
    """
    expected, gpus = entry.expected, entry.settings.gpus
    parameters = inspection.model.parameters.total
    if expected.parameters is not None and parameters != expected.parameters:
        message = f"{where}parameters are {number_text(parameters)}, expected {number_text(expected.parameters)}"
        yield Finding("parameters", message, expected.parameters, parameters)
    for name, wanted, found in (
        ("tensor_bytes", expected.tensor_bytes, inspection.checkpoint.tensor_bytes),
        ("total", expected.total, inspection.estimate.total),
    ):
        if wanted is not None:
            yield from _bytes(name, f"{where}{name}", wanted, found, entry.tolerance)
    for gpu, fit in zip(gpus, inspection.fits, strict=True):
        if gpu in expected.needed:
            yield from _bytes("needed", f"{where}needed on {gpu}", expected.needed[gpu], fit.needed, entry.tolerance)
        if gpu in expected.fits and fit.fits is not expected.fits[gpu]:
            message = f"{where}on {gpu} it {_verdict(fit.fits)}, expected: {_verdict(expected.fits[gpu])}"
            yield Finding("fits", message, expected.fits[gpu], fit.fits)


def checks_of(entry: Entry) -> Sequence[str]:
    """What is checked of an entry, in words."""
    expected = entry.expected
    names = [name for name in ("parameters", "tensor_bytes", "total") if getattr(expected, name) is not None]
    names += ["commit"] if entry.commit else []
    return [*names, *(f"fits {gpu}" for gpu in expected.fits), *(f"needed on {gpu}" for gpu in expected.needed)]


def _bytes(kind: str, name: str, expected: int, found: int | None, tolerance: float) -> Iterator[Finding]:
    if found is not None and abs(found - expected) <= tolerance * expected:
        return
    if found is None:
        yield Finding(kind, f"{name} cannot be told, expected {expected:,} B", expected, None)
        return
    share = f" ({(found - expected) / expected:+.2%})" if expected else ""
    message = f"{name}: {found:,} B ({bytes_text(found)}), expected {expected:,} B{share}, tolerance {tolerance:.2%}"
    yield Finding(kind, message, expected, found)


def _verdict(fits: bool | None) -> str:
    return "cannot be told" if fits is None else "fits" if fits else "does not fit"
