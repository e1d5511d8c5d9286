"""What the commands print: results on standard output, notes and errors on standard error."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from inspector.errors import InspectError, RepoNotFound, UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from inspector.api.inspection import Inspection
    from inspector.report.tabular import Result


def print_error(error: InspectError, model: str | None = None) -> None:
    """What is wrong and what to do about it, on standard error."""
    from inspector.report.units import inert

    message, hint = ("\n".join(map(inert, text.split("\n"))) for text in (error.message, error.hint))
    if isinstance(error, RepoNotFound) and model:
        import difflib

        context = click.get_current_context().find_root()
        commands = context.command.list_commands(context) if isinstance(context.command, click.Group) else []
        if near := difflib.get_close_matches(model, commands, 1, 0.75):
            hint = f"Did you mean the command `llm-inspect {near[0]}`?"
    click.echo(f"Error: {message}" + (f"\n{hint}" if hint else ""), err=True)


def failed(model: str, error: InspectError, output: str) -> int:
    """Say why the one model of a command has no answer, as an object, too, where JSON was asked for."""
    print_error(error, model)
    if output == "json" and not isinstance(error, UsageError):
        from inspector.record import error_record

        print_json(error_record(model, error))
    return error.exit_code


def print_warnings(inspection: Inspection, model: str | None = None, more: tuple[str, ...] = ()) -> None:
    from inspector.report.units import inert

    for warning in dict.fromkeys(inspection.warnings + more):
        click.echo(f"Note: {inert(model) + ': ' if model else ''}{inert(warning)}", err=True)


def print_results(results: Sequence[Result], output: str, explain: bool, layers: bool = False) -> None:
    from inspector.api.inspection import Inspection
    from inspector.record import error_record, explanation_record, inspection_record

    if output == "json":
        records = []
        for name, outcome in results:
            if isinstance(outcome, InspectError):
                records.append(error_record(name, outcome))
                continue
            record = inspection_record(outcome)
            if explain:
                record["explain"] = explanation_record(outcome)
            if layers:
                from inspector.record import ledger_record

                record["layers"] = ledger_record(outcome.ledger())
            records.append(record)
        print_json(records[0] if len(records) == 1 else records)
    elif output == "csv":
        from inspector.report.tabular import csv_text

        sys.stdout.write(csv_text(results))
    elif output == "markdown":
        from inspector.report.tabular import markdown_text

        sys.stdout.write(markdown_text(results))
    else:
        from inspector.report import text

        screen, good = console(), [outcome for _, outcome in results if isinstance(outcome, Inspection)]
        if len(results) == 1:
            for inspection in good:
                text.print_report(screen, inspection, explain=explain)
        else:
            text.print_comparison(screen, results)
        if layers:
            from inspector.report.layer_table import print_ledger

            for inspection in good:
                print_ledger(screen, inspection)


def console() -> Console:
    """The terminal that a report is printed on: standard output, its width (80 columns in a pipe), no markup, no colour
    where none is wanted."""
    from rich.console import Console

    class OneExitCode(Console):
        def on_broken_pipe(self) -> None:
            """rich would leave with code 1, which means "does not fit" here; the command line knows better."""
            raise BrokenPipeError

    return OneExitCode(markup=False, highlight=False, emoji=False, soft_wrap=False)


def print_json(record: Any) -> None:
    """One JSON document on standard output. A config's own NaN, for which JSON has no word, is a string there."""
    import json

    try:
        text = json.dumps(record, indent=2, allow_nan=False)
    except ValueError:
        text = json.dumps(_finite(record), indent=2)
    click.echo(text)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value
