"""The command line: parses options, calls the library, prints. No arithmetic here."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from inspector.cli.options import (
    GPU_HELP,
    SERVING_NAMES,
    SHARDING_NAMES,
    formulas_option,
    output_options,
    picture_options,
    print_json,
    serving_options,
    source_options,
    training_options,
    workload_options,
)
from inspector.errors import InspectError, RepoNotFound, UsageError
from inspector.version import __version__

if TYPE_CHECKING:
    from rich.console import Console

    from inspector.api.inspection import Inspection
    from inspector.report.tabular import Result

EXIT_FITS_NOT = 1
EXIT_CANNOT_TELL = 4
LAZY_COMMANDS = {
    "batch": ("inspector.cli.batch", "Inspect the models of a list, a line of output for each, and a summary."),
    "cache": ("inspector.cli.cache", "The answers that are kept between runs."),
    "check-log": ("inspector.cli.check_log", "Show what an engine's start-up log printed beside what is predicted."),
    "diff": ("inspector.cli.diff", "Compare two models, revisions or folders by config and headers."),
    "lock": ("inspector.cli.manifest", "Write a manifest of what models are now, for verify."),
    "verify": ("inspector.cli.manifest", "Check that models are what a manifest says."),
}
"""Command -> its module, where its function has the command's name, and its line in the list of commands."""
_WRITE_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EIO)
EXIT_BROKEN_PIPE = 141  # what a shell reports for a program that SIGPIPE ended


class DefaultGroup(click.Group):
    """A group whose first argument may be left out: `llm-inspect MODEL` is `llm-inspect show MODEL`.

    Some commands are imported when they are asked for: their modules are the start-up of no other command.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *LAZY_COMMANDS])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in LAZY_COMMANDS:
            return super().get_command(ctx, cmd_name)
        from importlib import import_module

        command: click.Command = getattr(import_module(LAZY_COMMANDS[cmd_name][0]), cmd_name.replace("-", "_"))
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, without an import of those that are not asked for."""
        del ctx
        lines = {name: text for name, (_, text) in LAZY_COMMANDS.items()}
        lines |= {name: command.get_short_help_str(100) for name, command in self.commands.items()}
        with formatter.section("Commands"):
            formatter.write_dl(sorted(lines.items()))

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in self.list_commands(ctx) and args[0] not in ("--help", "-h", "--version"):
            args = ["show", *args]
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            # The reader has gone, and Python must not try to flush to it at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(EXIT_BROKEN_PIPE)
        return result


@click.group(
    cls=DefaultGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="MODEL is a repo ID (org/name, org/name@revision, gpt2) or a local folder or file. org/name:PICK is one of"
    " the models that a repo holds: a GGUF quantization (Q4_K_M), a variant (fp16), a folder (unet) or a file."
    " `llm-inspect MODEL` is short for `llm-inspect show MODEL`.",
)
@click.version_option(__version__, prog_name="llm-inspect")
def cli() -> None:
    """Will it fit? Exact parameters and memory of a Hugging Face model, from its config and headers alone."""


@cli.command()
@click.argument("models", metavar="MODEL...", nargs=-1, required=True)
@source_options
@workload_options
@picture_options
@serving_options
@click.option("--gpu", "gpus", multiple=True, metavar="GPU", help=f"Also say whether it fits: {GPU_HELP}")
@click.option("--layers", is_flag=True, help="Show each layer's share, and where its numbers come from.")
@formulas_option
@output_options
def show(
    models: tuple[str, ...],
    revision: str | None,
    token: str | None,
    offline: bool,
    layers: bool,
    explain: bool,
    output: str,
    **settings: Any,
) -> int:
    """Report what a model is and what it takes. Several models: a comparison."""
    from inspector.api.inspection import inspect_each, prepare
    from inspector.hub import Resolver

    if layers and output not in ("text", "json"):
        raise UsageError(f"--layers prints text or json, not {output}")

    def while_waiting() -> None:
        prepare()
        if output == "text":
            import inspector.report.text  # noqa: F401

    with Resolver(token=token, offline=offline or None, while_waiting=while_waiting) as resolver:
        outcomes = inspect_each(models, resolver=resolver, revision=revision, **_with_serving(settings))
    results = list(zip(models, outcomes, strict=True))
    for name, outcome in results:
        if isinstance(outcome, InspectError):
            print_error(outcome, name)
        else:
            _print_warnings(outcome, name if len(models) > 1 else None)
    _print_results(results, output, explain, layers)
    return max(outcome.exit_code if isinstance(outcome, InspectError) else 0 for outcome in outcomes)


@cli.command()
@click.argument("model")
@source_options
@workload_options
@picture_options
@serving_options
@click.option("--gpu", "gpus", multiple=True, metavar="GPU", help=GPU_HELP)
@click.option("--all-gpus", is_flag=True, help="Every known device instead: those it fits on, least memory first.")
@formulas_option
@output_options
def fit(
    model: str,
    revision: str | None,
    token: str | None,
    offline: bool,
    explain: bool,
    output: str,
    **settings: Any,
) -> int:
    """Say whether a model fits, and exit with 0 if it does (on every --gpu), 1 if not, 4 if that cannot be told."""
    from inspector.api.inspection import inspect

    if not (settings["gpus"] or settings["all_gpus"]):
        raise UsageError("fit needs a device", "Name one, e.g. --gpu 'RTX 4090' or --gpu 24GiB, or ask for --all-gpus.")
    try:
        inspection = inspect(model, revision=revision, token=token, offline=offline or None, **_with_serving(settings))
    except InspectError as error:
        return _failed(model, error, output)
    _print_warnings(inspection)
    if output == "text":
        from inspector.report.text import print_fleet, print_verdicts

        if settings["all_gpus"]:
            print_fleet(_console(), inspection)
        else:
            print_verdicts(_console(), inspection, explain=explain)
    else:
        _print_results([(model, inspection)], output, explain)
    verdicts = [each.fits for each in inspection.fits]
    if False in verdicts or not verdicts:
        return EXIT_FITS_NOT
    return EXIT_CANNOT_TELL if None in verdicts else 0


@cli.command()
@click.argument("model")
@source_options
@workload_options
@training_options
@click.option(
    "--gpu", "gpus", multiple=True, metavar="GPU", help="Also say whether it fits one: 'RTX 4090', H100, 24GiB, auto."
)
@formulas_option
@output_options
def train(
    model: str,
    revision: str | None,
    token: str | None,
    offline: bool,
    explain: bool,
    output: str,
    **settings: Any,
) -> int:
    """What one training step takes on the fullest card: the peak, what lives at it, and the phase that has it."""
    from inspector.api import training as api_training

    if output not in ("text", "json"):
        raise UsageError(f"train prints text or json, not {output}")
    settings["sharding"] = {name: settings.pop(name) for name in SHARDING_NAMES}
    try:
        inspection, training = api_training.train(
            model, revision=revision, token=token, offline=offline or None, **settings
        )
    except InspectError as error:
        return _failed(model, error, output)
    _print_warnings(inspection, more=training.warnings)
    if output == "text":
        from inspector.report.text import print_training

        print_training(_console(), inspection, training, explain=explain)
    else:
        from inspector.report.record import part_record, training_record

        record = training_record(inspection, training)
        if explain:
            record["explain"] = [part_record(part) for part in (*training.parts, *training.off_card)]
        print_json(record)
    return 0 if training.peak is not None or training.measured else EXIT_CANNOT_TELL


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def gpus(as_json: bool) -> int:
    """List the devices it knows, and those of this machine."""
    from inspector.devices.detect import detect
    from inspector.devices.table import list_devices
    from inspector.report.devices import devices_record, print_devices

    if as_json:
        print_json(devices_record(list_devices(), detect()))
    else:
        print_devices(_console(), list_devices(), detect())
    return 0


def run(arguments: Sequence[str]) -> int:
    """Run the command line; returns the exit code. Errors become one or two lines on standard error."""
    try:
        code = cli.main(list(arguments), prog_name="llm-inspect", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.exceptions.Exit as leave:
        return leave.exit_code
    except click.Abort:
        return 130
    except click.ClickException as error:
        error.show()
        return UsageError.exit_code
    except InspectError as error:
        print_error(error)
        return error.exit_code
    except Exception as error:
        if os.environ.get("LLM_INSPECT_DEBUG"):
            raise
        if isinstance(error, OSError) and error.errno in _WRITE_ERRORS:
            click.echo(f"Error: the output could not be written: {error.strerror}", err=True)
            return InspectError.exit_code
        click.echo(
            f"Error: a bug in llm-inspect: {type(error).__name__}: {error}\n"
            "Please report it; LLM_INSPECT_DEBUG=1 shows where it happened.",
            err=True,
        )
        return InspectError.exit_code


def print_error(error: InspectError, model: str | None = None) -> None:
    """What is wrong and what to do about it, on standard error."""
    from inspector.report.units import inert

    message, hint = ("\n".join(map(inert, text.split("\n"))) for text in (error.message, error.hint))
    if isinstance(error, RepoNotFound) and model:
        import difflib

        if near := difflib.get_close_matches(model, [*cli.commands, *LAZY_COMMANDS], 1, 0.75):
            hint = f"Did you mean the command `llm-inspect {near[0]}`?"
    click.echo(f"Error: {message}" + (f"\n{hint}" if hint else ""), err=True)


def _failed(model: str, error: InspectError, output: str) -> int:
    """Say why the one model of a command has no answer, as an object, too, where JSON was asked for."""
    print_error(error, model)
    if output == "json" and not isinstance(error, UsageError):
        from inspector.report.record import error_record

        print_json(error_record(model, error))
    return error.exit_code


def _with_serving(settings: dict[str, Any]) -> dict[str, Any]:
    """The options of the serving engines, those that were given, as the library takes them: one mapping."""
    serving = {name: settings.pop(name) for name in SERVING_NAMES}
    return settings | {"serving": {name: value for name, value in serving.items() if value is not None}}


def _print_warnings(inspection: Inspection, model: str | None = None, more: tuple[str, ...] = ()) -> None:
    from inspector.report.units import inert

    for warning in dict.fromkeys(inspection.warnings + more):
        click.echo(f"Note: {inert(model) + ': ' if model else ''}{inert(warning)}", err=True)


def _print_results(results: Sequence[Result], output: str, explain: bool, layers: bool = False) -> None:
    from inspector.api.inspection import Inspection
    from inspector.report import tabular
    from inspector.report.record import error_record, explanation_record, inspection_record

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
                from inspector.report.layer_table import ledger_record

                record["layers"] = ledger_record(outcome.ledger())
            records.append(record)
        print_json(records[0] if len(records) == 1 else records)
    elif output == "csv":
        sys.stdout.write(tabular.csv_text(results))
    elif output == "markdown":
        sys.stdout.write(tabular.markdown_text(results))
    else:
        from inspector.report import text

        good = [outcome for _, outcome in results if isinstance(outcome, Inspection)]
        if len(results) == 1:
            for inspection in good:
                text.print_report(_console(), inspection, explain=explain)
        else:
            text.print_comparison(_console(), results)
        if layers:
            from inspector.report.layer_table import print_ledger

            for inspection in good:
                print_ledger(_console(), inspection)


def _console() -> Console:
    from inspector.report.console import stdout_console

    return stdout_console()
