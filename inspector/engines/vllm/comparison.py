"""A vLLM log beside the prediction: the same plan as `--engine vllm`, under the settings that the log names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from inspector.devices.spec import GpuSpec
from inspector.engines.common.comparison import (
    MAX_GPUS,
    MAX_TOKENS,
    Comparison,
    Planned,
    cache_of,
    degrees_of,
    finished,
    gpu_of,
    note_settings,
    note_uncounted,
    predicted_parts,
    share,
    stand_in,
    whole,
    workload_of,
)
from inspector.engines.common.heads import DraftHead
from inspector.engines.common.layer_rules import UnsupportedLayer
from inspector.engines.common.load_dtype import load_dtype
from inspector.engines.common.log import LoggedRun, Number
from inspector.engines.common.ranks import rank_device
from inspector.engines.common.served import Gpu, served_model
from inspector.engines.serving import CannotTell, Serving
from inspector.engines.vllm import budget
from inspector.engines.vllm.backends import cache_type
from inspector.engines.vllm.cache import capacity
from inspector.engines.vllm.cache_types import TYPES
from inspector.engines.vllm.drafts import with_draft
from inspector.engines.vllm.loads import STATE_BYTES, as_cached, resolve_dtype
from inspector.engines.vllm.lora import RANKS, USUAL_LORAS, USUAL_RANK
from inspector.engines.vllm.options import VllmOptions
from inspector.engines.vllm.version import NEWEST, VllmVersion, parse_version
from inspector.errors import UsageError
from inspector.memory import Workload
from inspector.model import Model

ASSUMED_V0 = "0.7"
"""What is counted where a log of the V0 engine names no version."""

WITHOUT_WEIGHTS = ("ngram", "suffix")
"""What drafts from the text itself (vllm/config/speculative.py)."""

_PARTS = ("weights", "activations", "non_torch", "graphs", "kv_pool")


def compare_vllm(
    plan: Planned,
    run: LoggedRun,
    model: Model,
    spec: GpuSpec | None,
    *,
    dtype: str,
    draft: Model | DraftHead | None = None,
) -> Comparison:
    """Each printed part beside the predicted one.

    Args:
        plan: vLLM's plan for (model, workload, devices, options).
        draft: what drafted, where it could be read.

    Raises:
        UsageError: the log names settings that no plan can be made for.
    """
    notes = [*run.notes]
    tensor, pipeline = degrees_of(run, "tensor_parallel_size", "pipeline_parallel_size")
    gpu = gpu_of(run, spec, tensor * pipeline, notes)
    workload = workload_of(run, model, dtype, ("max_model_len",), notes)
    options = replace(_options(run, tensor, pipeline, notes), draft=draft)
    note_settings(run, model, notes, says_packing="dtype" in run.settings)
    devices = gpu or stand_in(tensor * pipeline)
    serving, options = _counted(partial(plan, model, workload, devices), options)
    drafts = options.draft is not None or run.settings.get("speculative_config") in WITHOUT_WEIGHTS
    counted = {"enable_lora": options.max_loras is not None, "speculative_config": drafts}
    known = ["cpu_offload_gb", "kv_cache_memory_bytes"]
    if options.expert_parallel:
        known.append("enable_expert_parallel")
    note_uncounted(run, notes, [*known, *(name for name, known in counted.items() if known)])
    predicted = predicted_parts(serving, _PARTS, known_gpu=gpu is not None)
    if gpu is not None:
        predicted["max_concurrency"] = serving.max_concurrency
    predicted |= _of_printed_pool(run, model, workload, devices, options, tensor, pipeline)
    return finished(run, predicted, serving, gpu, tensor * pipeline, notes)


def _counted(plan: Callable[[VllmOptions], Serving], options: VllmOptions) -> tuple[Serving, VllmOptions]:
    """The account with adapters and a draft, or without those that there is none with; and what it counts."""
    without_draft = replace(options, draft=None)
    for chosen in (options, *(() if options.draft is None else (without_draft,))):
        try:
            serving = plan(chosen)
        except (CannotTell, UsageError):
            continue
        if serving.per_gpu:
            return serving, chosen
    alone = replace(without_draft, max_loras=None, max_lora_rank=None)
    return plan(alone), alone


def _options(run: LoggedRun, tensor: int, pipeline: int, notes: list[str]) -> VllmOptions:
    logged = run.settings
    version = _version(run, notes)
    parsed = VllmVersion() if version is None else parse_version(version)
    utilization = share(logged.get("gpu_memory_utilization"))
    if utilization is None:
        notes.append(
            f"gpu_memory_utilization is not in the log: {parsed.default_utilization:g} is counted, the default"
        )
    for name in ("max_num_batched_tokens", "max_num_seqs"):
        if whole(logged.get(name), MAX_TOKENS) is None:
            notes.append(f"{name} is not in the log: the default for the GPU is counted")
    free, memory = logged.get("free_at_start"), run.gpu_memory
    if type(free) is int and memory and memory - free > 0.02 * memory:
        notes.append(f"{(memory - free) / 1024**3:.2f} GiB of the GPU were in use when the engine started")
    return VllmOptions(
        version=version,
        tensor_parallel=tensor,
        pipeline_parallel=pipeline,
        gpu_memory_utilization=utilization,
        max_num_batched_tokens=whole(logged.get("max_num_batched_tokens"), MAX_TOKENS),
        max_num_seqs=whole(logged.get("max_num_seqs"), MAX_TOKENS),
        enforce_eager=logged.get("enforce_eager") is True,
        kv_cache_dtype=cache_of(run, TYPES, notes),
        **_adapters(logged),
        **_given(logged),
        expert_parallel=_dealt(logged, tensor),
    )


def _dealt(logged: Mapping[str, Any], tensor: int) -> int | None:
    """Ranks that whole experts are dealt out to, where the log is of all of them."""
    alone = (whole(logged.get("data_parallel_size"), MAX_GPUS) or 1) == 1
    return tensor if logged.get("enable_expert_parallel") is True and alone and tensor > 1 else None


def _given(logged: Mapping[str, Any]) -> dict[str, Any]:
    """What else the log says of weights and pool; what is no value of an option is left out."""
    offload, state = logged.get("cpu_offload_gb"), logged.get("mamba_ssm_cache_dtype")
    pool = whole(logged.get("kv_cache_memory_bytes"), MAX_TOKENS * 1024)
    return {
        "cpu_offload_gb": offload if isinstance(offload, int | float) and 0 < offload < MAX_TOKENS else None,
        "kv_cache_memory_bytes": None if pool is None else str(pool),
        "decode_context_parallel": whole(logged.get("decode_context_parallel_size"), MAX_GPUS),
        "language_model_only": logged.get("language_model_only") is True,
        "mm_encoder_tp_mode": "data" if logged.get("mm_encoder_tp_mode") == "data" else "weights",
        "mamba_ssm_cache_dtype": state if state in STATE_BYTES else None,
    }


def _adapters(logged: Mapping[str, Any]) -> dict[str, Any]:
    """The adapters that the log names, vLLM's defaults filled in; empty where it serves none."""
    if logged.get("enable_lora") is not True:
        return {}
    many, rank = whole(logged.get("max_loras"), MAX_TOKENS), whole(logged.get("max_lora_rank"), RANKS[-1])
    return {"max_loras": many or USUAL_LORAS, "max_lora_rank": rank or USUAL_RANK}


def _version(run: LoggedRun, notes: list[str]) -> str | None:
    """The log's version with its engine, "0.8.2 (V0)"; None for the newest."""
    version = run.version
    if version is None and run.settings.get("v1") is False:
        version = ASSUMED_V0
        notes.append(f"the version is not in the log, whose lines are V0's: counted as {ASSUMED_V0}")
    elif version is None:
        notes.append(f"the version is not in the log: counted as {'.'.join(map(str, NEWEST))}")
    elif parse_version(version).release > NEWEST:
        notes.append(
            f"version {version} is newer than the newest whose sources were read, {'.'.join(map(str, NEWEST))}"
        )
    if version is not None and "v1" in run.settings:
        version += " (V1)" if run.settings["v1"] else " (V0)"
    return version


def _of_printed_pool(
    run: LoggedRun,
    model: Model,
    workload: Workload,
    spec: GpuSpec,
    options: VllmOptions,
    tensor: int,
    pipeline: int,
) -> Mapping[str, Number | None]:
    """The capacity of the pool that was printed: the cache's rule alone, whatever else takes."""
    capability = rank_device(spec).compute_capability
    resolve = partial(resolve_dtype, shape=model.architecture, capability=capability)
    dtype, compute = load_dtype(model, workload.dtype, resolve)
    printed, served = run.printed.get("kv_pool"), served_model(model, dtype, compute=compute)
    if printed is None or served is None or printed.value <= 0:
        return {}
    version = VllmVersion() if options.version is None else parse_version(options.version)
    served = as_cached(served, model.architecture, version.release)
    prefixes = run.settings.get("enable_prefix_caching")
    chosen = budget.VllmSettings(
        max_model_len=workload.context,
        version=version,
        max_num_batched_tokens=options.max_num_batched_tokens,
        max_num_seqs=options.max_num_seqs,
        kv_cache_dtype=cache_type(workload, model, rank_device(spec), version.release, options.kv_cache_dtype),
        tensor_parallel_size=tensor,
        pipeline_parallel_size=pipeline,
        block_size=whole(run.settings.get("block_size"), 4096) or 16,
        enable_prefix_caching=None if prefixes is None else prefixes is not False,
        decode_context_parallel_size=options.decode_context_parallel or 1,
        mamba_ssm_cache_dtype=options.mamba_ssm_cache_dtype or "auto",
    )
    try:
        chosen = with_draft(chosen, options.draft, model, served)
        cache = budget.cache_settings(served, Gpu(spec.capacity, spec.name), chosen)
        held = capacity(
            chosen.cached_layers(served),
            cache,
            [int(printed.value)] * pipeline,
            printed_from_concurrency=version.tokens_from_concurrency,
        )
    except (CannotTell, UnsupportedLayer, UsageError):
        return {}
    if held is None:
        return {}
    return {"kv_tokens_of_pool": held.tokens_printed, "max_concurrency_of_pool": held.max_concurrency}
