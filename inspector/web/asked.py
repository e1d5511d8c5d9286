"""A request that was looked at, and what the library makes of it, each once."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from inspector.api.inspection import Inspection
from inspector.api.settings import Question
from inspector.api.training import Trained, TrainingQuestion, no_such_setting
from inspector.hub.formats.documents import CONFIG_FILE
from inspector.settings import asking
from inspector.web.models import Models


@asking(Question)
def read_question(question: Question) -> Question:
    """What is asked of inference, read from what people write."""
    return question


@asking(TrainingQuestion, no_such_setting)
def read_training(question: TrainingQuestion) -> TrainingQuestion:
    """What is asked of a training step, likewise."""
    return question


@dataclasses.dataclass(frozen=True)
class Asked:
    """A request that was looked at.

    Attributes:
        model: its name, as the user gave it, or its config.
        training: whether it is about a step of training; else about inference.
        settings: the keywords of `inspector.train`, or of `inspector.inspect`.
        over: what curves are over: "context" or "batch".
        models: where the model is kept.
    """

    model: str | Mapping[str, Any]
    revision: str | None
    training: bool
    settings: Mapping[str, Any]
    over: Any
    models: Models

    @property
    def name(self) -> str:
        """What a command line calls the model: a pasted config, the file that it would be in."""
        return self.model if isinstance(self.model, str) else CONFIG_FILE

    def question(self, settings: Mapping[str, Any]) -> Question:
        """Under these settings, of inference."""
        return read_question(self.model, revision=self.revision, **settings)

    @cached_property
    def training_question(self) -> TrainingQuestion:
        """Of training, with the models that it names beside the one that trains."""
        return self.models.with_companions(read_training(self.model, revision=self.revision, **self.settings))

    @cached_property
    def inspection(self) -> Inspection:
        """The model; of training, with the verdicts of a step."""
        return self.trained.inspection if self.training else self.models.inspect(self.question(self.settings))

    @cached_property
    def trained(self) -> Trained:
        """The step of training."""
        return self.models.train(self.training_question)
