"""The parts of an answer: each a function of what was asked, and the library's own records."""

from __future__ import annotations

import dataclasses

from inspector.record import Record, explanation_record, fit_record, inspection_record, training_record
from inspector.web.asked import Asked, read_training
from inspector.web.command import command_line


def report(asked: Asked) -> Record:
    """The object of `--json --explain`."""
    if asked.training:
        return training_record(asked.inspection, asked.trained.training, explain=True)
    return inspection_record(asked.inspection) | {"explain": explanation_record(asked.inspection)}


def layers(asked: Asked) -> list[Record]:
    """The layer table, as `--layers --json` has it."""
    from inspector.record import layer_table_record

    return layer_table_record(asked.inspection.layer_table())


def command(asked: Asked) -> str:
    """The command line that prints the report."""
    return command_line(asked.name, asked.revision, asked.settings, training=asked.training)


def launch(asked: Asked) -> Record | None:
    """What starts a server with the settings of the verdict, as `--emit` has it; None where nothing does: without an
    engine, without a device, with several, or where it is not known to fit."""
    from inspector.api.launching import launch_inspected
    from inspector.engines.registry import engine_named

    if asked.training or len(asked.settings.get("gpus", ())) != 1:
        return None
    question = asked.question(asked.settings)
    emits = engine_named(question.engine).emits
    if not emits:
        return None
    found = launch_inspected(asked.inspection, question, emits[0], asked.name, asked.revision)
    return None if found is None else dataclasses.asdict(found)


def devices(asked: Asked) -> list[Record] | None:
    """The known devices that it fits on, the least memory first: the `fit` objects of `--all-gpus`. None by
    the article's formulas of training, which know no devices."""
    if asked.training:
        from inspector.api.training import devices_of_training

        question = asked.training_question
        weights = asked.models.weights(question)
        if weights is None:
            return None
        return [fit_record(fit) for fit in devices_of_training(asked.models.trained_on(question), weights, question)]
    settings = {**asked.settings, "gpus": (), "all_gpus": True, "all_options": False}
    return [fit_record(fit) for fit in asked.models.inspect(asked.question(settings)).fits]


def article(asked: Asked) -> Record:
    """The same by the article's formulas: the object of `--json --explain --formulas article`."""
    kept = ("context", "batch", "set", "config_only", *(("optimizer",) if asked.training else ("dtype", "kv_dtype")))
    settings = {name: asked.settings[name] for name in kept if name in asked.settings} | {"formulas": "article"}
    if not asked.training:
        inspection = asked.models.inspect(asked.question(settings))
        return inspection_record(inspection) | {"explain": explanation_record(inspection)}
    if asked.training_question.precision in ("fp32", "mixed"):
        settings["dtype"] = "fp32"
    settings["trainable_parameters"] = asked.trained.training.trainable_parameters
    trained = asked.models.train(read_training(asked.model, revision=asked.revision, **settings))
    return training_record(trained.inspection, trained.training, explain=True)
