"""The models that a training question names beside the one that trains."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TypeVar

from inspector.api.inspection import read
from inspector.api.settings import Access, Source
from inspector.memory.training import TrainingSetup, Weights, read_weights
from inspector.memory.training.objectives.companion import Companion
from inspector.memory.training.objectives.settings import REPOS
from inspector.model import Model, build_model

Asked = TypeVar("Asked", bound=TrainingSetup)


def with_companions(asked: Asked, access: Access) -> Asked:
    """The same question with the models that it names read; a model that is there already is not read again.

    Raises:
        InspectError: as `inspect`.
    """

    def read_one(repo: str) -> tuple[Model, Weights]:
        checkpoint = read(Source(repo, token=access.token, offline=access.offline, resolver=access.resolver))
        model = build_model(checkpoint)
        return model, read_weights(checkpoint, model.architecture)

    return with_models(asked, read_one)


def with_models(asked: Asked, read_one: Callable[[str], tuple[Model, Weights]]) -> Asked:
    """The same, where the caller reads: a repo ID -> the model, and its weights as training has them."""
    named = [(name, repo) for name in REPOS if (repo := getattr(asked, name)) is not None]
    if not named:
        return asked
    known = {(each.setting, each.name): each for each in asked.companions}
    found = tuple(known.get((name, repo)) or Companion(name, repo, *read_one(repo)) for name, repo in named)
    return dataclasses.replace(asked, companions=found)
