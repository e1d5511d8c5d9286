"""The command `train`: the memory of one training step."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from inspector.api.settings import DesignSettings, DeviceSettings
from inspector.cli.options import (
    OUTPUT,
    TRAINING,
    GroupedCommand,
    check_option,
    model_argument,
    option,
    output_format,
    output_options,
    ranges_of,
    refuse_check_alone,
    setting_options,
    source_options,
)
from inspector.cli.output import EXIT_CANNOT_TELL, Output
from inspector.errors import InspectError, UsageError
from inspector.memory.estimate import RunSettings
from inspector.memory.training.estimate import TrainingSetup
from inspector.memory.training.layout import LayoutSettings
from inspector.memory.training.sharding import Sharding
from inspector.settings import settings_of

if TYPE_CHECKING:
    from inspector.api.training import Trained
    from inspector.record import Record


def _refuse_kv_dtype(_context: click.Context, _option: click.Parameter, value: str | None) -> None:
    """Not offered, and refused with a reason: it is what one writes after a `show`."""
    if value is not None:
        raise UsageError("a training step keeps no KV cache", "Leave out --kv-dtype.")


@click.command(
    cls=GroupedCommand,
    examples=(
        ("llm-inspect train Qwen/Qwen3-8B --method qlora --gpu 'RTX 4090'", "adapters on a base in 4 bits"),
        ("llm-inspect train Qwen/Qwen3-8B --fsdp 8 --checkpointing full --gpu H100", "all of it, over 8 GPUs"),
    ),
)
@model_argument(required=False)
@option(
    "--config",
    "files",
    group=TRAINING,
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Read the run from a trainer's file: Axolotl, LLaMA-Factory, TRL, torchtune, torchtitan, ms-swift, Unsloth;"
    " repeat it for accelerate's and DeepSpeed's. Options given here win.",
)
@option(
    "--processes",
    group=TRAINING,
    rare=True,
    type=click.IntRange(1, 2**16),
    metavar="N",
    help="GPUs of the run of --config, where no file says it. Default: those of --gpu, else 1.",
)
@option(
    "--ignore-key",
    group=TRAINING,
    rare=True,
    multiple=True,
    metavar="KEY",
    help="A key of --config to leave out of account; may be repeated.",
)
@source_options
@setting_options(DesignSettings)
@setting_options(RunSettings, several=True)
@click.option("--kv-dtype", hidden=True, expose_value=False, callback=_refuse_kv_dtype)
@setting_options(TrainingSetup, group=TRAINING, several=True)
@setting_options(Sharding, group="Several GPUs")
@setting_options(LayoutSettings)
@option(
    "--measure",
    group=OUTPUT,
    rare=True,
    is_flag=True,
    help="Also run the step with the real class under fake tensors: needs torch and a C++ compiler, no GPU.",
)
@option(
    "--trainable",
    "trainable_parameters",
    group=TRAINING,
    rare=True,
    metavar="N",
    help="Trainable parameters, or a share of all (50%), for --formulas article. Default: all.",
)
@setting_options(DeviceSettings, help={"gpus": "Also say whether it fits one: 'RTX 4090', H100, 24GiB, auto."})
@check_option
@output_options
def train(
    model: str | None,
    files: tuple[Path, ...],
    processes: int | None,
    ignore_key: tuple[str, ...],
    revision: str | None,
    token: str | None,
    offline: bool,
    check: bool,
    explain: bool,
    output: str | None,
    path: Path | None,
    **settings: Any,
) -> int:
    """What one training step takes on the fullest GPU: the peak, what lives at it, and the phase that has it."""
    from inspector.api import training as api_training

    refuse_check_alone(check, settings["gpus"])
    run = None
    if files:
        if settings["total_gpus"] is not None:
            raise UsageError("--gpus proposes a layout, and --config gives one", "For its GPUs: --processes N.")
        from inspector.cli.train_config import configured

        model, revision, run = configured(model, revision, settings, files, processes, ignore_key)
    if model is None:
        if run is not None and run.unnamed:
            raise UsageError(
                f"{run.document.name}: no repository is known of {run.unnamed}",
                "Name one: llm-inspect train org/name --config FILE",
            )
        raise UsageError("no model is named", "llm-inspect train org/name, or --config FILE that names one.")
    access: dict[str, Any] = {"revision": revision, "token": token, "offline": offline or None}
    out = Output(output_format(output, path), path)
    settings["sharding"] = {name: settings.pop(name) for name in settings_of(Sharding)}
    if ranges := ranges_of(settings):
        from inspector.cli.ranges import train_ranges

        layout = {
            settings_of(LayoutSettings)[name].about.option[2:]: settings.pop(name)
            for name in ("total_gpus", "global_batch")
        }
        settings.pop("node_gpus")
        return train_ranges(model, ranges, settings, access, out, {"explain": explain} | layout, check=check)
    if settings["total_gpus"] is not None:
        settings["kept"] = _given()
    try:
        with out.waiting(model):
            trained = api_training.train(model, **access, **settings)
        if run is not None and run.own_dtype:
            from inspector.cli.train_config import refuse_other_dtype

            refuse_other_dtype(run, trained, settings)
    except InspectError as error:
        return out.fail(error, model)
    config: dict[str, Any] | None = None
    if run is not None:
        from inspector.cli.train_config import told

        out.notes(run.notes)
        config = told(run, trained, access, settings)
    code = _write(out, model, trained, config, explain=explain)
    return out.verdicts([fit.fits for fit in trained.fits]) if check else out.comes_to(code)


def _given() -> tuple[str, ...]:
    """The settings that the command line gives, those at their defaults among them."""
    context = click.get_current_context()
    given = (name for name in context.params if context.get_parameter_source(name) is ParameterSource.COMMANDLINE)
    return tuple(sorted(given))


def _write(out: Output, model: str, trained: Trained, config: dict[str, Any] | None, *, explain: bool) -> int:
    """The report of one step, and its exit code where no verdict is asked for."""
    inspection, training = trained
    out.notes(trained.warnings)
    out.details(inspection)

    def text() -> None:
        from inspector.report.training import print_training

        print_training(out.console, inspection, training, explain=explain, config=config)

    from inspector.record import training_record
    from inspector.report.writers import Answer

    def drawn() -> list[Record]:
        from inspector.api import drawn

        return [drawn.drawn_training(trained)]

    def records() -> list[Record]:
        return [training_record(inspection, training, explain=explain) | ({"config": config} if config else {})]

    out.write(Answer((model,), records, text, drawn=drawn))
    return 0 if training.peak is not None or training.measured else EXIT_CANNOT_TELL
