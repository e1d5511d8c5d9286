"""The command `fit`: whether a model fits, as an exit code."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from inspector.api.settings import Settings
from inspector.cli.options import (
    DRAFT_HELP,
    GPU_HELP,
    OUTPUT,
    EngineCommand,
    LazyChoice,
    model_argument,
    option,
    output_format,
    output_options,
    ranges_of,
    setting_options,
    source_options,
    with_serving,
)
from inspector.cli.output import Output
from inspector.cli.published import Launched, find_published, launch_published, refuse_beside_published
from inspector.errors import InspectError, UsageError

if TYPE_CHECKING:
    from inspector.api.drafts import Beside
    from inspector.api.inspection import Inspection
    from inspector.batch.published import Published
    from inspector.record import Record
    from inspector.report.writers import Answer


def _emit_names() -> tuple[str, ...]:
    from inspector.advice.launch import emit_names

    return emit_names()


@click.command(
    cls=EngineCommand,
    examples=(
        ("llm-inspect fit Qwen/Qwen3-8B --gpu 'RTX 4090' --engine vllm", "how many requests vLLM serves at once"),
        ("llm-inspect fit Qwen/Qwen3-32B --all-gpus --dtype awq", "the devices that hold it in 4 bits"),
        ("llm-inspect fit Qwen/Qwen3-8B --gpu 'RTX 4090' --emit vllm", "the command that serves it so"),
        ("llm-inspect fit 'vllm serve Qwen/Qwen3-32B -tp 2' --gpu 2xH100", "what a launch command takes"),
    ),
)
@model_argument("models", metavar="MODEL...", nargs=-1, required=True)
@source_options
@setting_options(Settings, help={"gpus": GPU_HELP}, several=True)
@option(
    "--emit",
    group=OUTPUT,
    type=LazyChoice(_emit_names),
    metavar="NAME",
    help="Print what launches it, if it fits: vllm, sglang, llama-server, ollama, mlx, or a file: compose, kserve.",
)
@option(
    "--published",
    is_flag=True,
    help="Also its quantized checkpoints that the Hub lists, ranked; 0 if one fits. With --emit: launch the best.",
)
@option("--together", is_flag=True, help="Several models side by side on the same GPU: each one's share.")
@option("--beside", metavar="SIZE", help="With --together: what something else takes of each GPU, such as 4GiB.")
@option("--draft", metavar="MODEL", help=DRAFT_HELP)
@option("--mmproj", metavar="FILE", help="An encoder's own GGUF file beside the model's (llama.cpp).")
@output_options
def fit(
    models: tuple[str, ...],
    revision: str | None,
    token: str | None,
    offline: bool,
    emit: str | None,
    published: bool,
    together: bool,
    beside: str | None,
    draft: str | None,
    mmproj: str | None,
    explain: bool,
    output: str | None,
    path: Path | None,
    **settings: Any,
) -> int:
    """Say whether a model fits, and exit with 0 if it does (on every --gpu), 1 if not, 4 if that cannot be told."""
    if not (settings["gpus"] or settings["all_gpus"]):
        raise UsageError("fit needs a device", "Name one, e.g. --gpu 'RTX 4090' or --gpu 24GiB, or ask for --all-gpus.")
    out = Output(output_format(output, path), path)
    files: dict[str, Any] = {"draft": draft, "mmproj": mmproj}
    access: dict[str, Any] = {"revision": revision, "token": token, "offline": offline or None}
    models, settings, files = _as_asked(models, settings, files, access, out)
    if ranges := ranges_of(settings):
        from inspector.cli.ranges import fit_ranges

        alone = {"emit": emit, "published": published, "together": together, "explain": explain, **files}
        return fit_ranges(models, ranges, with_serving(settings), access, out, alone)
    if published:
        refuse_beside_published(settings, together, draft or mmproj)
    if emit:
        settings["engine"] = _launched_engine(emit, settings, out.format)
    if together:
        return _together(models, files, with_serving(settings) | access | {"beside": beside}, emit, out)
    if len(models) > 1 or beside is not None:
        raise UsageError("fit answers for one model", "Several on one GPU: --together; each by itself: batch.")
    (model,) = models
    asked = with_serving(settings)
    try:
        with out.waiting(model):
            loaded = _inspected(model, files, asked | access)
        inspection = loaded.inspection
        found = find_published(model, token, offline, settings) if published else None
        if emit and found:
            launched = launch_published(found, emit, token, offline, settings)
        else:
            launched = _launch(loaded, settings, emit, model, revision) if emit else None
    except InspectError as error:
        return out.fail(error, model)
    out.notes(inspection.warnings)
    out.details(inspection)
    if emit:
        _tell(out, inspection, found, launched)
    launch = launched.launch if launched else None
    text = (launch.text if launch else "") if emit else None

    shown = partial(_print, out, inspection, settings, found, text, explain=explain)
    more: Record = {} if found is None else {"published": list(found.rows)}
    more |= {"launch": None if launch is None else dataclasses.asdict(launch)} if emit else {}
    out.write(_answer(model, inspection, Settings(**asked), more, shown, explain=explain))
    if found is not None and emit:
        return out.comes_to(0 if launch else 1)
    if found is not None and any(row.get("fits") for row in found.rows):
        return out.comes_to(0)
    return out.verdicts([each.fits for each in inspection.fits])


def _as_asked(
    models: tuple[str, ...], settings: dict[str, Any], files: dict[str, Any], access: Mapping[str, Any], out: Output
) -> tuple[tuple[str, ...], dict[str, Any], dict[str, Any]]:
    """The models, settings and files; of a launch command what it says."""
    if len(models) != 1 or len(models[0].split()) < 2 or Path(models[0]).exists():
        return models, settings, files
    from inspector.cli.pasted import pasted

    asked = pasted(models[0], settings, files, access, out)
    return (asked.model,), asked.settings, asked.files


def _answer(
    model: str, inspection: Inspection, asked: Settings, more: Record, text: Callable[[], None], *, explain: bool
) -> Answer:
    """What the writers are given.

    Args:
        more: keys of the record beside those of every report.
        text: prints it for a person.
    """
    from inspector.record import outcome_record
    from inspector.report.writers import Answer

    def drawn() -> list[Record]:
        from inspector.api import drawn

        page = drawn.drawn(model, inspection, asked)
        return [page | {"record": page["record"] | more}]

    return Answer((model,), lambda: [outcome_record(model, inspection, explain=explain) | more], text, drawn=drawn)


def _together(
    models: tuple[str, ...], files: Mapping[str, Any], asked: dict[str, Any], emit: str | None, out: Output
) -> int:
    from inspector.cli.together import fit_together

    if any(files.values()):
        raise UsageError("--together has no draft models and no projectors", "Leave out --draft and --mmproj.")
    return fit_together(models, asked, emit, out)


def _inspected(model: str, files: dict[str, Any], asked: dict[str, Any]) -> Beside:
    """The verdicts, and what is loaded beside the model."""
    from inspector.api.drafts import Beside, inspect_beside
    from inspector.api.inspection import inspect

    if not any(files.values()):
        return Beside(inspect(model, **asked))
    if asked["all_gpus"]:
        raise UsageError("--draft and --mmproj answer for the devices of --gpu", "Leave out --all-gpus.")
    return inspect_beside(model, **files, **asked)


def _print(
    out: Output,
    inspection: Inspection,
    settings: Mapping[str, Any],
    found: Any,
    launched: str | None,
    *,
    explain: bool,
) -> None:
    """What launches it, or the verdicts, or the devices that it fits on, and what others made of it."""
    if launched is not None:
        click.echo(launched, nl=False)
        return
    if settings["all_gpus"]:
        from inspector.report.lists import print_fleet

        print_fleet(out.console, inspection)
        return
    from inspector.report.text import print_verdicts

    print_verdicts(out.console, inspection, explain=explain, all_options=settings["all_options"])
    if found is not None:
        from inspector.report.lists import print_published

        print_published(out.console, found.rows, cut=found.cut)


def _launched_engine(emit: str, settings: Mapping[str, Any], output: str) -> str:
    """The engine that --emit launches.

    Raises:
        UsageError: it is another than --engine, or there is more than one verdict to launch.
    """
    from inspector.api.launching import implied_engine

    if settings["all_gpus"] or len(settings["gpus"]) != 1:
        raise UsageError("--emit launches one verdict", "Name one --gpu.")
    if output not in ("text", "json", "jsonl"):
        raise UsageError(f"--emit prints what launches a model, or json, not {output}")
    source = click.get_current_context().get_parameter_source("engine")
    given = source is not None and source is not click.core.ParameterSource.DEFAULT
    return implied_engine(emit, settings["engine"] if given else None)


def _launch(loaded: Beside, settings: dict[str, Any], emit: str, model: str, revision: str | None) -> Launched | None:
    from inspector.api.launching import launch_inspected

    inspection, draft, projector = loaded
    launch = launch_inspected(inspection, Settings(**with_serving(settings)), emit, model, revision, draft, projector)
    return None if launch is None else Launched(launch, inspection.checkpoint.repo_id)


def _tell(out: Output, inspection: Inspection, found: Published | None, launched: Launched | None) -> None:
    """On standard error: what the log should show, or why nothing is launched."""
    if launched is None:
        from inspector.report.lists import print_published
        from inspector.report.text import print_verdicts

        click.echo("Nothing is launched:", err=True)
        print_verdicts(out.errors, inspection)
        if found is not None:
            print_published(out.errors, found.rows, cut=found.cut)
        return
    if launched.launch.is_file:
        return
    from inspector.advice.launch import expectation

    out.notes(launched.launch.notes)
    for line in expectation(launched.launch, launched.repo_id):
        out.note(line)
