"""Of the HTML report: one training step, its parts at the peak and its phases."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from inspector.report.html.element import Child, Element, chart, element, figure, folded, name, rows, section, table
from inspector.report.html.explained import part_inside, plain_row
from inspector.report.html.verdicts import pairs_list
from inspector.report.units import bytes_text, gib_text, label, number_text, tokens_text

if TYPE_CHECKING:
    from inspector.record import Record

PARTS = (
    "weights",
    "gradients",
    "optimizer_states",
    "activations",
    "logits",
    "temporaries",
    "frozen_models",
    "inference_engine",
)
BESIDE = ("host_memory", "disk")
SETUP = (
    *("generation", "completion_tokens"),
    *(
        "objective",
        "reference",
        "method",
        "precision",
        "optimizer",
        "optimizer_impl",
        "attention",
        "checkpointing",
        "lora_rank",
        "lora_targets",
    ),
    *("trained", "compiled", "fp8", "logits_mode", "sharding", "formulas"),
)


def training_sections(page: Record, index: int) -> Iterator[Element]:
    """What lives at the peak, the phases, and how it is trained."""
    training = page["record"]["training"]
    explained = {each["name"]: f"record.explain.{at}" for at, each in enumerate(page["record"].get("explain") or ())}
    lines = []
    for each in (*PARTS, *BESIDE):
        number = figure(page, f"record.training.{each}", bytes_text, "bytes")
        words = {"host_memory": "in the host's memory", "disk": "on disk"}.get(each, label(each))
        if each == BESIDE[0]:
            peak = figure(page, "record.training.peak", bytes_text, "bytes")
            lines.append(plain_row("total on the GPU", peak, strong=True))
        if each in explained:
            lines.append(folded(words, *part_inside(page, explained[each]), number=number))
        elif training[each] is not None:
            lines.append(plain_row(words, number))
    tokens = tokens_text(training["context"], training["batch"])
    gpus = f", the fullest of {training['cards']} GPUs" if training["cards"] > 1 else ""
    yield section(
        "Memory at the peak of a training step",
        rows(*lines),
        _ratio(page),
        about=f"{tokens} per step{gpus}; select a row to see how its number is made.",
    )
    if training["phases"]:
        yield _phases(page, index)
    setup = [(label(each), name(training[each])) for each in SETUP if training[each] is not None]
    yield section("How it is trained", pairs_list([(key, _yes(value)) for key, value in setup]))


def _yes(value: Element) -> Element:
    words = {"True": "yes", "False": "no"}
    value.text = words.get(value.text or "", value.text)
    return value


def _ratio(page: Record) -> Element | None:
    if page["record"]["training"]["ratio_to_inference"] is None:
        return None
    times = figure(page, "record.training.ratio_to_inference", lambda value: f"{value:.1f} times")
    return element("p", times, " the weights at inference (rule of thumb: 4 to 6)", class_="quiet")


def _phases(page: Record, index: int) -> Element:
    training = page["record"]["training"]
    measured = training["measured"] or {}
    heads: list[Child] = ["phase", "peak", *(["measured"] if measured else [])]
    lines = []
    for each in training["phases"]:
        cells: list[Child] = [each, figure(page, f"record.training.phases.{each}", gib_text, "bytes")]
        if measured:
            cells.append(
                figure(page, f"record.training.measured.{each}", gib_text, "bytes") if each in measured else ""
            )
        lines.append(cells)
    peak = number_text(training["peak"])
    return section(
        "The step's phases",
        chart("phases", index),
        table(heads, lines, "Sizes in GiB"),
        about=f"The peak, {peak} bytes, is in the {training['peak_phase']} phase.",
    )
