"""A model that is read once and asked often: `model = inspector.load(ID)`, then `model.estimate(...)`."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from inspector.api.inspection import Inspection, device_specs, inspect_model, read, verdicts
from inspector.api.settings import Access, DesignSettings, DeviceQuestion, EngineSettings, Settings, Source, chosen
from inspector.api.training import TrainingSettings, no_such_setting, train_model
from inspector.memory.estimate import Estimate, WorkloadSettings
from inspector.settings import asking, asking_it

if TYPE_CHECKING:
    from inspector.hub import Checkpoint
    from inspector.memory.training import TrainingEstimate
    from inspector.memory.training.tensors import Weights
    from inspector.model import Model
    from inspector.verdict.fit import Fit


@dataclass(frozen=True, repr=False)
class LoadedModel:
    """A model's config and headers, read; each question to it takes a millisecond or a few and asks no server.

    Attributes:
        checkpoint: what was read.
        model: what it means.
        access: how the Hub is asked for another model that a question names (`reference_repo`).
    """

    checkpoint: Checkpoint
    model: Model
    access: Access = field(default_factory=Access, compare=False)

    def __repr__(self) -> str:
        return f"<LoadedModel {self.checkpoint.repo_id}: {self.model.parameters.total:,} parameters>"

    @asking_it(Settings)
    def inspect(self, settings: Settings) -> Inspection:
        """What `inspector.inspect` answers."""
        own = self.changed(settings)
        return inspect_model(own.checkpoint, own.model, settings, device_specs(settings.gpus))

    @asking_it(WorkloadSettings)
    def estimate(self, settings: WorkloadSettings) -> Estimate:
        """The memory of a workload under transformers: weights, KV cache, activations, overhead."""
        from inspector.memory import estimate

        return estimate(self.model, Settings(**chosen(WorkloadSettings, settings)).workload(self.model))

    @asking_it(DeviceQuestion)
    def fit(self, question: DeviceQuestion) -> Fit:
        """Whether it fits a device, with what headroom, and what would make it fit."""
        settings = Settings(**chosen(EngineSettings, question), gpus=(question.gpu,))
        own = self.changed(settings)
        workload, specs = settings.workload(own.model), device_specs(settings.gpus)
        return verdicts(own.checkpoint, own.model, workload, settings, specs, other_engines=True)[0][0]

    @asking_it(TrainingSettings, no_such_setting)
    def train(self, settings: TrainingSettings) -> TrainingEstimate:
        """The memory that one training step takes on the fullest GPU; a model that it names beside is read for it."""
        from inspector.api.companions import with_companions

        settings = with_companions(settings, self.access)
        tensors = None if settings.formulas == "article" else self.weights
        return train_model(self.checkpoint, self.model, tensors, settings.inference.workload(self.model), settings)

    def changed(self, asked: DesignSettings) -> LoadedModel:
        """This model; with `set` or `config_only`, the design that it is then.

        Raises:
            InspectError: the changes are not ones that its class takes, or it cannot be told from its config alone.
        """
        if not asked.set and not asked.config_only:
            return self
        from inspector.hub.checkpoint import config_alone
        from inspector.model import build_model
        from inspector.model.design.designed import designed

        checkpoint = config_alone(self.checkpoint) if asked.config_only else self.checkpoint
        checkpoint = designed(checkpoint, asked.changes)
        return LoadedModel(checkpoint, build_model(checkpoint), self.access)

    @cached_property
    def weights(self) -> Weights:
        """Its weights as training has them: by block, and which of them adapters go to."""
        from inspector.memory.training import read_weights

        return read_weights(self.checkpoint, self.model.architecture)


@asking(Source)
def load(source: Source) -> LoadedModel:
    """Read a model's config and headers, once, for many questions.

    Args:
        model: a repo ID (`org/name`, `org/name@revision`), a local folder or file, or a config as parsed.
        revision, token, offline, resolver, config_only, set: as for `inspect`.

    Raises:
        InspectError: one of its subclasses, see inspector.errors.
    """
    from inspector.model import build_model

    checkpoint = read(source)
    access = Access(token=source.token, offline=source.offline, resolver=source.resolver)
    return LoadedModel(checkpoint, build_model(checkpoint), access)
