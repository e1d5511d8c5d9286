"""Cross attention to an image: layers that keep its tokens' keys and values, and nothing of the text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from inspector.model.layers.full import cached_heads, head_dim_of
from inspector.model.layers.layer import Cache, CacheRequest, Layer, LayerSource, whole

VISION_DEFAULTS = {"image_size": 448, "patch_size": 14, "max_num_tiles": 4}
"""Of transformers' MllamaVisionConfig."""


@dataclass(frozen=True, slots=True)
class ImageCrossAttention(Layer):
    """A layer that keeps the keys and values of an image's tokens and nothing of the text (Llama 3.2 Vision).

    `image_tokens` is what one image of the largest size gives.
    """

    num_key_value_heads: int
    head_dim: int
    v_head_dim: int
    image_tokens: int

    kind: ClassVar[str] = "image_cross_attention"
    prefill_measured: ClassVar[bool] = True

    @classmethod
    def read(cls, name: str, source: LayerSource) -> ImageCrossAttention | None:
        heads, width = cached_heads(source.values, source.facts), head_dim_of(source.values)
        if heads is None or width is None or source.image_tokens is None:
            return None
        return cls(heads, width, width, source.image_tokens)

    @property
    def values_per_token(self) -> int:
        return 0

    @property
    def config_keys(self) -> tuple[str, ...]:
        return ("num_attention_heads", "num_key_value_heads", "head_dim")

    def values_held(self, request: CacheRequest) -> int | None:
        tokens = self.image_tokens
        if request.cache == "static":  # as long as the text's layers, and too short for a larger image
            if tokens > request.context:
                return None
            tokens = request.context
        return tokens * self.num_key_value_heads * (self.head_dim + self.v_head_dim)

    def counters(self, cache: Cache) -> int:
        return int(cache == "static")

    def sequence_text(self, request: CacheRequest) -> str:
        width = f"key {self.head_dim} + value {self.v_head_dim}"
        return f"{self.image_tokens:,} tokens of one image x {self.num_key_value_heads} KV heads x ({width})"


def image_tokens_of(layers: object, config: Mapping[str, Any]) -> int | None:
    """Tokens that one image gives the cross-attention layers: every tile's patches and its class token, for as many
    tiles as the image processor pads to (MllamaVisionModel; Llama 3.2: 4 x 1,601). None without a vision part.

    Args:
        layers: the indices of those layers, as the config has them.
        config: config.json as parsed.
    """
    vision = config.get("vision_config")
    if not isinstance(vision, Mapping) or not isinstance(layers, list):
        return None
    sizes = [whole({**VISION_DEFAULTS, **vision}, key) for key in VISION_DEFAULTS]
    known = [size for size in sizes if size]
    if len(known) < len(sizes):
        return None
    image, patch, tiles = known
    return tiles * ((image // patch) ** 2 + 1)


def image_note(image_tokens: int | None) -> str:
    """What the layers' caches leave out, or hold beside the text."""
    if image_tokens is None:
        return "the cross-attention layers also cache an image's tokens, which are not counted"
    return f"the cache holds one image per sequence, {image_tokens:,} tokens of the largest size, in its own layers"
