"""`together`: several models side by side on one device."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from inspector.api.inspection import checkpoint_of, device_specs, resolver_of
from inspector.api.settings import Access, EngineSettings, Settings, chosen
from inspector.errors import UsageError
from inspector.settings import asking

if TYPE_CHECKING:
    from os import PathLike

    from inspector.advice.together import Side, Together
    from inspector.engines.launch import Launch
    from inspector.hub import Checkpoint


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
