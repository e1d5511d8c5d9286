"""The kinds of layer, each with the facts its cache is sized from. What they take in bytes is memory/'s business."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


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
    """Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434): one compressed row a token, shared by all heads."""

    kv_lora_rank: int
    qk_rope_head_dim: int

    kind: ClassVar[str] = "latent_attention"


@dataclass(frozen=True, slots=True)
class StateTensor:
    """A fixed-size state of one sequence; `dtype` is a safetensors dtype or "compute" for the run's own."""

    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True, slots=True)
class LinearAttention:
    """Linear attention, Mamba, gated delta nets, short convolutions: states whose size no context changes."""

    states: tuple[StateTensor, ...]

    kind: ClassVar[str] = "linear_attention"


@dataclass(frozen=True, slots=True)
class CrossAttention(Attention):
    """A decoder layer of an encoder-decoder: besides its own rows it keeps the encoder's, projected once.

    Its two caches have the same heads. `encoder_tokens` is the encoder's fixed length (Whisper's 1500), or None where
    it is as long as the input.
    """

    encoder_tokens: int | None

    kind: ClassVar[str] = "cross_attention"


@dataclass(frozen=True, slots=True)
class IndexedAttention:
    """Sparse attention that picks its tokens by an indexer (DeepSeek-V3.2): rows as `attention`, and an indexer key of
    `index_head_dim` a token."""

    attention: Attention | LatentAttention
    index_head_dim: int

    kind: ClassVar[str] = "indexed_attention"


@dataclass(frozen=True, slots=True)
class HybridAttention:
    """A layer that keeps both: rows as `attention`, and fixed `states` (Falcon-H1, Zamba2)."""

    attention: Attention | LatentAttention
    states: tuple[StateTensor, ...]

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


Layer = Attention | LatentAttention | IndexedAttention | HybridAttention | LinearAttention | NoCache | UnknownLayer
