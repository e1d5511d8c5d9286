"""A serving engine on given cards: its plan, turned into the bytes of the tightest rank and a verdict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from inspector.devices.spec import GpuSpec
from inspector.devices.speed import decode_bound, prefill_bound
from inspector.engines.common.cache_specs import UnsupportedLayer
from inspector.engines.common.explain import explain_sglang, explain_vllm
from inspector.engines.common.served import Card, ServedModel, profiled, served_model
from inspector.engines.llama_cpp.options import LlamaCppOptions
from inspector.engines.mlx.options import MlxOptions
from inspector.engines.sglang import budget as sglang
from inspector.engines.sglang.options import SglangOptions
from inspector.engines.vllm import budget as vllm
from inspector.engines.vllm.options import VllmOptions
from inspector.engines.vllm.version import VllmVersion, parse_version
from inspector.errors import UsageError
from inspector.fit.changes import Change, changes_that_fit
from inspector.fit.unequal import (
    alike_cards,
    mixed_notes,
    refuse_imbalance,
    served_shares,
    smallest,
    stage_cards,
    stage_memory,
)
from inspector.fit.verdict import CardShare, Fit
from inspector.memory import Part, Workload, estimate
from inspector.model import Model

SERVING_ENGINES = ("vllm", "sglang", "llama.cpp", "mlx")
MAX_RANKS = 16
"""Cards that the search for changes goes up to."""

_CACHE_NAMES = {"bf16": "bfloat16", "fp16": "float16", "fp8": "fp8"}
"""This library's precisions under the engines' `--kv-cache-dtype` names."""


@dataclass(frozen=True)
class ServingSettings(MlxOptions, LlamaCppOptions, SglangOptions, VllmOptions):
    """The options of all of them in one: what an engine does not have, it does not read."""


@dataclass(frozen=True, slots=True)
class Serving:
    """What an engine would show on these cards. Sizes in bytes, of the tightest rank; None where not known.

    Attributes:
        per_gpu: weights, activations, non_torch, graphs, kv_pool, total.
        cpu: what llama.cpp leaves with the CPU: weights, kv_cache, activations.
        kv_tokens: tokens that the pool holds; for hybrids the engine's own derived figure.
        kv_blocks: blocks of the pool (vLLM).
        max_concurrency: requests of `settings["max_model_len"]` tokens at once.
        longest_context: tokens of the longest single request, up to the model's own maximum.
        request_bytes: cache that one request of max_model_len tokens takes of a rank's pool.
        fits: one request of max_model_len tokens can be served; None where it cannot be told.
        decode_bound / prefill_bound: tokens a second at most, see `devices.speed`.
        changes: where it does not fit, the single changes that make it fit.
        cards: unequal cards one by one; `capacity` and the sizes are then those of the tightest.
    """

    engine: str
    engine_version: str | None
    gpu: str
    count: int
    capacity: int
    settings: dict[str, Any] = field(default_factory=dict)
    per_gpu: dict[str, int | None] = field(default_factory=dict)
    cpu: dict[str, int | None] = field(default_factory=dict)
    kv_tokens: int | None = None
    kv_blocks: int | None = None
    max_concurrency: float | None = None
    longest_context: int | None = None
    request_bytes: int | None = None
    fits: bool | None = None
    decode_bound: float | None = None
    prefill_bound: float | None = None
    changes: tuple[Change, ...] = ()
    cards: tuple[CardShare, ...] = ()
    notes: tuple[str, ...] = ()
    explanation: Callable[[], tuple[Part, ...]] = tuple
    """Makes the parts of `per_gpu`, with their equations and sources; called for `--explain` alone."""

    @property
    def verdict(self) -> Fit:
        """The same as a `Fit`: the needs of one request, of which the pool serves `max_batch` at once.

        The headroom is that of the pool: an engine takes only its share of the card (`gpu_memory_utilization`).
        """
        total = self.per_gpu.get("total")
        pool, request = self.per_gpu.get("kv_pool"), self.request_bytes
        fixed = sum(self.per_gpu.get(name) or 0 for name in ("weights", "activations", "non_torch", "graphs"))
        known = pool is not None and request is not None
        needed = fixed + request if known and request is not None else None
        headroom = pool - request if pool is not None and request is not None else None
        if self.engine in ("llama.cpp", "mlx"):  # which allocate the cache of all sequences, and no more
            needed, headroom = total, None if total is None else self.capacity - total
        return Fit(
            gpu=self.gpu,
            count=self.count,
            capacity=self.capacity,
            needed=needed,
            fits=self.fits,
            headroom=headroom,
            max_context=self.longest_context,
            max_batch=None if self.max_concurrency is None else int(self.max_concurrency),
            min_count=None,
            decode_bound=self.decode_bound,
            prefill_bound=self.prefill_bound,
            changes=self.changes,
            cards=self.cards,
            notes=self.notes,
        )


def plan_serving(
    model: Model, workload: Workload, spec: GpuSpec, settings: ServingSettings, engine: str, *, suggest: bool = True
) -> Serving:
    """The engine's (one of `SERVING_ENGINES`) account of `workload.context` tokens a request on these cards.

    `suggest`: look for changes that make it fit, where it does not.

    Raises:
        UsageError: settings that the engine refuses, or degrees that are not the number of cards.
    """
    if engine == "llama.cpp":
        from inspector.engines.llama_cpp.plan import plan_llama_cpp

        return plan_llama_cpp(model, workload, spec, settings, suggest=suggest)
    if engine == "mlx":
        from inspector.engines.mlx.plan import plan_mlx

        return plan_mlx(model, workload, spec, settings, suggest=suggest)
    serving = _plan(model, workload, spec, settings, engine)
    ranks = _degrees(spec, settings)[0]
    no = serving.fits is False and suggest
    changes = _changes(model, workload, spec, settings, engine, serving) if no else ()
    return replace(
        serving,
        decode_bound=decode_bound(model, estimate(model, workload), spec, ranks),
        prefill_bound=prefill_bound(model, spec, ranks),
        changes=changes,
    )


def _plan(model: Model, workload: Workload, spec: GpuSpec, settings: ServingSettings, engine: str) -> Serving:
    tensor_parallel, pipeline_parallel = _degrees(spec, settings)
    served = served_model(model, workload.dtype, vision=profiled(model, workload, engine, settings.version))
    if served is None:
        return _cannot_tell(engine, spec, "config.json does not tell the layers, the hidden size or the vocabulary")
    most = max(workload.context, model.architecture.max_position_embeddings or 0)
    plan = _plan_vllm if engine == "vllm" else _plan_sglang
    try:
        return plan(served, workload, spec, settings, tensor_parallel, pipeline_parallel, most)
    except UnsupportedLayer as error:
        return _cannot_tell(engine, spec, str(error))


def _changes(
    model: Model, workload: Workload, spec: GpuSpec, settings: ServingSettings, engine: str, now: Serving
) -> tuple[Change, ...]:
    """The single changes that make it fit: each is a plan of its own. More cards split each layer further; degrees that
    the engine refuses are none."""
    planned: dict[tuple[Workload, int], int | None] = {}

    def needed(changed: Workload, count: int) -> int | None:
        if (changed, count) not in planned:
            cards = spec if count == spec.count else replace(spec, count=count)
            degrees = settings if count == spec.count else replace(settings, tensor_parallel=None, expert_parallel=None)
            try:
                plan = _plan(model, changed, cards, degrees, engine)
                planned[changed, count] = plan.verdict.needed if plan.fits else None
            except UsageError:
                planned[changed, count] = None
        return planned[changed, count]

    more = () if spec.mixed else range(spec.count + 1, MAX_RANKS + 1)
    found = changes_that_fit(
        workload,
        replace(spec, capacity=max(spec.capacities)),
        needed,
        max_context=now.longest_context,
        max_batch=None,
        min_count=next((count for count in more if needed(workload, count) is not None), None),
    )
    default = replace(settings, tensor_parallel=None, pipeline_parallel=None, data_parallel=None, expert_parallel=None)
    for alone in alike_cards(spec):
        try:
            plan = _plan(model, workload, alone, default, engine)
        except UsageError:
            continue
        size = plan.verdict.needed
        if plan.fits and size is not None:
            found += (Change(f"--gpu '{alone.label.replace(' x ', 'x')}'", f"{alone.label} without the others", size),)
    return found


def _plan_vllm(
    served: ServedModel, workload: Workload, spec: GpuSpec, settings: ServingSettings, tp: int, pp: int, most: int
) -> Serving:
    version = VllmVersion() if settings.version is None else parse_version(settings.version)
    chosen = vllm.VllmSettings(
        max_model_len=workload.context,
        version=version,
        gpu_memory_utilization=settings.gpu_memory_utilization,
        max_num_batched_tokens=settings.max_num_batched_tokens,
        max_num_seqs=settings.max_num_seqs,
        kv_cache_dtype=_cache_name(workload),
        tensor_parallel_size=tp,
        pipeline_parallel_size=pp,
        data_parallel_size=settings.data_parallel or 1,
        enable_expert_parallel=(settings.expert_parallel or 1) > 1,
        enforce_eager=settings.enforce_eager,
    )
    stages = stage_cards(tp, pp, chosen.data_parallel_size) if spec.mixed else ()
    memory = stage_memory(spec, stages) if stages else ()
    # The first card's memory sets the batch sizes: the front end asks for it (arg_utils.py: get_batch_defaults).
    card = _card(spec.cards[0])
    plan = vllm.plan(served, card, chosen, memory)
    if plan is None:
        return _cannot_tell("vllm", spec, "the tensors' names do not tell what a rank would hold")
    rank, held = plan.tightest, plan.capacity
    longest = vllm.plan(served, card, replace(chosen, max_model_len=most), memory)
    tokens, sequences = vllm.batch_sizes(card, chosen)
    utilization = chosen.gpu_memory_utilization
    share = version.default_utilization if utilization is None else utilization
    request = None if held is None else held.blocks_per_request * held.block_bytes
    cards: tuple[CardShare, ...] = ()
    if stages:
        taken = [stage.requested - stage.kv_pool for stage in plan.stages]
        cards = served_shares(spec, stages, taken, share, request)
    return Serving(
        engine="vllm",
        engine_version=".".join(map(str, version.release)),
        gpu=spec.name,
        count=spec.count,
        capacity=next((each.capacity for each in cards if each.tightest), spec.capacity),
        settings={
            "max_model_len": workload.context,
            "gpu_memory_utilization": share,
            "max_num_batched_tokens": tokens,
            "max_num_seqs": sequences,
            "kv_cache_dtype": chosen.kv_cache_dtype,
            "tensor_parallel_size": tp,
            "pipeline_parallel_size": pp,
            "data_parallel_size": chosen.data_parallel_size,
            "enable_expert_parallel": chosen.enable_expert_parallel,
            "enforce_eager": chosen.enforce_eager,
        },
        per_gpu={
            "weights": rank.weights,
            "activations": rank.activations,
            "non_torch": rank.non_torch,
            "graphs": rank.graphs,
            "kv_pool": rank.kv_pool,
            "total": rank.total,
        },
        kv_tokens=None if held is None else held.tokens_printed,
        kv_blocks=None if held is None else held.blocks,
        max_concurrency=None if held is None else held.max_concurrency * chosen.data_parallel_size,
        longest_context=longest.longest_context if longest else None,
        request_bytes=request,
        fits=plan.fits,
        cards=cards,
        notes=(*(mixed_notes("vllm", pp) if stages else ()), *served.notes, *spec.notes),
        explanation=lambda: explain_vllm(served, card, chosen, plan),
    )


def _plan_sglang(
    served: ServedModel, workload: Workload, spec: GpuSpec, settings: ServingSettings, tp: int, pp: int, most: int
) -> Serving:
    if spec.mixed:
        refuse_imbalance(spec, tp)
    card = _card(smallest(spec) if spec.mixed else spec)
    chosen = sglang.SglangSettings(
        context_length=workload.context,
        mem_fraction_static=settings.mem_fraction_static,
        kv_cache_dtype={"fp8": "fp8_e5m2"}.get(_cache_name(workload), _cache_name(workload)),
        tp_size=tp,
        pp_size=pp,
        ep_size=settings.expert_parallel or 1,
    )
    plan = sglang.plan(served, card, chosen)
    if plan is None:
        return _cannot_tell("sglang", spec, "the tensors' names do not tell what a rank would hold")
    fraction = chosen.mem_fraction_static
    share = sglang.default_mem_fraction(card, chosen) if fraction is None else fraction
    request = -(-plan.kv_pool * workload.context // plan.kv_tokens) if plan.kv_tokens else None
    cards: tuple[CardShare, ...] = ()
    if spec.mixed:
        stages = stage_cards(tp, pp)
        cards = served_shares(spec, stages, [plan.weights] * pp, share, request, plan.slack)
    return Serving(
        engine="sglang",
        engine_version=None,
        gpu=spec.name,
        count=spec.count,
        capacity=spec.capacity,
        settings={
            "max_model_len": workload.context,
            "mem_fraction_static": share,
            "kv_cache_dtype": chosen.kv_cache_dtype,
            "tensor_parallel_size": tp,
            "pipeline_parallel_size": pp,
            "expert_parallel_size": chosen.ep_size,
        },
        per_gpu={
            "weights": plan.weights,
            "activations": plan.slack,
            "non_torch": None,
            "graphs": None,
            "kv_pool": plan.kv_pool,
            "total": plan.weights + plan.slack + max(0, plan.kv_pool),
        },
        kv_tokens=plan.kv_tokens,
        max_concurrency=None if plan.kv_tokens is None else plan.kv_tokens / workload.context,
        longest_context=None if plan.kv_tokens is None else min(plan.kv_tokens, most),
        request_bytes=request,
        fits=plan.fits,
        cards=cards,
        notes=(
            *(mixed_notes("sglang", pp) if spec.mixed else ()),
            "SGLang measures no activations: what its static share leaves is for them and the graphs",
            *served.notes,
            *spec.notes,
        ),
        explanation=lambda: explain_sglang(served, card, chosen, plan),
    )


def _degrees(spec: GpuSpec, settings: ServingSettings) -> tuple[int, int]:
    """(tensor parallel, pipeline parallel): by default all cards split each layer."""
    pipeline, data = settings.pipeline_parallel or 1, settings.data_parallel or 1
    tensor = settings.tensor_parallel or max(1, spec.count // (pipeline * data))
    if tensor * pipeline * data != spec.count:
        replicas = f" x data parallel {data}" if data > 1 else ""
        raise UsageError(
            f"tensor parallel {tensor} x pipeline parallel {pipeline}{replicas} is not the {spec.count} cards of --gpu",
            "Name as many as take part."
            if spec.mixed
            else f"Name as many as take part: --gpu '{tensor * pipeline * data}x{spec.name}'.",
        )
    if settings.expert_parallel not in (None, 1, tensor * data):
        raise UsageError(
            f"expert parallel {settings.expert_parallel} is neither 1 nor tensor x data parallel, {tensor * data}",
            "Experts are dealt out to all ranks of both, or not at all.",
        )
    return tensor, pipeline


def _card(spec: GpuSpec) -> Card:
    capability = spec.device.compute_capability if spec.device else None
    major, _, minor = (capability or "").partition(".")
    known = (int(major), int(minor)) if major.isdigit() and minor.isdigit() else None
    return Card(spec.capacity, spec.name, known)


def _cache_name(workload: Workload) -> str:
    if workload.kv_dtype is None:
        return "auto"
    if workload.kv_dtype not in _CACHE_NAMES:
        raise UsageError(
            f"serving engines have no KV cache of type {workload.kv_dtype}", f"Known: {', '.join(_CACHE_NAMES)}."
        )
    return _CACHE_NAMES[workload.kv_dtype]


def _cannot_tell(engine: str, spec: GpuSpec, why: str) -> Serving:
    return Serving(engine, None, spec.name, spec.count, spec.capacity, notes=(f"cannot tell: {why}", *spec.notes))
