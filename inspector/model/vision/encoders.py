"""A config's vision and audio encoders: the facts that their memory follows from.

Read only where a config has such a part. An encoder that no rule was measured for, or that lacks a number, is None.
The defaults are those of transformers' config classes (inspector/data/vision.json, made by fixtures/make_vision.py);
what the classes of a model type do with images is in inspector/data/by_hand.json, "vision".
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from inspector.model.config.light import by_hand
from inspector.tables import table_text

LARGEST = 2**24
"""No size of an encoder is larger."""

Values = Mapping[str, Any]

KEYS = (
    *("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "patch_size", "image_size"),
    *("hidden_act", "depth", "num_heads", "embed_dim", "mlp_ratio", "spatial_merge_size", "temporal_patch_size"),
    *("out_hidden_size", "deepstack_visual_indexes", "attention_heads", "num_global_layers", "max_num_tiles"),
    *("intermediate_layers_indices", "vision_output_dim"),
)
"""Of a `vision_config`, the keys that are read."""


@dataclass(frozen=True, slots=True)
class Habits:
    """What the classes of a model type do with images, beside the sizes of the encoder.

    Attributes:
        tiling: how an image becomes tiles: "longest_side", "canvas", "least_enlarged", "all"; "" where it does not.
        stream: tensors of the hidden size beside the MLP's.
        score_bytes: of eager attention, for a pair of patches and a head: two copies in 16 bits (4), or a softmax in
            fp32, which makes two copies of 4 beside one of 2.
        positions: tensors of the hidden size for interpolated positions, kept while the layers run.
        pixel_bytes: of a pixel value while the encoder runs: fp32 as the processor makes them, and maybe a copy.
        held_pixel_bytes: the same while the language model runs.
        feature_copies: of what the language model gets: as it is, and joined from the list of images.
        state_copies: of the encoder's last states that live on.
        max_pixels: of the largest image by the processor's class; 28 * 28 * 1280 is Qwen2VLImageProcessor's.
        min_pixels: of the smallest image by the processor's class, of a grid; 56 * 56 is Qwen2VLImageProcessor's.
        published_pixels: the most by preprocessor_config.json of the published repos, which engines load.
        videos: of which vLLM profiles the longest.
        masked: its language part attends by a mask where there are images, whose tokens see each other.
        profiled: False where vLLM does not serve it, or by limits that differ between versions and repos.
    """

    tiling: str = ""
    stream: int = 4
    score_bytes: int = 10
    positions: int = 0
    pixel_bytes: int = 4
    held_pixel_bytes: int = 4
    feature_copies: int = 2
    state_copies: int = 1
    max_pixels: int = 28 * 28 * 1280
    min_pixels: int = 56 * 56
    published_pixels: int | None = None
    videos: bool = False
    masked: bool = False
    profiled: bool = True


@dataclass(frozen=True, slots=True)
class VisionTower:
    """An encoder of images.

    Attributes:
        model_type: of the whole config ("qwen2_5_vl"), whose classes and processor it is.
        family: how the encoder works: "tiles" of one size; "grid", patches of any image side by side; "ragged", the
            same under a mask (Pixtral); "joint_tiles", which attend to each other (Llama 3.2); "rotated_tiles", with
            rotated queries and keys (Llama 4).
        hidden_size, intermediate_size, num_hidden_layers, num_attention_heads, patch_size: as the config has them.
        image_size: side of an image, or of a tile, in pixels; of "grid" none (0), of "ragged" the longest side.
        hidden_act: the MLP's activation.
        out_hidden_size: width of what the language model gets.
        habits: what the type's classes do.
        class_tokens: tokens beside the patches that go through the layers.
        merge: patches a side that become one token of the language model.
        taps: layers whose states are handed on as well (Qwen3-VL's deepstack, Llama 3.2's intermediate layers).
        tiles: the most tiles of an image; 0 where it is not cut up.
        pinpoints: LLaVA-NeXT's grids, (height, width) in pixels.
        tokens: tokens of the language model for an image of the encoder, where the config says so.
        encoder: the encoder's own model type, whose classes it has.
        feature_layer: whose states the projector gets, counted from the last one (-1); None for the class's default.
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
    habits: Habits = Habits()
    class_tokens: int = 0
    merge: int = 1
    taps: int = 0
    tiles: int = 0
    pinpoints: tuple[tuple[int, int], ...] = ()
    tokens: int | None = None
    extra: int = 0
    encoder: str = ""
    feature_layer: int | None = None

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


@lru_cache(maxsize=1)
def _defaults() -> Mapping[str, Values]:
    text = table_text("vision.json")
    found: Mapping[str, Values] = json.loads(text)["defaults"]
    return found


def encoder_defaults(*names: object) -> Values:
    """The defaults of the first of these encoders that is known."""
    return next((_defaults()[name] for name in names if isinstance(name, str) and name in _defaults()), {})


def vision_tower(config: Values, out_hidden_size: int | None) -> VisionTower | None:
    """The vision encoder of a config; None where it is of no measured kind, or a number is missing.

    Args:
        config: config.json as parsed.
        out_hidden_size: the language model's hidden size.
    """
    model_type, vision = config.get("model_type"), config.get("vision_config")
    if not isinstance(model_type, str) or not isinstance(vision, Mapping) or not out_hidden_size:
        return None
    rules: Values | None = by_hand("vision").get(model_type)
    if rules is None:
        return None
    encoder = rules.get("encoder")
    if encoder is None:  # the config names it
        encoder = vision.get("model_type")
        if not isinstance(encoder, str) or encoder not in by_hand("vision_encoders"):
            return None
        encoder = by_hand("vision_encoders")[encoder].get("as", encoder)
    rules = {"family": "tiles", **by_hand("vision_encoders").get(encoder, {}), **rules}
    values = {**_defaults()[encoder], **vision}
    for key, only in rules.get("only", {}).items():
        if values.get(key, config.get(key, only)) != only:
            return None
    sizes = _READERS[rules["family"]](values, rules, config)
    if sizes is None:
        return None
    name, default = rules.get("merge", ("", 1))
    merge = _whole(values, name) or _whole(config, name) or default
    out = (_whole(values, rules["out"]) if "out" in rules else None) or out_hidden_size
    own = {field.name: rules[field.name] for field in dataclasses.fields(Habits) if field.name in rules}
    sizes = {"class_tokens": rules.get("class_tokens", 0), "tiles": rules.get("tiles", 0), **sizes}
    layer = config.get("vision_feature_layer")
    sizes |= {"encoder": encoder, "feature_layer": layer if type(layer) is int and -256 < layer < 0 else None}
    return _tower(model_type, rules["family"], values, out, merge=merge, habits=Habits(**own), **sizes)


def _tiles(values: dict[str, Any], rules: Values, config: Values) -> dict[str, Any] | None:
    """CLIP, SigLIP and their kin: images or tiles of one size."""
    del values
    sizes: dict[str, Any] = {}
    for field in ("tokens", "extra"):
        if field in rules:
            key, default = rules[field]
            sizes[field] = _whole(config, key) or default
    if "pinpoints" in rules:
        sizes["pinpoints"] = _pinpoints(config.get(rules["pinpoints"]))
        if not sizes["pinpoints"]:
            return None
    return sizes


def _grid(values: dict[str, Any], rules: Values, config: Values) -> dict[str, Any] | None:
    """Qwen's and GLM's: patches of images of any size, side by side. Some have their widths under other names."""
    del config
    taps = values.get("deepstack_visual_indexes") or []
    if "width" in rules:
        values["hidden_size"] = values[rules["width"]]
        ratio, width = values.get("mlp_ratio"), _whole(values, rules["width"])
        if not isinstance(ratio, (int, float)) or isinstance(ratio, bool) or not 0 < ratio < 100:
            return None
        values["intermediate_size"] = int(width * ratio) if width else None
    elif "inner" in rules:
        values["intermediate_size"] = values[rules["inner"]]
    if not isinstance(taps, list) or len(taps) > 64:
        return None
    values |= {"num_hidden_layers": values.get("depth"), "num_attention_heads": values.get("num_heads")}
    values["image_size"] = 0
    return {"taps": len(taps)}


def _ragged(values: dict[str, Any], rules: Values, config: Values) -> dict[str, Any] | None:
    """Pixtral's: nothing but sizes."""
    del values, rules, config
    return {}


def _joint_tiles(values: dict[str, Any], rules: Values, config: Values) -> dict[str, Any] | None:
    """Llama 3.2's."""
    del rules, config
    taps, whole_layers = values.get("intermediate_layers_indices"), _whole(values, "num_global_layers")
    layers, tiles = _whole(values, "num_hidden_layers"), _whole(values, "max_num_tiles")
    output = _whole(values, "vision_output_dim")
    if not isinstance(taps, list) or len(taps) > 64 or not (whole_layers and layers and tiles and output):
        return None
    values |= {"num_hidden_layers": layers + whole_layers, "num_attention_heads": values.get("attention_heads")}
    return {"taps": len(taps), "tiles": tiles, "extra": output}


_READERS = {
    "tiles": _tiles,
    "grid": _grid,
    "ragged": _ragged,
    "joint_tiles": _joint_tiles,
    "rotated_tiles": _tiles,
}
"""What a family has beside the common sizes; it may put values under their common names. None: a number is missing."""


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
    if not isinstance(audio, Mapping) or not isinstance(model_type, str) or model_type not in by_hand("audio"):
        return None
    names = by_hand("audio")[model_type]
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
