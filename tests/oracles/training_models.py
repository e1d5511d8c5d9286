"""Models that the training oracle takes a step of and the inference oracle does not: published hyper-parameters."""

from __future__ import annotations

from typing import Any

from tests.oracles.inference_models import OracleModel

_T5_BASE = {"d_model": 768, "d_kv": 64, "d_ff": 3072, "num_heads": 12, "num_layers": 12, "num_decoder_layers": 12}
_FLAN_T5_LARGE = {"d_model": 1024, "d_kv": 64, "d_ff": 2816, "num_heads": 16, "num_layers": 24}


def _bart(
    hidden: int, intermediate: int, heads: int, encoders: int, decoders: int, vocab: int, positions: int
) -> dict[str, Any]:
    """The names that BART's kin share."""
    return {
        "d_model": hidden,
        "encoder_layers": encoders,
        "decoder_layers": decoders,
        "encoder_ffn_dim": intermediate,
        "decoder_ffn_dim": intermediate,
        "encoder_attention_heads": heads,
        "decoder_attention_heads": heads,
        "vocab_size": vocab,
        "max_position_embeddings": positions,
    }


MORE_MODELS: tuple[OracleModel, ...] = (
    OracleModel("t5-base", "t5", _T5_BASE | {"vocab_size": 32128}),
    OracleModel(
        "flan-t5-large",
        "t5",
        _FLAN_T5_LARGE | {"num_decoder_layers": 24, "vocab_size": 32128, "feed_forward_proj": "gated-gelu"},
    ),
    OracleModel("bart-large", "bart", _bart(1024, 4096, 16, 12, 12, 50265, 1024)),
    OracleModel("distilbart-cnn-12-6", "bart", _bart(1024, 4096, 16, 12, 6, 50264, 1024)),
    OracleModel("mbart-large-50", "mbart", _bart(1024, 4096, 16, 12, 12, 250054, 1024)),
    OracleModel("pegasus-large", "pegasus", _bart(1024, 4096, 16, 16, 16, 96103, 1024)),
    OracleModel("opus-mt-en-de", "marian", _bart(512, 2048, 8, 6, 6, 58101, 512) | {"pad_token_id": 58100}),
    OracleModel("mt5-base", "mt5", _T5_BASE | {"d_ff": 2048, "vocab_size": 250112, "feed_forward_proj": "gated-gelu"}),
    OracleModel(
        "modernbert-base",
        "modernbert",
        {
            "num_hidden_layers": 22,
            "hidden_size": 768,
            "intermediate_size": 1152,
            "num_attention_heads": 12,
            "vocab_size": 50368,
            "max_position_embeddings": 8192,
            "local_attention": 128,
        },
        encoder=True,
    ),
    OracleModel(
        "olmo-3-7b",
        "olmo3",
        {
            "num_hidden_layers": 32,
            "hidden_size": 4096,
            "intermediate_size": 11008,
            "num_attention_heads": 32,
            "num_key_value_heads": 32,
            "vocab_size": 100278,
            "sliding_window": 4096,
            "max_position_embeddings": 65536,
            "layer_types": [],
        },
    ),
    OracleModel(
        "ministral-3-8b",
        "ministral3",
        {
            "num_hidden_layers": 34,
            "hidden_size": 4096,
            "intermediate_size": 14336,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "head_dim": 128,
            "vocab_size": 131072,
        },
    ),
    OracleModel(
        "granite-3.0-3b-a800m",
        "granitemoe",
        {
            "num_hidden_layers": 32,
            "hidden_size": 1536,
            "intermediate_size": 512,
            "num_attention_heads": 24,
            "num_key_value_heads": 8,
            "num_local_experts": 40,
            "num_experts_per_tok": 8,
            "vocab_size": 49155,
        },
    ),
    OracleModel(
        "starcoderbase-1b",
        "gpt_bigcode",
        {"n_layer": 24, "n_embd": 2048, "n_head": 16, "n_inner": 8192, "vocab_size": 49152, "n_positions": 8192},
    ),
    OracleModel(
        "persimmon-8b",
        "persimmon",
        {
            "num_hidden_layers": 36,
            "hidden_size": 4096,
            "intermediate_size": 16384,
            "num_attention_heads": 64,
            "vocab_size": 262144,
        },
    ),
    OracleModel(
        "glm-4.5-air",
        "glm4_moe",
        {
            "num_hidden_layers": 46,
            "hidden_size": 4096,
            "intermediate_size": 10944,
            "num_attention_heads": 96,
            "num_key_value_heads": 8,
            "head_dim": 128,
            "moe_intermediate_size": 1408,
            "n_routed_experts": 128,
            "num_experts_per_tok": 8,
            "n_shared_experts": 1,
            "first_k_dense_replace": 1,
            "vocab_size": 151552,
            "pad_token_id": 0,
        },
    ),
    OracleModel(
        "ernie-4.5-21b-a3b",
        "ernie4_5_moe",
        {
            "num_hidden_layers": 28,
            "hidden_size": 2560,
            "intermediate_size": 12288,
            "num_attention_heads": 20,
            "num_key_value_heads": 4,
            "head_dim": 128,
            "moe_intermediate_size": 1536,
            "moe_num_experts": 64,
            "moe_k": 6,
            "moe_num_shared_experts": 2,
            "moe_layer_start_index": 1,
            "vocab_size": 103424,
        },
    ),
)
