"""The grid of tests/oracles/training.py: published models with few layers, and every way to train them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from inspector.measure.step import Step
from tests.oracles.inference_models import MODELS
from tests.oracles.training_models import MORE_MODELS

LAYER_KEYS = (
    *("n_layer", "n_layers", "num_hidden_layers", "num_layers", "num_decoder_layers"),
    *("encoder_layers", "decoder_layers"),
)


@dataclass(frozen=True)
class GridModel:
    """A published model: its name in inference_models.py or training_models.py, and how many layers the step is taken
    with; of an encoder-decoder, so many of both kinds, or `decoder_layers` in the decoder."""

    name: str
    layers: int = 3
    shapes: tuple[tuple[int, int], ...] = ((1, 2048), (4, 1024), (2, 512), (1, 4096))
    tied: bool | None = None
    decoder_layers: int | None = None
    held_out: bool = False
    """Of a size that nobody looked at while the estimate was written."""

    @property
    def model_type(self) -> str:
        return self.source.model_type

    @property
    def source(self) -> Any:
        return next(model for model in (*MODELS, *MORE_MODELS) if model.name == self.name)

    @property
    def encoder(self) -> bool:
        return bool(self.source.encoder)

    def config(self) -> dict[str, Any]:
        config = dict(self.source.config)
        config |= {key: self.layers for key in LAYER_KEYS if key in config}
        if self.decoder_layers is not None:
            config |= {key: self.decoder_layers for key in ("num_decoder_layers", "decoder_layers") if key in config}
        if "layer_types" in config:
            config["layer_types"] = (["sliding_attention"] * 2 + ["full_attention"] * 2)[: self.layers]
        if self.tied is not None:
            config["tie_word_embeddings"] = self.tied
        return config


_BART_SHAPES = ((4, 1024), (2, 512), (8, 256), (1, 1024))
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
    GridModel("seed-oss-36b", layers=2, held_out=True),
    GridModel("ernie-4.5-0.3b", layers=6, tied=True, held_out=True),
    GridModel("glm-edge-1.5b", layers=6, tied=True, held_out=True),
    GridModel("olmoe-1b-7b", held_out=True),
    GridModel("hunyuan-7b", tied=True, held_out=True),
    GridModel("apertus-8b", held_out=True),
    GridModel("nemotron-4-15b", layers=2, held_out=True),
    GridModel("gpt-oss-20b", layers=4, held_out=True),
    GridModel("distilbert", layers=6, shapes=_SHORT, tied=True, held_out=True),
    GridModel("t5-base", layers=7, decoder_layers=5, shapes=_SHORT, tied=True),
    GridModel("flan-t5-large", layers=4, shapes=_SHORT, tied=False),
    GridModel("bart-large", layers=4, shapes=_BART_SHAPES, tied=True),
    GridModel("distilbart-cnn-12-6", layers=6, decoder_layers=3, shapes=_BART_SHAPES, tied=True),
    GridModel("mbart-large-50", layers=3, shapes=_BART_SHAPES, tied=True),
    GridModel("pegasus-large", layers=4, shapes=_BART_SHAPES, tied=True),
    GridModel("opus-mt-en-de", layers=6, shapes=_SHORT, tied=True),
    GridModel("mt5-base", layers=4, shapes=_SHORT, tied=False),
    GridModel("modernbert-base", layers=7, shapes=((4, 1024), (2, 2048), (8, 512), (1, 4096)), tied=True),
    GridModel("deepseek-v2-lite"),
    GridModel("deepseek-v3", layers=2),
    GridModel("qwen1.5-moe-a2.7b"),
    GridModel("command-r7b", layers=4, shapes=((1, 2048), (1, 6000), (2, 512), (1, 1024)), tied=True),
    GridModel("exaone-4-1.2b", layers=6, tied=True),
    GridModel("ministral-8b"),
    GridModel("ministral-3-8b"),
    GridModel("olmo-3-7b", layers=4),
    GridModel("granite-3.0-3b-a800m", tied=True),
    GridModel("gpt-j-6b", shapes=((1, 2048), (4, 1024), (2, 512), (1, 1024))),
    GridModel("starcoderbase-1b", layers=4, tied=True),
    GridModel("bloom-7b1", shapes=((1, 2048), (4, 512), (2, 1024)), tied=True),
    GridModel("persimmon-8b", layers=2, shapes=((1, 2048), (2, 512), (1, 1024))),
    GridModel("arcee-4.5b"),
    GridModel("glm-4.5-air", layers=2),
    GridModel("ernie-4.5-21b-a3b"),
)

OPTIMIZERS = (
    ("adamw", "foreach"),
    ("sgd", "foreach"),
    ("adamw", "fused"),
    ("adamw", "for-loop"),
    ("sgd-momentum", "foreach"),
)


MORE = (
    {"method": "qlora", "precision": "mixed", "checkpointing": "full", "optimizer_impl": "fused"},
    {"method": "qlora", "precision": "bf16"},
    {"method": "lora", "adapter_dtype": "bf16"},
    {"method": "lora", "lora_targets": "q_proj,v_proj"},
    {"method": "lora", "lora_targets": "up_proj,down_proj", "precision": "mixed"},
    {"method": "lora", "lora_targets": "q_proj", "checkpointing": "full", "modules_to_save": "lm_head"},
    {"method": "frozen-except", "trained": "model.layers.2.*"},
    {"method": "frozen-except", "trained": "*norm*", "precision": "mixed"},
    {"optimizer": "adafactor", "precision": "mixed"},
    {"optimizer": "adafactor-torch", "optimizer_impl": "for-loop"},
    {"optimizer": "muon"},
)
"""Ways that fewer models are taken through: those whose modules have these names."""

WITH_MORE = (
    "llama-3-8b",
    "llama-3.2-1b",
    "llama-2-7b",
    "mistral-7b",
    "qwen2.5-7b",
    "qwen3-8b",
    "granite-3-8b",
    "smollm3-3b",
)
_STAYS = {"method": "qlora", "precision": "mixed", "kbit_upcast": False}
RARE = (
    {"method": "lora", "dora": True},
    {"method": "lora", "precision": "fp32"},
    {**_STAYS, "checkpointing": "full", "optimizer_impl": "fused"},
    _STAYS,
)
ONLY_QUANTIZED = ("gpt2", "gemma-2-9b", "phi-3-mini", "bert-base", "gemma-3-4b", "qwen3-30b-a3b", "olmo-2-7b")


IN_8_BITS = ("llama-3-8b", "mistral-7b", "qwen2.5-7b", "qwen3-8b", "gemma-3-4b")
"""Models that steps on a base of LLM.int8() are taken of."""

EIGHT_BITS: tuple[dict[str, Any], ...] = tuple(
    {"method": "qlora", "base": "int8", **way, **again}
    for way in (
        {"precision": "bf16"},
        {"precision": "mixed"},
        {"precision": "mixed", "kbit_upcast": False},
        {"precision": "bf16", "adapter_dtype": "bf16"},
        {"precision": "mixed", "kbit_upcast": False, "lora_targets": "q_proj,v_proj"},
    )
    for again in ({}, {"checkpointing": "full"}, {"checkpointing": "full", "reentrant": True})
)


def steps(model: GridModel) -> Iterator[Step]:
    """The cases of one model."""
    yield from _all_ways(model)
    shapes = itertools.cycle(model.shapes)
    more = MORE if model.name in WITH_MORE else MORE[:3] if model.name in ONLY_QUANTIZED else ()
    if model.name in ("llama-3-8b", "qwen3-8b"):
        more += RARE
    more += EIGHT_BITS if model.name in IN_8_BITS else ()
    for ways in more:
        batch, context = next(shapes)
        attention = "eager" if model.model_type == "gemma2" else "sdpa"
        yield Step(attention=attention, batch=batch, context=context, **ways)  # type: ignore[arg-type]


def _all_ways(model: GridModel) -> Iterator[Step]:
    """{full fp32, bf16, mixed; LoRA} x {checkpointing} x {sdpa, eager}; shapes and optimizers take turns."""
    methods = (("full", "bf16"), ("full", "fp32"), ("full", "mixed"), ("lora", "bf16"), ("lora", "mixed"))
    eager = dict.fromkeys(("gemma2", "gpt_oss", "bloom"), ("eager",))
    attentions = eager.get(model.model_type, ("sdpa", "eager"))
    shapes = itertools.cycle(model.shapes)
    optimizers = itertools.cycle(OPTIMIZERS)
    for (method, precision), attention, checkpointing in itertools.product(methods, attentions, ("none", "full")):
        batch, context = next(shapes)
        optimizer, how = next(optimizers)
        step = Step(precision=precision, method=method, attention=attention, checkpointing=checkpointing)
        yield replace(step, batch=batch, context=context, optimizer=optimizer, optimizer_impl=how)
