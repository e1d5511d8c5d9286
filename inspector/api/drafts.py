"""`inspect_with_draft`: a model with what drafts for it (speculative decoding)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from inspector.api.inspection import Inspection, checkpoint_of, device_specs, inspect_model, resolver_of
from inspector.api.settings import Question, Settings, chosen
from inspector.errors import UsageError
from inspector.settings import asking

if TYPE_CHECKING:
    from os import PathLike

    from inspector.engines.common.heads import Draft
    from inspector.hub import Checkpoint, Resolver
    from inspector.model import Model


class Drafted(NamedTuple):
    """A model as it is served with a draft model, and what drafts."""

    inspection: Inspection
    draft: Draft


@dataclass(frozen=True, kw_only=True)
class DraftQuestion(Question):
    """What `inspect_with_draft` is asked."""

    draft: str | PathLike[str] = field(kw_only=False)


@asking(DraftQuestion)
def inspect_with_draft(question: DraftQuestion) -> Drafted:
    """`inspect` of a model that an engine serves with a draft model (speculative decoding).

    Args:
        model: the model, as for `inspect`.
        draft: the draft model, or a head for the model (EAGLE, EAGLE-3): a repo ID, a local folder or file; "mtp" for
            the model's own layers for multi-token prediction.

    Raises:
        InspectError: one of its subclasses, see inspector.errors; `UsageError` where the engine's draft models are not
            accounted for.
    """
    from inspector.engines.registry import engine_named, engines
    from inspector.model import build_model

    settings = Settings(**chosen(Settings, question))
    specs, engine = device_specs(settings.gpus), engine_named(settings.engine)
    able = [each.name for each in engines() if "draft" in {one.name for one in dataclasses.fields(each.options)}]
    if engine.name not in able:
        why = f"draft models are not accounted for under {engine.name}"
        raise UsageError(why, f"Add --engine {' or '.join(able)}.")
    with resolver_of(question) as resolver:
        checkpoint = checkpoint_of(resolver, question.model, question.revision, question)
        model = build_model(checkpoint)
        draft = draft_of(question.draft, checkpoint, model, resolver)
    options = engine.options(**settings.serving, draft=draft.model)
    answer = engine.planner(model, settings.workload(model), options)
    answers = [answer(spec, False) for spec in specs]
    servings = tuple(each.serving for each in answers if each.serving is not None)
    found = inspect_model(checkpoint, model, dataclasses.replace(settings, all_gpus=False), ())
    inspection = dataclasses.replace(found, fits=tuple(each.fit for each in answers), servings=servings)
    return Drafted(inspection, draft)


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
