"""The command `train`: the memory of one training step."""

from __future__ import annotations

from typing import Any

import click

from inspector.cli.options import (
    SHARDING_NAMES,
    formulas_option,
    source_options,
    training_options,
    workload_options,
)
from inspector.cli.output import EXIT_CANNOT_TELL, Output, output_options
from inspector.errors import InspectError


@click.command()
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

    out = Output(output)
    settings["sharding"] = {name: settings.pop(name) for name in SHARDING_NAMES}
    try:
        inspection, training = api_training.train(
            model, revision=revision, token=token, offline=offline or None, **settings
        )
    except InspectError as error:
        return out.fail(error, model)
    out.notes((*inspection.warnings, *training.warnings))

    def text() -> None:
        from inspector.report.training import print_training

        print_training(out.console, inspection, training, explain=explain)

    from inspector.record import training_record
    from inspector.report.writers import Answer

    out.write(Answer((model,), lambda: [training_record(inspection, training, explain=explain)], text))
    return out.comes_to(0 if training.peak is not None or training.measured else EXIT_CANNOT_TELL)
