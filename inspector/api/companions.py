"""The models that a training question names beside the one that trains."""

from __future__ import annotations

import dataclasses
from typing import TypeVar

from inspector.api.inspection import read
from inspector.api.settings import Access, Source
from inspector.memory.training import TrainingSetup, read_weights
from inspector.memory.training.objectives.companion import Companion
from inspector.memory.training.objectives.settings import REPOS
from inspector.model import build_model

Asked = TypeVar("Asked", bound=TrainingSetup)


def with_companions(asked: Asked, access: Access) -> Asked:
    """The same question with the models that it names read; a model that is there already is not read again.

    Raises:
        InspectError: as `inspect`.
    """
    named = [(name, repo) for name in REPOS if (repo := getattr(asked, name)) is not None]
    if not named:
        return asked
    known = {(each.setting, each.name): each for each in asked.companions}
    found = tuple(known.get(one) or _read(*one, access) for one in named)
    return dataclasses.replace(asked, companions=found)


def _read(setting: str, repo: str, access: Access) -> Companion:
    checkpoint = read(Source(repo, token=access.token, offline=access.offline, resolver=access.resolver))
    model = build_model(checkpoint)
    return Companion(setting, repo, model, read_weights(checkpoint, model.architecture))
