"""A logged run beside its prediction: the rows, and what engines' comparisons share of reading settings and devices."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from inspector.devices.spec import GpuSpec, spec_of
from inspector.devices.table import find_device
from inspector.engines.common.log import LoggedRun, Number
from inspector.engines.serving import Serving
from inspector.errors import UsageError
from inspector.memory import Workload, default_context
from inspector.model import Model

PARTS = ("weights", "activations", "non_torch", "graphs", "kv_pool", "kv_tokens", "kv_blocks", "max_concurrency")

COUNTS = ("kv_tokens", "kv_blocks", "max_concurrency", "kv_tokens_of_pool", "max_concurrency_of_pool")
"""Parts that are no bytes."""

MAX_GPUS = 1024
MAX_TOKENS = 2**40

_ENORMOUS = 2**50
"""Bytes of the GPU that stands in for an unknown one, of which only the weights are read."""

_NOT_COUNTED = {
    "speculative_config": "the draft model of speculative decoding",
    "speculative_algorithm": "the draft model of speculative decoding",
    "enable_lora": "adapters' buffers",
    "cpu_offload_gb": "weights offloaded to the CPU",
    "kv_cache_memory_bytes": "a pool whose size was given (kv_cache_memory_bytes)",
    "enable_expert_parallel": "expert parallelism: whole experts are counted as cut",
    "max_total_tokens": "a pool whose size was given (max_total_tokens)",
}
"""Settings that change what an engine takes and that no plan here knows."""


Planned = Callable[[Model, Workload, GpuSpec, Any], Serving]
"""(model, workload, devices, options) -> an engine's account, without a search for changes."""


@dataclass(frozen=True, slots=True)
class Row:
    """One part: what was printed and what is predicted, in bytes or (of `COUNTS`) as a count; None where not known."""

    part: str
    printed: Number | None
    predicted: Number | None
    lowest: Number | None = None
    highest: Number | None = None

    @property
    def difference(self) -> float | None:
        """100 * (predicted / printed - 1), in percent."""
        if self.predicted is None or not self.printed:
            return None
        return 100 * (self.predicted / self.printed - 1)


@dataclass(frozen=True, slots=True)
class Comparison:
    """All rows of a run, the settings that the prediction was made for, and what may explain a difference."""

    run: LoggedRun
    rows: tuple[Row, ...]
    gpu: str | None = None
    count: int = 1
    capacity: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def make_rows(run: LoggedRun, predicted: Mapping[str, Number | None]) -> tuple[Row, ...]:
    """A row for every part that is printed or predicted, in the usual order."""
    rows = []
    for part in dict.fromkeys((*PARTS, *predicted, *run.printed)):
        source = part.removesuffix("_of_pool")
        printed, value = run.printed.get(source), predicted.get(part)
        if printed is None and (value is None or source != part or part == "kv_blocks"):
            continue
        if printed is None:
            rows.append(Row(part, None, value))
        else:
            rows.append(Row(part, printed.value, value, printed.lowest, printed.highest))
    return tuple(rows)


def whole(value: Any, most: int) -> int | None:
    """A setting as a number from 1 to `most`; None where it is none."""
    return value if type(value) is int and 1 <= value <= most else None


def share(value: Any) -> float | None:
    """A setting as a share: above 0, at most 1."""
    return float(value) if type(value) in (int, float) and 0 < value <= 1 else None


def gpu_of(run: LoggedRun, spec: GpuSpec | None, count: int, notes: list[str]) -> GpuSpec | None:
    """The GPUs of the run: those that the user named, with the memory that the log prints; else the log's own."""
    if spec is None and run.gpu is not None:
        try:
            device = find_device(run.gpu, None if run.gpu_memory is None else run.gpu_memory // 1024**2)
        except UsageError:
            device = None
        if device is None:
            notes.append(f"the log names a GPU that is not known: {run.gpu}")
        else:
            spec = spec_of(device)
    if spec is None and run.gpu_memory is not None:
        spec = GpuSpec(f"{run.gpu_memory / 1024**3:.2f}GiB", count, run.gpu_memory)
    if spec is None:
        notes.append("the log does not tell the GPU: name it with --gpu for the cache and the activations")
        return None
    if spec.count not in (1, count):
        notes.append(f"the log has {count} ranks, --gpu {spec.count} GPUs: the log's number counts")
    if run.gpu_memory:
        off = spec.capacity / run.gpu_memory - 1
        if abs(off) > 0.01:
            notes.append(
                f"the log prints {run.gpu_memory / 1024**3:.2f} GiB for a GPU, {spec.name} has"
                f" {spec.capacity / 1024**3:.2f}: the log's counts"
            )
        spec = dataclasses.replace(spec, capacity=run.gpu_memory)
    return dataclasses.replace(spec, count=count)


def workload_of(run: LoggedRun, model: Model, dtype: str, names: tuple[str, ...], notes: list[str]) -> Workload:
    """The longest request that the log tells, of the settings `names`."""
    known = [found for name in names if (found := whole(run.settings.get(name), MAX_TOKENS)) is not None]
    context = known[0] if known else model.architecture.max_position_embeddings or default_context(model)
    if not known:
        notes.append(f"the log does not tell the longest request: {context:,} tokens, the model's own, are counted")
    return Workload(context=context, dtype=_dtype(run, dtype, notes))


def cache_of(run: LoggedRun, types: Collection[str], notes: list[str]) -> str | None:
    """The cache's type that the log names, one of the engine's own; None where it names none, or "auto"."""
    logged = str(run.settings.get("kv_cache_dtype", "auto")).removeprefix("torch.")
    if logged in types:
        return None if logged == "auto" else logged
    notes.append(f"a KV cache of type {logged} is not known here: counted as the model's own precision")
    return None


def _dtype(run: LoggedRun, dtype: str, notes: list[str]) -> str:
    """The weights' precision: float32 is the one that makes them another size than their files have."""
    logged = str(run.settings.get("dtype", "")).removeprefix("torch.")
    if dtype != "stored" or logged not in ("float32", "float"):
        return dtype
    notes.append("the run computes in float32")
    return "fp32"


def degrees_of(run: LoggedRun, tensor: str, pipeline: str) -> tuple[int, int]:
    """(tensor parallel, pipeline parallel) as the log names them; 1 where it does not.

    Args:
        tensor / pipeline: the engine's names for the two settings.

    Raises:
        UsageError: more ranks than there are.
    """
    ranks, stages = (whole(run.settings.get(name), MAX_GPUS) or 1 for name in (tensor, pipeline))
    if ranks * stages > MAX_GPUS:
        raise UsageError(f"the log names {ranks} x {stages} ranks")
    return ranks, stages


def stand_in(count: int) -> GpuSpec:
    """Devices for those that are not known, of which only the weights are read."""
    return GpuSpec("unknown", count, _ENORMOUS)


def note_uncounted(run: LoggedRun, notes: list[str], counted: Collection[str] = ()) -> None:
    """What the log sets and no plan here knows; `counted`: settings that this one does."""
    for name, text in _NOT_COUNTED.items():
        if name not in counted and run.settings.get(name) not in (None, False, 0, 0.0, "0"):
            notes.append(f"not counted: {text}")


def note_settings(run: LoggedRun, model: Model, notes: list[str], *, says_packing: bool) -> None:
    """Where the log is of another model than the prediction.

    Args:
        says_packing: the log would name the packing of quantized files.
    """
    logged, own = run.settings.get("quantization"), model.architecture.quantization
    if isinstance(logged, str) and own is None:
        notes.append(f"the log says quantization={logged}, and the model's files are not quantized: name --dtype")
    elif logged is None and own is not None and says_packing:
        notes.append(f"the model's files are quantized ({own.method}), and the log does not say so")
    named = run.settings.get("model") or run.settings.get("model_path")
    if isinstance(named, str) and _last(named) != _last(model.repo_id):
        notes.append(f"the log is of {named[:200]}, the prediction of {model.repo_id}")


def _last(name: str) -> str:
    """ "/models/Org/Name/" and "org/namemodel cardain" -> "name"."""
    return name.partition("@")[0].rstrip("/").rpartition("/")[2].lower()


def predicted_parts(serving: Serving, parts: Sequence[str], *, known_gpu: bool) -> dict[str, Number | None]:
    """The account's parts of these names and its counts; of an unknown device the weights alone."""
    if not known_gpu:
        return {"weights": serving.per_gpu.get("weights")}
    predicted: dict[str, Number | None] = {part: serving.per_gpu.get(part) for part in parts}
    return predicted | {"kv_tokens": serving.kv_tokens, "kv_blocks": serving.kv_blocks}


def finished(
    run: LoggedRun,
    predicted: Mapping[str, Number | None],
    serving: Serving,
    gpu: GpuSpec | None,
    count: int,
    notes: list[str],
) -> Comparison:
    """The comparison with so many devices, `gpu` each; None where they are not known."""
    return Comparison(
        run,
        make_rows(run, predicted),
        gpu=gpu.name if gpu else None,
        count=count,
        capacity=gpu.capacity if gpu else None,
        settings=serving.settings if gpu else {},
        notes=(*notes, *(note for note in serving.notes if note not in notes)),
    )
