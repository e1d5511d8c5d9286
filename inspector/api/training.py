"""The library's `train`: a model's inspection beside the memory of one training step."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from inspector.api.inspection import Inspection, device_specs, inspect_checkpoint, read
from inspector.api.settings import DeviceSettings, Settings, Source, chosen
from inspector.errors import UsageError
from inspector.hub import Checkpoint
from inspector.memory.estimate import RunSettings, Workload
from inspector.memory.training import (
    Sharding,
    TrainingEstimate,
    TrainingSetup,
    Weights,
    article_training,
    read_weights,
    training_estimate,
)
from inspector.memory.training.layout import LayoutSettings
from inspector.model import Model
from inspector.settings import asking, read_share, read_values

if TYPE_CHECKING:
    from inspector.verdict.fit import Fit


@dataclass(frozen=True, kw_only=True)
class TrainingSettings(TrainingSetup, RunSettings):
    """What is asked of one training step.

    Attributes:
        trainable_parameters: for the article's formulas alone: a number, or a share of all ("50%"); all of the
            model's where None.
        measure: also run the step with the real class under fake tensors (needs the extra `measure`).
        sharding: over which GPUs: a `Sharding`, or its fields (zero, fsdp, tp, grad_accum, ...).
    """

    trainable_parameters: int | str | None = None
    measure: bool = False
    sharding: Sharding | Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """What is not told apart by the formulas; the rest is looked at by `setup` and `over`."""
        article = self.formulas == "article"
        if not article and self.dtype != "stored":
            raise UsageError("what trains has a --precision, not a --dtype", "A base in 4 bits is --method qlora.")
        if article and self.method != "full":
            raise UsageError(
                f"the article has no formula for {self.method}",
                "It takes --trainable: a number, or 50%.",
            )
        if isinstance(self.trainable_parameters, str):
            read_share(self.trainable_parameters)
        if article:
            _refuse_beside_article(self)
        elif self.trainable_parameters is not None:
            raise UsageError("the number of trainable parameters follows from the method", "Use --method lora.")

    @property
    def setup(self) -> TrainingSetup:
        """How it is trained.

        Raises:
            UsageError: no run can have these settings together.
        """
        try:
            return TrainingSetup(**chosen(TrainingSetup, self), companions=self.companions)
        except TypeError as error:
            raise no_such_setting(error) from None

    @property
    def over(self) -> Sharding:
        """Over which GPUs.

        Raises:
            UsageError: no run can have these degrees together.
        """
        if isinstance(self.sharding, Sharding):
            return self.sharding
        try:
            return Sharding(**read_values(Sharding, self.sharding, "sharding"))
        except TypeError as error:
            raise UsageError(f"no such setting of sharding: {error}") from None

    @property
    def inference(self) -> Settings:
        """What is asked of the model beside: a training step is sized with text alone."""
        return Settings(**chosen(RunSettings, self), images=0)


def no_such_setting(error: TypeError) -> UsageError:
    """What is said of arguments that `train` does not have, or not of this type."""
    return UsageError(f"no such setting of training: {error}")


@dataclass(frozen=True, kw_only=True)
class TrainingQuestion(Source, DeviceSettings, LayoutSettings, TrainingSettings):
    """What `train` is asked."""


class Trained(NamedTuple):
    """What `train` answers.

    Attributes:
        inspection: the model; its `fits` are those of training.
        training: the memory of one step on the fullest GPU.
    """

    inspection: Inspection
    training: TrainingEstimate

    def __repr__(self) -> str:
        return f"<Trained {self.inspection.checkpoint.repo_id}: {self.training!r}>"

    @property
    def peak(self) -> int | None:
        """Bytes at the peak; None where that is not known."""
        return self.training.peak

    @property
    def fits(self) -> tuple[Fit, ...]:
        """A verdict for each device that was asked for."""
        return self.inspection.fits

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the reader of the numbers should know, each once."""
        return tuple(dict.fromkeys((*self.inspection.warnings, *self.training.warnings)))

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of `train --json`."""
        from inspector.record import training_record

        return training_record(self.inspection, self.training)


@asking(TrainingQuestion, no_such_setting)
def train(question: TrainingQuestion) -> Trained:
    """The memory that one training step takes on the fullest GPU; the inspection's `fits` are those of training.

    Args:
        model: as for `inspect`; so are gpus, resolver, revision, token, offline, context, batch and formulas.
        trainable_parameters: for the article's formulas alone: a number, or a share of all ("50%"); all of the
            model's where None.
        measure: also run the step with the real class under fake tensors (needs the extra `measure`).
        sharding: over which GPUs: an `inspector.Sharding` or its fields (zero, fsdp, tp, grad_accum, ...).
        method, precision, ...: the fields of `memory.training.TrainingSetup`.

    Raises:
        InspectError: one of its subclasses; UsageError for settings that no run can have.
    """
    if question.formulas != "article":
        _ = question.setup, question.over, device_specs(question.gpus)  # all is refused before anything is read
    checkpoint = read(question)
    if question.formulas != "article":
        from inspector.api.companions import with_companions

        question = with_companions(question, question)
    inspection = inspect_checkpoint(checkpoint, question.inference, ())
    tensors = None if question.formulas == "article" else read_weights(checkpoint, inspection.model.architecture)
    return train_inspected(inspection, tensors, question)


def train_inspected(inspection: Inspection, tensors: Weights | None, question: TrainingQuestion) -> Trained:
    """`train` of a model that was inspected for `question.inference`.

    Args:
        tensors: its weights, as `read_weights` has them; None for the article's formulas.
    """
    from inspector.api.layouts import proposed, refuse_without_gpus, settings_with

    proposal, workload = None, inspection.estimate.workload
    if question.total_gpus is not None:
        proposal = proposed(inspection, question.setup, question.over, tensors, question, question.gpus)
        question = dataclasses.replace(question, **settings_with(proposal, question.over))
        workload = dataclasses.replace(workload, batch=question.batch)
    else:
        refuse_without_gpus(question)
    model = inspection.model
    training = train_model(inspection.checkpoint, model, tensors, workload, question)
    training = dataclasses.replace(training, layout=proposal)
    if question.gpus and tensors:
        from inspector.verdict.training import check_training

        fits = tuple(
            check_training(model, workload, question.setup, question.over, tensors, spec)
            for spec in device_specs(question.gpus)
        )
        inspection = dataclasses.replace(inspection, fits=fits)
    return Trained(inspection, training)


def devices_of_training(inspection: Inspection, tensors: Weights, asked: TrainingSettings) -> tuple[Fit, ...]:
    """The known devices that a step fits, the least memory first.

    Args:
        inspection: of the model, for `asked.inference`.
        tensors: its weights, as `read_weights` has them.
    """
    from inspector.verdict.training import trains_on

    return trains_on(inspection.model, inspection.estimate.workload, asked.setup, asked.over, tensors)


def train_model(
    checkpoint: Checkpoint, model: Model, tensors: Weights | None, workload: Workload, asked: TrainingSettings
) -> TrainingEstimate:
    """What a training step of a model that was read takes.

    Args:
        tensors: its weights, as `read_weights` has them; None for the article's formulas.
        workload: of `asked.inference`.
    """
    if tensors is None:
        return article_training(model, workload, asked.optimizer, asked.trainable_parameters)
    setup, sharding = asked.setup, asked.over
    setup.check_lengths(workload.context)
    specs, plain = device_specs(getattr(asked, "gpus", ())), setup
    if specs:
        setup = setup.on_gpu(specs[0].capacity)
    training = training_estimate(model, workload, setup, sharding, tensors)
    if setup is not plain and len(specs) > 1:
        first = f"the account is that of {specs[0].name}: vLLM takes a share of each GPU's own memory"
        training = dataclasses.replace(training, warnings=(*training.warnings, first))
    if asked.measure:
        from inspector.api.measured import measured

        training = dataclasses.replace(training, measured=measured(checkpoint, model, workload, setup, sharding))
    return training


def _refuse_beside_article(asked: TrainingSettings) -> None:
    """The article's formulas for training have neither settings of a step nor GPUs: none is left out unsaid."""
    usual = {**dataclasses.asdict(TrainingSetup()), **dataclasses.asdict(Sharding()), "measure": False, "gpus": ()}
    given = {name: getattr(asked, name) for name in (*chosen(TrainingSetup, asked), "measure")}
    given["gpus"] = getattr(asked, "gpus", ())
    given |= dataclasses.asdict(asked.sharding) if isinstance(asked.sharding, Sharding) else asked.sharding
    for name in given.keys() - {"optimizer"}:
        if given[name] != usual.get(name):
            option = {"gpus": "gpu", "compiled": "compile"}.get(name, name).replace("_", "-")
            raise UsageError(
                f"the article's formulas for training have no --{option}",
                "They take --optimizer, --trainable, --dtype, --context and --batch.",
            )
