"""What vLLM loads, by its own registry; each expectation is what vLLM 0.33's ModelConfig or model class said of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from inspector.devices.spec import parse_gpu
from inspector.engines.common.served import ServedModel
from inspector.engines.registry import engine_named
from inspector.engines.serving import Serving
from inspector.engines.vllm.loads import (
    as_cached,
    loaded_as,
    longest_length,
    most_length,
    resolve_dtype,
    runner,
    table,
    why_not_loaded,
)
from inspector.engines.vllm.version import NEWEST, parse_version
from inspector.memory import Workload
from inspector.model.architecture import read_architecture
from inspector.model.layers.no_cache import NoCache
from inspector.model.model import Architecture, Model, Quantization
from inspector.model.packing.recipe import read_recipe
from tests.engines.small import LLAMA
from tests.memory.test_ledger import inspection


def named(architecture: str, quantization: Quantization | None = None) -> Architecture:
    return replace(read_architecture(LLAMA, None), architecture=architecture, quantization=quantization)


@pytest.mark.parametrize(
    ("name", "runs"),
    [
        ("LlamaForCausalLM", "generate"),
        ("BertModel", "pooling"),
        ("HF_ColBERT", "pooling"),
        ("Qwen2ForRewardModel", "pooling"),
        ("LlamaForSequenceClassification", "pooling"),
        ("SomethingNew", "generate"),
    ],
)
def test_the_runner_is_vllms_default(name: str, runs: str) -> None:
    assert runner(name) == runs


def test_another_head_is_loaded_as_the_class_that_vllm_has() -> None:
    assert loaded_as("LlamaForCausalLM") == "LlamaForCausalLM"
    assert loaded_as("LlamaForSequenceClassification") == "LlamaForCausalLM"
    assert loaded_as("GPTNeoForCausalLM") is None


@pytest.mark.parametrize(
    ("name", "release", "says"),
    [
        ("LlamaForCausalLM", NEWEST, None),
        ("MptForCausalLM", NEWEST, "vLLM 0.33 has no MptForCausalLM (removed after 0.28.0)"),
        ("MptForCausalLM", (0, 28), None),
        ("MptForCausalLM", (0, 30), "vLLM 0.30 has no MptForCausalLM (removed after 0.28.0)"),
        ("MptForCausalLM", (0, 40), "vLLM 0.33 has no MptForCausalLM (removed after 0.28.0)"),
        ("QWenLMHeadModel", NEWEST, "vLLM 0.33 has no QWenLMHeadModel (removed after 0.23.0)"),
        ("GPTNeoForCausalLM", NEWEST, "vLLM 0.33 has no GPTNeoForCausalLM"),
        ("GPTNeoForCausalLM", (0, 40), None),  # what was read says nothing of a later one
        ("PersimmonForCausalLM", NEWEST, None),  # removed, but the backend for transformers takes it
        ("OfTheReposOwnCode", NEWEST, "vLLM 0.33 has no OfTheReposOwnCode"),
        ("OfTheReposOwnCode", (0, 40), None),
    ],
)
def test_an_architecture_is_refused_by_the_versions_that_have_it_not(
    name: str, release: tuple[int, int], says: str | None
) -> None:
    assert why_not_loaded(named(name), release) == says


@pytest.mark.parametrize(
    ("model_type", "name", "said"),
    [
        ("t5", "T5ForConditionalGeneration", "vLLM 0.33 has no T5ForConditionalGeneration"),
        ("bamba", "BambaForCausalLM", "vLLM 0.33 has no BambaForCausalLM (removed after 0.23.0)"),
        ("bart", "BartForConditionalGeneration", "vLLM 0.33 has no BartForConditionalGeneration: a plugin of its own"),
        ("whisper", "WhisperForConditionalGeneration", None),
        ("jamba", "JambaForCausalLM", None),
    ],
)
def test_the_backend_for_transformers_takes_neither_states_nor_attention_to_an_encoder(
    model_type: str, name: str, said: str | None
) -> None:
    shape = read_architecture({"model_type": model_type, "architectures": [name]}, None)
    why = why_not_loaded(shape, NEWEST)
    assert (why or "").startswith(said or "")
    assert (why is None) == (said is None)


def test_a_packing_that_vllm_has_no_method_for_is_refused() -> None:
    for method in ("bitsandbytes", "exl2", "exl3", "bitnet"):
        packed = named("LlamaForCausalLM", Quantization(method, 4, None))
        last = ": 0.27 was the last" if method == "bitsandbytes" else ""
        assert why_not_loaded(packed, NEWEST) == f"vLLM 0.33 does not load {method} checkpoints{last}"
        assert (why_not_loaded(packed, (0, 26)) is None) == (method == "bitsandbytes")
    for method in ("gptq", "awq", "fp8", "compressed-tensors", "torchao", "modelopt", "unknown"):
        assert why_not_loaded(named("LlamaForCausalLM", Quantization(method, 4, None)), NEWEST) is None


@pytest.mark.parametrize(("ordered", "size", "refused"), [(True, 128, True), (True, -1, False), (False, 128, False)])
def test_gptq_in_the_order_of_activations_is_refused_unless_a_column_is_one_group(
    ordered: bool, size: int, refused: bool
) -> None:
    recipe = read_recipe({"quant_method": "gptq", "bits": 4, "group_size": size, "desc_act": ordered})
    assert (why_not_loaded(named("LlamaForCausalLM", recipe), NEWEST) is not None) == refused
    assert why_not_loaded(named("LlamaForCausalLM", recipe), (0, 26)) is None


def test_the_table_names_its_vllm_and_what_wrote_it() -> None:
    assert (table()["generator"], table()["vllm"]) == ("fixtures/make_engines.py", "0.33.0")
    assert len(table()["architectures"]) == 415


def test_a_state_beside_rows_is_not_against_the_backend() -> None:
    shape = read_architecture({"model_type": "zaya", "architectures": ["ZayaForCausalLM"]}, None)
    assert any(layer.states for layer in shape.layers)
    assert why_not_loaded(shape, NEWEST) is None


@pytest.mark.parametrize(
    ("named_dtype", "model_type", "architecture", "capability", "loaded"),
    [
        ("fp32", "gemma2", "Gemma2ForCausalLM", (8, 9), "bf16"),
        ("fp32", "llama", "LlamaForCausalLM", (7, 5), "fp16"),  # no bfloat16 before Ampere
        ("fp32", "llama", "LlamaForCausalLM", None, "bf16"),
        ("fp32", "bert", "BertModel", (9, 0), "fp16"),  # what pools prefers float16
        ("fp16", "llama", "LlamaForCausalLM", (9, 0), "fp16"),
        ("bf16", "llama", "LlamaForCausalLM", (7, 5), "fp16"),
        ("bf16", "gemma2", "Gemma2ForCausalLM", (7, 5), "fp32"),  # float16 overflows there
        ("fp16", "gemma2", "Gemma2ForCausalLM", (9, 0), "bf16"),
    ],
)
def test_auto_loads_what_the_gpu_and_the_type_take(
    named_dtype: str, model_type: str, architecture: str, capability: tuple[int, int] | None, loaded: str
) -> None:
    shape = replace(named(architecture), model_type=model_type)
    assert resolve_dtype(named_dtype, shape, capability) == loaded


def served_by(engine: str, model: Model, gpu: str = "H100", **asked: str) -> Serving:
    return engine_named(engine).plan(model, Workload(context=512, **asked), parse_gpu(gpu), engine_options(engine))


def engine_options(engine: str) -> Any:
    return engine_named(engine).options()


@pytest.mark.parametrize(("engine", "dtype"), [("vllm", "bfloat16"), ("sglang", "float16")])
def test_float32_checkpoints_are_loaded_in_16_bits(engine: str, dtype: str) -> None:
    llama = inspection("meta-llama/Meta-Llama-3-8B").model
    wide = replace(llama, architecture=replace(llama.architecture, dtype="float32"))
    as_asked, half = served_by(engine, wide, dtype="fp32"), served_by(engine, wide)
    assert (as_asked.settings["dtype"], half.settings["dtype"]) == ("float32", dtype)
    assert as_asked.per_gpu["weights"] > 1.99 * (half.per_gpu["weights"] or 0)
    assert half.per_gpu["weights"] == served_by(engine, llama).per_gpu["weights"]


def test_sglang_keeps_gemmas_in_bfloat16() -> None:
    gemma = inspection("google/gemma-3-4b-it").model
    wide = replace(gemma, architecture=replace(gemma.architecture, dtype="float32"))
    assert served_by("sglang", wide).settings["dtype"] == "bfloat16"


def test_a_pooling_model_samples_nothing() -> None:
    llama = inspection("meta-llama/Meta-Llama-3-8B").model
    reward = replace(llama, architecture=replace(llama.architecture, architecture="LlamaForSequenceClassification"))
    pools, generates = served_by("vllm", reward), served_by("vllm", llama)
    # 1,024 rows of 128,256 logits at 14 bytes; what is left is a layer's peak at 8,192 tokens.
    assert (generates.per_gpu["activations"] or 0) > 1024 * 128256 * 14
    assert (pools.per_gpu["activations"] or 0) < 1.1e9


def test_an_encoder_has_no_pool() -> None:
    llama = inspection("meta-llama/Meta-Llama-3-8B").model
    layers = (NoCache(),) * 32
    encoder = replace(llama, architecture=replace(llama.architecture, layers=layers, architecture="BertModel"))
    serving = served_by("vllm", encoder)
    assert (serving.per_gpu["kv_pool"], serving.kv_tokens, serving.fits) == (0, None, True)
    fit, taken = serving.verdict, serving.per_gpu["total"]
    assert (fit.needed, fit.headroom) == (taken, serving.unused)
    assert fit.usable == pytest.approx(0.92 * serving.capacity, rel=0.001)


def test_a_release_has_the_architectures_of_its_own_registry() -> None:
    shape = named("BailingMoeV2_5ForCausalLM")
    assert why_not_loaded(shape, (0, 17)) is None
    assert why_not_loaded(shape, (0, 16)) == (
        "vLLM 0.16 has no BailingMoeV2_5ForCausalLM: 0.17 is the first that has it"
    )
    assert why_not_loaded(named("LlamaForCausalLM"), (0, 14)) is None


def test_a_type_is_cached_as_heads_before_the_release_that_knows_its_latent() -> None:
    assert parse_version(table()["latents"]["axk1"]).release == (0, 26)
    assert "deepseek_v3" not in table()["latents"]


def test_later_rounds_of_a_loop_keep_a_window() -> None:
    """vLLM 0.33: 24 layers with full attention and 24 with a sliding window of 64."""
    config = {"model_type": "iquestloopcoder", "architectures": ["IQuestLoopCoderForCausalLM"], "loop_window_size": 64}
    shape = read_architecture({**LLAMA, **config, "loop_num": 2}, None)
    served = ServedModel(shape.layers, 64, 128, 2, None)
    kinds = [layer.kind for layer in as_cached(served, shape).layers]
    assert kinds == ["full_attention"] * 2 + ["sliding_attention"] * 2


def test_states_are_float32_where_vllms_class_takes_no_other() -> None:
    for name in ("KimiLinearForCausalLM", "KimiK3ForConditionalGeneration", "BailingMoeV3ForCausalLM"):
        assert table()["state_dtypes"][name] == "=float32"


def test_the_length_is_that_of_vllms_own_config_class_where_config_json_has_none() -> None:
    assert (
        longest_length(read_architecture({**LLAMA, "architectures": ["HfMoondream"], "model_type": "moondream3"}, None))
        == 4096
    )
    assert (
        longest_length(read_architecture({**LLAMA, "architectures": [], "model_type": "nothing_known"}, None)) == 2048
    )


@pytest.mark.parametrize(
    ("keys", "longest", "most"),
    [
        ({}, 2048, None),
        ({"max_position_embeddings": 8192}, 8192, 8192),
        (
            {
                "max_position_embeddings": 131_072,
                "original_max_position_embeddings": 4096,
                "rope_scaling": {"type": "longrope", "long_factor": [1.0], "short_factor": [1.0]},
            },
            4096,
            131_072,
        ),
    ],
)
def test_what_it_takes_unasked_and_what_at_all(keys: dict[str, Any], longest: int, most: int | None) -> None:
    """Without a key of a length any request is taken; LongRoPE's is taken up to what it stretches to."""
    shape = read_architecture({**LLAMA, "architectures": [], "model_type": "nothing_known", **keys}, None)
    assert (longest_length(shape), most_length(shape)) == (longest, most)
