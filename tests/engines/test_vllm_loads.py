"""What vLLM loads, by its own registry; each expectation is what vLLM 0.33's ModelConfig or model class said of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from inspector.engines.vllm.loads import loaded_as, runner, table, why_not_loaded
from inspector.engines.vllm.version import NEWEST
from inspector.model.architecture import read_architecture
from inspector.model.model import Architecture, Quantization
from inspector.model.packing.recipe import read_recipe

LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 128,
}


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
        ("OfTheReposOwnCode", NEWEST, None),
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
        assert why_not_loaded(packed, NEWEST) == f"vLLM 0.33 does not load {method} checkpoints"
        assert why_not_loaded(packed, (0, 26)) is None
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
