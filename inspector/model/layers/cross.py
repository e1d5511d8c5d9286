"""Cross attention: the layers of an encoder-decoder's decoder, which also keep the encoder's rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from inspector.model.layers.full import Attention, is_window, row_of
from inspector.model.layers.layer import Cache, CacheRequest, LayerSource, window_rows


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
    prefill_measured: ClassVar[bool] = False
    bound: ClassVar[str] = "; the encoder's tokens included"

    @classmethod
    def read(cls, name: str, source: LayerSource) -> CrossAttention | None:
        """Fact of a type: `encoder_tokens`, the key of its encoder's length, which every input is padded to."""
        values, row = source.values, row_of(name, source)
        window = values.get("sliding_window") if name == "sliding_attention" else None
        if row is None or name == "chunked_attention" or (name == "sliding_attention" and not is_window(window)):
            return None
        heads, width, _ = row
        tokens = values.get(source.facts.get("encoder_tokens", ""))
        other = values.get("cross_num_key_value_heads"), values.get("cross_head_dim")
        encoder_row = None
        if isinstance(other[0], int) and isinstance(other[1], int) and other != (heads, width):
            encoder_row = 2 * other[0] * other[1]
        return cls(heads, width, width, tokens, window, encoder_row)

    @property
    def window(self) -> int | None:
        return self.sliding_window

    @property
    def config_keys(self) -> tuple[str, ...]:
        keys: tuple[str, ...] = ("num_attention_heads", "num_key_value_heads", "head_dim")
        if self.encoder_tokens is not None:
            keys += ("max_source_positions",)
        if self.sliding_window is not None:
            keys += ("sliding_window",)
        if self.encoder_row is not None:
            keys += ("cross_num_key_value_heads", "cross_head_dim")
        return (*keys, "v_head_dim") if self.head_dim != self.v_head_dim else keys

    def _encoder_rows(self, request: CacheRequest) -> int:
        """As many as the encoder's fixed length, else the input's, else as many again as the context."""
        fixed = self.encoder_tokens if self.encoder_tokens is not None else request.encoder_tokens
        return request.context if fixed is None else fixed

    def tokens_held(self, request: CacheRequest) -> int:
        own = request.context if self.sliding_window is None else window_rows(self.sliding_window, request)
        return own + self._encoder_rows(request)

    def values_held(self, request: CacheRequest) -> int:
        width = self.values_per_token
        other = 0 if self.encoder_row is None else self._encoder_rows(request) * (self.encoder_row - width)
        return self.tokens_held(request) * width + other

    def counters(self, cache: Cache) -> int:
        return 2 if cache == "static" else int(self.sliding_window is not None)
