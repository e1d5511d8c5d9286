"""Sizes for small random models of transformers: what most classes take, and what single ones need besides.

The tables of tests/oracles/cache_models.py.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from inspector.model.config.light import table

ENCODER_TOKENS = 7
"""Tokens of an encoder's output."""

TINY: dict[str, Any] = {
    "num_hidden_layers": 6,
    "num_decoder_layers": 6,
    "decoder_layers": 6,
    "encoder_layers": 2,
    "hidden_size": 64,
    "num_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "intermediate_size": 48,
    "moe_intermediate_size": 32,
    "shared_expert_intermediate_size": 32,
    "ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "encoder_ffn_dim": 48,
    "n_inner": 48,
    "vocab_size": 128,
    "vocab_size_per_layer_input": 128,
    "max_position_embeddings": 256,
    "max_source_positions": ENCODER_TOKENS,
    "sliding_window": 8,
    "attention_chunk_size": 8,
    "chunk_size": 16,
    "mamba_chunk_size": 16,
    "mamba_d_state": 16,
    "num_experts": 4,
    "num_local_experts": 4,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "top_k_experts": 2,
    "n_group": 1,
    "topk_group": 1,
    "kv_lora_rank": 24,
    "q_lora_rank": 32,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 16,
    "v_head_dim": 12,
    "index_head_dim": 16,
    "index_n_heads": 2,
    "index_topk": 4,
    "linear_num_heads": 2,
    "linear_head_dim": 16,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 12,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
"""Sizes that most classes accept; each class takes the keys that it knows."""

WHOLE = {"t5_gemma_module": "t5gemma", "t5gemma2_decoder": "t5gemma2", "mllama_text_model": "mllama"}
"""Language parts that run only inside of their whole model."""

CLASSES = {
    "seamless_m4t": "SeamlessM4TForTextToText",
    "seamless_m4t_v2": "SeamlessM4Tv2ForTextToText",
    "speecht5": "SpeechT5ForSpeechToText",
}
"""Classes of types whose plain model takes no token ids, or holds more than the language part."""

FLOAT32_TYPES = frozenset({"inkling2_text", "reformer", "xlnet"})
"""Types whose classes mix float32 into a bfloat16 model."""

CAUSES = {
    "blt": "its cache is its local parts', whose sizes stand in sub-configs that are not read: given as unknown",
    "gemma4_assistant": "the class of this release cannot be built: its layers all share a cache that none makes",
    "pi0": "a robot's policy without token ids; its cache is its vision-language part's: given as unknown",
}
"""Types that are not run, and why."""

EAGER_TYPES = frozenset({"pix2struct_text_model"})
"""Types whose position bias does not fit what sdpa makes of the mask."""

UNLISTED_TYPES = frozenset({"voxtral_realtime_text"})
"""Types that AutoModel names a class for which transformers does not export."""

MROPE = {"rope_type": "default", "rope_theta": 1e4}

SEAMLESS: dict[str, Any] = {
    **dict.fromkeys(("speech_encoder_layers", "t2u_encoder_layers", "t2u_decoder_layers"), 1),
    **dict.fromkeys(("t2u_encoder_ffn_dim", "t2u_decoder_ffn_dim", "speech_encoder_intermediate_size"), 48),
}

OVERRIDES: dict[str, dict[str, Any]] = {
    **{name: {"num_key_value_heads": 4} for name, entry in table().items() if entry.get("cache", {}).get("latent")},
    "chameleon": {"vocabulary_map": {"<image>": 5, "IMGIMGBS0Z": 6}},
    "codegen": {"rotary_dim": 8},
    "cosmos3_edge_text": {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 3, 3]}},
    "dory": {"n_input_layers": 1, "n_output_layers": 2},
    "dots1": {"n_shared_experts": 1, "first_k_dense_replace": 1},
    "gemma3n_text": {"num_hidden_layers": 10, "num_kv_shared_layers": 3, "intermediate_size": 48, "laurel_rank": 8},
    "gemma4_text": {"num_kv_shared_layers": 2, "layer_types": ["sliding_attention", "full_attention"] * 3},
    "glm4v_moe_text": {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 1, 1]}},
    "glm4v_text": {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [4, 2, 2]}},
    "glm_ocr_text": {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [4, 2, 2]}},
    "gpt_neo": {"attention_types": [[["global", "local"], 3]], "window_size": 8},
    "gptj": {"rotary_dim": 8},
    **{
        name: {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 3, 3]}}
        for name in ("paddleocr_vl_text", "qwen2_5_omni_text", "qwen2_5_vl_text", "qwen2_vl_text", "hunyuan_vl_text")
    },
    "dots3_note_text": {"num_key_value_heads": 4, "head_dim": None},
    "glm5_next_text": {"index_topk": 32, "num_key_value_heads": 4, "qk_rope_head_dim": 0},
    "sarvam_mla": {"num_key_value_heads": None},
    "hy_v4_vl_text": {"num_key_value_heads": 4, "rope_parameters": {**MROPE, "mrope_section": [2, 1, 1]}},
    "zaya": {"num_experts_per_tok": 1},
    "cohere_compass_text": {"rope_parameters": {"full_attention": {**MROPE, "mrope_section": [2, 3, 3]}}},
    "cohere_asr": {
        "encoder_config": {
            "hidden_size": 64,
            "num_hidden_layers": 1,
            "num_attention_heads": 4,
            "intermediate_size": 48,
            "subsampling_conv_channels": 8,
        }
    },
    "dbrx": {
        "attn_config": {"kv_n_heads": 2, "rope_theta": 1e4, "clip_qkv": 8.0},
        "ffn_config": {"ffn_hidden_size": 48},
    },
    "seamless_m4t": SEAMLESS,
    "seamless_m4t_v2": SEAMLESS,
    "deepseek_ocr2_text": {"mlp_layer_types": ["dense", "sparse"] * 3},
    "falcon_h1": {"mamba_d_ssm": 64, "mamba_n_heads": 4, "mamba_d_head": 16},
    "evolla": {
        "protein_encoder_config": {
            "hidden_size": 64,
            "num_hidden_layers": 1,
            "num_attention_heads": 4,
            "intermediate_size": 48,
        },
        "aligner_num_add_layers": 2,
        "resampler_depth": 1,
    },
    "git": {
        "vision_config": {
            "hidden_size": 64,
            "num_hidden_layers": 1,
            "num_attention_heads": 4,
            "intermediate_size": 48,
            "image_size": 32,
        }
    },
    "idefics": {
        "vision_config": {
            "embed_dim": 64,
            "num_hidden_layers": 1,
            "num_attention_heads": 4,
            "intermediate_size": 48,
            "image_size": 28,
        }
    },
    "kyutai_speech_to_text": {"audio_pad_token_id": 100, "codebook_vocab_size": 20, "num_codebooks": 2},
    "mllama_text_model": {"cross_attention_layers": [1, 4], "vocab_size": 200},
    "moonshine_streaming": {
        "num_key_value_heads": 4,
        "encoder_config": {"num_hidden_layers": 1, "hidden_size": 64, "sliding_windows": [[16, 4]]},
    },
    "phi4_multimodal": {
        "vision_config": {
            "hidden_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "intermediate_size": 48,
            "image_size": 28,
            "crop_size": 28,
            "image_token_id": 100,
        },
        "audio_config": {
            "hidden_size": 64,
            "num_blocks": 1,
            "num_attention_heads": 4,
            "intermediate_size": 48,
            "ext_pw_out_channel": 64,
            "depthwise_separable_out_channel": 64,
            "nemo_conv_channels": 64,
            "audio_token_id": 101,
        },
    },
    "pix2struct_text_model": {"initializer_range": 0.02, "d_kv": 16},
    "qwen4_exp_text": {
        "indexer_n_heads": 2,
        "indexer_kv_heads": 1,
        "indexer_head_dim": 16,
        "indexer_budget": 8,
        "indexer_compress_ratio": 4,
        "ple_layer_ids": [1, 3],
        "ple_embed_dim": 64,
        "ngram_vocab_size_base": 50,
        "layer_types": ["linear_attention", "indexed_attention", "linear_attention"] * 2,
        "rope_parameters": {**MROPE, "mrope_section": [2, 3, 3]},
    },
    "reformer": {
        "hidden_size": 64,
        "axial_pos_embds_dim": [16, 48],
        "axial_pos_shape": [16, 16],
        "attention_head_size": 16,
        "num_hashes": 2,
        "num_buckets": 4,
        "local_attn_chunk_length": 8,
        "lsh_attn_chunk_length": 8,
    },
    "xlstm": {"hidden_size": 128, "num_heads": 4},
    "xmod": {"default_language": "en_XX"},
    "ernie4_5_vl_moe_text": {
        "moe_intermediate_size": [32, 32],
        "rope_parameters": {**MROPE, "mrope_section": [3, 3, 2]},
    },
    "longcat_flash": {
        "num_key_value_heads": 4,
        "head_dim": 8,
        "num_layers": 2,
        "num_hidden_layers": None,
        "ffn_hidden_size": 48,
        "expert_ffn_hidden_size": 32,
    },
    "bamba": {"attn_layer_indices": [2, 4]},
    "granitemoehybrid": {"layer_types": ["linear_attention", "full_attention"] * 3},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"] * 3},
    "mamba2": {"num_heads": 8},
    "whisper": {"num_mel_bins": 8},
    "zamba": {"layers_block_type": ["linear_attention", "hybrid", "linear_attention"] * 2, "num_hidden_layers": 6},
    "zamba2": {"layers_block_type": ["linear_attention", "hybrid", "linear_attention"] * 2, "num_mem_blocks": 1},
}
"""What single classes need besides."""

RANDOM: dict[str, tuple[Any, ...]] = {
    "num_hidden_layers": (2, 3, 5, 8),
    "num_attention_heads": (2, 4, 8),
    "num_key_value_heads": (1, 2),
    "head_dim": (8, 16, 24, 32),
    "hidden_size": (64, 96, 128),
    "v_head_dim": (8, 20),
    "sliding_window": (2, 4, 10, 17),
    "attention_window_size": (2, 4, 10, 17),
    "sliding_window_size": (2, 4, 10, 17),
    "attention_chunk_size": (2, 4, 10, 17),
    "kv_lora_rank": (16, 40),
    "qk_rope_head_dim": (4, 12),
    "index_head_dim": (16, 24),
    "indexer_head_dim": (16, 24),
    "linear_num_key_heads": (1, 2, 4),
    "linear_num_value_heads": (4, 8),
    "linear_key_head_dim": (4, 12),
    "linear_value_head_dim": (4, 20),
    "linear_conv_kernel_dim": (2, 3, 5),
    "linear_num_heads": (2, 3),
    "linear_head_dim": (8, 12),
    "state_size": (4, 12),
    "ssm_state_size": (4, 12),
    "mamba_d_state": (4, 12),
    "conv_kernel": (2, 3, 5),
    "mamba_d_conv": (2, 3, 5),
    "conv_kernel_size": (2, 3, 5),
    "conv_L_cache": (2, 4),
    "n_groups": (1, 2),
    "mamba_n_groups": (1, 2),
    "lru_width": (32, 96),
    "conv1d_width": (2, 3),
    "attention_hidden_size": (32, 96),
    "cca_time0": (2, 3),
    "cca_time1": (2, 4),
    "swa_head_dim": (8, 24),
    "swa_num_key_value_heads": (1, 4),
    "global_head_dim": (16, 24),
    "num_global_key_value_heads": (1, 2),
    "num_kv_shared_layers": (1, 2),
    "prompt_length": (2, 5),
    "mem_len": (None, 3, 30),
    "num_hashes": (1, 3),
    "cross_num_key_value_heads": (1, 2),
    "d_kv": (8, 24),
}
"""What random configurations choose from, where the class knows the key and `OVERRIDES` does not settle it."""
