"""The command `find`: what runs on a device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from inspector.cli.options import (
    HUB_LIST,
    OUTPUT,
    GroupedCommand,
    access_options,
    format_choice,
    option,
    query_options,
    setting_options,
)
from inspector.cli.output import Output
from inspector.errors import UsageError
from inspector.finding.settings import CRITERIA, FindSettings

if TYPE_CHECKING:
    from inspector.finding.run import Finding
    from inspector.record import Record

ERRORS_SHOWN = 3


@click.command(
    cls=GroupedCommand,
    examples=(
        ("llm-inspect find --gpu 'RTX 4090' --context 32k", "what the Hub lists that holds 32k tokens there"),
        ("llm-inspect find --gpu auto --offline", "what this machine's caches and the bundled models have"),
        ("llm-inspect find --gpu 'M3 Max 64GB' --license apache-2.0 --min-tokens-per-second 20", "fast and free"),
    ),
)
@setting_options(FindSettings)
@query_options
@option("--task", "task", group=HUB_LIST, metavar="TASK", help="Short for --pipeline-tag. Default: text-generation.")
@option("--license", group=HUB_LIST, metavar="NAME", help="... for those of this license: apache-2.0, mit, ...")
@option("--bundled", group=HUB_LIST, is_flag=True, help="The bundled models alone; without --gpu: list them.")
@option("--jobs", type=click.IntRange(1, 256), metavar="N", default=16, show_default=True, help="Models at a time.")
@access_options
@option(
    "--format",
    "output",
    group=OUTPUT,
    type=format_choice(lambda each: each.prints),
    default="text",
    show_default=True,
    help="How to print.",
)
@option("--json", "output", group=OUTPUT, flag_value="json", help="Short for --format json.")
def find(output: str, task: str | None, offline: bool, **options: Any) -> int:
    """Say which models run on a device, each with the best way to run it: recipe, longest context, speed at most.

    Text generation by the Hub's trending and downloads, unless --author, --search, --pipeline-tag or --sort says
    which. With --offline: of this machine's caches and the bundled models. Exits with 1 where none runs on it.
    """
    from inspector.finding import find as find_models

    out = Output(output)
    if options.pop("collections"):
        raise UsageError("find goes by lists of models, not by collections", "`llm-inspect batch --collection` does.")
    if options["gpu"] is None:
        if not options["bundled"]:
            raise UsageError("find needs a device", "Name one: --gpu 'RTX 4090', --gpu auto. Or --bundled: list those.")
        return _list_bundled(out)
    options["pipeline_tag"] = options["pipeline_tag"] or task
    with out.waiting("the Hub's lists"):
        found = find_models(**options, offline=offline or None)
    out.notes(found.notes)
    for name, error in found.errors[:ERRORS_SHOWN]:
        out.note(error.message.splitlines()[0], name)
    out.write(_answer(found, out, options))
    return out.comes_to(0 if found.models else 1)


def _answer(found: Finding, out: Output, options: dict[str, Any]) -> Any:
    from inspector.report.writers import Answer

    def records() -> list[Record]:
        return [each.to_dict() for each in found]

    def text() -> None:
        from inspector.report.found import print_found

        total = len(found) + sum(found.left_out.values())
        print_found(
            out.console,
            records(),
            heading=f"{found.gpu}: {len(found):,} of {total:,} models of {found.where} run on it",
            criterion=CRITERIA[options["rank"]],
            left_out=found.left_out,
            costs=options["price"] is not None,
        )

    return Answer([each.repo_id for each in found], records, text, array=True)


def _list_bundled(out: Output) -> int:
    """The bundled models: their parameters, license and task."""
    from inspector.hub.cache.bundled import bundled_models
    from inspector.report.writers import Answer

    models = bundled_models()

    def records() -> list[Record]:
        return [
            {
                "schema": 1,
                "repo_id": each.name,
                "source": "bundled",
                "license": each.license,
                "pipeline_tag": each.pipeline_tag,
                "parameters": {"total": each.parameters},
            }
            for each in models
        ]

    def text() -> None:
        from inspector.report.found import print_bundled

        print_bundled(out.console, records())

    out.write(Answer([each.name for each in models], records, text, array=True))
    return out.exit_code
