"""Measures what the vision and audio encoders of transformers' multimodal classes take, with no GPU and no weights.

    python -m tests.oracles.vision [--models NAME ...] [--out FILE] [--explain]

Builds the real class under fake tensors on a pretend GPU and calls what `generate` calls first: the encoder with its
projector (`get_image_features`, `get_audio_features`, or the encoder alone). The images come in fp32, as processors
make them, and are counted. Reported: `peak`, the most bytes that lived at once above the weights, and `kept`, what
lives afterwards beside the images. Whole numbers on the CPU (grids, positions) keep their values, so that shapes
that follow from them are the real ones.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
import transformers
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils._pytree import tree_leaves
from transformers import AutoConfig, AutoModelForImageTextToText, AutoModelForSeq2SeqLM, AutoModelForSpeechSeq2Seq

from inspector.measure.values import ValuesKept
from tests.oracles.inference import print_tensors
from tests.oracles.inference_gpu import DEVICE, StorageTracker, move_to_gpu, pretend_gpu
from tests.oracles.vision_models import MODELS, VisionModel


def build(model: VisionModel, attention: str) -> Any:
    """The transformers class on the meta device, in bf16."""
    config = AutoConfig.for_model(model.model_type, **model.config)
    auto = {
        "whisper": AutoModelForSpeechSeq2Seq,
        "qwen2_audio": AutoModelForSeq2SeqLM,
        "voxtral": AutoModelForSeq2SeqLM,
    }
    with torch.device("meta"):
        chosen = auto.get(model.model_type, AutoModelForImageTextToText)
        return chosen.from_config(config, dtype=torch.bfloat16, attn_implementation=attention).eval()


def images(model: VisionModel, config: Any, sizes: tuple[tuple[int, int], ...]) -> dict[str, Any]:
    """The arguments for images of these sizes, as the processor would make them."""
    if model.inputs == "mel":
        return {"input_features": torch.empty(len(sizes), *sizes[0], device=DEVICE)}
    if model.inputs == "fixed":
        # Llama 4 multiplies the pixels as they are: the caller has to cast them.
        dtype = torch.bfloat16 if model.model_type == "llama4" else torch.float32
        return {"pixel_values": torch.empty(len(sizes), 3, *sizes[0], device=DEVICE, dtype=dtype)}
    vision = config.vision_config
    if model.inputs == "ragged":
        height, width = (max(size[axis] for size in sizes) for axis in (0, 1))
        pixels = torch.empty(len(sizes), 3, height, width, device=DEVICE)
        return {"pixel_values": pixels, "image_sizes": whole(sizes)}
    if model.inputs == "grid":
        patch, frames = vision.patch_size, vision.temporal_patch_size
        grid = [(1, height // patch, width // patch) for height, width in sizes]
        patches = sum(height * width for _, height, width in grid)
        pixels = torch.empty(patches, 3 * frames * patch * patch, device=DEVICE)
        return {"pixel_values": pixels, "image_grid_thw": whole(grid)}
    side = vision.image_size
    tiles = [(height // side) * (width // side) for height, width in sizes]
    tiles = [count + 1 if count > 1 or model.model_type.startswith("llava") else 1 for count in tiles]  # the overview
    pixels = torch.empty(len(sizes), max(tiles), 3, side, side, device=DEVICE)
    if model.model_type.startswith("llava"):
        return {"pixel_values": pixels, "image_sizes": whole(sizes)}
    return {"pixel_values": pixels}


def whole(values: Any) -> torch.Tensor:
    with _disable_current_modes():
        return torch.tensor(values)


def encode(model: VisionModel, built: Any, given: dict[str, Any]) -> Any:
    """What `generate` runs before the language model."""
    if model.model_type == "mllama":
        pixels = given["pixel_values"]
        ratio = whole([[6]] * pixels.shape[0])
        mask = whole([[[1] * pixels.shape[2]]] * pixels.shape[0])
        tower = built.model.vision_model(pixels, aspect_ratio_ids=ratio, aspect_ratio_mask=mask)
        return built.model.multi_modal_projector(tower.last_hidden_state)
    if model.model_type == "whisper":
        return built.model.encoder(given["input_features"].to(torch.bfloat16))
    if model.model_type == "qwen2_audio":
        tower = built.model.audio_tower(given["input_features"].to(torch.bfloat16))
        return built.model.multi_modal_projector(tower.last_hidden_state)
    if model.model_type == "voxtral":
        return built.get_audio_features(given["input_features"].to(torch.bfloat16))
    return getattr(built, "model", built).get_image_features(**given)


def measure(
    model: VisionModel, built: Any, sizes: tuple[tuple[int, int], ...], tracker: StorageTracker
) -> dict[str, Any]:
    """Bytes above the weights of encoding these images, and what lived at the peak."""
    base = tracker.live
    tracker.reset_peak()
    if model.inputs == "mllama":
        side, tiles = built.config.vision_config.image_size, built.config.vision_config.max_num_tiles
        given = {"pixel_values": torch.empty(len(sizes), 1, tiles, 3, side, side, device=DEVICE)}
    else:
        given = images(model, built.config, sizes)
    held = tracker.live - base
    with ValuesKept():
        output = encode(model, built, given)
    kept = tracker.live - base - held
    features = getattr(output, "pooler_output", None)
    features = output if features is None else features
    shapes = [list(leaf.shape) for leaf in tree_leaves(features) if isinstance(leaf, torch.Tensor)][:3]
    return {"peak": tracker.peak - base, "images": held, "kept": kept, "shapes": shapes, "at_peak": tracker.at_peak}


def run(model: VisionModel, *, explain: bool) -> dict[str, Any]:
    """Every (attention, images) case."""
    cases = []
    for attention in ("sdpa", "eager"):
        built = build(model, attention)
        with pretend_gpu() as tracker:
            move_to_gpu(built)
            for sizes in model.cases:
                result = measure(model, built, sizes, tracker)
                at_peak, shapes = result.pop("at_peak"), result.pop("shapes")
                cases.append({"attention": attention, "sizes": sizes, **result})
                print(model.name, json.dumps(cases[-1]), shapes, file=sys.stderr)
                if explain:
                    print_tensors({"peak": at_peak}, sum(h * w for h, w in sizes) // 196)
    return {"model_type": model.model_type, "config": model.config, "cases": cases}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="*", help="names from tests/oracles/vision_models.py; default all")
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    parser.add_argument("--explain", action="store_true", help="print what lives at the peaks")
    options = parser.parse_args()
    start = time.monotonic()
    chosen = [model for model in MODELS if not options.models or model.name in options.models]
    models = {model.name: run(model, explain=options.explain) for model in chosen}
    count = sum(len(model["cases"]) for model in models.values())
    print(f"{count} cases of {len(models)} models in {time.monotonic() - start:.0f} s", file=sys.stderr)
    if options.out:
        result = {
            "command": "python -m tests.oracles.vision --out tests/memory/data/vision_peaks.json",
            "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
            "unit": "bytes above the weights",
        }
        lines = [f"{json.dumps(name)}: {json.dumps(model)}" for name, model in models.items()]
        body = json.dumps(result, indent=1).removesuffix("\n}")
        options.out.write_text(body + ',\n "models": {\n' + ",\n".join(lines) + "\n}}\n")


if __name__ == "__main__":
    main()
