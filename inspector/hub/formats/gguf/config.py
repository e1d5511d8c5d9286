"""GGUF's metadata as the config.json that it was made from, as far as it says: the same model code reads both.

Sources: the keys of gguf-py's constants.py, what convert_hf_to_gguf.py of llama.cpp writes for each, and transformers'
`GGUF_CONFIG_MAPPING`. Keys match whole, never by suffix (`rope.scaling.original_context_length` is no context length).
"""

from __future__ import annotations

import json
from collections.abc import Container, Mapping
from functools import lru_cache
from typing import Any

from inspector.errors import InvalidConfig
from inspector.hub.formats.gguf.header import Omitted
from inspector.hub.formats.gguf.kept import kept_layers
from inspector.tables import table_text

ENCODER = "clip"
"""The architecture of a file that holds an encoder for images or sound alone (mmproj)."""

MAX_VALUE = 2**53
"""More than any size of a model, and still exact as a JSON number."""

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


@lru_cache(maxsize=1)
def gguf_table() -> Mapping[str, Any]:
    """What llama.cpp's names mean (inspector/data/gguf.json, made by fixtures/make_gguf.py).

    types           architecture -> transformers' model_type, where it is more than "-" for "_"
    told_apart      architecture -> [key, its value (null: any but 0), model_type then, else model_type]
    experts         model_type -> the config's keys for all experts and those of a token, where not the usual ones
    states          model_type -> what `ssm.*` means there, and the keys that are computed of it
    layers          model_type -> how the kinds of layers follow from the key/value heads of each
    config          model_type -> rules, and keys that have another one's value
    compared        model types whose tensors were compared with the converter's
    quantizer       model_type -> what llama-quantize takes it for
    delta_net       model types whose gated delta nets the converter takes apart
    headless        model types whose converter drops a tied head that the checkpoint has
    tied            model types whose head was written a second time by older converters
    windowless      model types whose sliding window llama.cpp does not use
    """
    found: Mapping[str, Any] = json.loads(table_text("gguf.json"))
    return found


def gguf_config(metadata: Mapping[str, Any], tensor_names: Container[str] = ()) -> dict[str, Any]:
    """A config of the language model that the metadata describes.

    Values that differ by layer are given as their largest, and in full under `gguf_per_layer` (key -> list). What
    llama.cpp keeps of a sequence in each layer is `gguf_kept` (kept.py); for an architecture that its table does not
    have, what the file's keys say: `gguf_full_heads` (heads, widths of a key and a value) where the
    file has a latent and keys and values are made of it first, else `gguf_latent` (its width and the rotary key's);
    `gguf_states` (shape and dtype of each state).

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
    if architecture == ENCODER:
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
    config["gguf_kept"] = kept_layers(architecture, reader.raw, tensor_names)
    if config["gguf_kept"] is None:
        _kept(config, reader, tensor_names)
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
        """A whole number, also where it is written as a float (`shared_kv_layers`); of a list by layer the largest.
        The list is noted under `name` if its items differ."""
        value = self.raw(key)
        if value is None:
            return None
        items = value if type(value) is list else [int(value) if type(value) is float and value.is_integer() else value]
        if not items or not all(type(n) is int and 0 <= n <= MAX_VALUE for n in items):
            raise InvalidConfig(f"{self.architecture}.{key} is no size")
        if name and len(set(items)) > 1:
            self.per_layer[name] = items
        return int(max(items))


def _model_type(architecture: str, reader: _Values) -> str:
    usual: str = gguf_table()["types"].get(architecture, architecture.replace("-", "_"))
    if architecture in gguf_table()["told_apart"]:
        key, sign, then, *other = gguf_table()["told_apart"][architecture]
        value = reader.number(key)
        return str(then if (value == sign if sign is not None else value) else [*other, usual][0])
    return usual


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


def _kept(config: dict[str, Any], reader: _Values, tensor_names: Container[str]) -> None:
    """What llama.cpp keeps in a way of its own: the heads made of a latent, by files older than its latent cache
    (no `*_mla` keys, and `attn_kv_b` in one), and states as src/llama-hparams.cpp sizes them (n_embd_r, n_embd_s)."""
    key, value = reader.number("attention.key_length"), reader.number("attention.value_length")
    blocks, cached = reader.number("block_count") or 0, reader.number("attention.head_count_kv")
    split = any(
        f"blk.{index}.attn_{part}_b.weight" in tensor_names for index in range(min(blocks, 999)) for part in "kv"
    )
    mla = reader.number("attention.key_length_mla") or reader.number("attention.value_length_mla") or split
    heads = cached or config.get("num_attention_heads")
    rank, rotary = config.get("kv_lora_rank"), reader.number("rope.dimension_count")
    if rank and mla and (rotary or (key and key > rank)):
        config["gguf_latent"] = [rank, key - rank if key and key > rank else rotary]
    usual = config.get("hidden_size", 0) // (config.get("num_attention_heads") or 1)
    if rank and not mla and heads and (key or usual) and (value or usual):
        config["gguf_full_heads"] = [heads, key or usual, value or usual]
    config["gguf_states"] = _kept_states(config, reader)


def _kept_states(config: Mapping[str, Any], reader: _Values) -> list[Any] | None:
    """Shape and dtype of each state of a recurrent layer; convolutions with all their inputs. None without one."""
    hidden, heads, head = config.get("hidden_size"), config.get("num_attention_heads"), reader.number("wkv.head_size")
    if head and hidden:
        shifts = reader.number("token_shift_count") or 2
        return [[[shifts, hidden], "F32"], [[hidden // head, head, head], "F32"]]
    kernel = reader.number("shortconv.l_cache")
    if kernel and hidden:
        return [[[hidden, kernel], "compute"]]
    kernel, width = reader.number("ssm.conv_kernel"), reader.number("kda.head_dim")
    if kernel and width and heads:
        return [[[3 * heads * width, kernel], "compute"], [[heads, width, width], "F32"]]
    inner, state = reader.number("ssm.inner_size"), reader.number("ssm.state_size")
    if kernel and inner and state:
        channels = inner + 2 * (reader.number("ssm.group_count") or 0) * state
        return [[[channels, kernel], "compute"], [[inner, state], "F32"]]
    return None


def _experts(config: dict[str, Any], reader: _Values) -> None:
    total, active = reader.number("expert_count"), reader.number("expert_used_count")
    total_key, active_key = gguf_table()["experts"].get(config["model_type"], ("num_experts", "num_experts_per_tok"))
    if total:
        config[total_key] = total
        if active:
            config[active_key] = active


def _states(config: dict[str, Any], reader: _Values) -> None:
    rule = gguf_table()["states"].get(config["model_type"], {})
    for key, name in rule.get("keys", {}).items():
        value = reader.number(key)
        if value is not None:
            config[name] = value
    inner, heads = reader.number("ssm.inner_size"), reader.number("ssm.time_step_rank")
    if "head_dim" in rule and inner and heads:
        config[rule["head_dim"]] = inner // heads
    hidden = config.get("hidden_size")
    if "expand" in rule and inner and hidden and inner % hidden == 0:
        config[rule["expand"]] = inner // hidden


def _layers(config: dict[str, Any], reader: _Values) -> None:
    """Kinds of layers: from the window's pattern, or from which layers have key/value heads."""
    count = config.get("num_hidden_layers", 0)
    pattern = reader.raw("attention.sliding_window_pattern")
    if type(pattern) is int:
        config["sliding_window_pattern"] = reader.number("attention.sliding_window_pattern")
    elif type(pattern) is list and pattern:
        config["layer_types"] = ["sliding_attention" if slides else "full_attention" for slides in pattern[:count]]
    kv_heads = reader.per_layer.get("num_key_value_heads", [])
    rule, *kinds = gguf_table()["layers"].get(config["model_type"], [""])
    if not kv_heads or not rule:
        return
    if rule == "kinds":
        without, with_heads = kinds
        config["layer_types"] = [with_heads if n else without for n in kv_heads[:count]]
    elif rule == "blocks":
        widths = reader.per_layer.get("intermediate_size", [])
        other = "moe" if reader.number("expert_count") else "mlp"
        config["layers_block_type"] = [
            "attention" if n else other if i < len(widths) and widths[i] else "mamba"
            for i, n in enumerate(kv_heads[:count])
        ]
    elif rule == "period":
        full = [i for i, n in enumerate(kv_heads) if n]
        config["attn_layer_offset"] = full[0]
        config["attn_layer_period"] = full[1] - full[0] if len(full) > 1 else len(kv_heads)
    elif rule == "window_heads" and "layer_types" in config:
        heads = dict(zip(config["layer_types"], kv_heads, strict=False))
        config["num_key_value_heads"] = heads.get("sliding_attention", max(kv_heads))
        config["num_global_key_value_heads"] = heads.get("full_attention", max(kv_heads))


def _by_type(config: dict[str, Any], model_type: str) -> None:
    """Types whose config has names of its own for what has been read."""
    heads, kv_heads = config.get("num_attention_heads"), config.get("num_key_value_heads")
    own = gguf_table()["config"].get(model_type, {})
    rules, names = own.get("rules", ()), own.get("names", {})
    if "divided_head_dim" in rules:  # its class divides, and lets nobody set it
        config.pop("head_dim", None)
    if "multi_query" in rules and kv_heads:
        config["multi_query"] = kv_heads == 1
    if "new_decoder_architecture" in rules and kv_heads:
        config["new_decoder_architecture"] = kv_heads not in (1, heads)
        config["num_kv_heads"] = kv_heads
    if all(config.get(source) for source in names.values()):
        config.update({name: config[source] for name, source in names.items()})
