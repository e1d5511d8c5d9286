"""A logged run beside the prediction for it: the same plans as `--engine`, under the settings that the log names."""

from __future__ import annotations

from inspector.devices.spec import GpuSpec
from inspector.engines.common.cache_specs import UnsupportedLayer
from inspector.engines.common.comparison import MAX_CARDS, MAX_TOKENS, Comparison, card_of, make_rows, share, whole
from inspector.engines.common.log import LoggedRun, Number
from inspector.engines.common.served import Card, served_model
from inspector.engines.serving import Serving, ServingSettings, plan_serving
from inspector.engines.vllm import budget as vllm
from inspector.engines.vllm.cache import capacity
from inspector.engines.vllm.version import NEWEST, VllmVersion, parse_version
from inspector.errors import UsageError
from inspector.memory import PRECISION_BITS, Workload, default_context
from inspector.model import Model

ASSUMED_V0 = "0.7"
"""What is counted where a log of the V0 engine names no version."""

_ENORMOUS = 2**50
"""Bytes of the card that stands in for an unknown one, of which only the weights are read."""

_CACHES = {
    "fp8": "fp8",
    "fp8_e4m3": "fp8",
    "fp8_e5m2": "fp8",
    "bfloat16": "bf16",
    "bf16": "bf16",
    "float16": "fp16",
    "fp16": "fp16",
}
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


def compare(run: LoggedRun, model: Model, spec: GpuSpec | None = None, *, dtype: str = "stored") -> Comparison:
    """Each printed part beside the predicted one.

    Args:
        spec: one card of those that the log is of, where the user named it; else it is read off the log.
        dtype: the weights' precision, where it is not that of the files.

    Raises:
        UsageError: the log names settings that no plan can be made for.
    """
    if run.engine == "llama.cpp":
        from inspector.engines.llama_cpp.comparison import compare_llama_cpp

        return compare_llama_cpp(run, model, spec, dtype=dtype)
    notes = [*run.notes]
    tensor, pipeline = degrees(run)
    card = card_of(run, spec, tensor * pipeline, notes)
    workload = _workload(run, model, dtype, notes)
    serving_settings = _serving_settings(run, tensor, pipeline, notes)
    _note_what_is_not_counted(run, model, notes)
    stand_in = card or GpuSpec("unknown", tensor * pipeline, _ENORMOUS)
    serving = plan_serving(model, workload, stand_in, serving_settings, run.engine, suggest=False)
    predicted = _predicted(serving, known_card=card is not None)
    if run.engine == "vllm":
        predicted |= _of_printed_pool(run, model, workload, stand_in, serving_settings, tensor, pipeline)
    notes += [note for note in serving.notes if note not in notes]
    return Comparison(
        run,
        make_rows(run, predicted),
        gpu=card.name if card else None,
        count=tensor * pipeline,
        capacity=card.capacity if card else None,
        settings=serving.settings if card else {},
        notes=tuple(notes),
    )


def degrees(run: LoggedRun) -> tuple[int, int]:
    """(tensor parallel, pipeline parallel) as the log names them; 1 where it does not.

    Raises:
        UsageError: more ranks than there are.
    """
    names = ("tensor_parallel_size", "pipeline_parallel_size") if run.engine == "vllm" else ("tp_size", "pp_size")
    tensor, pipeline = (whole(run.settings.get(name), MAX_CARDS) or 1 for name in names)
    if tensor * pipeline > MAX_CARDS:
        raise UsageError(f"the log names {tensor} x {pipeline} ranks")
    return tensor, pipeline


def _workload(run: LoggedRun, model: Model, dtype: str, notes: list[str]) -> Workload:
    names = ("max_model_len",) if run.engine == "vllm" else ("context_length", "context_len")
    known = [found for name in names if (found := whole(run.settings.get(name), MAX_TOKENS)) is not None]
    context = known[0] if known else model.architecture.max_position_embeddings or default_context(model)
    if not known:
        notes.append(f"the log does not tell the longest request: {context:,} tokens, the model's own, are counted")
    logged = str(run.settings.get("kv_cache_dtype", "auto"))
    if logged not in _CACHES and logged != "auto":
        notes.append(f"a KV cache of type {logged} is not known here: counted as the model's own precision")
    return Workload(context=context, dtype=_dtype(run, dtype, notes), kv_dtype=_CACHES.get(logged))


def _dtype(run: LoggedRun, dtype: str, notes: list[str]) -> str:
    """The weights' precision: float32 is the one that makes them another size than their files have."""
    logged = str(run.settings.get("dtype", "")).removeprefix("torch.")
    if dtype != "stored" or logged not in ("float32", "float"):
        return dtype
    notes.append("the run computes in float32")
    return "fp32"


def _serving_settings(run: LoggedRun, tensor: int, pipeline: int, notes: list[str]) -> ServingSettings:
    logged = run.settings
    if run.engine == "sglang":
        fraction = share(logged.get("mem_fraction_static"))
        if fraction is None or fraction >= 1:
            fraction = None
            notes.append("mem_fraction_static is not in the log: SGLang's default for the card is counted")
        free, memory = logged.get("free_before"), run.card_memory
        if type(free) is int and memory and free < 0.98 * memory:
            notes.append(f"{(memory - free) / 1024**3:.2f} GiB were in use before the weights were loaded")
        return ServingSettings(tensor_parallel=tensor, pipeline_parallel=pipeline, mem_fraction_static=fraction)
    version = run.version
    if version is None and logged.get("v1") is False:
        version = ASSUMED_V0
        notes.append(f"the version is not in the log, whose lines are V0's: counted as {ASSUMED_V0}")
    elif version is None:
        notes.append(f"the version is not in the log: counted as {'.'.join(map(str, NEWEST))}")
    elif parse_version(version).release > NEWEST:
        notes.append(
            f"version {version} is newer than the newest whose sources were read, {'.'.join(map(str, NEWEST))}"
        )
    if version is not None and "v1" in logged:
        version += " (V1)" if logged["v1"] else " (V0)"
    parsed = VllmVersion() if version is None else parse_version(version)
    utilization = share(logged.get("gpu_memory_utilization"))
    if utilization is None:
        notes.append(
            f"gpu_memory_utilization is not in the log: {parsed.default_utilization:g} is counted, the default"
        )
    for name in ("max_num_batched_tokens", "max_num_seqs"):
        if whole(logged.get(name), MAX_TOKENS) is None:
            notes.append(f"{name} is not in the log: the default for the card is counted")
    free, memory = logged.get("free_at_start"), run.card_memory
    if type(free) is int and memory and memory - free > 0.02 * memory:
        notes.append(f"{(memory - free) / 1024**3:.2f} GiB of the card were in use when the engine started")
    return ServingSettings(
        version=version,
        tensor_parallel=tensor,
        pipeline_parallel=pipeline,
        gpu_memory_utilization=utilization,
        max_num_batched_tokens=whole(logged.get("max_num_batched_tokens"), MAX_TOKENS),
        max_num_seqs=whole(logged.get("max_num_seqs"), MAX_TOKENS),
        enforce_eager=logged.get("enforce_eager") is True,
    )


def _note_what_is_not_counted(run: LoggedRun, model: Model, notes: list[str]) -> None:
    for name, text in _NOT_COUNTED.items():
        if run.settings.get(name) not in (None, False, 0, 0.0, "0"):
            notes.append(f"not counted: {text}")
    logged, own = run.settings.get("quantization"), model.architecture.quantization
    if isinstance(logged, str) and own is None:
        notes.append(f"the log says quantization={logged}, and the model's files are not quantized: name --dtype")
    elif logged is None and own is not None and run.engine == "vllm" and "dtype" in run.settings:
        notes.append(f"the model's files are quantized ({own.method}), and the log does not say so")
    named = run.settings.get("model") or run.settings.get("model_path")
    if isinstance(named, str) and _last(named) != _last(model.repo_id):
        notes.append(f"the log is of {named[:200]}, the prediction of {model.repo_id}")


def _last(name: str) -> str:
    """ "/models/Org/Name/" and "org/name@main" -> "name"."""
    return name.partition("@")[0].rstrip("/").rpartition("/")[2].lower()


def _predicted(serving: Serving, *, known_card: bool) -> dict[str, Number | None]:
    parts: dict[str, Number | None] = {"weights": serving.per_gpu.get("weights")}
    if not known_card:
        return parts
    for part in ("activations", "non_torch", "graphs", "kv_pool"):
        if serving.engine != "sglang" or part != "activations":
            parts[part] = serving.per_gpu.get(part)
    parts["kv_tokens"], parts["kv_blocks"] = serving.kv_tokens, serving.kv_blocks
    if serving.engine == "vllm":
        parts["max_concurrency"] = serving.max_concurrency
    return parts


def _of_printed_pool(
    run: LoggedRun,
    model: Model,
    workload: Workload,
    spec: GpuSpec,
    settings: ServingSettings,
    tensor: int,
    pipeline: int,
) -> dict[str, Number | None]:
    """The capacity of the pool that was printed: the cache's rule alone, whatever else takes."""
    printed, served = run.printed.get("kv_pool"), served_model(model, workload.dtype)
    if printed is None or served is None or printed.value <= 0:
        return {}
    version = VllmVersion() if settings.version is None else parse_version(settings.version)
    prefixes = run.settings.get("enable_prefix_caching")
    chosen = vllm.VllmSettings(
        max_model_len=workload.context,
        version=version,
        max_num_batched_tokens=settings.max_num_batched_tokens,
        max_num_seqs=settings.max_num_seqs,
        kv_cache_dtype="auto"
        if workload.kv_dtype is None
        else {8: "fp8"}.get(PRECISION_BITS[workload.kv_dtype], "bfloat16"),
        tensor_parallel_size=tensor,
        pipeline_parallel_size=pipeline,
        block_size=whole(run.settings.get("block_size"), 4096) or 16,
        enable_prefix_caching=None if prefixes is None else prefixes is not False,
    )
    try:
        cache = vllm.cache_settings(served, Card(spec.capacity, spec.name), chosen)
        held = capacity(
            served.layers,
            cache,
            [int(printed.value)] * pipeline,
            printed_from_concurrency=version.tokens_from_concurrency,
        )
    except (UnsupportedLayer, UsageError):
        return {}
    if held is None:
        return {}
    return {"kv_tokens_of_pool": held.tokens_printed, "max_concurrency_of_pool": held.max_concurrency}
