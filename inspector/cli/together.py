"""`fit A B C --together`: several models side by side on one device."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from inspector.errors import InspectError, UsageError

if TYPE_CHECKING:
    from inspector.advice.together import Together
    from inspector.cli.output import Output
    from inspector.engines.launch import Launch


ALONE = ("gpus", "all_gpus", "all_options")
"""Settings of one model's verdict."""


def fit_together(models: Sequence[str], settings: Mapping[str, Any], emit: str | None, out: Output) -> int:
    """Print whether they fit together, and what launches each, and return the exit code.

    Args:
        settings: those of `inspector.together`, and `gpus`.

    Raises:
        UsageError: several kinds of devices, or a format that has no such answer.
    """
    from inspector.api.side_by_side import TogetherQuestion, launches, together

    gpus, rest = settings["gpus"], {name: value for name, value in settings.items() if name not in ALONE}
    if len(gpus) != 1 or settings["all_gpus"]:
        raise UsageError("--together answers for one device", "Name one --gpu.")
    if settings["all_options"]:
        raise UsageError("--together looks for no other options", "Leave out --all-options.")
    if out.format not in ("text", "json", "jsonl"):
        raise UsageError(f"--together prints text or json, not {out.format}")
    if rest.pop("price", None) is not None:
        raise UsageError("--together tells no price", "Leave out --price.")
    launched: tuple[Launch, ...] = ()
    try:
        with out.waiting(*models):
            if emit:
                result, launched = launches(TogetherQuestion(models=models, gpu=gpus[0], **rest), emit)
            else:
                result = together(models, gpus[0], **rest)
    except InspectError as error:
        return out.fail(error, models[0])
    _print(out, result, launched, emit)
    return out.verdicts([result.fits])


def _print(out: Output, result: Together, launched: Sequence[Launch], emit: str | None) -> None:
    from inspector.report.side_by_side import print_together, together_record
    from inspector.report.writers import Answer

    def text() -> None:
        if emit and launched:
            click.echo("".join(launch.text for launch in launched), nl=False)
        elif not emit:
            print_together(out.console, result)

    if emit and out.format == "text":
        print_together(out.errors, result)
    record = together_record(result) | ({"launches": [dataclasses.asdict(each) for each in launched]} if emit else {})
    out.write(Answer(tuple(each.name for each in result.tenants), lambda: [record], text))
