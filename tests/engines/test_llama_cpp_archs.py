"""What llama.cpp allocated for a small model of each of its architectures, as tests/oracles/llama/ recorded it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from inspector.engines.llama_cpp.cache import LlamaCppSettings, cache_bytes
from inspector.engines.llama_cpp.support import architecture_of, kept_layers, refusal
from inspector.hub.checkpoint import Checkpoint, Tensor
from inspector.hub.formats.gguf.config import gguf_config, gguf_table
from inspector.hub.formats.gguf.kept import llama_cpp_table
from inspector.model import build_model
from inspector.model.layers import FullAttention, NoCache
from tests.oracles.llama.archs import RUNS, metadata, variants

RECORD = json.loads((Path(__file__).parents[1] / "memory" / "data" / "llama_cpp_archs.json").read_text("utf-8"))
ARCHITECTURES: dict[str, Any] = RECORD["architectures"]
TYPES = {1: "f16", 8: "q8_0"}


def settings(run: dict[str, Any]) -> LlamaCppSettings:
    count = run.get("n_seq_max", 1)
    kinds = {f"cache_type_{part}": TYPES[run.get(f"type_{part}", 1)] for part in "kv"}
    return LlamaCppSettings(
        n_ctx=run["n_ctx"],
        n_ubatch=run["n_ubatch"],
        n_parallel=count,
        kv_unified=run.get("kv_unified", count == 1),
        swa_full=run["swa_full"],
        **kinds,
    )


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_a_files_cache_is_what_llama_cpp_allocates(architecture: str) -> None:
    number, mixture, sizes = ARCHITECTURES[architecture]
    values = metadata(architecture, list(variants())[number], mixture=mixture)
    stored = (Tensor("blk.0.attn_norm.weight", "F32", (256,)),)
    checkpoint = Checkpoint(
        "org/name", None, "hub", gguf_config(values, {"blk.0.attn_norm.weight"}), stored, format="gguf"
    )
    layers = build_model(checkpoint).architecture.layers
    for run, size in zip(RUNS, sizes, strict=True):
        # DeepSeek-V4 gives each sequence caches of its own in one cache, too; no plan asks for several in one
        if size is not None and not (architecture == "deepseek4" and run.get("kv_unified")):
            assert cache_bytes(layers, settings(run)) == size, run


def test_the_table_has_every_architecture_and_the_build_that_the_buffers_are_of() -> None:
    assert ARCHITECTURES.keys() <= llama_cpp_table()["architectures"].keys()
    assert set(gguf_table()["converted"].values()) <= llama_cpp_table()["architectures"].keys()
    assert llama_cpp_table()["build"] == RECORD["about"]["build"]


def model_of(architecture: str, **config: Any) -> Any:
    usual = {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 8, "vocab_size": 128}
    whole = {**usual, "intermediate_size": 512, "architectures": [architecture], **config}
    return build_model(Checkpoint("org/name", None, "hub", whole, (Tensor("x", "BF16", (1,)),))).architecture


def test_a_class_that_the_converter_does_not_take_is_refused_by_its_name() -> None:
    known = model_of("LlamaForCausalLM", model_type="llama", num_key_value_heads=2)
    assert (architecture_of(known), refusal(known)) == ("llama", None)
    strange = model_of("HyperForCausalLM", model_type="hyper")
    assert "llama.cpp has no HyperForCausalLM" in str(refusal(strange))


def test_windows_are_kept_where_the_architecture_has_them() -> None:
    """Mistral is converted to llama, which has none; Gemma 2 to gemma2."""
    window = {"sliding_window": 64, "num_key_value_heads": 2, "head_dim": 32}
    mistral = model_of("MistralForCausalLM", model_type="mistral", **window)
    assert {layer.window for layer in mistral.layers} == {64}
    assert {layer.window for layer in kept_layers(mistral)} == {None}
    gemma = model_of("Gemma2ForCausalLM", model_type="gemma2", **window)
    assert [layer.window for layer in kept_layers(gemma)] == [64, None] * 2


def test_a_diffusion_model_has_no_cache_and_a_latent_is_cached_as_the_graph_has_it() -> None:
    assert set(kept_layers(model_of("DreamModel", model_type="llama", num_key_value_heads=2))) == {NoCache()}
    latent = {"kv_lora_rank": 64, "q_lora_rank": 96, "qk_nope_head_dim": 32, "qk_rope_head_dim": 16, "v_head_dim": 32}
    small = model_of("MiniCPM3ForCausalLM", model_type="minicpm3", **latent)
    assert set(kept_layers(small)) == {FullAttention(8, 48, 32)}


def test_what_transformers_takes_for_no_decoder_has_a_cache_there() -> None:
    """A config that tells no decoder: llama.cpp and mlx-lm allocate rows of its heads."""
    found = model_of("GPTNeoXForCausalLM", model_type="gpt_neox")
    plain = replace(found, is_decoder=False, layers=(NoCache(),) * 4)
    assert kept_layers(plain) == (FullAttention(8, 32, 32),) * 4
