"""DeepSpeed's JSON, and accelerate's YAML: how the GPUs of a run work together."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from inspector.errors import UsageError
from inspector.trainers import common
from inspector.trainers.reading import Reading, Trainer

SIZES: dict[str, tuple[str, int | bool]] = {
    "reduce_bucket_size": ("reduce_bucket_size", 5 * 10**8),
    "overlap_comm": ("overlap_comm", False),
    "contiguous_gradients": ("contiguous_gradients", True),
    "stage3_prefetch_bucket_size": ("prefetch_bucket_size", 5 * 10**7),
    "stage3_param_persistence_threshold": ("param_persistence_threshold", 10**5),
    "stage3_max_live_parameters": ("max_live_parameters", 10**9),
    "stage3_max_reuse_distance": ("max_reuse_distance", 10**9),
    "sub_group_size": ("sub_group_size", 10**9),
}
"""Key of `zero_optimization` -> our setting of ZeRO, and DeepSpeed's default. Those with "stage3_" may be without it
(DeepSpeedConfigModel: populate_by_name)."""

WITHOUT_MEMORY = (
    *("allgather_partitions", "allgather_bucket_size", "reduce_scatter", "use_multi_rank_bucket_allreduce"),
    *("load_from_fp32_weights", "elastic_checkpoint", "cpu_offload_use_pin_memory", "offload_optimizer.*"),
    *("offload_param.*", "*model_persistence_threshold", "*gather_16bit_weights_on_model_save"),
    *("stage3_gather_fp16_weights_on_model_save", "*module_granularity_threshold", "*use_all_reduce_for_fetch_params"),
    *("*allgather_sequential", "ignore_unused_parameters", "legacy_stage1", "round_robin_gradients"),
    *("pipeline_loading_checkpoint", "override_module_apply", "log_trace_cache_warnings", "enable_sanity_checks"),
    *("save_muon_momentum_buffer_in_memory", "leaf_module.*", "mics_hierarchical_params_gather", "max_live_parameters"),
    *("max_reuse_distance", "prefetch_bucket_size", "param_persistence_threshold", *SIZES),
)
"""Keys of `zero_optimization` that take no memory of the GPU, or that only another stage reads."""

AUTO = ("reduce_bucket_size", "stage3_prefetch_bucket_size", "stage3_param_persistence_threshold")
"""Keys that transformers sets by the model's hidden size where they are "auto" (integrations/deepspeed.py)."""

_AXOLOTL_2 = {"stage": 2, "offload_optimizer.device": "cpu", "contiguous_gradients": True, "overlap_comm": True}
_AXOLOTL_3 = {
    **{"stage": 3, "overlap_comm": True, "contiguous_gradients": True, "sub_group_size": 0},
    **dict.fromkeys(AUTO, "auto"),
    **{"max_live_parameters": 0, "max_reuse_distance": 0},
}
_FACTORY_3 = {"stage": 3, "overlap_comm": False, **dict.fromkeys(AUTO, "auto")}
_BOTH = {"offload_optimizer.device": "cpu", "offload_param.device": "cpu"}
SHIPPED: dict[str, dict[str, Any]] = {
    "zero1.json": {"stage": 1, "overlap_comm": True},
    "zero1_torch_compile.json": {"stage": 1, "overlap_comm": True},
    "zero2.json": _AXOLOTL_2,
    "zero2_torch_compile.json": _AXOLOTL_2,
    "zero3.json": _AXOLOTL_3,
    "zero3_bf16.json": _AXOLOTL_3,
    "zero3_bf16_cpuoffload_all.json": _AXOLOTL_3 | _BOTH,
    "zero3_bf16_cpuoffload_params.json": _AXOLOTL_3 | {"offload_param.device": "cpu"},
    "ds_z0_config.json": {"stage": 0},
    "ds_z2_config.json": {"stage": 2, "reduce_bucket_size": 5 * 10**8},
    "ds_z2_offload_config.json": {"stage": 2, "reduce_bucket_size": 5 * 10**8, "offload_optimizer.device": "cpu"},
    "ds_z3_config.json": _FACTORY_3,
    "ds_z3_offload_config.json": _FACTORY_3 | _BOTH,
}
"""What files that Axolotl (deepspeed_configs/, 067b021) and LLaMA-Factory (examples/deepspeed/, 1d6e8b2) ship say of
ZeRO, by their names."""


def shipped(path: str) -> dict[str, Any] | None:
    """The settings of a file that a trainer ships, where it lies in the trainer's own folder."""
    parts = PurePosixPath(path.replace("\\", "/")).parts
    known = {"deepspeed_configs", "deepspeed"}
    found = SHIPPED.get(parts[-1]) if len(parts) > 1 and parts[-2] in known else None
    return None if found is None else told(found)


def told(values: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that values of `zero_optimization` say."""
    reading = Reading(DEEPSPEED, {f"zero_optimization.{key}": value for key, value in values.items()})
    _read_zero(reading)
    return reading.settings


def _read_zero(reading: Reading) -> None:
    """What `zero_optimization` says: the stage, what is offloaded, sizes."""
    stage = reading.whole("zero_optimization.stage", 0)
    reading.put("zero", stage, "zero_optimization.stage")
    away = []
    for part, ours, old in (
        ("offload_optimizer", "optimizer", "cpu_offload"),
        ("offload_param", "params", "cpu_offload_param"),
    ):
        device = str(reading.get(f"zero_optimization.{part}.device", "none"))
        if reading.get(f"zero_optimization.{part}") not in (None, False):
            reading.refuse(f"zero_optimization.{part}", "no object with a device, which DeepSpeed takes")
        if reading.flag(f"zero_optimization.{old}"):  # deprecated, and still taken
            device = "cpu"
        if device == "cpu":
            away.append(ours)
        elif device != "none":
            reading.refuse(f"zero_optimization.{part}.device", f"offload to {device} by a file: --nvme {ours} says it")
    if away:
        reading.put("offload", tuple(away), "zero_optimization.offload_optimizer.device")
    if reading.get("zero_optimization.offload_optimizer.ratio", 1) != 1:
        reading.refuse("zero_optimization.offload_optimizer.ratio", "a part of the states on the CPU")
    if not reading.flag("zero_optimization.memory_efficient_linear", default=True) and stage == 3:
        reading.refuse("zero_optimization.memory_efficient_linear", "linear layers that keep the gathered weights")
    for key in ("mics_shard_size", "zenflow"):
        if reading.get(f"zero_optimization.{key}", -1) != -1:
            reading.refuse(f"zero_optimization.{key}", "MiCS" if key.startswith("mics") else "ZenFlow")
    if stage:
        _read_sizes(reading)


def _read_sizes(reading: Reading) -> None:
    """Sizes of buckets and of what is live: what is not there is DeepSpeed's default."""
    for name, (ours, default) in SIZES.items():
        long, short = f"zero_optimization.{name}", f"zero_optimization.{name.removeprefix('stage3_')}"
        key = long if reading.get(long) is not None or reading.get(short) is None else short
        value = reading.get(key)
        if value is None or (value == "auto" and name not in AUTO):
            reading.assume(ours, default, "DeepSpeed's default")
        elif value == "auto":
            reading.put(ours, None, key)
        elif isinstance(default, bool):
            reading.put(ours, reading.flag(key), key)
        elif (number := reading.whole(key, default)) < 0:
            reading.refuse(key, f"{number} is less than 0")
        else:
            reading.put(ours, number, key)


def read_deepspeed(reading: Reading) -> None:
    """runtime/config.py and runtime/zero/config.py of DeepSpeed 0.19."""
    reading.spread = "zero"
    if reading.values.get("bf16.enabled") is True and reading.values.get("fp16.enabled") is True:
        raise UsageError("DeepSpeed's file enables bf16 and fp16", "DeepSpeed takes one of them.")
    _read_zero(reading)
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
            stage = reading.whole("deepspeed_config.zero_stage", 2)
            reading.put("zero", stage, "deepspeed_config.zero_stage")
            if stage:  # accelerate's DeepSpeedPlugin makes a config without sizes
                _read_sizes(reading)
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
        *("bf16.*", "fp16.*", "gradient_clipping", "steps_per_print", "train_batch_size"),
        *(f"zero_optimization.{name}" for name in WITHOUT_MEMORY),
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
        "zero_optimization.zeropp_*": "ZeRO++",
        "zero_optimization.zenflow.*": "ZenFlow",
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
