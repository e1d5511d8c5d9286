"""What SGLang loads and caches, by its own code; each expectation is what SGLang 0.5.23's ModelConfig and pool
configurators say of it (tests/oracles/sglang), or a start-up log."""

from __future__ import annotations

from dataclasses import replace

import pytest

from inspector.devices.spec import parse_gpu
from inspector.engines.registry import engine_named
from inspector.engines.serving import Serving
from inspector.engines.sglang.loads import (
    cached_layers,
    context_length,
    fraction_facts,
    page_size,
    state_slots,
    table,
    why_not_loaded,
)
from inspector.engines.sglang.plan import resolve_dtype
from inspector.memory import Workload
from inspector.model.architecture import read_architecture
from inspector.model.layers import Layer
from inspector.model.model import Architecture, Model
from inspector.model.packing.recipe import read_recipe
from tests.engines.small import LLAMA
from tests.memory.test_ledger import inspection


def named(architecture: str, quantization: str = "") -> Architecture:
    recipe = read_recipe({"quant_method": quantization, "bits": 4}) if quantization else None
    return replace(read_architecture(LLAMA, None), architecture=architecture, quantization=recipe)


@pytest.mark.parametrize(
    ("name", "packing", "says"),
    [
        ("LlamaForCausalLM", "", None),
        ("LlamaForCausalLM", "gptq", None),
        ("LlamaForCausalLM", "exl2", "SGLang 0.5.23 does not load exl2 checkpoints"),
        ("FalconForCausalLM", "", "SGLang 0.5.23 has no FalconForCausalLM"),
        ("T5ForConditionalGeneration", "", "SGLang 0.5.23 has no T5ForConditionalGeneration"),
        ("GPTNeoXForCausalLM", "", None),  # its backend for transformers takes it
        ("SomethingNew", "", "SGLang 0.5.23 has no SomethingNew"),
    ],
)
def test_what_sglang_has_no_class_for_is_refused(name: str, packing: str, says: str | None) -> None:
    assert why_not_loaded(named(name, packing)) == says


def served(model: Model, context: int = 4096) -> Serving:
    engine = engine_named("sglang")
    return engine.plan(model, Workload(context=context), parse_gpu("H200"), engine.options(), suggest=False)


def test_a_refusal_is_no_account() -> None:
    model = inspection("meta-llama/Meta-Llama-3-8B").model
    other = replace(model, architecture=replace(model.architecture, architecture="FalconForCausalLM"))
    assert served(other).fits is None
    assert served(other).notes[0] == "cannot tell: SGLang 0.5.23 has no FalconForCausalLM"
    engine = engine_named("sglang")
    serving = engine.plan(other, Workload(context=1), parse_gpu("H100"), engine.options())
    assert serving.notes[0] == "cannot tell: SGLang 0.5.23 has no FalconForCausalLM"


def token_bytes(serving: Serving) -> int:
    assert serving.kv_tokens is not None
    return round((serving.per_gpu["kv_pool"] or 0) / serving.kv_tokens)


def test_windows_have_a_pool_of_their_own_only_in_the_classes_that_sglang_names() -> None:
    # gemma-3-4b-it: 34 layers of 4 x (256 + 256) x 2 B: 108.24 GiB for 834,615 tokens in a log of 0.4.4
    assert token_bytes(served(inspection("google/gemma-3-4b-it").model)) == pytest.approx(139_264, abs=1)
    # gpt-oss-20b: 12 layers of 2,048 B, and 0.8 of 12 more
    assert token_bytes(served(inspection("openai/gpt-oss-20b").model)) == pytest.approx(1.8 * 12 * 2048, abs=1)


def test_states_cap_the_requests_at_once() -> None:
    model = inspection("Qwen/Qwen3-Next-80B-A3B-Instruct").model
    engine = engine_named("sglang")
    found = engine.plan(model, Workload(context=4096), parse_gpu("4xH200"), engine.options(), suggest=False)
    assert state_slots(model.architecture) == 5
    assert state_slots(model.architecture, (0, 5, 13)) == 3
    assert found.max_concurrency is not None
    assert found.kv_tokens is not None
    assert found.max_concurrency < found.kv_tokens / 4096


def test_layers_without_rows_of_their_own_have_them_in_sglang() -> None:
    whisper = read_architecture(
        {
            "architectures": ["WhisperForConditionalGeneration"],
            "model_type": "whisper",
            "d_model": 384,
            "encoder_layers": 4,
            "decoder_layers": 2,
            "encoder_attention_heads": 6,
            "decoder_attention_heads": 6,
            "vocab_size": 128,
        },
        None,
    )
    rows = cached_layers(whisper.layers, whisper)
    assert [layer.values_per_token for layer in rows] == [768] * (4 + 2 * 2)
    encoder = read_architecture({**LLAMA, "architectures": ["BertModel"], "model_type": "bert"}, None)
    assert [layer.values_per_token for layer in cached_layers(encoder.layers, encoder)] == [128] * 2


def test_a_mechanism_that_is_not_known_is_left_as_it_is() -> None:
    class Novel(Layer):
        kind = "novel"

    layer = Novel()
    assert cached_layers((layer,), named("LlamaForCausalLM")) == (layer,)


def test_what_the_default_share_depends_on() -> None:
    deepseek = fraction_facts(inspection("deepseek-ai/DeepSeek-V3").model.architecture)
    assert (deepseek.latent, deepseek.multimodal) == (True, False)
    gemma = fraction_facts(inspection("google/gemma-3-4b-it").model.architecture)
    assert (gemma.multimodal, gemma.vision) == (False, (27, 1152))  # off unless asked for


def test_the_table_is_of_the_release_that_it_names() -> None:
    found = table()
    assert found["sglang"] == "0.5.23"
    assert {"LlamaForCausalLM", "GptOssForCausalLM", "Qwen3NextForCausalLM"} <= found["architectures"].keys()
    assert not found["no_backend"] & found["architectures"].keys()


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_memory_shared_with_the_cpu_is_what_the_system_has_available(engine: str) -> None:
    model, chosen = inspection("meta-llama/Meta-Llama-3-8B").model, engine_named(engine)
    spark = chosen.plan(model, Workload(context=4096), parse_gpu("DGX Spark"), chosen.options(), suggest=False)
    orin = chosen.plan(
        model, Workload(context=4096), parse_gpu("Jetson AGX Orin 64GB"), chosen.options(), suggest=False
    )
    assert "GB10 shares its memory with the CPU: 112.9 GiB of it are taken to be available" in spark.notes
    assert any("what the system itself holds is not counted" in note for note in orin.notes)


def test_the_longest_context_is_the_configs_times_the_ropes_factor() -> None:
    # get_context_length: a factor counts where the RoPE does not say what it was stretched from
    rope = {"rope_type": "linear", "factor": 2.0}
    assert (
        context_length(read_architecture({**LLAMA, "max_position_embeddings": 4096, "rope_scaling": rope}, None))
        == 8192
    )
    stretched = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 4096}
    config = {**LLAMA, "max_position_embeddings": 16384, "rope_scaling": stretched}
    assert context_length(read_architecture(config, None)) == 16384
    nothing = {**LLAMA, "model_type": "falcon_mamba", "architectures": ["FalconMambaForCausalLM"]}
    assert context_length(read_architecture(nothing, None)) == 2048


def test_an_architecture_may_have_a_precision_and_pages_of_its_own() -> None:
    llava = read_architecture({**LLAMA, "model_type": "llava", "architectures": ["LlavaLlamaForCausalLM"]}, None)
    assert resolve_dtype("bf16", llava) == "fp16"
    assert (page_size(named("DeepseekV32ForCausalLM")), page_size(named("LlamaForCausalLM"))) == (64, 1)
