"""The command `lock`: a manifest of what models are now, for continuous integration."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click

from inspector.api.settings import Settings
from inspector.cli.options import (
    GPU_HELP,
    EngineCommand,
    file_option,
    model_argument,
    option,
    setting_options,
    source_options,
    with_serving,
)
from inspector.cli.output import Output
from inspector.errors import InspectError, UsageError


@click.command(
    cls=EngineCommand,
    examples=(("llm-inspect lock Qwen/Qwen3-8B --gpu 24GiB -o models.yaml", "write what it is now; verify checks it"),),
)
@model_argument("models", metavar="MODEL...", nargs=-1, required=True)
@source_options
@setting_options(Settings, "all_gpus", "all_options", help={"gpus": f"Also lock the verdict for it: {GPU_HELP}"})
@option(
    "--tolerance",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    metavar="SHARE",
    help="Share of the bytes that may change later: 0.01 is one per cent.",
)
@file_option("Write to a file (over an older manifest, over nothing else). Default: standard output.")
def lock(
    models: tuple[str, ...],
    revision: str | None,
    token: str | None,
    offline: bool,
    tolerance: float,
    path: Path | None,
    **options: Any,
) -> int:
    """Write a YAML manifest of what models are now: commit, parameters, bytes and verdicts. `verify` checks it."""
    from inspector.api.inspection import inspect_each
    from inspector.hub import Resolver
    from inspector.manifest import lock as entry_of
    from inspector.manifest import write_manifest

    options = with_serving({**options, "gpus": _named(options["gpus"])})
    settings = Settings(**options)
    if path is not None:
        _check_replaceable(path)
    with Resolver(token=token, offline=offline or None, substitutes=offline) as resolver:
        found = inspect_each(models, resolver=resolver, revision=revision, **options)
    out, entries = Output(), []
    for model, outcome in zip(models, found, strict=True):
        if isinstance(outcome, InspectError):
            out.error(outcome, about=model)
            continue
        if outcome.checkpoint.revision is None:
            out.note(f"{model} has no commit to pin: only its numbers are locked")
        entries.append(entry_of(model, revision, settings, outcome, tolerance))
    if out.exit_code:
        click.echo("Nothing was written.", err=True)
        return out.exit_code
    text = write_manifest(entries)
    if path is None:
        sys.stdout.write(text)
    else:
        _write(path, text)
    return 0


def _named(gpus: tuple[str, ...]) -> tuple[str, ...]:
    """The devices by their names: `auto` is another GPU on each machine."""
    if not any(gpu.strip().lower() == "auto" for gpu in gpus):
        return gpus
    from inspector.devices.spec import parse_gpu, parse_gpus

    named = []
    for gpu in gpus:
        if gpu.strip().lower() != "auto":
            named.append(gpu)
            continue
        for spec in parse_gpus((gpu,)):
            name = spec.name if spec.count == 1 or spec.mixed else f"{spec.count}x{spec.name}"
            parse_gpu(name)  # a GPU that the list of devices does not have is refused by name
            named.append(name)
    return tuple(named)


def _check_replaceable(path: Path) -> None:
    from inspector.manifest.form import FIRST_WORDS

    try:
        with path.open("rb") as file:
            begin = file.read(len(FIRST_WORDS))
    except FileNotFoundError:
        return
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from None
    if begin and begin != FIRST_WORDS.encode():
        raise UsageError(f"{path} is there already, and `lock` did not write it", "Move it away.")


def _write(path: Path, text: str) -> None:
    """All of it or nothing: next to it first, then in its place."""
    temporary = path.with_name(f".{path.name}.lock-{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from None
    finally:
        temporary.unlink(missing_ok=True)
