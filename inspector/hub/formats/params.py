"""params.json, the config that Mistral and Meta publish with files of their own names: read as config.json would be.

Keys: Mistral's are those of vllm/transformers_utils/configs/mistral.py (0.33), Meta's those of llama_models' ModelArgs,
which widens and rounds `hidden_dim` by `ffn_dim_multiplier` and `multiple_of`. Names of tensors: transformers'
conversion scripts of both, and of Pixtral.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from inspector.errors import FileMissing, InvalidConfig
from inspector.hub.checkpoint import File, Tensor, Weights
from inspector.hub.formats.documents import PARAMS_FILE, parse_config
from inspector.hub.formats.place import Place

KEYS = {
    "dim": "hidden_size",
    "hidden_dim": "intermediate_size",
    "n_layers": "num_hidden_layers",
    "n_heads": "num_attention_heads",
    "n_kv_heads": "num_key_value_heads",
    "norm_eps": "rms_norm_eps",
    "activation": "hidden_act",
    "tied_embeddings": "tie_word_embeddings",
}
SAME = (
    *("head_dim", "vocab_size", "rope_theta", "dtype", "n_groups"),
    *("q_lora_rank", "kv_lora_rank", "qk_rope_head_dim", "qk_nope_head_dim", "v_head_dim"),
)
MOE_KEYS = {
    "num_experts": "n_routed_experts",
    "num_experts_per_tok": "num_experts_per_tok",
    "expert_hidden_dim": "moe_intermediate_size",
    "num_shared_experts": "n_shared_experts",
    "first_k_dense_replace": "first_k_dense_replace",
    "route_every_n": "moe_layer_freq",
    "num_expert_groups": "n_group",
    "num_expert_groups_per_tok": "topk_group",
}
LENGTHS = ("max_position_embeddings", "max_seq_len")
LONGEST = 128_000
"""What vLLM and SGLang take where params.json names no length."""
ROUNDED = 256
"""Meta's default of `multiple_of`."""

NOTE = f"read from {PARAMS_FILE}, which mistral-inference, vLLM and SGLang read, and transformers does not"
META_NOTE = f"read from {PARAMS_FILE}, Meta's own form of a config, which transformers does not read"

WORDS = {
    "attention": "self_attn",
    "attention_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "feed_forward": "mlp",
    "gate": "mlp.gate",
    "experts": "mlp.experts",
    "shared_experts": "mlp.shared_experts",
    **{f"w{letter}": f"{letter}_proj" for letter in "qkvo"},
    **{"w1": "gate_proj", "w2": "down_proj", "w3": "up_proj"},
    **{"wq_a": "q_a_proj", "wq_b": "q_b_proj", "q_a_norm": "q_a_layernorm", "kv_a_norm": "kv_a_layernorm"},
    **{"wkv_a_with_mqa": "kv_a_proj_with_mqa", "wkv_b": "kv_b_proj"},
    **{"qscale_act": "input_scale", "qscale_weight": "weight_scale"},
}
"""Parts of a layer's names, and transformers' names for them."""
MIXTRAL_WORDS = {**WORDS, "feed_forward": "block_sparse_moe", "gate": "gate", "experts": "experts"} | {
    name: name for name in ("w1", "w2", "w3")
}
IMAGE_WORDS = {
    **{f"w{letter}": f"{letter}_proj" for letter in "qkvo"},
    **{"w1": "gate_proj", "w2": "down_proj", "w3": "up_proj"},
}
OUTER = {
    "tok_embeddings": "model.embed_tokens",
    "norm": "model.norm",
    "output": "lm_head",
    "layers": "model.layers",
}
IMAGE_OUTER = {
    "vision_encoder": "vision_tower",
    "patch_merger": "multi_modal_projector.patch_merger",
    "pre_mm_projector_norm": "multi_modal_projector.norm",
}
_ADAPTER = re.compile(r"vision_language_adapter\.w_(in|out)\.")


_RANK = re.compile(r"consolidated\.(\d\d)\.pth")
ROW_PARALLEL = (".wo.weight", ".w2.weight")
"""Cut along their inputs, all else along the outputs, and norms not at all: ColumnParallelLinear and RowParallelLinear
of fairscale, as in Meta's model.py."""


def read_consolidated(
    place: Place, folder: str, by_name: Mapping[str, File], has_config: bool, weights: Weights
) -> Weights:
    """Weights of `consolidated` files as transformers would name them, with the params.json beside them as their
    config where there is no other.

    Raises:
        FileMissing: one of the files into which Meta's are cut is not there.
        InvalidConfig: params.json is no JSON object.
    """
    data = None
    if folder + PARAMS_FILE in by_name and not has_config:
        data = place.gather([folder + PARAMS_FILE], [])[0][0]
    params = {} if data is None else parse_config(data, place.where, PARAMS_FILE)  # of something else, maybe
    weights = _all_ranks(place, folder, by_name, params, weights)
    if _is_model(params):
        return _with_params(weights, params)
    mixture = any(".feed_forward.experts." in tensor.name for tensor in weights.tensors)
    words = MIXTRAL_WORDS if mixture else WORDS
    tensors = tuple(tensor._replace(name=_renamed(tensor, words, "")) for tensor in weights.tensors)
    return weights._replace(tensors=tensors)


def beside_config(config: dict[str, Any], data: bytes, where: str) -> dict[str, Any]:
    """A config.json with what vLLM takes from the params.json beside it, under the key "params.json": vLLM reads that,
    and no config.json, where a repo has Mistral's own weights, too (its config_format "auto")."""
    try:
        params = parse_config(data, where, PARAMS_FILE)
    except InvalidConfig:
        return config
    if not _is_model(params):
        return config
    own = mistral_config(params)
    kept: dict[str, Any] = {"architectures": own["architectures"]}
    if any(_whole(params.get(key)) for key in LENGTHS):
        kept["max_position_embeddings"] = own.get("text_config", own)["max_position_embeddings"]
    return {**config, PARAMS_FILE: kept}


def _is_model(params: Mapping[str, Any]) -> bool:
    """Whether a params.json speaks of a model, and not of something else that has parameters."""
    return all(_whole(params.get(key)) for key in ("dim", "n_layers", "n_heads"))


def _all_ranks(
    place: Place, folder: str, by_name: Mapping[str, File], params: Mapping[str, Any], weights: Weights
) -> Weights:
    """Meta's files are cut for as many GPUs as there are: each tensor of the first, as wide as all of them make it."""
    if len(weights.files) != 1 or _RANK.fullmatch(weights.files[0].name.rpartition("/")[2]) is None:
        return weights
    ranks = sorted(
        name for name in by_name if name.startswith(folder) and _RANK.fullmatch(name.removeprefix(folder)) is not None
    )
    count = len(ranks)
    missing = next((n for n, name in enumerate(ranks) if name != f"{folder}consolidated.{n:02}.pth"), None)
    if missing is not None:
        raise FileMissing(f"{place.where} has no {folder}consolidated.{missing:02}.pth", "Was the upload cut short?")
    if count == 1:
        return weights

    def whole(tensor: Tensor) -> Tensor:
        if len(tensor.shape) != 2 or tensor.name.startswith("rope."):
            return tensor
        out, into = tensor.shape
        along_inputs = tensor.name.endswith(ROW_PARALLEL)
        if tensor.name.startswith("tok_embeddings.") and into != params.get("dim", into):
            along_inputs = True
        return tensor._replace(shape=(out, into * count) if along_inputs else (out * count, into))

    note = f"{count} files, each a GPU's part: each tensor is taken as {count} times as wide"
    return weights._replace(
        tensors=tuple(map(whole, weights.tensors)),
        files=tuple(by_name[name] for name in ranks),
        warnings=(*weights.warnings, note),
    )


def _with_params(weights: Weights, params: Mapping[str, Any]) -> Weights:
    """Weights whose config is a params.json: its values under transformers' keys, their tensors under its names."""
    meta = "multiple_of" in params or "ffn_dim_multiplier" in params
    config, notes = (_meta(params, weights), [META_NOTE]) if meta else (mistral_config(params), [NOTE])
    text = config.get("text_config", config)
    if not meta and not any(_whole(params.get(key)) for key in LENGTHS):
        notes.append(f"{PARAMS_FILE} names no longest context: {LONGEST:,} tokens, which vLLM and SGLang take")
    words = MIXTRAL_WORDS if text.get("model_type") == "mixtral" else WORDS
    prefix = "language_model." if config is not text else ""
    tensors = tuple(tensor._replace(name=_renamed(tensor, words, prefix)) for tensor in weights.tensors)
    return weights._replace(tensors=tensors, config=config, warnings=(*weights.warnings, *notes))


def mistral_config(params: Mapping[str, Any]) -> dict[str, Any]:
    """What Mistral's keys say, under transformers' own."""
    config = {"hidden_act": "silu", "tie_word_embeddings": False, "sliding_window": None}
    config |= {KEYS.get(key, key): params[key] for key in (*KEYS, *SAME) if params.get(key) is not None}
    lengths = [size for key in LENGTHS if (size := _whole(params.get(key)))]
    config["max_position_embeddings"] = min(lengths, default=LONGEST)
    _windows(params, config)
    yarn = _mapping(params.get("yarn"))
    if yarn:
        config["rope_parameters"] = {
            "rope_type": "yarn",
            "rope_theta": config.get("rope_theta"),
            "factor": yarn.get("factor"),
            "original_max_position_embeddings": yarn.get("original_max_position_embeddings"),
        }
    config |= _quantization(_mapping(params.get("quantization")))
    moe = _mapping(params.get("moe"))
    if params.get("model_type") == "mamba":
        config |= {"model_type": "mamba2", "architectures": ["Mamba2ForCausalLM"]}
    elif moe.get("num_shared_experts") or params.get("qk_nope_head_dim"):
        config |= {new: moe[key] for key, new in MOE_KEYS.items() if key in moe}
        config |= {"model_type": "deepseek_v3", "architectures": ["MistralLarge3ForCausalLM"]}
    elif moe:
        config |= {"num_local_experts": moe.get("num_experts"), "num_experts_per_tok": moe.get("num_experts_per_tok")}
        config |= {"model_type": "mixtral", "architectures": ["MixtralForCausalLM"]}
    else:
        config |= {"model_type": "mistral", "architectures": ["MistralForCausalLM"]}
    return _with_encoders(params, config)


def _windows(params: Mapping[str, Any], config: dict[str, Any]) -> None:
    """`sliding_window`: of all layers, or a list that repeats, null for a layer without one."""
    window, count = params.get("sliding_window"), _whole(params.get("n_layers"))
    if isinstance(window, list) and window and count:
        cycle = ["full_attention" if size is None else "sliding_attention" for size in window]
        config["layer_types"] = (cycle * (count // len(cycle) + 1))[:count]
        window = next((size for size in window if size is not None), None)
    elif _whole(window) and count:
        config["layer_types"] = ["sliding_attention"] * min(count, 10_000)
    config["sliding_window"] = _whole(window)


def _quantization(found: Mapping[str, Any]) -> dict[str, Any]:
    if not found:
        return {}
    if isinstance(found.get("quant_method"), str):
        return {"quantization_config": dict(found)}
    method = "fp8" if found.get("qformat_weight") == "fp8_e4m3" else str(found.get("qformat_weight"))
    scheme = "dynamic" if found.get("qscheme_act") == "NO_SCALES" else "static"
    return {"quantization_config": {"quant_method": method, "activation_scheme": scheme}}


def _with_encoders(params: Mapping[str, Any], text: dict[str, Any]) -> dict[str, Any]:
    """The whole config where there is an image encoder, or another beside the language part."""
    multimodal = _mapping(params.get("multimodal"))
    image = _mapping(params.get("vision_encoder")) or _mapping(multimodal.get("vision_encoder_args"))
    if not image and not multimodal:
        return text
    outer = {key: text.pop(key) for key in ("quantization_config",) if key in text}
    if not image:
        encoder = _mapping(_mapping(multimodal.get("whisper_model_args")).get("encoder_args"))
        name = "VoxtralRealtimeGeneration" if encoder.get("causal") else "VoxtralForConditionalGeneration"
        return {**outer, "architectures": [name], "text_config": text}
    merges = "patch_merge" in str(image.get("mm_projector_id"))
    model_type, name = ("mistral3", "Mistral3") if merges else ("llava", "Llava")
    return {
        **outer,
        "model_type": model_type,
        "architectures": [f"{name}ForConditionalGeneration"],
        "text_config": text,
        "vision_config": {"model_type": "pixtral", **image},
        "spatial_merge_size": image.get("spatial_merge_size", 2),
        "multimodal_projector_bias": bool(image.get("adapter_bias")),
        "projector_hidden_act": "gelu",
        "vision_feature_layer": -1,
        "vision_feature_select_strategy": "full",
        "image_token_index": image.get("image_token_id"),
    }


def _meta(params: Mapping[str, Any], weights: Weights) -> dict[str, Any]:
    """What Meta's keys say; the vocabulary's size, -1 in older files, is that of the embedding."""
    config: dict[str, Any] = {KEYS.get(key, key): params[key] for key in (*KEYS, *SAME) if params.get(key) is not None}
    if not _whole(config.get("vocab_size")):
        rows = [tensor.shape[0] for tensor in weights.tensors if tensor.name == "output.weight" and tensor.shape]
        config["vocab_size"] = next(iter(rows), None)
    width, factor = _whole(params.get("dim")), params.get("ffn_dim_multiplier")
    if width and "intermediate_size" not in config:
        inner = 2 * 4 * width // 3
        inner = int(inner * factor) if isinstance(factor, (int, float)) and 0 < factor < 100 else inner
        unit = _whole(params.get("multiple_of")) or ROUNDED
        config["intermediate_size"] = -(-inner // unit) * unit
    return {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "max_position_embeddings": None, **config}


def _renamed(tensor: Tensor, words: Mapping[str, str], prefix: str) -> str:
    """A tensor's name as transformers has it; its own where it is none of the known ones."""
    name = tensor.name
    if _ADAPTER.match(name):
        return _ADAPTER.sub(lambda m: f"multi_modal_projector.linear_{1 if m[1] == 'in' else 2}.", name)
    first, dot, rest = name.partition(".")
    if first in IMAGE_OUTER:
        return f"{IMAGE_OUTER[first]}{dot}{'.'.join(IMAGE_WORDS.get(word, word) for word in rest.split('.'))}"
    if first in OUTER:
        return f"{prefix}{OUTER[first]}{dot}{'.'.join(words.get(word, word) for word in rest.split('.'))}"
    return name


def _whole(value: Any) -> int | None:
    return value if type(value) is int and 0 < value < 2**31 else None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
