"""The command `fit`: whether a model fits, as an exit code."""

from __future__ import annotations

from typing import Any

import click

from inspector.api.settings import Settings
from inspector.cli.options import (
    GPU_HELP,
    EngineCommand,
    model_argument,
    output_options,
    setting_options,
    source_options,
    with_serving,
)
from inspector.cli.output import Output
from inspector.errors import InspectError, UsageError


@click.command(
    cls=EngineCommand,
    examples=(
        ("llm-inspect fit Qwen/Qwen3-8B --gpu 'RTX 4090' --engine vllm", "how many requests vLLM serves at once"),
        ("llm-inspect fit Qwen/Qwen3-32B --all-gpus --dtype awq", "the devices that hold it in 4 bits"),
    ),
)
@model_argument()
@source_options
@setting_options(Settings, help={"gpus": GPU_HELP})
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
    out = Output(output)
    try:
        with out.waiting(model):
            inspection = inspect(
                model, revision=revision, token=token, offline=offline or None, **with_serving(settings)
            )
    except InspectError as error:
        return out.fail(error, model)
    out.notes(inspection.warnings)
    out.details(inspection)

    def text() -> None:
        if settings["all_gpus"]:
            from inspector.report.lists import print_fleet

            print_fleet(out.console, inspection)
        else:
            from inspector.report.text import print_verdicts

            print_verdicts(out.console, inspection, explain=explain)

    from inspector.record import outcome_record
    from inspector.report.writers import Answer

    out.write(Answer((model,), lambda: [outcome_record(model, inspection, explain=explain)], text))
    return out.verdicts([each.fits for each in inspection.fits])
