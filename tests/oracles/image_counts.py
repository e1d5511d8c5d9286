"""How transformers' image processors cut images up: what inspector.memory.inference.images is checked against.

    python -m tests.oracles.image_counts --out tests/memory/data/image_counts.json

For each processor, at several (width, height): the patches that the encoder gets (Qwen, GLM, Pixtral), its tiles, or
LLaVA-NeXT's tokens, by the classes' own functions. Needs torchvision; PyPI's is built for CUDA, so its operators, none
of which is called here, are declared for it to import beside a CPU build of torch.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

_OPERATORS = torch.library.Library("torchvision", "DEF")
for _name in ("nms", "qnms"):
    _OPERATORS.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

# ruff: noqa: E402
from transformers.models.cohere2_vision.image_processing_cohere2_vision import Cohere2VisionImageProcessor
from transformers.models.glm4v.image_processing_glm4v import Glm4vImageProcessor
from transformers.models.got_ocr2.image_processing_got_ocr2 import GotOcr2ImageProcessor
from transformers.models.idefics3.image_processing_idefics3 import Idefics3ImageProcessor
from transformers.models.llama4.image_processing_llama4 import (
    Llama4ImageProcessor,
    find_supported_resolutions,
    get_best_fit,
)
from transformers.models.llava_next.processing_llava_next import LlavaNextProcessor
from transformers.models.pixtral.image_processing_pixtral import get_resize_output_image_size
from transformers.models.qwen2_vl.image_processing_qwen2_vl import Qwen2VLImageProcessor

SIZES = ((1024, 768), (500, 2000), (336, 336), (1920, 1080), (100, 80), (3000, 900), (672, 672))
LARGE = {"shortest_edge": 56 * 56, "longest_edge": 2**30}
"""No limit: a size that is asked for is taken to be allowed."""
PINPOINTS = [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]]


def llava_next_tokens(width: int, height: int) -> int:
    """LlavaNextProcessor's own count, without its tokenizer."""
    processor: Any = LlavaNextProcessor.__new__(LlavaNextProcessor)
    processor.patch_size, processor.num_additional_image_tokens = 14, 1
    processor.image_processor = type("Pinpoints", (), {"image_grid_pinpoints": PINPOINTS})
    # "default" drops the class token that the count has in it.
    return int(processor._get_number_of_features(height, width, 336, 336)) - 1


def counts(width: int, height: int) -> dict[str, Any]:
    """What each processor makes of an image."""
    tile = {"height": 336, "width": 336}
    llama4 = Llama4ImageProcessor(size=tile)
    allowed = torch.tensor(find_supported_resolutions(llama4.max_patches, llama4.size))
    canvas = [int(side) // 336 for side in get_best_fit((height, width), allowed)]
    llama4_tiles = canvas[0] * canvas[1]
    pixtral = [
        int(side) // unit * (unit // 14)
        for unit in (28,)
        for side in get_resize_output_image_size(np.zeros((height, width, 3)), size=(1540, 1540), patch_size=(28, 28))
    ]
    idefics3 = Idefics3ImageProcessor().get_number_of_image_patches(height, width)[0]
    kept = {"crop_to_patches": True}
    return {
        "qwen2_5_vl": Qwen2VLImageProcessor(size=LARGE).get_number_of_image_patches(height, width),
        "qwen3_vl": Qwen2VLImageProcessor(size=LARGE, patch_size=16).get_number_of_image_patches(height, width),
        "glm4v": Glm4vImageProcessor(size=LARGE).get_number_of_image_patches(height, width),
        "mistral3": pixtral[0] * pixtral[1],
        "idefics3": max(1, idefics3),
        "internvl": GotOcr2ImageProcessor(size={"height": 448, "width": 448}).get_number_of_image_patches(
            height, width, kept
        ),
        "cohere2_vision": Cohere2VisionImageProcessor().get_number_of_image_patches(height, width),
        "llama4": llama4_tiles + 1 if llama4_tiles > 1 else 1,
        "llava_next": llava_next_tokens(width, height),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="JSON file for the results")
    options = parser.parse_args()
    result = {
        "command": "python -m tests.oracles.image_counts --out tests/memory/data/image_counts.json",
        "versions": {"transformers": transformers.__version__},
        "images": [{"size": size, "counts": counts(*size)} for size in SIZES],
    }
    options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
