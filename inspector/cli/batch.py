"""The command `batch`: many models from a list, one line of output each."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from inspector.api.settings import Settings
from inspector.cli.options import (
    EngineCommand,
    file_option,
    format_by_name,
    format_choice,
    option,
    query_options,
    setting_options,
    source_options,
    with_serving,
)
from inspector.cli.output import Output, said
from inspector.errors import OutputFailed, RepoNotFound, UsageError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    from inspector.batch.outcome import Record, Tally
    from inspector.batch.output import Output as Lines
    from inspector.batch.progress import Progress
    from inspector.hub import Resolver
    from inspector.hub.repo.query import Query
    from inspector.report.writers import Writer


@click.command(
    cls=EngineCommand,
    examples=(
        ("llm-inspect batch models.txt --gpu 24GiB -o verdicts.csv", "a row per model"),
        ("llm-inspect batch --author Qwen --pipeline-tag text-generation", "what the Hub lists"),
    ),
)
@click.argument("files", metavar="[FILE]...", nargs=-1)
@source_options
@query_options
@setting_options(Settings, "all_gpus", "all_options")
@option("--jobs", type=click.IntRange(1, 256), metavar="N", default=16, show_default=True, help="Models at a time.")
@option(
    "--format",
    "format_",
    type=format_choice(lambda each: each.lines),
    help="How to write. Default: by the --output file's name (.html, .csv, .md, .parquet), else jsonl.",
)
@option("--json", "format_", flag_value="jsonl", help="Short for --format jsonl.")
@option(
    "--columns", metavar="A.B,C", help="Only these keys of the JSON, beside id and outcome: parameters.total,fit.0.fits"
)
@option("--ordered", is_flag=True, help="Write in the order of the list, not as results come.")
@file_option("Write to a file.")
@option("--resume", is_flag=True, help="Go on with the --output file of a run that was ended early.")
@option(
    "--engine-cluster",
    type=click.Choice(["ray"]),
    help="Run on a Ray cluster: that of RAY_ADDRESS, else one on this machine.",
)
@option("--workers", type=click.IntRange(1), metavar="N", help="Of the cluster. Default: its CPUs.")
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
    engine_cluster: str | None,
    workers: int | None,
    **options: Any,
) -> int:
    """Inspect the models of a list, a line of output for each, and a summary at the end.

    FILE has a repo ID or local folder per line (# begins a comment), or is CSV with a column model, repo_id or id, or
    JSON or YAML with a list; - is standard input. Or the Hub is asked for the list: --author, --search, --filter,
    --pipeline-tag, --collection. The Hub's rate limits are waited for. Exits with the highest code of all models: as
    `show`, and with --gpu as `fit`.
    """
    from inspector.batch import HubRateLimiter, read_ids
    from inspector.batch.outcome import Tally
    from inspector.batch.output import open_output
    from inspector.batch.progress import progress_on_stderr
    from inspector.hub import Resolver
    from inspector.hub.resolver import MAX_CONNECTIONS

    if resume and path is None:
        raise UsageError("--resume goes on with a file", "Name it with --output.")
    if workers and not engine_cluster:
        raise UsageError("--workers are those of a cluster", "Add --engine-cluster ray.")
    queries = _queries(options)
    if not files and not queries:
        raise UsageError("no list of models", "Name a FILE, - for standard input, or ask the Hub: --author meta-llama.")
    writer = _writer(format_, path, columns, options["gpus"])
    settings = with_serving(options)
    Settings(**settings)  # before anything is asked for or touched: this refuses what cannot be
    listed = read_ids(files, revision=revision, refuse=lambda error: Output().note(error.message))
    with Resolver(token=token, offline=offline or None, max_connections=max(MAX_CONNECTIONS, jobs)) as resolver:
        resolver.rate_limiter = rate_limiter = HubRateLimiter()
        models = list(dict.fromkeys([*listed, *(model for query in queries for model in _asked(resolver, query))]))
        if not models:
            raise UsageError(f"no models in {', '.join(files)}", "Give an ID a line.")
        output, done = open_output(path, writer, resume=resume)
        missing = [model for model in models if model not in done]
        tally = Tally(done[model] for model in models if model in done)
        arguments: dict[str, Any] = {"jobs": jobs, "ordered": ordered, "revision": revision, **settings}
        if engine_cluster:
            arguments |= {"workers": workers, "token": token, "offline": offline or None}
        records = _records(missing, None if engine_cluster else resolver, arguments)
        to_screen = path is None and sys.stdout.isatty()
        progress = progress_on_stderr(len(models), tally.total, rate_limiter, wanted=not to_screen and said() >= 0)
        try:
            return _written(records, output, writer, path, tally, progress, len(models))
        finally:
            rate_limiter.close()
            records.close()
            output.close()


def _writer(format: str | None, path: Path | None, columns: str | None, gpus: tuple[str, ...]) -> Writer:
    """The writer of the format that was asked for, or that the file's name says."""
    from inspector.report.writers import make_writer

    chosen = format or (format_by_name(path, "jsonl") if path else "jsonl")
    names = None if columns is None else [name.strip() for name in columns.split(",")]
    writer = make_writer(chosen, names, _devices(gpus))
    if names is not None:
        from inspector.cli.schema import check_columns

        check_columns(names)
    if writer.whole_file and path is None:
        raise UsageError(f"the format {chosen} needs a file", "Name it with --output.")
    return writer


def _records(models: list[str], resolver: Resolver | None, arguments: dict[str, Any]) -> Generator[Record, None, None]:
    """A record for each model: over a cluster without a resolver, else in this process."""
    if resolver is None:
        from inspector.batch.cluster import inspect_many_on_ray

        return inspect_many_on_ray(models, **arguments)
    from inspector.batch import inspect_many

    return inspect_many(models, resolver=resolver, **arguments)


def _queries(options: dict[str, Any]) -> list[Query]:
    """What the Hub is asked for: one search of all that is given, and each collection."""
    from inspector.hub.repo.query import DEFAULT_LIMIT, Query

    collections, limit = options.pop("collections"), options.pop("limit")
    given = {name: options.pop(name) for name in ("author", "search", "filters", "pipeline_tag", "sort")}
    searched = any(value for name, value in given.items() if name != "sort")
    if not searched and (given["sort"] or (limit and not collections)):
        raise UsageError("--sort and --limit are for a search of the Hub", "Add --author, --search or --filter.")
    queries = [Query(collection=each, limit=limit or DEFAULT_LIMIT) for each in collections]
    return queries + ([Query(**given, limit=limit or DEFAULT_LIMIT)] if searched else [])


def _asked(resolver: Resolver, query: Query) -> tuple[str, ...]:
    """The models that the Hub lists; where there are more than the limit, that is told."""
    listed = resolver.find_models(query)
    if not listed.models:
        raise RepoNotFound(f"the Hub lists no {query}", "Check the spelling; what is private needs a token.")
    if listed.cut:
        Output().note(f"the Hub has more {query} than {query.limit:,}, which are the first: --limit N takes more")
    # A folder of this name here is not meant.
    return tuple(f"{model}@main" if Path(model).exists() else model for model in listed.models)


def _devices(gpus: tuple[str, ...]) -> list[str]:
    """The names of the devices that --gpu means: `auto` may be several."""
    if not gpus:
        return []
    from inspector.devices.spec import parse_gpus

    return [spec.label for spec in parse_gpus(gpus)]


def _written(
    records: Iterable[Record],
    output: Lines,
    writer: Writer,
    path: Path | None,
    tally: Tally,
    progress: Progress,
    total: int,
) -> int:
    """Writes the records and the summary; returns the exit code."""
    from inspector.batch.interrupt import INTERRUPTED
    from inspector.batch.output import make_whole

    try:
        interrupted = _write(records, output, writer, tally, progress)
        if writer.whole_file and path is not None and not interrupted:
            make_whole(path, writer)
    except BrokenPipeError:
        raise
    except OSError as error:
        _summary(tally, total, "Stopped")
        hint = "Make room; then --resume goes on." if path else ""
        raise OutputFailed(f"the output could not be written: {error.strerror or error}", hint) from None
    _summary(tally, total, "Interrupted" if interrupted else "")
    if interrupted and writer.whole_file:
        click.echo(f"The rows so far are in {path}.jsonl: --resume goes on with them.", err=True)
    return INTERRUPTED if interrupted else tally.exit_code


def _write(records: Iterable[Record], output: Lines, writer: Writer, tally: Tally, progress: Progress) -> bool:
    """Writes each record as it comes; whether Ctrl-C ended it."""
    from inspector.batch.interrupt import Interrupts

    try:
        with Interrupts() as interrupts, progress:
            with interrupts.held():
                if writer.head and output.is_empty:
                    output.write(writer.head)
            for record in records:
                with interrupts.held():
                    output.write(writer.line(record))
                    tally.add(record["outcome"], record.get("source"))
                progress.show(tally)
    except KeyboardInterrupt:
        return True
    return False


def _summary(tally: Tally, total: int, ended: str) -> None:
    """What came of it, on standard error."""
    if said() < 0:
        return
    if ended:
        click.echo(f"{ended}: {tally.total:,} of {total:,} models are done.", err=True)
    for line in tally.lines() if tally.total else ():
        click.echo(line, err=True)
