"""The role of each tensor in a layer, by the names that vendors give it: queries, keys, values, latents, states."""

from __future__ import annotations

import re
from functools import lru_cache

ATTENTION = re.compile(
    r"att(n|ention|$)|mha|_sub_layer$|^(mixer|temporal_block|mamba|ssm|sa|block|layer|mlstm\w*)$", re.I
)
"""Modules that hold an attention, or what a layer has in place of one."""
CROSS = re.compile(r"^(enc_?dec|encoder_?att|enc_att|cross|inter_?att)|cross_?att", re.I)
OTHERS = re.compile(r"mlp|ffn|feed_forward|feedforward|expert|moe|router|vision|audio|adapter|lora|mtp|rotary", re.I)
"""Modules whose `key`, `value` or `out_proj` is none of an attention."""
TEXT = re.compile(r"^(language|text)_expert_")
"""Before a projection that text alone goes through, beside another for images (CogVLM)."""

ROLES: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (role, re.compile(rf"^({words})$"))
    for role, words in (
        (
            "latent",
            r"kv_a_proj_with_mqa|wkv_a_with_mqa|kv_a_proj|wkv_a|kv_a|kv_a_linear|kv_down_proj|kv_compress|kv_proj_with_mqa",
        ),
        ("shared_qk", r"query_key"),
        ("fused_latent", r"fused_qkv_a_proj_with_mqa|fused_qkv_a_proj|qkv_a_proj|qkv_a"),
        ("latent_norm", r"kv_a_layernorm|kv_a_norm|kv_norm|kv_layernorm|kv_compress_norm"),
        ("query_latent_norm", r"q_a_layernorm|q_a_norm"),
        ("latent_up", r"kv_b_proj|wkv_b|kv_b|kv_up_proj"),
        (
            "qkv",
            r"qkv|qkv_proj|query_key_value|Wqkv|wqkv|c_attn|c_qkv|W_pack|qkv_layer|att_proj|attn_qkv|in_proj_weight|qkv_linear|to_qkv",
        ),
        ("kv", r"kv_proj|kv|key_value|kv_attn|wkv|to_kv|c_kv|kv_linear"),
        (
            "q",
            r"q_proj|query|wq|q|q_lin|q_attn|to_q|query_proj|q_linear|linear_q|c_q|q_b_proj|wq_b|r_query|project_q|query_net",
        ),
        ("k", r"k_proj|key|wk|k|k_lin|k_attn|to_k|key_proj|k_linear|linear_k|c_k|project_k|key_net"),
        ("v", r"v_proj|value|wv|v|v_lin|v_attn|to_v|value_proj|v_linear|linear_v|c_v|project_v|value_net"),
        (
            "o",
            r"o_proj|out_proj|dense|wo|c_proj|o|out_lin|to_out|out|attn_out|output|linear_out|proj|out_linear|resid_proj|attention_out|out_projection",
        ),
        ("q_norm", r"q_norm|q_layernorm|query_norm|q_ln|query_layernorm|norm_q|ln_q"),
        ("k_norm", r"k_norm|k_layernorm|key_norm|k_ln|key_layernorm|norm_k|ln_k"),
        ("a_log", r"A_log|a_log|A_logs"),
        ("conv", r"conv1d|conv_1d|conv|q_conv1d|k_conv1d|v_conv1d|q_conv|k_conv|v_conv|short_conv|qkv_conv1d"),
        ("delta_in", r"in_proj_qkvz|in_proj_qkv|in_proj_ba|in_proj_b|in_proj_a|in_proj_z"),
        ("lru", r"recurrent_param|recurrent_gate_weight|input_gate_weight|rg_lru"),
        ("rwkv", r"r_proj|receptance|time_decay|time_first|time_faaaa|time_maa_r|x_r|x_rwkvag|time_mix_r|w_lora"),
        ("state_in", r"in_proj"),
        ("filter", r"short_filter_weight|poles|residues|log_poles"),
        ("bonus", r"r_k|time_faaaa|faaaa|time_first"),
        ("mlstm", r"[if]gate(_preact)?"),
        ("gate", r"output_gate|g_norm\w*|b_proj|i_proj|beta_proj|slope\w*|decay\w*|f_a_proj|gk_proj\w*"),
    )
)
"""Each role's names, the last module of a tensor's. A name may have several roles; the first in this order counts,
but that a `bonus` tells the heads of RWKV beside its `rwkv`."""


@lru_cache(maxsize=4096)
def role_of(name: str) -> str | None:
    """The role of a tensor in its layer, by its name below it: "self_attn.k_proj.weight" is "k".

    "cross_k", "cross_v" and "cross_qkv" are a decoder's projections of its encoder's rows, "indexer" the keys by which
    sparse attention picks tokens, "index_gate" what weighs them; "memory" the biases of Transformer-XL (arXiv
    1901.02860), which keeps its layers' inputs. None for what tells nothing of a cache: MLPs, experts, norms, biases.
    """
    parts = [part for part in name.split(".") if part != "{}" and not part.isdigit()]
    if name.endswith("bias"):
        return "memory" if parts and parts[-1] in ("r_w_bias", "r_r_bias") else None
    if len(parts) > 1 and parts[-1] in ("weight", "qweight", "linear", "base_layer"):
        parts.pop()
    if not parts:
        return None
    *above, last = parts
    last = TEXT.sub("", last)
    if any("indexer" in part for part in above):
        if "compress_gate" in last:
            return "index_gate"
        return "indexer" if re.fullmatch(r"wk|k_proj|wk_weights_proj|linear_k|k", last) else None
    if any(OTHERS.search(part) for part in above):
        return None
    role = next((role for role, words in ROLES if words.match(last)), None)
    if any(CROSS.search(part) for part in above):
        return f"cross_{role}" if role in ("k", "v", "kv", "qkv") else None
    if role in ("o", "conv") and not above:
        return None
    if role in ("q", "k", "v", "kv", "qkv", "o") and above and not any(ATTENTION.search(part) for part in above):
        return "conv_out" if role == "o" and "conv" in above[-1] else None
    return role
