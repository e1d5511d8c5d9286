"""The kinds of layer, each with the facts its cache is sized from. What they take in bytes is memory/'s business."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, TypeAlias

if TYPE_CHECKING:
    from inspector.model.layers.rare import CompressedAttention, HiddenStates, ImageCrossAttention


@dataclass(frozen=True, slots=True)
class Attention:
    """Root of the kinds that cache a key and a value row a token.

    `num_key_value_heads` is the number of heads that are really cached: 1 for multi-query attention,
    `num_attention_heads` for plain multi-head attention.
    """

    num_key_value_heads: int
    head_dim: int
    v_head_dim: int

    kind: ClassVar[str] = "full_attention"


@dataclass(frozen=True, slots=True)
class FullAttention(Attention):
    """Every token sees, and the cache keeps, all earlier ones."""

    kind: ClassVar[str] = "full_attention"


@dataclass(frozen=True, slots=True)
class SlidingAttention(Attention):
    """Every token sees the last `sliding_window` tokens, itself included."""

    sliding_window: int

    kind: ClassVar[str] = "sliding_attention"


@dataclass(frozen=True, slots=True)
class ChunkedAttention(Attention):
    """A token sees the tokens of its own chunk (Llama 4)."""

    attention_chunk_size: int

    kind: ClassVar[str] = "chunked_attention"


@dataclass(frozen=True, slots=True)
class LatentAttention:
    """Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434): one compressed row a token, shared by all heads.

    `sliding_window` bounds the rows of some layers (dots.note). The last three are the widths that a head's key (its
    part without positions) and value are made at from the row, and of the latent that queries are made from: no cache
    holds them, servers' weights do.
    """

    kv_lora_rank: int
    qk_rope_head_dim: int
    sliding_window: int | None = None
    qk_nope_head_dim: int | None = field(default=None, compare=False)
    v_head_dim: int | None = field(default=None, compare=False)
    q_lora_rank: int | None = field(default=None, compare=False)

    kind: ClassVar[str] = "latent_attention"


@dataclass(frozen=True, slots=True)
class StateTensor:
    """A fixed-size state of one sequence; `dtype` is a safetensors dtype or "compute" for the run's own.

    `spare` values beside it stay allocated after a decode step, where the state is a view of more.
    """

    shape: tuple[int, ...]
    dtype: str
    spare: int = 0


@dataclass(frozen=True, slots=True)
class LinearAttention:
    """Linear attention, Mamba, gated delta nets, short convolutions: states whose size no context changes.

    `keys` are the config keys that the states' sizes come from.
    """

    states: tuple[StateTensor, ...]
    keys: tuple[str, ...] = field(default=(), compare=False)

    kind: ClassVar[str] = "linear_attention"


@dataclass(frozen=True, slots=True)
class CrossAttention(Attention):
    """A decoder layer of an encoder-decoder: besides its own rows it keeps the encoder's, projected once.

    `encoder_tokens` is the encoder's fixed length (Whisper's 1500), or None where it is as long as the input.
    `sliding_window` bounds its own rows (T5Gemma). `encoder_row` is the width of an encoder's row, keys and values, or
    None where its two caches have the same heads.
    """

    encoder_tokens: int | None
    sliding_window: int | None = None
    encoder_row: int | None = None

    kind: ClassVar[str] = "cross_attention"


@dataclass(frozen=True, slots=True)
class IndexedAttention:
    """Sparse attention that picks its tokens by an indexer (DeepSeek-V3.2): rows as `attention`, and an indexer key of
    `index_head_dim` a token.

    The indexer's keys have the run's own precision ("compute") or a safetensors dtype, `index_dtype`.
    `position_bytes` are kept of each token's position (Qwen4-Exp).
    """

    attention: Attention | LatentAttention
    index_head_dim: int
    index_dtype: str = "compute"
    position_bytes: int = 0

    kind: ClassVar[str] = "indexed_attention"


@dataclass(frozen=True, slots=True)
class HybridAttention:
    """A layer that keeps both: rows as `attention`, and fixed `states` (Falcon-H1, Zamba2); `keys` as there."""

    attention: Attention | LatentAttention
    states: tuple[StateTensor, ...]
    keys: tuple[str, ...] = field(default=(), compare=False)

    kind: ClassVar[str] = "hybrid"


@dataclass(frozen=True, slots=True)
class NoCache:
    """A layer that keeps nothing between steps: an encoder's, a pure MLP's, or one that reuses another's cache."""

    kind: ClassVar[str] = "no_cache"


@dataclass(frozen=True, slots=True)
class UnknownLayer:
    """A layer kind that this version cannot size. Its cache is unknown, never zero."""

    name: str

    kind: ClassVar[str] = "unknown"


Layer: TypeAlias = (
    "Attention | LatentAttention | IndexedAttention | CompressedAttention | HybridAttention | LinearAttention "
    "| HiddenStates | ImageCrossAttention | NoCache | UnknownLayer"
)


def rows_of(layer: Layer) -> Attention | LatentAttention | None:
    """The part of a layer that caches a row a token; None where it has none."""
    if isinstance(layer, IndexedAttention | HybridAttention):
        return layer.attention
    return layer if isinstance(layer, Attention | LatentAttention) else None


_ROWS = ("num_attention_heads", "num_key_value_heads", "head_dim")

_KEYS = {
    "sliding_attention": (*_ROWS, "sliding_window"),
    "reference_sliding_attention": (*_ROWS, "sliding_window"),
    "prefixed_attention": (*_ROWS, "prompt_length"),
    "chunked_attention": (*_ROWS, "attention_chunk_size"),
    "latent_attention": ("kv_lora_rank", "qk_rope_head_dim"),
    "compressed_sparse_attention": ("head_dim", "sliding_window", "compress_rates", "index_head_dim"),
    "heavily_compressed_attention": ("head_dim", "sliding_window", "compress_rates"),
    "hidden_states": ("hidden_size", "mem_len"),
    "no_cache": (),
    "unknown": (),
}


def config_keys(layer: Layer) -> tuple[str, ...]:
    """The standard config keys that a layer's cache is sized from, `layer_types` and the like apart.

    A type's config may have them under names of its own (`n_head`), or leave them to its class.
    """
    if isinstance(layer, IndexedAttention):
        return (*config_keys(layer.attention), "index_head_dim")
    if isinstance(layer, HybridAttention):
        return tuple(dict.fromkeys((*config_keys(layer.attention), *layer.keys)))
    if isinstance(layer, LinearAttention):
        return layer.keys
    keys = _KEYS.get(layer.kind, _ROWS)
    if isinstance(layer, CrossAttention) and layer.encoder_tokens is not None:
        keys += ("max_source_positions",)
    if isinstance(layer, CrossAttention | LatentAttention) and layer.sliding_window is not None:
        keys += ("sliding_window",)
    if isinstance(layer, CrossAttention) and layer.encoder_row is not None:
        keys += ("cross_num_key_value_heads", "cross_head_dim")
    if isinstance(layer, Attention) and layer.head_dim != layer.v_head_dim:
        keys += ("v_head_dim",)
    return keys
