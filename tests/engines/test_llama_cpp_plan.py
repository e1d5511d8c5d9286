"""llama.cpp's compute buffers against the real one, where layers lie, and that more never takes less."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inspector.engines.llama_cpp.buffers import GgufFacts, compute_bytes, gpus_of, host_bytes, plan
from inspector.engines.llama_cpp.cache import LlamaCppSettings, cache_bytes
from inspector.model.layers import FullAttention, Layer, SlidingAttention

MIB = 1024**2
MEASURED = json.loads((Path(__file__).parent.parent / "memory" / "data" / "llama_cpp_buffers.json").read_text())["runs"]
"""Made by tests/oracles/llama_cpp.py with a real llama.cpp on a CPU."""


def facts_of(shape: dict[str, Any]) -> GgufFacts:
    """Facts of one of the oracle's shapes; Gemma 3's every sixth layer sees everything."""
    heads, head_dim = shape["nkv"], shape["d"]
    layers: list[Layer] = []
    for index in range(shape.get("L", 2)):
        if "swa" in shape and (index + 1) % 6:
            layers.append(SlidingAttention(heads, head_dim, head_dim, shape["swa"]))
        else:
            layers.append(FullAttention(heads, head_dim, head_dim))
    used = shape.get("u", 0)
    return GgufFacts(
        layers=tuple(layers),
        layer_bytes=(100,) * len(layers),
        embedding=50,
        output=60,
        hidden_size=shape["h"],
        vocab_size=shape["V"],
        query=shape["nh"] * head_dim,
        inner=shape.get("fe", shape["f"]) * max(1, used),
        used=used,
        largest=30,
    )


def settings_of(run: dict[str, Any]) -> LlamaCppSettings:
    sequences = run.get("n_parallel", 1)
    return LlamaCppSettings(
        n_ctx=run["n_ctx"],
        n_ubatch=run.get("n_ubatch", 512),
        n_parallel=sequences,
        kv_unified=sequences == 1,
        flash_attn=run.get("flash_attn", True),
    )


@pytest.mark.parametrize("run", MEASURED, ids=[f"{run['name']} {index % 5}" for index, run in enumerate(MEASURED)])
def test_buffers_are_what_llama_cpp_allocates(run: dict[str, Any]) -> None:
    facts, settings = facts_of(run["shape"]), settings_of(run)
    assert (cache_bytes(facts.layers, settings) or 0) / MIB == pytest.approx(sum(run["kv"]), abs=0.01)
    # On a CPU the embedding is looked up in the same graph: one hidden row a token more.
    looked_up = 4 * facts.hidden_size * settings.n_ubatch
    assert (compute_bytes(facts, settings) + looked_up) / MIB == pytest.approx(run["compute"], rel=0.04)


LLAMA3 = facts_of({"V": 128256, "h": 4096, "f": 14336, "nh": 32, "nkv": 8, "d": 128})
QWEN25 = facts_of({"V": 151936, "h": 2048, "f": 11008, "nh": 16, "nkv": 2, "d": 128})
QWEN3 = facts_of({"V": 151936, "h": 2560, "f": 9728, "nh": 32, "nkv": 8, "d": 128})
LLAMA2 = facts_of({"V": 32000, "h": 4096, "f": 11008, "nh": 32, "nkv": 32, "d": 128})


@pytest.mark.parametrize(
    ("facts", "settings", "printed"),
    [
        (QWEN3, LlamaCppSettings(8192), 85.01),
        (LLAMA3, LlamaCppSettings(8192, build=4701), 258.50),
        (QWEN25, LlamaCppSettings(4096, build=4701), 300.75),
        (LLAMA3, LlamaCppSettings(8192, build=3000, flash_attn=False), 560.01),
        (LLAMA2, LlamaCppSettings(2048, build=3000, flash_attn=False), 164.01),
        (LLAMA2, LlamaCppSettings(512, build=3000, flash_attn=False), 70.50),
    ],
)
def test_compute_buffers_of_gpus_are_what_published_logs_print(
    facts: GgufFacts, settings: LlamaCppSettings, printed: float
) -> None:
    assert compute_bytes(facts, settings) / MIB == pytest.approx(printed, abs=0.02)


def test_the_cpus_buffer_beside_a_gpu() -> None:
    assert host_bytes(QWEN25, LlamaCppSettings(4096, build=4701)) / MIB == pytest.approx(12.01, abs=0.02)
    assert host_bytes(QWEN3, LlamaCppSettings(8192)) / MIB == pytest.approx(28.02, abs=0.02)


def test_the_last_layers_and_the_output_go_to_the_gpus() -> None:
    assert gpus_of(32, 33, 1) == (tuple(range(33)),)
    assert gpus_of(32, 2, 1) == ((31, 32),)
    assert [len(layers) for layers in gpus_of(80, 81, 2)] == [41, 40]
    assert [len(layers) for layers in gpus_of(32, 99, 4)] == [9, 8, 8, 8]


def test_nothing_is_lost_and_nothing_twice() -> None:
    facts = facts_of({"V": 32000, "h": 256, "f": 512, "nh": 4, "nkv": 4, "d": 64, "L": 7})
    for layers in range(9):
        for gpus in (1, 2, 3):
            result = plan(facts, LlamaCppSettings(512, n_gpu_layers=layers), gpus)
            assert sum(gpu.weights for gpu in result.cards) + result.cpu.weights == 7 * 100 + 50 + 60
            assert sum(gpu.layers for gpu in result.cards) + result.cpu.layers == 7


shapes = st.fixed_dictionaries(
    {
        "V": st.integers(1000, 300_000),
        "h": st.integers(64, 8192),
        "f": st.integers(64, 30_000),
        "nh": st.integers(1, 128),
        "nkv": st.integers(1, 16),
        "d": st.sampled_from([64, 128, 256]),
        "swa": st.integers(16, 8192),
        "L": st.integers(1, 12),
        "u": st.integers(0, 8),
    }
)


@settings(deadline=None)
@given(
    shapes, st.integers(1, 200_000), st.integers(1, 200_000), st.integers(1, 4096), st.integers(0, 4096), st.booleans()
)
def test_more_tokens_never_take_less(
    shape: dict[str, Any], context: int, more: int, batch: int, wider: int, flash: bool
) -> None:
    facts = facts_of(shape)
    for build in (3000, 7000, 11549):
        small = plan(facts, LlamaCppSettings(context, n_ubatch=batch, flash_attn=flash, build=build), 2)
        large = plan(facts, LlamaCppSettings(context + more, n_ubatch=batch + wider, flash_attn=flash, build=build), 2)
        for less, rest in zip((*small.cards, small.cpu), (*large.cards, large.cpu), strict=True):
            assert (less.total or 0) <= (rest.total or 0)


@settings(deadline=None)
@given(shapes, st.integers(1, 100_000), st.integers(0, 12))
def test_a_layer_more_on_a_gpu_never_takes_less_of_it(shape: dict[str, Any], context: int, layers: int) -> None:
    facts = facts_of(shape | {"L": 13})
    fewer, more = (
        plan(facts, LlamaCppSettings(context, n_gpu_layers=count), 1).cards[0] for count in (layers, layers + 1)
    )
    assert fewer.weights <= more.weights
    assert (fewer.kv_cache or 0) <= (more.kv_cache or 0)
