"""Reads a config whose model type nobody knows, by the key names that most models share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inspector.model.config import KEYS, TextConfig

LANGUAGE_PARTS = (
    "text_config",
    "llm_config",
    "language_config",
    "language_model_config",
    "thinker_config",
    "text_model_config",
    "decoder",
    "llm",
)
"""Where composite configs keep their language part."""

OTHER_NAMES: dict[str, tuple[str, ...]] = {
    "num_hidden_layers": ("n_layer", "n_layers", "num_layers", "num_transformer_layers", "decoder_layers"),
    "hidden_size": ("n_embd", "n_embed", "d_model", "model_dim", "dim"),
    "num_attention_heads": ("n_head", "n_heads", "num_heads", "num_query_heads", "decoder_attention_heads"),
    "num_key_value_heads": ("num_kv_heads", "n_kv_heads", "n_head_kv", "multi_query_group_num"),
    "head_dim": ("attention_head_dim", "head_size", "kv_channels", "d_head"),
    "intermediate_size": ("ffn_dim", "ffn_hidden_size", "n_inner", "d_ff", "inner_dim", "decoder_ffn_dim"),
    "vocab_size": ("padded_vocab_size", "n_vocab"),
    "max_position_embeddings": ("n_positions", "n_ctx", "max_seq_len", "max_sequence_length", "seq_length"),
    "num_experts": ("n_experts", "num_routed_experts"),
}
"""Names of the standard keys in the wild: remote-code repos and older conversions."""

NOTE = "read by common key names: facts and memory may be wrong"


def read_common(config: Mapping[str, Any], model_type: str | None, reason: str) -> TextConfig:
    """The language part of a config, as far as its key names tell.

    Args:
        config: the dict that holds the language part.
        model_type: what the whole config calls itself.
        reason: why no better reader could be used, for the note.
    """
    values = {key: _first(config, key) for key in KEYS}
    if values["num_key_value_heads"] is None and not config.get("multi_query"):
        values["num_key_value_heads"] = values["num_attention_heads"]
    if config.get("use_sliding_window") is False:
        values["sliding_window"] = None
    values["is_encoder_decoder"] = bool(values["is_encoder_decoder"])
    return TextConfig(model_type, None, values, role="decoder", exact=False, notes=(f"{reason}; {NOTE}",))


def language_part(config: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The sub-config that holds the language model, however it is called; None for a flat config."""
    for key in LANGUAGE_PARTS:
        part = config.get(key)
        if isinstance(part, Mapping) and part:
            return language_part(part) or part
    return None


def _first(config: Mapping[str, Any], key: str) -> Any:
    for name in (key, *OTHER_NAMES.get(key, ())):
        if config.get(name) is not None:
            return config[name]
    return None
