"""From a language part's values to one frozen spec a layer: which cache transformers' DynamicCache gives it, and how
wide the rows are that its model puts there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeGuard

from inspector.model.config.text import TextConfig
from inspector.model.layers.kinds import (
    Attention,
    ChunkedAttention,
    CrossAttention,
    FullAttention,
    HybridAttention,
    IndexedAttention,
    LatentAttention,
    Layer,
    LinearAttention,
    NoCache,
    SlidingAttention,
    UnknownLayer,
)

Values = Mapping[str, Any]

LATENT_TYPES = frozenset(
    {
        "axk1",
        "axk2",
        "bailing_hybrid",
        "deepseek_v2",
        "deepseek_v3",
        "deepseek_v32",
        "dots3_note_text",
        "glm4_moe_lite",
        "glm5_next_text",
        "glm_moe_dsa",
        "hy_v4",
        "kimi_linear",
        "longcat_flash",
        "minicpm3",
        "mistral4",
        "mistral_large4_text",
        "youtu",
    }
)
"""Language parts whose model caches the compressed latent, not the heads made from it (grep `kv_lora_rank` in
transformers' modeling files; tests/oracles/caches.py measures them)."""

LATENT_WITHOUT_ROPE_TYPES = frozenset({"mistral_large4_text"})
"""Types whose `no_rope_layers` cache a latent without a rotary key."""

FLOAT32_INDEXER_TYPES = frozenset({"dots3_note_text"})
"""Types whose indexer's keys are rotated in float32 and stay so."""

FIXED_ENCODER_TOKENS = frozenset({"whisper"})
"""Types whose encoder always has `max_source_positions` tokens (Whisper pads every input to 30 seconds)."""


SINGLE_LAYER_TYPES = frozenset({"qwen4_exp_text"})
"""Types with layers that hold more than others of their kind (inspector/model/layers/rare_from_config.py)."""

IMAGE_CROSS_ATTENTION_TYPES = frozenset({"mllama_text_model"})
"""Types whose `cross_attention_layers` keep the image's rows and nothing of the text."""

NO_CACHE_TYPES = frozenset({"gemma4_assistant", "openai-gpt", "xlm"})
"""Decoders whose model keeps no cache: every step runs the whole text again, or reads the cache of the model that it
drafts for."""

OWN_CACHE_TYPES = frozenset({"cpmant", "reformer", "rwkv", "xlnet", "xlstm"})
"""Types with a cache of their own making (inspector/model/layers/rare_from_config.py)."""


def layers_of(text: TextConfig, *, decoder: bool, image_tokens: int | None = None) -> tuple[Layer, ...]:
    """One spec a layer, as `transformers.cache_utils.get_layer_types_and_kwargs` names the kinds.

    Args:
        text: the language part.
        decoder: it keeps a cache at all.
        image_tokens: of one image of the largest size, for layers that attend to images; None where not known.
    """
    count = text.get("num_decoder_layers") or text.get("num_hidden_layers")
    if not isinstance(count, int) or isinstance(count, bool):
        return ()
    if not decoder or text.text_type in NO_CACHE_TYPES or text.model_type in NO_CACHE_TYPES:
        return (NoCache(),) * count
    if text.text_type in OWN_CACHE_TYPES:
        from inspector.model.layers.rare_from_config import own_layers

        return own_layers(text, count)
    kinds = layer_types(text, count)
    positions = text.get("no_rope_layers")
    if text.text_type in LATENT_WITHOUT_ROPE_TYPES and isinstance(positions, list) and len(positions) >= count:
        without = {**text.values, "qk_rope_head_dim": 0}
        return tuple(
            _layer(kind, text.values if rope else without, text) for kind, rope in zip(kinds, positions, strict=False)
        )
    if not text.per_layer:  # equal kinds are equal layers: build each once
        specs = {kind: _layer(kind, text.values, text) for kind in dict.fromkeys(kinds)}
        layers = tuple(specs[kind] for kind in kinds)
    else:
        layers = tuple(_layer(kind, text.of_layer(index), text) for index, kind in enumerate(kinds))
    if text.text_type in SINGLE_LAYER_TYPES or image_tokens is not None:
        from inspector.model.layers.rare_from_config import with_single_layers

        return with_single_layers(layers, text, image_tokens)
    return layers


def layer_types(text: TextConfig, count: int) -> list[str]:
    """transformers' name of each layer's cache: `layer_types` where given, else by window and chunk size."""
    kinds = text.get("layer_types")
    if not isinstance(kinds, list) or len(kinds) != count:
        kinds = [_inferred_type(text.of_layer(index)) for index in range(count)]
    sharing = text.get("kv_sharing_modes")
    if isinstance(sharing, list) and len(sharing) == count:
        kinds = ["dummy" if mode == "reuse" else kind for kind, mode in zip(kinds, sharing, strict=True)]
    indexers = text.get("indexer_types")
    if isinstance(indexers, list) and len(indexers) == count:  # some layers pick by an earlier layer's indexer
        kinds = [
            "full_attention" if kind == "indexed_attention" and indexer == "shared" else kind
            for kind, indexer in zip(kinds, indexers, strict=True)
        ]
    images = text.get("cross_attention_layers")
    if text.text_type in IMAGE_CROSS_ATTENTION_TYPES and isinstance(images, list):
        kinds = ["dummy" if index in images else kind for index, kind in enumerate(kinds)]
    return [str(kind) for kind in kinds]


def notes_of(text: TextConfig, image_tokens: int | None) -> tuple[str, ...]:
    """What the layers' specs leave out, or hold beside the text."""
    if text.text_type not in IMAGE_CROSS_ATTENTION_TYPES or not text.get("cross_attention_layers"):
        return ()
    if image_tokens is None:
        return ("the cross-attention layers also cache an image's tokens, which are not counted",)
    return (f"the cache holds one image a sequence, {image_tokens:,} tokens of the largest size, in its own layers",)


def _inferred_type(values: Values) -> str:
    if values.get("sliding_window") is not None:
        return "sliding_attention"
    if values.get("attention_chunk_size") is not None:
        return "chunked_attention"
    return "full_attention"


def _layer(kind: str, values: Values, text: TextConfig) -> Layer:
    if kind in ("full_attention", "sliding_attention", "chunked_attention"):
        return _rows(kind, values, text) or UnknownLayer(kind)
    if kind in ("dummy", "moe", "mlp"):
        return NoCache()
    if kind in ("linear_attention", "conv", "hybrid", "hybrid_sliding"):
        from inspector.model.layers.states import states_of

        if kind == "hybrid_sliding" and isinstance(values.get("swa_head_dim"), int):  # Inkling: heads of their own
            own = {"head_dim": values["swa_head_dim"], "num_key_value_heads": values.get("swa_num_key_value_heads")}
            values = {**values, **own}
        found = states_of(values, text.text_type)
        if found is None:
            return UnknownLayer(kind)
        if kind in ("linear_attention", "conv"):
            return LinearAttention(*found)
        rows = _rows("sliding_attention" if kind == "hybrid_sliding" else "full_attention", values, text)
        return UnknownLayer(kind) if rows is None else HybridAttention(rows, *found)
    if kind in ("indexed_attention", "minimax_m3_sparse"):
        rows = _rows(kind, values, text)
        width = values.get("index_head_dim") or values.get("indexer_head_dim")
        if rows is None or not isinstance(width, int):
            return UnknownLayer(kind)
        if text.text_type == "glm5_next_text":  # a key, its gate and a mask in one row
            width = 2 * width + 1
        return IndexedAttention(rows, width, "F32" if text.text_type in FLOAT32_INDEXER_TYPES else "compute")
    from inspector.model.layers.rare_from_config import rare_layer

    heads, width = cached_heads(values, text.text_type), head_dim_of(values)
    return rare_layer(kind, values, heads, width) or UnknownLayer(kind)


def _rows(kind: str, values: Values, text: TextConfig) -> Attention | LatentAttention | None:
    """Keys and values of a token, or its latent; None where their width is not known."""
    if text.text_type in LATENT_TYPES and isinstance(values.get("kv_lora_rank"), int):
        window = values.get("sliding_window") if kind == "sliding_attention" else None
        if kind == "sliding_attention" and not _is_window(window):
            return None
        rank, rope = values["kv_lora_rank"], values.get("qk_rope_head_dim")
        nope, value = (values.get(key) for key in ("qk_nope_head_dim", "v_head_dim"))
        hidden, count = values.get("hidden_size"), values.get("num_attention_heads")
        if value is None and text.text_type == "minicpm3" and isinstance(hidden, int) and isinstance(count, int):
            value = hidden // max(1, count)  # MiniCPM3Config.__post_init__
        query = values.get("q_lora_rank")
        nope, value, query = (size if isinstance(size, int) else None for size in (nope, value, query))
        return LatentAttention(rank, rope, window, nope, value, query) if isinstance(rope, int) else None
    heads = cached_heads(values, text.text_type)
    width = head_dim_of(values)
    if heads is None or width is None:
        return None
    v_width = width
    if text.text_type == "mimo_v2_flash":  # narrower values, and twice the heads where the window bounds them
        v_width = values.get("v_head_dim") or width
        heads *= 2 if kind == "sliding_attention" else 1
    if values.get("is_encoder_decoder"):
        return _cross_rows(kind, values, text, heads, width)
    if kind == "sliding_attention":
        window = values.get("sliding_window")
        return SlidingAttention(heads, width, v_width, window) if _is_window(window) else None
    if kind == "chunked_attention":
        chunk = values.get("attention_chunk_size")
        return ChunkedAttention(heads, width, v_width, chunk) if _is_window(chunk) else None
    return FullAttention(heads, width, v_width)


def _cross_rows(kind: str, values: Values, text: TextConfig, heads: int, width: int) -> CrossAttention | None:
    """A decoder layer's own rows and the encoder's."""
    tokens = values.get("max_source_positions") if text.text_type in FIXED_ENCODER_TOKENS else None
    window = values.get("sliding_window") if kind == "sliding_attention" else None
    if kind == "chunked_attention" or (kind == "sliding_attention" and not _is_window(window)):
        return None
    cross_heads, cross_width = values.get("cross_num_key_value_heads"), values.get("cross_head_dim")
    row = None
    if isinstance(cross_heads, int) and isinstance(cross_width, int) and (cross_heads, cross_width) != (heads, width):
        row = 2 * cross_heads * cross_width
    return CrossAttention(heads, width, width, tokens, window, row)


def _is_window(window: Any) -> TypeGuard[int]:
    """0 tokens is no window: whoever writes that means something else."""
    return isinstance(window, int) and window != 0


def cached_heads(values: Values, text_type: str | None) -> int | None:
    """Key/value heads that the cache really holds: one under the multi-query flag of Falcon and GPT-BigCode, all of
    them in Falcon's new architecture, whose grouped heads transformers repeats before it caches them."""
    if text_type == "falcon" and values.get("new_decoder_architecture"):
        heads = values.get("num_attention_heads")
    elif values.get("multi_query") and text_type in ("falcon", "gpt_bigcode"):
        heads = 1
    else:
        heads = values.get("num_key_value_heads") or values.get("num_kv_heads") or values.get("num_attention_heads")
    return heads if isinstance(heads, int) else None


def head_dim_of(values: Values) -> int | None:
    """The head dimension the config names, else hidden size over attention heads."""
    for key in ("head_dim", "d_kv"):
        if isinstance(values.get(key), int):
            return int(values[key])
    hidden, heads = values.get("hidden_size"), values.get("num_attention_heads")
    if isinstance(hidden, int) and isinstance(heads, int) and heads > 0:
        return hidden // heads
    return None
