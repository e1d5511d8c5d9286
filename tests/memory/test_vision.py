"""Encoders and images against peaks and counts of the real classes, and numbers worked out by hand."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspector.memory import Workload, estimate
from inspector.memory.inference.encoders import (
    audio_peak,
    encode_images,
    encoder_peak,
    images_held,
    with_media,
)
from inspector.memory.inference.images import CutImages, cut_up, default_size
from inspector.model.architecture import read_architecture
from inspector.model.model import Architecture, Model, Parameters
from inspector.model.vision.encoders import AudioTower, VisionTower, audio_tower, vision_tower

DATA = Path(__file__).with_name("data")
PEAKS: dict[str, Any] = json.loads((DATA / "vision_peaks.json").read_text())["models"]
COUNTS = json.loads((DATA / "image_counts.json").read_text())["images"]
UNKNOWN = {"llava-onevision-7b": "its images' tokens are cut down to nine tiles' by a rule that is not here"}
"""Measured, but not told by a rule: null and a warning."""


def config_of(name: str) -> dict[str, Any]:
    return {**PEAKS[name]["config"], "model_type": PEAKS[name]["model_type"]}


def tower_of(name: str) -> VisionTower:
    config = config_of(name)
    tower = vision_tower(config, config["text_config"]["hidden_size"])
    assert tower is not None
    return tower


def measured_images(tower: VisionTower, sizes: list[list[int]]) -> CutImages:
    """What the oracle handed to the encoder, which it chose itself: sizes are (height, width)."""
    patch, side = tower.patch_size, tower.image_size
    if tower.family in ("grid", "ragged"):
        each = [(height // patch) * (width // patch) for height, width in sizes]
        runs = tuple((patches, 1) for patches in each)
        if tower.family == "grid":
            return CutImages(runs, 0, sum(each) * 6 * patch**2, sum(each), (0, 0))
        height, width = max(size[0] for size in sizes), max(size[1] for size in sizes)  # padded to one size
        canvas = len(sizes) * (height // patch) * (width // patch)
        return CutImages(runs, 0, len(sizes) * 3 * height * width, canvas, (0, 0))
    grids = [(height // side) * (width // side) for height, width in sizes]
    tiles = sum(count + 1 if count > 1 or tower.pinpoints else 1 for count in grids)
    if tower.family == "joint_tiles":
        tiles = tower.tiles * len(sizes)
    patches = (side // patch) ** 2
    runs = ((patches + tower.class_tokens, tiles),)
    if tower.family == "joint_tiles":
        runs = ((tower.tiles * 1608, len(sizes)),)
    return CutImages(runs, 0, tiles * 3 * side**2, tiles * patches, (0, 0))


@pytest.mark.parametrize("name", [name for name in PEAKS if "vision_config" in PEAKS[name]["config"]])
def test_the_vision_encoders_peak_is_within_1_percent_of_the_measured_one(name: str) -> None:
    if name in UNKNOWN:
        assert vision_tower(config_of(name), 4096) is None
        return
    tower = tower_of(name)
    for case in PEAKS[name]["cases"]:
        part = encoder_peak(tower, measured_images(tower, case["sizes"]), case["attention"])
        assert part.bytes == pytest.approx(case["peak"], rel=0.01), case


@pytest.mark.parametrize("name", [name for name in PEAKS if "audio_config" in PEAKS[name]["config"]])
def test_the_audio_encoders_peak_is_within_1_percent_of_the_measured_one(name: str) -> None:
    tower = audio_tower(config_of(name))
    assert tower is not None
    for case in PEAKS[name]["cases"]:
        part = audio_peak(tower, len(case["sizes"]), case["attention"])
        assert part.bytes == pytest.approx(case["peak"], rel=0.01), case


OTHERWISE_HELD = {"llama-3.2-11b-vision", "llama-4-scout"}
"""Their projectors run outside of what was measured, or hand on what no copy is made of."""


@pytest.mark.parametrize("name", [name for name in PEAKS if "vision_config" in PEAKS[name]["config"]])
def test_what_is_held_of_the_images_is_within_5_percent_of_the_measured_bytes(name: str) -> None:
    if name in UNKNOWN or name in OTHERWISE_HELD:
        return
    tower = tower_of(name)
    for case in PEAKS[name]["cases"]:
        cut = measured_images(tower, case["sizes"])
        tokens = tower.tokens * cut.runs[0][1] if tower.tokens else cut.patches // tower.merge**2
        # The forward of most classes joins the list of features: a copy beside what the encoder gave back.
        joined = 0 if tower.habits.feature_copies == 1 else tokens * tower.out_hidden_size * 2
        measured = case["images"] + case["kept"] + joined
        assert images_held(tower, cut).bytes == pytest.approx(measured, rel=0.05), case


def test_whispers_own_encoder_is_the_same_rule() -> None:
    for case in PEAKS["whisper-large-v3"]["cases"]:
        part = audio_peak(AudioTower("whisper", 1280, 5120, 20, 128, 1500), len(case["sizes"]), case["attention"])
        assert part.bytes == pytest.approx(case["peak"], rel=0.01)


@pytest.mark.parametrize("row", COUNTS, ids=[str(row["size"]) for row in COUNTS])
def test_images_are_cut_up_as_the_processors_do(row: dict[str, Any]) -> None:
    names = {PEAKS[name]["model_type"]: name for name in PEAKS if name != "pixtral-12b"}
    for model_type, count in row["counts"].items():
        tower = tower_of(names[model_type])
        cut = cut_up(tower, 1, tuple(row["size"]))
        if tower.pinpoints:
            assert cut.tokens == count
        elif tower.family in ("grid", "ragged"):
            assert cut.patches == count, model_type
        else:
            assert cut.runs[0][1] == count, model_type


def test_the_tokens_of_an_image_by_family() -> None:
    assert cut_up(tower_of("llava-1.5-7b"), 2, (800, 600)).tokens == 2 * 576
    assert cut_up(tower_of("gemma-3-4b"), 1, (800, 600)).tokens == 256
    assert cut_up(tower_of("qwen2.5-vl-7b"), 1, (1092, 644)).tokens == 39 * 23
    assert cut_up(tower_of("mistral-small-3.1-24b"), 1, (1540, 1540)).tokens == 55 * 56  # a break after each row
    assert cut_up(tower_of("internvl3-8b"), 1, (896, 896)).tokens == 5 * 256
    assert cut_up(tower_of("llama-3.2-11b-vision"), 1, (896, 896)).tokens == 1


@pytest.mark.parametrize(
    ("name", "size", "tokens"),
    [
        ("qwen2.5-vl-7b", (1, 1), 4),  # 56 x 56
        ("qwen2.5-vl-7b", (28, 56), 6),  # sqrt(3136 / 1568) larger, then up to 56 x 84
        ("qwen2.5-vl-7b", (56, 56), 4),
        ("glm-4.1v-9b", (28, 28), 9),  # two frames: sqrt(12544 / 1568) larger, then up to 84 x 84
    ],
)
def test_images_below_the_classs_least_size_are_enlarged(name: str, size: tuple[int, int], tokens: int) -> None:
    """`smart_resize` of Qwen2VLImageProcessor and Glm4vImageProcessor, by hand."""
    assert cut_up(tower_of(name), 1, size).tokens == tokens


def test_the_default_image_is_the_largest_of_the_class() -> None:
    assert default_size(tower_of("gemma-3-4b")) == (896, 896)
    assert default_size(tower_of("qwen2-vl-7b")) == (980, 980)  # 28 * 28 * 1280 pixels
    assert default_size(tower_of("llava-v1.6-mistral-7b")) == (672, 672)
    assert default_size(tower_of("llama-4-scout")) == (4 * 336, 4 * 336)


def test_a_siglip_encoder_holds_two_inner_and_four_hidden_tensors_and_the_pixels() -> None:
    part = encode_images(tower_of("gemma-3-4b"), images=1, batch=1).peak
    # 4096 patches * (2 * 4304 + 4 * 1152) * 2 B + 3 * 896^2 * 4 B
    assert part.bytes == 108_265_472 + 9_633_792


def test_eager_attention_materializes_the_scores_and_sdpa_does_not() -> None:
    tower = tower_of("qwen2.5-vl-7b")
    sdpa, eager = (
        encode_images(tower, images=1, batch=1, size=(1008, 1008), attention=each).peak.bytes or 0
        for each in ("sdpa", "eager")
    )
    assert eager - sdpa > 16 * 5184**2 * 9
    assert sdpa < 16 * 5184**2


def gemma() -> Architecture:
    config = config_of("gemma-3-4b")
    config["text_config"] = {
        **{"model_type": "gemma3_text", "hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 6},
        **{"num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256, "vocab_size": 262208},
    }
    return read_architecture(config)


def model_of(architecture: Architecture) -> Model:
    parameters = Parameters(1000, 1000, {"mlp": 1000}, {"BF16": 1000}, 0, {}, 2000)
    return Model("org/model", architecture, parameters, "BF16")


def test_a_prompts_peak_is_while_the_images_are_encoded_or_while_the_language_model_runs() -> None:
    model = model_of(gemma())
    text = estimate(model, Workload(4096, images=0))
    few, many = (estimate(model, Workload(4096, images=images, dtype="bf16")) for images in (1, 15))
    held = next(part for part in few.activations.parts if part.name == "pictures_held")
    assert few.activations.bytes == (text.activations.bytes or 0) + (held.bytes or 0)
    encoder = next(part for part in many.activations.parts if part.name == "vision_encoder")
    # The cache is not there yet, the embeddings of 4,096 tokens are.
    assert many.activations.bytes == (encoder.bytes or 0) + 4096 * 2560 * 2 - (many.kv_cache.bytes or 0)
    assert many.image_tokens == 15 * 256
    assert text.image_tokens is None


def test_a_default_image_that_the_context_cannot_hold_is_not_counted_and_said_so() -> None:
    model = model_of(gemma())
    short = estimate(model, Workload(128))
    assert short.activations.bytes == estimate(model, Workload(128, images=0)).activations.bytes
    assert any("no image is counted" in warning for warning in short.warnings)
    asked = estimate(model, Workload(128, images=1))
    assert any("are more than the context of 128" in warning for warning in asked.warnings)


def test_a_model_that_sees_nothing_says_so_where_images_are_asked_for() -> None:
    blind = dataclasses.replace(gemma(), vision=False, vision_tower=None)
    assert any("takes none" in note for note in estimate(model_of(blind), Workload(4096, images=2)).warnings)
    assert not any("image" in note for note in estimate(model_of(blind), Workload(4096)).warnings)


def test_an_encoder_of_no_known_kind_is_said_to_be_left_out() -> None:
    unknown = dataclasses.replace(gemma(), vision_tower=None)
    sized = estimate(model_of(unknown), Workload(4096))
    assert sized.activations.bytes == estimate(model_of(unknown), Workload(4096, images=0)).activations.bytes
    assert any("vision encoder's working memory is not counted" in warning for warning in sized.warnings)
    part, tokens, notes = with_media(gemma(), Workload(4096), sized.activations, 0, 4)
    assert (part, tokens) == (sized.activations, None)
    assert "fp32" in notes[0]


@given(
    name=st.sampled_from(sorted(set(PEAKS) - set(UNKNOWN) - {"whisper-large-v3", "qwen2-audio-7b", "voxtral-mini-3b"})),
    images=st.integers(1, 2**20),
    batch=st.integers(1, 2**36),
    attention=st.sampled_from(["sdpa", "eager"]),
    width=st.integers(1, 2**16),
    height=st.integers(1, 2**16),
)
def test_more_images_never_take_less(
    name: str, images: int, batch: int, attention: str, width: int, height: int
) -> None:
    """By sixteen sequences: a mask whose rows are no multiple of 16 is copied with padding, which takes more."""
    tower = tower_of(name)
    one, more, wide = (
        encode_images(tower, images=count, batch=16 * sequences, size=(width, height), attention=attention)
        for count, sequences in ((images, batch), (images + 1, batch), (images, batch + 1))
    )
    assert 0 < (one.peak.bytes or 0) < min(more.peak.bytes or 0, wide.peak.bytes or 0)
    assert one.tokens < more.tokens


BAD = [None, True, -1, 0, 2**70, 1.5, "14", [], [14, 16], {}, [[1]]]


@given(
    name=st.sampled_from(sorted(PEAKS)),
    key=st.sampled_from(
        [
            *("hidden_size", "patch_size", "image_size", "num_heads", "depth", "hidden_act", "model_type", "mlp_ratio"),
            *("max_num_tiles", "deepstack_visual_indexes", "intermediate_layers_indices", "spatial_merge_size"),
        ]
    ),
    value=st.sampled_from(BAD),
)
def test_a_strange_value_is_an_unknown_tower_or_a_whole_one(name: str, key: str, value: Any) -> None:
    config = config_of(name)
    for part in ("vision_config", "audio_config"):
        if part in config:
            config[part] = {**config[part], key: value}
    tower = vision_tower(config, 4096)
    if tower is not None:
        assert encode_images(tower, images=1, batch=1).peak.bytes
    for strange in (each for each in BAD if each != {}):  # an empty part is its class's defaults
        assert vision_tower({**config, "vision_config": strange}, 4096) is None
        assert vision_tower({**config, "model_type": strange}, 4096) is None
        assert audio_tower({**config, "audio_config": strange}) is None
