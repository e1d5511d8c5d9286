"""What the trainers over transformers' Trainer have in common: its TrainingArguments, peft's adapters, kernels."""

from __future__ import annotations

import re
from typing import Any

from inspector.trainers.reading import NO, Reading

OPTIMIZERS: dict[str, tuple[str, str]] = {
    "adamw_torch": ("adamw", "auto"),
    "adamw_hf": ("adamw", "auto"),
    "adamw_torch_fused": ("adamw", "fused"),
    "adamw_apex_fused": ("apex-adam", "auto"),
    "adamw_8bit": ("adamw-8bit", "auto"),
    "adamw_bnb_8bit": ("adamw-8bit", "auto"),
    "paged_adamw": ("paged-adamw", "auto"),
    "paged_adamw_32bit": ("paged-adamw", "auto"),
    "paged_adamw_8bit": ("paged-adamw-8bit", "auto"),
    "adamw_torch_8bit": ("torchao-adamw-8bit", "auto"),
    "adamw_torch_4bit": ("torchao-adamw-4bit", "auto"),
    "adafactor": ("adafactor", "auto"),
    "lion_32bit": ("lion", "auto"),
    "lion_8bit": ("lion-8bit", "auto"),
    "paged_lion_32bit": ("paged-lion", "auto"),
    "paged_lion_8bit": ("paged-lion-8bit", "auto"),
    "sgd": ("sgd", "auto"),
    "galore_adamw": ("galore", "auto"),
    "apollo_adamw": ("apollo", "auto"),
    "schedule_free_adamw": ("schedule-free-adamw", "auto"),
    "muon": ("muon", "auto"),
}
"""transformers' OptimizerNames (5.24, training_args.py) -> ours, and torch's variant."""

ATTENTION = {
    "eager": "eager",
    "sdpa": "sdpa",
    "auto": "sdpa",
    "flash_attention_2": "flash",
    "flash_attention_3": "flash",
    "kernels-community/flash-attn2": "flash",
    "kernels-community/flash-attn3": "flash",
    "kernels-community/vllm-flash-attn3": "flash",
    "fa2": "flash",
    "disabled": "eager",
}
"""Names of attention implementations (transformers' attn_implementation, LLaMA-Factory's flash_attn) -> ours."""

TRAINING_ARGUMENTS = (
    *("output_dir", "overwrite_output_dir", "do_*", "eval_*", "evaluation_strategy", "evals_per_epoch", "logging_*"),
    *("save_*", "saves_per_epoch", "lr_*", "learning_rate", "warmup_*", "adam_*", "weight_decay", "max_grad_norm"),
    *("num_train_epochs", "num_epochs", "max_steps", "max_train_samples", "seed", "data_seed", "full_determinism"),
    *("report_to", "run_name", "project", "hub_*", "push_to_hub*", "dataloader_*", "remove_unused_columns", "tf32"),
    *("resume_from_checkpoint", "load_best_model_at_end", "metric_for_best_model", "greater_is_better", "log_*"),
    *("ddp_*", "per_device_eval_batch_size", "group_by_length", "include_*", "disable_tqdm", "label_names"),
    *(
        "use_cpu",
        "prediction_loss_only",
        "overwrite_cache",
        "trust_remote_code",
        "ignore_data_skip",
        "length_column_name",
    ),
    *("average_tokens_across_devices", "batch_eval_metrics", "gradient_checkpointing_kwargs", "label_smoothing_factor"),
    *(
        "restore_callback_states_from_checkpoint",
        "accelerator_config*",
        "skip_memory_metrics",
        "torchdynamo",
        "save_safetensors",
        "debug",
    ),
)
"""Names of transformers' TrainingArguments (5.24) that the training step's memory does not depend on."""

LIGER = "Liger's kernels of norms, rotary positions and MLPs keep less than is counted: a bound"


def optimizer(reading: Reading, key: str, default: str) -> None:
    """The optimizer by transformers' name."""
    name = str(reading.get(key, default)).lower()
    name = name.removeprefix("optimizernames.")
    if name not in OPTIMIZERS:
        reading.refuse(key, f"the optimizer '{name}'")
        return
    ours, variant = OPTIMIZERS[name]
    if key in reading.values and reading.values[key] is not None:
        reading.put("optimizer", ours, key)
    else:
        reading.assume("optimizer", ours)
    reading.settings["optimizer_impl"] = variant


def batches(reading: Reading, *, batch: str, default: int) -> None:
    """Sequences of a micro-batch, and how many of them a step takes."""
    reading.take("batch", batch, default)
    reading.take("grad_accum", "gradient_accumulation_steps", 1)


def half(reading: Reading, *, default: bool = False) -> bool:
    """Whether the passes compute in 16 bits."""
    fp16 = reading.flag("fp16")
    if fp16:
        reading.notes.append("fp16 takes what bf16 takes; the loss scaler's own values are not counted")
    bf16 = reading.flag("bf16", default=default)
    return fp16 or bf16


def adapters(reading: Reading, *, rank: str, dropout: str, default_rank: int, default_dropout: float) -> None:
    """Rank and dropout of peft's adapters."""
    reading.take("lora_rank", rank, default_rank)
    reading.take("lora_dropout", dropout, default_dropout)


PROJECTIONS = re.compile(r"(?:model\\?\.)?language_model\\?\.layers[\w.\[\]\\+*()|]*\.\(([a-z|]+)\)_proj")
"""Axolotl's pattern for the language part's blocks: model.language_model.layers.[\\d]+.(mlp|self_attn).(q|k|v)_proj."""


def targets(reading: Reading, key: str, value: Any) -> None:
    """Modules with adapters: "all", a list, or names with commas; of patterns those of `PROJECTIONS` alone."""
    if isinstance(value, str) and (found := PROJECTIONS.fullmatch(value.strip())):
        ends = found[1].split("|")
        every = set(ends) == {"up", "down", "gate", "q", "k", "v", "o"}
        reading.put("lora_targets", "all-linear" if every else ",".join(f"{end}_proj" for end in ends), key)
        return
    names = [str(each).strip() for each in value] if isinstance(value, list) else str(value).split(",")
    names = [name.strip() for name in names if str(name).strip()]
    if names in (["all"], ["all-linear"], ["all_linear"]):
        reading.put("lora_targets", "all-linear", key)
    elif all(name.replace("_", "").replace(".", "").isalnum() for name in names) and names:
        reading.put("lora_targets", ",".join(name.rpartition(".")[2] for name in names), key)
    else:
        reading.refuse(key, "targets of adapters by a pattern")


def vision(reading: Reading, part: str, key: str) -> None:
    """What of the vision part trains, where all parameters do; adapters are on the language part alone."""
    if reading.settings.get("method") == "full":
        reading.put("vision", part, key)
    else:
        reading.taken.add(key)


def stays_bf16(reading: Reading) -> None:
    """What a quantized base leaves unquantized is not made fp32."""
    if reading.settings.get("method") == "qlora" and reading.settings.get("precision") == "mixed":
        reading.settings["kbit_upcast"] = False


def checkpointing(reading: Reading, *, on: bool, key: str, offload: bool = False) -> None:
    """Gradient checkpointing of every block, and its inputs on the CPU."""
    there = key in reading.values and reading.values[key] is not None
    value = "full" if on else "none"
    if there:
        reading.put("checkpointing", value, key)
    else:
        reading.assume("checkpointing", value)
    if offload:
        reading.settings["offload"] = (*reading.settings.get("offload", ()), "activations")


def eight_bits(reading: Reading, key: str) -> None:
    """Adapters on a base in LLM.int8()."""
    reading.put("method", "qlora", key)
    reading.put("base", "int8", key)


def reentrant(reading: Reading, key: str, *, default: bool) -> None:
    """How blocks are checkpointed, which tells what layers in int8 keep, and nothing else."""
    if reading.settings.get("base") == "int8" and reading.settings.get("checkpointing") == "full":
        reading.take("reentrant", key, default)


def compiled(reading: Reading, key: str) -> None:
    """torch.compile of the whole model keeps less than is counted."""
    if reading.flag(key):
        reading.notes.append(f"{key}: what a compiled model keeps is not modelled; what is counted is a bound")


def precision(reading: Reading, *, loaded: str, computes: bool, key: str, why: str = "") -> None:
    """The precision of what trains.

    Args:
        loaded: of the weights: "bf16" or "fp32".
        computes: the passes compute in 16 bits.
        why: it is so, where the key is not there.
    """
    value = "bf16" if loaded == "bf16" else "mixed" if computes else "fp32"
    if key in reading.values and reading.values[key] is not None:
        reading.put("precision", value, key)
    else:
        reading.assume("precision", value, why)


def fsdp(reading: Reading) -> bool:
    """Whether the Trainer's `fsdp` (a list, or words with spaces between) asks for FSDP; what it offloads is put."""
    given = reading.get("fsdp", ())
    if isinstance(given, str | list | tuple):
        words = given.lower().replace(",", " ").split() if isinstance(given, str) else [str(each) for each in given]
    else:
        words = ["true"] if given is True else [] if given is False else [str(given)]
    words = [word for word in words if word not in ("false", "")]
    other = next((word for word in words if word not in ("full_shard", "auto_wrap", "offload", "true")), None)
    if other is not None:
        reading.refuse("fsdp", f"FSDP with '{other}'")
    if "offload" in words:
        reading.settings["offload"] = ("params",)
    return bool(words)


def router_loss(reading: Reading, key: str) -> None:
    """A loss of the routers themselves (`output_router_logits`), which adds up layer by layer since transformers 5.

    Measured under fake tensors with five mixtures, full and with adapters: at most 4 B a token, layer and expert.
    """
    if str(reading.get(key, "")).strip().lower() not in (*NO, "", "0.0"):
        reading.notes.append(f"{key}: the routers' own loss keeps 4 B a token, layer and expert at most: not counted")


def deepspeed(reading: Reading) -> None:
    """DeepSpeed's own file, where one is named."""
    path = reading.get("deepspeed")
    if path is not None:
        reading.spread = "zero"
        reading.others["deepspeed"] = str(path)


def spread(reading: Reading) -> None:
    """The Trainer's ways to many GPUs: DeepSpeed, or its own FSDP."""
    deepspeed(reading)
    if fsdp(reading):
        reading.spread = "fsdp"
    reading.taken.add("fsdp_config")
    fsdp_config(reading)


def degree(reading: Reading, ours: str, key: str) -> None:
    """A parallel degree, where one above 1 is asked for."""
    if reading.get(key) is not None and reading.whole(key, 1) > 1:
        reading.put(ours, reading.whole(key, 1), key)


def fsdp_config(reading: Reading, before: str = "fsdp_config.") -> None:
    """accelerate's plugin of FSDP, with or without the prefix fsdp_ (transformers, Axolotl)."""
    for prefix in (before, f"{before}fsdp_"):
        if reading.flag(f"{prefix}offload_params"):
            reading.settings["offload"] = ("params",)
        if reading.flag(f"{prefix}activation_checkpointing"):
            reading.put("checkpointing", "full", f"{prefix}activation_checkpointing")
        strategy = str(reading.get(f"{prefix}sharding_strategy", "FULL_SHARD")).upper()
        again = str(reading.get(f"{prefix}reshard_after_forward", "true")).upper()
        for value, key in ((strategy, "sharding_strategy"), (again, "reshard_after_forward")):
            if value in ("SHARD_GRAD_OP", "NO_SHARD", "HYBRID_SHARD", "FALSE", "2", "3", "4"):
                reading.refuse(f"{prefix}{key}", f"FSDP with {value.lower()}")
        for name in (
            "version",
            "auto_wrap_policy",
            "transformer_layer_cls_to_wrap",
            "state_dict_type",
            "forward_prefetch",
        ):
            reading.taken.add(f"{prefix}{name}")
        for name in ("backward_prefetch", "cpu_ram_efficient_loading", "sync_module_states", "use_orig_params"):
            reading.taken.add(f"{prefix}{name}")
        for name in ("limit_all_gathers", "final_state_dict_type", "min_num_params", "mixed_precision_policy"):
            reading.taken.add(f"{prefix}{name}")
