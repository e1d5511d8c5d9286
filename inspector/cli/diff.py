"""The command `diff`: two checkpoints beside each other, by their headers."""

from __future__ import annotations

from typing import Any

import click

from inspector.api.settings import PairSettings
from inspector.cli.options import GroupedCommand, access_options, model_argument, setting_options
from inspector.cli.output import EXIT_NO, Output, json_option
from inspector.errors import InspectError
from inspector.memory.estimate import WorkloadSettings


@click.command(
    cls=GroupedCommand,
    examples=(
        ("llm-inspect diff org/name@v1 org/name", "what changed between two revisions"),
        ("llm-inspect diff org/name --set-b num_hidden_layers=40", "what more layers would cost"),
    ),
)
@model_argument("before", metavar="A")
@model_argument("after", metavar="[B]", required=False)
@access_options
@setting_options(PairSettings)
@setting_options(WorkloadSettings)
@json_option
def diff(
    before: str,
    after: str | None,
    token: str | None,
    offline: bool,
    context: int | None,
    output: str,
    **settings: Any,
) -> int:
    """Compare two models, revisions (org/name@REV) or folders by config and headers; no weights are read. One model
    alone: with itself changed (--set-b).

    Exits with 0 if config and the names, shapes and dtypes of all tensors are equal, with 1 if not, and with a higher
    code if one of them could not be read. Memory is that of the same context for both: the smaller default.
    """
    from inspector.api.differences import compare, inspect_pair

    out = Output(output)
    names = (before, before if after is None else after)
    try:
        with out.waiting(*dict.fromkeys(names)):
            pair = inspect_pair(before, after, token=token, offline=offline or None, context=context, **settings)
    except InspectError as error:
        return out.fail(error, before=before, after=names[1])
    for name, inspection in zip(names, pair, strict=True):
        out.notes(inspection.warnings, name)
    from inspector.report.differences import difference_record, print_difference
    from inspector.report.writers import Answer

    difference = compare(*pair)
    out.write(
        Answer(
            names,
            lambda: [difference_record(*pair, difference)],
            lambda: print_difference(out.console, *pair, difference),
        )
    )
    return out.comes_to(0 if difference.equal else EXIT_NO)
