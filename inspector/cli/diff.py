"""The command `diff`: two checkpoints beside each other, by their headers."""

from __future__ import annotations

from typing import Any

import click

from inspector.cli.options import access_options, workload_options
from inspector.cli.output import console, print_json
from inspector.errors import InspectError, UsageError

DIFFERENT = 1


@click.command()
@click.argument("before", metavar="A")
@click.argument("after", metavar="B")
@access_options
@workload_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def diff(
    before: str, after: str, token: str | None, offline: bool, context: int | None, as_json: bool, **settings: Any
) -> int:
    """Compare two models, revisions (org/name@REV) or folders by config and headers; no weights are read.

    Exits with 0 if config and the names, shapes and dtypes of all tensors are equal, with 1 if not, and with a higher
    code if one of them could not be read. Memory is that of the same context for both: the smaller default.
    """
    from inspector.api.differences import compare, inspect_pair

    try:
        pair = inspect_pair(before, after, token=token, offline=offline or None, context=context, **settings)
    except InspectError as error:
        if as_json and not isinstance(error, UsageError):
            from inspector.record import error_record

            print_json({**error_record(before, error), "repo_id": None, "before": before, "after": after})
        raise
    from inspector.report.units import inert

    for name, inspection in zip((before, after), pair, strict=True):
        for warning in inspection.warnings:
            click.echo(f"Note: {inert(name)}: {inert(warning)}", err=True)
    from inspector.report.differences import difference_record, print_difference

    difference = compare(*pair)
    if as_json:
        print_json(difference_record(*pair, difference))
    else:
        print_difference(console(), *pair, difference)
    return 0 if difference.equal else DIFFERENT
