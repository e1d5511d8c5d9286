"""ZeRO's sizes as DeepSpeed's files, accelerate's and those that trainers ship say them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

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
