"""DeepSpeed's JSON, and accelerate's YAML: how the GPUs of a run work together."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

from inspector.trainers import common
from inspector.trainers.reading import Reading, Trainer

SHIPPED: dict[str, dict[str, Any]] = {
    "zero1.json": {"zero": 1},
    "zero1_torch_compile.json": {"zero": 1},
    "zero2.json": {"zero": 2},
    "zero2_torch_compile.json": {"zero": 2},
    "zero3.json": {"zero": 3},
    "zero3_bf16.json": {"zero": 3},
    "zero3_bf16_cpuoffload_all.json": {"zero": 3, "offload": ("optimizer", "params")},
    "zero3_bf16_cpuoffload_params.json": {"zero": 3, "offload": ("params",)},
    "ds_z0_config.json": {"zero": 0},
    "ds_z2_config.json": {"zero": 2},
    "ds_z2_offload_config.json": {"zero": 2, "offload": ("optimizer",)},
    "ds_z3_config.json": {"zero": 3},
    "ds_z3_offload_config.json": {"zero": 3, "offload": ("optimizer", "params")},
}
"""Files that Axolotl (deepspeed_configs/) and LLaMA-Factory (examples/deepspeed/) ship, by their names."""


def shipped(path: str) -> dict[str, Any] | None:
    """What a file that a trainer ships says, where it lies in the trainer's own folder."""
    parts = PurePosixPath(path.replace("\\", "/")).parts
    known = {"deepspeed_configs", "deepspeed"}
    return SHIPPED.get(parts[-1]) if len(parts) > 1 and parts[-2] in known else None


def read_deepspeed(reading: Reading) -> None:
    """runtime/config.py and runtime/zero/config.py of DeepSpeed 0.19."""
    reading.spread = "zero"
    stage = reading.whole("zero_optimization.stage", 0)
    reading.put("zero", stage, "zero_optimization.stage")
    away = []
    for part, ours in (("offload_optimizer", "optimizer"), ("offload_param", "params")):
        device = str(reading.get(f"zero_optimization.{part}.device", "none"))
        if device == "cpu":
            away.append(ours)
        elif device != "none":
            reading.refuse(f"zero_optimization.{part}.device", f"offload to {device} by a file: --nvme {ours} says it")
    if away:
        reading.put("offload", tuple(away), "zero_optimization.offload_optimizer.device")
    for key, ours in (("train_micro_batch_size_per_gpu", "batch"), ("gradient_accumulation_steps", "grad_accum")):
        value = reading.get(key)
        if isinstance(value, int):
            reading.put(ours, value, key)
    kind = str(reading.get("optimizer.type", "")).lower()
    if kind in ("adam", "adamw", "fusedadam"):
        reading.put("optimizer", "apex-adam", "optimizer.type")
    elif kind:
        reading.refuse("optimizer.type", f"DeepSpeed's optimizer {kind}")


def read_accelerate(reading: Reading) -> None:
    """accelerate 1.x, commands/config and utils/dataclasses.py."""
    reading.processes = reading.whole("num_processes", 1)
    kind = str(reading.get("distributed_type", "NO")).upper()
    if kind == "DEEPSPEED":
        reading.spread = "zero"
        path = reading.get("deepspeed_config.deepspeed_config_file")
        if path is not None:
            reading.others["deepspeed_config.deepspeed_config_file"] = str(path)
        else:
            reading.put("zero", reading.whole("deepspeed_config.zero_stage", 2), "deepspeed_config.zero_stage")
        names = (("offload_optimizer_device", "optimizer"), ("offload_param_device", "params"))
        away = tuple(ours for key, ours in names if str(reading.get(f"deepspeed_config.{key}")).lower() == "cpu")
        if away:
            reading.put("offload", away, "deepspeed_config.offload_optimizer_device")
        accumulated = reading.get("deepspeed_config.gradient_accumulation_steps")
        if isinstance(accumulated, int):
            reading.put("grad_accum", accumulated, "deepspeed_config.gradient_accumulation_steps")
    elif kind == "FSDP":
        reading.spread = "fsdp"
        common.fsdp_config(reading)
    elif kind not in ("NO", "MULTI_GPU", "NONE"):
        reading.refuse("distributed_type", f"distribution by {kind}")
    # Ulysses divides sequences as context parallelism does, but within attention, where it divides heads.
    for name, ours in (("tp_size", "tp"), ("cp_size", "cp"), ("sp_size", "cp"), ("dp_replicate_size", "hsdp")):
        common.degree(reading, ours, f"parallelism_config.parallelism_config_{name}")


DEEPSPEED = Trainer(
    "deepspeed",
    "DeepSpeed",
    "DeepSpeed 0.19, runtime/config.py and runtime/zero/config.py",
    (frozenset({"zero_optimization.stage"}), frozenset({"train_micro_batch_size_per_gpu"})),
    (
        *("bf16.*", "fp16.*", "zero_optimization.*", "gradient_clipping", "steps_per_print", "train_batch_size"),
        *("wall_clock_breakdown", "zero_allow_untrusted_gradient*", "zero_force_ds_cpu_optimizer", "scheduler.*"),
        *("optimizer.params.*", "communication_data_type", "prescale_gradients", "zero_allow_untested_optimizer"),
    ),
    {
        "compression_training.*": "compression",
        "tensor_parallel.*": "AutoTP",
        "fp8.*": "fp8",
        "activation_checkpointing.*": "DeepSpeed's own checkpointing",
        "zero_optimization.zero_hpz_partition_size": "ZeRO++",
        "zero_optimization.zero_quantized_*": "ZeRO++",
    },
    read_deepspeed,
    beside=True,
)

ACCELERATE = Trainer(
    "accelerate",
    "accelerate",
    "accelerate 1.x, commands/config and utils/dataclasses.py",
    (frozenset({"distributed_type", "num_processes"}), frozenset({"compute_environment", "distributed_type"})),
    (
        *("compute_environment", "debug", "downcast_bf16", "machine_rank", "main_*", "mixed_precision", "num_machines"),
        *("rdzv_backend", "same_network", "tpu_*", "use_cpu", "enable_cpu_affinity", "gpu_ids", "deepspeed_config.*"),
        *("dynamo_config.*", "parallelism_config.*_dp_shard_size", "parallelism_config.*_cp_comm_strategy"),
        *("parallelism_config.*_sp_backend", "parallelism_config.*_sp_seq_length*", "parallelism_config.*_sp_attn*"),
    ),
    {"fp8_config.*": "accelerate's fp8", "megatron_lm_config.*": "Megatron-LM", "ipex_config.*": "IPEX"},
    read_accelerate,
    beside=True,
)
