"""What `make gpu-check` runs: published models with few layers, each way with what the library predicts of it.

Needs no torch: the predictions are those of `inspector.inspect` and `inspector.train` for the model's config.json.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import inspector
from tests.oracles.inference_models import MODELS

CLASSES = {
    "llama-3.2-1b": "LlamaForCausalLM",
    "llama-3-8b": "LlamaForCausalLM",
    "qwen3-8b": "Qwen3ForCausalLM",
    "gemma-3-4b": "Gemma3ForCausalLM",
    "phi-3-mini": "Phi3ForCausalLM",
    "mixtral-8x7b": "MixtralForCausalLM",
    "gpt2-xl": "GPT2LMHeadModel",
}
LAYERS = {"llama-3.2-1b": 8, "gpt2-xl": 6, "mixtral-8x7b": 1, "gemma-3-4b": 3}
"""How many layers a model has here; two where it is not named."""

SMALL = {
    "hidden_size": 256,
    "intermediate_size": 688,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 32,
    "vocab_size": 2048,
}


@dataclass(frozen=True)
class Case:
    """One run: "generate" (a prompt and two tokens) or "train" (two steps).

    Attributes:
        how: settings of `inspector.train`, which are those of `inspector.measure.step.Step`, too.
        small: widths of `SMALL`, which a CPU computes in a second.
    """

    model: str
    kind: str
    batch: int
    context: int
    how: Mapping[str, Any] = field(default_factory=dict)
    small: bool = False

    @property
    def model_type(self) -> str:
        return next(model for model in MODELS if model.name == self.model).model_type

    @property
    def config(self) -> dict[str, Any]:
        """The arguments of the config class."""
        config = dict(next(model for model in MODELS if model.name == self.model).config)
        if self.small:
            config |= {key: value for key, value in SMALL.items() if key in config}
        return config | {"n_layer" if "n_layer" in config else "num_hidden_layers": LAYERS.get(self.model, 2)}

    def __str__(self) -> str:
        words = [key if key in ("checkpointing", "compiled") else str(value) for key, value in self.how.items()]
        return " ".join([self.kind, *words, f"{self.batch} x {self.context:,}"])


@dataclass(frozen=True)
class Prediction:
    """In bytes: of torch's tensors at the peak, of what its allocator holds (at least, at most), of the whole process;
    and between steps or tokens, where weights and states or weights and cache are there. None for what is not told."""

    peak: int
    between: int
    reserved: tuple[int, int] | None
    used: int | None


TRAIN: tuple[dict[str, Any], ...] = (
    {},
    {"checkpointing": "full"},
    {"optimizer_impl": "fused", "checkpointing": "full"},
    {"precision": "mixed"},
    {"precision": "mixed", "checkpointing": "full", "optimizer_impl": "fused"},
    {"method": "lora"},
    {"method": "lora", "checkpointing": "full"},
    {"method": "qlora", "precision": "mixed", "checkpointing": "full"},
)
MORE: tuple[dict[str, Any], ...] = (
    {"attention": "eager"},
    {"optimizer": "sgd"},
    {"optimizer": "adafactor"},
    {"optimizer_impl": "for-loop"},
    {"method": "lora", "lora_targets": "q_proj,v_proj", "precision": "mixed"},
    {"compiled": True},
    {"compiled": True, "optimizer_impl": "fused"},
)


def cases() -> Iterator[Case]:
    """All that a GPU is checked with."""
    for name in CLASSES:
        for batch, context in ((1, 1024), (4, 512)) if name == "gpt2-xl" else ((1, 4096), (4, 1024)):
            yield Case(name, "generate", batch, context)
    for name in ("llama-3-8b", "llama-3.2-1b", "qwen3-8b", "mixtral-8x7b"):
        for index, how in enumerate(TRAIN):
            if name != "mixtral-8x7b" or how.get("method") != "qlora":  # its experts are no linear layers
                yield Case(name, "train", *((1, 2048), (4, 1024))[index % 2], how)
    for how in MORE:
        yield Case("llama-3-8b", "train", 2, 2048, how)


def small_cases() -> Iterator[Case]:
    """What a CPU can run of them: small widths, and neither kernels for 4 bits nor a compiler."""
    chosen = [case for case in cases() if case.model in ("llama-3-8b", "qwen3-8b")]
    plain = [case for case in chosen if case.how.get("method") != "qlora" and not case.how.get("compiled")]
    for model, kind, how in dict.fromkeys((case.model, case.kind, tuple(case.how.items())) for case in plain):
        yield Case(model, kind, 2, 128, dict(how), small=True)


def predict(case: Case) -> Prediction:
    """What the library says of a case, from its config.json alone."""
    with tempfile.TemporaryDirectory() as folder:
        named = {"model_type": case.model_type, "architectures": [CLASSES[case.model]]}
        Path(folder, "config.json").write_text(json.dumps(named | case.config), "utf-8")
        if case.kind == "generate":
            said = inspector.inspect(folder, context=case.context, batch=case.batch, dtype="bf16", offline=True)
            sizes = said.to_dict()["memory"]["inference"]
            between = sizes["weights"] + sizes["kv_cache"]
            return Prediction(between + sizes["activations"], between, None, sizes["total"])
        asked: dict[str, Any] = {"context": case.context, "batch": case.batch, "offline": True, **case.how}
        step = inspector.train(folder, **asked).to_dict()["training"]
    between = step["weights"] + step["optimizer_states"]
    reserved = step["reserved_range"] or ([step["reserved"]] * 2 if step["reserved"] else None)
    return Prediction(step["peak"], between, (reserved[0], reserved[1]) if reserved else None, step["device_used"])
