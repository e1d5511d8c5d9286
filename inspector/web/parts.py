"""The parts of an answer: each a function of what was asked, and the library's own records."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

from inspector.api.inspection import Inspection
from inspector.api.settings import DEFAULT_ENGINE, Settings
from inspector.api.training import Trained
from inspector.errors import UsageError
from inspector.record import Record, explanation_record, fit_record, inspection_record, outcome_record, training_record
from inspector.web.command import command_line
from inspector.web.models import Models


@dataclasses.dataclass(frozen=True)
class Asked:
    """A request that was looked at.

    Attributes:
        model: its name, as the user gave it.
        training: whether it is about a step of training; else about inference.
        settings: the keywords of `inspector.train`, or of `inspector.inspect`.
        models: where the model is kept.
    """

    model: str
    revision: str | None
    training: bool
    settings: Mapping[str, Any]
    models: Models

    def inspect(self, settings: Mapping[str, Any]) -> Inspection:
        """The model under other settings."""
        return self.models.inspect(self.model, revision=self.revision, **settings)

    def train(self, settings: Mapping[str, Any]) -> Trained:
        """A step of training under other settings."""
        return self.models.train(self.model, revision=self.revision, **settings)

    @cached_property
    def inspection(self) -> Inspection:
        """The model; of training, with the verdicts of a step."""
        return self.trained.inspection if self.training else self.inspect(self.settings)

    @cached_property
    def trained(self) -> Trained:
        """The step of training."""
        return self.train(self.settings)


def report(asked: Asked) -> Record:
    """The object of `--json --explain`."""
    if asked.training:
        return training_record(asked.inspection, asked.trained.training, explain=True)
    return inspection_record(asked.inspection) | {"explain": explanation_record(asked.inspection)}


def command(asked: Asked) -> str:
    """The command line that prints the report."""
    return command_line(asked.model, asked.revision, asked.settings, training=asked.training)


def launch(asked: Asked) -> Record | None:
    """What starts a server with the settings of the verdict, as `--emit` has it; None where nothing does: without an
    engine, without a device, with several, or where it is not known to fit."""
    from inspector.api.launching import launch_inspected
    from inspector.engines.registry import engine_named

    if asked.training or len(asked.settings.get("gpus", ())) != 1:
        return None
    engine = engine_named(asked.settings.get("engine", DEFAULT_ENGINE))
    if not engine.emits:
        return None
    try:
        found = launch_inspected(
            asked.inspection, Settings(**asked.settings), engine.emits[0], asked.model, asked.revision
        )
    except UsageError as error:
        return {"problem": str(error)}
    return None if found is None else dataclasses.asdict(found)


def devices(asked: Asked) -> list[Record]:
    """The known devices that it fits on, the least memory first: the `fit` objects of `--all-gpus`."""
    if asked.training:
        fits = asked.models.devices_of_training(asked.model, revision=asked.revision, **asked.settings)
    else:
        fits = asked.inspect({**asked.settings, "gpus": (), "all_gpus": True, "all_options": False}).fits
    return [fit_record(fit) for fit in fits]


def article(asked: Asked) -> Record:
    """The same by the article's formulas: the object of `--json --explain --formulas article`."""
    settings = {name: asked.settings[name] for name in ("context", "batch") if name in asked.settings}
    settings["formulas"] = "article"
    if not asked.training:
        settings |= {name: asked.settings[name] for name in ("dtype", "kv_dtype") if name in asked.settings}
        return outcome_record(asked.model, asked.inspect(settings), explain=True)
    whole = {"fp32": "fp32", "mixed": "fp32"}.get(asked.settings.get("precision", ""))
    settings |= {"dtype": whole} if whole else {}
    settings["trainable_parameters"] = asked.trained.training.trainable_parameters
    settings |= {name: asked.settings[name] for name in ("optimizer",) if name in asked.settings}
    trained = asked.train(settings)
    return training_record(trained.inspection, trained.training, explain=True)


PARTS: Mapping[str, Callable[[Asked], Any]] = {
    "report": report,
    "command": command,
    "launch": launch,
    "devices": devices,
    "article": article,
}
"""What a page may want, each with what answers it."""
