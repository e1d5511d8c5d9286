"""The grid of tests/oracles/training.py: published models with few layers, and every way to train them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from tests.oracles.inference_models import MODELS
from tests.oracles.training_step import Step


@dataclass(frozen=True)
class GridModel:
    """A published model: its name in tests/oracles/inference_models.py, and how many layers the step is taken with."""

    name: str
    layers: int = 3
    shapes: tuple[tuple[int, int], ...] = ((1, 2048), (4, 1024), (2, 512), (1, 4096))
    tied: bool | None = None
    held_out: bool = False
    """Of a size that nobody looked at while the estimate was written."""

    @property
    def model_type(self) -> str:
        return self.source.model_type

    @property
    def source(self) -> Any:
        return next(model for model in MODELS if model.name == self.name)

    @property
    def encoder(self) -> bool:
        return bool(self.source.encoder)

    def config(self) -> dict[str, Any]:
        config = dict(self.source.config)
        config[next(key for key in ("n_layer", "n_layers", "num_hidden_layers") if key in config)] = self.layers
        if "layer_types" in config:
            config["layer_types"] = (["sliding_attention"] * 2 + ["full_attention"] * 2)[: self.layers]
        if self.tied is not None:
            config["tie_word_embeddings"] = self.tied
        return config


_SHORT = ((8, 512), (2, 384), (16, 256), (1, 512))
GRID: tuple[GridModel, ...] = (
    GridModel("llama-3-8b"),
    GridModel("llama-3.2-1b", layers=16, tied=True),
    GridModel("llama-2-7b"),
    GridModel("mistral-7b", shapes=((1, 2048), (1, 8192), (2, 1024), (1, 4096))),
    GridModel("qwen2.5-7b"),
    GridModel("qwen3-0.6b", layers=14, tied=True),
    GridModel("qwen3-8b"),
    GridModel("gpt2", layers=12, shapes=((8, 1024), (4, 512), (1, 1024), (16, 256)), tied=True),
    GridModel("gpt2-xl", layers=6, shapes=((4, 1024), (8, 512)), tied=True),
    GridModel("bert-base", layers=6, shapes=_SHORT, tied=True),
    GridModel("roberta-base", layers=6, shapes=_SHORT, tied=True),
    GridModel("pythia-6.9b"),
    GridModel("phi-2"),
    GridModel("phi-3-mini", shapes=((1, 1024), (4, 1024), (2, 2000), (1, 4096))),
    GridModel("gemma-2-9b", layers=4, tied=True),
    GridModel("gemma-3-4b", layers=4, shapes=((1, 512), (2, 2048), (1, 4096), (4, 1024)), tied=True),
    GridModel("gemma-2b", tied=True),
    GridModel("opt-6.7b", shapes=((1, 2048), (4, 1024), (2, 512)), tied=True),
    GridModel("falcon-7b", tied=True),
    GridModel("mixtral-8x7b", layers=2),
    GridModel("qwen3-30b-a3b", layers=3),
    GridModel("granite-3-8b", tied=True, held_out=True),
    GridModel("olmo-2-7b", held_out=True),
    GridModel("starcoder2-7b", tied=True, held_out=True),
    GridModel("command-r", layers=2, tied=True, held_out=True),
    GridModel("stablelm-2-1.6b", layers=6, held_out=True),
    GridModel("glm-4-9b", held_out=True),
    GridModel("smollm3-3b", tied=True, held_out=True),
)

OPTIMIZERS = (
    ("adamw", "foreach"),
    ("sgd", "foreach"),
    ("adamw", "fused"),
    ("adamw", "for-loop"),
    ("sgd-momentum", "foreach"),
)


def steps(model: GridModel) -> Iterator[Step]:
    """{full fp32, bf16, mixed; LoRA} x {checkpointing} x {sdpa, eager}; shapes and optimizers take turns."""
    methods = (("full", "bf16"), ("full", "fp32"), ("full", "mixed"), ("lora", "bf16"), ("lora", "mixed"))
    attentions = {"gemma2": ("eager",), "falcon": ("sdpa",)}.get(model.model_type, ("sdpa", "eager"))
    shapes = itertools.cycle(model.shapes)
    optimizers = itertools.cycle(OPTIMIZERS)
    for (method, precision), attention, checkpointing in itertools.product(methods, attentions, ("none", "full")):
        batch, context = next(shapes)
        optimizer, how = next(optimizers)
        step = Step(precision=precision, method=method, attention=attention, checkpointing=checkpointing)
        yield replace(step, batch=batch, context=context, optimizer=optimizer, optimizer_impl=how)
