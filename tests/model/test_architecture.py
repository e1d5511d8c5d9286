"""The facts of well-known models, from the configs that their repos have, and what no model can have."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from inspector.errors import InvalidConfig
from inspector.model.architecture import read_architecture
from inspector.model.layers import (
    ChunkedAttention,
    CrossAttention,
    FullAttention,
    LatentAttention,
    LinearAttention,
    NoCache,
    SlidingAttention,
    StateTensor,
)
from inspector.model.model import Experts

LLAMA_3_8B: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": 128000,
    "eos_token_id": 128001,
    "hidden_act": "silu",
    "hidden_size": 4096,
    "initializer_range": 0.02,
    "intermediate_size": 14336,
    "max_position_embeddings": 8192,
    "model_type": "llama",
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "pretraining_tp": 1,
    "rms_norm_eps": 1e-05,
    "rope_scaling": None,
    "rope_theta": 500000.0,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "transformers_version": "4.40.0.dev0",
    "use_cache": True,
    "vocab_size": 128256,
}

GEMMA_3_4B: dict[str, Any] = {
    "architectures": ["Gemma3ForConditionalGeneration"],
    "model_type": "gemma3",
    "text_config": {
        "hidden_size": 2560,
        "intermediate_size": 10240,
        "model_type": "gemma3_text",
        "num_hidden_layers": 34,
        "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
        "sliding_window": 1024,
    },
    "torch_dtype": "bfloat16",
    "vision_config": {"hidden_size": 1152, "model_type": "siglip_vision_model", "num_hidden_layers": 27},
}


def test_llama_3_8b_is_32_equal_layers_with_grouped_heads() -> None:
    found = read_architecture(LLAMA_3_8B)
    assert (found.model_type, found.architecture) == ("llama", "LlamaForCausalLM")
    assert found.layers == (FullAttention(8, 128, 128),) * 32
    assert (found.hidden_size, found.num_attention_heads, found.num_key_value_heads) == (4096, 32, 8)
    assert (found.head_dim, found.intermediate_size, found.vocab_size) == (128, 14336, 128256)
    assert (found.max_position_embeddings, found.tie_word_embeddings, found.dtype) == (8192, False, "bfloat16")
    assert (found.sliding_window, found.experts, found.mlp_gated, found.hidden_act) == (None, None, True, "silu")
    assert found.is_decoder
    assert found.exact
    assert found.notes == ()


def test_gemma_3_4b_takes_heads_and_vocabulary_from_the_class_defaults() -> None:
    found = read_architecture(GEMMA_3_4B)
    assert (found.num_hidden_layers, found.num_attention_heads, found.num_key_value_heads) == (34, 8, 4)
    assert (found.head_dim, found.vocab_size, found.sliding_window) == (256, 262208, 1024)
    assert found.layer_kinds == {"sliding_attention": 29, "full_attention": 5}
    assert found.layers[4] == SlidingAttention(4, 256, 256, 1024)
    assert found.layers[5] == FullAttention(4, 256, 256)
    assert found.tie_word_embeddings
    assert found.vision
    assert not found.audio


def test_gpt_oss_20b_alternates_sliding_and_full_layers() -> None:
    found = read_architecture(
        {
            "architectures": ["GptOssForCausalLM"],
            "head_dim": 64,
            "hidden_size": 2880,
            "intermediate_size": 2880,
            "layer_types": ["sliding_attention", "full_attention"] * 12,
            "model_type": "gpt_oss",
            "num_attention_heads": 64,
            "num_experts_per_tok": 4,
            "num_hidden_layers": 24,
            "num_key_value_heads": 8,
            "num_local_experts": 32,
            "sliding_window": 128,
            "vocab_size": 201088,
        }
    )
    assert found.layer_kinds == {"sliding_attention": 12, "full_attention": 12}
    assert found.layers[0] == SlidingAttention(8, 64, 64, 128)
    assert found.experts == Experts(total=32, active=4, shared=0)
    assert (found.num_attention_heads, found.num_key_value_heads, found.head_dim) == (64, 8, 64)


def test_deepseek_v3_caches_the_latent() -> None:
    found = read_architecture({"model_type": "deepseek_v3", "architectures": ["DeepseekV3ForCausalLM"]})
    assert found.layers == (LatentAttention(512, 64),) * 61
    assert found.experts == Experts(total=256, active=8, shared=1)
    assert (found.moe_intermediate_size, found.intermediate_size) == (2048, 18432)


def test_qwen3_next_keeps_states_in_three_of_four_layers() -> None:
    found = read_architecture({"model_type": "qwen3_next"})
    assert found.layer_kinds == {"linear_attention": 36, "full_attention": 12}
    states = (StateTensor((8192, 4), "compute"), StateTensor((32, 128, 128), "F32"))
    assert found.layers[0] == LinearAttention(states)
    assert found.layers[3] == FullAttention(2, 256, 256)


def test_layers_that_run_again_keep_a_cache_for_each_run() -> None:
    """Dory: 8 layers, 20 that run twice, 8; with `last_loop` the second run keeps the only cache. Inkling 2 Loop:
    layers 6 to 17 of 24 run three times, each run with rows and convolution states of its own."""
    dory = read_architecture({"model_type": "dory", "n_recurrent_layers": 20})
    assert (dory.num_hidden_layers, len(dory.layers), dory.exact) == (36, 8 + 2 * 20 + 8, True)
    assert dory.layer_kinds == {"sliding_attention": 42, "full_attention": 14}
    once = read_architecture({"model_type": "dory", "recurrent_kv_cache_mode": "last_loop"})
    assert len(once.layers) == 36
    inkling = read_architecture({"model_type": "inkling2_loop", "text_config": {"model_type": "inkling2_loop_text"}})
    assert (inkling.num_hidden_layers, len(inkling.layers)) == (24, 24 + 2 * 12)


def test_sarvam_mla_caches_the_latent() -> None:
    """Its model is DeepSeek-V3's: rows of 512 + 64 in each of its layers."""
    found = read_architecture({"model_type": "sarvam_mla"})
    assert set(found.layers) == {found.layers[0]}
    assert isinstance(found.layers[0], LatentAttention)
    assert (found.layers[0].kv_lora_rank, found.layers[0].qk_rope_head_dim) == (512, 64)


def test_llama_4_sees_chunks_in_three_of_four_layers() -> None:
    text = {"model_type": "llama4_text", "num_hidden_layers": 48, "num_local_experts": 16}
    found = read_architecture({"model_type": "llama4", "text_config": text})
    assert found.layer_kinds == {"chunked_attention": 36, "full_attention": 12}
    assert found.layers[0] == ChunkedAttention(8, 128, 128, 8192)
    assert found.experts == Experts(total=16, active=1, shared=1)


def test_qwen2_windows_count_only_where_they_are_switched_on() -> None:
    config = {"model_type": "qwen2", "num_hidden_layers": 4, "sliding_window": 1024, "max_window_layers": 2}
    assert read_architecture(config).sliding_window is None
    assert read_architecture(config).layer_kinds == {"full_attention": 4}
    found = read_architecture({**config, "use_sliding_window": True})
    assert found.sliding_window == 1024
    assert [layer.kind for layer in found.layers] == ["full_attention"] * 2 + ["sliding_attention"] * 2


def test_falcon_caches_one_head_and_its_new_architecture_all_of_them() -> None:
    seven = read_architecture({"model_type": "falcon", "multi_query": True, "num_attention_heads": 71})
    assert seven.layers[0] == FullAttention(1, 64, 64)
    assert seven.num_key_value_heads == 1
    forty = read_architecture(
        {
            "model_type": "falcon",
            "hidden_size": 8192,
            "new_decoder_architecture": True,
            "num_attention_heads": 128,
            "num_kv_heads": 8,
        }
    )
    assert forty.layers[0] == FullAttention(128, 64, 64)
    assert forty.num_key_value_heads == 8


def test_encoders_keep_no_cache_unless_they_are_decoders() -> None:
    bert = {"model_type": "bert", "architectures": ["BertForMaskedLM"], "num_hidden_layers": 12}
    found = read_architecture(bert)
    assert not found.is_decoder
    assert found.layers == (NoCache(),) * 12
    assert found.mlp_gated is False
    assert read_architecture({**bert, "is_decoder": True}).layers == (FullAttention(12, 64, 64),) * 12


@pytest.mark.parametrize("said", [{}, {"is_decoder": False}])
def test_a_class_that_does_not_ask_for_is_decoder_keeps_a_cache_without_it(said: dict[str, bool]) -> None:
    """GPT-NeoX never reads the flag, and TrOCR's causal class sets it by itself (fixtures/make_caches.py runs them)."""
    pythia = read_architecture({"model_type": "gpt_neox", "architectures": ["GPTNeoXForCausalLM"], **said})
    assert (pythia.is_decoder, pythia.layers) == (True, (FullAttention(64, 96, 96),) * 44)
    trocr = read_architecture({"model_type": "trocr", "architectures": ["TrOCRForCausalLM"], **said})
    assert (trocr.is_decoder, trocr.layers) == (True, (FullAttention(16, 64, 64),) * 12)


@pytest.mark.parametrize("said", [{}, {"is_encoder_decoder": True}, {"is_decoder": False}])
def test_the_causal_class_of_an_encoder_decoder_is_a_decoder_alone_whatever_the_config_says(
    said: dict[str, bool],
) -> None:
    bart = read_architecture({"model_type": "bart", "architectures": ["BartForCausalLM"], **said})
    assert bart.layers == (FullAttention(16, 64, 64),) * 12


def test_an_encoder_decoder_has_its_decoder_layers_and_the_encoder_rows() -> None:
    t5 = read_architecture({"model_type": "t5", "num_layers": 6, "num_decoder_layers": 4, "d_kv": 64})
    assert t5.layers == (CrossAttention(8, 64, 64, None),) * 4
    whisper = read_architecture({"model_type": "whisper", "decoder_layers": 4, "encoder_layers": 4})
    assert whisper.layers == (CrossAttention(6, 64, 64, 1500),) * 4
    assert not read_architecture({"model_type": "t5", "architectures": ["T5EncoderModel"]}).is_decoder


def test_gpt2_names_are_understood() -> None:
    found = read_architecture({"model_type": "gpt2", "n_embd": 1280, "n_head": 20, "n_layer": 36, "n_positions": 1024})
    assert (found.hidden_size, found.num_attention_heads, found.num_hidden_layers) == (1280, 20, 36)
    assert (found.max_position_embeddings, found.intermediate_size, found.mlp_gated) == (1024, 5120, False)
    assert found.layers[0] == FullAttention(20, 64, 64)


def test_an_unknown_type_is_read_by_common_names_and_says_so() -> None:
    found = read_architecture({"model_type": "brand_new", "d_model": 512, "n_layers": 3, "n_heads": 8, "n_kv_heads": 2})
    assert found.layers == (FullAttention(2, 64, 64),) * 3
    assert not found.exact
    assert "brand_new" in found.notes[0]


def test_an_unknown_composite_type_is_read_by_its_language_part() -> None:
    found = read_architecture({"model_type": "brand_new_chat", "llm_config": {**LLAMA_3_8B}})
    assert found.layers == (FullAttention(8, 128, 128),) * 32
    assert found.dtype == "bfloat16"
    assert not found.exact


def test_a_missing_model_type_is_told_from_the_architecture() -> None:
    config = {key: value for key, value in LLAMA_3_8B.items() if key != "model_type"}
    found = read_architecture(config)
    assert found.model_type == "llama"
    assert found.layers == (FullAttention(8, 128, 128),) * 32
    assert "model_type" in found.notes[0]


def test_a_config_that_the_class_refuses_is_read_all_the_same_and_marked() -> None:
    per_layer = {"0": {"no_such_key": 1}}
    found = read_architecture({**LLAMA_3_8B, "per_layer_config": per_layer})
    assert found.num_hidden_layers == 32
    assert not found.exact
    assert "transformers cannot read" in found.notes[0]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("num_hidden_layers", -1),
        ("num_hidden_layers", 10**9),
        ("num_hidden_layers", "32"),
        ("hidden_size", -4096),
        ("hidden_size", True),
        ("hidden_size", 10**18),
        ("hidden_size", float("inf")),
        ("num_attention_heads", 2.5),
        ("num_key_value_heads", -8),
        ("vocab_size", "many"),
    ],
)
def test_values_that_no_model_can_have_are_refused(key: str, value: object) -> None:
    with pytest.raises(InvalidConfig, match=key):
        read_architecture({**LLAMA_3_8B, key: value})


@pytest.mark.parametrize("config", [[], "llama", None, {"model_type": 3}])
def test_a_config_that_is_no_config_is_refused(config: object) -> None:
    with pytest.raises(InvalidConfig):
        read_architecture(config)  # type: ignore[arg-type]


def test_zero_heads_divide_nothing() -> None:
    assert read_architecture({**LLAMA_3_8B, "num_attention_heads": 0}).num_hidden_layers == 32


def test_a_context_written_as_a_float_is_a_number() -> None:
    assert read_architecture({**LLAMA_3_8B, "max_position_embeddings": 1e6}).max_position_embeddings == 1_000_000


def test_common_types_are_read_without_transformers() -> None:
    code = (
        "import sys\n"
        "from inspector.model.architecture import read_architecture\n"
        f"assert read_architecture({LLAMA_3_8B!r}).num_hidden_layers == 32\n"
        f"assert read_architecture({GEMMA_3_4B!r}).num_hidden_layers == 34\n"
        "heavy = {'transformers', 'torch', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_null_that_transformers_refuses_has_a_note() -> None:
    config = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": None}
    found = read_architecture(config)
    assert not found.exact
    assert any("hidden_size is null" in note for note in found.notes)
    assert read_architecture({**config, "hidden_size": 64}).exact
    assert read_architecture({"model_type": "mistral", "sliding_window": None}).exact


def test_layer_types_of_another_number_than_the_layers_have_a_note() -> None:
    kinds = ["full_attention"] * 3
    found = read_architecture({"model_type": "qwen3", "num_hidden_layers": 4, "layer_types": kinds})
    assert any("3 layer_types of 4 layers" in note for note in found.notes)


def test_a_language_part_that_a_flat_type_does_not_read_has_a_note() -> None:
    found = read_architecture({"model_type": "llama", "text_config": {"hidden_size": 64}})
    assert any("text_config" in note for note in found.notes)


def test_the_causal_class_of_an_encoder_decoder_attends_to_no_encoder() -> None:
    config = {"model_type": "bart", "architectures": ["BartForCausalLM"], "decoder_layers": 2, "d_model": 64}
    config |= {"decoder_attention_heads": 4, "encoder_attention_heads": 4}
    found = read_architecture({**config, "encoder_layers": 5, "encoder_attention_heads": 8, "decoder_ffn_dim": 96})
    assert found.layer_kinds == {"full_attention": 2}
    assert (found.num_hidden_layers, found.num_attention_heads, found.intermediate_size) == (2, 4, 96)


def test_an_encoder_decoder_takes_the_decoders_numbers_under_their_other_names() -> None:
    found = read_architecture({"model_type": "seamless_m4t", "num_attention_heads": 8, "num_hidden_layers": 5})
    assert (found.num_attention_heads, len(found.layers)) == (8, 5)


def test_what_a_class_derives_is_the_files_own_value_where_it_has_one() -> None:
    """Swin's hidden size is that of its last stage, and what a file says of it is set after."""
    assert read_architecture({"model_type": "swin"}).hidden_size == 768
    assert read_architecture({"model_type": "swin", "hidden_size": 1024}).hidden_size == 1024
