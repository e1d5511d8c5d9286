"""The cells of a table over ranges of settings: what a model takes at one combination of values, on one device."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from inspector.api.curves import Sizing, sizing
from inspector.api.settings import DEFAULT_ENGINE, Settings
from inspector.api.training import TrainingSettings
from inspector.errors import UsageError
from inspector.settings import settings_of

if TYPE_CHECKING:
    from inspector.devices.spec import GpuSpec
    from inspector.hub import Checkpoint
    from inspector.memory import Estimate, Workload
    from inspector.memory.training.estimate import TrainingEstimate
    from inspector.memory.training.tensors import Weights
    from inspector.model import Model


@dataclass(frozen=True, slots=True)
class Cell:
    """One combination of values, on one device where some were asked for. Sizes in bytes.

    Attributes:
        settings: what the cell is of: each setting that a table may be over, defaults filled in.
        gpu: the device as reports name it; None where none was asked for, and so are the device's other figures.
        count: GPUs.
        capacity: what a program can have of one GPU.
        parts: of memory -> bytes, of the whole model under transformers, or of a training step; None where not known.
            Empty under the other engines.
        total: their sum; of training, the peak. None where it is not known.
        per_gpu: under the other engines what `needed` is the sum of: weights, activations, ..., kv_cache.
        needed, usable, headroom, fits: as of `Fit`.
        why: why there is no verdict, or no such run; None where there is one.
    """

    settings: Mapping[str, Any]
    gpu: str | None = None
    count: int | None = None
    capacity: int | None = None
    parts: Mapping[str, int | None] = field(default_factory=dict)
    total: int | None = None
    per_gpu: Mapping[str, int | None] = field(default_factory=dict)
    needed: int | None = None
    usable: int | None = None
    fits: bool | None = None
    why: str | None = None

    @property
    def headroom(self) -> int | None:
        """Bytes that are left, negative where some are missing."""
        return None if self.needed is None or self.usable is None else self.usable - self.needed


def values_of(kind: type[Any], asked: Any) -> dict[str, Any]:
    """Each setting that a table may be over; what trains has a precision, and no dtype."""
    names = [each.name for each in settings_of(kind).values() if each.about.several and not each.many]
    return {name: getattr(asked, name) for name in names if name != "dtype" or kind is Settings}


def on_device(cell: Cell, spec: GpuSpec | None) -> Cell:
    if spec is None:
        return cell
    return dataclasses.replace(cell, gpu=spec.label, count=spec.count, capacity=spec.capacity)


class InferenceCells:
    """The cells of inference: an estimate a workload, an engine's sizing function for all of its cells."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._estimates: dict[Workload, Estimate] = {}
        self._sizings: dict[Any, Sizing] = {}
        self.notes: list[str] = []

    def cells(self, asked: Settings, specs: Sequence[GpuSpec]) -> Iterator[Cell]:
        """A cell each device, or one without."""
        from inspector.memory import estimate

        workload = asked.workload(self._model)
        sized = estimate(self._model, workload)
        self.notes += sized.warnings
        values = values_of(Settings, asked) | {"context": workload.context, "kv_dtype": sized.kv_dtype}
        own = asked.engine == DEFAULT_ENGINE
        parts = {part.name: part.bytes for part in sized.parts} if own else {}
        cell = Cell(values, parts=parts, total=sized.total if own else None)
        if not specs:
            yield cell
        for spec in specs:
            yield self._verdict(on_device(cell, spec), asked, workload, spec)

    def _verdict(self, cell: Cell, asked: Settings, workload: Workload, spec: GpuSpec) -> Cell:
        key = asked.engine, tuple(sorted(asked.serving.items()))
        if key not in self._sizings:
            self._sizings[key] = sizing(self._model, asked)
        try:
            found = self._sizings[key](workload, spec)
        except UsageError as error:
            return dataclasses.replace(cell, why=error.message)
        why = self._why(asked, workload, spec) if found.fits is None else None
        verdict: Any = {"needed": found.needed, "usable": found.usable, "fits": found.fits}
        return dataclasses.replace(cell, **verdict, per_gpu=found.parts, why=why)

    def _why(self, asked: Settings, workload: Workload, spec: GpuSpec) -> str:
        from inspector.engines.registry import engine_named

        engine = engine_named(asked.engine)
        fit = engine.planner(self._model, workload, engine.options(**asked.serving))(spec, False).fit
        return next((note for note in fit.notes if "cannot tell" in note or "not known" in note), "cannot tell")


def _cell(values: Mapping[str, Any], found: TrainingEstimate) -> Cell:
    return Cell(values, parts={part.name: part.bytes for part in found.parts}, total=found.peak)


class TrainingCells:
    """The cells of training: a step's estimate each."""

    def __init__(self, checkpoint: Checkpoint, model: Model) -> None:
        self._checkpoint, self._model = checkpoint, model
        self.notes: list[str] = []

    @cached_property
    def _weights(self) -> Weights:
        from inspector.memory.training import read_weights

        return read_weights(self._checkpoint, self._model.architecture)

    def cells(self, asked: TrainingSettings, specs: Sequence[GpuSpec]) -> Iterator[Cell]:
        """A cell each device, or one without."""
        from inspector.memory.training import training_estimate
        from inspector.verdict.training import check_training

        workload, setup = asked.inference.workload(self._model), asked.setup
        values = values_of(TrainingSettings, asked) | {"context": workload.context}
        values |= {} if setup.adapters else {"lora_rank": None}
        try:
            setup.check_lengths(workload.context)
        except UsageError as error:
            refused = Cell(values, why=error.message)
            yield from (on_device(refused, spec) for spec in specs or (None,))
            return
        found = training_estimate(self._model, workload, setup, asked.over, self._weights)
        self.notes += found.warnings
        cell = _cell(values, found)
        if not specs:
            yield cell
        for spec in specs:
            try:
                own = setup.on_gpu(spec.capacity)
                if own is not setup:
                    found = training_estimate(self._model, workload, own, asked.over, self._weights)
                    cell = _cell(values, found)
                fit = check_training(
                    self._model, workload, own, asked.over, self._weights, spec, searches=False, known=found
                )
            except UsageError as error:
                yield dataclasses.replace(on_device(cell, spec), why=error.message)
                continue
            why = next(iter(fit.notes), "cannot tell") if fit.fits is None else None
            yield dataclasses.replace(
                on_device(cell, spec), needed=fit.needed, usable=fit.usable, fits=fit.fits, count=fit.count, why=why
            )
