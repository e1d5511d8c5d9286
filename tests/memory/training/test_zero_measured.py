"""ZeRO's rules against what DeepSpeed's own classes hold on two processes (tests/oracles/training_zero.py)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from inspector.memory.training import Sharding, TrainingSetup
from inspector.memory.training.zero import Zero

FOUND: dict[str, Any] = json.loads(Path(__file__).with_name("zero_measured.json").read_text("utf-8"))
HIDDEN, INNER, NORMS = 64, 160, 7 * 64
LARGEST = HIDDEN * INNER
NAMES = {
    "stage": "zero",
    "stage3_prefetch_bucket_size": "prefetch_bucket_size",
    "stage3_param_persistence_threshold": "param_persistence_threshold",
    "stage3_max_reuse_distance": "max_reuse_distance",
    "stage3_max_live_parameters": "max_live_parameters",
    "microbatches": "grad_accum",
}


def zero(name: str) -> Zero:
    """The same run by our rules: two GPUs, bf16 with fp32 masters."""
    case = dict(FOUND[name]["case"])
    variant = "foreach" if case.pop("foreach", True) else "for-loop"
    sharding = Sharding(ddp=2, **{NAMES.get(key, key): value for key, value in case.items()})
    setup = TrainingSetup(precision="bf16-master", optimizer_impl=variant)
    count = FOUND[name]["parameters"]
    return Zero(sharding, setup, 2, 2, count, count // 2, count, LARGEST, NORMS, HIDDEN)


def above(name: str, key: str, other: str) -> int:
    """How much more a run holds than another one."""
    return int(FOUND[name][key] - FOUND[other][key])


def test_a_second_bucket_is_held_where_communication_overlaps() -> None:
    more = above("stage 2, overlap", "backward", "stage 2")
    assert more == zero("stage 2, overlap").buckets - zero("stage 2").buckets == 2 * 100_000


def test_stage_3_always_has_its_bucket_and_its_gradients() -> None:
    """And weights, masters and states: 14 B a parameter of the share."""
    assert above("stage 3, bucket", "before", "stage 3") == 2 * 30_000
    one = zero("stage 3")
    shares = (2 + 12) * one.share
    gradients = one.step()[0]
    assert FOUND["stage 3"]["before"] == pytest.approx(shares + gradients + one.beside("optimizer"), abs=1000)


def test_small_parameters_stay_whole() -> None:
    more = above("stage 3, persistence", "before", "stage 3")
    assert more == pytest.approx(2 * zero("stage 3, persistence").persistent, abs=32)
    assert zero("stage 3").persistent == 0


@pytest.mark.parametrize("name", ["stage 3", "stage 3, reuse", "stage 3, far reuse", "stage 3, prefetch"])
def test_what_is_gathered_when_the_forward_pass_turns(name: str) -> None:
    """To a whole parameter."""
    gathered = FOUND[name]["gathered"]
    assert gathered == pytest.approx(zero(name).gathered("loss"), abs=LARGEST)
    assert above(name, "kept", "stage 3") == pytest.approx(2 * gathered, abs=300)


@pytest.mark.parametrize("name", ["stage 2", "stage 2, overlap", "stage 3", "stage 3, sub-group", "stage 3, loop"])
def test_the_step_puts_gradients_together_beside_the_old_ones(name: str) -> None:
    """Above what is there after it. Sub-groups are of whole parameters, so they are a little larger than was asked."""
    one = zero(name)
    gradients, rest, _ = one.step()
    there = gradients + one.beside("optimizer") if one.stage == 3 else 0
    measured = FOUND[name]["step"] - FOUND[name]["after"]
    assert measured == pytest.approx(gradients + rest - there, rel=0.1 if "group" in name else 0.01)


def test_earlier_microbatches_leave_their_share_of_the_gradients() -> None:
    """Tensors that lie across the border of the share are whole."""
    more = above("stage 2, accumulated", "before", "stage 2")
    assert more == pytest.approx(2 * zero("stage 2").share, rel=0.15)
