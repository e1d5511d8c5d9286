"""`train` over so many GPUs: the layout that is proposed, as the settings of a step."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from inspector.advice.layouts import propose_layout
from inspector.api.inspection import Inspection, device_specs
from inspector.errors import UsageError
from inspector.memory.training import Sharding, TrainingSetup, Weights
from inspector.memory.training.layout import LayoutSettings, Proposal
from inspector.settings import settings_of


def proposed(
    inspection: Inspection,
    setup: TrainingSetup,
    over: Sharding,
    tensors: Weights | None,
    asked: LayoutSettings,
    gpus: Sequence[str],
) -> Proposal:
    """The layout for `asked.total_gpus`; the simplest has to fit all devices that were asked for.

    Raises:
        UsageError: the article's formulas were asked for, which have none; or see `propose_layout`.
    """
    if tensors is None:
        raise UsageError("the article's formulas have no layout", "Leave out --gpus.")
    capacity = min((spec.capacity for spec in device_specs(gpus)), default=None)
    return propose_layout(inspection.model, inspection.estimate.workload, setup, over, tensors, asked, capacity)


def settings_with(proposal: Proposal, over: Sharding) -> dict[str, Any]:
    """The settings of a step that has the proposed layout, in place of a number of GPUs."""
    own, degrees = dict(proposal.least.settings), settings_of(Sharding)
    spread = dataclasses.asdict(over) | {name: own.pop(name) for name in list(own) if name in degrees}
    return own | {"sharding": Sharding(**spread), "total_gpus": None, "global_batch": None, "kept": ()}


def refuse_without_gpus(asked: LayoutSettings) -> None:
    """Refuse what only a layout has.

    Raises:
        UsageError: there is such a setting.
    """
    usual = settings_of(LayoutSettings)
    for name in ("global_batch", "node_gpus"):
        if getattr(asked, name) != usual[name].default:
            raise UsageError(f"{usual[name].about.option} is of a layout that is proposed", "Add --gpus N.")
