"""vLLM on given devices: its plan, turned into the bytes of the tightest rank and a verdict."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from typing import Any

from inspector.devices.spec import GpuSpec
from inspector.engines.common.load_dtype import DTYPE_NAMES, load_dtype
from inspector.engines.common.ranks import (
    NO_FACTS,
    NO_WEIGHTS,
    degrees,
    length_note,
    plan_over_ranks,
    rank_device,
    unified_note,
    without,
)
from inspector.engines.common.served import GIB, Gpu, ServedModel, VisionFacts, served_model
from inspector.engines.common.sizes import human_readable
from inspector.engines.common.unequal import same_share_note, served_shares, stage_gpus, stage_memory
from inspector.engines.serving import CannotTell, Serving
from inspector.engines.vllm import budget
from inspector.engines.vllm.backends import cache_type, check_backends
from inspector.engines.vllm.cache_types import check_cache
from inspector.engines.vllm.drafts import draft_notes, with_draft
from inspector.engines.vllm.explain import explain_vllm
from inspector.engines.vllm.image_items import profiled_item
from inspector.engines.vllm.loads import (
    OVERRIDE,
    as_cached,
    most_length,
    resolve_dtype,
    runner,
    why_not_loaded,
    why_unsure,
)
from inspector.engines.vllm.lora import ADAPTER_NOTE, ServedAdapters, adapter_bytes, served_adapters
from inspector.engines.vllm.options import VllmOptions
from inspector.engines.vllm.version import VllmVersion, parse_version
from inspector.errors import UsageError
from inspector.memory import Workload
from inspector.model import Model
from inspector.verdict.fit import GpuShare

BLOCK_SIZE = 16
"""Tokens of a block by default (vllm/config/cache.py: CacheConfig)."""


def plan_vllm(
    model: Model, workload: Workload, spec: GpuSpec, options: VllmOptions, *, suggest: bool = True
) -> Serving:
    """vLLM's account of `workload.context` tokens a request on these devices.

    Raises:
        UsageError: options that vLLM refuses, or degrees that are not the number of devices.
        CannotTell: the model's layers or weights are not known.
    """

    refused = why_not_loaded(model.architecture, _version(options).release)
    if refused is not None:
        raise CannotTell(refused)
    capability = rank_device(spec.cards[0]).compute_capability
    resolve = partial(resolve_dtype, shape=model.architecture, capability=capability)
    dtype, compute = load_dtype(model, workload.dtype, resolve)
    workload = replace(workload, dtype=dtype)
    facts = cache(
        partial(_served, model, {dtype: compute}, _version(options).release)
    )  # of each plan the same, but for what a change changes

    def plan(workload: Workload, spec: GpuSpec, forgotten: tuple[str, ...]) -> Serving:
        return _account(model, facts, workload, spec, without(options, forgotten))

    found = plan_over_ranks(model, workload, spec, plan, _degrees(spec, options)[0], suggest=suggest)
    return found.doubted(why_unsure(model.architecture, _version(options).release))


def _served(
    model: Model, compute: dict[str, str], release: tuple[int, int], dtype: str, *, vision: VisionFacts | None = None
) -> ServedModel | None:
    """The facts with the weights in `dtype`; what that computes in, where a change makes it another, is its own."""
    served = served_model(model, dtype, vision=vision, compute=compute.get(dtype))
    return None if served is None else as_cached(served, model.architecture, release)


def _degrees(spec: GpuSpec, options: VllmOptions) -> tuple[int, int]:
    return degrees(
        spec, options.tensor_parallel, options.pipeline_parallel, options.expert_parallel, options.data_parallel
    )


def _account(
    model: Model,
    facts: Callable[..., ServedModel | None],
    workload: Workload,
    spec: GpuSpec,
    options: VllmOptions,
) -> Serving:
    tensor, pipeline = _degrees(spec, options)
    sees = model.architecture.vision and not options.language_model_only
    seen = profiled_item(model.architecture, workload, options.version) if sees else None
    served = facts(workload.dtype, vision=seen)
    if served is None:
        raise CannotTell(NO_FACTS)
    # The first device's memory sets the batch sizes: the front end asks for it (arg_utils.py: get_batch_defaults).
    gpu = rank_device(spec.cards[0])
    adapters = served_adapters(options)
    chosen = _chosen(model, served, workload, gpu, options, adapters, (tensor, pipeline))
    stages = stage_gpus(tensor, pipeline, chosen.data_parallel_size) if spec.mixed else ()
    memory = stage_memory(spec, stages) if stages else ()
    plan = budget.plan(served, gpu, chosen, memory)
    if plan is None:
        raise CannotTell(NO_WEIGHTS)
    held = plan.capacity
    most = max(workload.context, model.architecture.longest_context or 0)
    longest = budget.plan(served, gpu, replace(chosen, max_model_len=most), memory)
    request = 0 if held is None else held.blocks_per_request * held.block_bytes
    gpus: tuple[GpuShare, ...] = ()
    if stages:
        taken = [stage.requested - stage.kv_pool - stage.unused for stage in plan.stages]
        gpus = served_shares(spec, stages, taken, _share(chosen), request)
    serving = Serving(
        engine="vllm",
        engine_version=".".join(map(str, chosen.version.release)),
        gpu=spec.name,
        count=spec.count,
        capacity=next((each.capacity for each in gpus if each.tightest), spec.capacity),
        settings=_shown(gpu, chosen, served.compute) | _shown_if_given(options) | _shown_adapters(adapters),
        per_gpu=_rank_parts(plan.tightest),
        kv_tokens=None if held is None else held.tokens_printed,
        kv_blocks=None if held is None else held.blocks,
        max_concurrency=None if held is None else held.max_concurrency * chosen.data_parallel_size,
        longest_context=longest.longest_context if longest else None,
        request_bytes=request,
        unused=plan.tightest.unused,
        fits=plan.fits,
        starts_with={} if plan.most_sequences is None else {"max_num_seqs": plan.most_sequences},
        cards=gpus,
        notes=(
            *_refusals(model, gpu, chosen, plan),
            *(_mixed_notes(pipeline) if stages else ()),
            *((ADAPTER_NOTE,) if adapters else ()),
            *draft_notes(options.draft),
            *(*unified_note(spec), *served.notes, *spec.notes),
        ),
    )
    return serving.explained_by(lambda: explain_vllm(served, gpu, chosen, plan))


def _chosen(
    model: Model,
    served: ServedModel,
    workload: Workload,
    gpu: Gpu,
    options: VllmOptions,
    adapters: ServedAdapters | None,
    degrees: tuple[int, int],
) -> budget.VllmSettings:
    """All that the account goes by.

    Raises:
        CannotTell: it has no such cache or no kernels for the attention, or nothing is known of what drafts.
    """
    chosen, shape = _settings(workload, options, *degrees), model.architecture
    check_backends(shape.layers, gpu, chosen.version.release)
    kept_as = cache_type(workload, model, gpu, chosen.version.release, options.kv_cache_dtype)
    check_cache(kept_as, served, gpu, chosen.version.release)
    chosen = replace(chosen, kv_cache_dtype=kept_as)
    if adapters is not None:
        ranks = math.prod(degrees) * chosen.data_parallel_size
        chosen = replace(chosen, adapters=adapter_bytes(model, served, adapters, degrees[0], ranks, chosen))
    if runner(shape.architecture) == "pooling":  # GPUModelRunner._dummy_pooler_run samples nothing
        chosen = replace(chosen, sampler="none")
    chosen = with_draft(chosen, options.draft, model, served)
    return (
        chosen
        if options.num_speculative_tokens is None
        else (replace(chosen, draft_tokens=options.num_speculative_tokens))
    )


def _refusals(model: Model, gpu: Gpu, chosen: budget.VllmSettings, plan: budget.VllmPlan) -> tuple[str, ...]:
    """Why it does not start, where that is not for want of memory."""
    most = most_length(model.architecture, chosen.version.release)
    notes = length_note(chosen.max_model_len, most or chosen.max_model_len, "vLLM", OVERRIDE)
    if plan.most_sequences is None or plan.capacity is None:
        return notes
    _, sequences = budget.batch_sizes(gpu, chosen)
    return (
        f"vLLM refuses to start with max_num_seqs {sequences}: each of the sequences needs a block of states, and the"
        f" pool has {plan.capacity.blocks}. --max-num-seqs {plan.most_sequences} is enough",
        *notes,
    )


def _version(options: VllmOptions) -> VllmVersion:
    return VllmVersion() if options.version is None else parse_version(options.version)


def _settings(workload: Workload, options: VllmOptions, tensor: int, pipeline: int) -> budget.VllmSettings:
    return budget.VllmSettings(
        max_model_len=workload.context,
        version=_version(options),
        gpu_memory_utilization=options.gpu_memory_utilization,
        max_num_batched_tokens=options.max_num_batched_tokens,
        max_num_seqs=options.max_num_seqs,
        tensor_parallel_size=tensor,
        pipeline_parallel_size=pipeline,
        data_parallel_size=options.data_parallel or 1,
        enable_expert_parallel=(options.expert_parallel or 1) > 1,
        enforce_eager=options.enforce_eager,
        block_size=options.block_size or BLOCK_SIZE,
        enable_prefix_caching=_prefixes(options),
        mamba_ssm_cache_dtype=options.mamba_ssm_cache_dtype or "auto",
        hybrid_kv_cache=not options.disable_hybrid_kv_cache_manager,
        decode_context_parallel_size=options.decode_context_parallel or 1,
        cpu_offload=_offload(options.cpu_offload_gb),
        kv_cache_memory=pool_size(options.kv_cache_memory_bytes),
        language_model_only=_text_alone(workload, options),
        whole_encoders=options.mm_encoder_tp_mode == "data",
        redundant_experts=options.num_redundant_experts or 0,
    )


ENCODERS_LEFT_OUT_SINCE = (0, 15)
"""Encoders are not loaded where no prompt may have what they read (interfaces.py: SupportsMultiModal._mark_tower_model;
in 0.15, not in 0.14)."""


def _text_alone(workload: Workload, options: VllmOptions) -> bool:
    """Whether the encoders are left out."""
    return (options.language_model_only or workload.images == 0) and (
        _version(options).release >= ENCODERS_LEFT_OUT_SINCE
    )


def _prefixes(options: VllmOptions) -> bool | None:
    if options.enable_prefix_caching and options.no_enable_prefix_caching:
        raise UsageError("--enable-prefix-caching and --no-enable-prefix-caching contradict each other")
    return (
        None
        if not (options.enable_prefix_caching or options.no_enable_prefix_caching)
        else (options.enable_prefix_caching)
    )


def _offload(given: float | None) -> int:
    if given is not None and not 0 <= given < 2**20:
        raise UsageError(f"cpu_offload_gb must be 0 or more, not {given:g}")
    return int((given or 0) * GIB)


def pool_size(text: str | None) -> int | None:
    """ "8G" -> 8 GiB, "8g" -> 8 GB, "8000000000" as it is (vllm/engine/arg_utils.py: human_readable_int).

    Raises:
        UsageError: no size.
    """
    if text is None:
        return None
    size = human_readable(text)
    if not size:
        raise UsageError(f"--kv-cache-memory-bytes {text[:30]!r} is no size", "Bytes, or 8G (GiB), 8g (GB).")
    return size


def _share(chosen: budget.VllmSettings) -> float:
    given = chosen.gpu_memory_utilization
    return chosen.version.default_utilization if given is None else given


def _shown(gpu: Gpu, chosen: budget.VllmSettings, compute: str) -> dict[str, Any]:
    """The settings as the account shows them, defaults filled in."""
    tokens, sequences = budget.batch_sizes(gpu, chosen)
    return {
        "dtype": DTYPE_NAMES[compute],
        "max_model_len": chosen.max_model_len,
        "gpu_memory_utilization": _share(chosen),
        "max_num_batched_tokens": tokens,
        "max_num_seqs": sequences,
        "kv_cache_dtype": chosen.kv_cache_dtype,
        "tensor_parallel_size": chosen.tensor_parallel_size,
        "pipeline_parallel_size": chosen.pipeline_parallel_size,
        "data_parallel_size": chosen.data_parallel_size,
        "enable_expert_parallel": chosen.enable_expert_parallel,
        "enforce_eager": chosen.enforce_eager,
    }


_MAY_BE_GIVEN = (
    "block_size",
    "enable_prefix_caching",
    "no_enable_prefix_caching",
    "mamba_ssm_cache_dtype",
    "disable_hybrid_kv_cache_manager",
    "cpu_offload_gb",
    "kv_cache_memory_bytes",
    "language_model_only",
)


def _shown_if_given(options: VllmOptions) -> dict[str, Any]:
    """The settings that few give, as the account shows them where they were given."""
    given = {name: value for name in _MAY_BE_GIVEN if (value := getattr(options, name)) not in (None, False)}
    if options.decode_context_parallel:
        given["decode_context_parallel_size"] = options.decode_context_parallel
    if options.mm_encoder_tp_mode != "weights":
        given["mm_encoder_tp_mode"] = options.mm_encoder_tp_mode
    return given


def _shown_adapters(adapters: ServedAdapters | None) -> dict[str, Any]:
    if adapters is None:
        return {}
    return {"enable_lora": True, "max_loras": adapters.loras, "max_lora_rank": adapters.rank}


def _rank_parts(rank: budget.RankMemory) -> dict[str, int | None]:
    return {
        "weights": rank.weights,
        "activations": rank.activations,
        "non_torch": rank.non_torch,
        "graphs": rank.graphs,
        "kv_pool": rank.kv_pool,
        "total": rank.total,
    }


def _mixed_notes(pipeline: int) -> tuple[str, ...]:
    if pipeline == 1:
        return (same_share_note("vLLM"),)
    return (
        same_share_note("vLLM"),
        "VLLM_PP_LAYER_PARTITION can give a larger GPU more layers; stages are counted as even here",
    )
