"""vLLM's whole account: profile, pool, verdict, defaults, and the way from a `Model`."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inspector.engines.common.served import Gpu, MixtureFacts, ServedModel, VisionFacts, Weights, served_model
from inspector.engines.vllm.budget import (
    VllmSettings,
    batch_defaults,
    batch_sizes,
    cache_settings,
    caches_prefixes,
    graphs_in_budget,
    loaded_weights,
    plan,
)
from inspector.engines.vllm.loads import as_cached
from inspector.engines.vllm.profile import (
    activation_shares,
    captured_graphs,
    encoder_bytes,
    graph_bytes,
    non_torch_bytes,
)
from inspector.engines.vllm.version import NEWEST, VllmVersion, parse_version
from inspector.errors import UsageError
from inspector.model.layers import (
    FullAttention,
    HybridAttention,
    LatentAttention,
    LinearAttention,
    SlidingAttention,
    StateTensor,
)
from inspector.model.model import Architecture, Experts, Model, Parameters, Quantization

GIB = 1024**3
H100 = Gpu(int(79.19 * GIB), "H100-80GB", (9, 0))
A100 = Gpu(int(79.25 * GIB), "A100-80GB", (8, 0))
L4 = Gpu(int(22.07 * GIB), "L4", (8, 9))
V19 = VllmVersion((0, 19))


def dense(hidden: int, inner: int, layers: int, kv_heads: int, vocab: int, parameters: int) -> ServedModel:
    """A model with untied embeddings whose weights all divide."""
    edge = 2 * vocab * hidden
    return ServedModel(
        layers=(FullAttention(kv_heads, 128, 128),) * layers,
        hidden_size=hidden,
        vocab_size=vocab,
        element_bytes=2,
        weights=Weights(edge, edge, 2 * parameters - 2 * edge),
        intermediate_size=inner,
        rotary_bytes=131_072 * 128 * 2,
    )


LLAMA_8B = dense(4096, 14_336, 32, 8, 128_256, 8_030_261_248)


def profile_gib(model: ServedModel, version: VllmVersion = V19, ranks: int = 1) -> float:
    assert version.sampler != "flashinfer"
    found = activation_shares(
        model,
        version,
        tokens=8192,
        sequences=1024,
        sampler=version.sampler,
        tensor_parallel=ranks,
        compute_capability=(9, 0),
    )
    return round(sum(found.values()) / GIB, 2)


def test_the_profile_of_version_0_19_is_what_it_printed() -> None:
    # GiB that vLLM printed on an H100 with 8192 tokens and 1024 sequences
    assert profile_gib(LLAMA_8B) == pytest.approx(1.89, abs=0.011)
    assert profile_gib(dense(4096, 11_008, 32, 32, 32_016, 6_738_546_688)) == 0.77  # CodeLlama 7B: a layer outweighs
    assert profile_gib(dense(5120, 17_920, 40, 10, 100_352, 14_659_507_200)) == 1.52  # phi-4
    mixtral = replace(
        dense(4096, 0, 32, 8, 32_000, 46_702_792_704), intermediate_size=None, mixture=MixtureFacts(8, 2, 14_336)
    )
    assert profile_gib(mixtral, ranks=2) == 1.21
    gemma = replace(dense(5376, 21_504, 62, 16, 262_208, 27_000_000_000), vision=VisionFacts(256, 896 * 896))
    assert profile_gib(gemma) == 3.99


def test_the_sampler_that_sorts_took_38_bytes_a_logit_until_0_16() -> None:
    qwen = dense(5120, 17_408, 40, 8, 151_936, 14_768_307_200)
    assert profile_gib(qwen, VllmVersion((0, 16))) == pytest.approx(5.64, abs=0.011)
    assert profile_gib(qwen, VllmVersion((0, 17))) == pytest.approx(2.23, abs=0.011)


def test_images_are_encoded_for_as_many_as_a_step_holds() -> None:
    model = replace(LLAMA_8B, vision=VisionFacts(3025, 100))
    assert encoder_bytes(model, 8192) == 2 * (300 + 3025 * 4096) * 2
    assert encoder_bytes(model, 2048) == (300 + 3025 * 4096) * 2
    assert encoder_bytes(LLAMA_8B, 8192) == 0


def test_llama_8b_on_an_h100_prints_what_version_0_19_printed() -> None:
    # with an fp8 cache: 58.11 GiB, 952,032 tokens, 116.21 requests
    found = plan(LLAMA_8B, H100, VllmSettings(8192, V19, 0.95, kv_cache_dtype="fp8"))
    assert found is not None
    assert found.capacity is not None
    assert found.tightest.kv_pool / GIB == pytest.approx(58.11, rel=5e-4)
    assert found.capacity.tokens_printed == pytest.approx(952_032, rel=5e-4)
    assert found.capacity.max_concurrency == pytest.approx(116.21, rel=5e-4)
    assert found.fits
    assert found.longest_context == 8192
    assert found.tightest.total <= H100.memory


def test_a_model_that_leaves_no_room_does_not_fit() -> None:
    # Llama-3.3-70B in FP8 on one H100 at 0.9: vLLM 0.11 stopped with -1.44 GiB
    edge = 2 * 128_256 * 8192
    linear = 70_553_706_496 - 2 * 128_256 * 8192
    model = replace(dense(8192, 28_672, 80, 8, 128_256, 0), weights=Weights(edge, edge, linear), linear_bytes=1)
    found = plan(model, H100, VllmSettings(16_000, VllmVersion((0, 11)), 0.9, block_size=128))
    assert found is not None
    assert found.tightest.kv_pool / GIB == pytest.approx(-1.44, abs=0.1)
    assert not found.fits
    assert found.longest_context == 0


def test_a_context_longer_than_the_pool_is_refused_and_the_longest_is_told() -> None:
    # Llama-3.1-8B on a 24 GB GPU, V0: 37,696 tokens of 131,072
    found = plan(LLAMA_8B, L4, VllmSettings(131_072, parse_version("0.7.x (V0)"), 0.9))
    assert found is not None
    assert not found.fits
    assert found.longest_context == pytest.approx(37_696, rel=5e-3)


def test_graphs_come_off_the_pool_since_0_20_and_eager_mode_has_none() -> None:
    asked = VllmSettings(8192, V19, 0.9)
    pools = {}
    for release, eager in (((0, 19), False), ((0, 20), False), ((0, 20), True)):
        found = plan(LLAMA_8B, H100, replace(asked, version=VllmVersion(release), enforce_eager=eager))
        assert found is not None
        pools[release, eager] = found.tightest.kv_pool
    assert pools[(0, 19), False] == pools[(0, 20), True]
    assert pools[(0, 19), False] - pools[(0, 20), False] == graph_bytes(32)


@pytest.mark.parametrize(
    ("release", "model_type", "mixture", "quantized", "on_top"),
    [
        ((0, 21), "qwen3", False, False, False),
        ((0, 22), "qwen3", False, False, True),
        ((0, 22), "llama", False, False, False),
        ((0, 23), "llama", False, False, True),
        ((0, 23), "llama", False, True, False),
        ((0, 24), "llama", False, True, True),
        ((0, 24), "gemma2", False, False, False),
        ((0, 24), "deepseek_v2", True, False, True),
        ((0, 25), "gemma2", False, False, True),
        ((0, 28), None, False, True, True),
        ((0, 28), "qwen3_moe", True, False, False),
        ((0, 29), "llama", False, False, False),
    ],
)
def test_the_second_model_runner_estimated_no_graphs_until_0_28(
    release: tuple[int, int], model_type: str | None, mixture: bool, quantized: bool, on_top: bool
) -> None:
    model = replace(
        LLAMA_8B,
        model_type=model_type,
        mixture=MixtureFacts(8, 2, 1024) if mixture else None,
        quantization="awq" if quantized else None,
    )
    assert graphs_in_budget(model, VllmVersion(release)) is not on_top


def test_states_keep_one_block_a_request_until_prefixes_are_cached_at_block_boundaries() -> None:
    state = LinearAttention((StateTensor((64, 4), "compute"), StateTensor((8, 16, 16), "F32")))
    model = replace(LLAMA_8B, layers=(FullAttention(8, 128, 128), state))
    kept = {
        (release, asked): cache_settings(
            model, H100, VllmSettings(8192, VllmVersion(release), enable_prefix_caching=asked)
        ).state_blocks
        for release, asked in (
            ((0, 13), True),
            ((0, 19), None),
            ((0, 19), True),
            ((0, 25), None),
            ((0, 26), None),
            ((0, 26), False),
        )
    }
    assert list(kept.values()) == [1, 1, 2, 1, 2, 1]
    assert caches_prefixes(LLAMA_8B, VllmSettings(8192, V19))


def test_fp8_rows_of_sparse_latents_are_plain_on_blackwell() -> None:
    b200 = Gpu(178 * GIB, "B200", (10, 0))
    packed = {
        (gpu.name, release): cache_settings(
            LLAMA_8B, gpu, VllmSettings(8192, VllmVersion(release))
        ).packed_sparse_latents
        for gpu, release in ((H100, (0, 19)), (b200, (0, 13)), (b200, (0, 19)))
    }
    assert list(packed.values()) == [True, True, False]


def test_defaults_follow_gpu_and_version() -> None:
    assert batch_defaults(H100, V19) == (8192, 1024)
    assert batch_defaults(A100, V19) == (2048, 256)
    assert batch_defaults(L4, V19) == (2048, 256)
    b200 = Gpu(178 * GIB, "B200", (10, 0))
    assert batch_defaults(b200, V19) == (8192, 1024)
    assert batch_defaults(b200, VllmVersion()) == (16_384, 1024)
    v0 = VllmVersion((0, 7), v1=False)
    assert batch_sizes(L4, VllmSettings(10_000, v0, max_num_seqs=1)) == (10_000, 1)
    assert batch_sizes(L4, VllmSettings(131_072, v0)) == (2048, 256)
    assert batch_sizes(H100, VllmSettings(8192, V19, max_num_batched_tokens=512)) == (512, 512)
    assert (V19.default_utilization, VllmVersion().default_utilization) == (0.9, 0.92)


@pytest.mark.parametrize(
    ("text", "release", "v1"),
    [
        ("0.19.0", (0, 19), True),
        (">=0.21 (V1)", (0, 21), True),
        ("0.8.5 (V0)", (0, 8), False),
        ("0.7.x (V0, Feb 2025)", (0, 7), False),
        ("0.6.5", (0, 6), False),
        ("2026-10 build (V1, model_runner v2)", NEWEST, True),
        (None, NEWEST, True),
    ],
)
def test_versions_are_read_as_people_write_them(text: str | None, release: tuple[int, int], v1: bool) -> None:
    assert parse_version(text) == VllmVersion(release, v1)


def test_memory_outside_torch_takes_the_next_lower_count_of_ranks() -> None:
    assert non_torch_bytes(V19, 3) == non_torch_bytes(V19, 2) < non_torch_bytes(V19, 8) == non_torch_bytes(V19, 4)
    assert non_torch_bytes(VllmVersion((0, 6), v1=False), 8) == non_torch_bytes(VllmVersion((0, 6), v1=False), 1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"gpu_memory_utilization": 1.2},
        {"gpu_memory_utilization": 0.0},
        {"max_model_len": 0},
        {"max_num_seqs": 0},
        {"tensor_parallel_size": 3},
        {"kv_cache_dtype": "int3"},
        {"mamba_ssm_cache_dtype": "int3"},
    ],
)
def test_settings_that_vllm_refuses_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        plan(LLAMA_8B, H100, replace(VllmSettings(8192), **wrong))  # type: ignore[arg-type]


def test_without_weights_there_is_no_plan() -> None:
    assert plan(replace(LLAMA_8B, weights=None), H100, VllmSettings(8192)) is None


def test_windows_reserve_for_two_steps_in_flight_in_newer_versions() -> None:
    in_flight = [
        cache_settings(LLAMA_8B, H100, VllmSettings(8192, version)).in_flight_tokens for version in (V19, VllmVersion())
    ]
    assert in_flight == [8192, 16_384]


def a_model(**changes: object) -> Model:
    """Llama-3.1-8B as model/ would hand it on, by hand."""
    shape = Architecture(
        model_type="llama",
        architecture="LlamaForCausalLM",
        num_hidden_layers=32,
        hidden_size=4096,
        num_attention_heads=32,
        num_key_value_heads=8,
        head_dim=128,
        intermediate_size=14_336,
        vocab_size=128_256,
        max_position_embeddings=131_072,
        tie_word_embeddings=False,
        dtype="bfloat16",
        sliding_window=None,
        experts=None,
        quantization=None,
        layers=(FullAttention(8, 128, 128),) * 32,
    )
    attention, mlp, edge = 32 * (2 * 4096**2 + 2 * 4096 * 1024), 32 * 3 * 4096 * 14_336, 128_256 * 4096
    counts = {"embedding": edge, "attention": attention, "mlp": mlp, "norm": 65 * 4096, "head": edge}
    total = sum(counts.values())
    parameters = Parameters(total, total, counts, {"BF16": total}, 0, {}, 2 * total)
    return Model("meta-llama/Llama-3.1-8B", replace(shape, **changes), parameters, "BF16")  # type: ignore[arg-type]


def test_from_a_model_to_what_vllm_prints() -> None:
    served = served_model(a_model())
    assert served is not None
    (weights,) = loaded_weights(served, H100, VllmSettings(8192, V19)) or (0,)
    assert round(weights / GIB, 2) == 14.99
    (rank,) = loaded_weights(served, H100, VllmSettings(8192, V19, tensor_parallel_size=8)) or (0,)
    assert round(rank / GIB, 4) == 1.9028
    found = plan(served, H100, VllmSettings(8192, V19, 0.95, kv_cache_dtype="fp8"))
    assert found is not None
    assert found.tightest.kv_pool / GIB == pytest.approx(58.11, rel=5e-4)


def test_weights_cast_at_load_keep_embeddings_norms_and_head_at_the_compute_precision() -> None:
    served = served_model(a_model(), "fp8")
    assert served is not None
    assert served.weights is not None
    assert served.weights.total == 8_030_261_248 + 2 * 128_256 * 4096 + 65 * 4096
    assert served.linear_bytes == 1


def test_what_a_model_cannot_tell_is_noted_or_none() -> None:
    assert served_model(a_model(hidden_size=None)) is None
    seeing = served_model(a_model(vision=True))
    assert seeing is not None
    assert "vision encoder" in seeing.notes[0]
    latent = served_model(a_model(layers=(LatentAttention(512, 64),) * 32))
    assert latent is not None
    assert latent.rotary_bytes == 131_072 * 64 * 2
    assert "latents" in latent.notes[0]
    mixture = served_model(a_model(experts=Experts(8, 2, 1), moe_intermediate_size=1024))
    assert mixture is not None
    assert (mixture.mixture, mixture.intermediate_size) == (MixtureFacts(8, 2, 1024), 1024)
    packed = served_model(a_model(quantization=Quantization("gptq", 4, 128)))
    assert packed is not None
    assert (packed.quantization, packed.linear_bytes) == ("gptq", 0.5)
    learned = served_model(a_model(model_type="gpt2"))
    assert learned is not None
    assert learned.rotary_bytes == 0


def test_gemma_3_keeps_one_table_for_its_windows_and_a_stretched_one_for_the_rest() -> None:
    layers = (FullAttention(8, 256, 256), SlidingAttention(8, 256, 256, 1024))
    for positions, rows in ((131_072, 9 * 131_072), (32_768, 2 * 32_768)):
        served = served_model(a_model(model_type="gemma3", layers=layers, max_position_embeddings=positions))
        assert served is not None
        assert served.rotary_bytes == rows * 256 * 2


def test_rows_beside_states_are_rotated_too() -> None:
    both = HybridAttention(FullAttention(8, 128, 128), ())
    served = served_model(a_model(layers=(both,) * 32))
    assert served is not None
    assert served.rotary_bytes == 131_072 * 128 * 2


def test_states_stay_float32_only_where_the_model_says_so() -> None:
    states = (LinearAttention((StateTensor((8, 16, 16), "F32"),)),)
    for name, written, size in (
        ("Qwen3NextForCausalLM", {"mamba_ssm_dtype": "float32"}, 2),  # a key that its class does not read
        ("Qwen3_5ForCausalLM", {"mamba_ssm_dtype": "float32"}, 4),
        ("Qwen3_5ForCausalLM", {}, 2),
        ("NemotronHForCausalLM", {}, 4),
        ("NemotronHForCausalLM", {"mamba_ssm_cache_dtype": "bfloat16"}, 2),
    ):
        model = a_model(layers=states, architecture=name, written=written)
        served = served_model(model)
        assert served is not None
        served = as_cached(served, model.architecture)
        assert cache_settings(served, H100, VllmSettings(8192)).recurrent_bytes == size
    forced = VllmSettings(8192, mamba_ssm_cache_dtype="float32")
    assert cache_settings(LLAMA_8B, H100, forced).recurrent_bytes == 4


@settings(max_examples=60)
@given(
    st.integers(1, 32_768),
    st.integers(0, 32_768),
    st.integers(1, 8192),
    st.integers(0, 8192),
    st.integers(1, 1024),
    st.integers(0, 512),
    st.sampled_from([(0, 8), (0, 16), (0, 19), (0, 21), (0, 33)]),
)
def test_more_of_anything_never_leaves_a_larger_pool(
    context: int,
    more: int,
    tokens: int,
    more_tokens: int,
    sequences: int,
    more_sequences: int,
    release: tuple[int, int],
) -> None:
    base = VllmSettings(context, VllmVersion(release), max_num_batched_tokens=tokens, max_num_seqs=sequences)
    first = plan(LLAMA_8B, H100, base)
    assert first is not None
    for larger in (
        replace(base, max_num_batched_tokens=tokens + more_tokens),
        replace(base, max_num_seqs=sequences + more_sequences),
    ):
        second = plan(LLAMA_8B, H100, larger)
        assert second is not None
        assert second.tightest.kv_pool <= first.tightest.kv_pool
    longer = plan(LLAMA_8B, H100, replace(base, max_model_len=context + more))
    assert longer is not None
    assert longer.capacity is not None
    assert first.capacity is not None
    assert longer.capacity.max_concurrency <= first.capacity.max_concurrency
    assert first.fits >= longer.fits


QWEN3_6_27B = replace(
    dense(5120, 17_408, 64, 4, 248_320, 27_000_000_000),
    layers=(
        FullAttention(4, 256, 256),
        *[LinearAttention((StateTensor((10_240, 4), "compute"), StateTensor((48, 128, 128), "F32")))] * 3,
    )
    * 16,
    linear_bytes=1,
    recurrent_bytes=4,
)


@pytest.mark.parametrize(
    ("release", "given", "most"),
    [
        ((0, 22), {}, 512),
        ((0, 19), {}, None),
        ((0, 22), {"enforce_eager": True}, None),
        ((0, 22), {"max_num_seqs": 512}, None),
        ((0, 22), {"sampler": "none"}, None),
    ],
)
def test_more_sequences_than_blocks_of_states_are_refused(
    release: tuple[int, int], given: dict[str, object], most: int | None
) -> None:
    """Qwen3.6-27B-FP8 on an H100 at 0.95: "max_num_seqs (1024) exceeds available Mamba cache blocks (856)"
    (https://github.com/vllm-project/recipes/pull/551)."""
    model = replace(QWEN3_6_27B, weights=Weights(0, 0, 28 * GIB))
    found = plan(model, H100, VllmSettings(262_144, VllmVersion(release), 0.95, **given))  # type: ignore[arg-type]
    assert found is not None
    assert found.capacity is not None
    assert (found.most_sequences, found.fits) == (most, most is None)
    if most:
        assert found.capacity.blocks == pytest.approx(856, rel=0.05)


def test_without_states_any_number_of_sequences_starts() -> None:
    found = plan(LLAMA_8B, L4, VllmSettings(8192, max_num_seqs=100_000, max_num_batched_tokens=100_000))
    assert found is not None
    assert found.most_sequences is None


@pytest.mark.parametrize(("sequences", "graphs"), [(1, 2 + 1), (4, 4 + 3), (64, 19 + 11), (256, 51 + 35), (1024, 102)])
def test_graphs_are_captured_up_to_twice_the_sequences_and_whole_up_to_as_many(sequences: int, graphs: int) -> None:
    assert captured_graphs(8192, sequences) == graphs
    assert graph_bytes(64, graphs) == pytest.approx(graph_bytes(64) * graphs / 102, abs=1)


def test_few_sequences_need_few_graphs() -> None:
    """vLLM estimates 0.13 GiB for Qwen3.8-27B and few sequences on an RTX 5090, and 0.27 for Gemma 4 31B and 28 graphs
    (https://github.com/noonghunna/club-3090/issues/1087, https://github.com/vllm-project/vllm/issues/41789)."""
    assert graph_bytes(64, captured_graphs(8192, 4)) == pytest.approx(0.13 * GIB, rel=0.35)
    assert graph_bytes(60, 28) == pytest.approx(0.27 * GIB, rel=0.35)
    assert captured_graphs(8192, 4, drafted=3) == captured_graphs(8192, 16)
    assert captured_graphs(16, 1024) == 10


def test_ranks_without_nvlinks_fabric_keep_less_outside_torch() -> None:
    """Two RTX 5090: 15.03 GiB of weights and all outside torch, of which 14.28 are weights (as above)."""
    newest = VllmVersion(NEWEST)
    assert non_torch_bytes(newest, 2, compute_capability=(12, 0)) < 0.75 * GIB
    assert non_torch_bytes(newest, 2, compute_capability=(9, 0)) == non_torch_bytes(newest, 2) > 2 * GIB
    assert non_torch_bytes(newest, 1, compute_capability=(8, 6)) == non_torch_bytes(newest, 1)
