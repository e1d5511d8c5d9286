"""The heads that engines cache, where transformers caches others: by hand from their sources."""

from __future__ import annotations

from dataclasses import replace

import pytest

from inspector.engines.common.cache_specs import CacheSettings, specs_of
from inspector.engines.common.kept_heads import configured_heads, expanded_latents
from inspector.engines.vllm.cache import blocks_per_request, group_layers
from inspector.engines.vllm.loads import flags
from inspector.model.architecture import read_architecture
from inspector.model.layers.cross import CrossAttention
from inspector.model.layers.full import FullAttention
from inspector.model.layers.latent import LatentAttention
from inspector.model.layers.layer import StateTensor
from inspector.model.layers.linear import LinearAttention

FALCON_40B = {
    "model_type": "falcon",
    "architectures": ["FalconForCausalLM"],
    "hidden_size": 8192,
    "num_hidden_layers": 60,
    "num_attention_heads": 128,
    "num_kv_heads": 8,
    "new_decoder_architecture": True,
    "vocab_size": 65024,
}


def test_falcons_heads_are_the_configs_and_not_one_for_each_query() -> None:
    shape = read_architecture(FALCON_40B, None)
    assert {layer.num_key_value_heads for layer in shape.layers if isinstance(layer, FullAttention)} == {128}
    kept = configured_heads(shape)
    assert kept == (FullAttention(8, 64, 64),) * 60
    # 60 layers x 2 x 8 heads x 64 x 2 B, of 1,024 tokens in blocks of 16
    settings = CacheSettings(max_model_len=1024)
    groups = group_layers(kept, settings)
    assert blocks_per_request(groups, settings) * groups[0].spec.page_size_bytes == 1024 * 60 * 2 * 8 * 64 * 2


def test_layers_of_several_kinds_keep_their_own_heads() -> None:
    shape = read_architecture(FALCON_40B, None)
    mixed = (FullAttention(128, 64, 64), FullAttention(16, 64, 64)) * 30
    assert configured_heads(replace(shape, layers=mixed)) == mixed


@pytest.mark.parametrize(("padded", "value"), [(True, 96), (False, 64)])
def test_a_latent_becomes_keys_and_values_of_every_head(padded: bool, value: int) -> None:
    latent = LatentAttention(256, 32, qk_nope_head_dim=64, v_head_dim=64)
    assert expanded_latents((latent,), 40, padded_values=padded) == (FullAttention(40, 96, value),)
    unknown = LatentAttention(256, 32)
    assert expanded_latents((unknown,), 40, padded_values=padded) == (unknown,)


def test_only_minicpm3s_class_expands_its_latent() -> None:
    assert "full_heads" in flags("MiniCPM3ForCausalLM")
    assert "full_heads" not in flags("DeepseekV3ForCausalLM")


def test_a_state_of_heads_keeps_one_more_block_for_its_checkpoint() -> None:
    convolution = StateTensor((8192, 4), "compute")
    heads = LinearAttention((convolution, StateTensor((32, 128, 128), "F32")), ("linear_conv_kernel_dim",))
    channels = LinearAttention((convolution, StateTensor((8192, 16), "F32")), ("mamba_d_conv",))
    settings = CacheSettings(4096, state_blocks=2, checkpoint_blocks=1, state_alignment=64, recurrent_bytes=2)
    assert [spec.blocks(settings) for spec in specs_of(heads, settings)] == [3]
    assert [spec.blocks(settings) for spec in specs_of(channels, settings)] == [2]


def test_qwen3_next_needs_what_vllms_planner_says() -> None:
    """vLLM 0.33 on transformers' default config, 4,096 tokens: 240,648,192 B, in blocks of 576 tokens."""
    state = (StateTensor((8192, 4), "compute"), StateTensor((32, 128, 128), "F32"))
    linear = LinearAttention(state, ("linear_conv_kernel_dim",))
    layers = (linear, linear, linear, FullAttention(2, 256, 256)) * 12
    settings = CacheSettings(4096, state_blocks=2, checkpoint_blocks=1, state_alignment=64, recurrent_bytes=2)
    groups = group_layers(layers, settings)
    page = groups[0].layers * groups[0].spec.page_size_bytes
    assert blocks_per_request(groups, settings) * page == 240_648_192
    assert {group.spec.block_size for group in groups if group.spec.blocks(settings) != 3} == {576}


def test_cross_attention_keeps_room_for_the_budget_of_encoder_tokens() -> None:
    """Whisper tiny's default config: 53,084,160 B for 448 tokens beside 8,192 of the encoder (vLLM 0.33)."""
    layers = (CrossAttention(6, 64, 64, 1500),) * 4
    settings = CacheSettings(max_model_len=448, encoder_budget=8192)
    groups = group_layers(layers, settings)
    page = groups[0].layers * groups[0].spec.page_size_bytes
    assert blocks_per_request(groups, settings) * page == 53_084_160
