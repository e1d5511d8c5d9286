"""Activations against peaks measured under fake tensors, and against numbers worked out by hand."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspector.memory.estimate import Part
from inspector.memory.inference.activations import decode_activations, prefill_activations
from inspector.model.layers import (
    CrossAttention,
    FullAttention,
    LatentAttention,
    Layer,
    NoCache,
    SlidingAttention,
    UnknownLayer,
)
from inspector.model.model import Architecture, Experts

PEAKS = json.loads(Path(__file__).with_name("data").joinpath("inference_peaks.json").read_text())
KINDS: dict[str, type[Layer]] = {"full": FullAttention, "sliding": SlidingAttention, "latent": LatentAttention}
ELEMENT_BYTES = {"bfloat16": 2, "float32": 4}
MIB = 2**20


def architecture(facts: dict[str, Any]) -> Architecture:
    """The facts that the oracle stored, as the library's type."""
    given = dict(facts)
    experts, layers = given.pop("experts"), given.pop("layers")
    unused = ("max_position_embeddings", "tie_word_embeddings", "dtype", "sliding_window", "quantization")
    return Architecture(
        **given,
        experts=Experts(*experts) if experts else None,
        layers=tuple(NoCache() if layer == "none" else KINDS[layer[0]](*layer[1:]) for layer in layers),
        **dict.fromkeys(unused),
    )


ARCHITECTURES = {name: architecture(model["facts"]) for name, model in PEAKS["models"].items()}


def size(part: Part) -> int:
    assert part.bytes is not None, part.formula
    return part.bytes


def prefill(name: str, *, context: int, batch: int = 1, element_bytes: int = 2) -> Part:
    return prefill_activations(ARCHITECTURES[name], context=context, batch=batch, element_bytes=element_bytes)


def errors(name: str, peak: str) -> list[tuple[float, int]]:
    """(relative error, absolute error) of every case's whole peak above the weights, the measured cache included."""
    estimate = prefill_activations if peak == "prefill_peak" else decode_activations
    found = []
    for case in PEAKS["models"][name]["cases"]:
        if peak not in case:
            continue
        part = estimate(
            ARCHITECTURES[name],
            context=case["context"],
            batch=case["batch"],
            element_bytes=ELEMENT_BYTES[case["dtype"]],
        )
        difference = size(part) + case.get("cache", 0) - case[peak]
        found.append((difference / case[peak], difference))
    return found


@pytest.mark.parametrize("name", PEAKS["models"])
def test_the_prefill_peak_is_within_5_percent_of_the_measured_one(name: str) -> None:
    assert max(abs(relative) for relative, _ in errors(name, "prefill_peak")) < 0.05


@pytest.mark.parametrize("name", [name for name, model in ARCHITECTURES.items() if model.is_decoder])
def test_the_decode_peak_is_within_5_percent_or_4_mib_of_the_measured_one(name: str) -> None:
    # A step of a short context takes a few MiB, of which small constants (a router's fp32 copy) are a large share.
    assert all(
        abs(relative) < 0.05 or abs(difference) < 4 * MIB for relative, difference in errors(name, "decode_peak")
    )


def test_half_of_all_cases_are_within_a_half_percent() -> None:
    for peak in ("prefill_peak", "decode_peak"):
        all_errors = [abs(relative) for name in PEAKS["models"] for relative, _ in errors(name, peak)]
        assert statistics.median(all_errors) < 0.005


def test_models_that_no_rule_was_made_for_agree_too() -> None:
    held_out = [name for name, model in PEAKS["models"].items() if model["held_out"]]
    assert len(held_out) >= 8
    assert statistics.median(abs(relative) for name in held_out for relative, _ in errors(name, "prefill_peak")) < 0.01


def test_a_llama_prefill_is_three_intermediate_and_four_hidden_tensors_and_the_rotary_tables() -> None:
    # 2048 tokens * (3 * 14336 + 4 * 4096) * 2 B, and cosines and sines: 2 * 2048 * 128 * 2 B
    assert size(prefill("llama-3-8b", context=2048)) == 243_269_632 + 1_048_576


def test_the_head_of_a_masked_language_model_keeps_every_tokens_logits() -> None:
    # 512 tokens * (30522 + 2 * 768) * 2 B
    assert size(prefill("bert-base", context=512)) == 32_827_392


def test_experts_multiply_the_tokens_by_their_number() -> None:
    # Qwen3-30B-A3B: 8 copies of 4 * 2048, wider than 2048 + 4 * 768, and 4 * 2048; rotary 2 * 1024 * 128
    assert size(prefill("qwen3-30b-a3b", context=1024)) == 1024 * (8 * 8192 + 8192) * 2 + 2 * 1024 * 128 * 2


def test_windows_keep_the_prompt_alive_and_cost_a_mask() -> None:
    parts = {part.name: part for part in prefill("mistral-7b", context=8192).parts}
    # 2 layers * (8192 - 4095) tokens * 8 heads * (128 + 128) * 2 B
    assert size(parts["prompt_behind_windows"]) == 33_562_624
    assert size(parts["mask"]) == 8192**2
    assert "mask" not in {part.name for part in prefill("mistral-7b", context=4095).parts}


def test_the_total_is_the_largest_block_and_what_lives_beside_it() -> None:
    part = prefill("gemma-3-4b", context=2048)
    sizes = {sub.name: size(sub) for sub in part.parts}
    beside = sizes["mask"] + sizes["rotary"] + sizes["prompt_behind_windows"]
    assert size(part) == max(sizes["mlp"], sizes["attention"], sizes["head"]) + beside


def test_flash_attention_has_no_square_term_and_eager_attention_has() -> None:
    assert size(prefill("llama-3-8b", context=16384)) == 2 * size(prefill("llama-3-8b", context=8192))
    assert size(prefill("gemma-2-9b", context=16384)) > 3.9 * size(prefill("gemma-2-9b", context=8192))


def test_fp32_with_grouped_heads_falls_to_the_math_kernel() -> None:
    # 32 heads * 8 B for each pair of tokens
    assert size(prefill("llama-3-8b", context=8192, element_bytes=4)) > 8192**2 * 32 * 8
    assert size(prefill("llama-2-7b", context=8192, element_bytes=4)) < 8192**2 * 32


def test_a_decode_step_copies_half_a_layers_cache() -> None:
    step = decode_activations(ARCHITECTURES["llama-3-8b"], context=8192, batch=1, element_bytes=2)
    # the keys of one layer: 8192 * 8 * 128 * 2 B, and six hidden rows
    assert size(step) == 16_777_216 + 6 * 4096 * 2


def test_a_latent_is_expanded_to_all_heads_at_every_step() -> None:
    step = decode_activations(ARCHITECTURES["deepseek-v3"], context=8192, batch=1, element_bytes=2)
    # 128 heads * (128 + 64 + 128 + 128) * 8192 * 2 B, and six hidden rows
    assert size(step) == 939_524_096 + 6 * 7168 * 2


def test_an_encoder_has_no_decode_step() -> None:
    assert decode_activations(ARCHITECTURES["bert-base"], context=512, batch=1, element_bytes=2).bytes == 0


@pytest.mark.parametrize(
    "layers",
    [(), (UnknownLayer("novel"),), (CrossAttention(8, 64, 64, None),)],
    ids=["no layers", "unknown kind", "encoder-decoder"],
)
def test_what_is_not_worked_out_is_none_with_a_reason(layers: tuple[Layer, ...]) -> None:
    facts = PEAKS["models"]["llama-3-8b"]["facts"] | {"layers": []}
    bare = architecture(facts)
    model = Architecture(**{field: getattr(bare, field) for field in bare.__slots__} | {"layers": layers})
    for estimate in (prefill_activations, decode_activations):
        part = estimate(model, context=512, batch=1, element_bytes=2)
        assert part.bytes is None
        assert part.formula


@given(
    name=st.sampled_from(sorted(ARCHITECTURES)),
    context=st.integers(1, 40_000),
    batch=st.integers(1, 64),
    more=st.integers(0, 10_000),
    element_bytes=st.sampled_from([2, 4]),
)
def test_more_context_or_batch_never_takes_less(
    name: str, context: int, batch: int, more: int, element_bytes: int
) -> None:
    for estimate in (prefill_activations, decode_activations):
        model = ARCHITECTURES[name]
        base = size(estimate(model, context=context, batch=batch, element_bytes=element_bytes))
        assert base <= size(estimate(model, context=context + more, batch=batch, element_bytes=element_bytes))
        assert base <= size(estimate(model, context=context, batch=batch + more, element_bytes=element_bytes))
