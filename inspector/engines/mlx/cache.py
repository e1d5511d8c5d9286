"""mlx-lm's caches: which class each layer gets, and the rows that it holds at each step of a request.

mlx_lm/models/cache.py and mlx_lm/generate.py (generate_step, BatchGenerator), read and measured with version 0.32.2
(tests/oracles/mlx.py). A prompt goes through the model in chunks of `prefill_step_size`, all but its last token; then
one token a step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from inspector.engines.common.cache_specs import UNVERIFIED_STATE_KEYS, kept_values
from inspector.engines.common.layer_rules import LayerRules, UnsupportedLayer, name_of
from inspector.engines.common.loaded_weights import round_up
from inspector.errors import UsageError
from inspector.model.layers.chunked import ChunkedAttention
from inspector.model.layers.full import Attention, FullAttention
from inspector.model.layers.hybrid import HybridAttention
from inspector.model.layers.indexed import IndexedAttention
from inspector.model.layers.latent import LatentAttention
from inspector.model.layers.layer import Layer
from inspector.model.layers.linear import LinearAttention
from inspector.model.layers.no_cache import NoCache
from inspector.model.layers.sliding import SlidingAttention

VERSION = "0.32.2"
"""The mlx-lm whose sources and caches these are."""

STEP = 256
"""Rows that a cache grows by (KVCache.step)."""

CACHE_BITS = (2, 3, 4, 5, 6, 8)
GROUP_SIZES = (32, 64, 128)
"""What mx.quantize takes."""


@dataclass(frozen=True, slots=True)
class MlxSettings:
    """mlx-lm's own names.

    Attributes:
        context: tokens of a sequence, prompt and answer; all but the last are taken for prompt, the dearest case.
        batch: sequences at once (`mlx_lm.server`, `batch_generate`); one alone runs as `mlx_lm.generate` runs it.
        prefill_step_size: prompt tokens of a chunk.
        prompt_concurrency: prompts that go through the model side by side.
        kv_bits / kv_group_size: a quantized cache; None for none.
        quantized_kv_start: tokens from which on it is quantized.
        ranks: machines that each layer is cut over (`mlx.launch`, model.shard).
    """

    context: int
    batch: int = 1
    prefill_step_size: int = 2048
    prompt_concurrency: int = 8
    kv_bits: int | None = None
    kv_group_size: int = 64
    quantized_kv_start: int = 5000
    ranks: int = 1


def rows_of(layer: Layer) -> Attention | LatentAttention | None:
    """The part of a layer whose rows are kept in one of mlx-lm's caches; None where it has none that is known here."""
    return layer.rows if isinstance(layer.rows, Attention | LatentAttention) else None


class Moment(NamedTuple):
    """One step of a request: tokens a sequence that are cached before it, those it adds, and sequences in it."""

    before: int
    tokens: int
    sequences: int


def check_settings(layers: Sequence[Layer], settings: MlxSettings) -> None:
    """Refuse what mlx-lm refuses.

    Raises:
        UsageError: sizes below 1, bits or groups that MLX does not have, a cache that cannot be quantized, heads that
            do not divide over the ranks.
    """
    sizes = (settings.context, settings.batch, settings.prefill_step_size, settings.prompt_concurrency, settings.ranks)
    if min(sizes) < 1 or settings.quantized_kv_start < 0:
        raise UsageError("context, batch, prefill_step_size and the ranks must be at least 1")
    rows = [row for row in map(rows_of, layers) if row is not None]
    for row in rows:
        heads = 1 if isinstance(row, LatentAttention) else row.num_key_value_heads
        if heads % settings.ranks and not isinstance(row, LatentAttention):
            raise UsageError(
                f"{heads} key/value heads can't be cut over {settings.ranks} machines",
                "mlx-lm's shard() divides them evenly, and repeats none.",
            )
    if settings.kv_bits is None:
        return
    if settings.kv_bits not in CACHE_BITS or settings.kv_group_size not in GROUP_SIZES:
        raise UsageError(
            f"MLX has no cache of {settings.kv_bits} bits in groups of {settings.kv_group_size}",
            f"Bits: {', '.join(map(str, CACHE_BITS))}; groups: {', '.join(map(str, GROUP_SIZES))}.",
        )
    if settings.batch > 1:
        raise UsageError(
            "mlx-lm serves one request at a time with a quantized cache", "Leave --kv-bits out, or --batch."
        )
    if settings.context <= settings.quantized_kv_start:
        return
    for row in rows:
        if isinstance(row, SlidingAttention):
            raise UsageError("mlx-lm can't quantize the cache of a sliding window", "Leave --kv-bits out.")
        if isinstance(row, LatentAttention):
            raise UsageError("mlx-lm can't quantize a cache of latents", "Leave --kv-bits out.")
        for width in (row.head_dim, row.v_head_dim):
            if width % settings.kv_group_size:
                raise UsageError(
                    f"heads of {width} values can't be quantized in groups of {settings.kv_group_size}",
                    "Choose a --kv-group-size that divides them.",
                )


def moments(settings: MlxSettings) -> tuple[Moment, ...]:
    """The steps of which one holds most: the last chunks of the prompt, and the last token.

    Within a request every later step of the same size holds more, so of the full chunks the last is enough; with a
    quantized cache, the last before its quantization, too. Of several sequences, those before have their caches whole.
    """
    prompt, size = settings.context - 1, settings.prefill_step_size
    starts = {prompt // size * size, max(0, prompt // size - 1) * size}
    if settings.kv_bits is not None:
        starts.add(max(0, -(-settings.quantized_kv_start // size) - 1) * size)
    together = min(settings.batch, settings.prompt_concurrency)
    chunks = [Moment(start, min(size, prompt - start), together) for start in sorted(starts) if start < prompt]
    return (*chunks, Moment(prompt, 1, settings.batch))


def is_quantized(layer: Layer, moment: Moment, settings: MlxSettings) -> bool:
    """Whether a layer's rows are quantized during a step: from the end of the chunk on that reaches the start."""
    if settings.kv_bits is None or isinstance(layer, ChunkedAttention):
        return False
    return moment.before > 0 and moment.before >= settings.quantized_kv_start


def cached_rows(layer: Attention | LatentAttention, moment: Moment, settings: MlxSettings) -> int:
    """Rows that a layer's cache holds of one sequence after a step.

    KVCache (and BatchKVCache): whole steps of 256; one more where chunks are no multiples of that. RotatingKVCache: a
    chunk and the window - 1 before it; one token at a time, the window. ChunkedKVCache: the chunk of attention and what
    is added.

    >>> window = SlidingAttention(num_key_value_heads=1, head_dim=64, v_head_dim=64, sliding_window=512)
    >>> cached_rows(window, Moment(2048, 1000, 1), MlxSettings(4096))
    1511
    """
    before, tokens = moment.before, moment.tokens
    if isinstance(layer, SlidingAttention):
        window = layer.sliding_window
        if tokens > 1:
            return min(before, max(0, window - 1)) + tokens
        # the chunks' rows, to which steps are added until they are as many as the window
        rows = cached_rows(layer, last_chunk(moment, settings), settings) if before else 0
        return min(window, rows if rows > before else rows + min(STEP, max(0, window - before)))
    if isinstance(layer, ChunkedAttention) and before + tokens > layer.attention_chunk_size:
        return min(before, layer.attention_chunk_size) + round_up(tokens, STEP)
    size = settings.prefill_step_size
    if size % STEP == 0 or before == 0:
        return round_up(before + tokens, STEP)
    return max(round_up(before + tokens, STEP), before + round_up(tokens, STEP))


def last_chunk(moment: Moment, settings: MlxSettings) -> Moment:
    """The chunk that came before the first token of the answer."""
    start = (moment.before - 1) // settings.prefill_step_size * settings.prefill_step_size
    return Moment(start, moment.before - start, moment.sequences)


def row_bytes(layer: Attention | LatentAttention, element: int, settings: MlxSettings, *, quantized: bool) -> int:
    """Bytes of one row on one rank: keys and values of its heads, or a latent and its rotated part.

    Quantized: bits a value, and a scale and a bias of the model's precision a group (QuantizedKVCache).
    """
    if isinstance(layer, LatentAttention):
        return (layer.kv_lora_rank + layer.qk_rope_head_dim) * element
    heads, width = layer.num_key_value_heads // settings.ranks, layer.head_dim + layer.v_head_dim
    if not quantized or settings.kv_bits is None:
        return heads * width * element
    return heads * width * settings.kv_bits // 8 + 2 * heads * (width // settings.kv_group_size) * element


layer_cache_bytes: LayerRules[[Moment, MlxSettings, int], int] = LayerRules("cache rule")
"""Bytes of one layer's cache of all sequences after a step: (layer, moment, settings, bytes of a value)."""


@layer_cache_bytes.of(Attention, FullAttention, SlidingAttention, ChunkedAttention)
def _rows(layer: Attention | LatentAttention, moment: Moment, settings: MlxSettings, element: int) -> int:
    row = row_bytes(layer, element, settings, quantized=is_quantized(layer, moment, settings))
    return settings.batch * cached_rows(layer, moment, settings) * row


@layer_cache_bytes.of(LatentAttention)
def _(layer: LatentAttention, moment: Moment, settings: MlxSettings, element: int) -> int:
    if layer.sliding_window is not None:
        raise UnsupportedLayer(f"no cache rule for {name_of(layer)}")
    return _rows(layer, moment, settings, element)


@layer_cache_bytes.of(IndexedAttention)
def _(layer: IndexedAttention, moment: Moment, settings: MlxSettings, element: int) -> int:
    """The rows, and the indexer's cache, a KVCache: beside latents it holds its keys twice (deepseek_v32.py: Indexer),
    beside heads once, with empty values (minimax_m3_vl.py)."""
    copies = 2 if isinstance(layer.attention, LatentAttention) else 1
    keys = round_up(moment.before + moment.tokens, STEP) * copies * layer.index_head_dim * element
    return layer_cache_bytes(layer.attention, moment, settings, element) + settings.batch * keys


@layer_cache_bytes.of(LinearAttention)
def _(layer: LinearAttention, moment: Moment, settings: MlxSettings, element: int) -> int:
    del moment
    return settings.batch * _state_bytes(layer, element)


@layer_cache_bytes.of(HybridAttention)
def _(layer: HybridAttention, moment: Moment, settings: MlxSettings, element: int) -> int:
    states = settings.batch * _state_bytes(layer, element)
    return layer_cache_bytes(layer.attention, moment, settings, element) + states


@layer_cache_bytes.of(NoCache)
def _(layer: NoCache, moment: Moment, settings: MlxSettings, element: int) -> int:
    del layer, moment, settings, element
    return 0


def cache_bytes(layers: Sequence[Layer], moment: Moment, settings: MlxSettings, element: int) -> int | None:
    """Bytes of the whole cache after a step, the sum of its objects' `nbytes`; None where a kind has no rule."""
    sizes = [layer_cache_bytes.known(layer, moment, settings, element) for layer in layers]
    known = [size for size in sizes if size is not None]
    return sum(known) if len(known) == len(sizes) else None


def _state_bytes(layer: LinearAttention | HybridAttention, element: int) -> int:
    """Of one sequence: a convolution over k inputs keeps k - 1; recurrent matrices of heads are float32, Mamba's own
    (channels x state) have the model's precision (mlx_lm/models/ssm.py casts, mamba.py and jamba.py do not), as have
    those that stand beside the last inputs of their blocks (rwkv7.py); token ids have 64 bits."""
    if not UNVERIFIED_STATE_KEYS.isdisjoint({*layer.keys} - RG_LRU_KEYS):
        raise UnsupportedLayer(f"no cache rule for {name_of(layer)}")
    shifted = any(len(state.shape) == 1 and state.dtype == "compute" for state in layer.states)
    total = 0
    for state in layer.states:
        if state.dtype == "I64":
            total += 8 * math.prod(state.shape)
        elif state.spare or len(state.shape) == 1:  # the last inputs alone
            total += element * math.prod(state.shape)
        else:
            matrix = state.dtype != "compute" and len(state.shape) > 2 and not shifted
            total += kept_values(state) * (4 if matrix else element)
    return total


RG_LRU_KEYS = frozenset({"conv1d_width", "lru_width"})
"""Of Griffin's recurrence, which runs here (tests/oracles/mlx_types.py)."""
