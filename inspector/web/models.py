"""The models that the page asks about: read once, the last few kept, so that a slider's move reads nothing."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any

from inspector.api.inspection import Inspection, device_specs, inspect_model
from inspector.api.loaded import LoadedModel, load
from inspector.api.settings import Question, Source
from inspector.api.training import Trained, TrainingQuestion, train_inspected
from inspector.errors import UsageError
from inspector.hub import Resolver
from inspector.hub.repo_id import LocalPath, model_text, parse_model
from inspector.memory.training import Weights
from inspector.model import Model

KEPT = 16
"""Models: DeepSeek-V3's 91,991 tensors take the most of those that are bundled."""


class Models:
    """Models by name, for a page; the attributes are the arguments.

    Args:
        resolver: how they are read; None for one that asks no server.
        paths: the folders and files of this machine that may be asked for, as the user typed them: no others are read.
    """

    def __init__(self, resolver: Resolver | None = None, paths: Iterable[str] = ()) -> None:
        self.resolver = resolver or Resolver(offline=True)
        self.paths = tuple(paths)
        self._kept: OrderedDict[str, LoadedModel] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, source: Source) -> LoadedModel:
        """The model that is asked about, its config changed as is asked: read now or before.

        Raises:
            InspectError: it cannot be read; UsageError for a path that is none of `paths`.
        """
        name = source.model if isinstance(source.model, Mapping) else model_text(source.model)
        key = json.dumps([name, source.revision, source.config_only, source.set])
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        self._refuse_path(name, source.revision)
        found = load(
            name,
            revision=source.revision,
            config_only=source.config_only,
            set=source.set,
            resolver=self.resolver,
        )
        with self._lock:
            self._kept[key] = found
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return found

    def _refuse_path(self, model: str | Mapping[str, Any], revision: str | None) -> None:
        if not isinstance(model, str) or model in self.paths or not isinstance(parse_model(model, revision), LocalPath):
            return
        raise UsageError(
            f"{model:.200} is on this machine, and was not named when the page was started",
            "Start it with the folder: llm-inspect web ./folder.",
        )

    def inspect(self, question: Question) -> Inspection:
        """What `inspector.inspect` answers."""
        specs, loaded = device_specs(question.gpus), self.of(question)
        return inspect_model(loaded.checkpoint, loaded.model, question, specs, other_engines=bool(specs))

    def train(self, question: TrainingQuestion) -> Trained:
        """What `inspector.train` answers."""
        return train_inspected(self.trained_on(question), self.weights(question), question)

    def with_companions(self, question: TrainingQuestion) -> TrainingQuestion:
        """The question with the models that it names beside the one that trains, read as that is."""
        from inspector.api.companions import with_models

        def read_one(repo: str) -> tuple[Model, Weights]:
            loaded = self.of(Source(repo))
            return loaded.model, loaded.weights

        return with_models(question, read_one)

    def trained_on(self, question: TrainingQuestion) -> Inspection:
        """The model, without the step."""
        loaded = self.of(question)
        return inspect_model(loaded.checkpoint, loaded.model, question.inference, ())

    def weights(self, question: TrainingQuestion) -> Weights | None:
        """Its weights as training has them; None for the article's formulas, which need none."""
        return None if question.formulas == "article" else self.of(question).weights
