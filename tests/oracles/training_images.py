"""Measures training steps with images, with no GPU and no weights, and how far the estimate is from them.

    python -m tests.oracles.training_images [--models NAME ...] [--every N] [--known FILE] [--out FILE] [--again FILE]

As tests/oracles/training.py, of vision-language classes at published widths, with few layers in both parts: the vision
part trains, or its projector alone, or nothing of it, or adapters on it; all of the language part trains, or adapters
on it. --out stores the peaks that the tests replay without torch (tests/memory/data/training_image_peaks.json). Each
model's steps of text alone are measured, too.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from itertools import product, repeat
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from inspector.measure.step import Step, build, measure
from tests.memory.training.replay import read_peaks
from tests.oracles.training import VERSIONS, cases_of, compact, described, earlier_run, errors, print_errors, sampled
from tests.oracles.vision_models import MODELS

OUT = Path(__file__).parents[1] / "memory" / "data" / "training_image_peaks.json"


@dataclass(frozen=True)
class ImageModel:
    """A model of tests/oracles/vision_models.py with a language part of its published width.

    Attributes:
        text: sizes of the language part, which stand over those of the vision oracle.
        shapes: (batch, context, images a sequence, their (width, height)); none where text steps alone are measured.
        words: (batch, context) of the steps without images.
        attentions: implementations; of those after the first the first shape alone is measured.
    """

    name: str
    text: dict[str, Any]
    shapes: tuple[tuple[int, int, int, tuple[int, int]], ...]
    attentions: tuple[str, ...] = ("sdpa",)
    words: tuple[int, int] = (1, 4096)

    @property
    def model_type(self) -> str:
        return next(model for model in MODELS if model.name == self.name).model_type

    def config(self) -> dict[str, Any]:
        source = next(model for model in MODELS if model.name == self.name)
        config: dict[str, Any] = json.loads(json.dumps(source.config))
        vision = config["vision_config"]
        vision |= {key: 6 for key in ("num_hidden_layers", "depth") if key in vision}
        if "fullatt_block_indexes" in vision:
            vision["fullatt_block_indexes"] = [2, 5]
        if "deepstack_visual_indexes" in vision:
            vision["deepstack_visual_indexes"] = [1, 3, 5]
        config["text_config"] |= {"num_hidden_layers": 3, **self.text}
        return config


def _text(inner: int, heads: int, shared: int, vocab: int, **more: Any) -> dict[str, Any]:
    return {
        "intermediate_size": inner,
        "num_attention_heads": heads,
        "num_key_value_heads": shared,
        "vocab_size": vocab,
        **more,
    }


_SQUARE = (336, 336)
GRID: tuple[ImageModel, ...] = (
    ImageModel("llava-1.5-7b", _text(11008, 32, 32, 32064), ((1, 2048, 1, _SQUARE), (2, 1536, 2, _SQUARE))),
    ImageModel(
        "llava-v1.6-mistral-7b", _text(14336, 32, 8, 32064), ((1, 4096, 1, (672, 672)), (2, 3200, 1, (672, 336)))
    ),
    ImageModel("qwen2-vl-7b", _text(18944, 28, 4, 152064), ((1, 2048, 1, (1008, 1008)), (2, 2048, 2, (448, 672)))),
    ImageModel("qwen2.5-vl-7b", _text(18944, 28, 4, 152064), ((1, 2048, 1, (1008, 1008)), (2, 2048, 2, (448, 672)))),
    ImageModel(
        "qwen3-vl-8b", _text(12288, 32, 8, 151936, head_dim=128), ((1, 2048, 1, (1024, 1024)), (2, 2048, 2, (448, 672)))
    ),
    ImageModel("internvl3-8b", _text(18944, 28, 4, 151674), ((1, 2048, 1, (448, 448)), (1, 4096, 1, (1344, 896)))),
    ImageModel("idefics3-8b", _text(14336, 32, 8, 128259), ((1, 4096, 1, (1456, 1456)), (2, 2048, 1, (1456, 728)))),
    ImageModel(
        "smolvlm-256m", _text(1536, 9, 3, 49280, head_dim=64), ((2, 2048, 1, (2048, 2048)), (4, 1024, 1, (2048, 1024)))
    ),
    ImageModel(
        "mistral-small-3.1-24b",
        _text(32768, 32, 8, 131072, head_dim=128),
        ((1, 4096, 1, (1540, 1540)), (2, 2048, 1, (784, 784))),
    ),
    ImageModel(
        "pixtral-12b", _text(14336, 32, 8, 131072, head_dim=128), ((1, 4096, 1, (768, 768)), (2, 2048, 1, (512, 512)))
    ),
    ImageModel(
        "gemma-3-4b",
        _text(10240, 8, 4, 262208, sliding_window=1024, layer_types=[*["sliding_attention"] * 2, "full_attention"]),
        ((1, 2048, 1, (896, 896)), (2, 1024, 2, (896, 896))),
        attentions=("sdpa", "eager"),
    ),
    ImageModel("aya-vision-8b", _text(14336, 32, 8, 256000), ((1, 4096, 1, (728, 728)), (2, 2048, 1, (364, 364)))),
)

WAYS = (
    *(("full", "trained"), ("full", "projector"), ("full", "frozen")),
    *(("lora", "auto"), ("qlora", "auto"), ("lora", "adapters"), ("qlora", "adapters")),
)


def steps(model: ImageModel) -> Iterator[Step]:
    """Every case of a model."""
    plain = [(method, vision, precision, "none") for (method, vision), precision in product(WAYS, ("bf16", "mixed"))]
    again = [(*way[:3], "full") for way in plain]
    for (method, vision, precision, checkpointing), shape, attention in product(
        [*plain, *again], model.shapes, model.attentions
    ):
        more = shape is not model.shapes[0]
        if more and (method == "qlora" or vision == "adapters" or attention != model.attentions[0]):
            continue
        batch, context, images, size = shape
        yield Step(
            method=method,
            vision=vision,
            precision=precision,
            attention=attention,
            checkpointing=checkpointing,
            optimizer="sgd" if method == "full" else "adamw",
            batch=batch,
            context=context,
            images=images,
            image_size=size,
        )
    for method, precision, checkpointing in product(("full", "lora"), ("bf16", "mixed"), ("none", "full")):
        batch, context = model.words
        yield Step(
            method=method,
            precision=precision,
            checkpointing=checkpointing,
            optimizer="adamw",
            batch=batch,
            context=context,
        )


def run_model(model: ImageModel, known: dict[str, Any] | None = None, every: int = 1) -> dict[str, Any]:
    """The model's config and size, and its cases with their measured peaks; those that are known are not run again."""
    warnings.simplefilter("ignore")
    config = model.config()
    cases = cases_of(
        model.name,
        sampled(steps(model), model.name, every),
        known,
        lambda step: measure(model.model_type, config, step, whole=not step.images),
        label,
    )
    built = build(model.model_type, config, replace(next(steps(model)), method="full"))
    return {"name": model.name, "held_out": False, **described(built, config, parts=True), "cases": cases}


def label(case: dict[str, Any]) -> str:
    """One case in a few words."""
    if not case["images"]:
        words = [case["method"], "text", case["precision"], f"{case['batch']} x {case['context']}"]
        return " ".join([*words, "checkpointing"] if case["checkpointing"] == "full" else words)
    width, height = case["image_size"]
    vision = "frozen" if case["vision"] == "auto" else case["vision"]
    words = [case["method"], f"vision {vision}", case["precision"], f"{case['batch']} x {case['context']}"]
    words.append(f"{case['images']} of {width} x {height}")
    words += [case["attention"]] if case["attention"] != "sdpa" else []
    return " ".join([*words, "checkpointing"] if case["checkpointing"] == "full" else words)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="*")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--every", type=int, default=1, help="a sample: one of so many steps of each model")
    parser.add_argument("--known", type=Path, help="an earlier --out of the same releases, whose cases are kept")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--again", type=Path, help="measured peaks of an earlier --out; no new measurement")
    options = parser.parse_args()
    start = time.monotonic()
    if options.again:
        result = read_peaks(options.again)
    else:
        chosen = [model for model in GRID if not options.models or model.name in options.models]
        models = {model["name"]: model for model in earlier_run(options.known)["models"]}
        result = {"command": "python -m tests.oracles.training_images", "versions": VERSIONS, "unit": "bytes"}
        with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as pool:
            known = [models.get(model.name) for model in chosen]
            for made in pool.map(run_model, chosen, known, repeat(options.every)):
                models[made["name"]] = made
                result |= {"models": list(models.values()), "seconds": round(time.monotonic() - start)}
                if options.out:
                    options.out.write_text(compact(result))
    print_errors(errors(result["models"]), label)


if __name__ == "__main__":
    main()
