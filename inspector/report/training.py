"""The report on a training step for a person: what lives at its peak, and the peak of each phase."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from inspector.report.text import (
    indented,
    plain_table,
    print_explanation,
    print_fit,
    print_head,
    print_name,
    print_verdict,
)
from inspector.report.units import gib_text, inert, label, tokens_text

if TYPE_CHECKING:
    from inspector.api.inspection import Inspection
    from inspector.memory.training import TrainingEstimate, TrainingSetup
    from inspector.memory.training.layout import Proposal


LOGITS = {
    "all": [],
    "chunked": ["chunked logits"],
    "chunked-loss": ["loss in chunks"],
    "compiled-loss": ["compiled loss"],
}


AS_IT_IS = "as it is"


def print_training(
    console: Console,
    inspection: Inspection,
    training: TrainingEstimate,
    *,
    explain: bool = False,
    config: dict[str, Any] | None = None,
) -> None:
    """One training step: whether it fits, what lives at its peak, the peak of each phase, the ratio to inference.

    Args:
        config: what was read of a trainer's file (`Run.to_dict`), and the `patch` that makes it fit.
    """
    print_name(console, inspection)
    for fit in inspection.fits:
        print_verdict(console, fit)
        print_fit(console, inspection, fit)
        console.print()
    if config:
        _print_config(console, config, explain=explain)
    if training.layout is not None:
        _print_layout(console, training.layout, inspection)
    print_head(console, inspection)
    article = training.workload.formulas == "article"
    indented(console, Text(_heading(training), "bold"), 0)
    if spread := training.sharding.words():
        indented(console, Text(f"{spread}: what the fullest of {training.sharding.cards} GPUs holds"))
    if training.trainable_parameters is not None:
        indented(console, Text(f"{training.trainable_parameters:,} trainable parameters"))
    table = plain_table("" if article else "at the peak", "GiB")
    for part in training.parts:
        table.add_row(label(part.name), gib_text(part.bytes))
    table.add_row(Text("total", "bold"), Text(gib_text(training.peak), "bold"))
    indented(console, table)
    needed = next((fit.needed for fit in inspection.fits if fit.needed is not None), None)
    if needed is not None and training.peak is not None and needed > training.peak:
        indented(console, Text(f"and {gib_text(needed - training.peak)} GiB of CUDA context and libraries"))
    if training.phases:
        phases = ", ".join(f"{name} {gib_text(size)}" for name, size in training.phases.items())
        indented(console, Text(f"the peak is in the {training.peak_phase} phase: {phases} GiB"))
    if training.reserved is not None:
        indented(console, Text(_held(training)))
    for part in training.off_gpu:
        where = {"host_memory": "in the host's memory", "disk": "on disk"}[part.name]
        indented(console, Text(f"{gib_text(part.bytes)} GiB per GPU {where}"))
    if training.measured:
        names = ("forward", "backward", "optimizer", "peak", "reserved")
        found = {name: training.measured[name] for name in names if name in training.measured}
        sizes = ", ".join(f"{name} {gib_text(size)}" for name, size in found.items())
        error = "" if training.peak is None else f"; the estimate is {training.peak / found['peak'] - 1:+.2%} off"
        indented(console, Text(f"measured under fake tensors: {sizes} GiB{error}"))
    if training.ratio_to_inference is not None:
        of = "inference" if article else "the weights at inference"
        ratio = f"{training.ratio_to_inference:.1f} times {of} (LLM System Requirements' rule of thumb: 4 to 6)"
        indented(console, Text(ratio))
    if explain:
        print_explanation(console, (*training.parts, *training.off_gpu), "How each number is made")


def _held(training: TrainingEstimate) -> str:
    """What torch's allocator holds, and what nvidia-smi shows."""
    held = f"torch's allocator reserves {gib_text(training.reserved)} GiB"
    if training.reserved_range is None:
        return f"{held} (about: docs/training.md)"
    low, high = training.reserved_range
    shown = f"nvidia-smi shows about {gib_text(training.device_used)}; the verdict is of the tensors"
    return f"{held} or so ({gib_text(low)} to {gib_text(high)}), {shown}"


def _print_layout(console: Console, proposal: Proposal, inspection: Inspection) -> None:
    """What is proposed for a number of GPUs, and why."""
    gpus = f"{proposal.gpus:,} GPU" + ("s" if proposal.gpus > 1 else "")
    sequences = f"{proposal.global_batch:,} sequence" + ("s" if proposal.global_batch > 1 else "")
    heading = f"A layout of {gpus} for {sequences} per step, of {proposal.sized:,} that were sized"
    indented(console, Text(heading, "bold"), 0)
    least = proposal.least
    indented(console, Text(f"the least memory: {least.options or AS_IT_IS} ({gib_text(least.peak)} GiB)"))
    for reason in proposal.reasons:
        other = "" if reason.otherwise is None else f": otherwise {gib_text(reason.otherwise)} GiB"
        indented(console, Text(f"{reason.text}{other}"), 4)
    if proposal.simplest is not None:
        options = proposal.simplest.options or AS_IT_IS
        indented(console, Text(f"the simplest that fits: {options} ({gib_text(proposal.simplest.peak)} GiB)"))
    elif inspection.fits:
        indented(console, Text("no layout of so many GPUs fits"))
    console.print()


def _heading(training: TrainingEstimate) -> str:
    """How it is trained, in a line."""
    workload, setup = training.workload, training.setup
    tokens = tokens_text(workload.context, workload.batch)
    if workload.formulas == "article":
        return f"Training by the article's formulas, {training.optimizer}, {tokens}"
    words = [] if setup.objective == "sft" else [setup.aim.title]
    words += [setup.method, setup.precision, f"{setup.optimizer} {setup.variant}", setup.attention]
    words += [f"rank {setup.lora_rank}"] if setup.adapters else []
    words += [setup.lora_targets] if setup.lora_targets != "all-linear" else []
    words += [setup.trained] if setup.trained else []
    words += _checkpointing(setup)
    words += ["compiled"] if setup.compiled else []
    words += [f"fp8 by {setup.fp8}"] if setup.fp8 != "none" else []
    words += LOGITS[setup.logits]
    return f"Training: {', '.join(inert(word) for word in words)}, {tokens}"


def _print_config(console: Console, config: dict[str, Any], *, explain: bool) -> None:
    """The file's patch, what was read of it, and what was assumed."""
    if config["patch"]:
        console.print(Text(f"  with this patch to {inert(config['file'])} it fits:"))
        for line in config["patch"].splitlines():
            console.print(Text(f"    {inert(line)}"), soft_wrap=True)
        if "\r\n" in config["patch"]:
            indented(console, Text("the file's lines end in CR LF: take the patch from --json"))
        console.print()
    elif config["no_patch"]:
        console.print(Text(f"  no patch to {inert(config['file'])}: {config['no_patch']}"))
        console.print()
    indented(console, Text(f"From {inert(config['file'])} ({inert(config['title'])})", "bold"), 0)
    read = dict.fromkeys(f"{each['key']} {_short(each['value'])}" for each in config["read"])
    indented(console, Text(f"read: {', '.join(inert(word) for word in read)}"))
    assumed = [f"{each['setting']} {_short(each['value'])}" for each in config["assumed"]]
    if assumed:
        indented(console, Text(f"assumed: {', '.join(inert(word) for word in assumed)}"))
    indented(console, Text(f"{config['ignored']} other keys take no memory, or are read together with these"))
    if explain:
        for each in config["assumed"]:
            indented(console, Text(inert(f"{each['setting']} {_short(each['value'])}: {each['why']}")), 4)
        indented(console, Text(inert(f"keys and defaults as of {config['as_of']}")), 4)
    console.print()


def _short(value: object) -> str:
    """A value in a few words: a list with commas."""
    text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= 60 else f"{text[:59]}…"


def _checkpointing(setup: TrainingSetup) -> list[str]:
    words = {
        "full": "checkpointing",
        "selective-op": "checkpointing by operation",
        "attention": "recomputed attention",
    }
    if setup.checkpointing == "selective":
        return [f"every {setup.checkpoint_every}. block checkpointed"]
    return [words[setup.checkpointing]] if setup.checkpointing in words else []
