"""What a page shows of a model: its record, explained and layer by layer, and the data of its charts."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from inspector.api.curves import bars, curve
from inspector.errors import InspectError
from inspector.record import layer_table_record, outcome_record, training_record

if TYPE_CHECKING:
    from inspector.api.inspection import Inspection
    from inspector.api.settings import Settings
    from inspector.api.training import Trained
    from inspector.record import Record


def drawn(name: str, outcome: Inspection | InspectError, settings: Settings) -> Record:
    """`record`, as `--json --explain --layers` prints it; `curve` and `bars`: memory over the context and over the
    precisions of the weights, each a `Sweep` as JSON. A model that could not be read has its error record alone.

    Args:
        name: as the user named it.
        settings: those that the outcome is of.
    """
    record = outcome_record(name, outcome, explain=True, layers=True)
    if isinstance(outcome, InspectError):
        return {"record": record}
    sweeps = {"curve": curve(outcome.model, settings), "bars": bars(outcome.model, settings)}
    return {"record": record, **{key: dataclasses.asdict(sweep) for key, sweep in sweeps.items()}}


def drawn_training(trained: Trained) -> Record:
    """`record` of a training step, explained, with its layers."""
    inspection, training = trained
    layers = layer_table_record(inspection.layer_table())
    return {"record": training_record(inspection, training, explain=True) | {"layers": layers}}
