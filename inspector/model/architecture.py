"""The architecture: the facts of a config's language part, and what each of its layers keeps between two steps."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from inspector.errors import InvalidConfig
from inspector.model.config.light import ENCODER_DECODER, cache_facts, table
from inspector.model.config.read import read_config, shown
from inspector.model.config.text import HEAD_LISTS, TextConfig, language_part
from inspector.model.layers.full import cached_heads, head_dim_of
from inspector.model.layers.layer import Layer, StateTensor
from inspector.model.layers.registry import image_facts, layers_of
from inspector.model.model import Architecture, Experts, Quantization

if TYPE_CHECKING:  # of few configs
    from inspector.model.vision.encoders import AudioTower, VisionTower

LARGEST_COUNT = 2**40
"""No dimension of a model is larger: a bound against absurd values, far above any vocabulary or context."""
MOST_LAYERS = 100_000
"""No model has more layers: each is an object here."""

_POSITIVE_SIZES = frozenset(
    {"num_key_value_heads", "head_dim", "v_head_dim", "kv_lora_rank", "hidden_size", "compress_rate"}
)
_ACTIVE_EXPERT_KEYS = ("num_experts_per_tok", "num_experts_per_token", "moe_topk", "moe_k", "top_k_experts")
_EXPERT_KEYS = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")
_SHARED_EXPERT_KEYS = ("n_shared_experts", "num_shared_experts", "moe_num_shared_experts")
_SHARED_WIDTH_KEYS = ("shared_expert_intermediate_size", "shared_intermediate_size", "share_expert_dim")
_SOFTCAP_KEYS = ("final_logit_softcapping", "logits_soft_cap", "output_logit_soft_cap")
_WIDTH_KEYS = ("intermediate_size", "ffn_dim", "ffn_hidden_size", "n_inner", "d_ff", "inner_dim")
_CONTEXT_KEYS = ("max_position_embeddings", "max_target_positions", "n_positions", "max_seq_len")
PARAMS = "params.json"
"""Under this key a config has what stands in Mistral's own file beside it, which vLLM goes by."""
AUTO_MAP = "auto_map"
"""Where a config names the repo's own code, which is never run: Auto class -> module and class."""
_ENGINE_KEYS = (
    *_CONTEXT_KEYS,
    "emb_neighbor_num",
    "hybrid_layer_pattern",
    "indexer_compress_ratio",
    "kv_lora_rank",
    "layer_types",
    "loop_num",
    "loop_window_size",
    "mamba_ssm_cache_dtype",
    "mamba_ssm_dtype",
    "max_seq_length",
    "max_sequence_length",
    "model_max_length",
    "num_key_value_heads",
    "original_max_position_embeddings",
    "qk_rope_head_dim",
    "rope_parameters",
    "rope_scaling",
    "seq_len",
    "seq_length",
    "sliding_window_size",
    "swa_num_key_value_heads",
)
"""Keys of the language part whose value a serving engine's own rule takes as it stands in the file."""

_ACTIVATION_KEYS = ("hidden_activation", "hidden_act", "activation_function", "dense_act_fn", "activation")


def read_architecture(config: Mapping[str, Any], quantization: Quantization | None = None) -> Architecture:
    """The facts of a config.

    Args:
        config: config.json as parsed.
        quantization: the checkpoint's own packing, handed through.

    Raises:
        InvalidConfig: the config holds values that no model can have.
    """
    if not isinstance(config, Mapping):
        raise InvalidConfig("config.json is no JSON object.", "Check the repo's config.json.")
    if not is_decoder_alone(config):
        return architecture_of(read_config(config), config, quantization)
    whole = {**config, "is_encoder_decoder": True} if config.get("is_encoder_decoder", True) is not None else config
    return architecture_of(decoder_alone(read_config(whole)), config, quantization)


def is_decoder_alone(config: Mapping[str, Any]) -> bool:
    """Whether a config names the causal class of an encoder-decoder (BartForCausalLM)."""
    names, model_type = config.get("architectures"), config.get("model_type")
    causal = isinstance(names, list) and bool(names) and str(names[0]).endswith("ForCausalLM")
    if not causal or not isinstance(model_type, str):
        return False
    return table().get(model_type, {}).get("role") == ENCODER_DECODER


def decoder_alone(text: TextConfig) -> TextConfig:
    """The decoder of an encoder-decoder as its causal class builds it, whatever the file says: it has the decoder's own
    layers and heads, and attends to no encoder."""
    return dataclasses.replace(text, values={**text.values, "is_decoder": True, "is_encoder_decoder": False})


def architecture_of(
    text: TextConfig, config: Mapping[str, Any], quantization: Quantization | None = None
) -> Architecture:
    """The facts of a config whose language part has been read."""
    names = config.get("architectures")
    architecture = str(names[0]) if isinstance(names, list) and names else None
    decoder = _keeps_cache(text, architecture)
    layer_count = _count(text, "num_hidden_layers")
    experts = _experts(text)
    _check_layer_counts(text)
    image_tokens, notes = image_facts(text, config)
    layers = _run(layers_of(text, decoder=decoder, image_tokens=image_tokens), text)
    windows = (layer.window for layer in layers if layer.kind == "sliding_attention")
    vision, audio = _has_part(text, config, ("vision", "visual", "vit_")), _has_part(text, config, ("audio", "speech"))
    vision_tower, audio_tower = _encoders(config, text) if vision or audio else (None, None)
    part = language_part(config) or config
    found = Architecture(
        model_type=text.model_type,
        architecture=architecture,
        num_hidden_layers=layer_count,
        hidden_size=_count(text, "hidden_size"),
        num_attention_heads=_count(text, "num_attention_heads"),
        num_key_value_heads=_key_value_heads(text, part),
        head_dim=head_dim_of(text.values),
        intermediate_size=_intermediate_size(text),
        vocab_size=_count(text, "vocab_size"),
        max_position_embeddings=(maximum := _first_count(text, _CONTEXT_KEYS)),
        tie_word_embeddings=_flag(text, "tie_word_embeddings"),
        dtype=_dtype(config),
        sliding_window=next(windows, None),
        experts=experts,
        quantization=quantization,
        layers=layers,
        is_decoder=decoder,
        mlp_gated=_first_flag(text, "is_gated_act", text.mlp_gated),
        moe_intermediate_size=_count(text, "moe_intermediate_size") if experts else None,
        hidden_act=next((text.get(key) for key in _ACTIVATION_KEYS if isinstance(text.get(key), str)), None),
        logits_softcap=any(text.get(key) for key in _SOFTCAP_KEYS),
        vision=vision,
        audio=audio,
        exact=text.exact,
        outside=text.outside,
        language_type=text.text_type,
        notes=text.notes + notes,
        vision_tower=vision_tower,
        audio_tower=audio_tower,
        stretched_context=_longest_context(config, maximum),
        written=_written(config, part),
        encoder_layers=_whole(config, "encoder_layers"),
        vision_size=_vision_size(config) if vision else None,
    )
    _check(found)
    if text.least and decoder:
        other = dataclasses.replace(text, values={**text.values, **text.least})
        least = _run(layers_of(other, decoder=True), text)
        found = dataclasses.replace(found, layers_at_least=() if least == layers else least)
    return found


def _whole(values: Mapping[str, Any], key: str) -> int | None:
    value = values.get(key)
    return value if type(value) is int and 0 < value <= 2**24 else None


def _vision_size(config: Mapping[str, Any]) -> tuple[int | None, int | None] | None:
    """(num_hidden_layers, hidden_size) of `vision_config`, of its class where the config does not say."""
    vision = config.get("vision_config")
    if not isinstance(vision, Mapping):
        return None
    from inspector.model.vision.encoders import encoder_defaults

    values = {**encoder_defaults(vision.get("model_type"), config.get("model_type")), **vision}
    return _whole(values, "num_hidden_layers"), _whole(values, "hidden_size")


def _written(config: Mapping[str, Any], part: Mapping[str, Any]) -> dict[str, Any]:
    """See `Architecture.written`; of a params.json beside config.json, what the hub has kept of it; and `auto_map`."""
    found = {key: part[key] for key in _ENGINE_KEYS if part.get(key) is not None}
    return found | {key: config[key] for key in (PARAMS, AUTO_MAP) if isinstance(config.get(key), Mapping)}


def _encoders(config: Mapping[str, Any], text: TextConfig) -> tuple[VisionTower | None, AudioTower | None]:
    """The facts of the vision and the audio encoder."""
    from inspector.model.vision.encoders import audio_tower, vision_tower

    return vision_tower(config, _count(text, "hidden_size")), audio_tower(config)


def _check_layer_counts(text: TextConfig) -> None:
    """Refuses more layers than any model has, before one object a layer is made."""
    for key in ("num_hidden_layers", "num_decoder_layers"):
        if (_count(text, key) or 0) > MOST_LAYERS:
            raise _no_such_model(key, text.get(key))


def _check(found: Architecture) -> None:
    """Refuses sizes that no model can have.

    Raises:
        InvalidConfig: see `_check_sizes`.
    """
    for layer in {id(layer): layer for layer in found.layers}.values():  # equal layers are mostly one object
        _check_sizes(layer)
    if found.head_dim is not None and not 0 <= found.head_dim <= LARGEST_COUNT:  # an encoder has no layer that says so
        raise _no_such_model("head_dim", found.head_dim)
    if found.hidden_size == 0:
        raise _no_such_model("hidden_size", 0)


def _keeps_cache(text: TextConfig, architecture: str | None) -> bool:
    """Whether the model generates token by token: by its type, by `is_decoder` where the class can be both (BERT), and
    not where only the encoder is built."""
    if architecture is not None and architecture.endswith("EncoderModel"):
        return False
    if text.role == "either":
        return bool(text.get("is_decoder"))
    return text.role in ("decoder", ENCODER_DECODER)


def _count(text: TextConfig, key: str) -> int | None:
    """A non-negative whole number, or None where the config has none or a list of them.

    Raises:
        InvalidConfig: anything else.
    """
    value = text.get(key)
    if isinstance(value, list):  # one a layer (Gemma 3n); a number only if they agree
        value = value[0] if value and all(item == value[0] for item in value) else None
    if value is None or isinstance(value, Mapping):  # LXMERT counts its parts apart
        return None
    if value == -1 and key in _CONTEXT_KEYS:  # XLNet's way to say that there is no limit
        return None
    if isinstance(value, float) and value.is_integer():  # 1e6 is how some configs write their context
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= LARGEST_COUNT:
        raise _no_such_model(key, value)
    return value


def _check_sizes(part: Any) -> None:
    """Refuses a layer of sizes that none can have: its memory would be nothing, or less.

    Raises:
        InvalidConfig: a width or a count of heads below 1, another number below 0, or any that is absurdly large.
    """
    for field in dataclasses.fields(part):
        key, value = field.name, getattr(part, field.name)
        if field.type in ("int", "int | None") and not isinstance(value, int | None):
            raise _no_such_model(key, value)
        if isinstance(value, int):
            least = 1 if key in _POSITIVE_SIZES else 0
            if isinstance(value, bool) or not least <= value <= LARGEST_COUNT:
                raise _no_such_model(key, value)
        elif isinstance(value, Layer):
            _check_sizes(value)
        elif isinstance(value, tuple):
            for item in value:
                if isinstance(item, int) and not 0 <= item <= LARGEST_COUNT:
                    raise _no_such_model("the size of a layer's state", item)
                if isinstance(item, StateTensor):
                    _check_sizes(item)


def _no_such_model(key: str, value: object) -> InvalidConfig:
    return InvalidConfig(
        f"config.json: {key} is {shown(value)}, which no model can have.",
        "Check the repo's config.json: a whole number is due there.",
    )


def _first_count(text: TextConfig, keys: tuple[str, ...]) -> int | None:
    return next((count for count in (_count(text, key) for key in keys) if count is not None), None)


def _intermediate_size(text: TextConfig) -> int | None:
    """The MLP's width; a multiple of the hidden size where a type leaves it out (GPT-2 and its kin: 4)."""
    width = _first_count(text, _WIDTH_KEYS)
    hidden = _count(text, "hidden_size")
    factor = table().get(text.text_type or "", {}).get("mlp_width")
    return factor * hidden if width is None and hidden is not None and factor is not None else width


def _key_value_heads(text: TextConfig, part: Mapping[str, Any]) -> int | None:
    """Key/value heads of a layer's projections; what is cached may be more of them (Falcon's new architecture). None
    where a list has other numbers of them for other layers."""
    if any(isinstance(each, list) and len({*map(str, each)} - {"0"}) > 1 for each in map(part.get, HEAD_LISTS)):
        return None
    named = _first_count(text, ("num_key_value_heads", "num_kv_heads"))
    if named is not None and not (text.get("multi_query") and not text.get("new_decoder_architecture")):
        return named
    return cached_heads(text.values, cache_facts(text.text_type))


def _first_flag(text: TextConfig, key: str, otherwise: bool | None) -> bool | None:
    value = _flag(text, key)
    return otherwise if value is None else value


def _has_part(text: TextConfig, config: Mapping[str, Any], prefixes: tuple[str, ...]) -> bool:
    """Whether a sub-config, the file's or one that the class makes by itself, is of that kind."""
    parts = {key for key, value in config.items() if isinstance(value, Mapping)} | set(text.parts)
    thinker = config.get("thinker_config")
    if isinstance(thinker, Mapping):
        parts |= set(thinker)
    return any(part.startswith(prefixes) for part in parts)


def _flag(text: TextConfig, key: str) -> bool | None:
    value = text.get(key)
    return value if isinstance(value, bool) else None


def _longest_context(config: Mapping[str, Any], own: int | None) -> int | None:
    """The tokens that a longer RoPE makes of a shorter maximum: YaRN's factor times the original one (arXiv 2309.00071;
    Qwen's model cards add it to a config that keeps its own); or what `model_max_length` says where it is more
    (Command-R, whose maximum is that of its first stage of training)."""
    part = language_part(config) or config
    for rope in (part.get("rope_scaling"), part.get("rope_parameters")):
        if isinstance(rope, Mapping) and "yarn" in (rope.get("rope_type"), rope.get("type")):
            factor, original = rope.get("factor"), rope.get("original_max_position_embeddings") or own
            if isinstance(factor, (int, float)) and isinstance(original, int) and 1 <= factor <= LARGEST_COUNT:
                return min(int(factor * original), LARGEST_COUNT)
    longer = part.get("model_max_length")
    return longer if own and type(longer) is int and own < longer <= LARGEST_COUNT else None


def _run(layers: tuple[Layer, ...], text: TextConfig) -> tuple[Layer, ...]:
    """The layers as they run for one token."""
    return tuple(layers[index] for index in text.runs) if text.runs and max(text.runs) < len(layers) else layers


def _experts(text: TextConfig) -> Experts | None:
    kinds = text.get("layers_block_type")
    if isinstance(kinds, list) and "mlp" in kinds and "moe" not in kinds:  # a class that can have both
        return None
    total = _first_count(text, _EXPERT_KEYS)
    active = _first_count(text, _ACTIVE_EXPERT_KEYS)
    if not total or total < 2 or active is None:
        return None
    shared = _first_count(text, _SHARED_EXPERT_KEYS)
    if shared is None:
        shared = int(any(_count(text, key) for key in _SHARED_WIDTH_KEYS))
    return Experts(total, active, shared or text.always_shared_experts)


def _dtype(config: Mapping[str, Any]) -> str | None:
    """The precision that the config names: at the top, in its language part however deep it sits, or in an encoder."""
    parts = [
        config,
        language_part(config),
        *(config.get(key) for key in ("decoder", "vision_config", "encoder_config")),
    ]
    for part in parts:
        if isinstance(part, Mapping):
            name = part.get("dtype") or part.get("torch_dtype")
            if isinstance(name, str):
                return name.removeprefix("torch.")
    return None
