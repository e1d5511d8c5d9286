"""A run: one trainer's file, and those of accelerate and DeepSpeed beside it, as the settings of one training step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from inspector.errors import FileMissing, UnreadableModel, UsageError
from inspector.memory.training.sharding import Sharding
from inspector.settings import settings_of
from inspector.trainers.deepspeed import DEEPSPEED, shipped
from inspector.trainers.files import Document, read_document
from inspector.trainers.reading import Assumed, Read, Reading, Trainer
from inspector.trainers.registry import TRAINERS, recognise

DEGREES = frozenset(("tp", "pp", "cp", "hsdp", "fsdp"))
"""Settings whose product divides the GPUs of a run."""


@dataclass(frozen=True, slots=True)
class Run:
    """What the files of a run say.

    Attributes:
        trainer: of the first file that is not only beside another's.
        document: that file.
        beside: the others.
        model / revision: None where no file names one.
        unnamed: what names the model's shape, where no repository of that shape is known.
        settings: of `inspector.train`, without those of sharding.
        sharding: of several GPUs.
        processes: GPUs of the run.
        read / assumed: where the settings come from.
        ignored: keys of the files that memory does not depend on, how many.
        notes: what the reader should know.
        own_dtype: see `Reading`.
    """

    trainer: Trainer
    document: Document
    model: str | None
    revision: str | None
    settings: Mapping[str, Any]
    sharding: Mapping[str, Any]
    processes: int
    read: tuple[Read, ...]
    assumed: tuple[Assumed, ...]
    ignored: int
    notes: tuple[str, ...]
    unnamed: str = ""
    beside: tuple[Document, ...] = ()
    own_dtype: bool = False

    def to_dict(self) -> dict[str, Any]:
        """The JSON object `config`: what was read of the files, what was assumed, how many keys count for nothing."""
        return {
            "file": self.document.name,
            "trainer": self.trainer.name,
            "title": self.trainer.title,
            "as_of": self.trainer.as_of,
            "processes": self.processes,
            "read": [
                {"key": each.key, "value": _plain(each.value), "setting": each.setting, "becomes": _plain(each.becomes)}
                for each in self.read
            ],
            "assumed": [
                {"setting": each.setting, "value": _plain(each.value), "why": each.why} for each in self.assumed
            ],
            "ignored": self.ignored,
        }


def read_run(
    paths: Iterable[Path],
    *,
    processes: int | None = None,
    without: Iterable[str] = (),
    given: Iterable[str] = (),
    objective: str = "",
) -> Run:
    """The run that config files describe.

    Args:
        paths: a trainer's file first, then accelerate's and DeepSpeed's.
        processes: GPUs of the run, where no file says it; 1 where None.
        without: keys to leave out of account, whatever they say.
        given: settings that are given otherwise: what a file does not tell of them is no gap.
        objective: what the step trains for, where it is given otherwise; "" for what the files say.

    Raises:
        FileMissing, UsageError: a file that cannot be read, or is of no trainer that is known.
        UnreadableModel: a key whose effect on memory is not modelled or not known.
    """
    documents = [read_document(path) for path in paths]
    return run_of(documents, processes=processes, without=without, given=given, objective=objective)


def run_of(
    documents: Iterable[Document],
    *,
    processes: int | None = None,
    without: Iterable[str] = (),
    given: Iterable[str] = (),
    objective: str = "",
) -> Run:
    """`read_run` of files that were read."""
    waiting = list(documents)
    readings: list[tuple[Document, Reading]] = []
    while waiting:
        document = waiting.pop(0)
        if any(document.path == other.path for other, _ in readings):
            continue  # given, and named by another
        reading = _reading(document, objective)
        _refuse_second(document, reading.trainer, readings)
        waiting += _finish(document, reading, set(without), set(given), waiting)
        readings.append((document, reading))
    if not readings:
        raise UsageError("no config file", "--config FILE")
    _refuse_contradictions(readings, set(given))
    known = {key for document, reading in readings for key in (*document.values, *reading.unmodelled, *reading.others)}
    for key in without:
        if key not in known:
            raise UsageError(f"--ignore-key {key}: {readings[0][0].name} has no such key")
    return _joined(readings, processes, set(given))


def _refuse_second(document: Document, trainer: Trainer, readings: list[tuple[Document, Reading]]) -> None:
    """A run has one trainer, and of each kind beside it one file."""
    for other, reading in readings:
        if reading.trainer is trainer or not (reading.trainer.beside or trainer.beside):
            raise UsageError(
                f"two files for one run: {other.name} ({reading.trainer.title}) and {document.name} ({trainer.title})",
                "Give one of them.",
            )


def _refuse_contradictions(readings: list[tuple[Document, Reading]], given: set[str]) -> None:
    """DeepSpeed's batch against the trainer's: transformers does not start such a run (integrations/deepspeed.py)."""
    for name in {"batch", "grad_accum"} - given:
        found = [
            (document, each)
            for document, reading in readings
            if not reading.trainer.beside or reading.trainer.name == "deepspeed"
            for each in reading.read
            if each.setting == name
        ]
        for document, each in found[1:]:
            first, one = found[0]
            if document is not first and each.becomes != one.becomes:
                raise UsageError(
                    f"{first.name} has {one.key} {one.becomes}, {document.name} {each.key} {each.becomes}",
                    "Make them agree, or set DeepSpeed's to auto.",
                )


def _refuse_whole_batch(readings: list[tuple[Document, Reading]], settings: Mapping[str, Any]) -> None:
    """DeepSpeed's whole batch, where it is a number, is that of its GPUs (runtime/config.py: _batch_assertion)."""
    for document, reading in readings:
        whole = document.values.get("train_batch_size")
        if reading.trainer.name != "deepspeed" or type(whole) is not int or "batch" not in settings:
            continue
        batch, steps, data = int(settings["batch"]), int(settings.get("grad_accum", 1)), int(settings.get("ddp", 1))
        if whole != batch * steps * data:
            raise UsageError(
                f"{document.name}: train_batch_size {whole} is not {batch} x {steps} microbatches x {data} GPUs",
                "Make them agree, or set it to auto.",
            )


def _reading(document: Document, objective: str) -> Reading:
    trainer = recognise(document.values)
    if trainer is None:
        known = ", ".join(each.title for each in TRAINERS)
        raise UsageError(f"{document.name}: its keys are those of no trainer that is known", f"Known: {known}.")
    return Reading(trainer, document.values, objective)


def _finish(
    document: Document, reading: Reading, without: set[str], given: set[str], waiting: list[Document]
) -> list[Document]:
    """Refuse what is not modelled; the files that this one names, where they are there and not given (`waiting`)."""
    unknown = [key for key in reading.finish() if key not in without]
    answered = {key for key, setting in reading.unless.items() if setting in given}
    missing = {key: why for key, why in reading.unmodelled.items() if key not in without | answered}
    if missing:
        key, why = next(iter(missing.items()))
        more = f" (and of {len(missing) - 1} more: {', '.join(list(missing)[1:4])})" if len(missing) > 1 else ""
        if key not in document.values:
            raise UnreadableModel(f"{document.name}: without '{key}' it is not known: {why}{more}")
        raise UnreadableModel(
            f"{document.name}: what '{key}' takes is not modelled: {why}{more}", f"Without it: --ignore-key {key}"
        )
    if unknown:
        more = f" and {len(unknown) - 1} more: {', '.join(unknown[1:6])}" if len(unknown) > 1 else ""
        raise UnreadableModel(
            f"{document.name}: whether memory depends on '{unknown[0]}' is not known{more}"
            f" ({reading.trainer.title}, {reading.trainer.as_of})",
            f"Without it: --ignore-key {unknown[0]}",
        )
    found = []
    for key, name in reading.others.items():
        told = shipped(name)
        path = next((each for each in (document.path.parent / name, Path(name)) if _is_file(each)), None)
        if path == document.path:
            raise UsageError(f"{document.name}: {key} names the file itself")
        if any(recognise(each.values) is DEEPSPEED for each in waiting):
            continue
        if path is not None:
            found.append(read_document(path))
        elif told is not None:
            for setting, value in told.items():
                reading.put(setting, value, key)
        elif key not in without:
            raise FileMissing(f"{document.name}: {key} names {name}, which is not there", "Give it with --config, too.")
    return found


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that is too long, or none
        return False


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _joined(readings: list[tuple[Document, Reading]], processes: int | None, given: set[str]) -> Run:
    """One run of several files: what stands beside a trainer's own file wins over it."""
    main = next((pair for pair in readings if not pair[1].trainer.beside), readings[0])
    settings: dict[str, Any] = {}
    for _, reading in sorted(readings, key=lambda pair: pair[1].trainer.beside):
        settings |= reading.settings
    told = [reading.processes for _, reading in readings if reading.processes is not None]
    least = _degrees(settings)
    world = processes or max(told, default=least)
    if not given & DEGREES and (world % least or ("fsdp" in settings and world != least)):
        degrees = ", ".join(f"{name} {settings[name]}" for name in sorted(DEGREES) if name in settings)
        raise UsageError(f"{main[0].name}: its degrees ({degrees}) do not make {world} GPUs")
    spreads = [reading.spread for _, reading in readings if reading.spread]
    assumed = [each for _, reading in readings for each in reading.assumed if each.setting in settings]
    if processes is None and not told and least == 1:
        assumed.append(Assumed("processes", world, "no file says how many GPUs the run has: --processes N"))
    notes = [note for _, reading in readings for note in reading.notes]
    _spread(settings, spreads[-1] if spreads else "", world, notes)
    if not given & {"batch", "grad_accum"}:
        _refuse_whole_batch(readings, settings)
    for name in ("model", "revision"):
        if name in settings and not isinstance(settings[name], str):
            key = next(each.key for _, reading in readings for each in reading.read if each.setting == name)
            raise UsageError(f"{main[0].name}: {key} is no text", "llm-inspect train org/name --config FILE")
    names = set(settings_of(Sharding))
    used = {each.key for _, reading in readings for each in reading.read}
    return Run(
        main[1].trainer,
        main[0],
        settings.pop("model", None),
        settings.pop("revision", None),
        {name: value for name, value in settings.items() if name not in names},
        {name: value for name, value in settings.items() if name in names},
        world,
        tuple(each for _, reading in readings for each in reading.read),
        tuple(assumed),
        sum(key not in used for document, _ in readings for key in document.values),
        tuple(dict.fromkeys(notes)),
        main[1].unnamed,
        tuple(document for document, _ in readings if document is not main[0]),
        any(reading.own_dtype for _, reading in readings),
    )


def _degrees(settings: Mapping[str, Any]) -> int:
    """The GPUs that the degrees take, without those of data parallelism that no key gives."""
    return prod(int(settings.get(name, 1)) for name in DEGREES)


def _spread(settings: dict[str, Any], spread: str, world: int, notes: list[str]) -> None:
    """The degrees of a run of so many GPUs."""
    data = int(settings["fsdp"]) if "fsdp" in settings else max(1, world // _degrees(settings))
    stage = settings.get("zero")
    if spread == "zero" or stage:
        settings["ddp"] = data
        if stage and settings.get("method") == "full" and settings.get("precision") in ("bf16", "mixed"):
            settings["precision"] = "bf16-master"  # DeepSpeed's own optimizer keeps fp32 masters
            if settings.get("optimizer_impl") == "foreach":
                settings["optimizer_impl"] = "auto"
    elif spread == "fsdp" and data == 1 and int(settings.get("cp", 1)) > 1:
        # Weights are sharded over the ranks of context parallelism, too: as over GPUs with a shorter sequence each.
        ranks = settings["fsdp"] = int(settings.pop("cp"))
        if "context" in settings:
            settings["context"] = -(-int(settings["context"]) // ranks)
        notes.append(
            f"each of {ranks} GPUs has a share of the weights, and of the sequence, which --context stands for"
        )
    elif spread == "fsdp":
        settings["fsdp"] = data
        if data == 1:
            notes.append("one GPU: nothing is sharded")
            for name in ("shard_embeddings", "fp8_gather", "reduce_fp32", "reshard", "fsdp"):
                settings.pop(name, None)
            if "params" in settings.get("offload", ()):
                settings["offload"] = tuple(each for each in settings["offload"] if each != "params")
    elif data > 1:
        settings["ddp"] = data
