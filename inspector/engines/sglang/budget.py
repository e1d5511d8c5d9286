"""SGLang's accounting: no profiling run; the pool is what the weights leave of a static share of the free memory.

    pool = free after loading - free before loading * (1 - mem_fraction_static)

sglang/srt/mem_cache/kv_cache_configurator.py: _profile_available_bytes; the GB in its log are GiB. Read in 0.5.23.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from inspector.engines.common.cache_specs import CacheSettings, SlidingSpec, StateSpec, specs_of
from inspector.engines.common.legal_layouts import LayoutRules, check_layout
from inspector.engines.common.loaded_weights import rank_shares
from inspector.engines.common.served import GIB, Card, ServedModel
from inspector.errors import UsageError
from inspector.model.layers.layer import Layer

SWA_FULL_TOKENS_RATIO = 0.8
"""Window tokens for each full one in models that have both (server_args: swa_full_tokens_ratio)."""

MAMBA_FULL_MEMORY_RATIO = 0.9
"""Bytes of states for each byte of rows in models that have both (server_args: mamba_full_memory_ratio); a log of
LFM2 shows 4.88 to 5.42 GiB."""

LAYOUT_RULES = LayoutRules("sglang", "--ep-size", divides_experts=True)
"""What SGLang checks of the degrees."""

_CACHE_BYTES = {"auto": 0, "bfloat16": 2, "bf16": 2, "fp8_e4m3": 1, "fp8_e5m2": 1}


@dataclass(frozen=True, slots=True)
class SglangSettings:
    """SGLang's own names. None takes its default for the GPU.

    Attributes:
        context_length: tokens a request may have.
        reserved: bytes that are in use before loading: the CUDA context, NCCL. 0.42 GiB in the one log of four ranks
            that shows it, none at one rank.
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
    reserved: int = 0


@dataclass(frozen=True, slots=True)
class SglangPlan:
    """Bytes on the fullest rank, and what its pool holds.

    Attributes:
        weights / kv_pool / slack: the slack is left for activations and graphs; nothing is measured.
        weight_shares: what the weights are the sum of.
        kv_tokens: slots of the pool; None where a mix of caches has no single figure, or nothing is cached.
        fits: one request of context_length tokens can be served; None where kv_tokens is.
    """

    weights: int
    kv_pool: int
    slack: int
    kv_tokens: int | None
    fits: bool | None
    weight_shares: Mapping[str, int]


def serving_defaults(card: Card, tp_size: int) -> tuple[int, int]:
    """(chunked_prefill_size, cuda_graph_max_bs) by the GPU's memory (arg_groups/memory_hook.py)."""
    gib = card.memory / GIB
    if gib < 20:
        return 2048, 8
    if gib < 35:
        return 4096, 48 if tp_size < 4 else 160
    if gib < 60:
        return 4096, 32 if tp_size < 4 else 160
    if gib < 160:
        return 8192, 256 if tp_size < 4 else 512
    return 16384, 512


def default_mem_fraction(card: Card, settings: SglangSettings) -> float:
    """1 - reserve / memory, in MiB: 512 + 1.5 a token of a chunk + 128 a rank + 2 a sequence of the largest graph, and
    at least 10 GiB on GPUs above 60 GiB. The graphs for prefill, which its newest versions add, are left out."""
    chunk, batch = serving_defaults(card, settings.tp_size)
    chunk = settings.chunked_prefill_size or chunk
    batch = settings.cuda_graph_max_bs or batch
    memory = card.memory / 1024**2
    reserve = 512 + 1.5 * max(chunk, 2048) + settings.tp_size * settings.pp_size / 8 * 1024 + 2 * batch
    if memory > 60 * 1024:
        reserve = max(reserve, 10 * 1024)
    return max(0.0, round((memory - reserve) / memory, 3))


def pool_bytes(free_before: int, free_after: int, mem_fraction_static: float) -> int:
    """free after - free before * (1 - mem_fraction_static); negative where the weights alone exceed the share."""
    return free_after - round(free_before * (1 - mem_fraction_static))


def pool_tokens(layers: Sequence[Layer], settings: CacheSettings, pool: int) -> int | None:
    """Slots that a pool holds: bytes // bytes a slot over all layers, whole pages (pool_configurator.py).

    A window's slot weighs 0.8, for the pool has so many fewer of them. States take their share off first.
    """
    specs = [spec for layer in layers for spec in specs_of(layer, settings)]
    rows = [spec for spec in specs if not isinstance(spec, StateSpec)]
    if not rows:
        return None
    if len(rows) < len(specs):
        pool = int(pool / (1 + MAMBA_FULL_MEMORY_RATIO))
    mixed = len({isinstance(spec, SlidingSpec) for spec in rows}) == 2
    cell = 0.0
    for spec in rows:
        share = SWA_FULL_TOKENS_RATIO if mixed and isinstance(spec, SlidingSpec) else 1.0
        cell += share * spec.page_size_bytes / spec.block_size
    return int(max(0, pool) / cell) // settings.block_size * settings.block_size


def cache_settings(model: ServedModel, settings: SglangSettings) -> CacheSettings:
    """The sizing function's settings.

    Raises:
        UsageError: a cache type that SGLang does not know.
    """
    if settings.kv_cache_dtype not in _CACHE_BYTES:
        raise UsageError(
            f"unknown kv_cache_dtype '{settings.kv_cache_dtype}'", f"Known: {', '.join(sorted(_CACHE_BYTES))}."
        )
    return CacheSettings(
        max_model_len=settings.context_length,
        block_size=settings.page_size,
        element_bytes=_CACHE_BYTES[settings.kv_cache_dtype] or model.element_bytes,
        state_bytes=model.element_bytes,
        tensor_parallel=settings.tp_size,
    )


def plan(model: ServedModel, card: Card, settings: SglangSettings) -> SglangPlan | None:
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
    weights = sum(shares.values())
    before = card.memory - settings.reserved
    share = default_mem_fraction(card, settings) if fraction is None else fraction
    pool = pool_bytes(before, before - weights, share)
    layers = model.layers[: -(-len(model.layers) // settings.pp_size)]
    tokens = pool_tokens(layers, cache_settings(model, settings), pool)
    fits = None if tokens is None else pool > 0 and tokens >= settings.context_length
    return SglangPlan(weights, pool, round(before * (1 - share)), tokens, fits, shares)
