"""The layers' specs against what real caches held: a stored sample of small models, and a few run again with torch."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from inspector.memory.kv_cache import cache_bytes
from inspector.model.architecture import read_architecture
from inspector.model.config_light import table
from inspector.model.layers import FullAttention, NoCache, UnknownLayer

SAMPLE: dict[str, Any] = json.loads((Path(__file__).parents[1] / "oracles" / "caches.json").read_text("utf-8"))
"""Made by `python tests/oracles/caches.py --write`."""

RUN_AGAIN = (
    "deepseek_v3",
    "falcon",
    "gemma2",
    "gemma3_text",
    "gpt_bigcode",
    "gpt_oss",
    "llama",
    "mistral",
    "qwen3_moe",
    "qwen3_next",
    "t5",
)


def name_of(run: dict[str, Any]) -> str:
    config = run["config"]
    return f"{config['model_type']}-{config.get('num_key_value_heads', '')}"


@pytest.mark.parametrize("run", SAMPLE["runs"], ids=name_of)
def test_the_specs_give_what_the_caches_held(run: dict[str, Any]) -> None:
    if not table()[run["config"]["model_type"]]["light"] and version("transformers") != SAMPLE["transformers"]:
        pytest.skip("read through its class, which differs in other releases of transformers")
    layers = read_architecture(run["config"]).layers
    for context, held in run["held"].items():
        sizes = [
            cache_bytes(
                layer,
                context=int(context),
                batch=SAMPLE["batch"],
                element_bits=16,
                encoder_tokens=SAMPLE["encoder_tokens"],
            )
            for layer in layers
        ]
        assert None not in sizes
        assert sum(size or 0 for size in sizes) == held


def test_the_sample_covers_most_language_models() -> None:
    assert len({run["config"]["model_type"] for run in SAMPLE["runs"]}) >= 165


@pytest.mark.parametrize("model_type", RUN_AGAIN)
def test_a_small_model_still_holds_what_its_specs_give(model_type: str) -> None:
    pytest.importorskip("torch")
    from tests.oracles.caches import PROMPTS, measure, small_model, tiny_config

    config = tiny_config(model_type)
    model = small_model(config)
    for prompt in PROMPTS:
        found = measure(model, config, prompt)
        assert found.verdict == "equal", found


def test_a_kind_that_cannot_be_sized_is_unknown_and_never_zero() -> None:
    for model_type in ("deepseek_v4", "recurrent_gemma", "rwkv", "xlnet"):
        layers = read_architecture({"model_type": model_type}).layers
        assert any(isinstance(layer, UnknownLayer) for layer in layers), model_type


def test_layers_that_reuse_a_cache_hold_none() -> None:
    layers = read_architecture(
        {"model_type": "gemma3n_text", "num_hidden_layers": 35, "num_kv_shared_layers": 15}
    ).layers
    assert layers[20:] == (NoCache(),) * 15
    assert not any(isinstance(layer, NoCache) for layer in layers[:20])


def test_nemotron_layers_without_attention_hold_nothing() -> None:
    kinds = ["linear_attention", "moe", "full_attention", "mlp"]
    layers = read_architecture({"model_type": "nemotron_h", "layer_types": kinds, "num_hidden_layers": 4}).layers
    assert [layer.kind for layer in layers] == ["linear_attention", "no_cache", "full_attention", "no_cache"]


def test_gemma_4_full_layers_have_heads_of_their_own() -> None:
    layers = read_architecture(
        {
            "model_type": "gemma4_text",
            "num_hidden_layers": 6,
            "num_key_value_heads": 16,
            "head_dim": 256,
            "global_head_dim": 512,
            "num_global_key_value_heads": 4,
            "attention_k_eq_v": True,
        }
    ).layers
    assert layers[0].kind == "sliding_attention"
    assert layers[5] == FullAttention(4, 512, 512)
