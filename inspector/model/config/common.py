"""Reads a config whose model type nobody knows, by the key names that most models share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inspector.model.config.meanings import read_meanings, runs_of_layers
from inspector.model.config.text import (
    EXPERT_PARTS,
    KEYS,
    LAYER_COUNT_NAMES,
    VOCABULARY_NAMES,
    TextConfig,
    inner_experts,
)

OTHER_NAMES: dict[str, tuple[str, ...]] = {
    "num_hidden_layers": LAYER_COUNT_NAMES,
    "hidden_size": ("n_embd", "n_embed", "d_model", "model_dim", "dim", "hidden_dim", "decoder_embed_dim"),
    "num_attention_heads": ("n_head", "n_heads", "num_heads", "num_query_heads", "decoder_attention_heads"),
    "num_key_value_heads": (
        *("num_kv_heads", "n_kv_heads", "n_head_kv", "multi_query_group_num", "num_attention_groups"),
        *("num_query_groups", "num_key_value_groups_total", "kv_heads", "num_heads_kv", "n_kv_head"),
        "num_multi_query_heads",
    ),
    "head_dim": ("attention_head_dim", "head_size", "kv_channels", "d_head", "hidden_size_per_head"),
    "intermediate_size": (
        "ffn_dim",
        "ffn_hidden_size",
        "n_inner",
        "d_ff",
        "inner_dim",
        "decoder_ffn_dim",
        "inner_hidden_size",
        "ff_intermediate_size",
        "inner_mlp_size",
        "glu_dim",
    ),
    "vocab_size": VOCABULARY_NAMES,
    "max_position_embeddings": (
        *("n_positions", "n_ctx", "max_seq_len", "max_sequence_length", "max_context_length", "seq_length"),
        *("model_max_length", "max_seqlen", "context_length", "max_seq_length", "seq_len", "max_trained_positions"),
        *("max_pos_emb", "max_target_positions"),
    ),
    "num_experts": ("n_experts", "num_routed_experts", "moe_num_primary_experts", "num_moe_experts"),
    "num_experts_per_tok": (
        *("moe_top_k", "moe_num_active_primary_experts", "num_selected_experts", "num_active_experts"),
        *("moe_router_topk", "router_topk", "num_selects", "n_activated_experts", "num_activated_experts"),
        *("experts_per_token", "num_experts_per_topk", "n_experts_per_tok"),
    ),
    "sliding_window": ("sliding_window_size", "swa_window_size", "attention_window_size"),
}
"""Names of the standard keys in the wild: remote-code repos and older conversions."""

NOTE = "read by common key names: facts and memory may be wrong"


def read_common(config: Mapping[str, Any], model_type: str | None, reason: str, note: str = NOTE) -> TextConfig:
    """The language part of a config, as far as its key names tell.

    Args:
        config: the dict that holds the language part.
        model_type: what the whole config calls itself.
        reason: why no better reader could be used, for the note.
        note: what that means for the numbers.
    """
    values = {key: _first(config, key) for key in KEYS}
    values["head_dim"] = values["head_dim"] or None  # 0 where latents have widths of their own
    for part in (config.get(name) for name in EXPERT_PARTS):
        if isinstance(part, Mapping):
            values |= {key: value for key, value in inner_experts(part).items() if values[key] is None}
    per_layer = read_meanings(config, values)
    notes = [f"{reason}; {note}"]
    least: dict[str, Any] = {}
    for bound in (_heads_bound, _window_bound, _chunk_bound):
        before = dict(values)
        if bounded := bound(config, values):
            notes.append(bounded)
            least |= _least(bound.__name__, before)
    values["is_encoder_decoder"] = bool(values["is_encoder_decoder"])
    if kinds := _shared_rows(config, values):
        notes.append(f"which layers use the rows of the first that attends to everything is not known: none, {BOUND}")
        least["layer_types"] = kinds
    states = _states(values)
    latent = all(type(values[key]) is int and values[key] > 0 for key in ("kv_lora_rank", "qk_rope_head_dim"))
    if latent:  # as transformers' classes and the servers do; a repo's own code may cache the heads made of it
        notes.append("the compressed latent is taken to be cached (kv_lora_rank and qk_rope_head_dim)")
    elif values["kv_lora_rank"] is not None:
        notes.append(
            f"how wide the rotary key beside the latent (kv_lora_rank) is, is not known: taken as heads, {BOUND}"
        )
    runs = runs_of_layers(config, values["num_hidden_layers"])
    if runs:
        count = values["num_hidden_layers"]
        notes.append(
            f"{count} layers make {len(runs)} runs per token, by the config's keys: each run has a cache of its own"
        )
    return TextConfig(
        model_type,
        None,
        values,
        per_layer,
        role="encoder" if _is_encoder(config) else "decoder",
        exact=False,
        notes=tuple(notes),
        least=least,
        runs=runs,
        facts={**({"latent": True} if latent else {"v_head_dim": True}), **states},
    )


def _shared_rows(config: Mapping[str, Any], values: Mapping[str, Any]) -> list[str] | None:
    """The kinds where the fewest layers keep rows of their own, in a decoder whose later half attends to one layer's
    (YOCO, arXiv 2405.05254, as Phi-4-mini-flash, whose code alone says which: `mb_per_layer`)."""
    kinds = values["layer_types"]
    if type(config.get("mb_per_layer")) is not int or not isinstance(kinds, list) or kinds.count("full_attention") < 2:
        return None
    first = kinds.index("full_attention")
    return ["mlp" if kind == "full_attention" and index > first else kind for index, kind in enumerate(kinds)]


def _states(values: dict[str, Any]) -> dict[str, Any]:
    """The rule for the layers' states, as a fact, where the keys of one are there: a convolution over keys and values
    (`conv_window`), whose layers are renamed in place, or the heads of a delta rule (`linear_num_key_heads`)."""
    if type(values["conv_window"]) is int and isinstance(values["layer_types"], list):
        values["layer_types"] = [CONVOLVED.get(str(kind), kind) for kind in values["layer_types"]]
        return {"states": "convolved_rows"}
    return {"states": "gated_delta"} if all(type(values[key]) is int for key in DELTA_KEYS) else {}


DELTA_KEYS = (
    *("linear_num_key_heads", "linear_num_value_heads", "linear_key_head_dim", "linear_value_head_dim"),
    "linear_conv_kernel_dim",
)
CONVOLVED = {"full_attention": "hybrid", "sliding_attention": "hybrid_sliding"}
"""Kinds of layers with a convolution over their keys and values (`conv_window`)."""


def _is_encoder(config: Mapping[str, Any]) -> bool:
    """Whether a model attends both ways, by a key of BERT's kin (`type_vocab_size`), its class, or in words."""
    names = config.get("architectures")
    masked = isinstance(names, list) and bool(names) and str(names[0]).endswith("ForMaskedLM")
    causal = (config.get(key) for key in ("causal", "is_causal", "is_decoder"))
    return not any(causal) and (masked or config.get("causal") is False or "type_vocab_size" in config)


_LIMITS = {"_window_bound": "sliding_window", "_chunk_bound": "attention_chunk_size"}


def _least(bound: str, before: Mapping[str, Any]) -> dict[str, Any]:
    """Values by which the layers keep the least, where a bound holds: one head, or a window or chunk in all layers.

    Args:
        before: the values as the file has them.
    """
    key = _LIMITS.get(bound)
    if key is None:
        return {"num_key_value_heads": 1}
    return {key: before[key]} if type(before[key]) is int and before[key] > 0 else {}


BOUND = "so the KV cache is an upper bound"


def _heads_bound(config: Mapping[str, Any], values: dict[str, Any]) -> str | None:
    """Key/value heads: as named, one with `multi_query`, else as many as attention heads, which is the most there are.

    ChatGLM's `multi_query_group_num` counts only beside `multi_query_attention`, MPT's and DBRX's number sits in
    `attn_config`, Mamba's in `attn_cfg`, flash-linear-attention's in `attn`.
    """
    if config.get("multi_query_attention") is False and config.get("num_key_value_heads") is None:
        values["num_key_value_heads"] = None
    for inner in (config.get(key) for key in ("attn_config", "attn_cfg", "attn")):
        if values["num_key_value_heads"] is None and isinstance(inner, Mapping):
            heads = (inner.get(key) for key in ("kv_n_heads", "num_kv_heads", "num_heads_kv", "num_heads"))
            values["num_key_value_heads"] = next((count for count in heads if count is not None), None)
            values["num_attention_heads"] = values["num_attention_heads"] or inner.get("num_heads")
            values["head_dim"] = values["head_dim"] or inner.get("head_dim")
    groups, queries = config.get("proj_groups"), values["num_attention_heads"]
    if values["num_key_value_heads"] is None and type(groups) is int and groups > 0 and type(queries) is int:
        values["num_key_value_heads"] = queries // groups  # heads that share one (StripedHyena)
    if values["num_key_value_heads"] is not None:
        return None
    if config.get("multi_query") is True:
        values["num_key_value_heads"] = 1
        return None
    values["num_key_value_heads"] = values["num_attention_heads"]
    if config.get("multi_query_attention") is False:
        return None
    return f"no number of key/value heads is given: taken as all attention heads, {BOUND}"


def _window_bound(config: Mapping[str, Any], values: dict[str, Any]) -> str | None:
    """Which layers a window bounds is the class's to say: without `layer_types`, none is taken to."""
    window = values["sliding_window"]
    if config.get("use_sliding_window") is False and _first(config, "sliding_window") is not None:
        values["sliding_window"] = window = None
    if window is None or isinstance(values["layer_types"], list):
        return None
    values["sliding_window"] = None
    return f"which layers sliding_window {window!r:.20} bounds is not known: taken as none, {BOUND}"


def _chunk_bound(_config: Mapping[str, Any], values: dict[str, Any]) -> str | None:
    """Which layers see chunks is the class's to say, too: Llama 4's fourth ones see everything."""
    chunk = values["attention_chunk_size"]
    if chunk is None or isinstance(values["layer_types"], list):
        return None
    values["attention_chunk_size"] = None
    return f"which layers attention_chunk_size {chunk!r:.20} bounds is not known: taken as none, {BOUND}"


def _first(config: Mapping[str, Any], key: str) -> Any:
    for name in (key, *OTHER_NAMES.get(key, ())):
        if config.get(name) is not None:
            return config[name]
    return None
