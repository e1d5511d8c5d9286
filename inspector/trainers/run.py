"""A run: one trainer's file, and those of accelerate and DeepSpeed beside it, as the settings of one training step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inspector.errors import FileMissing, UnreadableModel, UsageError
from inspector.memory.training.sharding import Sharding
from inspector.settings import settings_of
from inspector.trainers.deepspeed import shipped
from inspector.trainers.files import Document, read_document
from inspector.trainers.reading import Assumed, Read, Reading, Trainer
from inspector.trainers.registry import TRAINERS, recognise


@dataclass(frozen=True, slots=True)
class Run:
    """What the files of a run say.

    Attributes:
        trainer: of the first file that is not only beside another's.
        document: that file.
        model / revision: None where no file names one.
        settings: of `inspector.train`, without those of sharding.
        sharding: of several GPUs.
        processes: GPUs of the run.
        read / assumed: where the settings come from.
        ignored: keys of the files that memory does not depend on, how many.
        notes: what the reader should know.
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
) -> Run:
    """The run that config files describe.

    Args:
        paths: a trainer's file first, then accelerate's and DeepSpeed's.
        processes: GPUs of the run, where no file says it; 1 where None.
        without: keys to leave out of account, whatever they say.
        given: settings that are given otherwise: what a file does not tell of them is no gap.

    Raises:
        FileMissing, UsageError: a file that cannot be read, or is of no trainer that is known.
        UnreadableModel: a key whose effect on memory is not modelled or not known.
    """
    return run_of([read_document(path) for path in paths], processes=processes, without=without, given=given)


def run_of(
    documents: Iterable[Document],
    *,
    processes: int | None = None,
    without: Iterable[str] = (),
    given: Iterable[str] = (),
) -> Run:
    """`read_run` of files that were read."""
    waiting, readings = list(documents), []
    while waiting:
        document = waiting.pop(0)
        reading = _reading(document)
        waiting += _finish(document, reading, set(without), set(given))
        readings.append((document, reading))
    if not readings:
        raise UsageError("no config file", "--config FILE")
    return _joined(readings, processes)


def _reading(document: Document) -> Reading:
    trainer = recognise(document.values)
    if trainer is None:
        known = ", ".join(each.title for each in TRAINERS)
        raise UsageError(f"{document.name}: its keys are those of no trainer that is known", f"Known: {known}.")
    return Reading(trainer, document.values)


def _finish(document: Document, reading: Reading, without: set[str], given: set[str]) -> list[Document]:
    """Refuse what is not modelled; the files that this one names, where they are there."""
    unknown = [key for key in reading.finish() if key not in without]
    if "context" in given:
        reading.unmodelled.pop("tokenizer.max_seq_len", None)
    missing = {key: why for key, why in reading.unmodelled.items() if key not in without}
    if missing:
        key, why = next(iter(missing.items()))
        more = f" (and of {len(missing) - 1} more: {', '.join(list(missing)[1:4])})" if len(missing) > 1 else ""
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
        path = next((each for each in (document.path.parent / name, Path(name)) if each.is_file()), None)
        if path is not None:
            found.append(read_document(path))
        elif told is not None:
            for setting, value in told.items():
                reading.put(setting, value, key)
        elif key not in without:
            raise FileMissing(f"{document.name}: {key} names {name}, which is not there", "Give it with --config, too.")
    return found


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _joined(readings: list[tuple[Document, Reading]], processes: int | None) -> Run:
    """One run of several files: what stands beside a trainer's own file wins over it."""
    main = next((pair for pair in readings if not pair[1].trainer.beside), readings[0])
    settings: dict[str, Any] = {}
    for _, reading in sorted(readings, key=lambda pair: pair[1].trainer.beside):
        settings |= reading.settings
    told = [reading.processes for _, reading in readings if reading.processes is not None]
    world = processes or max(told, default=1)
    spreads = [reading.spread for _, reading in readings if reading.spread]
    assumed = [each for _, reading in readings for each in reading.assumed if each.setting in settings]
    if processes is None and not told:
        assumed.append(Assumed("processes", world, "no file says how many GPUs the run has: --processes N"))
    notes = [note for _, reading in readings for note in reading.notes]
    _spread(settings, spreads[-1] if spreads else "", world, notes)
    for name in ("model", "revision"):
        if name in settings and not isinstance(settings[name], str):
            raise UsageError(f"{main[0].name}: the {name} is no text", "llm-inspect train org/name --config FILE")
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
    )


def _spread(settings: dict[str, Any], spread: str, world: int, notes: list[str]) -> None:
    """The degrees of a run of so many GPUs."""
    others = 1
    for name in ("tp", "pp", "cp", "hsdp"):
        others *= int(settings.get(name, 1))
    data = max(1, world // others)
    stage = settings.get("zero")
    if "fsdp" in settings:
        data = int(settings["fsdp"])
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
