"""SGLang's accounting: no profiling run; the pool is what the weights leave of a static share of the free memory.

    pool = free after loading - free before loading * (1 - mem_fraction_static)

sglang/srt/mem_cache/kv_cache_configurator.py: _profile_available_bytes; the GB in its log are GiB. Read in 0.5.23.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from inspector.engines.common.cache_specs import (
    CacheSettings,
    ChunkedSpec,
    SlidingSpec,
    StateSpec,
    sparse_latents,
    specs_of,
)
from inspector.engines.common.legal_layouts import LayoutRules, check_layout
from inspector.engines.common.loaded_weights import rank_shares
from inspector.engines.common.served import Gpu, ServedModel
from inspector.engines.sglang.cache_types import TYPES, packs_sparse_latents, workspace_bytes
from inspector.engines.sglang.fraction import NEWEST, USUAL, Batches, FractionFacts, Release, default_fraction, in_use
from inspector.errors import UsageError, known_hint
from inspector.model.layers.layer import Layer

SWA_FULL_TOKENS_RATIO = 0.8
"""Window tokens for each full one in models that have both (server_args: swa_full_tokens_ratio)."""

MAMBA_FULL_MEMORY_RATIO = 0.9
"""Bytes of states for each byte of rows in models that have both (server_args: mamba_full_memory_ratio); a log of
LFM2 shows 4.88 to 5.42 GiB."""

DRAFTED_REQUESTS = 48
"""Requests at once where something drafts (arg_groups/speculative_hook.py: max_running_requests)."""

SPARE_SLOT_SINCE = (0, 5, 17)
"""The slot of states that no request has is counted."""

LAYOUT_RULES = LayoutRules("sglang", "--ep-size", divides_experts=True)
"""What SGLang checks of the degrees."""


@dataclass(frozen=True, slots=True)
class SglangSettings:
    """SGLang's own names. None takes its default for the GPU.

    Attributes:
        context_length: tokens a request may have.
        reserved: bytes that are in use before loading; None for what usually is (fraction.py: in_use).
        facts: what the default of mem_fraction_static depends on, of the model.
        state_slots: slots of states that a request keeps.
        longest: tokens of the model's longest request, which the slots for requests follow.
        draft: what drafts, loaded beside the model before the pool is measured.
    """

    context_length: int
    mem_fraction_static: float | None = None
    chunked_prefill_size: int | None = None
    cuda_graph_max_bs: int | None = None
    kv_cache_dtype: str = "auto"
    page_size: int = 1
    tp_size: int = 1
    pp_size: int = 1
    ep_size: int = 1
    reserved: int | None = None
    release: Release = NEWEST
    facts: FractionFacts = USUAL
    state_slots: int = 3
    longest: int | None = None
    draft: ServedModel | None = None


@dataclass(frozen=True, slots=True)
class Pool:
    """What a pool is divided into.

    Attributes:
        tokens: slots of the rows; of models without rows, the longest request's, which take nothing.
        slots: of the states, of which one is spare; None where there are none.
        token_bytes / state_bytes: of one token's rows, and of one slot of states.
    """

    tokens: int
    slots: int | None
    token_bytes: float
    state_bytes: int

    def requests(self, settings: SglangSettings) -> float:
        """Requests of context_length tokens at once: by their rows, their states, and the slots that SGLang makes for
        requests (kv_cache_configurator.py: resolve_max_num_reqs)."""
        longest = settings.longest or settings.context_length
        most = min(max(min(self.tokens * 512 // longest, 4096), 2048), self.tokens // 2)
        if settings.draft is not None:
            most = min(most, DRAFTED_REQUESTS)
        if self.slots is not None:
            most = min(most, self.slots // settings.state_slots)
        return min(self.tokens / settings.context_length, most) if self.token_bytes else float(most)


@dataclass(frozen=True, slots=True)
class SglangPlan:
    """Bytes on the fullest rank, and what its pool holds.

    Attributes:
        weights / kv_pool / slack: the slack is left for activations and graphs; nothing is measured.
        reserved: in use before the weights are loaded: CUDA's context, NCCL's buffers.
        weight_shares: what the weights are the sum of.
        kv_tokens: slots of the pool; None where nothing is cached.
        requests: of context_length tokens at once.
        request_bytes: of one of them.
        fits: one such request can be served; None where kv_tokens is.
        mem_fraction_static: as given, or the default.
    """

    weights: int
    kv_pool: int
    slack: int
    reserved: int
    kv_tokens: int | None
    requests: float | None
    request_bytes: int | None
    fits: bool | None
    weight_shares: Mapping[str, int]
    mem_fraction_static: float


def mem_fraction(gpu: Gpu, settings: SglangSettings) -> float:
    """mem_fraction_static: as given, else its default, which follows the memory that the driver reports."""
    if settings.mem_fraction_static is not None:
        return settings.mem_fraction_static
    batches = Batches(
        settings.release,
        settings.tp_size,
        settings.pp_size,
        settings.chunked_prefill_size,
        settings.cuda_graph_max_bs,
    )
    return default_fraction((gpu.driver_memory or gpu.memory) / 1024**2, batches, settings.facts)


def pool_bytes(free_before: int, free_after: int, mem_fraction_static: float) -> int:
    """free after - free before * (1 - mem_fraction_static); negative where the weights alone exceed the share."""
    return free_after - round(free_before * (1 - mem_fraction_static))


def divided(
    layers: Sequence[Layer], settings: CacheSettings, pool: int, context: int = 1, spare: int = 1, drafts: int = 0
) -> Pool | None:
    """A pool of so many bytes as tokens and states; None where nothing is cached.

    A window's or a chunk's slot weighs 0.8 beside full ones, for the pool has so many fewer of them. States take nine
    parts of nineteen off first, and leave what is no whole slot. Whole pages only (pool_configurator.py:
    calculate_pool_sizes; kv_cache_configurator.py: _handle_max_mamba_cache).

    Args:
        context: tokens of the longest request, which a model without rows has slots for.
        spare: slots of states beside those of requests that are counted.
        drafts: layers of what drafts, each of which counts as wide as the model's own are.
    """
    specs = [spec for layer in layers for spec in specs_of(layer, settings)]
    rows = [spec for spec in specs if not isinstance(spec, StateSpec)]
    state = sum(spec.page_size_bytes for spec in specs if isinstance(spec, StateSpec))
    if not specs:
        return None
    slots = None
    if state:
        budget = int(max(0, pool) * MAMBA_FULL_MEMORY_RATIO / (1 + MAMBA_FULL_MEMORY_RATIO))
        slots = max(0, budget // state - spare)
        pool -= (slots + spare) * state
    if not rows:
        return Pool(context, slots, 0.0, state)
    mixed = len({isinstance(spec, SlidingSpec | ChunkedSpec) for spec in rows}) == 2
    cell = 0.0
    for spec in rows:
        share = SWA_FULL_TOKENS_RATIO if mixed and isinstance(spec, SlidingSpec | ChunkedSpec) else 1.0
        cell += share * spec.page_size_bytes / spec.block_size
    cell += int(cell * drafts / len(layers)) + settings.shared_bytes
    return Pool(int(max(0, pool) / cell) // settings.block_size * settings.block_size, slots, cell, state)


def spare_slots(release: Release) -> int:
    """Slots of states beside those of requests, as the release counts them."""
    return int(release >= SPARE_SLOT_SINCE)


def pool_tokens(layers: Sequence[Layer], settings: CacheSettings, pool: int, spare: int = 1) -> int | None:
    """Slots of rows that a pool holds; None where there are none."""
    found = divided(layers, settings, pool, spare=spare)
    return found.tokens if found is not None and found.token_bytes else None


def cache_settings(model: ServedModel, settings: SglangSettings, gpu: Gpu | None = None) -> CacheSettings:
    """The sizing function's settings.

    Args:
        GPU: what a workspace beside the rows depends on; None where it is not known, without one.

    Raises:
        UsageError: a cache type that SGLang does not know.
    """
    name = settings.kv_cache_dtype
    if name not in TYPES:
        raise UsageError(f"unknown kv_cache_dtype '{name}'", known_hint(name, sorted(TYPES)))
    kept = TYPES[name]
    return CacheSettings(
        max_model_len=settings.context_length,
        block_size=settings.page_size,
        element_bytes=kept.element_bytes or model.element_bytes,
        head_bytes=kept.head,
        sparse_latents=sparse_latents(model.layers),
        packed_sparse_latents=packs_sparse_latents(gpu),
        shared_bytes=0 if gpu is None else workspace_bytes(name, model, gpu, settings.tp_size),
        state_bytes=model.element_bytes,
        tensor_parallel=settings.tp_size,
    )


def plan(model: ServedModel, gpu: Gpu, settings: SglangSettings) -> SglangPlan | None:
    """The whole account of the fullest rank; None where the weights are not known.

    Raises:
        UsageError: settings that SGLang refuses.
    """
    fraction = settings.mem_fraction_static
    if fraction is not None and not 0 < fraction < 1:
        raise UsageError(f"mem_fraction_static must be between 0 and 1, not {fraction:g}")
    if settings.context_length < 1:
        raise UsageError("context_length must be at least 1")
    if settings.ep_size not in (1, settings.tp_size):
        raise UsageError(f"ep_size {settings.ep_size} is neither 1 nor tp_size, {settings.tp_size}")
    whole = settings.ep_size > 1
    if whole and model.mixture is None:
        raise UsageError("expert parallelism needs a model with routed experts")
    check_layout(
        model,
        LAYOUT_RULES,
        tensor_parallel=settings.tp_size,
        pipeline_parallel=settings.pp_size,
        whole_experts=whole,
    )
    stages = rank_shares(
        model,
        tensor_parallel=settings.tp_size,
        pipeline_parallel=settings.pp_size,
        whole_experts=whole,
        copies=True,  # w_kc and w_vc (models/deepseek_common/deepseek_weight_loader.py: post_load_weights)
    )
    if stages is None:
        return None
    shares = max(stages, key=lambda shares: sum(shares.values()))
    if settings.draft is not None:
        beside = rank_shares(settings.draft, tensor_parallel=settings.tp_size, whole_experts=whole, copies=True)
        if beside is None:
            return None
        shares = {**shares, "draft": sum(beside[0].values())}
    weights, share = sum(shares.values()), mem_fraction(gpu, settings)
    ranks = settings.tp_size * settings.pp_size
    reserved = in_use(gpu, ranks, settings.release) if settings.reserved is None else settings.reserved
    before = max(0, gpu.memory - reserved)
    pool = pool_bytes(before, before - weights, share)
    layers = model.layers[: -(-len(model.layers) // settings.pp_size)]
    context = settings.longest or settings.context_length
    drafts = 0 if settings.draft is None else len(settings.draft.layers)
    spare = spare_slots(settings.release)
    held = divided(layers, cache_settings(model, settings, gpu), pool, context, spare, drafts)
    slack = round(before * (1 - share))
    if held is None:
        return SglangPlan(weights, pool, slack, reserved, None, None, None, None, shares, share)
    slots, length = held.slots, settings.context_length
    requests = held.requests(settings)
    fits = pool > 0 and held.tokens >= length and (slots is None or slots >= settings.state_slots)
    one = -(-int(held.token_bytes * length) // 1) + (0 if slots is None else settings.state_slots * held.state_bytes)
    return SglangPlan(weights, pool, slack, reserved, held.tokens, requests, one, fits, shares, share)
