"""Optimizer states against the optimizers themselves: torch's and transformers', stepped once on a small model."""

from __future__ import annotations

import math
from typing import Any

import pytest

import inspector
from inspector.errors import UsageError
from inspector.memory import Workload
from inspector.memory.training import TrainingSetup, read_weights, training_estimate
from inspector.memory.training.optimizers import Trained, optimizer_states, paged_bytes, step_temporaries

LINEAR = ((48, 32), (32, 80))
REST = ((96, 32), (32,), (7,))
SHAPES = Trained(
    sum(math.prod(shape) for shape in LINEAR + REST),
    96 * 32,
    tuple((shape, 1) for shape in REST),
    tuple((shape, 1) for shape in LINEAR),
)
TOTAL = 48 * 32 + 32 * 80 + 96 * 32 + 32 + 7


def stepped(optimizer: str, dtype: Any) -> int:
    """Bytes of the state tensors with more than one value after a step."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    made = [torch.nn.Parameter(torch.randn(shape, dtype=dtype)) for shape in LINEAR + REST]
    groups = {
        "adamw": [(torch.optim.AdamW, made)],
        "sgd": [(torch.optim.SGD, made)],
        "sgd-momentum": [(lambda given: torch.optim.SGD(given, momentum=0.9), made)],
        "adafactor": [(transformers.Adafactor, made)],
        "adafactor-torch": [(torch.optim.Adafactor, made)],
        "muon": [(torch.optim.Muon, made[: len(LINEAR)]), (torch.optim.AdamW, made[len(LINEAR) :])],
    }[optimizer]
    size = 0
    for parameter in made:
        parameter.grad = torch.randn_like(parameter)
    for build, parameters in groups:
        real = build(parameters)
        real.step()
        for state in real.state.values():
            size += sum(
                value.numel() * value.element_size()
                for value in state.values()
                if isinstance(value, torch.Tensor) and value.dim() > 0
            )
    return size


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
@pytest.mark.parametrize("optimizer", ["adamw", "sgd", "sgd-momentum", "adafactor", "adafactor-torch", "muon"])
def test_states_are_those_of_the_real_optimizer(optimizer: str, precision: str) -> None:
    torch = pytest.importorskip("torch")
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    setup = TrainingSetup(optimizer=optimizer, precision=precision)
    assert optimizer_states(setup, SHAPES).bytes == stepped(optimizer, dtype)


def size(optimizer: str, trained: Trained = SHAPES, **more: Any) -> int | None:
    return optimizer_states(TrainingSetup(optimizer=optimizer, **more), trained).bytes


def test_states_worked_out_by_hand() -> None:
    """fp32 row and column sums of three matrices, and two vectors whole; half of AdamW's values for Muon's matrices."""
    factored = (48 + 32) + (32 + 80) + (96 + 32) + 32 + 7
    assert size("adafactor") == 4 * factored
    assert size("adafactor-torch") == 2 * factored
    assert size("muon") == 2 * (48 * 32 + 32 * 80) + 2 * 2 * (96 * 32 + 32 + 7)
    assert size("custom", optimizer_bytes=2.5) == math.ceil(2.5 * TOTAL)
    assert size("sgd") == 0
    assert size("adamw", precision="bf16-master") == 12 * TOTAL


def test_low_rank_states_hold_two_moments_and_a_projection() -> None:
    """Rank 4 on 48 x 32 and 32 x 80; the rest as AdamW."""
    low = (2 * 4 * 48 + 4 * 32) + (2 * 4 * 80 + 4 * 32)
    assert size("galore", optimizer_rank=4) == 2 * (low + 2 * (96 * 32 + 32 + 7)) == size("apollo", optimizer_rank=4)


def test_8_bit_states_leave_small_tensors_in_fp32_and_paged_ones_leave_the_gpu() -> None:
    """4,095 values stay fp32; 4,096 have 16 scales; 200,000 are paged, their 782 scales are not."""
    trained = Trained(4095 + 4096 + 200_000, 200_000, (((4095,), 1), ((4096,), 1)), (((200, 1000), 1),))
    small, medium, large = 2 * 4 * 4095, 2 * (4096 + 4 * 16), 2 * (200_000 + 4 * 782)
    assert size("adamw-8bit", trained) == small + medium + large
    assert size("paged-adamw-8bit", trained) == small + medium + 2 * 4 * 782
    assert paged_bytes(TrainingSetup(optimizer="paged-adamw-8bit"), trained) == 2 * 200_000
    assert size("lion-8bit", trained) == (small + medium + large) // 2
    assert size("paged-adamw", trained) == 2 * 4 * (4095 + 4096)


def test_states_by_source_worked_out_by_hand() -> None:
    """48 x 32, 32 x 80 and 96 x 32, and vectors of 32 and 7."""
    assert size("apex-adam") == 2 * 4 * TOTAL
    assert size("apex-lamb", precision="fp32") == 2 * 4 * TOTAL
    assert size("schedule-free-adamw") == 2 * 2 * TOTAL
    assert size("adam-mini") == 2 * TOTAL + 4 * (48 + 32 + 96) + 2 * 4
    squares = (48**2 + 32**2) + (32**2 + 80**2) + (96**2 + 32**2)
    assert size("soap", precision="fp32") == 2 * 4 * TOTAL + 2 * 4 * squares
    assert size("shampoo") == 2 * TOTAL + 2 * 4 * (squares + 32**2 + 7**2)
    wide = Trained(3000 * 10, 3000 * 10, (((3000, 10), 1),))
    assert size("shampoo", wide) == 2 * 30_000 + 2 * 4 * (2 * 1024**2 + 952**2 + 3 * 10**2)


def test_optimizers_that_step_fp32_alone_refuse_bf16() -> None:
    for optimizer in ("apex-lamb", "soap"):
        with pytest.raises(UsageError, match="bf16"):
            TrainingSetup(optimizer=optimizer)
    with pytest.raises(UsageError, match="fused"):
        TrainingSetup(optimizer="adafactor-torch", optimizer_impl="fused")


def test_what_depends_on_shapes_is_unknown_without_them() -> None:
    for optimizer in ("adafactor", "adafactor-torch", "muon", "galore", "apollo", "adam-mini", "shampoo"):
        assert size(optimizer, Trained(TOTAL, 96 * 32)) is None


def test_adafactors_foreach_makes_all_updates_at_once() -> None:
    """Llama 3 8B, 2,048 tokens, bf16, checkpointed: 48.19 GB were measured under foreach; its loop, the default,
    makes one update at a time."""
    found = inspector.inspect("meta-llama/Meta-Llama-3-8B", offline=True)
    weights = read_weights(found.checkpoint, found.model.architecture)

    def peak(how: str) -> float:
        setup = TrainingSetup(optimizer="adafactor-torch", optimizer_impl=how, checkpointing="full")
        return (training_estimate(found.model, Workload(2048), setup, tensors=weights).peak or 0) / 1e9

    assert peak("foreach") == pytest.approx(48.19, rel=0.001)
    assert peak("auto") == peak("for-loop") < 34


def test_temporaries_of_the_step() -> None:
    def made(optimizer: str, how: str = "foreach", precision: str = "bf16") -> int | None:
        setup = TrainingSetup(optimizer=optimizer, optimizer_impl=how, precision=precision)
        return step_temporaries(setup, SHAPES).bytes

    assert made("adamw") == 2 * TOTAL
    assert made("adamw", "for-loop") == 2 * 2 * 96 * 32
    assert made("adamw", "fused") == made("lion") == made("sgd") == 0
    assert made("schedule-free-adamw") == 2 * TOTAL
    assert made("adam-mini") == 2 * 2 * 96 * 32
    assert made("apex-adam") == 0
    assert made("adafactor-torch", "auto") == 2 * 96 * 32
    assert made("adafactor-torch", "foreach") == 2 * TOTAL
    assert made("adafactor") == 16 * 96 * 32
    assert made("adafactor", precision="fp32") == 8 * 96 * 32
