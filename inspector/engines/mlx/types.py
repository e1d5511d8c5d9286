"""The model types of mlx-lm 0.32.2 by what their classes do: read off mlx_lm/models and mlx_lm/utils.py."""

from __future__ import annotations


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


TYPES = _names(
    """
    Klear afm7 afmoe apertus baichuan_m1 bailing_hybrid bailing_moe bailing_moe_linear bailing_moe_v3 bitnet
    cohere cohere2 dbrx deepseek deepseek_v2 deepseek_v3 deepseek_v32 deepseek_v41 dots1 ernie4_5
    ernie4_5_moe exaone exaone4 exaone_moe falcon_h1 gear gemma gemma2 gemma3 gemma3_text gemma3n gemma4
    gemma4_text glm glm4 glm4_moe glm4_moe_lite glm_moe_dsa gpt2 gpt_bigcode gpt_neox gpt_oss gptj granite
    granitemoe granitemoehybrid helium hunyuan hunyuan_v1_dense internlm2 internlm3 iquestloopcoder jamba
    kimi_k25 kimi_k3 kimi_linear kimi_vl laguna lfm2-vl lfm2 lfm2_moe lille-130m llama llama4 llama4_text
    longcat_flash longcat_flash_ngram mamba mamba2 mellum mimo mimo_v2_flash minicpm minicpm3 minimax
    minimax_m3_vl ministral3 mistral3 mistral4 mixtral muse_glimmer muse_spark nanbeige nanochat
    nemotron-nas nemotron nemotron_h olmo olmo2 olmo3 olmo_hybrid olmoe openelm phi phi3 phi3small phimoe
    phixtral pixtral plamo plamo2 plamo3 prism_hadamard_qwen35 qwen qwen2 qwen2_moe qwen2_vl qwen3 qwen3_5
    qwen3_5_moe qwen3_moe qwen3_next qwen3_vl qwen3_vl_moe recurrent_gemma rwkv7 seed_oss smollm3 solar_open
    spark2_5 stablelm starcoder2 step3p5 talkie telechat3 youtu_llm
    mistral llava phi-msft falcon_mamba joyai_llm_flash kimi_k2 qwen2_5_vl minimax_m2 iquestcoder xverse
    gemma4_unified deepseek_v41_text
    """
)
"""Those that it has a class for; the last lines are names that it takes for one of them (MODEL_REMAPPING)."""

WINDOWED = _names(
    """
    afmoe baichuan_m1 cohere2 exaone4 exaone_moe gear gemma3 gemma3_text gemma3n gemma4 gemma4_text
    gemma4_unified gpt_oss iquestloopcoder laguna mellum mimo_v2_flash muse_glimmer muse_spark olmo3 plamo3
    recurrent_gemma spark2_5 step3p5
    """
)
"""Types whose windows get a RotatingKVCache. All others keep every token, Gemma 2, Phi 3 and Qwen2 among them; Llama's
and Ministral's classes use `layer_types`, which is to say windows beside full layers."""

EXPANDED_LATENTS = _names(
    """
    deepseek_v2 minicpm3 youtu_llm
    """
)
"""Types whose latents are cached as what they expand to, keys and values of every head."""

KEEPS_VISION = _names(
    """
    muse_spark
    """
)
"""Types whose encoder for images is loaded, too; all others drop it (sanitize)."""

OWN_ATTENTION = _names("gemma2")
"""Types whose class does its attention by hand, with no room for a quantized cache or a batch (measured: both fail)."""

SHARDED = _names(
    """
    deepseek_v2 deepseek_v3 deepseek_v32 deepseek_v41 exaone_moe glm4_moe glm4_moe_lite gpt_oss
    iquestloopcoder kimi_k2 kimi_k25 kimi_k3 llama longcat_flash longcat_flash_ngram minimax minimax_m2
    minimax_m3_vl ministral3 mistral mistral4 muse_spark qwen2 qwen3 qwen3_5 qwen3_moe step3p5 xverse
    iquestcoder
    """
)
"""Types whose class has a shard()."""

ROUTER_IS_NO_LINEAR = _names(
    """
    deepseek_v2 deepseek_v3 deepseek_v32 glm4_moe glm4_moe_lite glm_moe_dsa dots1 kimi_k2 kimi_k25 kimi_vl
    mistral4 joyai_llm_flash nemotron_h mimo_v2_flash exaone_moe
    """
)
"""Types whose router is a bare matrix, which quantize_model leaves alone."""

ROUTER_8_BITS = _names(
    """
    Klear afmoe bailing_hybrid bailing_moe bailing_moe_linear gemma4 gemma4_text gpt_oss granitemoe
    granitemoehybrid jamba kimi_k3 kimi_linear laguna lfm2_moe longcat_flash mellum minimax minimax_m2
    minimax_m3_vl muse_spark qwen3_5 qwen3_5_moe qwen3_moe qwen3_next qwen3_vl_moe spark2_5 step3p5
    """
)
"""Types whose `quant_predicate` keeps the router at 8 bits in groups of 64."""

PARTS_AT_8_BITS = _names(
    """
    granite granitemoe
    """
)
"""Types whose `quant_predicate` keeps output and down projections at 8 bits, too: not told apart here."""

BY_LAYER_TYPES = _names("llama mistral xverse iquestcoder ministral3 mistral3")
"""Types that have windows where `layer_types` names some layers for them, and full attention for the others."""
