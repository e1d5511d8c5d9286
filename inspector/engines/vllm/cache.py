"""vLLM V1's KV cache planner as pure functions: specs to groups, groups to blocks, blocks to capacity.

Mirrors vllm/v1/core/kv_cache_utils.py (kv_cache_planning.py since 0.3x). All layers share one pool of blocks: a block
is one page in each layer of a group, and each group of layers has a block table of its own. Every search and every
table calls `blocks_per_request`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from inspector.engines.common.cache_specs import CacheSettings, FullSpec, SlidingSpec, Spec, StateSpec, specs_of
from inspector.engines.common.loaded_weights import ceil_div, round_up, stage_layers
from inspector.model.layers.layer import Layer


@dataclass(frozen=True, slots=True)
class Group:
    """Layers that share one block table: so many of them, all with one spec. `page_size_bytes` is one layer's."""

    layers: int
    spec: Spec


@dataclass(frozen=True, slots=True)
class PackedFull(FullSpec):
    """Rows of every token, packed into blocks with layers of other widths."""


@dataclass(frozen=True, slots=True)
class PackedSliding(SlidingSpec):
    """A window's rows, packed likewise."""


def group_layers(layers: Sequence[Layer], settings: CacheSettings) -> tuple[Group, ...]:
    """The groups of a model's layers; () where nothing is cached.

    One kind of token slots: one group whose page is the sum of its layers'. Several: pages are made equal, then each
    kind is cut into groups of as many layers as the rarest kind has (or the commonest, if that is less than 1.5 times
    the rarest), the last one padded. Worked example: Gemma 3 27B, 10 full and 52 sliding layers: group size 10, so
    1 + 6 groups, the sliding ones padded by 8 layers.

    Raises:
        UnsupportedLayer: pages that can't be made equal, or a kind without a rule.
    """
    known = {layer: specs_of(layer, settings) for layer in dict.fromkeys(layers)}
    specs = [spec for layer in layers for spec in known[layer]]
    if not specs:
        return ()
    if any(isinstance(spec, PackedFull | PackedSliding) for spec in specs):
        return _packed_groups(specs)
    if _one_kind(specs):
        return (Group(1, replace(specs[0], page_size_bytes=sum(spec.page_size_bytes for spec in specs))),)
    counts: dict[Spec, int] = {}
    for spec in _equal_pages(specs, settings, _block_multiple(layers, settings)):
        counts[spec] = counts.get(spec, 0) + 1
    smallest, largest = min(counts.values()), max(counts.values())
    size = largest if 2 * largest < 3 * smallest else smallest
    return tuple(Group(size, spec) for spec, count in counts.items() for _ in range(ceil_div(count, size)))


def _packed_groups(specs: Sequence[Spec]) -> tuple[Group, ...]:
    """Groups of layers of several widths, whose pages lie side by side in a block as wide as the widest group.

    Each kind is a bucket. One with as many layers of each width is cut into groups of so many of each as need the least
    padding over all such buckets, and no fewer than the largest of several widths has
    (vllm/v1/core/kv_cache_planning.py: _get_packed_kv_cache_groups, _approximate_gcd; since 0.30 at the latest).
    """
    buckets: dict[Spec, dict[int, int]] = {}
    for spec in specs:
        pages = buckets.setdefault(replace(spec, page_size_bytes=0), {})
        pages[spec.page_size_bytes] = pages.get(spec.page_size_bytes, 0) + 1
    even = {kind: max(pages.values()) for kind, pages in buckets.items() if len(set(pages.values())) == 1}
    least = max((count for kind, count in even.items() if len(buckets[kind]) > 1), default=0)
    size = 0
    if least:
        sizes = range(least, max(even.values()) + 1)
        size = min(sizes, key=lambda each: (sum(-count % each for count in even.values()), -each))
    groups = []
    for kind, pages in buckets.items():
        count = ceil_div(even[kind], size) if size and kind in even else 1
        for index in range(count):
            page = sum(page * ceil_div(layers - index, count) for page, layers in pages.items())
            groups.append(Group(1, replace(kind, page_size_bytes=page)))
    return tuple(groups)


def _block_multiple(layers: Sequence[Layer], settings: CacheSettings) -> int:
    """Tokens that a block of rows beside states is a multiple of: latents' kernels, and the chunks of a delta rule at
    whose ends a prefill leaves its checkpoints, ask for more than 16 (vllm/platforms/interface.py:
    _align_hybrid_block_size; get_mamba_prefill_checkpoint_alignment)."""
    latents = any(layer.rows is not None and layer.rows.widths for layer in layers)
    return math.lcm(settings.latent_block_multiple if latents else 16, settings.state_alignment)


def _one_kind(specs: Sequence[Spec]) -> bool:
    """Whether all layers need the same token slots, whatever their widths."""
    return len({replace(spec, page_size_bytes=0) for spec in dict.fromkeys(specs)}) == 1


def _equal_pages(specs: Sequence[Spec], settings: CacheSettings, multiple: int) -> list[Spec]:
    """The same specs with one page size.

    States: the attention block grows by multiples of 16 (latents: more) until its page covers the state's, which is
    then padded to it (vllm/model_executor/models/config.py: HybridAttentionMambaModelConfig). Attention of several
    widths: the narrower layers get more tokens a block (unify_kv_cache_spec_page_size), or are padded where that does
    not come out even.
    """
    states = [spec for spec in specs if isinstance(spec, StateSpec)]
    others = [spec for spec in specs if not isinstance(spec, StateSpec)]
    if states and others:
        token = max(getattr(spec, "row_bytes", spec.page_size_bytes // spec.block_size) for spec in others)
        block = max(settings.block_size, round_up(ceil_div(max(s.page_size_bytes for s in states), token), multiple))
        others = [
            replace(spec, block_size=block, page_size_bytes=spec.page_size_bytes // spec.block_size * block)
            for spec in others
        ]
    page = max(spec.page_size_bytes for spec in (*others, *states))
    equal: list[Spec] = []
    for spec in (*others, *states):
        ratio, rest = divmod(page, spec.page_size_bytes)
        if isinstance(spec, StateSpec) or rest:
            equal.append(replace(spec, page_size_bytes=page))
        else:
            equal.append(replace(spec, block_size=spec.block_size * ratio, page_size_bytes=page))
    return equal


def blocks_per_request(groups: Sequence[Group], settings: CacheSettings) -> int:
    """Blocks that one request of max_model_len tokens holds at most, over all groups: the one sizing function."""
    return sum(group.spec.blocks(settings) for group in groups)


def block_bytes(groups: Sequence[Group]) -> int:
    """Bytes of one block over all layers: the layers of a group times their page."""
    return max((group.layers * group.spec.page_size_bytes for group in groups), default=0)


def stage_block_bytes(groups: Sequence[Group], stages: int, layers: int) -> tuple[int, ...]:
    """Bytes of one block on each pipeline stage, whose groups are the whole model's, cut to its own layers."""
    if stages == 1:
        return (block_bytes(groups),)
    counts = stage_layers(layers, stages)
    if len(groups) == 1:  # one page for all layers, each with its part
        return tuple(ceil_div(block_bytes(groups) * count, layers) for count in counts)
    size, page = groups[0].layers, groups[0].spec.page_size_bytes
    return tuple(ceil_div(size * count, layers) * page for count in counts)


@dataclass(frozen=True, slots=True)
class Capacity:
    """What a pool holds.

    Attributes:
        blocks: of all groups together.
        block_bytes: one block over all layers of the (tightest) stage.
        blocks_per_request: for a request of max_model_len tokens.
        max_concurrency: such requests at once.
        tokens: slots of the pool, where all layers keep all tokens; for hybrids a derived figure.
        tokens_printed: the figure in the engine's log: tokens, or (since 0.21) concurrency times max_model_len.
    """

    blocks: int
    block_bytes: int
    blocks_per_request: int
    max_concurrency: float
    tokens: int
    tokens_printed: int


def capacity(
    layers: Sequence[Layer],
    settings: CacheSettings,
    pools: Sequence[int],
    *,
    printed_from_concurrency: bool = False,
) -> Capacity | None:
    """The capacity of one pool a pipeline stage, in bytes; None where the layers cache nothing.

    Every stage gets the blocks of the one that has fewest.
    """
    return grouped_capacity(
        group_layers(layers, settings),
        len(layers),
        settings,
        pools,
        printed_from_concurrency=printed_from_concurrency,
    )


def grouped_capacity(
    groups: Sequence[Group],
    layers: int,
    settings: CacheSettings,
    pools: Sequence[int],
    *,
    printed_from_concurrency: bool = False,
) -> Capacity | None:
    """`capacity` of so many layers, whose groups are known: max_model_len does not change them."""
    if not groups:
        return None
    sizes = stage_block_bytes(groups, len(pools), layers)
    blocks, size = min((max(0, pool) // size, size) for pool, size in zip(pools, sizes, strict=True) if size)
    needed = blocks_per_request(groups, settings)
    concurrency = blocks / needed
    rows = [group.spec.block_size for group in groups if not isinstance(group.spec, StateSpec)]
    each = min(rows or [group.spec.block_size for group in groups]) * settings.context_ranks
    tokens = blocks // len(groups) * each
    printed = int(concurrency * settings.max_model_len) if printed_from_concurrency else tokens
    return Capacity(blocks, size, needed, concurrency, tokens, printed)


def longest_context(layers: Sequence[Layer], settings: CacheSettings, pools: Sequence[int], limit: int) -> int:
    """Tokens of the longest single request that the pools hold, up to `limit`; 0 where not even one token.

    A binary search over the sizing function, as vLLM's own (estimate_max_model_len).
    """
    groups = group_layers(layers, settings)

    def fits(length: int) -> bool:
        held = grouped_capacity(groups, len(layers), replace(settings, max_model_len=length), pools)
        return held is None or held.blocks >= held.blocks_per_request

    low, high = 0, max(0, limit)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low
