"""Weights, gradients and states of Megatron-LM's layouts beside what its own estimator gives.

NVIDIA/Megatron-LM d98e8a6, megatron/training/theoretical_memory_usage.py: compute_weight_and_optimizer_memory, run with
these models' sizes, bf16 with fp32 main gradients: 18 B a parameter, or with the distributed optimizer 6 + 12 / DP, of
the first pipeline stage. Experts are divided by the expert-tensor parallel size, its default: the tensor parallel size.
"""

from __future__ import annotations

from typing import Any

import pytest

import inspector
from inspector.errors import UsageError

LLAMA, DEEPSEEK = "meta-llama/Llama-3.1-", "deepseek-ai/DeepSeek-V3"
MIXTRAL = "mistralai/Mixtral-8x7B-v0.1"

ROWS: list[tuple[str, int, int, int, int, bool, float]] = [
    # model, TP, PP, DP, EP, distributed optimizer, bytes
    (f"{LLAMA}8B", 1, 1, 1, 1, False, 144_544_702_464),
    (f"{LLAMA}8B", 2, 1, 4, 1, True, 36_137_373_696),
    (f"{LLAMA}8B", 1, 4, 2, 1, True, 27_242_803_200),
    (f"{LLAMA}8B", 4, 2, 8, 1, False, 18_069_884_928),
    (f"{LLAMA}70B", 8, 4, 2, 1, True, 27_249_106_944),
    (f"{LLAMA}70B", 8, 1, 8, 1, True, 66_152_755_200),
    (f"{LLAMA}405B", 8, 18, 8, 1, True, 22_890_830_506),
    (MIXTRAL, 1, 1, 8, 8, True, 113_510_873_088),
    (MIXTRAL, 2, 4, 8, 4, True, 18_663_710_208),
    (DEEPSEEK, 1, 1, 64, 64, True, 289_827_199_296),
]
UNEVEN = [
    # Llama 3 405B's and DeepSeek-V3's own degrees; their layers do not divide by 16 stages, and the estimator takes
    # 7.875 and 3.8125 of them, where the fullest stage has 8 and 4.
    (f"{LLAMA}405B", 8, 16, 128, 1, True, 20_723_570_400),
    (DEEPSEEK, 1, 16, 128, 64, True, 19_123_486_218),
]


def held(model: str, tp: int, pp: int, dp: int, ep: int, *, distributed: bool) -> int:
    """Weights, fp32 gradients, masters and states on the fullest GPU."""
    sharding: dict[str, Any] = {"tp": tp, "pp": pp, "ddp": dp, "ep": ep, "main_grads": True, "grad_accum": pp}
    sharding |= {"zero": 1} if distributed else {}
    training = inspector.train(
        model, offline=True, context=64, precision="bf16-master", optimizer_impl="fused", sharding=sharding
    ).training
    return training.phases["optimizer"]


@pytest.mark.parametrize(("model", "tp", "pp", "dp", "ep", "distributed", "expected"), ROWS)
def test_states_are_what_megatrons_estimator_says(
    model: str, tp: int, pp: int, dp: int, ep: int, distributed: bool, expected: float
) -> None:
    assert held(model, tp, pp, dp, ep, distributed=distributed) == pytest.approx(expected, rel=2e-5)


@pytest.mark.parametrize(("model", "tp", "pp", "dp", "ep", "distributed", "expected"), UNEVEN)
def test_a_stage_has_whole_layers(
    model: str, tp: int, pp: int, dp: int, ep: int, distributed: bool, expected: float
) -> None:
    found = held(model, tp, pp, dp, ep, distributed=distributed)
    assert expected < found < expected * 1.05


def test_llama_3_405b_fits_its_gpus_as_its_paper_has_it() -> None:
    """arXiv 2407.21783, table 4: TP 8, PP 16, DP 128, 8,192 tokens, on H100s with 80 GB; sharded as FSDP without
    resharding after the forward pass, gradients summed in fp32. The paper trains without checkpointing: an interleaved
    schedule, a layer less in the first and the last stage (section 3.3.2), and tensors freed early, as compiled blocks
    free some. One of these alone does not fit."""
    sharding = {"tp": 8, "sp": True, "loss_parallel": True, "pp": 16, "fsdp": 128, "grad_accum": 16}
    sharding |= {"reshard": False, "reduce_fp32": True}
    settings = {"precision": "mixed", "optimizer_impl": "fused", "context": 8192, "compiled": True}
    for checkpointing, schedule, less, fits in (
        ("full", "1f1b", False, True),
        ("none", "1f1b", False, False),
        ("none", "1f1b", True, False),
        ("none", "interleaved", False, False),
        ("none", "interleaved", True, True),
    ):
        over = sharding | {"schedule": schedule, "ends_less": less}
        _, training = inspector.train(
            f"{LLAMA}405B", offline=True, sharding=over, checkpointing=checkpointing, **settings
        )
        assert training.peak is not None
        assert (training.peak < 79.19 * 2**30) is fits
        assert training.peak < 1.11 * 79.19 * 2**30


def test_dualpipe_holds_two_stages_and_one_microbatch_more_than_there_are() -> None:
    """DeepSeek-V3's paper, table 2: 2x parameters, PP + 1 activations of a stage, beside 1x and PP of 1F1B."""
    sharding = {"pp": 8, "grad_accum": 16}
    how = {"context": 2048, "checkpointing": "full", "optimizer": "sgd", "optimizer_impl": "fused"}
    once, twice = (
        inspector.train(f"{LLAMA}8B", offline=True, sharding=sharding | {"schedule": schedule}, **how).training
        for schedule in ("1f1b", "dualpipe")
    )
    blocks, embedding, norm = 4 * 218_112_000 * 2, 128_256 * 4096 * 2, 4096 * 2  # in bf16; four blocks a stage
    assert _size(once, "weights") == blocks + embedding
    assert _size(twice, "weights") == 2 * blocks + 2 * embedding + norm
    inputs = 2048 * 4096 * 2  # what a checkpointed block keeps
    assert twice.peak_phase == "loss"
    assert _size(twice, "activations") == pytest.approx((8 + 1) * 4 * inputs, abs=2 * inputs)  # and the head's input
    with pytest.raises(UsageError, match="pairs"):
        inspector.train(f"{LLAMA}8B", offline=True, sharding={"pp": 3, "grad_accum": 6, "schedule": "dualpipe"})
    for number in (7, 9, 6):
        with pytest.raises(UsageError, match="an even number, at least two a stage"):
            inspector.train(
                f"{LLAMA}8B", offline=True, sharding={"pp": 4, "grad_accum": number, "schedule": "dualpipe"}
            )


def test_keys_and_values_of_all_ranks_are_gathered_by_context_parallelism() -> None:
    """8 of them with 1,024 tokens each: of 32 heads of 128, 2 B x 2 x 9 x 1,024 x 4,096 in the forward pass, and its
    output in fp32."""
    whole, divided = (
        inspector.train(LLAMA + "8B", offline=True, context=1024 * cp, sharding={"fsdp": 8, "cp": cp}).training
        for cp in (1, 8)
    )
    steady = sum(_size(whole, name) - _size(divided, name) for name in ("weights", "optimizer_states"))
    more = divided.phases["forward"] - (whole.phases["forward"] - steady)
    assert more == 2 * 2 * 9 * 1024 * 4096 + 4 * 1024 * 4096


def _size(training: Any, name: str) -> int:
    return int(training.part(name).bytes)


def test_a_buffer_of_main_gradients_is_of_all_gpus() -> None:
    with pytest.raises(UsageError, match="not divided"):
        inspector.train(f"{LLAMA}8B", offline=True, sharding={"fsdp": 8, "main_grads": True})
