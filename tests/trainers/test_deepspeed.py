"""ZeRO's sizes as DeepSpeed's files, accelerate's and those that trainers ship say them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from inspector.errors import UnreadableModel, UsageError
from inspector.trainers import Run, read_run
from inspector.trainers.deepspeed import SHIPPED, shipped

AXOLOTL = "base_model: meta-llama/Llama-3.1-8B\nsequence_len: 2048\nmicro_batch_size: 1\nbf16: true\n"


def run_of(folder: Path, zero: dict[str, Any]) -> Run:
    (folder / "ds.json").write_text(json.dumps({"zero_optimization": zero}), "utf-8")
    (folder / "run.yml").write_text(f"{AXOLOTL}deepspeed: ds.json\n", "utf-8")
    return read_run([folder / "run.yml"], processes=8)


def test_sizes_are_read_auto_is_left_to_the_model_and_the_rest_are_deepspeeds_defaults(tmp_path: Path) -> None:
    run = run_of(
        tmp_path,
        {
            "stage": 3,
            "reduce_bucket_size": "auto",
            "stage3_prefetch_bucket_size": 2e7,
            "stage3_max_live_parameters": 3e8,
            "max_reuse_distance": 5,
            "overlap_comm": True,
        },
    )
    assert run.sharding["zero"] == 3
    assert run.sharding["ddp"] == 8
    assert run.sharding.get("reduce_bucket_size") is None
    assert run.sharding["prefetch_bucket_size"] == 20_000_000
    assert run.sharding["max_live_parameters"] == 300_000_000
    assert run.sharding["max_reuse_distance"] == 5
    assert run.sharding["overlap_comm"] is True
    assert run.sharding["param_persistence_threshold"] == 100_000
    assert run.sharding["sub_group_size"] == 10**9


def test_without_sizes_a_bucket_has_half_a_billion_values(tmp_path: Path) -> None:
    """DeepSpeedZeroConfig.reduce_bucket_size: 5e8, which is 1 GB in 16 bits, however small the model."""
    assert run_of(tmp_path, {"stage": 2}).sharding["reduce_bucket_size"] == 500_000_000


def test_accelerates_own_settings_make_a_config_without_sizes(tmp_path: Path) -> None:
    (tmp_path / "run.yml").write_text(AXOLOTL, "utf-8")
    lines = "distributed_type: DEEPSPEED\nnum_processes: 4\ndeepspeed_config:\n  zero_stage: 3\n"
    (tmp_path / "accelerate.yaml").write_text(lines, "utf-8")
    run = read_run([tmp_path / "run.yml", tmp_path / "accelerate.yaml"])
    assert run.sharding["prefetch_bucket_size"] == 50_000_000


def test_shipped_files_are_read_as_files_are() -> None:
    """Axolotl's zero3.json keeps and prefetches nothing; its zero2.json has the optimizer on the CPU."""
    three, two = shipped("deepspeed_configs/zero3.json"), shipped("deepspeed_configs/zero2.json")
    assert three is not None
    assert two is not None
    assert (three["max_live_parameters"], three["max_reuse_distance"], three["sub_group_size"]) == (0, 0, 0)
    assert three["reduce_bucket_size"] is None
    assert two["offload"] == ("optimizer",)
    assert two["reduce_bucket_size"] == 500_000_000
    assert all(shipped(f"deepspeed/{name}") is not None for name in SHIPPED)
    assert shipped("elsewhere/zero3.json") is None


@pytest.mark.parametrize(
    ("zero", "said"),
    [
        ({"stage": 3, "offload_optimizer": "cpu"}, "no object with a device"),
        ({"stage": 3, "zork": 5}, "zork"),
        ({"stage": 2, "reduce_bucket_size": -5}, "less than 0"),
        ({"stage": 3, "zero_hpz_partition_size": 8}, r"ZeRO\+\+"),
        ({"stage": 3, "mics_shard_size": 8}, "MiCS"),
        ({"stage": 3, "memory_efficient_linear": False}, "keep the gathered weights"),
        ({"stage": 3, "offload_optimizer": {"device": "cpu", "ratio": 0.5}}, "a part of the states"),
    ],
)
def test_what_deepspeed_would_refuse_or_we_do_not_model_is_named(
    tmp_path: Path, zero: dict[str, Any], said: str
) -> None:
    with pytest.raises(UnreadableModel, match=said):
        run_of(tmp_path, zero)


def test_deprecated_keys_still_offload(tmp_path: Path) -> None:
    assert run_of(tmp_path, {"stage": 2, "cpu_offload": True}).sharding["offload"] == ("optimizer",)


def test_keys_that_take_no_memory_are_known(tmp_path: Path) -> None:
    more = {"round_robin_gradients": True, "stage3_gather_16bit_weights_on_model_save": True, "mics_shard_size": -1}
    more |= {"offload_param": {"device": "none"}, "allgather_bucket_size": 5e8, "leaf_module": {"classes": ["A"]}}
    assert run_of(tmp_path, {"stage": 3, **more}).sharding["zero"] == 3


def test_a_whole_batch_that_no_run_has_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run.yml").write_text(f"{AXOLOTL}deepspeed: ds.json\n", "utf-8")
    for whole, fine in ((8, True), (7, False), ("auto", True)):
        (tmp_path / "ds.json").write_text(json.dumps({"zero_optimization": {"stage": 1}, "train_batch_size": whole}))
        if fine:
            assert read_run([tmp_path / "run.yml"], processes=8).sharding["ddp"] == 8
        else:
            with pytest.raises(UsageError, match="train_batch_size 7 is not 1 x 1 microbatches x 8 GPUs"):
                read_run([tmp_path / "run.yml"], processes=8)


def test_two_precisions_are_refused(tmp_path: Path) -> None:
    both = {"zero_optimization": {"stage": 1}, "bf16": {"enabled": True}, "fp16": {"enabled": True}}
    (tmp_path / "ds.json").write_text(json.dumps(both), "utf-8")
    (tmp_path / "run.yml").write_text(f"{AXOLOTL}deepspeed: ds.json\n", "utf-8")
    with pytest.raises(UsageError, match="bf16 and fp16"):
        read_run([tmp_path / "run.yml"], processes=8)
