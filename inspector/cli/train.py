"""The command `train`: the memory of one training step."""

from __future__ import annotations

from typing import Any

import click

from inspector.cli.options import (
    SHARDING_NAMES,
    formulas_option,
    output_options,
    source_options,
    training_options,
    workload_options,
)
from inspector.cli.output import console, failed, print_json, print_warnings
from inspector.errors import InspectError, UsageError

EXIT_CANNOT_TELL = 4


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

    if output not in ("text", "json"):
        raise UsageError(f"train prints text or json, not {output}")
    settings["sharding"] = {name: settings.pop(name) for name in SHARDING_NAMES}
    try:
        inspection, training = api_training.train(
            model, revision=revision, token=token, offline=offline or None, **settings
        )
    except InspectError as error:
        return failed(model, error, output)
    print_warnings(inspection, more=training.warnings)
    if output == "text":
        from inspector.report.text import print_training

        print_training(console(), inspection, training, explain=explain)
    else:
        from inspector.record import part_record, training_record

        record = training_record(inspection, training)
        if explain:
            record["explain"] = [part_record(part) for part in (*training.parts, *training.off_card)]
        print_json(record)
    return 0 if training.peak is not None or training.measured else EXIT_CANNOT_TELL
