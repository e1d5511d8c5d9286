"""The command `check-log`: a start-up log beside the prediction for its model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from inspector.cli.options import DRAFT_HELP, GPU_HELP, model_argument, source_options
from inspector.cli.output import Output, json_option
from inspector.errors import InspectError, UsageError

if TYPE_CHECKING:
    from inspector.api.inspection import Inspection
    from inspector.engines.common.heads import DraftHead
    from inspector.engines.common.log import LoggedRun
    from inspector.hub import Resolver
    from inspector.model import Model


@click.command("check-log")
@click.argument("file", metavar="FILE")
@model_argument(metavar="MODEL")
@source_options
@click.option(
    "--dtype", default="stored", show_default=True, metavar="TYPE", help="Precision of the weights in the run."
)
@click.option("--gpu", metavar="GPU", help=f"The GPU, where the log does not tell: {GPU_HELP.partition(';')[0]}.")
@click.option("--draft", metavar="MODEL", help=DRAFT_HELP)
@json_option
def check_log(
    file: str,
    model: str,
    revision: str | None,
    token: str | None,
    offline: bool,
    dtype: str,
    gpu: str | None,
    draft: str | None,
    output: str,
) -> int:
    """Show each part that vLLM, SGLang or llama.cpp printed at its start beside the predicted one.

    FILE is the log, or - for standard input; MODEL is the model that was started.
    """
    from inspector.api.inspection import device_specs, inspect
    from inspector.hub import Resolver
    from inspector.logs import clean_lines, compare, open_log, read_log

    specs = device_specs((gpu,)) if gpu else ()
    if len(specs) > 1:
        raise UsageError("check-log compares one kind of GPU", "Name it: --gpu 'RTX 4090'.")
    out = Output(output)
    try:
        with open_log(file) as raw:
            run = read_log(clean_lines(raw))
        with Resolver(token=token, offline=offline or None) as resolver:
            inspection = inspect(model, revision=revision, resolver=resolver, dtype=dtype)
            drafts = _drafts(run, draft, inspection, resolver)
        comparison = compare(
            run,
            inspection.model,
            specs[0] if specs else None,
            dtype=inspection.estimate.workload.dtype,
            draft=drafts,
        )
    except InspectError as error:
        return out.fail(error, model)
    out.notes(inspection.warnings)
    from inspector.report.logs import comparison_record, print_comparison
    from inspector.report.writers import Answer

    name = inspection.checkpoint.repo_id
    out.write(
        Answer(
            (name,),
            lambda: [comparison_record(comparison, name)],
            lambda: print_comparison(out.console, comparison, name),
        )
    )
    return out.exit_code


def _drafts(run: LoggedRun, named: str | None, inspection: Inspection, resolver: Resolver) -> Model | DraftHead | None:
    """What drafted, as the user or the log names it; None where nothing did, or what the log names cannot be read.

    Raises:
        InspectError: what the user names cannot be read.
    """
    from inspector.api.drafts import draft_of

    name = named or run.settings.get("draft")
    if not isinstance(name, str):
        return None
    try:
        return draft_of(name, inspection.checkpoint, inspection.model, resolver).model
    except InspectError:
        if named is not None:
            raise
        return None
