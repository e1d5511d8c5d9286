"""SGLang on given devices: its plan, turned into the bytes of the fullest rank and a verdict."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
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
from inspector.engines.common.served import ServedModel, served_model
from inspector.engines.common.unequal import same_share_note, served_shares, smallest, stage_gpus
from inspector.engines.serving import CannotTell, Serving
from inspector.engines.sglang import budget
from inspector.engines.sglang.cache_types import cache_type, check_cache
from inspector.engines.sglang.drafts import NOTE as DRAFT_NOTE
from inspector.engines.sglang.drafts import with_draft
from inspector.engines.sglang.explain import explain_sglang
from inspector.engines.sglang.fraction import NEWEST, Release
from inspector.engines.sglang.loads import (
    OVERRIDE,
    as_cached,
    context_length,
    flags,
    fraction_facts,
    page_size,
    state_slots,
    why_not_loaded,
    why_unsure,
)
from inspector.engines.sglang.options import SglangOptions
from inspector.errors import UsageError
from inspector.memory import Workload
from inspector.model import Architecture, Model
from inspector.model.config.light import by_hand
from inspector.settings import settings_of
from inspector.verdict.fit import GpuShare

BALANCE = 0.9
"""Ranks refuse a neighbour with less than this share of their own free memory."""

_NOTE = "SGLang measures no activations: what its static share leaves is for them and the graphs"


def plan_sglang(
    model: Model, workload: Workload, spec: GpuSpec, options: SglangOptions, *, suggest: bool = True
) -> Serving:
    """SGLang's account of `workload.context` tokens a request on these devices.

    Raises:
        UsageError: options that SGLang refuses, or degrees that are not the number of devices.
        CannotTell: the model's layers or weights are not known.
    """
    refused = why_not_loaded(model.architecture, release_of(options.version))
    if refused is not None:
        raise CannotTell(refused)
    dtype, compute = load_dtype(model, workload.dtype, partial(resolve_dtype, shape=model.architecture))
    workload = replace(workload, dtype=dtype)
    known = {dtype: compute}

    def plan(workload: Workload, spec: GpuSpec, forgotten: tuple[str, ...]) -> Serving:
        served = served_model(model, workload.dtype, compute=known.get(workload.dtype))
        cached = None if served is None else as_cached(served, model.architecture)
        return _account(model, cached, workload, spec, without(options, forgotten))

    found = plan_over_ranks(model, workload, spec, plan, _degrees(spec, options)[0], suggest=suggest)
    return found.doubted(why_unsure(model.architecture))


def resolve_dtype(named: str, shape: Architecture) -> str:
    """What `--dtype auto` makes of float32: float16, bfloat16 for Gemmas; the rest stays.

    sglang/srt/configs/model_config.py: _get_and_verify_dtype.
    """
    if "float16" in flags(shape.architecture):
        return "fp16"
    if named != "fp32":
        return named
    return "bf16" if shape.model_type in by_hand("sglang_bfloat16") else "fp16"


def release_of(version: str | None) -> Release:
    """A release as numbers: "0.5.10.post1" -> (0, 5, 10)."""
    parts = [int(part) for part in (version or "").lstrip("v").split(".")[:3] if part.isdigit()]
    return tuple(parts) if parts else NEWEST


def _degrees(spec: GpuSpec, options: SglangOptions) -> tuple[int, int]:
    """Replicas are as many servers; those of the attention alone are within the ranks of tensor parallelism."""
    replicas = None if options.enable_dp_attention else options.data_parallel
    return degrees(spec, options.tensor_parallel, options.pipeline_parallel, None, replicas)


def _account(
    model: Model, served: ServedModel | None, workload: Workload, spec: GpuSpec, options: SglangOptions
) -> Serving:
    tensor, pipeline = _degrees(spec, options)
    if served is None:
        raise CannotTell(NO_FACTS)
    if spec.mixed:
        refuse_imbalance(spec, tensor)
    gpu = rank_device(smallest(spec) if spec.mixed else spec)
    cache = cache_type(workload, model, gpu, options.kv_cache_dtype)
    check_cache(cache, served, gpu)
    chosen = _settings(model.architecture, cache, workload.context, (tensor, pipeline), options)
    replicas = 1 if options.enable_dp_attention else options.data_parallel or 1
    chosen = with_draft(chosen, options.draft, model, served)
    plan = budget.plan(served, gpu, chosen)
    if plan is None:
        raise CannotTell(NO_WEIGHTS)
    tokens, share, request = plan.kv_tokens, plan.mem_fraction_static, plan.request_bytes
    gpus: tuple[GpuShare, ...] = ()
    if spec.mixed:
        stages = stage_gpus(tensor, pipeline)
        gpus = served_shares(spec, stages, [plan.weights] * pipeline, share, request, plan.slack)
    most = max(workload.context, chosen.longest or 0)
    serving = Serving(
        engine="sglang",
        engine_version=".".join(map(str, chosen.release)),
        gpu=spec.name,
        count=spec.count,
        capacity=spec.capacity,
        settings={
            "dtype": DTYPE_NAMES[served.compute],
            "max_model_len": workload.context,
            "mem_fraction_static": share,
            "kv_cache_dtype": chosen.kv_cache_dtype,
            "tensor_parallel_size": tensor,
            "pipeline_parallel_size": pipeline,
            "expert_parallel_size": chosen.ep_size,
            **_shown(options),
        },
        per_gpu=_rank_parts(plan),
        kv_tokens=tokens,
        max_concurrency=None if plan.requests is None else plan.requests * replicas,
        longest_context=None if tokens is None else min(tokens, most),
        request_bytes=request,
        fits=plan.fits,
        cards=gpus,
        notes=(*_notes(spec, workload, chosen, options), *served.notes, *spec.notes),
    )
    return serving.explained_by(lambda: explain_sglang(served, gpu, chosen, plan))


def _settings(
    shape: Architecture, cache: str, context: int, degrees: tuple[int, int], options: SglangOptions
) -> budget.SglangSettings:
    return budget.SglangSettings(
        context_length=context,
        mem_fraction_static=options.mem_fraction_static,
        kv_cache_dtype=cache,
        tp_size=degrees[0],
        pp_size=degrees[1],
        ep_size=options.expert_parallel or 1,
        release=release_of(options.version),
        facts=fraction_facts(shape),
        state_slots=state_slots(
            shape,
            release_of(options.version),
            options.mamba_radix_cache_strategy,
            radix_cache=not options.disable_radix_cache,
        ),
        longest=context_length(shape),
        page_size=options.page_size or page_size(shape),
        dp_size=(options.data_parallel or 1) if options.enable_dp_attention else 1,
        chunked_prefill_size=options.chunked_prefill_size,
        cuda_graph_max_bs=options.cuda_graph_max_bs,
        max_running_requests=options.max_running_requests,
        max_total_tokens=options.max_total_tokens,
        mamba_full_memory_ratio=_ratio(options.mamba_full_memory_ratio, budget.MAMBA_FULL_MEMORY_RATIO),
        max_mamba_cache_size=options.max_mamba_cache_size,
        state_bytes=_STATE_BYTES.get(options.mamba_ssm_dtype or ""),
        radix_cache=not options.disable_radix_cache,
        swa_full_tokens_ratio=_ratio(options.swa_full_tokens_ratio, budget.SWA_FULL_TOKENS_RATIO),
        graphs=not options.disable_cuda_graph,
        draft_tokens=options.speculative_num_draft_tokens or budget.DRAFT_TOKENS,
    )


_STATE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}

_NAMED = ("draft", "version", "speculative_num_draft_tokens")
"""Options that the settings do not repeat: they are told elsewhere."""


def _shown(options: SglangOptions) -> dict[str, Any]:
    """The settings that few give, under SGLang's names, where they were given."""
    names = {"data_parallel": "data_parallel_size"}
    usual = (
        "mem_fraction_static",
        "kv_cache_dtype",
        "tensor_parallel",
        "pipeline_parallel",
        "expert_parallel",
        *_NAMED,
    )
    return {
        names.get(name, name): value
        for name in settings_of(SglangOptions)
        if name not in usual and (value := getattr(options, name)) not in (None, False)
    }


def _ratio(given: float | None, usual: float) -> float:
    if given is not None and not 0 < given < 100:
        raise UsageError(f"a ratio of memory must be above 0, not {given:g}")
    return usual if given is None else given


def _notes(spec: GpuSpec, workload: Workload, chosen: budget.SglangSettings, options: SglangOptions) -> tuple[str, ...]:
    return (
        *((same_share_note("SGLang"),) if spec.mixed else ()),
        _NOTE,
        *length_note(workload.context, chosen.longest or workload.context, "SGLang", OVERRIDE),
        *(() if options.draft is None else (DRAFT_NOTE,)),
        *unified_note(spec),
    )


def _rank_parts(plan: budget.SglangPlan) -> dict[str, int | None]:
    return {
        "weights": plan.weights,
        "activations": plan.slack,
        "non_torch": plan.reserved,
        "graphs": None,
        "kv_pool": plan.kv_pool,
        "total": plan.weights + plan.slack + plan.reserved + max(0, plan.kv_pool),
    }


def refuse_imbalance(spec: GpuSpec, tensor: int) -> None:
    """SGLang's own check of the free memory before loading.

    sglang/srt/distributed/bootstrap.py: _check_tp_memory_balance.

    Raises:
        UsageError: tensor parallelism over devices of which one has less than 0.9 of another's.
    """
    free = [gpu.capacity if gpu.free is None else gpu.free for gpu in spec.cards]
    if tensor > 1 and min(free) < BALANCE * max(free):
        raise UsageError(
            f"SGLang refuses tensor parallelism over {spec.name}: 'The memory capacity is unbalanced'",
            "SGLANG_ENABLE_TP_MEMORY_INBALANCE_CHECK=0 turns the check off; then the smallest GPU decides, as many"
            f" of it would: --gpu '{spec.count}x{smallest(spec).name}'.",
        )
