"""The kinds of layer that few model types have. Apart, so that a common model's start does not pay for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from inspector.model.layers.kinds import Attention


@dataclass(frozen=True, slots=True)
class ReferenceSlidingAttention(Attention):
    """The prompt's tokens stay; only those of the answer fall out of the window of `sliding_window` (Unlimited-OCR)."""

    sliding_window: int

    kind: ClassVar[str] = "reference_sliding_attention"


@dataclass(frozen=True, slots=True)
class PrefixedAttention(Attention):
    """Full attention over the text and `prefix_tokens` learned tokens before it (CPM-Ant)."""

    prefix_tokens: int

    kind: ClassVar[str] = "prefixed_attention"


@dataclass(frozen=True, slots=True)
class CompressedAttention:
    """Compressed attention (DeepSeek-V4): the last `sliding_window` tokens' rows, which are key and value at once, and
    one entry for every `compress_rate` tokens of the whole text.

    Heavily compressed attention has no indexer (`index_head_dim` 0). Compressed sparse attention picks entries by an
    indexer with entries of its own; its entries overlap, so that a token gives two values where an entry has one.
    """

    head_dim: int
    sliding_window: int
    compress_rate: int
    index_head_dim: int

    @property
    def kind(self) -> str:
        return "compressed_sparse_attention" if self.index_head_dim else "heavily_compressed_attention"

    @property
    def entry_width(self) -> int:
        """Values of one compressed entry, the indexer's included."""
        return self.head_dim + self.index_head_dim

    @property
    def waiting_width(self) -> int:
        """Values of one token that no entry covers yet: what will be compressed, and its gate."""
        return (4 if self.index_head_dim else 2) * self.entry_width

    @property
    def overlap_width(self) -> int:
        """Values that the last finished entry's tokens keep for the next one, gates included."""
        return 2 * self.compress_rate * self.entry_width if self.index_head_dim else 0


@dataclass(frozen=True, slots=True)
class HiddenStates:
    """A layer that keeps its input instead of keys and values: `hidden_size` values of each of the last `mem_len`
    tokens, or of all (XLNet). Reformer pads a prompt to whole chunks of `chunk_length`, and its hashing layers add
    `buckets` whole numbers of 8 bytes a token once there is a whole chunk."""

    hidden_size: int
    mem_len: int | None = None
    buckets: int = 0
    chunk_length: int = 1

    kind: ClassVar[str] = "hidden_states"


@dataclass(frozen=True, slots=True)
class ImageCrossAttention:
    """A layer that keeps the keys and values of an image's tokens and nothing of the text (Llama 3.2 Vision).

    `image_tokens` is what one image of the largest size gives.
    """

    num_key_value_heads: int
    head_dim: int
    v_head_dim: int
    image_tokens: int

    kind: ClassVar[str] = "image_cross_attention"
