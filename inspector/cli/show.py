"""The command `show`: what a model is and what it takes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from inspector.api.settings import Settings
from inspector.cli.options import (
    OUTPUT,
    PLOTTED,
    PlottingCommand,
    check_option,
    model_argument,
    option,
    output_format,
    output_options,
    ranges_of,
    refuse_check_alone,
    setting_options,
    source_options,
    with_serving,
)
from inspector.cli.output import Output
from inspector.errors import InspectError, UsageError

if TYPE_CHECKING:
    from inspector.api.inspection import Inspection
    from inspector.record import Record
    from inspector.report.writers import Answer


@click.command(
    cls=PlottingCommand,
    examples=(
        ("llm-inspect Qwen/Qwen3-8B --context 32k", "what it is, and what it takes with a long context"),
        ("llm-inspect Qwen/Qwen3-8B Qwen/Qwen3-32B --gpu 'RTX 4090'", "two models side by side"),
    ),
)
@model_argument("models", metavar="MODEL...", nargs=-1, required=True)
@source_options
@setting_options(Settings, "all_gpus", "all_options", several=True)
@check_option
@option("--layers", group=OUTPUT, is_flag=True, help="Show each layer's share, and where its numbers come from.")
@option(
    "--plot",
    group=OUTPUT,
    is_flag=False,
    flag_value=PLOTTED,
    metavar="[FILE]",
    help="Plot memory over the context, and by precision; into FILE: .svg, .png.",
)
@output_options
def show(
    models: tuple[str, ...],
    revision: str | None,
    token: str | None,
    offline: bool,
    check: bool,
    layers: bool,
    plot: str | None,
    explain: bool,
    output: str | None,
    path: Path | None,
    **settings: Any,
) -> int:
    """Report what a model is and what it takes. Several models: a comparison."""
    from inspector.api.inspection import inspect_each, prepare
    from inspector.hub import Resolver

    refuse_check_alone(check, settings["gpus"])
    out = Output(output_format(output, path), path)
    if layers and out.format not in ("text", "json", "jsonl", "html"):
        raise UsageError(f"--layers prints text, json or html, not {out.format}")
    if plot:
        from inspector.cli.plot import check_plot

        check_plot(plot, models, out.format)
    access: dict[str, Any] = {"revision": revision, "token": token, "offline": offline or None}
    if ranges := ranges_of(settings):
        from inspector.cli.ranges import show_ranges

        alone = {"layers": layers, "explain": explain, "plot": plot}
        return show_ranges(models, ranges, with_serving(settings), access, out, alone, check=check)

    def while_waiting() -> None:
        prepare()
        out.prepare()

    with (
        out.waiting(*models),
        Resolver(token=token, offline=offline or None, while_waiting=while_waiting) as resolver,
    ):
        asked = with_serving(settings)
        outcomes = inspect_each(models, resolver=resolver, revision=revision, **asked)
    for name, outcome in zip(models, outcomes, strict=True):
        if isinstance(outcome, InspectError):
            out.error(outcome, name)
        else:
            out.notes(outcome.warnings, name if len(models) > 1 else None)
            out.details(outcome)
    drawing = plot == PLOTTED
    out.write(answer_of(models, outcomes, out, Settings(**asked), explain=explain, layers=layers, plot=drawing))
    good = [outcome for outcome in outcomes if not isinstance(outcome, InspectError)]
    if plot and good and not drawing:
        from inspector.cli.plot import write_plot

        write_plot(Path(plot), good[0], Settings(**asked))
    if check:
        return out.verdicts([fit.fits for outcome in good for fit in outcome.fits])
    return out.exit_code


def answer_of(
    models: Sequence[str],
    outcomes: Sequence[Inspection | InspectError],
    out: Output,
    asked: Settings,
    *,
    explain: bool = False,
    layers: bool = False,
    plot: bool = False,
) -> Answer:
    """The report on one model, or the comparison of several."""
    from inspector.report.writers import Answer

    def records() -> list[Record]:
        from inspector.record import outcome_record

        found = zip(models, outcomes, strict=True)
        return [outcome_record(name, outcome, explain=explain, layers=layers) for name, outcome in found]

    def drawn() -> list[Record]:
        from inspector.api import drawn

        return [drawn.drawn(name, outcome, asked) for name, outcome in zip(models, outcomes, strict=True)]

    def text() -> None:
        good = [outcome for outcome in outcomes if not isinstance(outcome, InspectError)]
        if len(models) > 1:
            from inspector.report.lists import print_comparison

            print_comparison(out.console, models, records())
        for inspection in good if len(models) == 1 else ():
            from inspector.report.text import print_report

            print_report(out.console, inspection, explain=explain)
        if layers:
            from inspector.report.layer_table import print_layer_table

            for inspection in good:
                print_layer_table(out.console, inspection)
        if plot:
            from inspector.cli.plot import plot_all

            plot_all(out, good, asked)

    return Answer(models, records, text, array=len(models) > 1, drawn=drawn)
