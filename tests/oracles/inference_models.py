"""The models that the inference oracle builds: published hyper-parameters, with the layers cut to a handful.

Nothing but the cache is kept layer by layer at inference, so the peak above it is the same with 2 layers as with 80.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

LONG = ((1, 512), (1, 2048), (1, 8192), (2, 1000), (8, 1024))
SHORT = ((1, 128), (1, 512), (4, 256), (8, 512))
WINDOWED = (*LONG, (1, 32768))
"""With windows the mask grows with the square of the context, and rules where the context is long."""


@dataclass(frozen=True)
class OracleModel:
    """One model: its `model_type`, the arguments of its config class, and the (batch, context) pairs to run.

    `held_out` models were not looked at when the rules were derived: their errors are the honest ones.
    """

    name: str
    model_type: str
    config: dict[str, Any]
    shapes: tuple[tuple[int, int], ...] = LONG
    dtypes: tuple[str, ...] = ("bfloat16",)
    encoder: bool = False
    headless: bool = False
    """The bare encoder, as sentence embedders are."""
    held_out: bool = False


def _sizes(hidden: int, intermediate: int, heads: int, kv_heads: int, vocab: int, **more: Any) -> dict[str, Any]:
    """The names that most config classes share."""
    sizes = {
        "num_hidden_layers": 2,
        "hidden_size": hidden,
        "intermediate_size": intermediate,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "vocab_size": vocab,
        "max_position_embeddings": 32768,
    }
    return sizes | more


_BOTH = ("bfloat16", "float32")
_ONE_FULL_LAYER = {"num_hidden_layers": 3, "layer_types": ["sliding_attention", "sliding_attention", "full_attention"]}
_ALTERNATING = {"num_hidden_layers": 2, "layer_types": ["sliding_attention", "full_attention"]}
_BERT = {
    "num_hidden_layers": 2,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_attention_heads": 12,
    "vocab_size": 30522,
}

MODELS: tuple[OracleModel, ...] = (
    OracleModel("llama-3-8b", "llama", _sizes(4096, 14336, 32, 8, 128256), dtypes=_BOTH),
    OracleModel("llama-2-7b", "llama", _sizes(4096, 11008, 32, 32, 32000), dtypes=_BOTH),
    OracleModel("llama-3.2-1b", "llama", _sizes(2048, 8192, 32, 8, 128256, head_dim=64)),
    OracleModel("mistral-7b", "mistral", _sizes(4096, 14336, 32, 8, 32000, sliding_window=4096), WINDOWED),
    OracleModel("qwen2.5-7b", "qwen2", _sizes(3584, 18944, 28, 4, 152064)),
    OracleModel("qwen3-8b", "qwen3", _sizes(4096, 12288, 32, 8, 151936, head_dim=128)),
    OracleModel(
        "gemma-2-9b",
        "gemma2",
        _sizes(3584, 14336, 16, 8, 256000, head_dim=256, sliding_window=4096, **_ALTERNATING),
        dtypes=_BOTH,
    ),
    OracleModel(
        "gemma-3-4b",
        "gemma3_text",
        _sizes(2560, 10240, 8, 4, 262208, head_dim=256, sliding_window=1024) | _ONE_FULL_LAYER,
        shapes=WINDOWED,
    ),
    OracleModel("phi-2", "phi", _sizes(2560, 10240, 32, 32, 51200, partial_rotary_factor=0.4), dtypes=_BOTH),
    OracleModel("phi-3-mini", "phi3", _sizes(3072, 8192, 32, 32, 32064, sliding_window=2047, pad_token_id=0)),
    OracleModel(
        "gpt2",
        "gpt2",
        {"n_layer": 2, "n_embd": 768, "n_head": 12, "vocab_size": 50257, "n_positions": 1024},
        shapes=SHORT,
        dtypes=_BOTH,
    ),
    OracleModel(
        "gpt2-xl",
        "gpt2",
        {"n_layer": 2, "n_embd": 1600, "n_head": 25, "vocab_size": 50257, "n_positions": 1024},
        shapes=SHORT,
    ),
    OracleModel("pythia-6.9b", "gpt_neox", _sizes(4096, 16384, 32, 32, 50432), dtypes=_BOTH),
    OracleModel(
        "mixtral-8x7b",
        "mixtral",
        _sizes(4096, 14336, 32, 8, 32000, num_local_experts=8, num_experts_per_tok=2, sliding_window=None),
    ),
    OracleModel(
        "qwen3-30b-a3b",
        "qwen3_moe",
        _sizes(
            2048,
            6144,
            32,
            4,
            151936,
            head_dim=128,
            moe_intermediate_size=768,
            num_experts=128,
            num_experts_per_tok=8,
            norm_topk_prob=True,
        ),
    ),
    OracleModel(
        "deepseek-v3",
        "deepseek_v3",
        _sizes(
            7168,
            18432,
            128,
            128,
            129280,
            moe_intermediate_size=2048,
            n_routed_experts=256,
            num_experts_per_tok=8,
            n_shared_experts=1,
            first_k_dense_replace=1,
            kv_lora_rank=512,
            q_lora_rank=1536,
            qk_nope_head_dim=128,
            qk_rope_head_dim=64,
            v_head_dim=128,
            n_group=8,
            topk_group=4,
        ),
    ),
    OracleModel(
        "gpt-oss-20b",
        "gpt_oss",
        _sizes(
            2880,
            2880,
            64,
            8,
            201088,
            head_dim=64,
            sliding_window=128,
            num_local_experts=32,
            num_experts_per_tok=4,
            **_ALTERNATING,
        ),
        dtypes=_BOTH,
    ),
    OracleModel("bert-base", "bert", _BERT, shapes=SHORT, dtypes=_BOTH, encoder=True),
    OracleModel(
        "falcon-7b",
        "falcon",
        {
            "num_hidden_layers": 2,
            "hidden_size": 4544,
            "num_attention_heads": 71,
            "vocab_size": 65024,
            "multi_query": True,
            "parallel_attn": True,
            "bias": False,
            "alibi": False,
            "new_decoder_architecture": False,
        },
    ),
    OracleModel(
        "opt-6.7b",
        "opt",
        {
            "num_hidden_layers": 2,
            "hidden_size": 4096,
            "ffn_dim": 16384,
            "num_attention_heads": 32,
            "vocab_size": 50272,
            "max_position_embeddings": 2048,
            "word_embed_proj_dim": 4096,
        },
        shapes=((1, 512), (1, 2048), (2, 1000), (8, 1024)),
    ),
    OracleModel(
        "bloom-7b1", "bloom", {"n_layer": 2, "hidden_size": 4096, "n_head": 32, "vocab_size": 250880}, dtypes=_BOTH
    ),
    OracleModel(
        "minilm-l6", "bert", _BERT | {"hidden_size": 384, "intermediate_size": 1536}, SHORT, encoder=True, headless=True
    ),
    OracleModel("qwen3-0.6b", "qwen3", _sizes(1024, 3072, 16, 8, 151936, head_dim=128)),
    OracleModel("glm-4-9b", "glm4", _sizes(4096, 13696, 32, 2, 151552, head_dim=128, pad_token_id=0)),
    OracleModel(
        "gemma-3-270m",
        "gemma3_text",
        _sizes(640, 2048, 4, 1, 262144, head_dim=256, sliding_window=512) | _ONE_FULL_LAYER,
    ),
    OracleModel(
        "minicpm3-4b",
        "minicpm3",
        _sizes(
            2560,
            6400,
            40,
            40,
            73448,
            kv_lora_rank=256,
            q_lora_rank=768,
            qk_nope_head_dim=64,
            qk_rope_head_dim=32,
            v_head_dim=64,
        ),
    ),
    OracleModel("olmoe-1b-7b", "olmoe", _sizes(2048, 1024, 16, 16, 50304, num_experts=64, num_experts_per_tok=8)),
    OracleModel("nemotron-4-15b", "nemotron", _sizes(6144, 24576, 48, 8, 256000)),
    OracleModel("helium-1-2b", "helium", _sizes(2560, 7040, 20, 20, 48000, head_dim=128)),
    OracleModel("ernie-4.5-0.3b", "ernie4_5", _sizes(1024, 3072, 16, 2, 103424, head_dim=128)),
    OracleModel(
        "minimax-m2",
        "minimax_m2",
        _sizes(3072, 1536, 48, 8, 200064, head_dim=128, num_local_experts=64, num_experts_per_tok=8),
    ),
    OracleModel("olmo-2-7b", "olmo2", _sizes(4096, 11008, 32, 32, 100352)),
    OracleModel(
        "starcoder2-7b",
        "starcoder2",
        _sizes(4608, 18432, 36, 4, 49152, sliding_window=4096, hidden_act="gelu_pytorch_tanh"),
    ),
    OracleModel("smollm3-3b", "smollm3", _sizes(2048, 11008, 16, 4, 128256, pad_token_id=0)),
    OracleModel("granite-3-8b", "granite", _sizes(4096, 12800, 32, 8, 49155)),
    OracleModel("gemma-7b", "gemma", _sizes(3072, 24576, 16, 16, 256000, head_dim=256)),
    OracleModel("command-r", "cohere", _sizes(8192, 22528, 64, 64, 256000)),
    OracleModel("stablelm-2-1.6b", "stablelm", _sizes(2048, 5632, 32, 32, 100352)),
    OracleModel(
        "qwen1.5-moe-a2.7b",
        "qwen2_moe",
        _sizes(
            2048,
            5632,
            16,
            16,
            151936,
            moe_intermediate_size=1408,
            shared_expert_intermediate_size=5632,
            num_experts=60,
            num_experts_per_tok=4,
        ),
    ),
    OracleModel(
        "deepseek-v2-lite",
        "deepseek_v2",
        _sizes(
            2048,
            10944,
            16,
            16,
            102400,
            moe_intermediate_size=1408,
            n_routed_experts=64,
            num_experts_per_tok=6,
            n_shared_experts=2,
            first_k_dense_replace=1,
            kv_lora_rank=512,
            q_lora_rank=None,
            qk_nope_head_dim=128,
            qk_rope_head_dim=64,
            v_head_dim=128,
            topk_method="greedy",
        ),
    ),
    OracleModel(
        "gpt-j-6b",
        "gptj",
        {"n_layer": 2, "n_embd": 4096, "n_head": 16, "rotary_dim": 64, "vocab_size": 50400, "n_positions": 2048},
        shapes=(*SHORT, (1, 2048)),
        dtypes=_BOTH,
    ),
    OracleModel("roberta-base", "roberta", _BERT | {"vocab_size": 50265}, shapes=SHORT, encoder=True),
    OracleModel(
        "mpt-7b",
        "mpt",
        {"n_layers": 2, "d_model": 4096, "n_heads": 32, "vocab_size": 50432, "max_seq_len": 2048},
        shapes=SHORT,
        dtypes=_BOTH,
    ),
    # From here on: models that were not looked at when the rules were derived.
    OracleModel(
        "command-r7b",
        "cohere2",
        _sizes(4096, 14336, 32, 8, 256000, head_dim=128, sliding_window=4096) | _ONE_FULL_LAYER,
        held_out=True,
    ),
    OracleModel("ministral-8b", "ministral", _sizes(4096, 12288, 32, 8, 131072, head_dim=128), held_out=True),
    OracleModel("exaone-4-1.2b", "exaone4", _sizes(2048, 4096, 32, 8, 102400)),
    OracleModel("seed-oss-36b", "seed_oss", _sizes(5120, 27648, 80, 8, 155136, head_dim=128), held_out=True),
    OracleModel("hunyuan-7b", "hunyuan_v1_dense", _sizes(4096, 14336, 32, 8, 128256, head_dim=128), held_out=True),
    OracleModel("glm-edge-1.5b", "glm", _sizes(2048, 6144, 16, 4, 59264, head_dim=128, pad_token_id=0), held_out=True),
    OracleModel("arcee-4.5b", "arcee", _sizes(2560, 18432, 20, 4, 128004), held_out=True),
    OracleModel("apertus-8b", "apertus", _sizes(4096, 21504, 32, 8, 131072)),
    OracleModel("gemma-2b", "gemma", _sizes(2048, 16384, 8, 1, 256000, head_dim=256), held_out=True),
    OracleModel(
        "distilbert", "distilbert", {"n_layers": 2, "dim": 768, "hidden_dim": 3072}, SHORT, encoder=True, held_out=True
    ),
    OracleModel(
        "solar-open",
        "solar_open",
        _sizes(
            4096,
            10240,
            64,
            8,
            196608,
            head_dim=128,
            moe_intermediate_size=1280,
            n_routed_experts=128,
            num_experts_per_tok=8,
            n_shared_experts=1,
            first_k_dense_replace=0,
        ),
        held_out=True,
    ),
)
