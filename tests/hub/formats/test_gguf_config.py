"""GGUF's metadata as a config: values from published files' metadata, and read back by transformers' classes."""

from __future__ import annotations

import contextlib
import warnings
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspector.errors import InvalidConfig
from inspector.hub.formats.gguf.config import PLAIN_KEYS, gguf_config, gguf_table
from inspector.hub.formats.gguf.header import Omitted


def config(architecture: str, **values: Any) -> dict[str, Any]:
    """Of metadata with these keys; "__" stands for a dot."""
    metadata = {f"{architecture}.{key.replace('__', '.')}": value for key, value in values.items()}
    return gguf_config({"general.architecture": architecture, **metadata})


LLAMA_3_8B = {
    "general.architecture": "llama",
    "llama.block_count": 32,
    "llama.context_length": 8192,
    "llama.embedding_length": 4096,
    "llama.feed_forward_length": 14336,
    "llama.attention.head_count": 32,
    "llama.attention.head_count_kv": 8,
    "llama.rope.dimension_count": 128,
    "llama.rope.scaling.original_context_length": 4096,
    "llama.vocab_size": 128256,
    "tokenizer.ggml.tokens": Omitted("string", 128256),
}


def test_llama_3() -> None:
    assert gguf_config(LLAMA_3_8B) == {
        "gguf_architecture": "llama",
        "model_type": "llama",
        "vocab_size": 128256,
        "max_position_embeddings": 8192,
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "num_hidden_layers": 32,
        "head_dim": 128,
        "gguf_kept": [{"rows": [8, 128, 128]}] * 32,
    }
    assert gguf_config(LLAMA_3_8B, {"token_embd.weight"})["tie_word_embeddings"] is True
    assert gguf_config(LLAMA_3_8B, {"token_embd.weight", "output.weight"})["tie_word_embeddings"] is False


def test_the_vocabulary_is_counted_where_no_key_says_it() -> None:
    tokens = {"general.architecture": "qwen2", "tokenizer.ggml.tokens": Omitted("string", 151936)}
    assert gguf_config(tokens)["vocab_size"] == 151936
    assert gguf_config({**tokens, "tokenizer.ggml.tokens": ["a", "b"]})["vocab_size"] == 2


def test_mixtral_is_told_from_llama_by_its_experts() -> None:
    found = config("llama", expert_count=8, expert_used_count=2, feed_forward_length=14336)
    assert found["model_type"] == "mixtral"
    assert (found["num_local_experts"], found["num_experts_per_tok"], found["intermediate_size"]) == (8, 2, 14336)


@pytest.mark.parametrize("newer", [False, True])
def test_deepseek_v3_in_both_forms_of_its_latent_attention(newer: bool) -> None:
    values = {
        "block_count": 61,
        "embedding_length": 7168,
        "attention__head_count": 128,
        "attention__q_lora_rank": 1536,
        "attention__kv_lora_rank": 512,
        "rope__dimension_count": 64,
        "expert_count": 256,
        "expert_used_count": 8,
        "expert_shared_count": 1,
        "expert_gating_func": 2,
        "expert_feed_forward_length": 2048,
        "leading_dense_block_count": 3,
    }
    if newer:
        values |= {"attention__head_count_kv": 1, "attention__key_length": 576, "attention__value_length": 512}
        values |= {"attention__key_length_mla": 192, "attention__value_length_mla": 128}
    else:
        values |= {"attention__head_count_kv": 128, "attention__key_length": 192, "attention__value_length": 128}
    found = config("deepseek2", **values)
    expected = {
        "model_type": "deepseek_v3",
        "num_hidden_layers": 61,
        "num_key_value_heads": 128,
        "q_lora_rank": 1536,
        "kv_lora_rank": 512,
        "qk_nope_head_dim": 128,
        "qk_rope_head_dim": 64,
        "v_head_dim": 128,
        "n_routed_experts": 256,
        "num_experts_per_tok": 8,
        "n_shared_experts": 1,
        "moe_intermediate_size": 2048,
        "first_k_dense_replace": 3,
    }
    assert {key: found.get(key) for key in expected} == expected
    assert config("deepseek2", attention__kv_lora_rank=512)["model_type"] == "deepseek_v2"


def test_gemma_3_has_a_head_size_of_its_own_and_a_window() -> None:
    found = config(
        "gemma3",
        attention__head_count=8,
        embedding_length=2560,
        attention__key_length=256,
        attention__sliding_window=1024,
    )
    assert (found["model_type"], found["head_dim"], found["sliding_window"]) == ("gemma3_text", 256, 1024)


def test_a_windows_pattern_by_layer_becomes_layer_types() -> None:
    found = config("gemma3n", block_count=3, attention__sliding_window_pattern=[True, True, False])
    assert found["layer_types"] == ["sliding_attention", "sliding_attention", "full_attention"]
    assert config("gemma2", attention__sliding_window_pattern=6)["sliding_window_pattern"] == 6


def test_gemma_4_has_two_head_sizes_and_two_numbers_of_heads() -> None:
    found = config(
        "gemma4",
        block_count=3,
        attention__key_length=512,
        attention__key_length_swa=256,
        attention__head_count_kv=[8, 8, 2],
        attention__sliding_window_pattern=[True, True, False],
    )
    assert (found["head_dim"], found["global_head_dim"]) == (256, 512)
    assert (found["num_key_value_heads"], found["num_global_key_value_heads"]) == (8, 2)


def test_lists_by_layer_are_kept_beside_their_largest() -> None:
    found = config("deci", block_count=3, attention__head_count_kv=[8, 0, 4], feed_forward_length=[64, 64, 64])
    assert (found["num_key_value_heads"], found["intermediate_size"]) == (8, 64)
    assert found["gguf_per_layer"] == {"num_key_value_heads": [8, 0, 4]}


def test_hybrids_say_their_layers_by_their_heads() -> None:
    lfm = config("lfm2", block_count=3, attention__head_count_kv=[0, 0, 8], shortconv__l_cache=3)
    assert (lfm["layer_types"], lfm["conv_L_cache"]) == (["conv", "conv", "full_attention"], 3)
    granite = config("granitehybrid", block_count=2, attention__head_count_kv=[0, 4], embedding_length=2)
    assert (granite["model_type"], granite["layer_types"]) == ("granitemoehybrid", ["mamba", "attention"])
    nemotron = config("nemotron_h", block_count=3, attention__head_count_kv=[0, 8, 0], feed_forward_length=[0, 0, 9])
    assert nemotron["layers_block_type"] == ["mamba", "attention", "mlp"]
    jamba = config("jamba", block_count=8, attention__head_count_kv=[0, 0, 8, 0, 0, 0, 8, 0])
    assert (jamba["attn_layer_offset"], jamba["attn_layer_period"]) == (2, 4)


def test_recurrent_states() -> None:
    ssm = {"ssm__conv_kernel": 4, "ssm__state_size": 128, "ssm__group_count": 16, "ssm__time_step_rank": 32}
    qwen = config("qwen3next", ssm__inner_size=4096, full_attention_interval=4, **ssm)
    assert qwen["model_type"] == "qwen3_next"
    assert [
        qwen[f"linear_{key}"] for key in ("num_key_heads", "num_value_heads", "key_head_dim", "value_head_dim")
    ] == [
        16,
        32,
        128,
        128,
    ]
    mamba = config("mamba2", embedding_length=2048, ssm__inner_size=4096, **ssm)
    assert (mamba["num_heads"], mamba["head_dim"], mamba["state_size"], mamba["expand"]) == (32, 128, 128, 2)


def test_prediction_layers_are_no_layers_of_the_model() -> None:
    found = config("glm4moe", block_count=47, nextn_predict_layers=1)
    assert (found["num_hidden_layers"], found["num_nextn_predict_layers"]) == (46, 1)


@pytest.mark.parametrize(
    ("architecture", "kv_heads", "expected"),
    [
        ("falcon", 1, {"multi_query": True, "new_decoder_architecture": False, "num_kv_heads": 1}),
        ("falcon", 8, {"multi_query": False, "new_decoder_architecture": True, "num_kv_heads": 8}),
        ("falcon", 64, {"multi_query": False, "new_decoder_architecture": False, "num_kv_heads": 64}),
        ("starcoder", 1, {"model_type": "gpt_bigcode", "multi_query": True}),
        ("t5", 64, {"d_ff": 256, "d_kv": 16}),
        ("llama4", 8, {"model_type": "llama4_text", "intermediate_size": 32, "intermediate_size_mlp": 256}),
        ("gpt-oss", 8, {"model_type": "gpt_oss", "intermediate_size": 32}),
        ("phi2", 64, {"model_type": "phi", "head_dim": 16, "partial_rotary_factor": 0.5}),
        ("plain", 64, {"model_type": "plain", "v_head_dim": 24, "head_dim": 16}),
    ],
)
def test_types_with_names_of_their_own(architecture: str, kv_heads: int, expected: dict[str, Any]) -> None:
    values = {"attention__head_count_kv": kv_heads, "feed_forward_length": 256, "rope__dimension_count": 8}
    if architecture in ("llama4", "gpt-oss"):
        values["expert_feed_forward_length"] = 32
    if architecture == "plain":
        values |= {"attention__key_length": 16, "attention__value_length": 24}
    found = config(architecture, attention__head_count=64, embedding_length=1024, **values)
    assert {key: found[key] for key in expected} == expected
    assert ("head_dim" in found) == (architecture != "falcon")


def test_a_projector_is_no_language_model() -> None:
    assert gguf_config({"general.architecture": "clip", "clip.vision.block_count": 27}) == {"gguf_architecture": "clip"}


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"general.architecture": 7},
        {"general.architecture": ""},
        {"general.architecture": "llama", "llama.block_count": "32"},
        {"general.architecture": "llama", "llama.block_count": -1},
        {"general.architecture": "llama", "llama.block_count": True},
        {"general.architecture": "llama", "llama.block_count": 2**63},
        {"general.architecture": "llama", "llama.block_count": Omitted("uint32", 2000)},
        {"general.architecture": "llama", "llama.attention.head_count_kv": [8, 1.5]},
        {"general.architecture": "llama", "llama.attention.head_count_kv": []},
    ],
)
def test_metadata_that_no_model_has_is_refused(metadata: dict[str, Any]) -> None:
    with pytest.raises(InvalidConfig):
        gguf_config(metadata)


KEYS = [
    *PLAIN_KEYS,
    "block_count",
    "rope.dimension_count",
    "attention.key_length",
    "attention.value_length",
    "attention.key_length_swa",
    "attention.sliding_window_pattern",
    "expert_count",
    "expert_used_count",
    "expert_gating_func",
    *(f"ssm.{key}" for key in ("conv_kernel", "state_size", "inner_size", "time_step_rank", "group_count")),
]
VALUES = st.sampled_from(
    [0, 1, 2, 8, 4096, 2**53, -1, 1.5, True, "a", [], [0, 0], [0, 8, 0], [True, False], [8], "", None]
)


@given(
    st.sampled_from(["llama", "deepseek2", "falcon", "t5", "gpt-oss", *gguf_table()["types"], *gguf_table()["states"]]),
    st.dictionaries(st.sampled_from(KEYS), VALUES),
    st.integers() | st.none() | st.lists(st.text()),
)
def test_any_values_give_a_config_or_our_error(architecture: str, values: dict[str, Any], tokens: Any) -> None:
    metadata = {f"{architecture}.{key}": value for key, value in values.items()}
    with contextlib.suppress(InvalidConfig):
        gguf_config({"general.architecture": architecture, "tokenizer.ggml.tokens": tokens, **metadata}, ["a"])


def test_every_model_type_is_one_of_transformers() -> None:
    transformers = pytest.importorskip("transformers")
    remote = {"bailing_moe"}  # its class is in its repos
    assert {kind for kind in gguf_table()["types"].values() if kind not in transformers.CONFIG_MAPPING} <= remote


FACTS: dict[str, dict[str, int]] = {
    "llama": {"hidden_size": 4096, "num_attention_heads": 32, "num_key_value_heads": 8, "num_hidden_layers": 32},
    "gpt2": {"hidden_size": 768, "num_attention_heads": 12, "num_hidden_layers": 12, "max_position_embeddings": 1024},
    "qwen3": {"hidden_size": 1024, "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128},
    "phi3": {"hidden_size": 3072, "num_attention_heads": 32, "num_key_value_heads": 32, "num_hidden_layers": 32},
    "gemma2": {"hidden_size": 2304, "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256},
    "bloom": {"hidden_size": 1024, "num_attention_heads": 16, "num_hidden_layers": 24},
    "t5": {"hidden_size": 512, "num_attention_heads": 8, "num_hidden_layers": 6},
    "falcon": {"hidden_size": 4544, "num_attention_heads": 71, "num_hidden_layers": 32},
    "starcoder2": {"hidden_size": 3072, "num_attention_heads": 24, "num_key_value_heads": 2},
    "gptneox": {"hidden_size": 768, "num_attention_heads": 12, "num_hidden_layers": 12},
}
GGUF_NAMES = {
    "hidden_size": "embedding_length",
    "num_attention_heads": "attention__head_count",
    "num_key_value_heads": "attention__head_count_kv",
    "num_hidden_layers": "block_count",
    "head_dim": "attention__key_length",
    "max_position_embeddings": "context_length",
}


@pytest.mark.parametrize("architecture", FACTS)
def test_transformers_reads_the_config_as_the_facts_say(architecture: str) -> None:
    transformers = pytest.importorskip("transformers")
    facts = FACTS[architecture]
    found = config(architecture, **{GGUF_NAMES[key]: value for key, value in facts.items()})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        read = transformers.CONFIG_MAPPING[found["model_type"]](**found)
    assert {key: getattr(read, key) for key in facts} == facts
