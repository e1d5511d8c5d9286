"""`launch`: what starts a server with the settings of a verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from inspector.api.inspection import Inspection, device_specs, inspect_checkpoint, read
from inspector.api.settings import DEFAULT_ENGINE, EngineSettings, FitQuestion, Settings, chosen
from inspector.settings import asking

if TYPE_CHECKING:
    from os import PathLike

    from inspector.engines.common.heads import Draft
    from inspector.engines.launch import Launch
    from inspector.hub import Checkpoint


@dataclass(frozen=True, kw_only=True)
class LaunchQuestion(FitQuestion):
    """What `launch` is asked: of one device, and as what it is to be written."""

    emit: str = field(kw_only=False)


@asking(LaunchQuestion)
def launch(question: LaunchQuestion) -> Launch | None:
    """What starts a server with the settings of a verdict: its command or file, and what its log should show.

    Args:
        model: a repo ID (`org/name`, `org/name@revision`), or a local folder or file.
        gpu: the devices, as `gpus` of `inspect` names them.
        emit: "vllm", "sglang", "llama-server", "ollama", "mlx", "compose" or "kserve".

    Returns:
        None unless it is known to fit.

    Raises:
        InspectError: one of its subclasses, see inspector.errors.
    """
    engine = None if question.engine == DEFAULT_ENGINE else question.engine
    asked = replace(question, engine=implied_engine(question.emit, engine))
    settings = Settings(**chosen(EngineSettings, asked), gpus=(asked.gpu,))
    inspection = inspect_checkpoint(read(asked), settings, device_specs(settings.gpus))
    return launch_inspected(inspection, settings, asked.emit, asked.model, asked.revision)


def implied_engine(emit: str, engine: str | None) -> str:
    """The name of the engine that is launched so.

    Raises:
        UsageError: there is none, or it is another than `engine`.
    """
    from inspector.advice.launch import emitting_engine

    return emitting_engine(emit, engine).name


def launch_inspected(
    inspection: Inspection,
    settings: Settings,
    emit: str,
    model: str | PathLike[str] | Mapping[str, Any],
    revision: str | None = None,
    draft: Draft | None = None,
    projector: Checkpoint | None = None,
) -> Launch | None:
    """What launches a model as it was inspected, on the one device that was asked for.

    Args:
        model: as the user named it, perhaps with its revision.
        draft: what drafts in speculative decoding, if anything.
        projector: the file of an encoder beside the model's, if any.

    Returns:
        None unless it is known to fit.

    Raises:
        UsageError: see `inspector.advice.launch.launch_of`.
    """
    from inspector.advice.launch import launch_of, no_weights
    from inspector.engines.launch import Verdict
    from inspector.engines.registry import engine_named
    from inspector.hub.repo_id import DEFAULT_REVISION, RepoId, parse_model

    if inspection.checkpoint.design is not None or isinstance(model, Mapping):
        raise no_weights()
    serving = next(iter(inspection.servings), None)
    if serving is None or not serving.fits:
        return None
    named = parse_model(model, revision)
    wanted = named.revision if isinstance(named, RepoId) and named.revision != DEFAULT_REVISION else None
    options = engine_named(settings.engine).options(**settings.serving)
    spec, workload = device_specs(settings.gpus)[0], inspection.estimate.workload
    asked = Verdict(inspection.checkpoint, wanted, inspection.model, workload, spec, options, serving, draft, projector)
    return launch_of(asked, emit)
