"""`train --config`: a trainer's file as the settings of the command, and the patch to it that makes the step fit."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from inspector.errors import InspectError, UnreadableModel
from inspector.trainers import Run, read_run
from inspector.trainers.files import values_of
from inspector.trainers.patch import diff, patches, shorter, smaller
from inspector.trainers.run import run_of

if TYPE_CHECKING:
    from inspector.api.training import Trained

STEP = 8
"""Tokens of which a shorter context is a multiple."""


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
    gpus, objective = processes or _count(settings["gpus"]), _objective(settings, given)
    run = read_run(files, processes=gpus, without=without, given=given, objective=objective)
    for name, value in (*run.settings.items(), *run.sharding.items()):
        if name not in given:
            settings[name] = value
    named = model is not None
    return (model if named else run.model), (revision or (None if named else run.revision)), run


def _given(settings: dict[str, Any]) -> set[str]:
    """The settings that the command line gives."""
    source = click.get_current_context().get_parameter_source
    return {name for name in settings if source(name) not in (ParameterSource.DEFAULT, None)}


def _objective(settings: dict[str, Any], given: set[str]) -> str:
    """The objective that the command line gives; "" for none."""
    return str(settings["objective"]) if "objective" in given else ""


def _count(gpus: Sequence[str]) -> int | None:
    """The number of GPUs that --gpu names, where it names several; None where it does not."""
    from inspector.api.inspection import device_specs

    return max((spec.count for spec in device_specs(gpus) if spec.count > 1), default=None)


def refuse_other_dtype(run: Run, trained: Trained, settings: dict[str, Any]) -> None:
    """Refuse a base that keeps its own dtype, where that is not the one that the settings take it for.

    Raises:
        UnreadableModel: the files are of fp32, and the step is that of a base in bf16.
    """
    model = trained.inspection.model
    own = str(model.architecture.dtype or model.stored_dtype or "").lower()
    taken = settings["precision"] != "fp32" and "precision" not in _given(settings)
    if run.own_dtype and own in ("float32", "f32") and taken:
        raise UnreadableModel(
            f"{run.document.name}: {run.trainer.title} keeps this model's own fp32 weights, and a step of bf16 over"
            " them is not modelled",
            "As if they were bf16: --precision bf16 or mixed. Without autocast: --precision fp32.",
        )


def told(run: Run, trained: Trained, access: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """What the report says of the files, with `patch`: the smallest diff with which the step fits; "" for none.

    `no_patch` says why there is none where the step does not fit, and is "" else.
    """
    failed = [fit for fit in trained.fits if fit.fits is False]
    patch, why = "", ""
    if failed:
        trial = _Trial(run, trained, access, settings | _counted(trained))
        patch = trial.first([change for fit in failed for change in fit.changes])
        if not patch:
            why = "none of the changes that were tried makes it fit" if trial.texts else NOT_BY_LINES
    return run.to_dict() | {"patch": patch, "no_patch": why}


def _counted(trained: Trained) -> dict[str, int]:
    """The images that a step counts, as a setting: a patched file has to hold them, too."""
    from inspector.memory.training.vision import counted_images

    count = counted_images(trained.inspection.model, trained.training)
    return {} if count is None else {"images": count}


NOT_BY_LINES = "its keys cannot be changed line by line"


@dataclasses.dataclass
class _Trial:
    """Files that are read again and sized, as the command's question would have them: what is printed was tried.

    Attributes:
        texts: how many files were tried.
    """

    run: Run
    trained: Trained
    access: dict[str, Any]
    settings: dict[str, Any]
    texts: int = 0

    def first(self, changes: Sequence[Any]) -> str:
        """The first diff with which the file fits."""
        tried = chain(patches(self.run, changes), smaller(self.run))
        text = next((text for text in tried if self.fits(text)), None)
        text = text if text is not None else self._shortest()
        return diff(self.run, text) if text is not None else ""

    def _shortest(self) -> str | None:
        """The file with the longest context that fits, in steps of `STEP` tokens."""
        from inspector.verdict.fit import largest_that_fits

        most = (int(self.run.settings.get("context", 0)) - 1) // STEP
        if most < 1:
            return None
        for at in range(len(list(shorter(self.run, STEP)))):

            def text(steps: int, at: int = at) -> str:
                return list(shorter(self.run, steps * STEP))[at]

            found = largest_that_fits(lambda steps, text=text: (self.fits(text(steps)), None), most)  # type: ignore[misc]
            if found:
                return text(found)
        return None

    def fits(self, text: str) -> bool:
        """Whether the step of a changed file fits, with what torch's allocator reserves where that is known."""
        from inspector.api.inspection import device_specs, inspect_checkpoint
        from inspector.api.training import TrainingQuestion
        from inspector.memory.training import read_weights, training_estimate
        from inspector.verdict.training import check_training, over_reserved

        self.texts += 1
        checkpoint, settings = self.trained.inspection.checkpoint, self.settings
        given = _given({**settings, **settings["sharding"]})
        document = self.run.document
        try:
            changed = dataclasses.replace(document, text=text, values=values_of(document.name, text))
            documents = [changed, *self.run.beside]
            keys = {key for each in documents for key in each.values}
            other = run_of(
                documents,
                processes=self.run.processes,
                without=keys,
                given=given | {"context"},
                objective=_objective(settings, given),
            )
            own = {name: value for name, value in other.settings.items() if name not in given}
            spread = {name: value for name, value in other.sharding.items() if name not in given}
            asked = {**settings, **own, "sharding": {**settings["sharding"], **spread}}
            asked["companions"] = self.trained.training.setup.companions
            question = TrainingQuestion(model=checkpoint.repo_id, **self.access, **asked)
            inspection = inspect_checkpoint(checkpoint, question.inference, ())
            weights = read_weights(checkpoint, inspection.model.architecture)
            for spec in device_specs(question.gpus):
                workload = inspection.estimate.workload
                known = training_estimate(inspection.model, workload, question.setup, question.over, weights)
                fit = check_training(
                    inspection.model,
                    workload,
                    question.setup,
                    question.over,
                    weights,
                    spec,
                    searches=False,
                    known=known,
                )
                if not fit.fits or over_reserved(known, fit):
                    return False
        except InspectError:
            return False
        return True
