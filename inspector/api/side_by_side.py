"""`together`: several models side by side on one device; `inspect_with_draft`: a model with its draft model."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from inspector.api.inspection import Inspection, checkpoint_of, device_specs, inspect_model, resolver_of
from inspector.api.settings import Access, EngineSettings, Question, Settings, chosen
from inspector.errors import UsageError
from inspector.settings import asking

if TYPE_CHECKING:
    from os import PathLike

    from inspector.advice.together import Side, Together
    from inspector.engines.common.heads import Draft
    from inspector.engines.launch import Launch
    from inspector.hub import Checkpoint, Resolver
    from inspector.model import Model


@dataclass(frozen=True, kw_only=True)
class TogetherQuestion(Access, EngineSettings):
    """What `together` is asked: of several models, on one device or several alike.

    Attributes:
        beside: what something else takes of each GPU, such as a trainer: "4GiB".
    """

    models: Iterable[str | PathLike[str]] = field(kw_only=False)
    gpu: str = field(kw_only=False)
    revision: str | None = None
    beside: str | None = None


@asking(TogetherQuestion)
def together(question: TogetherQuestion) -> Together:
    """Whether several models fit a device side by side: each one's share, the order of starts, and what is left.

    Args:
        models: repo IDs, local folders or files.
        gpu: the device, as `gpus` of `inspect` names it; each model runs over all of several.
        beside: what something else takes of each GPU.
        context: of each request; of a model with a smaller maximum that.

    Raises:
        InspectError: one of its subclasses, see inspector.errors.
    """
    return _together(question)[0]


def _together(question: TogetherQuestion) -> tuple[Together, list[tuple[Checkpoint, Side]]]:
    from inspector.advice.together import Side, together
    from inspector.engines.registry import engine_named
    from inspector.model import build_model

    settings = Settings(**chosen(EngineSettings, question), gpus=(question.gpu,))
    (spec, *others), beside = device_specs(settings.gpus), _bytes_of(question.beside)
    if others:
        raise UsageError("models side by side are counted on one kind of GPU", "Name it: --gpu 'RTX 4090'.")
    engine = engine_named(settings.engine)
    found: list[tuple[Checkpoint, Side]] = []
    with resolver_of(question) as resolver:
        for name in question.models:
            checkpoint = checkpoint_of(resolver, name, question.revision, question)
            model = build_model(checkpoint)
            workload = settings.workload(model)
            longest = model.architecture.longest_context
            if longest is not None:
                workload = dataclasses.replace(workload, context=min(workload.context, longest))
            found.append((checkpoint, Side(checkpoint.repo_id, model, workload)))
    sides = [side for _, side in found]
    if len(sides) < 2:
        raise UsageError("one model is not side by side with another", "Name two or more.")
    return together(engine, sides, spec, engine.options(**settings.serving), beside), found


def _bytes_of(text: str | None) -> int:
    """A size such as "4GiB" in bytes.

    Raises:
        UsageError: it is none.
    """
    if text is None:
        return 0
    (spec, *others) = device_specs((text,))
    if others or spec.device is not None or spec.count > 1:
        raise UsageError(f"'{text}' is no size of memory", "Write one such as 4GiB.")
    return spec.capacity


FIRST_PORT = 8000


def launches(question: TogetherQuestion, emit: str) -> tuple[Together, tuple[Launch, ...]]:
    """What starts each of them, in the order of their starts, each on a port of its own; none unless all fit.

    Args:
        emit: one of the engine's own commands.

    Raises:
        UsageError: it is a file around a command, or an engine does not load a model from where it is.
    """
    from inspector.advice.launch import AROUND, launch_of, shell_text
    from inspector.engines.launch import Verdict
    from inspector.engines.registry import engine_named

    result, found = _together(question)
    engine, options = engine_named(result.engine), engine_named(result.engine).options(**question.serving)
    if emit in AROUND or emit != engine.emits[0]:
        raise UsageError(f"--together launches commands, not {emit}", f"Take --emit {engine.emits[0]}.")
    if not result.fits:
        return result, ()
    made, spec = [], device_specs((question.gpu,))[0]
    for tenant in result.tenants:
        checkpoint, side = found[tenant.place]
        if tenant.serving is None:
            return result, ()
        given = {} if tenant.share is None else {str(engine.share_option): tenant.share}
        asked = Verdict(
            checkpoint,
            question.revision,
            side.model,
            side.workload,
            spec,
            dataclasses.replace(options, **given),
            tenant.serving,
        )
        launch = launch_of(asked, emit)
        command = (*launch.command, "--port", str(FIRST_PORT + tenant.order - 1))
        launch = dataclasses.replace(launch, command=command)
        made.append(dataclasses.replace(launch, text=shell_text(launch)))
    return result, tuple(made)


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
