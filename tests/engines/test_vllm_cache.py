"""vLLM's planner against numbers worked out by hand, or printed by vLLM itself."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspector.engines.common.cache_specs import CacheSettings, CompressedIndex, FullSpec, SlidingSpec, specs_of
from inspector.engines.common.layer_rules import UnsupportedLayer
from inspector.engines.vllm.cache import Group, block_bytes, blocks_per_request, capacity, group_layers, longest_context
from inspector.engines.vllm.packed import packed_layers
from inspector.engines.vllm.version import VllmVersion
from inspector.model.layers import (
    ChunkedAttention,
    CrossAttention,
    FullAttention,
    HybridAttention,
    IndexedAttention,
    LatentAttention,
    Layer,
    LinearAttention,
    NoCache,
    SlidingAttention,
    StateTensor,
    UnknownLayer,
)
from inspector.model.layers.compressed_sparse import CompressedAttention

GIB = 1024**3

GEMMA_3_27B: list[Layer] = [FullAttention(16, 128, 128)] * 10 + [SlidingAttention(16, 128, 128, 1024)] * 52


def request_gib(layers: list[Layer], settings: CacheSettings) -> float:
    groups = group_layers(layers, settings)
    return blocks_per_request(groups, settings) * block_bytes(groups) / GIB


@pytest.mark.parametrize(
    ("layers", "context", "gib"),
    [
        ([FullAttention(8, 128, 128)] * 32, 8_192, 1.00),  # Llama-3-8B
        ([FullAttention(8, 128, 128)] * 80, 8_192, 2.50),  # Llama-3-70B
        ([FullAttention(8, 128, 128)] * 28, 32_768, 3.50),  # Qwen3-0.6B
        ([LatentAttention(512, 64)] * 61, 32_768, 2.14),  # DeepSeek-V3
        # 8192 full blocks + 6 x (ceil((1023 + 8192) / 16) + 1) = 6 x 577; pages of 131,072 B, ten to a block
        (GEMMA_3_27B, 131_072, 14.23),
        # 8192 + (ceil((127 + 8192) / 16) + 1 = 521) blocks of 12 pages of 32,768 B
        ([FullAttention(8, 64, 64)] * 12 + [SlidingAttention(8, 64, 64, 128)] * 12, 131_072, 3.19),  # gpt-oss-20b
        # 65,536 + 3 x ceil((8192 + 8192) / 16) = 3 x 1024 blocks of 12 pages of 65,536 B
        ([FullAttention(8, 128, 128)] * 12 + [ChunkedAttention(8, 128, 128, 8192)] * 36, 1_048_576, 50.25),  # Llama 4
    ],
)
def test_a_request_takes_what_was_worked_out_by_hand(layers: list[Layer], context: int, gib: float) -> None:
    assert round(request_gib(layers, CacheSettings(context)), 2) == gib


def test_gemma_3_27b_makes_one_full_and_six_sliding_groups_of_ten() -> None:
    groups = group_layers(GEMMA_3_27B, CacheSettings(8192))
    full, sliding = FullSpec(16, 131_072), SlidingSpec(16, 131_072, 1024)
    assert groups == (Group(10, full), *[Group(10, sliding)] * 6)


def test_gemma_3_27b_prints_what_vllm_0_19_printed() -> None:
    held = capacity(GEMMA_3_27B, CacheSettings(8192), [int(19.53 * GIB)])
    assert held is not None
    assert held.blocks == pytest.approx(15_997, rel=5e-4)
    assert held.tokens_printed == pytest.approx(36_560, rel=5e-4)
    assert held.max_concurrency == pytest.approx(4.46, abs=0.01)


def test_kinds_of_nearly_equal_number_are_padded_to_the_larger() -> None:
    layers: list[Layer] = [FullAttention(8, 64, 64)] * 13 + [SlidingAttention(8, 64, 64, 128)] * 12
    assert [group.layers for group in group_layers(layers, CacheSettings(8192))] == [13, 13]


def test_with_the_hybrid_manager_off_windows_cost_their_full_length() -> None:
    settings = CacheSettings(131_072, hybrid=False)
    assert group_layers(GEMMA_3_27B, settings) == (Group(1, FullSpec(16, 62 * 131_072)),)
    assert request_gib(GEMMA_3_27B, settings) == 62.0


def test_latents_lie_whole_on_every_rank_and_heads_repeat_when_fewer_than_the_ranks() -> None:
    for ranks in (1, 8):
        (spec,) = specs_of(LatentAttention(512, 64), CacheSettings(8192, tensor_parallel=ranks))
        assert spec.page_size_bytes == 16 * 576 * 2
    pages = [
        specs_of(FullAttention(4, 128, 128), CacheSettings(8192, tensor_parallel=ranks))[0].page_size_bytes
        for ranks in (1, 2, 4, 8)
    ]
    assert pages == [32_768, 16_384, 8_192, 8_192]


def test_states_stretch_the_attention_block_to_cover_their_page() -> None:
    # Qwen3.5-27B in FP8 on one GPU: 48 x 128 x 128 x 4 B + 10,240 x 3 x 2 B = 3,207,168 B a state; 2,048 B a token.
    # vLLM printed "attention block size 1568" and padded the state page by 0.13 %.
    state = LinearAttention((StateTensor((10_240, 4), "compute"), StateTensor((48, 128, 128), "F32")))
    settings = CacheSettings(8192, element_bytes=1)
    groups = group_layers([FullAttention(4, 256, 256)] * 16 + [state] * 48, settings)
    assert {group.layers for group in groups} == {16}
    assert len(groups) == 4
    assert groups[0].spec == FullSpec(1568, 1568 * 2048)
    assert {group.spec.page_size_bytes for group in groups} == {1568 * 2048}
    assert round(100 * (1568 * 2048 / 3_207_168 - 1), 2) == 0.13
    assert blocks_per_request(groups, settings) == 6 + 3
    assert blocks_per_request(groups, replace(settings, state_blocks=2)) == 6 + 6


def test_latents_beside_states_come_in_larger_blocks_in_newer_versions() -> None:
    # Kimi Linear 48B on two ranks: 3 x 2,048 x 3 x 2 B + 16 x 128 x 128 x 4 B = 1,085,440 B a state, 1,152 B a token:
    # 943 tokens. vLLM 0.11 printed 75,840 tokens, which is 79 x 960.
    state = LinearAttention((StateTensor((12_288, 4), "compute"), StateTensor((32, 128, 128), "F32")))
    layers = [LatentAttention(512, 64)] * 7 + [state] * 20
    blocks = {}
    for release in ((0, 10), (0, 11), (0, 26), (0, 27)):
        multiple = VllmVersion(release).latent_block_multiple
        settings = CacheSettings(120_000, tensor_parallel=2, latent_block_multiple=multiple)
        groups = group_layers(layers, settings)
        blocks[release] = groups[0].spec.block_size
    assert list(blocks.values()) == [944, 960, 960, 1024]
    held = capacity(layers, replace(settings, latent_block_multiple=64), [int(2.3 * GIB)])
    assert held is not None
    assert (held.blocks, held.tokens, held.blocks_per_request) == (319, 75_840, 125 + 3)


def test_fp8_latents_of_sparse_attention_keep_scales_and_a_16_bit_rotated_part() -> None:
    # GLM-5 on SGLang: 3,262,823 slots of 78 layers took 186.77 GiB, so (656 + 132) B a layer and token.
    layer = IndexedAttention(LatentAttention(512, 64), 128)
    sizes = {
        (element, packed): sum(
            spec.page_size_bytes
            for spec in specs_of(layer, CacheSettings(8192, 1, 1, element, packed_sparse_latents=packed))
        )
        for element, packed in ((2, True), (1, True), (1, False))
    }
    assert sizes == {(2, True): 1152 + 132, (1, True): 656 + 132, (1, False): 576 + 132}
    assert round(3_262_823 * 78 * sizes[1, True] / GIB, 2) == 186.77


def test_compressed_index_keys_lie_beside_the_rows_and_the_last_raw_ones_in_a_block_a_request() -> None:
    """vLLM 0.33's planner: 8 blocks of rows, 3 times 3 of states and 1 ring, of 10 * (1,179,648 + 18,432) bytes."""
    states = (StateTensor((8192, 4), "compute"), StateTensor((32, 128, 128), "F32"))
    layers = [LinearAttention(states)] * 30 + [CompressedIndex(FullAttention(2, 256, 256), 256, ratio=16)] * 10
    settings = CacheSettings(4096, recurrent_bytes=2, state_blocks=2, checkpoint_blocks=1, state_alignment=64)
    groups = group_layers(layers, settings)
    assert blocks_per_request(groups, settings) == 18
    assert blocks_per_request(groups, settings) * block_bytes(groups) == 215_654_400


def test_layers_of_one_kind_but_several_widths_share_a_group() -> None:
    indexed = IndexedAttention(LatentAttention(512, 64), 128)
    (group,) = group_layers([indexed] * 61, CacheSettings(8192))
    assert group.spec.page_size_bytes == 61 * 16 * (576 * 2 + 132)


def test_narrower_layers_get_more_tokens_a_block_and_uneven_ones_are_padded() -> None:
    settings = CacheSettings(8192)
    wide, half, third = FullAttention(8, 128, 128), SlidingAttention(4, 128, 128, 64), SlidingAttention(3, 128, 128, 64)
    assert [group.spec for group in group_layers([wide, half], settings)] == [
        FullSpec(16, 65_536),
        SlidingSpec(32, 65_536, 64),
    ]
    assert group_layers([wide, third], settings)[1].spec == SlidingSpec(16, 65_536, 64)


def test_a_layer_that_keeps_rows_and_states_has_both() -> None:
    layer = HybridAttention(FullAttention(2, 64, 64), (StateTensor((8, 16, 16), "F32"),))
    rows, state = specs_of(layer, CacheSettings(8192, recurrent_bytes=2))
    assert (rows.page_size_bytes, state.page_size_bytes) == (16 * 2 * 128 * 2, 8 * 16 * 16 * 2)
    assert specs_of(layer, CacheSettings(8192))[1].page_size_bytes == 8 * 16 * 16 * 4


def test_an_encoders_rows_are_kept_beside_the_decoders() -> None:
    own, encoder = specs_of(CrossAttention(16, 64, 64, 1500), CacheSettings(448))
    assert own.blocks(CacheSettings(448)) == 28
    assert encoder.blocks(CacheSettings(448)) == 94


def test_what_caches_nothing_has_no_capacity() -> None:
    assert capacity([NoCache()] * 12, CacheSettings(512), [GIB]) is None


def test_a_kind_without_a_rule_is_an_error_that_names_it() -> None:
    with pytest.raises(UnsupportedLayer, match="hyper"):
        group_layers([UnknownLayer("hyper")], CacheSettings(512))


def test_the_stage_with_fewest_blocks_decides() -> None:
    layers: list[Layer] = [FullAttention(8, 128, 128)] * 32
    held = capacity(layers, CacheSettings(8192), [4 * GIB, 2 * GIB])
    assert held is not None
    assert held.blocks == 2 * GIB // (16 * 16 * 4096)


def test_groups_are_the_whole_models_and_a_stage_holds_its_part_of_each() -> None:
    # group size 10 over two stages: 5 pages of 131,072 B a block
    held = capacity(GEMMA_3_27B, CacheSettings(8192), [GIB, GIB])
    assert held is not None
    assert (held.block_bytes, held.blocks) == (5 * 131_072, GIB // (5 * 131_072))


def test_the_longest_context_is_the_last_that_fits() -> None:
    pools = [int(4.6 * GIB)]
    layers: list[Layer] = [FullAttention(8, 128, 128)] * 32
    longest = longest_context(layers, CacheSettings(131_072), pools, 131_072)
    assert longest == int(4.6 * GIB) // (16 * 131_072) * 16
    assert longest_context(layers, CacheSettings(131_072), [0], 131_072) == 0
    assert longest_context(layers, CacheSettings(131_072), pools, 100) == 100


_ROWS = st.one_of(
    st.builds(FullAttention, st.just(4), st.just(64), st.just(64)),
    st.builds(SlidingAttention, st.just(4), st.just(64), st.just(64), st.sampled_from([128, 1024, 4096])),
    st.builds(ChunkedAttention, st.just(4), st.just(64), st.just(64), st.just(8192)),
)


@given(
    st.lists(_ROWS, min_size=1, max_size=20),
    st.integers(1, 200_000),
    st.integers(0, 50_000),
    st.integers(1, 16_384),
    st.integers(0, 16_384),
    st.sampled_from([1, 2, 4, 8]),
)
def test_more_context_or_a_larger_step_never_takes_less_and_more_ranks_never_more(
    layers: list[Layer], context: int, more: int, tokens: int, more_tokens: int, ranks: int
) -> None:
    settings = CacheSettings(context, tokens, tensor_parallel=ranks)
    less = request_gib(layers, settings)
    assert less <= request_gib(layers, replace(settings, max_model_len=context + more))
    assert less <= request_gib(layers, replace(settings, in_flight_tokens=tokens + more_tokens))
    assert less >= request_gib(layers, replace(settings, tensor_parallel=2 * ranks))
    assert less <= request_gib(layers, replace(settings, element_bytes=4))


def test_deepseek_v4s_pages_lie_side_by_side_in_one_block() -> None:
    """vLLM 0.33's planner on the default config: 43 layers, 20 of them with an indexer (docs/oracles.md)."""
    heavy, sparse = CompressedAttention(512, 128, 128, 0), CompressedAttention(512, 128, 4, 128)
    layers = packed_layers((heavy, heavy, heavy, *(sparse, heavy) * 20), 64)
    settings = CacheSettings(max_model_len=4096, in_flight_tokens=16_384)
    groups = group_layers(layers, settings)
    assert sorted(group.spec.page_size_bytes for group in groups) == [755_136, 786_240, 823_680, 829_440, 961_344]
    assert blocks_per_request(groups, settings) * block_bytes(groups) == 1_618_903_296
    with pytest.raises(UnsupportedLayer, match="rate 16"):
        group_layers(packed_layers((CompressedAttention(512, 128, 16, 0),), 64), settings)


QWEN_27B = LinearAttention((StateTensor((10_240, 4), "compute"), StateTensor((48, 128, 128), "F32")))
QWEN_35B = LinearAttention((StateTensor((8192, 4), "compute"), StateTensor((32, 128, 128), "F32")))


@pytest.mark.parametrize(
    ("layers", "settings", "gib", "at_once"),
    [
        # noonghunna/club-3090#104: Qwen3.6-27B on two RTX 3090, 0.20, prefixes cached
        (
            [FullAttention(4, 256, 256)] * 16 + [QWEN_27B] * 48,
            CacheSettings(262_144, element_bytes=1, tensor_parallel=2, state_blocks=2),
            9.84,
            2.36,
        ),
        # noonghunna/club-3090#642: with three drafted tokens and the layer that drafts
        (
            [FullAttention(4, 256, 256)] * 17 + [QWEN_27B] * 48,
            CacheSettings(262_144, element_bytes=1, tensor_parallel=2, state_blocks=5, drafted=3),
            11.05,
            2.38,
        ),
        # noonghunna/club-3090#652: Qwen3.6-35B-A3B on an RTX 5090, 0.24, prefixes cached
        (
            [FullAttention(2, 256, 256)] * 10 + [QWEN_35B] * 30,
            CacheSettings(131_072, element_bytes=1, state_blocks=2),
            6.01,
            4.35,
        ),
        # rwlove/home-ops#13226: the same model without, "95 blocks / 1.44x"
        (
            [FullAttention(2, 256, 256)] * 10 + [QWEN_35B] * 30,
            CacheSettings(131_072, element_bytes=1),
            95 * 2112 * 10_240 / GIB,
            1.44,
        ),
    ],
)
def test_hybrids_hold_as_many_requests_as_their_logs_say(
    layers: list[Layer], settings: CacheSettings, gib: float, at_once: float
) -> None:
    held = capacity(layers, settings, [int(gib * GIB)])
    assert held is not None
    assert held.max_concurrency == pytest.approx(at_once, rel=0.004)


def test_glm_5_on_eight_gpus_has_blocks_of_64_latents() -> None:
    """LMCache/LMCache#3339: 158 caches of 4,372 blocks of 64 tokens, those of indexers 132 bytes wide: 79 layers."""
    layer = IndexedAttention(LatentAttention(512, 64), 128)
    latents, keys = specs_of(layer, CacheSettings(8192, block_size=64, tensor_parallel=8))
    assert (latents.page_size_bytes, keys.page_size_bytes) == (64 * 576 * 2, 64 * 132)
