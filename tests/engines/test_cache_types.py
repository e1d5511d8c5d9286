"""Types of a KV cache by the servers' own names: bytes, and where they are refused."""

from __future__ import annotations

from typing import Any

import pytest

from inspector.engines.common.cache_specs import CacheSettings, specs_of
from inspector.engines.common.served import GIB, Gpu, ServedModel
from inspector.engines.serving import CannotTell
from inspector.engines.sglang import cache_types as sglang
from inspector.engines.sglang.budget import SglangSettings, divided
from inspector.engines.sglang.budget import cache_settings as sglang_settings
from inspector.engines.vllm import cache_types as vllm
from inspector.engines.vllm.budget import VllmSettings, cache_settings
from inspector.engines.vllm.cache import group_layers
from inspector.errors import UsageError
from inspector.model.layers.full import FullAttention
from inspector.model.layers.indexed import IndexedAttention
from inspector.model.layers.latent import LatentAttention
from inspector.model.layers.layer import Layer, StateTensor
from inspector.model.layers.linear import LinearAttention
from inspector.model.packing.recipe import read_recipe

B200, RTX_5090, H100 = (
    Gpu(178 * GIB, "B200", (10, 0)),
    Gpu(31 * GIB, "RTX 5090", (12, 0)),
    Gpu(80 * GIB, "H100", (9, 0)),
)


def served_layers(*layers: Layer) -> ServedModel:
    return ServedModel(layers=layers, hidden_size=4096, vocab_size=128_256, element_bytes=2, weights=None)


LLAMA_8B = served_layers(*[FullAttention(8, 128, 128)] * 32)


@pytest.mark.parametrize(
    ("name", "bytes_each"),
    [
        *[("auto", 512), ("fp8_e5m2", 256), ("nvfp4", 144), ("nvfp4_4over6", 144)],
        *[("int8_per_token_head", 264), ("fp8_per_token_head", 264), ("int4_per_token_head", 136)],
        *[("turboquant_k8v4", 196), ("turboquant_4bit_nc", 134), ("turboquant_k3v4_nc", 118)],
        ("turboquant_3bit_nc", 102),
    ],
)
def test_bytes_of_a_token_in_a_head_of_128(name: str, bytes_each: int) -> None:
    """What customize_spec of vLLM 0.33's backends gives a head of 128 (FullAttentionSpec.page_size_bytes)."""
    settings = cache_settings(LLAMA_8B, B200, VllmSettings(8192, kv_cache_dtype=name))
    (spec,) = specs_of(FullAttention(8, 128, 128), settings)
    assert spec.page_size_bytes == 16 * 8 * bytes_each


@pytest.mark.parametrize(("name", "bytes_each"), [("fp8_ds_mla", 656), ("nvfp4_ds_mla", 352)])
def test_packed_rows_of_sparse_latent_attention(name: str, bytes_each: int) -> None:
    layer = IndexedAttention(LatentAttention(512, 64), 128)
    settings = cache_settings(LLAMA_8B, B200, VllmSettings(8192, kv_cache_dtype=name))
    assert [spec.page_size_bytes for spec in specs_of(layer, settings)] == [16 * bytes_each, 16 * 132]


@pytest.mark.parametrize(("name", "block"), [("fp8", 1600), ("nvfp4", 2848)])
def test_states_stretch_the_block_of_narrower_rows_further(name: str, block: int) -> None:
    """Qwen3.8-27B, 3 drafted tokens, RTX PRO 6000: https://github.com/vllm-project/vllm/pull/46329 prints both."""
    state = LinearAttention((StateTensor((10_240, 4), "compute"), StateTensor((48, 128, 128), "F32")))
    chosen = cache_settings(LLAMA_8B, RTX_5090, VllmSettings(262_144, kv_cache_dtype=name))
    settings = CacheSettings(262_144, element_bytes=chosen.element_bytes, head_bytes=chosen.head_bytes, drafted=3)
    groups = group_layers([FullAttention(4, 256, 256)] * 16 + [state] * 48, settings)
    assert groups[0].spec.block_size == block


@pytest.mark.parametrize(
    ("name", "gpu", "release", "layer", "words"),
    [
        ("nvfp4", RTX_5090, (0, 28), FullAttention(8, 128, 128), "no kernels .* on RTX 5090"),
        ("nvfp4", RTX_5090, (0, 33), FullAttention(8, 64, 64), "heads of 64"),
        ("nvfp4", B200, (0, 33), FullAttention(8, 96, 96), "heads of 96"),
        ("nvfp4_4over6", H100, (0, 33), FullAttention(8, 128, 128), "no kernels"),
        ("nvfp4", B200, (0, 33), LatentAttention(512, 64), "latent"),
        ("nvfp4_ds_mla", H100, (0, 33), IndexedAttention(LatentAttention(512, 64), 128), "no kernels"),
        ("fp8_ds_mla", H100, (0, 33), FullAttention(8, 128, 128), "this kind of attention"),
        ("turboquant_k8v4", H100, (0, 33), FullAttention(8, 128, 128), "unpacked"),
    ],
)
def test_what_vllm_does_not_serve_is_refused(
    name: str, gpu: Gpu, release: tuple[int, int], layer: Layer, words: str
) -> None:
    with pytest.raises(CannotTell, match=words):
        vllm.check_cache(name, served_layers(layer), gpu, release)


def test_what_vllm_serves_is_not() -> None:
    rows = served_layers(FullAttention(8, 128, 128))
    vllm.check_cache("nvfp4", rows, B200, (0, 24))
    vllm.check_cache("nvfp4", rows, RTX_5090, (0, 33))
    vllm.check_cache("nvfp4", served_layers(FullAttention(8, 64, 64)), B200, (0, 33))
    with pytest.raises(UsageError, match="nvfp5"):
        cache_settings(LLAMA_8B, B200, VllmSettings(8192, kv_cache_dtype="nvfp5"))


def test_sglangs_4_bit_rows_and_what_all_layers_share_of_a_token() -> None:
    """Off Blackwell's data-center GPUs a prefill reads 8-bit rows from a workspace of one layer."""
    model = served_layers(*[FullAttention(8, 128, 128)] * 32)
    tokens = {}
    for gpu in (B200, RTX_5090):
        settings = sglang_settings(model, SglangSettings(8192, kv_cache_dtype="nvfp4"), gpu)
        held = divided(model.layers, settings, GIB)
        assert held is not None
        tokens[gpu.name] = held.token_bytes
    assert tokens == {"B200": 32 * 8 * 144, "RTX 5090": 32 * 8 * 144 + 8 * 256}
    with pytest.raises(CannotTell, match="H100"):
        sglang.check_cache("nvfp4", model, H100)
    sglang.check_cache("fp4_mx_block16", model, H100)
    with pytest.raises(CannotTell, match="latents"):
        sglang.check_cache("fp4_mx_block16", served_layers(LatentAttention(512, 64)), H100)


@pytest.mark.parametrize(
    ("recipe", "named"),
    [
        ({"quant_method": "modelopt", "kv_cache_quant_algo": "NVFP4"}, "nvfp4"),
        ({"quant_method": "modelopt", "quantization": {"kv_cache_quant_algo": "FP8"}}, "fp8"),
        ({"quant_method": "modelopt", "kv_cache_scheme": {"num_bits": 4, "type": "float", "dynamic": True}}, "nvfp4"),
        ({"quant_method": "modelopt", "kv_cache_scheme": {"num_bits": 8, "type": "float", "dynamic": False}}, "fp8"),
        ({"quant_method": "compressed-tensors", "kv_cache_scheme": {"num_bits": 4, "type": "float"}}, None),
        ({"quant_method": "modelopt", "kv_cache_quant_algo": "INT8"}, None),
    ],
)
def test_a_checkpoints_own_cache(recipe: dict[str, Any], named: str | None) -> None:
    assert read_recipe(recipe).kv_dtype == named
