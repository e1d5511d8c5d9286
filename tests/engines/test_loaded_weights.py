"""Weights on a rank against hand counts and against what vLLM printed after loading."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspector.engines.common.loaded_weights import (
    MIB,
    mxfp4_padding,
    rank_shares,
    rank_weights,
    stage_layers,
    unsplit_remainder,
)
from inspector.engines.common.served import Gpu, MixtureFacts, ServedModel, Weights, served_model
from inspector.engines.sglang.budget import SglangSettings
from inspector.engines.sglang.budget import plan as sglang_plan
from inspector.engines.vllm.budget import VllmSettings, loaded_shares
from inspector.engines.vllm.version import parse_version
from inspector.errors import UsageError
from inspector.model.layers import FullAttention, LatentAttention
from tests.memory.test_ledger import inspection

GIB = 1024**3

# Llama-3.1-8B: 128256 x 4096 embedding and head, 32 layers of q and o 2 x 4096^2, k and v 2 x 4096 x 1024,
# MLP 3 x 4096 x 14336, norms 65 x 4096; a rotary table of 131072 x 128.
LLAMA_8B = ServedModel(
    layers=(FullAttention(8, 128, 128),) * 32,
    hidden_size=4096,
    vocab_size=128_256,
    element_bytes=2,
    weights=Weights(
        embedding=2 * 525_336_576,
        head=2 * 525_336_576,
        divided=2 * 32 * (2 * 4096**2 + 3 * 4096 * 14_336),
        key_value=2 * 32 * 2 * 4096 * 1024,
        replicated=2 * 65 * 4096,
    ),
    num_attention_heads=32,
    intermediate_size=14_336,
    rotary_bytes=131_072 * 128 * 2,
)


def test_llama_3_1_8b_on_one_rank_and_on_eight() -> None:
    # vLLM 0.19: 14.99 GiB; 0.6 on eight ranks: 1.9028 GiB each
    assert LLAMA_8B.weights is not None
    assert LLAMA_8B.weights.total == 2 * 8_030_261_248
    (one,) = rank_weights(LLAMA_8B) or (0,)
    assert one == 2 * 8_030_261_248 + 32 * MIB
    (eight,) = rank_weights(LLAMA_8B, tensor_parallel=8) or (0,)
    assert round(eight / GIB, 4) == 1.9028


def test_pipeline_stages_split_layers_and_keep_embedding_and_head_apart() -> None:
    # vLLM 0.19 with four stages: 4.26 GiB on the first, 3.28 on those between
    stages = rank_weights(LLAMA_8B, pipeline_parallel=4) or ()
    assert [round(stage / GIB, 2) for stage in stages] == [4.26, 3.28, 3.28, 4.26]


def test_a_tied_embedding_lies_on_the_first_and_the_last_stage() -> None:
    model = ServedModel((LatentAttention(8, 8),) * 2, 16, 64, 2, Weights(embedding=2048, head=0, divided=200))
    assert rank_weights(model, pipeline_parallel=2) == (2148, 2148)
    assert rank_weights(model) == (2248,)


def test_left_over_layers_go_to_the_stages_before_the_last() -> None:
    assert stage_layers(62, 4) == (15, 16, 16, 15)
    assert stage_layers(61, 4) == (15, 15, 16, 15)


def test_key_value_heads_are_not_split_below_one() -> None:
    weights = Weights(embedding=0, head=0, divided=0, key_value=800)
    model = ServedModel((FullAttention(2, 8, 8),), 16, 64, 2, weights)
    assert [(rank_weights(model, tensor_parallel=ranks) or (0,))[0] for ranks in (1, 2, 4)] == [800, 400, 400]


def test_latents_down_projections_are_whole_on_every_rank() -> None:
    weights = Weights(embedding=0, head=0, divided=800, replicated=100)
    model = ServedModel((LatentAttention(512, 64),), 16, 64, 2, weights)
    assert rank_weights(model, tensor_parallel=8) == (200,)


def test_latents_up_projections_are_kept_twice_where_an_engine_needs_them_in_16_bits() -> None:
    # DeepSeek-V3 on eight ranks: 61 layers x 512 x 16 heads x (128 + 128) x 2 B = 244 MiB a rank.
    weights = Weights(0, 0, divided=800, copies=61 * 512 * 128 * 256 * 2)
    model = ServedModel((LatentAttention(512, 64, None, 128, 128),) * 61, 16, 64, 2, weights, num_attention_heads=128)
    plain = rank_shares(model, tensor_parallel=8) or ()
    copied = rank_shares(model, tensor_parallel=8, copies=True) or ()
    assert plain[0]["latent_copies"] == 0
    assert copied[0]["latent_copies"] == 244 * MIB


def test_deepseek_v3_as_vllm_loads_it() -> None:
    # vLLM 0.11.2 with eight ranks prints 79.7390 GiB for DeepSeek-R1-0528, which has the same shapes (a log in the
    # tests of a public memory estimator). One rank's copies are 244 MiB, its backends' workspace 128.
    model = served_model(inspection("deepseek-ai/DeepSeek-V3").model)
    assert model is not None
    assert model.latents_packed
    settings = VllmSettings(8192, version=parse_version("0.11.2"), tensor_parallel_size=8)
    (shares,) = loaded_shares(model, Gpu(141 * GIB, "H200", (9, 0)), settings) or ()
    assert (shares["latent_copies"], shares["workspace"]) == (244 * MIB, 128 * MIB)
    assert sum(shares.values()) / GIB == pytest.approx(79.739, rel=0.002)
    # SGLang copies them whatever they are stored as, and has no such workspace.
    served = sglang_plan(model, Gpu(141 * GIB), SglangSettings(8192, tp_size=8))
    assert served is not None
    assert served.weight_shares["latent_copies"] == 244 * MIB


def test_plain_latents_are_viewed_and_not_copied_by_vllm() -> None:
    # GLM-4.7-Flash in bf16: a public log shows 55.87 GiB; copies would be 0.40 GiB more than its 55.8.
    weights = Weights(0, 0, 0, copies=1000)
    model = ServedModel((LatentAttention(512, 64, None, 192, 256),), 16, 64, 2, weights, num_attention_heads=20)
    (shares,) = loaded_shares(model, Gpu(80 * GIB, "H100", (9, 0)), VllmSettings(1)) or ()
    assert (shares["latent_copies"], shares["workspace"]) == (0, 0)


@pytest.mark.parametrize(
    ("version", "capability", "mib"),
    [
        ("0.10", (9, 0), 0),
        ("0.19", (9, 0), 128),
        ("0.19", (8, 0), 128),
        ("0.24", (12, 0), 0),
        ("0.19", (10, 0), 256),
        ("0.33", (9, 0), 0),
        ("0.33", (10, 0), 128),
    ],
)
def test_workspaces_that_backends_for_latents_take_as_they_are_imported(
    version: str, capability: tuple[int, int], mib: int
) -> None:
    assert parse_version(version).latent_workspace(capability) == mib * MIB


def test_rows_of_the_vocabulary_are_padded_to_64() -> None:
    model = ServedModel((LatentAttention(8, 8),), 10, 49_155, 2, Weights(49_155 * 20, 0, 0))
    assert rank_weights(model) == (49_216 * 20,)


@pytest.mark.parametrize(
    ("mib", "left"), [(9.5, 0), (24.5, 0), (31.5, 0.5), (50, 0), (75, 1), (175, 1), (85.5, 0.5), (1280.3125, 0)]
)
def test_what_torch_counts_beyond_a_large_tensor(mib: float, left: float) -> None:
    assert unsplit_remainder(int(mib * MIB)) == left * MIB


def test_mxfp4_experts_are_padded_as_marlin_wants_them() -> None:
    # gpt-oss on one rank and on four: 2880 -> 3072 and 2944; 720 -> 768
    assert mxfp4_padding(2880, 2880, "marlin") == (3072, 2944)
    assert mxfp4_padding(2880, 720, "marlin") == (3072, 768)
    assert mxfp4_padding(2880, 2880, "triton") == (3072, 2880)
    experts = 100 * 2880 * 2880
    model = ServedModel(
        (LatentAttention(8, 8),),
        2880,
        64,
        2,
        Weights(0, 0, 0, experts=experts),
        mixture=MixtureFacts(32, 4, 2880),
        quantization="mxfp4",
    )
    assert rank_weights(model, tensor_parallel=4, mxfp4="marlin") == (100 * 3072 * 768,)


@pytest.mark.parametrize(("ranks", "stages"), [(3, 1), (0, 1), (1, 0), (1, 33), (12, 1)])
def test_degrees_that_the_model_cannot_be_laid_over_are_refused(ranks: int, stages: int) -> None:
    with pytest.raises(UsageError):
        rank_weights(LLAMA_8B, tensor_parallel=ranks, pipeline_parallel=stages)


def test_without_weights_there_is_no_number() -> None:
    assert rank_weights(ServedModel((FullAttention(8, 8, 8),), 8, 8, 2, None)) is None


@given(st.sampled_from([1, 2, 4, 8, 16]), st.integers(1, 16))
def test_more_gpus_never_hold_more_a_gpu(ranks: int, stages: int) -> None:
    fewer = max(rank_weights(LLAMA_8B, tensor_parallel=ranks, pipeline_parallel=stages) or (0,))
    assert fewer >= max(rank_weights(LLAMA_8B, tensor_parallel=2 * ranks, pipeline_parallel=stages) or (0,))
    assert fewer >= max(rank_weights(LLAMA_8B, tensor_parallel=ranks, pipeline_parallel=2 * stages) or (0,))
