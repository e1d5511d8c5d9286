"""The command `batch`: many models from a list, one line of output each."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from inspector.cli_options import (
    SERVING_NAMES,
    formulas_option,
    serving_options,
    source_options,
    workload_options,
)
from inspector.errors import InspectError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from inspector.batch.outcome import Record, Tally
    from inspector.batch.output import Output
    from inspector.batch.progress import Progress
    from inspector.batch.rows import Rows


class OutputFailed(InspectError):
    """The results could not be written any further; what was written is whole."""

    kind = "output_failed"


@click.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@source_options
@workload_options
@serving_options
@click.option(
    "--gpu", "gpus", multiple=True, metavar="GPU", help="Also say whether it fits: 'RTX 4090', 4xH100, 24GiB, auto."
)
@formulas_option
@click.option("--jobs", type=click.IntRange(1, 256), default=16, show_default=True, help="Models at a time.")
@click.option(
    "--format",
    "format_",
    type=click.Choice(["jsonl", "csv", "markdown"]),
    help="How to write. Default: by the --output file's name (.csv, .md), else jsonl.",
)
@click.option(
    "--columns", metavar="A.B,C", help="Only these keys of the JSON, beside id and outcome: parameters.total,fit.0.fits"
)
@click.option("--ordered", is_flag=True, help="Write in the order of the list, not as results come.")
@click.option(
    "--output", "path", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write to a file."
)
@click.option("--resume", is_flag=True, help="Go on with the --output file of a run that was ended early.")
def batch(
    files: tuple[str, ...],
    revision: str | None,
    token: str | None,
    offline: bool,
    jobs: int,
    format_: str | None,
    columns: str | None,
    ordered: bool,
    path: Path | None,
    resume: bool,
    **settings: Any,
) -> int:
    """Inspect the models of a list, a line of output for each, and a summary at the end.

    FILE has a repo ID or local folder a line (# begins a comment), or is CSV with a column model, repo_id or id, or
    YAML with a list; - is standard input. The Hub's rate limits are waited for. Exits with the highest code of all
    models: as `show`, and with --gpu as `fit`.
    """
    from inspector.batch import RateGate, inspect_many, read_ids
    from inspector.batch.interrupt import INTERRUPTED
    from inspector.batch.outcome import Tally
    from inspector.batch.output import OutputFile, StandardOutput, check_new, resume_file
    from inspector.batch.progress import progress_on_stderr
    from inspector.batch.rows import JSONL, SUFFIXES, Rows
    from inspector.hub import Resolver
    from inspector.hub.resolver import MAX_CONNECTIONS

    if resume and path is None:
        raise UsageError("--resume goes on with a file", "Name it with --output.")
    chosen = format_ or SUFFIXES.get(path.suffix.lower() if path else "", JSONL)
    names = None if columns is None else [name.strip() for name in columns.split(",")]
    rows = Rows(chosen, names, _devices(settings["gpus"]))
    models = read_ids(files, revision=revision)
    if not models:
        raise UsageError(f"no models in {', '.join(files)}", "Give an ID a line.")
    done = resume_file(path, rows) if resume and path is not None else {}
    missing = [model for model in models if model not in done]
    tally = Tally(done[model] for model in models if model in done)
    serving = {name: value for name in SERVING_NAMES if (value := settings.pop(name)) is not None}
    with Resolver(token=token, offline=offline or None, max_connections=max(MAX_CONNECTIONS, jobs)) as resolver:
        resolver.gate = gate = RateGate()
        # Before a file is touched: this refuses what cannot be.
        records = inspect_many(
            missing, resolver=resolver, jobs=jobs, ordered=ordered, revision=revision, serving=serving, **settings
        )
        if path is not None and not resume:
            check_new(path)
        output = StandardOutput() if path is None else OutputFile(path)
        to_screen = path is None and sys.stdout.isatty()
        progress = progress_on_stderr(len(models), tally.total, gate, wanted=not to_screen)
        try:
            interrupted = _write(records, output, rows, tally, progress)
        except BrokenPipeError:
            raise
        except OSError as error:
            _summary(tally, len(models), "Stopped")
            hint = "Make room; then --resume goes on." if path else ""
            raise OutputFailed(f"the output could not be written: {error.strerror}", hint) from None
        finally:
            gate.close()
            records.close()
            output.close()
    _summary(tally, len(models), "Interrupted" if interrupted else "")
    if interrupted:
        return INTERRUPTED
    return tally.exit_code


def _devices(gpus: tuple[str, ...]) -> list[str]:
    """The names of the devices that --gpu means: `auto` may be several."""
    if not gpus:
        return []
    from inspector.hardware import parse_gpus

    return [f"{spec.count} x {spec.name}" if spec.count > 1 else spec.name for spec in parse_gpus(gpus)]


def _write(records: Iterable[Record], output: Output, rows: Rows, tally: Tally, progress: Progress) -> bool:
    """Writes each record as it comes; whether Ctrl-C ended it."""
    from inspector.batch.interrupt import Interrupts

    try:
        with Interrupts() as interrupts, progress:
            with interrupts.held():
                if rows.head and output.is_empty:
                    output.write(rows.head)
            for record in records:
                with interrupts.held():
                    output.write(rows.line(record))
                    tally.add(record["outcome"])
                progress.show(tally)
    except KeyboardInterrupt:
        return True
    return False


def _summary(tally: Tally, total: int, ended: str) -> None:
    """What came of it, on standard error."""
    if ended:
        click.echo(f"{ended}: {tally.total:,} of {total:,} models are done.", err=True)
    for line in tally.lines() if tally.total else ():
        click.echo(line, err=True)
