"""`inspect_beside`: a model with what is loaded beside it: what drafts for it, an encoder's own file."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from inspector.api.inspection import Inspection, checkpoint_of, device_specs, inspect_model, resolver_of
from inspector.api.settings import Question, Settings, chosen
from inspector.errors import UsageError
from inspector.settings import asking

if TYPE_CHECKING:
    from os import PathLike

    from inspector.engines.common.heads import Draft
    from inspector.engines.engine import Engine
    from inspector.hub import Checkpoint, Resolver
    from inspector.model import Model


class Beside(NamedTuple):
    """A model as it is served, what drafts for it, and the file of an encoder for images or sound."""

    inspection: Inspection
    draft: Draft | None = None
    projector: Checkpoint | None = None


@dataclass(frozen=True, kw_only=True)
class BesideQuestion(Question):
    """What `inspect_beside` is asked."""

    draft: str | PathLike[str] | None = None
    mmproj: str | PathLike[str] | None = None


@asking(BesideQuestion)
def inspect_beside(question: BesideQuestion) -> Beside:
    """`inspect` of a model that an engine serves with a draft model (speculative decoding), or with an encoder's file.

    Args:
        model: the model, as for `inspect`.
        draft: the draft model, or a head for the model (EAGLE, EAGLE-3): a repo ID, a local folder or file; "mtp" for
            the model's own layers for multi-token prediction.
        mmproj: the encoder's GGUF file: in the model's own repo its name, else `repo:FILE` or a path.

    Raises:
        InspectError: one of its subclasses, see inspector.errors; `UsageError` where the engine has no account of it.
    """
    from inspector.engines.registry import engine_named
    from inspector.model import build_model

    settings = Settings(**chosen(Settings, question))
    specs, engine = device_specs(settings.gpus), engine_named(settings.engine)
    draft = projector = None
    with resolver_of(question) as resolver:
        checkpoint = checkpoint_of(resolver, question.model, question.revision, question)
        model, own = build_model(checkpoint), dict[str, Any](settings.serving)
        if question.draft is not None:
            _check_counts(engine, "draft", "draft models")
            draft = draft_of(question.draft, checkpoint, model, resolver)
            own["draft"] = draft.model
        if question.mmproj is not None:
            _check_counts(engine, "projector", "projectors")
            projector = projector_of(question.mmproj, checkpoint, resolver)
            own["projector"] = projector.tensor_bytes
    options = engine.options(**own)
    answer = engine.planner(model, settings.workload(model), options)
    answers = [answer(spec, False) for spec in specs]
    servings = tuple(each.serving for each in answers if each.serving is not None)
    found = inspect_model(checkpoint, model, dataclasses.replace(settings, all_gpus=False), ())
    inspection = dataclasses.replace(found, fits=tuple(each.fit for each in answers), servings=servings)
    return Beside(inspection, draft, projector)


def _check_counts(engine: Engine, option: str, what: str) -> None:
    """Refuses what an engine has no account of."""
    from inspector.engines.registry import engines

    able = [each.name for each in engines() if option in {one.name for one in dataclasses.fields(each.options)}]
    if engine.name not in able:
        raise UsageError(f"{what} are not accounted for under {engine.name}", f"Add --engine {' or '.join(able)}.")


def projector_of(name: str | PathLike[str], checkpoint: Checkpoint, resolver: Resolver) -> Checkpoint:
    """The file of an encoder for images or sound, by the name that `--mmproj` takes.

    Raises:
        InspectError: it can't be read; `UsageError`: it is another kind of file.
    """
    from inspector.hub.formats.gguf.config import ENCODER

    text = str(name)
    beside = checkpoint.source != "local" and "/" not in text and not Path(text).exists()
    found = resolver.resolve(f"{checkpoint.repo_id.partition(':')[0]}:{text}" if beside else name)
    if found.metadata.get("general.architecture") != ENCODER:
        raise UsageError(f"{found.repo_id} is no projector", "It is a GGUF file whose name mostly begins with mmproj.")
    return found


def draft_of(name: str | PathLike[str], checkpoint: Checkpoint, model: Model, resolver: Resolver) -> Draft:
    """What drafts for a model, by the name that `--draft` takes.

    Raises:
        InspectError: it can't be read; `UsageError` where the model's own layers are meant, and it has none.
    """
    from inspector.engines.common.heads import OWN_LAYERS, Draft, drafter, own_layers
    from inspector.hub.checkpoint import with_weights
    from inspector.model import build_model

    if name == OWN_LAYERS:
        return Draft(checkpoint, own_layers(with_weights(checkpoint), model))
    found = with_weights(resolver.resolve(name))
    return Draft(found, drafter(found, build_model(found), model))
