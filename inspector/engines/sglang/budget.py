"""SGLang's accounting: no profiling run; the pool is what the weights leave of a static share of the free memory.

    pool = free after loading - free before loading * (1 - mem_fraction_static)

sglang/srt/mem_cache/kv_cache_configurator.py: _profile_available_bytes; the GB in its log are GiB. Read in 0.5.23.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

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

STATES_JOINTLY_SINCE = (0, 5, 13)
"""Slots and the states of drafted tokens are divided out of one budget; before, the latter came off first."""

DRAFTS_FIRST_SINCE = (0, 5, 14)
"""What drafts is loaded before the pool is measured; before, it came after, into what the share leaves."""

IMAGE_CACHE_SINCE, IMAGE_CACHE_BYTES = (0, 5, 18), 100 * 1024**2
"""What a multimodal model's embeddings are cached in comes off the pool (SGLANG_VLM_CACHE_SIZE_MB)."""

DRAFT_TOKENS = 4
"""Tokens that are drafted at once: three steps of a chain, and one."""

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
        draft_tokens: that it drafts at once.
        draft_reserve: MiB that older releases keep free for it.
        dp_size: replicas of the attention within tp_size ranks (--enable-dp-attention); 1 without it.
        state_bytes: bytes of a value of the recurrent states; None as the model has them.
        radix_cache: prefixes are cached.
        graphs: CUDA graphs are captured.
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
    draft_tokens: int = DRAFT_TOKENS
    draft_reserve: int = 0
    dp_size: int = 1
    max_running_requests: int | None = None
    max_total_tokens: int | None = None
    mamba_full_memory_ratio: float = MAMBA_FULL_MEMORY_RATIO
    max_mamba_cache_size: int | None = None
    state_bytes: int | None = None
    radix_cache: bool = True
    swa_full_tokens_ratio: float = SWA_FULL_TOKENS_RATIO
    graphs: bool = True

    @property
    def running(self) -> int | None:
        """Requests that a replica lets in at once; None where none were named."""
        most = self.max_running_requests
        if most is None and self.draft is not None:
            most = DRAFTED_REQUESTS
        return None if most is None else max(1, most // self.dp_size)

    @property
    def states(self) -> States:
        """How its pool is divided between states and rows."""
        slots = self.max_mamba_cache_size and self.max_mamba_cache_size // self.dp_size
        if slots is None and not self.radix_cache:
            slots = self.running
        return States(
            spare=spare_slots(self.release),
            ratio=self.mamba_full_memory_ratio,
            slots=slots,
            each=self.state_slots,
            drafted=0 if self.draft is None else self.draft_tokens,
            running=self.running or 0,
            jointly=self.release >= STATES_JOINTLY_SINCE,
        )


@dataclass(frozen=True, slots=True)
class States:
    """How a pool is divided between states and rows.

    mem_cache/kv_cache_configurator.py: _handle_max_mamba_cache.

    Attributes:
        spare: slots beside those of requests that are counted.
        ratio: bytes of states for each byte of rows.
        slots: as given; None for what the ratio makes of the pool.
        each: slots that a request keeps.
        drafted: tokens that are drafted at once, each of which every running request has a state for.
        running: requests at once, where something drafts.
        jointly: those states and the slots share the part of the ratio.
    """

    spare: int = 1
    ratio: float = MAMBA_FULL_MEMORY_RATIO
    slots: int | None = None
    each: int = 3
    drafted: int = 0
    running: int = 0
    jointly: bool = True

    def split(self, pool: int, state: int) -> tuple[int, int]:
        """(slots, bytes that they leave of a pool), where one state takes so many bytes."""
        if self.drafted and not self.jointly:
            pool -= self.running * self.drafted * state
        slots = self.slots
        if slots is None:
            budget = int(max(0, pool) * self.ratio / (1 + self.ratio))
            part = self.drafted if self.jointly else 0
            slots = max(0, int((budget - state * self.spare * (1 + part)) // (state * (1 + part / self.each))))
        if self.drafted and self.jointly:
            pool -= (min(self.running, slots // self.each) + self.spare) * self.drafted * state
        return slots, pool - (slots + self.spare) * state


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
        usual = max(min(self.tokens * 512 // longest, 4096), 2048)
        most = min(settings.running or usual, self.tokens // 2)
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
        settings.dp_size,
        settings.max_running_requests,
        settings.graphs,
        settings.draft_reserve,
    )
    return default_fraction((gpu.driver_memory or gpu.memory) / 1024**2, batches, settings.facts)


def pool_bytes(free_before: int, free_after: int, mem_fraction_static: float) -> int:
    """free after - free before * (1 - mem_fraction_static); negative where the weights alone exceed the share."""
    return free_after - round(free_before * (1 - mem_fraction_static))


def divided(
    layers: Sequence[Layer],
    settings: CacheSettings,
    pool: int,
    context: int = 1,
    states: States | None = None,
    drafts: int = 0,
    window_share: float = SWA_FULL_TOKENS_RATIO,
) -> Pool | None:
    """A pool of so many bytes as tokens and states; None where nothing is cached.

    A window's or a chunk's slot weighs 0.8 beside full ones, for the pool has so many fewer of them. States take nine
    parts of nineteen off first, and leave what is no whole slot. Whole pages only (pool_configurator.py:
    calculate_pool_sizes; kv_cache_configurator.py: _handle_max_mamba_cache).

    Args:
        context: tokens of the longest request, which a model without rows has slots for.
        states: how the pool is divided between states and rows; None as SGLang does unasked.
        drafts: layers of what drafts, each of which counts as wide as the model's own are.
        window_share: slots of windows for each full one.
    """
    specs = [spec for layer in layers for spec in specs_of(layer, settings)]
    rows = [spec for spec in specs if not isinstance(spec, StateSpec)]
    state = sum(spec.page_size_bytes for spec in specs if isinstance(spec, StateSpec))
    if not specs:
        return None
    slots = None
    if state:
        slots, pool = (states or States()).split(pool, state)
    if not rows:
        return Pool(context, slots, 0.0, state)
    mixed = len({isinstance(spec, SlidingSpec | ChunkedSpec) for spec in rows}) == 2
    cell = 0.0
    for spec in rows:
        share = window_share if mixed and isinstance(spec, SlidingSpec | ChunkedSpec) else 1.0
        cell += share * spec.page_size_bytes / spec.block_size
    caching = sum(any(not isinstance(spec, StateSpec) for spec in specs_of(layer, settings)) for layer in layers)
    cell += int(cell * drafts / max(1, caching)) + settings.shared_bytes
    return Pool(int(max(0, pool) / cell) // settings.block_size * settings.block_size, slots, cell, state)


def spare_slots(release: Release) -> int:
    """Slots of states beside those of requests, as the release counts them."""
    return int(release >= SPARE_SLOT_SINCE)


def pool_tokens(layers: Sequence[Layer], settings: CacheSettings, pool: int, spare: int = 1) -> int | None:
    """Slots of rows that a pool holds; None where there are none."""
    found = divided(layers, settings, pool, states=States(spare))
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
        recurrent_bytes=settings.state_bytes,
        tensor_parallel=settings.tp_size // settings.dp_size,
    )


def plan(model: ServedModel, gpu: Gpu, settings: SglangSettings) -> SglangPlan | None:
    """The whole account of the fullest rank; None where the weights are not known.

    Raises:
        UsageError: settings that SGLang refuses.
    """
    _check(model, settings)
    stages = rank_shares(
        model,
        tensor_parallel=settings.tp_size,
        pipeline_parallel=settings.pp_size,
        whole_experts=settings.ep_size > 1,
        copies=True,  # w_kc and w_vc (models/deepseek_common/deepseek_weight_loader.py: post_load_weights)
        attention_ranks=settings.tp_size // settings.dp_size,
    )
    if stages is None:
        return None
    shares = max(stages, key=lambda shares: sum(shares.values()))
    if settings.draft is not None:
        beside = rank_shares(
            settings.draft, tensor_parallel=settings.tp_size, whole_experts=settings.ep_size > 1, copies=True
        )
        if beside is None:
            return None
        shares = {**shares, "draft": sum(beside[0].values())}
    weights, share = sum(shares.values()), mem_fraction(gpu, settings)
    ranks = settings.tp_size * settings.pp_size
    reserved = in_use(gpu, ranks, settings.release) if settings.reserved is None else settings.reserved
    before = max(0, gpu.memory - reserved)
    pool = pool_bytes(before, before - weights, share)
    if settings.release < DRAFTS_FIRST_SINCE:
        pool += shares.get("draft", 0)
    if settings.facts.multimodal and settings.release >= IMAGE_CACHE_SINCE:
        pool -= IMAGE_CACHE_BYTES
    layers = model.layers[: -(-len(model.layers) // settings.pp_size)]
    context = settings.longest or settings.context_length
    drafts = 0 if settings.draft is None else len(settings.draft.layers)
    held = divided(
        layers,
        cache_settings(model, settings, gpu),
        pool,
        context,
        settings.states,
        drafts,
        settings.swa_full_tokens_ratio,
    )
    slack = round(before * (1 - share))
    if held is not None and settings.max_total_tokens is not None:
        held = replace(held, tokens=min(held.tokens, settings.max_total_tokens))
    if held is None:
        return SglangPlan(weights, pool, slack, reserved, None, None, None, None, shares, share)
    slots, length = held.slots, settings.context_length
    requests = held.requests(settings) * settings.dp_size
    fits = pool > 0 and held.tokens >= length and (slots is None or slots >= settings.state_slots)
    one = -(-int(held.token_bytes * length) // 1) + (0 if slots is None else settings.state_slots * held.state_bytes)
    return SglangPlan(weights, pool, slack, reserved, held.tokens, requests, one, fits, shares, share)


def _check(model: ServedModel, settings: SglangSettings) -> None:
    """Refuse what SGLang refuses.

    Raises:
        UsageError: a value out of range, or degrees that do not fit the model.
    """
    fraction = settings.mem_fraction_static
    if fraction is not None and not 0 < fraction < 1:
        raise UsageError(f"mem_fraction_static must be between 0 and 1, not {fraction:g}")
    if settings.context_length < 1:
        raise UsageError("context_length must be at least 1")
    if settings.dp_size < 1 or settings.tp_size % settings.dp_size:
        raise UsageError(f"tp_size {settings.tp_size} is no multiple of the {settings.dp_size} replicas of attention")
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
