"""The command `verify`: whether models are what a manifest says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from inspector.cli.options import access_options
from inspector.cli.output import Output, json_option

if TYPE_CHECKING:
    from inspector.manifest import Outcome
    from inspector.record import Record


@click.command()
@click.argument("files", metavar="MANIFEST...", nargs=-1, required=True)
@access_options
@click.option(
    "--moved-ok", is_flag=True, help="A new commit whose config and headers are the same is told, and no failure."
)
@json_option
def verify(files: tuple[str, ...], token: str | None, offline: bool, moved_ok: bool, output: str) -> int:
    """Check that models are what a manifest says, a line for each that is and for each finding.

    Exits with 1 if a repo has a new commit, or a number or verdict is not as expected; with the highest code if some
    could not be read. Write a manifest with `lock`, or by hand: a list `models` with `model`, `gpus` and
    `expected: {fits: true}`.
    """
    from inspector.batch import HubRateLimiter
    from inspector.hub import Resolver
    from inspector.manifest import read_manifest
    from inspector.manifest import verify as check
    from inspector.report.writers import Answer

    entries = [(file, entry) for file in files for entry in read_manifest(file)]
    with Resolver(token=token, offline=offline or None, substitutes=offline) as resolver:
        resolver.rate_limiter = HubRateLimiter()
        outcomes = check([entry for _, entry in entries], resolver=resolver, moved_ok=moved_ok)
    named = [(file, outcome) for (file, _), outcome in zip(entries, outcomes, strict=True)]
    out = Output(output)
    code = out.comes_to(max(outcome.exit_code for outcome in outcomes))

    def records() -> list[Record]:
        return [{"schema": 1, "ok": code == 0, "entries": [_record(*each) for each in named]}]

    def text() -> None:
        for file, outcome in named:
            _print(file, outcome)

    out.write(Answer((), records, text))
    return code


def _print(file: str, outcome: Outcome) -> None:
    """A line if all is well, one a finding, one for an error (and what to do about it on standard error)."""
    from inspector.manifest.check import checks_of
    from inspector.report.units import inert

    entry = outcome.entry
    name = inert(entry.model) + (f"@{inert(entry.revision)}" if entry.revision else "")
    where = f"{inert(file)}:{entry.line}: {name}"
    if outcome.error is not None:
        click.echo(f"ERROR {where}: {inert(outcome.error.message.splitlines()[0])}")
        if outcome.error.hint:
            click.echo(inert(outcome.error.hint), err=True)
        return
    for finding in outcome.findings:
        click.echo(f"{'FAIL ' if finding.fails else 'note '} {where}: {inert(finding.message)}")
    if outcome.exit_code == 0:
        click.echo(f"ok    {where}: {inert(', '.join(checks_of(entry)))}")


def _record(file: str, outcome: Outcome) -> dict[str, Any]:
    entry, error = outcome.entry, outcome.error
    return {
        "manifest": file,
        "line": entry.line,
        "model": entry.model,
        "revision": entry.revision or "main",
        "pinned": entry.commit,
        "commit": outcome.commit,
        "ok": outcome.exit_code == 0,
        "findings": [
            {
                "kind": finding.kind,
                "message": finding.message,
                "expected": finding.expected,
                "found": finding.found,
                "fails": finding.fails,
            }
            for finding in outcome.findings
        ],
        "error": None if error is None else {"kind": error.kind, "message": str(error), "exit_code": error.exit_code},
    }
