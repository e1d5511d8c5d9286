"""What vLLM's profiling run encodes, against what its logs print and numbers worked out by hand."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from inspector.engines.common.served import ServedModel, VisionFacts
from inspector.engines.vllm.image_items import profiled_item
from inspector.engines.vllm.profile import activation_shares, encoder_items, encoder_peak_bytes
from inspector.engines.vllm.version import VllmVersion
from inspector.memory.estimate import Workload
from inspector.model.architecture import read_architecture
from inspector.model.layers import FullAttention

PEAKS = json.loads((Path(__file__).parent.parent / "memory" / "data" / "vision_peaks.json").read_text())["models"]


def item(name: str, context: int, version: str | None = "0.19", **images: Any) -> VisionFacts | None:
    config = {**PEAKS[name]["config"], "model_type": PEAKS[name]["model_type"]}
    return profiled_item(read_architecture(config), Workload(context, **images), version)


def served(vision: VisionFacts | None, hidden: int = 3584) -> ServedModel:
    layers = (FullAttention(4, 128, 128),) * 2
    return ServedModel(layers, hidden, 152064, 2, None, intermediate_size=18944, vision=vision)


@pytest.mark.parametrize(
    ("name", "context", "tokens", "items"),
    [
        # "profiled with 32 image items", "... 2 image items": the notes of the logs of version 0.19 at 8,192 tokens.
        ("gemma-3-4b", 8192, 256, 32),
        ("mistral-small-3.1-24b", 8192, 3080, 2),
        # "a budget of 16384 tokens, and profiled with 1 image items": vllm issue 27706, Qwen3-VL-2B.
        ("qwen3-vl-2b", 2048, 16384, 1),
        # {'image': 16384, 'video': 114688} at 128,000 tokens: vllm pull request 12604, Qwen2.5-VL.
        ("qwen2.5-vl-7b", 128_000, 114_688, 1),
        ("qwen2.5-vl-7b", 4096, 16384, 1),
    ],
)
def test_the_item_and_how_many_are_those_of_the_logs(name: str, context: int, tokens: int, items: int) -> None:
    found = item(name, context)
    assert found is not None
    assert found.tokens == tokens
    assert encoder_items(served(found), 8192, 1024) == items


def test_version_0_10_takes_an_image_off_before_it_counts_a_videos_frames() -> None:
    older, newer = item("qwen2.5-vl-7b", 4 * 16384, "0.10"), item("qwen2.5-vl-7b", 4 * 16384, "0.19")
    assert older is not None
    assert newer is not None
    assert (older.tokens, newer.tokens) == (3 * 16384, 4 * 16384)


def test_a_smaller_largest_image_and_no_image_at_all() -> None:
    small = item("qwen2.5-vl-7b", 1024, image_size=(1008, 1008))
    assert small is not None
    assert (small.tokens, small.patches, small.pixels) == (1296, 5184, 2 * 1008**2)
    none = item("qwen2.5-vl-7b", 1024, images=0)
    assert encoder_items(served(none), 8192) == 0
    alive = activation_shares(served(none), VllmVersion(), tokens=2048, sequences=256, sampler="flashinfer")
    assert alive["images"] == 0


@pytest.mark.parametrize(("name", "version"), [("llama-3.2-11b-vision", "0.19"), ("gemma-3-4b", "0.7 (V0)")])
def test_what_is_not_known_is_none(name: str, version: str) -> None:
    assert item(name, 8192, version) is None


def test_the_encoder_is_the_peak_where_its_block_outweighs_a_step() -> None:
    model = served(item("qwen2.5-vl-7b", 4096))
    # 65,536 patches * (3 * 1280 + 3 * 3420) * 2 B
    assert encoder_peak_bytes(model, 2048, 256) == 1_848_115_200
    # On two ranks the inner width is cut: attention's 1280 + 8 * 640 is less than 3 * 1280 + 3 * 1710.
    assert encoder_peak_bytes(model, 2048, 256, 2) == 65_536 * 8970 * 2
    alive = activation_shares(model, VllmVersion(), tokens=2048, sequences=256, sampler="flashinfer")
    assert set(alive) == {"workspace", "images", "encoder"}
    text = dataclasses.replace(model, vision=None)
    assert "sampler" in activation_shares(text, VllmVersion(), tokens=2048, sequences=256, sampler="flashinfer")


def test_gemmas_encoder_stays_below_what_its_logs_show_of_the_whole_peak() -> None:
    found = item("gemma-3-4b", 8192)
    # 3.89 GiB of activations in version 0.19 with 8,192 tokens, which the sampler accounts for.
    assert encoder_peak_bytes(served(found, 2560), 8192, 1024) < 3.89 * 1024**3
