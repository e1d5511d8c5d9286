"""The command `fit`: whether a model fits, as an exit code."""

from __future__ import annotations

from typing import Any

import click

from inspector.cli.options import (
    GPU_HELP,
    formulas_option,
    output_options,
    picture_options,
    serving_options,
    source_options,
    with_serving,
    workload_options,
)
from inspector.cli.output import console, failed, print_results, print_warnings
from inspector.errors import InspectError, UsageError

EXIT_FITS_NOT = 1
EXIT_CANNOT_TELL = 4


@click.command()
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
        inspection = inspect(model, revision=revision, token=token, offline=offline or None, **with_serving(settings))
    except InspectError as error:
        return failed(model, error, output)
    print_warnings(inspection)
    if output == "text":
        from inspector.report.text import print_fleet, print_verdicts

        if settings["all_gpus"]:
            print_fleet(console(), inspection)
        else:
            print_verdicts(console(), inspection, explain=explain)
    else:
        print_results([(model, inspection)], output, explain)
    verdicts = [each.fits for each in inspection.fits]
    if False in verdicts or not verdicts:
        return EXIT_FITS_NOT
    return EXIT_CANNOT_TELL if None in verdicts else 0
