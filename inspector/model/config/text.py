"""What is read of config.json: its language part's values, under transformers' standard key names.

Three readers give a `TextConfig`: `config_light` (a table generated from transformers' classes), `config_class` (the
class itself, for types whose class holds logic of its own) and `config_common` (common key names, for types that
neither knows). `config_read` picks one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

KEYS: tuple[str, ...] = (
    # sizes
    "n_embed",
    "num_hidden_layers",
    "num_decoder_layers",
    "hidden_size",
    "num_attention_heads",
    "num_key_value_heads",
    "num_kv_heads",
    "multi_query",
    "new_decoder_architecture",
    "head_dim",
    "d_kv",
    "intermediate_size",
    "ffn_dim",
    "ffn_hidden_size",
    "n_inner",
    "d_ff",
    "inner_dim",
    "vocab_size",
    "max_position_embeddings",
    "max_target_positions",
    "max_source_positions",
    "n_positions",
    "max_seq_len",
    "tie_word_embeddings",
    "is_decoder",
    "is_encoder_decoder",
    "add_cross_attention",
    # activation
    "feed_forward_proj",
    "hidden_act",
    "hidden_activation",
    "activation_function",
    "dense_act_fn",
    "activation",
    "is_gated_act",
    "final_logit_softcapping",
    "logits_soft_cap",
    "output_logit_soft_cap",
    # attention by layer
    "sliding_window",
    "use_sliding_window",
    "attention_chunk_size",
    # what layer_types and windows are derived from
    "max_window_layers",
    "sliding_window_size",
    "sliding_window_pattern",
    "global_attn_every_n_layers",
    "full_attention_interval",
    "no_rope_layers",
    "no_rope_layer_interval",
    "full_attn_idxs",
    "num_kv_shared_layers",
    "attn_layer_period",
    "attn_layer_offset",
    "global_head_dim",
    "num_global_key_value_heads",
    "attention_k_eq_v",
    "use_bidirectional_attention",
    "layer_types",
    "kv_sharing_modes",
    # latent and indexed attention
    "kv_lora_rank",
    "q_lora_rank",
    "qk_rope_head_dim",
    "qk_nope_head_dim",
    "v_head_dim",
    "index_head_dim",
    "indexer_types",
    "cross_attention_layers",
    # linear attention
    "linear_num_key_heads",
    "linear_num_value_heads",
    "linear_key_head_dim",
    "linear_value_head_dim",
    "linear_conv_kernel_dim",
    "linear_num_heads",
    "linear_head_dim",
    # other states
    "expand",
    "mamba_expand",
    "state_size",
    "ssm_state_size",
    "mamba_d_state",
    "conv_kernel",
    "mamba_d_conv",
    "n_groups",
    "mamba_n_groups",
    "mamba_ngroups",
    "num_heads",
    "mamba_num_heads",
    "mamba_n_heads",
    "mamba_head_dim",
    "mamba_d_head",
    "mamba_headdim",
    "mamba_d_ssm",
    "n_mamba_heads",
    "conv_L_cache",
    "short_conv_kernel_size",
    "layers_block_type",
    # states and caches of single types
    "lru_width",
    "conv1d_width",
    "attention_hidden_size",
    "qk_dim_factor",
    "v_dim_factor",
    "cca_time0",
    "cca_time1",
    "conv_kernel_size",
    "conv_window",
    "swa_num_key_value_heads",
    "swa_head_dim",
    "compress_rates",
    "indexer_head_dim",
    "ple_layer_ids",
    "ple_conv_kernel_size",
    "ngram_size",
    "hc_count",
    "prompt_length",
    "dim_head",
    "mem_len",
    "num_hashes",
    "attn_layers",
    "lsh_attn_chunk_length",
    "local_attn_chunk_length",
    "cross_num_key_value_heads",
    "cross_head_dim",
    # experts
    "num_local_experts",
    "num_experts",
    "n_routed_experts",
    "moe_num_experts",
    "num_experts_per_tok",
    "num_experts_per_token",
    "moe_topk",
    "moe_k",
    "n_shared_experts",
    "num_shared_experts",
    "moe_num_shared_experts",
    "shared_expert_intermediate_size",
    "moe_intermediate_size",
    "top_k_experts",
    "share_expert_dim",
    "shared_intermediate_size",
    # layers that run more than once for a token
    "n_input_layers",
    "n_recurrent_layers",
    "n_output_layers",
    "n_recurrent_loops",
    "recurrent_kv_cache_mode",
    "loop_layer_index_start",
    "loop_layer_index_end",
    "loop_num_passes",
)
"""What is read of a language part, in the order in which rules apply. `fixtures/make_configs.py` makes the table for
exactly these."""


EXPERT_PARTS = ("ffn_config", "moe_config", "moe")
"""Sub-configs of a layer's experts (DBRX, MPT's kin), under names of their own:"""

EXPERT_NAMES = {
    "num_experts": ("moe_num_experts", "num_experts", "num_local_experts", "n_routed_experts"),
    "num_experts_per_tok": ("moe_top_k", "num_experts_per_tok", "top_k", "moe_topk"),
}
"""A standard key -> what such a part calls it."""


LOOP_COUNTS = ("n_recurrent_loops", "loop_num_passes")
"""Of `KEYS`, those that say how often layers run."""


LAYER_COUNT_NAMES = ("n_layer", "n_layers", "num_layers", "num_transformer_layers", "decoder_layers")
"""Names of `num_hidden_layers` in the wild."""

HEAD_LISTS = ("num_key_value_heads", "num_kv_heads", "n_kv_heads", "n_head_kv", "num_key_value_heads_per_layer")
"""Those of key/value heads that may have a list by layer."""

VOCABULARY_NAMES = ("padded_vocab_size", "n_vocab")
"""Those of `vocab_size`."""

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


INPUT_KEYS = frozenset(
    {
        "n_embed",
        "feed_forward_proj",
        "max_window_layers",
        "sliding_window_size",
        "sliding_window_pattern",
        "global_attn_every_n_layers",
        "full_attention_interval",
        "no_rope_layers",
        "no_rope_layer_interval",
        "full_attn_idxs",
        "num_kv_shared_layers",
        "attn_layer_period",
        "attn_layer_offset",
        "attention_k_eq_v",
        "global_head_dim",
        "num_global_key_value_heads",
        "use_bidirectional_attention",
        "use_sliding_window",
        "n_input_layers",
        "n_output_layers",
        "n_recurrent_loops",
        "recurrent_kv_cache_mode",
        "loop_layer_index_start",
        "loop_layer_index_end",
        "loop_num_passes",
    }
)
"""Of `KEYS`, those that only rules read: taken as the file has them."""


@dataclass(frozen=True)
class TextConfig:
    """The language part of a config.

    Attributes:
        model_type: of the whole config.
        text_type: of its language part; the same where the config is flat.
        values: `KEYS` -> value, defaults and derived values filled in; None where the class has none.
        per_layer: layer index -> values that differ there.
        role: decoder, encoder, encoder_decoder, other, or either (a decoder if `is_decoder` says so).
        mlp_gated: the class's MLP has a gate; None where unknown.
        always_shared_experts: shared experts that the class has whatever the config says (Llama 4).
        parts: names of the sub-configs, the class's own ones included (vision_config, audio_config, ...).
        exact: read as transformers reads it; False where read by common key names.
        outside: the tables do not have the type, or have it otherwise than the installed, newer transformers.
        runs: the layers by their numbers as they run for one token, where some run more than once; else empty.
        least: values by which the layers would keep the least that they may, where that is not known.
        facts: of its layers' caches, as the keys tell them where no type does (`cache` of data/configs.json).
    """

    model_type: str | None
    text_type: str | None
    values: Mapping[str, Any]
    per_layer: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    role: str = "decoder"
    mlp_gated: bool | None = None
    always_shared_experts: int = 0
    parts: tuple[str, ...] = ()
    exact: bool = True
    notes: tuple[str, ...] = ()
    least: Mapping[str, Any] = field(default_factory=dict)
    runs: tuple[int, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    outside: bool = False

    def get(self, key: str) -> Any:
        """The value of one of `KEYS`, or None."""
        return self.values.get(key)

    def of_layer(self, index: int) -> Mapping[str, Any]:
        """The values as one layer sees them."""
        overrides = self.per_layer.get(index)
        return {**self.values, **overrides} if overrides else self.values


def inner_experts(part: Mapping[str, Any]) -> dict[str, Any]:
    """The experts of a sub-config (`EXPERT_PARTS`) under the standard keys; {} where it names not all of them."""
    found = {
        key: next((part[name] for name in names if part.get(name) is not None), None)
        for key, names in EXPERT_NAMES.items()
    }
    return found if None not in found.values() else {}


def language_part(config: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The sub-config that holds the language model, however it is called; None for a flat config."""
    for key in LANGUAGE_PARTS:
        part = config.get(key)
        if isinstance(part, Mapping) and part:
            return language_part(part) or part
    counts = ("num_hidden_layers", *LAYER_COUNT_NAMES)
    if any(name in config for name in counts):
        return None
    found = [
        part
        for part in config.values()
        if isinstance(part, Mapping)
        and any(name in part for name in counts)
        and any(name in part for name in ("vocab_size", *VOCABULARY_NAMES))
    ]
    return found[0] if len(found) == 1 else None  # under a name of the vendor's own: layers and a vocabulary tell it
