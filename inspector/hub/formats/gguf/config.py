"""GGUF's metadata as the config.json that it was made from, as far as it says: the same model code reads both.

Sources: the keys of gguf-py's constants.py, what convert_hf_to_gguf.py of llama.cpp writes for each, and transformers'
`GGUF_CONFIG_MAPPING`. Keys match whole, never by suffix (`rope.scaling.original_context_length` is no context length).
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

from inspector.errors import InvalidConfig
from inspector.hub.formats.gguf.header import Omitted

MAX_VALUE = 2**53
"""More than any size of a model, and still exact as a JSON number."""

MODEL_TYPES: dict[str, str] = {
    "bailingmoe": "bailing_moe",
    "command-r": "cohere",
    "deepseek2-ocr": "deepseek_v2",
    "gemma-embedding": "gemma3_text",
    "gemma3": "gemma3_text",
    "gemma3n": "gemma3n_text",
    "gemma4": "gemma4_text",
    "glm-dsa": "glm_moe_dsa",
    "glm4moe": "glm4_moe",
    "gptneox": "gpt_neox",
    "granitehybrid": "granitemoehybrid",
    "hunyuan-dense": "hunyuan_v1_dense",
    "hunyuan-moe": "hunyuan_v1_moe",
    "hunyuan_vl": "hunyuan_vl_text",
    "lfm2moe": "lfm2_moe",
    "llama-embed": "llama",
    "llama4": "llama4_text",
    "mistral3": "ministral3",
    "modern-bert": "modernbert",
    "nemotron_h_moe": "nemotron_h",
    "paddleocr": "paddleocr_vl_text",
    "phi2": "phi",
    "qwen2moe": "qwen2_moe",
    "qwen2vl": "qwen2_vl_text",
    "qwen35": "qwen3_5_text",
    "qwen35moe": "qwen3_5_moe_text",
    "qwen3moe": "qwen3_moe",
    "qwen3next": "qwen3_next",
    "qwen3vl": "qwen3_vl_text",
    "qwen3vlmoe": "qwen3_vl_moe_text",
    "starcoder": "gpt_bigcode",
    "step35": "step3p5",
    "t5encoder": "t5",
}
"""llama.cpp's architecture -> transformers' model_type, where it is more than "-" for "_"."""

PLAIN_KEYS: dict[str, str] = {
    "vocab_size": "vocab_size",
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size",
    "decoder_block_count": "num_decoder_layers",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.sliding_window": "sliding_window",
    "attention.q_lora_rank": "q_lora_rank",
    "attention.kv_lora_rank": "kv_lora_rank",
    "attention.shared_kv_layers": "num_kv_shared_layers",
    "attention.indexer.head_count": "index_n_heads",
    "attention.indexer.key_length": "index_head_dim",
    "attention.indexer.top_k": "index_topk",
    "expert_shared_count": "n_shared_experts",
    "expert_feed_forward_length": "moe_intermediate_size",
    "expert_shared_feed_forward_length": "shared_expert_intermediate_size",
    "leading_dense_block_count": "first_k_dense_replace",
    "nextn_predict_layers": "num_nextn_predict_layers",
    "interleave_moe_layer_step": "interleave_moe_layer_step",
    "full_attention_interval": "full_attention_interval",
    "embedding_length_per_layer_input": "hidden_size_per_layer_input",
    "shortconv.l_cache": "conv_L_cache",
}

EXPERT_KEYS: dict[str, tuple[str, str]] = {
    **dict.fromkeys(
        ("mixtral", "gpt_oss", "granitemoe", "granitemoehybrid", "llama4_text", "minimax_m2", "phimoe"),
        ("num_local_experts", "num_experts_per_tok"),
    ),
    **dict.fromkeys(
        ("deepseek_v2", "deepseek_v3", "dots1", "glm4_moe", "glm_moe_dsa", "mistral4", "nemotron_h"),
        ("n_routed_experts", "num_experts_per_tok"),
    ),
    "ernie4_5_moe": ("moe_num_experts", "moe_k"),
    "hunyuan_v1_moe": ("num_experts", "moe_topk"),
}
"""model_type -> the keys for the experts, all and by token; `num_experts`, `num_experts_per_tok` elsewhere."""

MAMBA_1: dict[str, str] = {
    "ssm.conv_kernel": "conv_kernel",
    "ssm.state_size": "state_size",
    "ssm.time_step_rank": "time_step_rank",
    "ssm.inner_size": "intermediate_size",
}
MAMBA_2: dict[str, str] = {
    "ssm.conv_kernel": "conv_kernel",
    "ssm.state_size": "state_size",
    "ssm.time_step_rank": "num_heads",
    "ssm.group_count": "n_groups",
}
BAMBA: dict[str, str] = {
    "ssm.conv_kernel": "mamba_d_conv",
    "ssm.state_size": "mamba_d_state",
    "ssm.time_step_rank": "mamba_n_heads",
    "ssm.group_count": "mamba_n_groups",
}
DELTA_NET: dict[str, str] = {
    "ssm.conv_kernel": "linear_conv_kernel_dim",
    "ssm.state_size": "linear_key_head_dim",
    "ssm.time_step_rank": "linear_num_value_heads",
    "ssm.group_count": "linear_num_key_heads",
}
STATE_KEYS: dict[str, tuple[dict[str, str], str]] = {
    "mamba": (MAMBA_1, ""),
    "mamba2": (MAMBA_2, "head_dim"),
    "nemotron_h": (
        {**MAMBA_2, "ssm.state_size": "ssm_state_size", "ssm.time_step_rank": "mamba_num_heads"},
        "mamba_head_dim",
    ),
    "granitemoehybrid": (BAMBA, "mamba_d_head"),
    "falcon_h1": ({**BAMBA, "ssm.inner_size": "mamba_d_ssm"}, "mamba_d_head"),
    "jamba": (
        {
            "ssm.conv_kernel": "mamba_d_conv",
            "ssm.state_size": "mamba_d_state",
            "ssm.time_step_rank": "mamba_dt_rank",
        },
        "",
    ),
    **dict.fromkeys(("qwen3_next", "qwen3_5_text", "qwen3_5_moe_text"), (DELTA_NET, "linear_value_head_dim")),
}
"""model_type -> what `ssm.*` means there, and the key for `ssm.inner_size` / `ssm.time_step_rank`."""

HYBRIDS: dict[str, tuple[str, str]] = {
    "lfm2": ("conv", "full_attention"),
    "lfm2_moe": ("conv", "full_attention"),
    "granitemoehybrid": ("mamba", "attention"),
}
"""model_type -> the `layer_types` of layers without key/value heads, and with them."""


def gguf_config(metadata: Mapping[str, Any], tensor_names: Container[str] = ()) -> dict[str, Any]:
    """A config of the language model that the metadata describes.

    Values that differ by layer are given as their largest, and in full under `gguf_per_layer` (key -> list).

    Args:
        metadata: of a `GGUFFile`.
        tensor_names: of the file; where given, they say whether the head is tied to the embedding.

    Returns:
        `model_type` and the config's keys; only `gguf_architecture` for files that are no language model (a vision
        projector's "clip").

    Raises:
        InvalidConfig: a value is no number where it must be, or no model can have it.
    """
    architecture = metadata.get("general.architecture")
    if not isinstance(architecture, str) or not architecture:
        raise InvalidConfig("its metadata names no architecture")
    config: dict[str, Any] = {"gguf_architecture": architecture}
    if architecture == "clip":
        return config
    reader = _Values(metadata, architecture)
    config["model_type"] = model_type = _model_type(architecture, reader)
    for key, name in PLAIN_KEYS.items():
        value = reader.number(key, name)
        if value is not None:
            config[name] = value
    # prediction layers, where the file names them, count among its blocks; in a config they do not
    blocks, extra = reader.number("block_count"), config.get("num_nextn_predict_layers", 0)
    if blocks is not None:
        config["num_hidden_layers"] = blocks - extra if blocks > extra else blocks
    tokens = metadata.get("tokenizer.ggml.tokens")
    if "vocab_size" not in config and isinstance(tokens, (list, Omitted)):
        config["vocab_size"] = tokens.length if isinstance(tokens, Omitted) else len(tokens)
    if tensor_names:
        config["tie_word_embeddings"] = "output.weight" not in tensor_names
    _heads(config, reader)
    _experts(config, reader)
    _states(config, reader)
    _layers(config, reader)
    _by_type(config, model_type)
    if reader.per_layer:
        config["gguf_per_layer"] = reader.per_layer
    return {key: value for key, value in config.items() if value is not None}


class _Values:
    """The metadata's numbers, checked."""

    def __init__(self, metadata: Mapping[str, Any], architecture: str) -> None:
        self.metadata = metadata
        self.architecture = architecture
        self.per_layer: dict[str, list[int]] = {}

    def raw(self, key: str) -> Any:
        return self.metadata.get(f"{self.architecture}.{key}")

    def number(self, key: str, name: str = "") -> int | None:
        """A whole number; of a list by layer the largest. The list is noted under `name` if its items differ."""
        value = self.raw(key)
        if value is None:
            return None
        items = value if type(value) is list else [value]
        if not items or not all(type(n) is int and 0 <= n <= MAX_VALUE for n in items):
            raise InvalidConfig(f"{self.architecture}.{key} is no size")
        if name and len(set(items)) > 1:
            self.per_layer[name] = items
        return int(max(items))


def _model_type(architecture: str, reader: _Values) -> str:
    if architecture == "llama" and reader.number("expert_count"):
        return "mixtral"
    if architecture == "deepseek2":  # sigmoid gating came with version 3
        return "deepseek_v3" if reader.number("expert_gating_func") == 2 else "deepseek_v2"
    return MODEL_TYPES.get(architecture, architecture.replace("-", "_"))


def _heads(config: dict[str, Any], reader: _Values) -> None:
    """Head sizes. Without a key length, llama.cpp divides the embedding by the heads; some config classes would not."""
    heads, hidden = config.get("num_attention_heads"), config.get("hidden_size")
    rope = reader.number("rope.dimension_count")
    key = reader.number("attention.key_length_mla") or reader.number("attention.key_length")
    value = reader.number("attention.value_length_mla") or reader.number("attention.value_length")
    if config.get("kv_lora_rank"):
        if heads:  # newer files say 1, as the latent is shared
            config["num_key_value_heads"] = heads
        if key and value and rope and rope <= key:
            config.update(qk_rope_head_dim=rope, qk_nope_head_dim=key - rope, v_head_dim=value)
        return
    sliding = reader.number("attention.key_length_swa")
    if sliding:
        config.update(head_dim=sliding, global_head_dim=key)
    elif key:
        config["head_dim"] = key
        if value and value != key:
            config["v_head_dim"] = value
    elif heads and hidden:
        config["head_dim"] = hidden // heads
    if rope and config.get("head_dim", 0) > rope and not sliding:
        config["partial_rotary_factor"] = rope / config["head_dim"]


def _experts(config: dict[str, Any], reader: _Values) -> None:
    total, active = reader.number("expert_count"), reader.number("expert_used_count")
    total_key, active_key = EXPERT_KEYS.get(config["model_type"], ("num_experts", "num_experts_per_tok"))
    if total:
        config[total_key] = total
        if active:
            config[active_key] = active


def _states(config: dict[str, Any], reader: _Values) -> None:
    keys, head_key = STATE_KEYS.get(config["model_type"], ({}, ""))
    for key, name in keys.items():
        value = reader.number(key)
        if value is not None:
            config[name] = value
    inner, heads = reader.number("ssm.inner_size"), reader.number("ssm.time_step_rank")
    if head_key and inner and heads:
        config[head_key] = inner // heads
    hidden = config.get("hidden_size")
    if inner and hidden and inner % hidden == 0:
        if config["model_type"] in ("mamba", "mamba2", "nemotron_h"):
            config["expand"] = inner // hidden
        elif config["model_type"] in ("granitemoehybrid", "jamba"):
            config["mamba_expand"] = inner // hidden


def _layers(config: dict[str, Any], reader: _Values) -> None:
    """Kinds of layers: from the window's pattern, or from which layers have key/value heads."""
    model_type, count = config["model_type"], config.get("num_hidden_layers", 0)
    pattern = reader.raw("attention.sliding_window_pattern")
    if type(pattern) is int:
        config["sliding_window_pattern"] = reader.number("attention.sliding_window_pattern")
    elif type(pattern) is list and pattern:
        config["layer_types"] = ["sliding_attention" if slides else "full_attention" for slides in pattern[:count]]
    kv_heads = reader.per_layer.get("num_key_value_heads", [])
    if model_type in HYBRIDS and kv_heads:
        without, with_heads = HYBRIDS[model_type]
        config["layer_types"] = [with_heads if n else without for n in kv_heads[:count]]
    elif model_type == "nemotron_h" and kv_heads:
        widths = reader.per_layer.get("intermediate_size", [])
        experts = bool(reader.number("expert_count"))
        config["layers_block_type"] = [
            "attention" if n else ("moe" if experts else "mlp") if i < len(widths) and widths[i] else "mamba"
            for i, n in enumerate(kv_heads[:count])
        ]
    elif model_type == "jamba" and kv_heads:
        full = [i for i, n in enumerate(kv_heads) if n]
        config["attn_layer_offset"] = full[0]
        config["attn_layer_period"] = full[1] - full[0] if len(full) > 1 else len(kv_heads)
    elif model_type == "gemma4_text" and kv_heads and "layer_types" in config:
        kinds = dict(zip(config["layer_types"], kv_heads, strict=False))
        config["num_key_value_heads"] = kinds.get("sliding_attention", max(kv_heads))
        config["num_global_key_value_heads"] = kinds.get("full_attention", max(kv_heads))


def _by_type(config: dict[str, Any], model_type: str) -> None:
    """Types whose config has names of its own for what has been read."""
    heads, kv_heads = config.get("num_attention_heads"), config.get("num_key_value_heads")
    width, expert_width = config.get("intermediate_size"), config.get("moe_intermediate_size")
    if model_type == "falcon":
        config.pop("head_dim", None)  # its class divides, and lets nobody set it
    if model_type == "falcon" and kv_heads:
        config["multi_query"] = kv_heads == 1
        config["new_decoder_architecture"] = kv_heads not in (1, heads)
        config["num_kv_heads"] = kv_heads
    elif model_type == "gpt_bigcode" and kv_heads:
        config["multi_query"] = kv_heads == 1
    elif model_type == "t5":
        config.update({"d_ff": width, "d_kv": config.get("head_dim")})
    elif model_type == "llama4_text" and expert_width:
        config.update({"intermediate_size": expert_width, "intermediate_size_mlp": width})
    elif model_type in ("gpt_oss", "mixtral", "minimax_m2", "olmoe", "granitemoe") and expert_width:
        config["intermediate_size"] = expert_width
