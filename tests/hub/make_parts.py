"""Repos that are made of parts, as diffusers, sentence-transformers and PEFT lay them out: real names and shapes."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from inspector.hub.cache.snapshot import decode_tensors
from tests.hub_server import Content, sharded, sparse

MODEL_TESTS = Path(__file__).parent.parent / "model"
Shapes = dict[str, tuple[str, list[int]]]

CLIP_TEXT = {
    "architectures": ["CLIPTextModel"],
    "model_type": "clip_text_model",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 77,
    "vocab_size": 1000,
    "torch_dtype": "float16",
}
CLIP_TEXT_PARAMETERS = 1000 * 64 + 77 * 64 + 2 * (4 * (64 * 64 + 64) + 2 * 64 * 128 + 128 + 64 + 4 * 64) + 2 * 64
LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 1000,
    "max_position_embeddings": 2048,
    "torch_dtype": "bfloat16",
}
LLAMA_PARAMETERS = 2 * 1000 * 64 + 64 + 2 * (2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 128 + 2 * 64)
ADAPTER_PARAMETERS = 2 * (8 * 64 + 64 * 8 + 8 * 64 + 32 * 8)


@lru_cache(maxsize=1)
def diffusers_cases() -> list[dict[str, Any]]:
    """Every class of diffusers that could be made: class, total, tensors (rows of a snapshot)."""
    cases: list[dict[str, Any]] = json.loads(gzip.decompress((MODEL_TESTS / "diffusers.json.gz").read_bytes()))["cases"]
    return cases


def diffusers_shapes(class_name: str, dtype: str = "F16") -> tuple[Shapes, int]:
    """The tensors of a class of diffusers with its default config, and its parameters."""
    case = next(case for case in diffusers_cases() if case["class"] == class_name)
    return {t.name: (dtype, list(t.shape)) for t in decode_tensors(case["tensors"])}, case["total"]


def clip_text(dtype: str = "F16") -> Shapes:
    """A text encoder as transformers saves it, with the position ids that old files hold."""
    shapes: Shapes = {
        "text_model.embeddings.token_embedding.weight": (dtype, [1000, 64]),
        "text_model.embeddings.position_embedding.weight": (dtype, [77, 64]),
        "text_model.embeddings.position_ids": ("I64", [1, 77]),
        "text_model.final_layer_norm.weight": (dtype, [64]),
        "text_model.final_layer_norm.bias": (dtype, [64]),
    }
    for i in range(2):
        layer = f"text_model.encoder.layers.{i}"
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            shapes |= {
                f"{layer}.self_attn.{name}.weight": (dtype, [64, 64]),
                f"{layer}.self_attn.{name}.bias": (dtype, [64]),
            }
        shapes |= {
            f"{layer}.mlp.fc1.weight": (dtype, [128, 64]),
            f"{layer}.mlp.fc1.bias": (dtype, [128]),
            f"{layer}.mlp.fc2.weight": (dtype, [64, 128]),
            f"{layer}.mlp.fc2.bias": (dtype, [64]),
        }
        for name in ("layer_norm1", "layer_norm2"):
            shapes |= {f"{layer}.{name}.weight": (dtype, [64]), f"{layer}.{name}.bias": (dtype, [64])}
    return shapes


def llama(dtype: str = "BF16") -> Shapes:
    """A small Llama with a head of its own."""
    shapes: Shapes = {
        "model.embed_tokens.weight": (dtype, [1000, 64]),
        "model.norm.weight": (dtype, [64]),
        "lm_head.weight": (dtype, [1000, 64]),
    }
    for i in range(2):
        layer = f"model.layers.{i}"
        for name, rows, columns in (
            ("self_attn.q_proj", 64, 64),
            ("self_attn.k_proj", 32, 64),
            ("self_attn.v_proj", 32, 64),
            ("self_attn.o_proj", 64, 64),
            ("mlp.gate_proj", 128, 64),
            ("mlp.up_proj", 128, 64),
            ("mlp.down_proj", 64, 128),
        ):
            shapes[f"{layer}.{name}.weight"] = (dtype, [rows, columns])
        shapes |= {
            f"{layer}.input_layernorm.weight": (dtype, [64]),
            f"{layer}.post_attention_layernorm.weight": (dtype, [64]),
        }
    return shapes


def lora(rank: int = 8) -> Shapes:
    """LoRA on the q and v projections of `llama`."""
    shapes: Shapes = {}
    for i in range(2):
        for name, rows in (("q_proj", 64), ("v_proj", 32)):
            front = f"base_model.model.model.layers.{i}.self_attn.{name}"
            shapes |= {f"{front}.lora_A.weight": ("F32", [rank, 64]), f"{front}.lora_B.weight": ("F32", [rows, rank])}
    return shapes


def adapter(base: object = "org/base", **config: Any) -> dict[str, Content]:
    """An adapter's files."""
    return {
        "adapter_config.json": {
            "base_model_name_or_path": base,
            "peft_type": "LORA",
            "task_type": "CAUSAL_LM",
            "r": 8,
            "lora_alpha": 16,
            "target_modules": ["q_proj", "v_proj"],
            **config,
        },
        "adapter_model.safetensors": sparse(lora(), {"format": "pt"}),
    }


BASE: dict[str, Content] = {"config.json": LLAMA, "model.safetensors": sparse(llama(), {"format": "pt"})}

PIPELINE_INDEX: dict[str, Any] = {
    "_class_name": "StableDiffusionPipeline",
    "_diffusers_version": "0.30.0",
    "feature_extractor": ["transformers", "CLIPImageProcessor"],
    "image_encoder": [None, None],
    "requires_safety_checker": True,
    "scheduler": ["diffusers", "PNDMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}


def in_shards(shapes: Shapes, count: int, stem: str) -> dict[str, Content]:
    """Shards and their index under another stem than `model`."""
    files: dict[str, Content] = {}
    for name, content in sharded(shapes, count).items():
        renamed = content
        if isinstance(content, dict):
            places = {tensor: shard.replace("model", stem) for tensor, shard in content["weight_map"].items()}
            renamed = {**content, "weight_map": places}
        files[name.replace("model", stem)] = renamed
    return files


def pipeline(index: Mapping[str, Any] | None = None) -> dict[str, Content]:
    """A pipeline: a sharded UNet, a VAE, a text encoder, and what has no weights."""
    unet, _ = diffusers_shapes("UNet2DConditionModel")
    vae, _ = diffusers_shapes("AutoencoderKL")
    files: dict[str, Content] = {
        "model_index.json": dict(PIPELINE_INDEX if index is None else index),
        "feature_extractor/preprocessor_config.json": {},
        "scheduler/scheduler_config.json": {"_class_name": "PNDMScheduler"},
        "tokenizer/vocab.json": {},
        "unet/config.json": {"_class_name": "UNet2DConditionModel", "_diffusers_version": "0.30.0"},
        "vae/config.json": {"_class_name": "AutoencoderKL", "_diffusers_version": "0.30.0"},
        "vae/diffusion_pytorch_model.safetensors": sparse(vae),
        "text_encoder/config.json": CLIP_TEXT,
        "text_encoder/model.safetensors": sparse(clip_text(), {"format": "pt"}),
    }
    shards = in_shards(unet, 3, "diffusion_pytorch_model")
    return files | {f"unet/{name}": content for name, content in shards.items()}
