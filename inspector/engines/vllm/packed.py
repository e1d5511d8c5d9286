"""DeepSeek-V4's caches in vLLM: a window's rows and compressed ones in packed FP8, and the compressors' states.

vllm/models/deepseek_v4/attention.py and compressor.py, read with 0.33; other rates than 4 and 128 vLLM does not have.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from inspector.engines.common.cache_specs import CacheSettings, Spec, specs_of
from inspector.engines.common.layer_rules import UnsupportedLayer, name_of
from inspector.engines.common.loaded_weights import ceil_div, round_up
from inspector.engines.vllm.cache import PackedFull, PackedSliding
from inspector.model.layers.compressed_sparse import CompressedAttention
from inspector.model.layers.layer import Layer
from inspector.model.layers.sliding import SlidingAttention

BLOCK, WINDOW_BLOCK = 256, 64
"""Tokens of a block of compressed rows, and of one of a window's."""
STATE_BLOCKS = {4: 4, 128: 8}
"""Rate -> tokens of a block of its compressor's states."""
ALIGNMENT = 576
"""Bytes that a page is a multiple of."""


@dataclass(frozen=True, slots=True)
class PackedLatents(Layer):
    """A window's rows of `head_dim` values, the last `rope` of them rotated, and where there is a `rate` a row for
    every so many tokens, with an indexer's key of `index_head_dim` (0 for none)."""

    head_dim: int
    rope: int
    sliding_window: int
    rate: int = 0
    index_head_dim: int = 0

    kind: ClassVar[str] = "compressed_sparse_attention"


def packed_layers(layers: Sequence[Layer], rope: int | None) -> tuple[Layer, ...]:
    """The layers of a model with compressed attention, as vLLM keeps them."""
    found: list[Layer] = []
    for layer in layers:
        if rope and isinstance(layer, CompressedAttention):
            index = layer.index_head_dim
            found.append(PackedLatents(layer.head_dim, rope, layer.sliding_window, layer.compress_rate, index))
        elif rope and isinstance(layer, SlidingAttention):
            found.append(PackedLatents(layer.head_dim, rope, layer.sliding_window))
        else:
            found.append(layer)
    return tuple(found)


def row_bytes(head_dim: int, rope: int) -> int:
    """A byte a value, 16 bits for the rotated ones, and a byte of scale for each 64, to a multiple of 8.

    >>> row_bytes(512, 64)
    584
    """
    plain = head_dim - rope
    return plain + 2 * rope + round_up(ceil_div(plain, 64), 8)


@specs_of.of(PackedLatents)
def _(layer: PackedLatents, settings: CacheSettings) -> tuple[Spec, ...]:
    """Worked example: 512 values at rate 4 with keys of 128: pages of 37,440, 8,640, 37,440, 8,640 and 32,832 bytes."""
    del settings
    row = row_bytes(layer.head_dim, layer.rope)
    window = PackedSliding(WINDOW_BLOCK, round_up(WINDOW_BLOCK * row, ALIGNMENT), layer.sliding_window)
    if not layer.rate:
        return (window,)
    block = STATE_BLOCKS.get(layer.rate)
    if block is None:
        raise UnsupportedLayer(f"no cache rule for {name_of(layer)} of rate {layer.rate}")
    overlap = 2 if layer.index_head_dim else 1
    widths = [row, layer.index_head_dim + 4] if layer.index_head_dim else [row]
    states = [layer.head_dim, layer.index_head_dim] if layer.index_head_dim else [layer.head_dim]
    return (
        window,
        *(PackedFull(BLOCK, round_up(BLOCK // layer.rate * width, ALIGNMENT)) for width in widths),
        # what will be compressed and its gate, float32, of the tokens that the next row is made of
        *(
            PackedSliding(block, round_up(block * 2 * overlap * width * 4, ALIGNMENT), overlap * layer.rate)
            for width in states
        ),
    )
