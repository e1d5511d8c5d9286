"""The library's `train`: a model's inspection beside the memory of one training step."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from inspector.api.inspection import Inspection, device_specs, inspect
from inspector.errors import UsageError
from inspector.memory.training import (
    Sharding,
    TrainingEstimate,
    TrainingSetup,
    article_training,
    read_weights,
    training_estimate,
)

if TYPE_CHECKING:
    from inspector.hub import Resolver
    from inspector.memory import Formulas


def train(
    model: str,
    *,
    trainable_parameters: int | None = None,
    sharding: Mapping[str, Any] | None = None,
    measure: bool = False,
    gpus: tuple[str, ...] = (),
    resolver: Resolver | None = None,
    revision: str | None = None,
    token: str | bool | None = None,
    offline: bool | None = None,
    context: int | None = None,
    batch: int = 1,
    dtype: str = "stored",
    kv_dtype: str | None = None,
    formulas: Formulas = "exact",
    **how: Any,
) -> tuple[Inspection, TrainingEstimate]:
    """The memory that one training step takes on the fullest card; the inspection's `fits` are those of training.

    Args:
        model: as for `inspect`; so are gpus, resolver, revision, token, offline, context, batch and formulas.
        trainable_parameters: for the article's formulas alone; all of the model's where None.
        measure: also run the step with the real class under fake tensors (needs the extra `measure`).
        sharding: over which cards: the fields of `memory.training.Sharding` (zero, fsdp, tp, grad_accum, ...).
        how: the fields of `memory.training.TrainingSetup` (method, precision, optimizer, lora_rank, ...).

    Raises:
        InspectError: one of its subclasses; UsageError for settings that no run can have.
    """
    if kv_dtype is not None:
        raise UsageError("a training step keeps no KV cache", "Leave out --kv-dtype.")
    if formulas != "article" and dtype != "stored":
        raise UsageError("what trains has a --precision, not a --dtype", "A base in 4 bits is --method qlora.")
    # A training step is sized with text alone.
    asked: dict[str, Any] = {"context": context, "batch": batch, "dtype": dtype, "formulas": formulas, "images": 0}
    where: dict[str, Any] = {"revision": revision, "token": token, "offline": offline, "resolver": resolver}
    try:
        setup = TrainingSetup(**{**how, "optimizer": "adamw"} if formulas == "article" else how)
    except TypeError as error:
        raise UsageError(f"no such setting of training: {error}") from None
    if formulas == "article":
        if setup.method != "full":
            raise UsageError(f"the article has no formula for {setup.method}", "It takes a number: --trainable N.")
        _refuse_beside_article(how, sharding or {}, measure=measure, gpus=gpus)
        inspection = inspect(model, **where, **asked)
        workload = inspection.estimate.workload
        return inspection, article_training(
            inspection.model, workload, how.get("optimizer", "adamw"), trainable_parameters
        )
    if trainable_parameters is not None:
        raise UsageError("the number of trainable parameters follows from the method", "Use --method lora.")
    try:
        cards = Sharding(**sharding or {})
    except TypeError as error:
        raise UsageError(f"no such setting of sharding: {error}") from None
    specs = device_specs(gpus)
    inspection = inspect(model, **where, **asked)
    tensors = read_weights(inspection.checkpoint, inspection.model.architecture)
    workload = inspection.estimate.workload
    training = training_estimate(inspection.model, workload, setup, cards, tensors)
    if measure:
        training = dataclasses.replace(training, measured=_measured(inspection, setup, cards))
    if specs:
        from inspector.fit.training import check_training

        fits = tuple(check_training(inspection.model, workload, setup, cards, tensors, spec) for spec in specs)
        inspection = dataclasses.replace(inspection, fits=fits)
    return inspection, training


def _refuse_beside_article(how: Mapping[str, Any], sharding: Mapping[str, Any], **others: Any) -> None:
    """The article's formulas for training have neither settings of a step nor cards: none is left out unsaid."""
    usual = {**dataclasses.asdict(TrainingSetup()), **dataclasses.asdict(Sharding()), "measure": False, "gpus": ()}
    given = {**how, **sharding, **others}
    for name in given.keys() - {"optimizer"}:
        if given[name] != usual[name]:
            option = {"gpus": "gpu", "compiled": "compile"}.get(name, name).replace("_", "-")
            raise UsageError(
                f"the article's formulas for training have no --{option}",
                "They take --optimizer, --trainable, --dtype, --context and --batch.",
            )


def _measured(inspection: Inspection, setup: TrainingSetup, sharding: Sharding) -> Mapping[str, int]:
    if sharding.cards > 1 or sharding.offload:
        raise UsageError("--measure runs one card", "Leave the parallel options out.")
    try:
        from inspector.measure.training import measure_training
    except ImportError as error:
        raise UsageError(f"--measure needs {error.name or 'torch'}", "pip install 'llm-inspect[measure]'") from None
    return measure_training(inspection.checkpoint.config, inspection.estimate.workload, setup)
