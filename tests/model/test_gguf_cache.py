"""What llama.cpp keeps of a sequence, by a GGUF file's own keys and tensors: bytes a token as its KV cache has them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from inspector.engines.llama_cpp.cache import LlamaCppSettings, cache_bytes
from inspector.hub import Checkpoint, Tensor
from inspector.hub.formats.gguf.config import gguf_config
from inspector.model import build_model
from inspector.model.layers.layer import Layer

MLA = {"attention.key_length_mla": 192, "attention.value_length_mla": 128}
LATENT = {
    "block_count": 2,
    "embedding_length": 2048,
    "attention.head_count": 16,
    "attention.kv_lora_rank": 512,
    "rope.dimension_count": 64,
}
OLD = LATENT | {"attention.head_count_kv": 16, "attention.key_length": 192, "attention.value_length": 128}
NEW = LATENT | MLA | {"attention.head_count_kv": 1, "attention.key_length": 576, "attention.value_length": 512}
ROWS = ("attn_q", "attn_k", "attn_v", "attn_output")
SSM = {"ssm.conv_kernel": 4, "ssm.inner_size": 8192, "ssm.state_size": 64, "ssm.time_step_rank": 64}


def layers_of(architecture: str, values: dict[str, Any], tensors: Iterable[tuple[int, str]] = ()) -> tuple[Layer, ...]:
    metadata = {"general.architecture": architecture, **{f"{architecture}.{key}": values[key] for key in values}}
    names = {f"blk.{layer}.{name}.weight" for layer, name in tensors}
    stored = tuple(Tensor(name, "Q8_0", (64, 64)) for name in sorted(names))
    checkpoint = Checkpoint("org/name", None, "hub", gguf_config(metadata, names), stored, format="gguf")
    return build_model(checkpoint).architecture.layers


def per_token(layers: tuple[Layer, ...]) -> int:
    """Bytes of one more token, of 16-bit values."""
    bits = [layer.bits_per_token(16) for layer in layers]
    assert None not in bits
    return sum(size or 0 for size in bits) // 8


def of(layers: int, *names: str) -> list[tuple[int, str]]:
    return [(layer, name) for layer in range(layers) for name in names]


@pytest.mark.parametrize(("architecture"), ["deepseek2", "mistral4", "something-new"])
def test_a_latent_is_cached_only_by_files_made_for_it(architecture: str) -> None:
    assert per_token(layers_of(architecture, OLD, of(2, "attn_kv_b"))) == 2 * 16 * (192 + 128) * 2
    assert per_token(layers_of(architecture, NEW)) == 2 * (512 + 64) * 2
    assert per_token(layers_of(architecture, OLD, of(2, "attn_k_b", "attn_v_b"))) == 2 * (512 + 64) * 2


def test_widths_that_no_key_names_are_the_embeddings_over_the_heads() -> None:
    """MiniCPM3's converter writes no value_length: 40 heads of 96 and 2,560 / 40."""
    values = LATENT | {"embedding_length": 2560, "attention.head_count": 40, "attention.kv_lora_rank": 256}
    values |= {"attention.head_count_kv": 40, "attention.key_length": 96, "rope.dimension_count": 32}
    assert per_token(layers_of("minicpm3", values, of(2, "attn_kv_b"))) == 2 * 40 * (96 + 64) * 2


def test_each_layer_has_its_own_heads() -> None:
    values = {"block_count": 4, "embedding_length": 1280, "attention.head_count": [12, 16, 20, 20]}
    values |= {"attention.head_count_kv": [3, 4, 5, 0], "attention.key_length": 64, "attention.value_length": 64}
    tensors = [*of(3, "attn_qkv", "attn_output"), (3, "ffn_up")]
    assert per_token(layers_of("openelm", values, tensors)) == 12 * (64 + 64) * 2
    assert per_token(layers_of("openelm", values)) == 12 * (64 + 64) * 2


def test_windows_have_heads_and_widths_of_their_own() -> None:
    values = {"block_count": 2, "embedding_length": 4096, "attention.head_count": 64, "attention.sliding_window": 128}
    values |= {"attention.head_count_kv": [4, 8], "attention.sliding_window_pattern": [False, True]}
    widths = {"attention.key_length": 192, "attention.value_length": 128}
    assert per_token(layers_of("mimo2", values | widths)) == (4 + 8) * (192 + 128) * 2
    widths = {"attention.key_length": 256, "attention.value_length": 256, "attention.key_length_swa": 128}
    layers = layers_of("something-new", values | widths)
    assert per_token(layers) == (4 * 512 + 8 * 256) * 2
    assert [layer.window for layer in layers] == [None, 128]


def test_falcon_repeats_no_head() -> None:
    values = {"block_count": 2, "embedding_length": 8192, "attention.head_count": 128, "attention.head_count_kv": 8}
    assert per_token(layers_of("falcon", values)) == 2 * 8 * (64 + 64) * 2


def test_recurrent_layers_beside_attention() -> None:
    """PLaMo 2: a convolution over 8,192 channels and as many states of 64, float32."""
    values = {"block_count": 2, "embedding_length": 4096, "attention.head_count": [0, 32], **SSM}
    values |= {"attention.head_count_kv": [0, 4], "attention.key_length": 128, "attention.value_length": 128}
    layers = layers_of("plamo2", values, [(0, "ssm_in"), (0, "ssm_out"), (1, "attn_qkv"), (1, "attn_output")])
    assert per_token(layers) == 4 * (128 + 128) * 2
    assert cache_bytes(layers, LlamaCppSettings(256)) == 256 * 2048 + 4 * 8192 * (3 + 64)


@pytest.mark.parametrize(("shifts", "values"), [(2, {}), (1, {"token_shift_count": 1})])
def test_rwkv_keeps_the_last_inputs_and_a_matrix_a_head(shifts: int, values: dict[str, Any]) -> None:
    values = {"block_count": 3, "embedding_length": 2048, "attention.head_count": 0, "wkv.head_size": 64, **values}
    layers = layers_of("rwkv7", values, of(3, "time_mix_key", "time_mix_output"))
    assert per_token(layers) == 0
    assert cache_bytes(layers, LlamaCppSettings(4096)) == 3 * 4 * 2048 * (shifts + 64)


def test_kimi_linear_projects_keys_in_its_recurrent_layers_too() -> None:
    values = NEW | {"block_count": 4, "embedding_length": 2304, "attention.head_count": 24, "ssm.conv_kernel": 4}
    values |= {"attention.head_count_kv": [0, 0, 0, 1], "kda.head_dim": 128}
    tensors = [*of(3, *ROWS, "ssm_conv1d_q"), (3, "attn_kv_a_mqa"), (3, "attn_k_b"), (3, "attn_output")]
    layers = layers_of("kimi-linear", values, tensors)
    assert per_token(layers) == (512 + 64) * 2
    states = 3 * 4 * 24 * 128 * (3 * 3 + 128)
    assert cache_bytes(layers, LlamaCppSettings(256)) == 256 * (512 + 64) * 2 + states
    assert layers_of("kimi-linear", values)[:3] == layers[:3]


def test_attention_and_states_in_one_layer() -> None:
    values = {"block_count": 1, "embedding_length": 2048, "attention.head_count": 8, **SSM}
    values |= {"attention.head_count_kv": 2}
    layers = layers_of("something-new", values, of(1, *ROWS, "ssm_in"))
    assert cache_bytes(layers, LlamaCppSettings(256)) == 256 * 2 * 512 * 2 + 4 * 8192 * (3 + 64)


def test_sizes_that_the_file_does_not_give_stay_unknown() -> None:
    values = {"block_count": 1, "embedding_length": 2048, "attention.head_count": 0}
    layers = layers_of("something-new", values, of(1, "ssm_in"))
    assert per_token(layers) == 0
    assert cache_bytes(layers, LlamaCppSettings(256)) is None


def test_a_config_beside_the_file_does_not_decide_on_its_cache() -> None:
    """Repos of GGUF files often have the original model's config.json, too."""
    config = {"model_type": "deepseek_v2", "num_hidden_layers": 2, "hidden_size": 2048, "num_attention_heads": 16}
    metadata = {"general.architecture": "deepseek2", **{f"deepseek2.{key}": OLD[key] for key in OLD}}
    tensors = (Tensor("blk.0.attn_kv_b.weight", "Q8_0", (64, 64)),)
    whole = {**config, "architectures": ["DeepseekV2ForCausalLM"], "kv_lora_rank": 512, "qk_rope_head_dim": 64}
    alone = build_model(Checkpoint("org/name", None, "hub", whole, tensors, format="gguf"))
    assert per_token(alone.architecture.layers) == 2 * (512 + 64) * 2
    both = whole | {"gguf_config": gguf_config(metadata)}
    beside = build_model(Checkpoint("org/name", None, "hub", both, tensors, format="gguf"))
    assert per_token(beside.architecture.layers) == 2 * 16 * (192 + 128) * 2
