"""Makes a config.json for every architecture that vLLM's registry names, and for those that it does not have.

    ORACLE/bin/python tests/oracles/vllm/configs.py CONFIGS

CONFIGS gets a folder an architecture: config.json and a model.safetensors of one bfloat16 tensor. Where the config
comes from, in this order: the default config of the transformers type whose class has that name; vLLM's own config
class (vllm/transformers_utils/configs); for the rest, which come with code of their own on the Hub, the keys of a
config that its class reads like (`REMOTE`), and a file of code that stands for the repo's (`STAND_IN`). Keys that a
class reads and that a default config leaves out are in `GIVEN`; facts.py adds what is still asked for (`VALUES`).

Left out by name (`not_made`): drafters, which vLLM loads beside a model only, and its backends' own names.
"""

from __future__ import annotations

import json
import logging
import struct
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

STAND_IN = '''
from transformers import CONFIG_MAPPING, PreTrainedConfig


class Block(dict):
    def __getattr__(self, name):
        if name not in self:
            raise AttributeError(name)
        return self[name]


KEPT = ("per_layer_config", "quantization_config", "sparse_attention_config")


def block(value):
    return Block({{key: block(each) for key, each in value.items()}}) if isinstance(value, dict) else value


class {name}(PreTrainedConfig):
    """Keeps every key, and makes configs of those that hold one."""

    model_type = {model_type!r}

    def __init__(self, **values):
        for key, value in list(values.items()):
            if isinstance(value, dict) and key.endswith("_config") and key not in KEPT:
                kind = value.get("model_type")
                values[key] = (CONFIG_MAPPING[kind] if kind in CONFIG_MAPPING else PreTrainedConfig)(**value)
            elif key == "block_configs":
                values[key] = [block(each) for each in value]
        super().__init__(**values)
'''

PLAIN = {
    "attention_bias": False,
    "bias": False,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "head_dim": 128,
    "hidden_act": "silu",
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "max_position_embeddings": 8192,
    "num_attention_heads": 32,
    "num_hidden_layers": 24,
    "num_key_value_heads": 8,
    "pad_token_id": 0,
    "rms_norm_eps": 1e-06,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
    "vocab_size": 64000,
}
"""A decoder under Llama's names; eight heads and a width that a missing rule would get wrong."""

EXPERTS = {
    **PLAIN,
    "first_k_dense_replace": 1,
    "moe_intermediate_size": 1024,
    "moe_layer_freq": 1,
    "n_group": 1,
    "n_routed_experts": 16,
    "n_shared_experts": 1,
    "norm_topk_prob": True,
    "num_experts": 16,
    "num_experts_per_tok": 4,
    "num_shared_experts": 1,
    "routed_scaling_factor": 1.0,
    "scoring_func": "softmax",
    "topk_group": 1,
    "topk_method": "greedy",
}

LATENT = {
    **EXPERTS,
    "kv_lora_rank": 512,
    "q_lora_rank": 1536,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
}
IMAGES = {"model_type": "siglip_vision_model", "hidden_size": 1152, "num_hidden_layers": 4}
TEXT = {**PLAIN, "model_type": "qwen2"}

REMOTE: dict[str, tuple[str, Any, dict[str, Any]]] = {
    "AliceAIForCausalLM": ("alice_ai", "qwen3_next", {}),
    "BailingMoeForCausalLM": ("bailing_moe", EXPERTS, {"use_bias": False, "use_qkv_bias": False}),
    "BailingMoeV2ForCausalLM": ("bailing_moe", EXPERTS, {"use_bias": False, "use_qkv_bias": False}),
    "BailingMoeV2_5ForCausalLM": ("bailing_hybrid", "bailing_hybrid", {}),
    "BailingMoeV3ForCausalLM": ("bailing_hybrid", "bailing_hybrid", {}),
    "BeeForConditionalGeneration": ("bee", {}, {"text_config": TEXT, "vision_config": IMAGES}),
    "DeciLMForCausalLM": (
        "nemotron-nas",
        {key: value for key, value in PLAIN.items() if key not in ("num_key_value_heads", "intermediate_size")},
        {
            "block_configs": [
                {
                    "attention": {"n_heads_in_group": 8, "no_op": index % 3 == 2, "replace_with_linear": False},
                    "ffn": {"ffn_mult": 2.625, "no_op": False, "replace_with_linear": False},
                }
                for index in range(24)
            ]
        },
    ),
    "DeepseekForCausalLM": ("deepseek", EXPERTS, {}),
    "DotsOCRForCausalLM": ("dots_ocr", "qwen2", {"vision_config": {"model_type": "dots_vit"}}),
    "DomynEdgeForCausalLM": ("domyn_edge", PLAIN, {}),
    "Eagle2_5_VLForConditionalGeneration": ("eagle_2_5_vl", {}, {"text_config": TEXT, "vision_config": IMAGES}),
    "ExaoneForCausalLM": ("exaone", PLAIN, {"num_layers": 24, "layer_norm_epsilon": 1e-5}),
    "ExaoneMoEForCausalLM": ("exaone_moe", "exaone_moe", {}),
    "Rnj1ForCausalLM": ("gemma3_text", "gemma3_text", {}),
    "Glm5NextForCausalLM": ("glm5_next", "glm5_next", {}),
    "InternLM2ForCausalLM": ("internlm2", PLAIN, {}),
    "InternLM2ForRewardModel": ("internlm2", PLAIN, {}),
    "InternLM3ForCausalLM": ("internlm3", PLAIN, {"qkv_bias": False}),
    "IQuestCoderForCausalLM": ("iquestcoder", PLAIN, {}),
    "IQuestLoopCoderForCausalLM": ("iquestloopcoder", PLAIN, {"loop_num": 2, "loop_window_size": 64}),
    "K2HorizonForCausalLM": ("k2_horizon", EXPERTS, {}),
    "Llama4ForCausalLM": ("llama4_text", "llama4_text", {}),
    "LLaMAForCausalLM": ("llama", "llama", {}),
    "LongcatFlashNgramForCausalLM": ("longcat_flash", "longcat_flash", {}),
    "MiniCPMForCausalLM": ("minicpm", PLAIN, {"scale_emb": 12, "scale_depth": 1.4, "dim_model_base": 256}),
    "MiniMaxM3SparseForCausalLM": ("minimax_m3", "minimax_m3_vl_text", {}),
    "MistralLarge3ForCausalLM": ("deepseek_v3", "deepseek_v3", {}),
    "MiMoForCausalLM": ("mimo", PLAIN, {"num_nextn_predict_layers": 1}),
    "MiMoV2ForCausalLM": ("mimo_v2", "mimo_v2_flash", {}),
    "NemotronHPuzzleForCausalLM": ("nemotron_h", "nemotron_h", {}),
    "MuseGlimmerForCausalLM": ("muse_glimmer_text", "muse_glimmer_text", {}),
    "OrionForCausalLM": ("orion", PLAIN, {}),
    "PanguEmbeddedForCausalLM": ("PanguEmbedded", PLAIN, {}),
    "PanguProMoEV2ForCausalLM": ("PanguProMoEV2", EXPERTS, {}),
    "PanguUltraMoEForCausalLM": ("pangu_ultra_moe", LATENT, {}),
    "Param2MoEForCausalLM": ("param2moe", EXPERTS, {}),
    "PhiMoEForCausalLM": ("phimoe", "phimoe", {}),
    "Plamo3ForCausalLM": (
        "plamo3",
        PLAIN,
        {"sliding_window": 2048, "sliding_window_pattern": 8, "rope_local_theta": 10000},
    ),
    "SarvamMoEForCausalLM": ("sarvam_moe", EXPERTS, {}),
    "SarvamMLAForCausalLM": ("sarvam_mla", LATENT, {}),
    "Step1ForCausalLM": ("step1", PLAIN, {"num_attention_groups": 4}),
    "SolarForCausalLM": ("solar", PLAIN, {"bskcn_1": [12], "bskcn_2": [20], "bskcn_3": [12], "bskcn_4": [20]}),
    "TeleChat2ForCausalLM": ("telechat", PLAIN, {}),
    "TeleChat3ForCausalLM": ("telechat3", PLAIN, {}),
    "TeleFLMForCausalLM": ("TeleFLM", PLAIN, {"use_mup": False}),
    "BertSpladeSparseEmbeddingModel": ("bert", "bert", {}),
    "BgeM3EmbeddingModel": ("xlm-roberta", "xlm-roberta", {}),
    "DeepseekV3BidirectionalModel": ("deepseek_v3", "deepseek_v3", {}),
    "GteModel": ("new", "bert", {"position_embedding_type": "rope", "rope_theta": 160000}),
    "GteNewModel": ("new", "bert", {"position_embedding_type": "rope", "rope_theta": 160000}),
    "GteNewForSequenceClassification": ("new", "bert", {"position_embedding_type": "rope", "rope_theta": 160000}),
    "JinaEmbeddingsV5Model": ("jina_embeddings_v5", "qwen3", {}),
    "Lfm2BidirectionalModel": ("lfm2", "lfm2", {}),
    "LlamaBidirectionalModel": ("llama_bidirec", PLAIN, {"pooling": "avg"}),
    "LlamaBidirectionalForSequenceClassification": ("llama_bidirec", PLAIN, {"pooling": "avg"}),
    "VoyageQwen3BidirectionalEmbedModel": ("qwen3", "qwen3", {"embedding_dim": 1024}),
    "LlamaNemotronVLModel": (
        "llama_nemotron_vl",
        {},
        {"llm_config": {**PLAIN, "model_type": "llama"}, "vision_config": IMAGES},
    ),
    "LlamaNemotronVLForSequenceClassification": (
        "llama_nemotron_vl_rerank",
        {},
        {"llm_config": {**PLAIN, "model_type": "llama"}, "vision_config": IMAGES},
    ),
    "Phi3VForCausalLM": ("phi3_v", PLAIN, {"img_processor": {"image_dim_out": 1024, "num_img_tokens": 144}}),
    "HF_ColBERT": ("bert", "bert", {}),
    "ColBERTModernBertModel": ("modernbert", "modernbert", {}),
    "ColBERTJinaRobertaModel": ("xlm-roberta", "xlm-roberta", {}),
    "ColBERTLfm2Model": ("lfm2", "lfm2", {}),
    "JinaForRanking": ("qwen3", "qwen3", {}),
    "ColQwen3_5": ("colqwen3_5", "qwen3_5", {}),
    "Qwen2ForRewardModel": ("qwen2", "qwen2", {}),
    "Qwen2ForProcessRewardModel": ("qwen2", "qwen2", {}),
    "ClefFlashForJointSchema": ("qwen3_5", "qwen3_5", {}),
    "ClefOmniForJointSchema": ("qwen3_omni_moe", "qwen3_omni_moe", {}),
    "Qwen3ASRForcedAlignerForTokenClassification": ("qwen3_asr", "qwen3_asr", {}),
    "D3ForSequenceClassification": ("qwen3_5", "qwen3_5", {}),
    "JinaVLForRanking": ("qwen2_vl", "qwen2_vl", {}),
    "Cosmos3ForConditionalGeneration": ("cosmos3_omni", "cosmos3_omni", {}),
    "DeepseekOCRForCausalLM": ("deepseek_vl_v2", "deepseek_vl_v2", {}),
    "DeepseekOCR2ForCausalLM": ("deepseek_vl_v2", "deepseek_vl_v2", {}),
    "DeepseekV4ForConditionalGeneration": ("deepseek_v4", "deepseek_v4", {}),
    "FireRedASR2ForConditionalGeneration": ("fireredasr2", PLAIN, {}),
    "FunASRForConditionalGeneration": ("funasr", {}, {"text_config": {**PLAIN, "model_type": "qwen3"}}),
    "GLM4VForCausalLM": ("chatglm", "chatglm", {"vision_config": {"hidden_size": 1792, "num_hidden_layers": 4}}),
    "H2OVLChatModel": ("h2ovl_chat", {}, {"llm_config": TEXT, "vision_config": IMAGES}),
    "InternVLChatModel": ("internvl_chat", {}, {"llm_config": TEXT, "vision_config": IMAGES}),
    "InternS1ForConditionalGeneration": ("interns1", "internvl", {}),
    "InternS1ProForConditionalGeneration": ("interns1_pro", "qwen3_vl_moe", {}),
    "InternS2MobiusForConditionalGeneration": ("interns2_mobius", "qwen3_5_moe", {}),
    "InternS2PreviewForConditionalGeneration": ("interns2_preview", "qwen3_5_moe", {}),
    "KananaVForConditionalGeneration": (
        "kanana-1.5-v",
        {},
        {"text_config": {**PLAIN, "model_type": "llama"}, "vision_config": {"model_type": "qwen2_vl"}},
    ),
    "KeyeForConditionalGeneration": ("Keye", PLAIN, {"vision_config": IMAGES}),
    "KeyeVL1_5ForConditionalGeneration": ("KeyeVL1_5", PLAIN, {"vision_config": IMAGES}),
    "LightOnOCRForConditionalGeneration": ("lighton_ocr", "lighton_ocr", {}),
    "Llama_Nemotron_Nano_VL": (
        "Llama_Nemotron_Nano_VL",
        {},
        {"llm_config": {**PLAIN, "model_type": "llama"}, "vision_config": IMAGES},
    ),
    "LlavaOnevision2ForConditionalGeneration": (
        "llava_onevision2",
        {},
        {"text_config": {**PLAIN, "model_type": "qwen3"}, "vision_config": IMAGES},
    ),
    "MoonshotKimiaForCausalLM": ("kimi_audio", PLAIN, {"kimia_adaptor_input_dim": 5120}),
    "MiMoV2OmniForCausalLM": ("mimo_v2_omni", "mimo_v2_flash", {"vision_config": IMAGES}),
    "MiniCPMO": ("minicpmo", PLAIN, {"vision_config": IMAGES, "version": "2.6", "query_num": 64}),
    "MiniCPMV": ("minicpmv", PLAIN, {"vision_config": IMAGES, "version": "2.6", "query_num": 64}),
    "MiniCPMOcrForConditionalGeneration": (
        "minicpm_ocr",
        {},
        {"text_config": "qwen3_5_text", "vision_config": IMAGES},
    ),
    "MolmoForCausalLM": ("molmo", PLAIN, {"embedding_size": 64000, "layer_norm_eps": 1e-5, "qkv_bias": True}),
    "MossAudioModel": ("moss_audio", {}, {"language_config": {**PLAIN, "model_type": "qwen3"}}),
    "NemotronH_Nano_VL_V2": ("NemotronH_Nano_VL_V2", {}, {"llm_config": "nemotron_h", "vision_config": IMAGES}),
    "NemotronH_Nano_Omni_Reasoning_V3": (
        "NemotronH_Nano_Omni_Reasoning_V3",
        {},
        {"llm_config": "nemotron_h", "vision_config": IMAGES},
    ),
    "NemotronH_Super_Omni_Reasoning_V3": (
        "NemotronH_Super_Omni_Reasoning_V3",
        {},
        {"llm_config": "nemotron_h", "vision_config": IMAGES},
    ),
    "NVLM_D": ("NVLM_D", {}, {"llm_config": TEXT, "vision_config": IMAGES}),
    "OpenCUAForConditionalGeneration": ("opencua", {}, {"text_config": TEXT, "vision_config": "qwen2_5_vl_vision"}),
    "OpenPanguVLForConditionalGeneration": ("openpangu_vl", {}, {"text_config": TEXT, "vision_config": IMAGES}),
    "Ovis2_5": ("ovis2_5", {}, {"llm_config": TEXT, "text_config": TEXT, "vit_config": IMAGES}),
    "Ovis2_6ForCausalLM": ("ovis2_6", {}, {"llm_config": TEXT, "text_config": TEXT, "vit_config": IMAGES}),
    "Ovis2_6_MoeForCausalLM": ("ovis2_6_moe", {}, {"llm_config": "qwen3_moe", "vit_config": IMAGES}),
    "Phi4ForCausalLMV": ("phi4-siglip", {**PLAIN}, {"vision_config": IMAGES, "mm_hidden_size": 1152}),
    "Phi4MMForCausalLM": ("phi4mm", PLAIN, {"embd_layer": {"image_embd_layer": {}, "audio_embd_layer": {}}}),
    "PixtralForConditionalGeneration": ("pixtral", {}, {"text_config": {**PLAIN, "model_type": "mistral"}}),
    "Qwen2_5OmniModel": ("qwen2_5_omni", "qwen2_5_omni", {}),
    "Qwen3ASRRealtimeGeneration": ("qwen3_asr", "qwen3_asr", {}),
    "RForConditionalGeneration": ("R", {}, {"text_config": {**PLAIN, "model_type": "qwen3"}, "vision_config": IMAGES}),
    "SkyworkR1VChatModel": ("skywork_chat", {}, {"llm_config": TEXT, "vision_config": IMAGES}),
    "StepVLForConditionalGeneration": ("step_robotics", {}, {"text_config": TEXT, "vision_config": IMAGES}),
    "VoxtralRealtimeGeneration": ("voxtral_realtime", "voxtral_realtime", {}),
    "NemotronParseForConditionalGeneration": ("nemotron_parse", {}, {"decoder": "mbart", "encoder": IMAGES}),
    "RadioMBartPrefixForCausalLM": ("nemotron_parse", {}, {"decoder": "mbart", "encoder": IMAGES}),
    "NanbeigeForCausalLM": ("nanbeige", PLAIN, {}),
}
"""Architecture -> the model type of its checkpoints, what its config is like (a transformers or vLLM type, or keys),
and keys of its own; a string for a sub-config is a type whose default it is."""

VLLM_TYPES = {
    "ChatGLMModel": "chatglm",
    "ChatGLMForConditionalGeneration": "chatglm",
    "DoryForCausalLM": "dory",
    "FlintForCausalLM": "flint",
    "HCXVisionV2ForCausalLM": "hyperclovax",
    "Step3TextForCausalLM": "step3_text",
    "Step3p5ForCausalLM": "step3p5",
    "Step5ForCausalLM": "step5",
    "Step5ForConditionalGeneration": "step5_vl",
    "ColUltraVBertForRetrieval": "ultravbert",
    "ColQwen3": "colqwen3",
    "OpsColQwen3Model": "ops_colqwen3",
    "Qwen3VLNemotronEmbedModel": "qwen3_vl_nemotron_embed",
    "Alpamayo2Super": "alpamayo2_super",
    "BagelForConditionalGeneration": "bagel",
    "BailingMoeV3VLForConditionalGeneration": "bailing_moe_v3_vl",
    "DeepseekVLV2ForCausalLM": "deepseek_vl_v2",
    "DeepseekV41ForCausalLM": "deepseek_v41",
    "Dots3NoteForCausalLM": "dots3_note",
    "UnlimitedOCRForCausalLM": "unlimited_ocr",
    "FunAudioChatForConditionalGeneration": "funaudiochat",
    "IsaacForConditionalGeneration": "isaac",
    "KimiVLForConditionalGeneration": "kimi_vl",
    "KimiK25ForConditionalGeneration": "kimi_k25",
    "KimiK3ForConditionalGeneration": "kimi_k3",
    "MiDashengLMModel": "midashenglm",
    "Moondream3ForCausalLM": "moondream3",
    "HfMoondream": "moondream3",
    "OpenVLAForActionPrediction": "openvla",
    "Ovis": "ovis",
    "Step3VLForConditionalGeneration": "step3_vl",
    "UltravoxModel": "ultravox",
}
"""Architecture -> the type under which vLLM has a config class of its own."""

OWN_CODE = frozenset({"BailingMoeV2_5ForCausalLM", "BailingMoeV3ForCausalLM"})
"""Architectures whose repos bring code of their own, though transformers has a class of that type by now, which reads
`head_dim` as another size."""

CLASS_NAMES = {"new": "NewConfig"}
"""Model type -> the name of its repo's config class, where vLLM asks for it."""

SPARSE = {"index_head_dim": 128, "index_n_heads": 64, "index_topk": 2048}
KIMI = {
    "first_k_dense_replace": 1,
    "kv_lora_rank": 512,
    "mla_use_nope": True,
    "moe_intermediate_size": 1024,
    "num_experts": 256,
    "num_experts_per_token": 8,
    "num_hidden_layers": 27,
    "num_shared_experts": 1,
    "q_lora_rank": None,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
    "linear_attn_config": {
        "full_attn_layers": [4, 8, 12, 16, 20, 24, 27],
        "head_dim": 128,
        "kda_layers": [layer for layer in range(1, 27) if layer % 4],
        "num_heads": 32,
        "short_conv_kernel_size": 4,
    },
}
QSA = {
    "indexer_budget": 2048,
    "indexer_compress_ratio": 16,
    "indexer_head_dim": 256,
    "indexer_kv_heads": 1,
    "indexer_n_heads": 16,
    "output_gate_type": "sigmoid",
}
OCR = {**EXPERTS, "model_type": "deepseek_v2"}
VL2 = {**LATENT, "model_type": "deepseek_v2"}
MIMO = {
    "head_dim": 192,
    "hybrid_layer_pattern": [int(index > 0 and index % 6 < 5) for index in range(48)],
    "moe_layer_freq": [0] + [1] * 47,
    "sliding_window_size": 128,
    "swa_head_dim": 192,
    "swa_num_attention_heads": 64,
    "swa_num_key_value_heads": 8,
    "swa_v_head_dim": 128,
    "v_head_dim": 128,
}
NOMIC = {
    "activation_function": "swiglu",
    "layer_norm_epsilon": 1e-12,
    "mlp_fc1_bias": False,
    "mlp_fc2_bias": False,
    "n_embd": 768,
    "n_inner": 3072,
    "n_layer": 12,
    "qkv_proj_bias": False,
    "rotary_emb_interleaved": False,
    "rotary_emb_scale_base": None,
}

JOINT = {"hidden_size": 4096, "width": 256, "routing_layers": 1, "layers": 1, "heads": 4, "feedforward": 512}
M3 = {
    "sparse_attention_freq": [int(index > 2) for index in range(60)],
    "sparse_block_size": 128,
    "sparse_index_dim": 128,
    "sparse_local_block": 1,
    "sparse_num_index_heads": 4,
    "sparse_topk_blocks": 16,
    "use_sparse_attention": True,
}
NAVIT = {
    "model_type": "siglip2_navit",
    "attention_dropout": 0.0,
    "fullatt_block_indexes": None,
    "hidden_act": "gelu_pytorch_tanh",
    "hidden_size": 1152,
    "hidden_stride": 2,
    "image_size": 512,
    "num_channels": 3,
    "patch_size": 16,
    "intermediate_size": 4304,
    "num_attention_heads": 16,
    "num_hidden_layers": 2,
    "num_patches": -1,
    "layer_norm_eps": 1e-6,
    "preserve_original_pe": True,
    "temporal_patch_size": 1,
    "use_rope": True,
    "window_size": 112,
}
RADIO = {
    "norm_mean": [0.5] * 3,
    "norm_std": [0.5] * 3,
    "vision_config": {"args": {"model": "vit_huge_patch16_224"}, "patch_size": 16, "dtype": "bfloat16"},
}

GIVEN: dict[str, dict[str, Any]] = {
    "AliceAIForCausalLM": {
        "block_attn_res_block_size": 4,
        "kda_allow_negative_eigenvalues": False,
        "linear_num_key_heads": 32,
        "router_bias_correction": True,
        "router_score_function": "sigmoid",
    },
    "BailingMoeV2_5ForCausalLM": {"head_dim": 128},
    "BailingMoeV3ForCausalLM": {"head_dim": 128, "no_kda_lora": True},
    "BailingMoeV3VLForConditionalGeneration": {"text_config.kda_lower_bound": -5.0, "text_config.no_kda_lora": True},
    "CohereCompassForCausalLM": {"tie_word_embeddings": True},
    "CohereCompassForConditionalGeneration": {"tie_word_embeddings": True},
    "ClefFlashForJointSchema": {"joint_head_config": JOINT},
    "ClefOmniForJointSchema": {"joint_head_config": {**JOINT, "hidden_size": 2048}},
    "ColBERTJinaRobertaModel": {"position_embedding_type": "rope"},
    "DomynEdgeForCausalLM": {
        "position_layers": ["rope", "rope", "rope", "nope"] * 6,
        "per_layer_config": {str(index): {"head_dim": 128} for index in range(24)},
        "window_sizes": [[511, 0], [511, 0], [511, 0], [-1, -1]] * 6,
    },
    "FireRedASR2ForConditionalGeneration": {
        "audio_encoder_conf": {"idim": 80, "n_layers_enc": 2, "n_head": 4, "d_model": 256}
    },
    "DbrxForCausalLM": {"attn_config.rope_theta": 500000.0},
    "DeepseekOCR2ForCausalLM": dict.fromkeys(("language_config", "text_config"), OCR),
    "DeepseekOCRForCausalLM": dict.fromkeys(("language_config", "text_config"), OCR),
    "DeepseekVLV2ForCausalLM": dict.fromkeys(("language_config", "text_config"), VL2),
    "UnlimitedOCRForCausalLM": dict.fromkeys(("language_config", "text_config"), OCR),
    "Ernie4_5_VLMoeForConditionalGeneration": {"vision_config.embed_dim": 1280},
    "FunAudioChatForConditionalGeneration": {"pad_token_id": 0, "text_config.pad_token_id": 0},
    "HunYuanVLForConditionalGeneration": {"text_config.head_dim": 128},
    "KimiK3ForConditionalGeneration": {f"text_config.{key}": value for key, value in KIMI.items()},
    "KimiVLForConditionalGeneration": {"text_config.n_group": 1, "text_config.topk_group": 1},
    "InternS1ProForConditionalGeneration": {
        "text_config.rope_scaling": {"fope_init_factor": 0.1, "fope_sep_head": True, "rope_type": "default"}
    },
    "K2HorizonForCausalLM": {"router_score_func": "sigmoid", "router_scaling_factor": 1.0, "moe_gate_bias": False},
    "MiniCPMO": {"audio_config": {"model_type": "whisper"}},
    "MiniMaxM3SparseForCausalLM": {"sparse_attention_config": M3},
    "MiniMaxM3SparseForConditionalGeneration": {
        "text_config.sparse_attention_config": M3,
        "vision_config": {
            "hidden_size": 1280,
            "img_token_compression_config": {"spatial_merge_size": 2, "temporal_patch_size": 2},
            "intermediate_size": 5120,
            "layer_norm_eps": 1e-6,
            "num_attention_heads": 16,
            "num_channels": 3,
            "num_hidden_layers": 2,
            "patch_size": 14,
        },
    },
    "NemotronH_Nano_Omni_Reasoning_V3": RADIO,
    "NemotronH_Nano_VL_V2": RADIO,
    "NemotronH_Super_Omni_Reasoning_V3": RADIO,
    "Ovis2_5": {"vit_config": NAVIT},
    "Ovis2_6ForCausalLM": {"vit_config": NAVIT},
    "Ovis2_6_MoeForCausalLM": {"vit_config": NAVIT},
    "Phi3VForCausalLM": {"embd_layer": {"use_hd_transform": True, "with_learnable_separator": True}},
    "Qwen3ASRForcedAlignerForTokenClassification": {"thinker_config.classify_num": 5000, "classify_num": 5000},
    "NemotronH_Omni_Reasoning_V3": {"force_image_size": 512, "patch_size": 16},
    "Step3TextForCausalLM": {"moe_layers_enum": "4,5,6"},
    "Step3VLForConditionalGeneration": {"text_config.architectures": ["Step3TextForCausalLM"]},
    "Step3p5ForCausalLM": {"use_moe_router_bias": True, "need_fp32_gate": True},
    "DeepseekV2ForCausalLM": {"n_group": 1, "topk_group": 1},
    "DeepseekV32ForCausalLM": SPARSE,
    "Granite4VisionForConditionalGeneration": {"deepstack_layer_map": [], "downsample_rate": "1/2"},
    "HunYuanDenseV1ForCausalLM": {"head_dim": 128},
    "HunYuanMoEV1ForCausalLM": {"head_dim": 128},
    "HYV4ForCausalLM": {**SPARSE, "layer_types": ["indexed_attention"] * 34},
    "HYV3ForCausalLM": {"first_k_dense_replace": 1},
    "InklingForCausalLM": {"n_shared_experts": 1, "shared_expert_sink": True, "local_layer_ids": []},
    "InklingForConditionalGeneration": {
        "text_config.local_layer_ids": [],
        "text_config.n_shared_experts": 1,
        "text_config.shared_expert_sink": True,
        "text_config.swa_head_dim": 128,
    },
    "KimiLinearForCausalLM": KIMI,
    "Lfm2MoeForCausalLM": {"layer_types": ["full_attention" if i % 4 == 2 else "conv" for i in range(32)]},
    "LongcatFlashForCausalLM": {"zero_expert_type": "identity"},
    "LongcatFlashNgramForCausalLM": {"zero_expert_type": "identity"},
    "MiMoV2FlashForCausalLM": MIMO,
    "MiMoV2ForCausalLM": MIMO,
    "MiMoV2OmniForCausalLM": MIMO,
    "NemotronForCausalLM": {"num_key_value_heads": 8},
    "NomicBertModel": NOMIC,
    "Plamo3ForCausalLM": {
        "interleaved_sliding_window": [None if i % 8 == 7 else 2048 for i in range(24)],
        "layer_types": ["full_attention" if i % 8 == 7 else "sliding_attention" for i in range(24)],
    },
    "Qwen4ExpForCausalLM": {**QSA, **{f"text_config.{key}": value for key, value in QSA.items()}},
    "Qwen4ExpForConditionalGeneration": {
        **{f"text_config.{key}": value for key, value in QSA.items()},
        "vision_config.deepstack_visual_indexes": [],
    },
}
"""Keys that every checkpoint of an architecture has and its default config leaves empty, "part.key" in a sub-config."""

DROPPED = dict.fromkeys(("HfMoondream", "Moondream3ForCausalLM"), ("text_config", "vision_config"))
"""Sub-configs of a default config that vLLM's own config class does not take."""

PARTS = {"Gemma4ForConditionalGeneration": {"vision_config": "gemma4_vision"}}
"""Sub-configs that every checkpoint has and the default config leaves out."""


def write(folder: Path, config: dict[str, Any], model_type: str | None = None) -> None:
    """config.json and one tensor; `model_type`: of a repo with code of its own, which STAND_IN stands for."""
    if model_type is not None:
        name = CLASS_NAMES.get(model_type, "StandIn")
        config = {**config, "auto_map": {"AutoConfig": f"configuration_standin.{name}"}}
    text = json.dumps(config)
    folder.mkdir(parents=True, exist_ok=True)
    if model_type is not None:
        folder.joinpath("configuration_standin.py").write_text(
            STAND_IN.format(model_type=model_type, name=name), "utf-8"
        )
    folder.joinpath("config.json").write_text(text, "utf-8")
    header = json.dumps({"x": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]}}).encode()
    folder.joinpath("model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + b"\0\0")


def defaults(model_type: str) -> dict[str, Any]:
    """The default config of a type: transformers' own, or vLLM's."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    from vllm.transformers_utils import config as vllm_config

    registry: Any = getattr(vllm_config, "_CONFIG_REGISTRY", {})
    made = registry[model_type]() if model_type in registry else CONFIG_MAPPING[model_type]()
    found: dict[str, Any] = made.to_dict()
    return {**found, "model_type": model_type}


def remote(name: str) -> tuple[str, dict[str, Any]]:
    """(model type, config) of an architecture in REMOTE."""
    model_type, base, own = REMOTE[name]
    keys = defaults(base) if isinstance(base, str) else dict(base)
    for key, value in own.items():
        made = defaults(value) if isinstance(value, str) and _is_type(key) else value
        keys[key] = (
            {
                "dtype": "bfloat16",
                **made,
            }
            if isinstance(made, dict) and _is_type(key)
            else made
        )
        if isinstance(keys[key], dict) and keys[key].get("dtype", "") is None:
            keys[key]["dtype"] = "bfloat16"
    return model_type, {**completed(name, keys), "model_type": model_type}


def completed(name: str, config: dict[str, Any]) -> dict[str, Any]:
    """A config with the keys of GIVEN, PARTS and DROPPED."""
    config = {key: value for key, value in config.items() if key not in DROPPED.get(name, ())}
    config |= {key: defaults(kind) for key, kind in PARTS.get(name, {}).items()}
    for path, value in GIVEN.get(name, {}).items():
        part, _, key = path.rpartition(".")
        if part and part in config:
            config[part] = {**(config[part] or {}), key: value}
        elif part:  # the same architecture's text-only type
            continue
        else:
            config[key] = value
    return config


def _is_type(key: str) -> bool:
    return key.endswith("_config") or key in ("decoder", "encoder")


def class_names() -> Iterator[tuple[str, str]]:
    """(model type, class) of every class that the Auto classes of transformers name for a base or generating model."""
    from transformers.models.auto import modeling_auto as auto

    seen = set()
    for name in (
        "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES",
        "MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES",
        "MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES",
        "MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES",
        "MODEL_FOR_MASKED_LM_MAPPING_NAMES",
        "MODEL_MAPPING_NAMES",
    ):
        for model_type, classes in getattr(auto, name, {}).items():
            for each in [classes] if isinstance(classes, str) else list(classes):
                seen_type = any(kind == model_type for kind, _ in seen)
                if (model_type, each) not in seen and not (name == "MODEL_MAPPING_NAMES" and seen_type):
                    seen.add((model_type, each))
                    yield model_type, each


def types_of_classes() -> dict[str, list[str]]:
    """Class of transformers -> the model types that any Auto class names it for."""
    from transformers.models.auto import modeling_auto as auto

    found: dict[str, list[str]] = {}
    for name in dir(auto):
        if name.endswith("MAPPING_NAMES"):
            for model_type, classes in getattr(auto, name).items():
                for each in [classes] if isinstance(classes, str) else list(classes or ()):
                    found.setdefault(each, []).append(model_type)
    return found


def registry_names() -> tuple[list[str], list[str]]:
    """(architectures that vLLM serves, those that it does not serve on their own)."""
    from vllm.model_executor.models import registry

    drafters = set(getattr(registry, "_SPECULATIVE_DECODING_MODELS", {}))
    names = list(registry.ModelRegistry.models)
    beside = [name for name in names if name in drafters or name.startswith("Transformers") or name == "Terratorch"]
    return [name for name in names if name not in beside], beside


def make(top: Path) -> dict[str, str]:
    """Writes all folders; returns the architectures that none was made of, with the reason."""
    known = types_of_classes()
    not_made: dict[str, str] = {}
    served, beside = registry_names()
    for name in served:
        try:
            if name in REMOTE:
                model_type, config = remote(name)
                own = model_type if name in OWN_CODE else code(model_type)
                write(top / name, {**config, "architectures": [name], "dtype": "bfloat16"}, own)
                continue
            types = sorted(set(known.get(name, ()))) or [VLLM_TYPES[name]]
            for model_type in types:
                config = completed(name, defaults(model_type))
                config |= {"architectures": [name], "dtype": "bfloat16"}
                write(top / f"{model_type}-{name}", config, code(model_type))
        except Exception as error:
            not_made[name] = f"{type(error).__name__}: {str(error)[:150]}"
    for model_type, name in class_names():
        if name not in served and name not in beside:
            try:
                config = {**defaults(model_type), "architectures": [name], "dtype": "bfloat16"}
                write(top / f"{model_type}-{name}", config)
            except Exception as error:
                not_made[f"{model_type}-{name}"] = f"{type(error).__name__}: {str(error)[:150]}"
    return {**not_made, **dict.fromkeys(beside, "loaded beside a model, or by a backend, only")}


def code(model_type: str) -> str | None:
    """The type, where neither transformers nor vLLM has a config class for it: such a repo brings its own."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    from vllm.transformers_utils import config as vllm_config

    registry: Any = getattr(vllm_config, "_CONFIG_REGISTRY", {})
    return None if model_type in CONFIG_MAPPING or model_type in registry else model_type


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    logging.disable(logging.CRITICAL)
    import facts

    facts.load()
    target = Path(sys.argv[1])
    left = make(target)
    target.joinpath("not_made.json").write_text(json.dumps(left, indent=1) + "\n", "utf-8")
    for each, why in left.items():
        if "only" not in why:
            print(each, why)
    print(len(list(target.glob("*/config.json"))), "configs;", len(left), "architectures without one")
