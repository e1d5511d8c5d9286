"""torchtitan's TOML, as it was until its configs became Python (end of 2025)."""

from __future__ import annotations

from inspector.trainers.reading import Reading, Trainer

IGNORED = (
    *("job", "profiling", "metrics", "lr_scheduler", "checkpoint", "comm", "validation", "memory_estimation", "debug"),
    *("model.hf_assets_path", "model.tokenizer_path", "model.norm_type", "model.print_after_conversion"),
    *("optimizer.lr", "optimizer.eps", "optimizer.beta*", "optimizer.weight_decay", "training.steps", "training.seed"),
    *("training.max_norm", "training.warmup_steps", "training.dataset*", "training.deterministic", "training.gc_*"),
    *(
        "training.global_batch_size",
        "parallelism.enable_compiled_autograd",
        "parallelism.context_parallel_rotate_method",
    ),
    *("float8.precompute_float8_dynamic_scale_for_fsdp", "float8.filter_fqns", "float8.emulate", "mx", "experimental"),
    *("parallelism.enable_async_tensor_parallel", "parallelism.expert_tensor_parallel_degree"),
    *("activation_checkpoint.per_op_*", "activation_checkpoint.early_stop", "fault_tolerance.*_ms"),
)

UNMODELLED = {
    "fault_tolerance.enable": "fault tolerance by replicas",
    "parallelism.pipeline_parallel_split_points": "stages of a pipeline by hand",
    "parallelism.pipeline_parallel_schedule_csv": "a schedule of a file",
    "parallelism.module_fqns_per_model_part": "stages of a pipeline by hand",
    "parallelism.pipeline_parallel_layers_per_stage": "stages of a pipeline by hand",
    "float8.moe_fqns*": "experts in fp8",
    "experimental.custom_*": "code of one's own",
}

MODELS = {
    ("llama3", "8b"): "meta-llama/Llama-3.1-8B",
    ("llama3", "70b"): "meta-llama/Llama-3.3-70B-Instruct",
    ("qwen3", "0.6b"): "Qwen/Qwen3-0.6B",
}


def read(reading: Reading) -> None:
    """torchtitan/config/job_config.py (defaults) and models/llama3/infra/parallelize.py."""
    kind, flavor = str(reading.get("model.name", "")), str(reading.get("model.flavor", ""))
    if (kind, flavor.lower()) in MODELS:
        reading.put("model", MODELS[kind, flavor.lower()], "model.flavor")
    else:
        reading.unnamed = f"model.flavor {flavor} of {kind}"
    reading.take("context", "training.seq_len", 2048)
    key = "training.batch_size" if "training.batch_size" in reading.values else "training.local_batch_size"
    reading.take("batch", key, 8)
    reading.assume("method", "full", "torchtitan trains all parameters")
    reading.assume("attention", "sdpa")
    if str(reading.get("training.mixed_precision_param", "bfloat16")) == "bfloat16":
        reading.assume("precision", "mixed", "bf16 over fp32 shards (mixed_precision_param)")
    else:
        reading.put("precision", "fp32", "training.mixed_precision_param")
    reading.taken.add("training.mixed_precision_reduce")
    name = str(reading.get("optimizer.name", "AdamW"))
    if name not in ("AdamW", "Adam"):
        reading.refuse("optimizer.name", f"the optimizer {name}")
    reading.assume("optimizer", "adamw")
    variant = "fused" if reading.flag("optimizer.fused") else reading.get("optimizer.implementation", "fused")
    reading.settings["optimizer_impl"] = str(variant)
    if reading.flag("optimizer.early_step_in_backward"):
        reading.put("optimizer_in_backward", True, "optimizer.early_step_in_backward")
    _checkpointing(reading)
    _compiled(reading)
    _spread(reading)


def _checkpointing(reading: Reading) -> None:
    mode = str(reading.get("activation_checkpoint.mode", "selective"))
    every = str(reading.get("activation_checkpoint.selective_ac_option", "2"))
    if mode == "selective" and every != "op":
        reading.put("checkpointing", "selective", "activation_checkpoint.mode")
        reading.settings["checkpoint_every"] = int(every) if every.isdigit() else 2
    elif mode in ("none", "full", "selective"):
        value = "selective-op" if mode == "selective" else mode
        reading.put("checkpointing", value, "activation_checkpoint.mode")
    else:
        reading.refuse("activation_checkpoint.mode", f"checkpointing by {mode}")


def _compiled(reading: Reading) -> None:
    parts = (reading.names("compile.components") or "model,loss").split(",")
    on = reading.flag("compile.enable") or reading.flag("training.compile")
    if on and "model" in parts:
        reading.put("compiled", True, "compile.enable")
    if on and "loss" in parts:
        reading.put("logits", "compiled-loss", "compile.components")
    else:
        reading.assume("logits", "all")
    converters = reading.names("model.converters").split(",")
    if any("float8" in each for each in converters) or reading.flag("float8.enable_float8_linear"):
        reading.put("fp8", "torchao", "model.converters")
        if str(reading.get("float8.recipe_name", "tensorwise")) != "tensorwise":
            reading.refuse("float8.recipe_name", "fp8 by rows")
    if any("mx" in each for each in converters):
        reading.refuse("model.converters", "MX formats")
    reading.taken |= {"float8.enable_fsdp_float8_all_gather", "float8.recipe_name", "float8.enable_float8_linear"}


def _spread(reading: Reading) -> None:
    reading.spread = "fsdp"
    # Since July 2025 (83e6941) embedding and head are units of their own, as models/llama3/infra/parallelize.py has it.
    reading.settings |= {"reduce_fp32": True, "shard_embeddings": True}
    for key, ours in (
        ("parallelism.data_parallel_replicate_degree", "hsdp"),
        ("parallelism.tensor_parallel_degree", "tp"),
        ("parallelism.context_parallel_degree", "cp"),
        ("parallelism.pipeline_parallel_degree", "pp"),
        ("parallelism.expert_parallel_degree", "ep"),
    ):
        degree = reading.whole(key, 1)
        if degree > 1:
            reading.put(ours, degree, key)
        elif degree < 1:
            reading.refuse(key, f"a degree of {degree}")
    key = "parallelism.data_parallel_shard_degree"
    shard = reading.whole(key, -1)
    if shard > 0:
        reading.put("fsdp", shard, key)
    elif shard != -1:
        reading.refuse(key, f"a degree of {shard}")
    if reading.settings.get("tp", 1) > 1:
        reading.settings["sp"] = True
        reading.settings["loss_parallel"] = not reading.flag("parallelism.disable_loss_parallel")
    reading.taken.add("parallelism.disable_loss_parallel")
    if reading.settings.get("pp", 1) > 1:
        size = reading.whole("parallelism.pipeline_parallel_microbatch_size", 1)
        batch = reading.settings["batch"]
        schedule = str(reading.get("parallelism.pipeline_parallel_schedule", "1F1B")).lower()
        known = {"1f1b": "1f1b", "interleaved1f1b": "interleaved", "gpipe": "gpipe"}
        if schedule not in known:
            reading.refuse("parallelism.pipeline_parallel_schedule", f"the schedule {schedule}")
        reading.settings |= {"batch": size, "grad_accum": batch // max(size, 1), "reshard": False}
        reading.settings |= {"schedule": known.get(schedule, "1f1b"), "torch_pipeline": True}
        ends = [f"parallelism.pipeline_parallel_{name}_stage_less_layers" for name in ("first", "last")]
        less = [reading.whole(key, 1) for key in ends]
        if less not in ([0, 0], [1, 1]):
            reading.refuse(ends[0], f"{less[0]} layers less in the first stage, {less[1]} in the last")
        reading.settings["ends_less"] = less == [1, 1]
    again = str(reading.get("parallelism.fsdp_reshard_after_forward", "default"))
    if again == "never":
        reading.put("reshard", False, "parallelism.fsdp_reshard_after_forward")
    if reading.flag("float8.enable_fsdp_float8_all_gather") and "fp8" in reading.settings:
        reading.put("fp8_gather", True, "float8.enable_fsdp_float8_all_gather")
    if reading.flag("training.enable_cpu_offload"):
        reading.put("offload", ("params",), "training.enable_cpu_offload")


TRAINER = Trainer(
    "torchtitan",
    "torchtitan",
    "pytorch/torchtitan d240be0 (2025-09), torchtitan/config/job_config.py",
    (frozenset({"training.seq_len", "model.flavor"}), frozenset({"model.flavor", "model.name"})),
    IGNORED,
    UNMODELLED,
    read,
    {
        "--batch": {"training.local_batch_size": "{}"},
        "--grad-accum": {},  # it has no key for its steps
        "--context": {"training.seq_len": "{}"},
        "--checkpointing full": {"activation_checkpoint.mode": '"full"'},
        "--optimizer-impl fused": {"optimizer.implementation": '"fused"'},
    },
)
