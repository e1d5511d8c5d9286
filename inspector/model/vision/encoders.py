"""A config's vision and audio encoders: the facts that their memory follows from.

Read only where a config has such a part. A tower that no rule was measured for, or that lacks a number, is None.
Defaults are those of transformers 5.23's config classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

LARGEST = 2**24
"""No size of an encoder is larger."""

Values = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class VisionTower:
    """An encoder of pictures.

    Attributes:
        model_type: of the whole config ("qwen2_5_vl"), whose classes and processor it is.
        family: how the encoder works: "vit", "grid", "pixtral", "mllama", "llama4".
        hidden_size, intermediate_size, num_hidden_layers, num_attention_heads, patch_size: as the config has them.
        image_size: side of a picture, or of a tile, in pixels; of "grid" none (0), of "pixtral" the longest side.
        hidden_act: the MLP's activation.
        class_tokens: tokens beside the patches that go through the layers.
        merge: patches a side that become one token of the language model.
        out_hidden_size: width of what the language model gets.
        taps: layers whose states are handed on as well (Qwen3-VL's deepstack, Llama 3.2's intermediate layers).
        tiles: the most tiles of a picture; 0 where it is not cut up.
        pinpoints: LLaVA-NeXT's grids, (height, width) in pixels.
        tokens: tokens of the language model for a picture of the encoder, where the config says so.
        extra: another width: Llama 3.2's output, Command A Vision's projector.
    """

    model_type: str
    family: str
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    patch_size: int
    image_size: int
    hidden_act: str
    out_hidden_size: int
    class_tokens: int = 0
    merge: int = 1
    taps: int = 0
    tiles: int = 0
    pinpoints: tuple[tuple[int, int], ...] = ()
    tokens: int | None = None
    extra: int = 0

    @property
    def head_dim(self) -> int:
        return self.hidden_size // self.num_attention_heads


@dataclass(frozen=True, slots=True)
class AudioTower:
    """An encoder of spectrograms (Whisper's): a 30-second clip is 2 * max_source_positions frames."""

    model_type: str
    hidden_size: int
    intermediate_size: int
    num_attention_heads: int
    num_mel_bins: int
    max_source_positions: int


_VIT: Values = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
_SIGLIP: Values = {**_VIT, "image_size": 224, "patch_size": 16, "hidden_act": "gelu_pytorch_tanh"}
_IDEFICS: Values = {**_SIGLIP, "hidden_size": 1152, "num_attention_heads": 16, "patch_size": 32}
_GRID: Values = {"patch_size": 14, "spatial_merge_size": 2, "out_hidden_size": 3584, "temporal_patch_size": 2}
_QWEN3: Values = {
    **_GRID,
    "depth": 27,
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_heads": 16,
    "patch_size": 16,
    "hidden_act": "gelu_pytorch_tanh",
}
_QWEN3_VL: Values = {**_QWEN3, "deepstack_visual_indexes": [8, 16, 24]}
_GLM: Values = {
    **_GRID,
    "depth": 24,
    "hidden_size": 1536,
    "num_heads": 12,
    "hidden_act": "silu",
    "out_hidden_size": 4096,
}

DEFAULTS: dict[str, Values] = {
    "clip_vision_model": {**_SIGLIP, "patch_size": 32, "hidden_act": "quick_gelu"},
    "siglip_vision_model": _SIGLIP,
    "idefics3_vision": _IDEFICS,
    "smolvlm_vision": _IDEFICS,
    "internvl_vision": {
        **{"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096},
        **{"image_size": 448, "patch_size": 14, "hidden_act": "gelu"},
    },
    "pixtral": {
        **{"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096},
        **{"image_size": 1024, "patch_size": 16, "hidden_act": "gelu"},
    },
    "qwen2_vl": {**_GRID, "depth": 32, "embed_dim": 1280, "hidden_size": 3584, "num_heads": 16, "mlp_ratio": 4},
    "qwen2_5_vl": {**_GRID, "depth": 32, "intermediate_size": 3420, "num_heads": 16, "hidden_act": "silu"},
    "qwen3_vl": _QWEN3_VL,
    "qwen3_vl_moe": _QWEN3_VL,
    "qwen3_5": _QWEN3,
    "qwen3_5_moe": _QWEN3,
    "glm4v": _GLM,
    "glm4v_moe": _GLM,
    "glm46v": _GLM,
    "mllama": {
        **{"hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "num_global_layers": 8},
        **{"attention_heads": 16, "image_size": 448, "patch_size": 14, "max_num_tiles": 4, "hidden_act": "gelu"},
        **{"intermediate_layers_indices": [3, 7, 15, 23, 30], "vision_output_dim": 7680},
    },
    "llama4": {
        **{"hidden_size": 768, "intermediate_size": 5632, "num_hidden_layers": 34, "num_attention_heads": 16},
        **{"image_size": 448, "patch_size": 14, "hidden_act": "gelu"},
    },
}
"""Of the encoders' config classes, by their model types, or the whole model's where an encoder has one alone. What a
class leaves out is not here: Qwen2.5-VL's `hidden_size` default is the language model's width by mistake."""

_OLD_NAMES = {"idefics3": "idefics3_vision", "smolvlm": "smolvlm_vision", "siglip": "siglip_vision_model"}
_NAMED_BY_TOWER = ("llava", "llava_next", "paligemma", "gemma3", "mistral3", "aya_vision", "cohere2_vision")
_TILED = {"internvl": 12, "aya_vision": 12, "cohere2_vision": 12, "llama4": 16}
"""The most tiles by the processors' class defaults; the overview comes on top."""


def vision_tower(config: Values, out_hidden_size: int | None) -> VisionTower | None:
    """The vision encoder of a config; None where it is of no measured kind, or a number is missing.

    Args:
        config: config.json as parsed.
        out_hidden_size: the language model's hidden size.
    """
    model_type, vision = config.get("model_type"), config.get("vision_config")
    if not isinstance(model_type, str) or not isinstance(vision, Mapping) or not out_hidden_size:
        return None
    named = vision.get("model_type")
    tower_type = _OLD_NAMES.get(named, named) if isinstance(named, str) else None
    if model_type in ("idefics3", "smolvlm", "internvl"):
        key: str | None = f"{model_type}_vision"
    else:
        key = tower_type if model_type in _NAMED_BY_TOWER else model_type
    if key is None or key not in DEFAULTS:
        return None
    values = {**DEFAULTS[key], **vision}
    if key in _READERS:
        return _READERS[key](model_type, values, out_hidden_size, config)
    if key == "pixtral":
        merge = _whole(config, "spatial_merge_size") or (2 if model_type == "mistral3" else 1)
        return _tower(model_type, "pixtral", values, out_hidden_size, merge=merge)
    return _vit(model_type, key, values, out_hidden_size, config)


def _vit(model_type: str, key: str, values: Values, out: int, config: Values) -> VisionTower | None:
    """CLIP, SigLIP and their kin: pictures or tiles of one size."""
    merge, extra = 1, 0
    pinpoints: tuple[tuple[int, int], ...] = ()
    if model_type in ("idefics3", "smolvlm"):
        merge = _whole(config, "scale_factor") or 2
    elif model_type == "internvl":
        merge = 2  # the inverse of downsample_ratio
        if config.get("downsample_ratio", 0.5) != 0.5:
            return None
    elif model_type in ("aya_vision", "cohere2_vision"):
        merge = _whole(config, "downsample_factor") or 2
        extra = (_whole(config, "alignment_intermediate_size") or 36864) if model_type == "cohere2_vision" else 0
    elif model_type == "llava_next":
        pinpoints = _pinpoints(config.get("image_grid_pinpoints"))
        if not pinpoints:
            return None
    return _tower(
        model_type,
        "vit",
        values,
        out,
        class_tokens=1 if key in ("clip_vision_model", "internvl_vision") else 0,
        merge=merge,
        tiles=_TILED.get(model_type, 0),
        pinpoints=pinpoints,
        tokens=(_whole(config, "mm_tokens_per_image") or 256) if model_type == "gemma3" else None,
        extra=extra,
    )


def _grid(model_type: str, values: Values, out: int, config: Values) -> VisionTower | None:
    """Qwen's and GLM's: patches of pictures of any size, side by side."""
    del config
    values = dict(values)
    taps = values.get("deepstack_visual_indexes") or []
    if model_type == "qwen2_vl":
        values["hidden_size"] = values["embed_dim"]
        ratio = values.get("mlp_ratio")
        if not isinstance(ratio, (int, float)) or isinstance(ratio, bool) or not 0 < ratio < 100:
            return None
        width = _whole(values, "embed_dim")
        values["intermediate_size"] = int(width * ratio) if width else None
        values.setdefault("hidden_act", "quick_gelu")
    elif model_type.startswith("glm"):
        values["intermediate_size"] = values["out_hidden_size"]  # Glm4vVisionMLP; the config's is the merger's
    else:
        out = _whole(values, "out_hidden_size") or out
    if values.get("temporal_patch_size") != 2 or not isinstance(taps, list) or len(taps) > 64:
        return None
    values |= {"num_hidden_layers": values.get("depth"), "num_attention_heads": values.get("num_heads")}
    merge = _whole(values, "spatial_merge_size") or 2
    return _tower(model_type, "grid", values | {"image_size": 0}, out, merge=merge, taps=len(taps))


def _mllama(model_type: str, values: Values, out: int, config: Values) -> VisionTower | None:
    del config
    taps, whole_layers = values.get("intermediate_layers_indices"), _whole(values, "num_global_layers")
    layers, tiles = _whole(values, "num_hidden_layers"), _whole(values, "max_num_tiles")
    output = _whole(values, "vision_output_dim")
    if not isinstance(taps, list) or len(taps) > 64 or not (whole_layers and layers and tiles and output):
        return None
    heads = values.get("attention_heads")
    values = {**values, "num_hidden_layers": layers + whole_layers, "num_attention_heads": heads}
    return _tower(model_type, "mllama", values, out, class_tokens=1, taps=len(taps), tiles=tiles, extra=output)


def _llama4(model_type: str, values: Values, out: int, config: Values) -> VisionTower | None:
    del config
    if values.get("pixel_shuffle_ratio", 0.5) != 0.5:
        return None
    return _tower(model_type, "llama4", values, out, class_tokens=1, merge=2, tiles=_TILED["llama4"])


_READERS = {
    **dict.fromkeys(
        (
            "qwen2_vl",
            "qwen2_5_vl",
            "qwen3_vl",
            "qwen3_vl_moe",
            "qwen3_5",
            "qwen3_5_moe",
            "glm4v",
            "glm4v_moe",
            "glm46v",
        ),
        _grid,
    ),
    "mllama": _mllama,
    "llama4": _llama4,
}


def _tower(model_type: str, family: str, values: Values, out: int, **more: Any) -> VisionTower | None:
    names = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "patch_size")
    sizes = [size for name in names if (size := _whole(values, name))]
    image = 0 if family == "grid" else _whole(values, "image_size")
    activation = values.get("hidden_act")
    if image is None or len(sizes) < len(names) or not isinstance(activation, str):
        return None
    hidden, inner, layers, heads, patch = sizes
    tower = VisionTower(model_type, family, hidden, inner, layers, heads, patch, image, activation, out, **more)
    fits = tower.hidden_size >= tower.num_attention_heads and (family == "grid" or tower.image_size >= tower.patch_size)
    return tower if fits and tower.merge <= 64 and tower.tiles <= 256 else None


def audio_tower(config: Values) -> AudioTower | None:
    """The audio encoder of a config (Qwen2-Audio's, Voxtral's); None where it is of no measured kind."""
    audio, model_type = config.get("audio_config"), config.get("model_type")
    if not isinstance(audio, Mapping) or model_type not in ("qwen2_audio", "voxtral"):
        return None
    own = {"qwen2_audio": ("d_model", "encoder_ffn_dim", "encoder_attention_heads")}
    names = own.get(model_type, ("hidden_size", "intermediate_size", "num_attention_heads"))
    defaults = dict(zip(names, (1280, 5120, 20), strict=True)) | {"num_mel_bins": 128, "max_source_positions": 1500}
    sizes = [_whole({**defaults, **audio}, name) for name in defaults]
    known = [size for size in sizes if size]
    return AudioTower(model_type, *known) if len(known) == len(sizes) else None


def _pinpoints(value: Any) -> tuple[tuple[int, int], ...]:
    if not isinstance(value, list) or len(value) > 256:
        return ()
    pairs = [pair for pair in value if isinstance(pair, list) and len(pair) == 2]
    whole = [(_size(height), _size(width)) for height, width in pairs]
    found = tuple((height, width) for height, width in whole if height and width)
    return found if len(found) == len(value) else ()


def _whole(values: Values, key: str) -> int | None:
    value = values.get(key)
    if isinstance(value, list) and value and all(item == value[0] for item in value):
        value = value[0]  # InternVL's height and width
    return _size(value)


def _size(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= LARGEST else None
