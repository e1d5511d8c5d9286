"""`train --config`: a trainer's file as the settings of the command, and the patch to it that makes the step fit."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from inspector.errors import InspectError
from inspector.trainers import Run, read_run
from inspector.trainers.files import values_of
from inspector.trainers.patch import diff, patches
from inspector.trainers.run import run_of

if TYPE_CHECKING:
    from inspector.api.training import Trained


def configured(
    model: str | None,
    revision: str | None,
    settings: dict[str, Any],
    files: Sequence[Path],
    processes: int | None,
    without: Sequence[str],
) -> tuple[str | None, str | None, Run]:
    """The model, its revision, and the run of the files, whose settings are put in place of what was not given.

    Raises:
        InspectError: a file that cannot be read, or says what is not modelled.
    """
    given = _given(settings)
    run = read_run(files, processes=processes or _count(settings["gpus"]), without=without, given=given)
    for name, value in (*run.settings.items(), *run.sharding.items()):
        if name not in given:
            settings[name] = value
    named = model is not None
    return (model if named else run.model), (revision or (None if named else run.revision)), run


def _given(settings: dict[str, Any]) -> set[str]:
    """The settings that the command line gives."""
    source = click.get_current_context().get_parameter_source
    return {name for name in settings if source(name) not in (ParameterSource.DEFAULT, None)}


def _count(gpus: Sequence[str]) -> int | None:
    """The number of GPUs that --gpu names, where it names several; None where it does not."""
    from inspector.api.inspection import device_specs

    return max((spec.count for spec in device_specs(gpus) if spec.count > 1), default=None)


def told(run: Run, trained: Trained, access: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """What the report says of the files, with `patch`: the smallest diff with which the step fits; "" for none."""
    changes = [change for fit in trained.fits if fit.fits is False for change in fit.changes]
    return run.to_dict() | {"patch": _patch(run, trained, changes, access, settings)}


def _patch(run: Run, trained: Trained, changes: Sequence[Any], access: dict[str, Any], settings: dict[str, Any]) -> str:
    """The first diff with which the file, read again, fits: what is printed was tried."""
    from inspector.api.inspection import inspect_checkpoint
    from inspector.api.training import TrainingQuestion, train_inspected
    from inspector.memory.training import read_weights

    checkpoint, given = trained.inspection.checkpoint, _given({**settings, **settings["sharding"]})
    for _, text in patches(run, changes):
        document = dataclasses.replace(run.document, text=text, values=values_of(run.document.name, text))
        try:
            other = run_of([document], processes=run.processes, without=run.document.values, given=settings)
            changed = {name: value for name, value in other.settings.items() if name not in given}
            spread = {name: value for name, value in other.sharding.items() if name not in given}
            asked = {**settings, **changed, "sharding": {**settings["sharding"], **spread}}
            question = TrainingQuestion(model=checkpoint.repo_id, **access, **asked)
            inspection = inspect_checkpoint(checkpoint, question.inference, ())
            again = train_inspected(inspection, read_weights(checkpoint, inspection.model.architecture), question)
        except InspectError:
            continue
        if all(fit.fits for fit in again.fits):
            return diff(run, text)
    return ""
