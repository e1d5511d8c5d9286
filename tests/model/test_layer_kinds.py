"""The layers' specs against what real caches held: a stored sample of small models, and a few run again with torch."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from inspector.memory.inference.kv_cache import allocated_bytes, cache_bytes
from inspector.model.architecture import read_architecture
from inspector.model.config.light import table
from inspector.model.layers import (
    CompressedAttention,
    FullAttention,
    ImageCrossAttention,
    LinearAttention,
    NoCache,
    SlidingAttention,
    UnknownLayer,
)

SAMPLE: dict[str, Any] = json.loads((Path(__file__).parents[1] / "oracles" / "caches.json").read_text("utf-8"))
"""Made by `python tests/oracles/caches.py --write`."""

RUN_AGAIN = (
    "deepseek_v3",
    "deepseek_v4",
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


def skip_where_read_through_another_release(run: dict[str, Any]) -> None:
    if not table()[run["config"]["model_type"]]["light"] and version("transformers") != SAMPLE["transformers"]:
        pytest.skip("read through its class, which differs in other releases of transformers")


def sizes_of(run: dict[str, Any], context: int) -> dict[str, Any]:
    """Keyword arguments for the sizing functions."""
    bits, encoder = run.get("element_bits", 16), SAMPLE["encoder_tokens"]
    return {"context": context, "batch": SAMPLE["batch"], "element_bits": bits, "encoder_tokens": encoder}


@pytest.mark.parametrize("run", SAMPLE["runs"], ids=name_of)
def test_the_specs_give_what_the_caches_held(run: dict[str, Any]) -> None:
    skip_where_read_through_another_release(run)
    layers = read_architecture(run["config"]).layers
    for context, held in run["held"].items():
        sizes = [cache_bytes(layer, **sizes_of(run, int(context))) for layer in layers]
        assert None not in sizes
        assert sum(size or 0 for size in sizes) == held


@pytest.mark.parametrize("run", SAMPLE["runs"], ids=name_of)
def test_the_specs_give_what_the_caches_allocated(run: dict[str, Any]) -> None:
    skip_where_read_through_another_release(run)
    layers = read_architecture(run["config"]).layers
    for context, allocated in run["allocated"].items():
        for cache, measured in zip(SAMPLE["allocations"], allocated, strict=True):
            if measured is None:
                continue
            tokens = int(context) - int(cache == "dynamic_after_prefill")  # the last token is the decode step
            sizes = [allocated_bytes(layer, **sizes_of(run, tokens), cache=cache) for layer in layers]
            assert sum(size or 0 for size in sizes) == measured, cache


def test_the_sample_covers_most_language_models() -> None:
    assert len({run["config"]["model_type"] for run in SAMPLE["runs"]}) >= 231


@pytest.mark.parametrize("model_type", RUN_AGAIN)
def test_a_small_model_still_holds_what_its_specs_give(model_type: str) -> None:
    pytest.importorskip("torch")
    from tests.oracles.caches import PROMPTS, measure, small_model, tiny_config

    config = tiny_config(model_type)
    model = small_model(config)
    for prompt in PROMPTS:
        found = measure(model, config, prompt)
        assert found.verdict == "equal", found
        assert not found.wrong_allocations, found


@pytest.mark.parametrize(
    "config",
    [
        {
            "model_type": "deepseek_v4",
            "compress_rates": {"compressed_sparse_attention": 0, "heavily_compressed_attention": 0},
        },
        {"model_type": "reformer", "is_decoder": True, "lsh_attn_chunk_length": 64, "local_attn_chunk_length": 32},
        {"model_type": "zaya", "cca_time0": "two"},
        {"model_type": "qwen3_next", "linear_num_key_heads": -1},
        {"model_type": "llama", "num_hidden_layers": 2, "layer_types": ["warp_attention"] * 2},
    ],
    ids=lambda config: config["model_type"],
)
def test_a_kind_that_cannot_be_sized_is_unknown_and_never_zero(config: dict[str, Any]) -> None:
    layers = read_architecture(config).layers
    assert any(isinstance(layer, UnknownLayer) for layer in layers)


def test_deepseek_v4_alternates_two_ways_to_compress() -> None:
    layers = read_architecture({"model_type": "deepseek_v4"}).layers
    assert layers[:2] == (CompressedAttention(512, 128, 128, 0, "F32"),) * 2
    assert layers[3] == CompressedAttention(512, 128, 4, 128, "F32")


def test_recurrent_gemma_slides_in_every_third_layer() -> None:
    layers = read_architecture({"model_type": "recurrent_gemma"}).layers
    assert [type(layer) for layer in layers[:3]] == [LinearAttention, LinearAttention, SlidingAttention]
    assert layers[2] == SlidingAttention(10, 256, 256, 2048)


def test_llama_3_2_vision_keeps_an_image_in_its_cross_attention_layers_and_says_so() -> None:
    vision = {"image_size": 560, "patch_size": 14, "max_num_tiles": 4}
    shape = read_architecture({"model_type": "mllama", "vision_config": vision, "text_config": {}})
    assert shape.layers[3] == ImageCrossAttention(8, 128, 128, 4 * 1601)
    assert shape.layer_kinds == {"full_attention": 32, "image_cross_attention": 8}
    assert any("6,404 tokens" in note for note in shape.notes)


def test_without_a_vision_part_an_image_is_not_counted_and_that_is_said() -> None:
    shape = read_architecture({"model_type": "mllama_text_model"})
    assert shape.layers[3] == NoCache()
    assert any("not counted" in note for note in shape.notes)


def test_an_encoder_decoder_keeps_the_encoders_rows_in_its_sliding_layers_too() -> None:
    layers = read_architecture({"model_type": "t5gemma", "decoder": {"sliding_window": 4096}}).layers
    assert {layer.kind for layer in layers} == {"cross_attention"}
    held = [cache_bytes(layer, context=10_000, batch=1, element_bits=16, encoder_tokens=100) for layer in layers[:2]]
    assert held == [(4095 + 100) * 4 * 512 * 2, (10_000 + 100) * 4 * 512 * 2]


def test_each_kind_names_the_config_keys_that_size_it() -> None:
    def keys(config: dict[str, Any], index: int = 0) -> tuple[str, ...]:
        return read_architecture(config).layers[index].config_keys

    assert keys({"model_type": "llama"}) == ("num_attention_heads", "num_key_value_heads", "head_dim")
    assert keys({"model_type": "gpt_oss"})[-1] == "sliding_window"
    assert keys({"model_type": "deepseek_v3"}) == ("kv_lora_rank", "qk_rope_head_dim")
    assert "linear_conv_kernel_dim" in keys({"model_type": "qwen3_next"})
    assert keys({"model_type": "mamba"}) == ("hidden_size", "expand", "state_size", "conv_kernel")
    assert keys({"model_type": "whisper"})[-1] == "max_source_positions"
    assert NoCache().config_keys == ()


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
