"""The command `show`: what a model is and what it takes."""

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
from inspector.cli.output import print_error, print_results, print_warnings
from inspector.errors import InspectError, UsageError


@click.command()
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
        outcomes = inspect_each(models, resolver=resolver, revision=revision, **with_serving(settings))
    results = list(zip(models, outcomes, strict=True))
    for name, outcome in results:
        if isinstance(outcome, InspectError):
            print_error(outcome, name)
        else:
            print_warnings(outcome, name if len(models) > 1 else None)
    print_results(results, output, explain, layers)
    return max(outcome.exit_code if isinstance(outcome, InspectError) else 0 for outcome in outcomes)
