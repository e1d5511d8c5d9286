"""One spec a kind of layer: the bytes of its page on a rank, and the blocks that one request holds at most.

Mirrors vllm/v1/kv_cache_interface.py; SGLang's pool is sized from the same pages.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from inspector.engines.common.cache_types import HeadBytes
from inspector.engines.common.layer_rules import LayerRules, UnsupportedLayer, name_of
from inspector.engines.common.loaded_weights import ceil_div
from inspector.hub.dtypes import DTYPE_BITS
from inspector.model.layers.chunked import ChunkedAttention
from inspector.model.layers.cross import CrossAttention
from inspector.model.layers.full import Attention, FullAttention
from inspector.model.layers.hybrid import HybridAttention
from inspector.model.layers.indexed import IndexedAttention
from inspector.model.layers.latent import LatentAttention
from inspector.model.layers.layer import Layer, StateTensor
from inspector.model.layers.linear import LinearAttention
from inspector.model.layers.no_cache import NoCache
from inspector.model.layers.sliding import SlidingAttention


@dataclass(frozen=True, slots=True)
class CacheSettings:
    """What the planner is told.

    Attributes:
        max_model_len: tokens that a request may have, prompt and answer together.
        in_flight_tokens: tokens scheduled at once: max_num_batched_tokens, or twice that with two batches in
            flight (VllmConfig.max_in_flight_tokens).
        block_size: tokens a block.
        element_bytes: bytes of one cached value.
        state_bytes: bytes of the precision that the model computes in, which its convolution states have.
        recurrent_bytes: bytes of a value of the recurrent matrices that transformers keeps in float32; None: as there.
        tensor_parallel: ranks that the heads are divided over.
        state_blocks: blocks of states a request keeps: 2 with prefix caching ("align"), else 1.
        drafted: tokens that are drafted at once: as many more inputs are kept of a convolution.
        checkpoint_blocks: one more block of a state of heads (Mamba 2, the delta rules), where a prefill leaves what a
            prefix ends in.
        state_alignment: tokens that the block of rows beside states is a multiple of, where those checkpoints lie.
        encoder_budget: encoder tokens that are scheduled at once, which cross-attention keeps room for.
        context_ranks: ranks that a request's tokens are dealt out to (decode context parallelism).
        hybrid: the hybrid manager is on; off, windows and chunks cost their full length.
        latent_block_multiple: tokens that the block of latents beside states is a multiple of.
        packed_sparse_latents: an FP8 cache of sparse latent attention has DeepSeek's layout.
        sparse_latents: latents without an indexer of their own go by another layer's, and so have that layout, too.
        head_bytes: bytes of a token's key and value in one head, where they are packed with their scales.
        latent_row: bytes of a token's row of sparse latent attention, likewise.
        shared_bytes: bytes of each token that all layers share.
    """

    max_model_len: int
    in_flight_tokens: int = 8192
    block_size: int = 16
    element_bytes: int = 2
    state_bytes: int = 2
    recurrent_bytes: int | None = None
    tensor_parallel: int = 1
    state_blocks: int = 1
    drafted: int = 0
    checkpoint_blocks: int = 0
    state_alignment: int = 1
    encoder_budget: int = 0
    hybrid: bool = True
    latent_block_multiple: int = 64
    packed_sparse_latents: bool = True
    sparse_latents: bool = False
    head_bytes: HeadBytes | None = None
    latent_row: int | None = None
    shared_bytes: int = 0
    context_ranks: int = 1

    def rows_bytes(self, layer: Attention) -> int:
        """Bytes of a token's keys and values on a rank; heads fewer than the ranks are repeated."""
        heads = max(1, layer.num_key_value_heads // self.tensor_parallel)
        if self.head_bytes is not None:
            return heads * self.head_bytes(layer.head_dim, layer.v_head_dim)
        return heads * (layer.head_dim + layer.v_head_dim) * self.element_bytes

    def latent_bytes(self, layer: LatentAttention, *, sparse: bool) -> int:
        """Bytes of a token's latent: (kv_lora_rank + qk_rope_head_dim) values.

        FP8 latents of sparse attention take r + 4 * ceil(r / 128) + 2 * rope bytes: values, float32 scales, and the
        rotated part in 16 bits. Worked example: DeepSeek's 512 and 64: 656 bytes (vllm/v1/kv_cache_interface.py:
        MLAAttentionSpec, "fp8_ds_mla"; sglang/srt/mem_cache/memory_pool.py: DSATokenToKVPool).
        """
        rank, rope = layer.kv_lora_rank, layer.qk_rope_head_dim
        if sparse and self.latent_row is not None:
            return self.latent_row
        if sparse and self.element_bytes == 1 and self.packed_sparse_latents:
            return rank + 4 * ceil_div(rank, 128) + 2 * rope
        return (rank + rope) * self.element_bytes


@dataclass(frozen=True, slots=True)
class Spec:
    """One layer's cache, in pages of `block_size` tokens: root of the kinds. `page_size_bytes` is one rank's."""

    block_size: int
    page_size_bytes: int

    def blocks(self, settings: CacheSettings) -> int:
        """Blocks that one request of max_model_len tokens holds at most.

        Full attention: ceil(L / block). Worked example: 100 tokens in blocks of 16 take 7; dealt out to four ranks, 2.
        """
        return ceil_div(ceil_div(settings.max_model_len, settings.context_ranks), self.block_size)


@dataclass(frozen=True, slots=True)
class FullSpec(Spec):
    """Rows of every token."""


@dataclass(frozen=True, slots=True)
class SlidingSpec(Spec):
    """Rows of the last `window` tokens."""

    window: int

    def blocks(self, settings: CacheSettings) -> int:
        """ceil(min(window - 1 + in flight, L) / block) + 1: the window may begin inside a block."""
        tokens = min(self.window - 1 + settings.in_flight_tokens, settings.max_model_len)
        return ceil_div(tokens, self.block_size) + 1


@dataclass(frozen=True, slots=True)
class ChunkedSpec(Spec):
    """Rows of the tokens of one chunk."""

    chunk: int

    def blocks(self, settings: CacheSettings) -> int:
        """ceil(min(chunk + in flight, L) / block)."""
        tokens = min(self.chunk + settings.in_flight_tokens, settings.max_model_len)
        return ceil_div(tokens, self.block_size)


@dataclass(frozen=True, slots=True)
class StateSpec(Spec):
    """A fixed state, one page whatever the length. `of_heads`: its recurrent part is a matrix of each head."""

    of_heads: bool = False

    def blocks(self, settings: CacheSettings) -> int:
        return settings.state_blocks + (settings.checkpoint_blocks if self.of_heads else 0)


@dataclass(frozen=True, slots=True)
class IndexedSpec(FullSpec):
    """Rows of every token, of `row_bytes` each, and beside them keys that the block of states does not follow from."""

    row_bytes: int


@dataclass(frozen=True, slots=True)
class RingSpec(StateSpec):
    """The last tokens of a request, one page whatever the length and whatever prefixes are cached."""

    def blocks(self, settings: CacheSettings) -> int:
        del settings
        return 1


@dataclass(frozen=True, slots=True)
class CrossSpec(Spec):
    """Rows of an encoder's tokens."""

    encoder_tokens: int

    def blocks(self, settings: CacheSettings) -> int:
        """ceil(encoder tokens / block), however long the request; vLLM takes its budget of encoder tokens for them
        (CrossAttentionSpec.max_memory_usage_bytes: max_num_encoder_input_tokens)."""
        return ceil_div(max(self.encoder_tokens, settings.encoder_budget), self.block_size)


specs_of: LayerRules[[CacheSettings], tuple[Spec, ...]] = LayerRules("cache rule")
"""The caches of one layer on one rank."""


@specs_of.of(Attention, FullAttention, SlidingAttention, ChunkedAttention, CrossAttention)
def _(layer: Attention, settings: CacheSettings) -> tuple[Spec, ...]:
    """block * KV heads of the rank * (key width + value width) * bytes, or as they are packed."""
    block = settings.block_size
    page = block * settings.rows_bytes(layer)
    if settings.hybrid and isinstance(layer, SlidingAttention):
        return (SlidingSpec(block, page, layer.sliding_window),)
    if settings.hybrid and isinstance(layer, ChunkedAttention):
        return (ChunkedSpec(block, page, layer.attention_chunk_size),)
    if isinstance(layer, CrossAttention) and layer.encoder_tokens is not None:
        return (FullSpec(block, page), CrossSpec(block, page, layer.encoder_tokens))
    return (FullSpec(block, page),)


@specs_of.of(LatentAttention)
def _(layer: LatentAttention, settings: CacheSettings) -> tuple[Spec, ...]:
    """block * bytes: one row for all heads, whole on every rank."""
    page = settings.block_size * settings.latent_bytes(layer, sparse=settings.sparse_latents)
    if settings.hybrid and layer.sliding_window is not None:
        return (SlidingSpec(settings.block_size, page, layer.sliding_window),)
    return (FullSpec(settings.block_size, page),)


@specs_of.of(IndexedAttention)
def _(layer: IndexedAttention, settings: CacheSettings) -> tuple[Spec, ...]:
    """The attention's rows, and an indexer key: beside latents a byte a value and a float32 scale for each 128 of them
    (vllm/model_executor/models/deepseek_v2.py: DeepseekV32IndexerCache), beside heads 16 bits a value, whatever the
    rows have (vllm/models/minimax_m3/common/indexer.py: MiniMaxM3IndexerCache).
    """
    latent = layer.attention
    width = layer.index_head_dim + 4 * ceil_div(layer.index_head_dim, 128)
    if isinstance(latent, LatentAttention):
        rows = specs_of(latent, replace(settings, sparse_latents=True))
    else:
        rows, width = specs_of(latent, settings), 2 * layer.index_head_dim
    return (*rows, FullSpec(settings.block_size, settings.block_size * width))


def sparse_latents(layers: Sequence[Layer]) -> bool:
    """Whether a layer's latents are picked by an indexer (DeepSeek-V3.2, GLM-5)."""
    return any(isinstance(layer, IndexedAttention) and isinstance(layer.attention, LatentAttention) for layer in layers)


@dataclass(frozen=True, slots=True)
class CompressedIndex(IndexedAttention):
    """An indexer whose keys an engine keeps compressed, one for each `ratio` tokens in 16 bits, and raw ones of the
    last `ratio` tokens, each beside `position_values` more."""

    ratio: int = 1
    position_values: int = 0


@specs_of.of(CompressedIndex)
def _(layer: CompressedIndex, settings: CacheSettings) -> tuple[Spec, ...]:
    """vllm/models/qwen4_exp/common/qsa_cache.py: QSACompressedKeyCache, of one table of blocks with the rows, and
    QSAKeyStateCache, a ring a request."""
    block, raw = settings.block_size, layer.ratio * (layer.index_head_dim + layer.position_values) * 2
    keys = block * layer.index_head_dim * 2 // layer.ratio
    rows = (row.page_size_bytes for row in specs_of(layer.attention, settings))
    return (*(IndexedSpec(block, page + keys, page // block) for page in rows), RingSpec(block, raw))


UNVERIFIED_STATE_KEYS = frozenset(
    {"cca_time0", "conv1d_width", "conv_kernel_size", "lru_width", "ple_conv_kernel_size", "qk_dim_factor"}
)
"""Config keys of states that no serving engine's code or log was compared with."""


def kept_values(state: StateTensor, ranks: int = 1, drafted: int = 0) -> int:
    """Values that an engine keeps of a state on one rank, its heads or channels divided over the ranks.

    A convolution over k inputs keeps k - 1 of them, where transformers keeps k, and one for each drafted token: those
    are the two-dimensional states in the model's own precision.
    """
    shape = list(state.shape)
    if state.dtype == "compute" and len(shape) == 2:
        shape[-1] += drafted - 1
    shape[0] = ceil_div(shape[0], ranks)
    return math.prod(shape)


def has_known_states(layer: LinearAttention | HybridAttention) -> bool:
    """Whether the engines keep the states as Mamba's, with one input less a convolution than transformers."""
    return UNVERIFIED_STATE_KEYS.isdisjoint(layer.keys) and all(len(state.shape) > 1 for state in layer.states)


@specs_of.of(LinearAttention)
def _(layer: LinearAttention, settings: CacheSettings) -> tuple[Spec, ...]:
    if not has_known_states(layer):
        raise UnsupportedLayer(f"no cache rule for {name_of(layer)}")
    return (StateSpec(settings.block_size, state_page_bytes(layer.states, settings), _of_heads(layer.states)),)


@specs_of.of(HybridAttention)
def _(layer: HybridAttention, settings: CacheSettings) -> tuple[Spec, ...]:
    if not has_known_states(layer):
        raise UnsupportedLayer(f"no cache rule for {name_of(layer)}")
    state = StateSpec(settings.block_size, state_page_bytes(layer.states, settings), _of_heads(layer.states))
    return (*specs_of(layer.attention, settings), state)


@specs_of.of(NoCache)
def _(layer: NoCache, settings: CacheSettings) -> tuple[Spec, ...]:
    del layer, settings
    return ()


def _of_heads(states: Sequence[StateTensor]) -> bool:
    return any(len(state.shape) == 3 for state in states)


def state_page_bytes(states: Sequence[StateTensor], settings: CacheSettings) -> int:
    """Bytes of one request's states in one layer, its heads and channels divided over the ranks.

    vllm/model_executor/layers/mamba/mamba_utils.py: MambaStateShapeCalculator. Mamba's first version keeps nothing for
    drafted tokens.
    """
    total, drafted = 0, settings.drafted if _of_heads(states) or len(states) == 1 else 0
    for state in states:
        count = kept_values(state, settings.tensor_parallel, drafted)
        if state.dtype == "F32" and settings.recurrent_bytes is not None:
            total += count * settings.recurrent_bytes
        else:
            total += count * DTYPE_BITS.get(state.dtype, 8 * settings.state_bytes) // 8
    return total
