"""transformers' TrainingArguments as YAML or JSON, and what TRL's SFT script adds to them (ModelConfig, SFTConfig)."""

from __future__ import annotations

from inspector.trainers import common, objectives
from inspector.trainers.reading import Reading, Trainer

IGNORED = (
    *common.TRAINING_ARGUMENTS,
    *(
        "dataset_*",
        "datasets",
        "streaming",
        "lora_alpha",
        "use_rslora",
        "lora_task_type",
        "shuffle_dataset",
        "packing_*",
    ),
    *("eos_token", "pad_token", "chat_template_path", "truncation_mode", "completion_only_loss", "assistant_only_loss"),
    *("pad_to_multiple_of", "ignore_bias_buffers", "bnb_4bit_quant_type", "env", "script_args", "padding_free"),
    *("chat_template", "system_prompt", "callbacks", "benchmarks", "code_*", "wandb_*", "overwrite_hub_revision"),
    *("torch_empty_cache_steps", "neftune_noise_alpha", "gradient_checkpointing_kwargs", "liger_kernel_config"),
)

UNMODELLED = {
    "beta": "which objective it is of: --objective dpo, kto, orpo, cpo, simpo or grpo",
    "loss_type": "a loss of its own",
    "ref_model*": "a reference model of its own",
    "lora_target_parameters": "adapters on stacked experts by name",
    "bnb_4bit_quant_storage": "4-bit values stored as another type",
    "auto_find_batch_size": "a batch that is looked for",
}


def read(reading: Reading) -> None:
    """trl/trainer/model_config.py, base_config.py and ..._config.py of each trainer; transformers/training_args.py."""
    model = reading.get("model_name_or_path")
    if model is not None:
        reading.put("model", model, "model_name_or_path")
    if reading.get("model_revision") is not None:
        reading.put("revision", reading.get("model_revision"), "model_revision")
    reading.take("context", "max_length", 1024)
    if reading.get("max_seq_length") is not None:
        reading.put("context", reading.whole("max_seq_length", 1024), "max_seq_length")
    common.batches(reading, batch="per_device_train_batch_size", default=8)
    objective = objectives.objective_of(reading)
    if not reading.flag("packing"):
        reading.notes.append("without packing a step's longest sequence is taken to have max_length tokens")
    common.optimizer(reading, "optim", "adamw_torch_fused")
    _method(reading)
    on = reading.flag("gradient_checkpointing", default=True)
    common.checkpointing(reading, on=on, key="gradient_checkpointing", offload=reading.flag("activation_offloading"))
    common.reentrant(reading, "gradient_checkpointing_kwargs.use_reentrant", default=False)
    reading.choose("attention", "attn_implementation", common.ATTENTION, "sdpa")
    liger = reading.flag("use_liger_kernel") or reading.flag("use_liger")
    if objective != "sft":
        _objective(reading, objective)
        if liger:
            reading.refuse("use_liger_kernel", "Liger's own losses of objectives")
        reading.assume("logits", "all", "the trainer's loss reads whole logits")
    elif reading.get("beta") is not None and not reading.objective:
        reading.refuse("beta", UNMODELLED["beta"], unless="objective")
    elif liger:
        reading.put("logits", "chunked", "use_liger_kernel")
        reading.put("kernels", "liger", "use_liger_kernel")
    else:
        reading.assume("logits", "all")
    if reading.get("loss_type") in ("nll",):
        reading.taken.add("loss_type")
    elif objective == "sft" and not liger:
        reading.notes.append(CHUNKED)
    common.router_loss(reading, "router_aux_loss_coef")
    common.compiled(reading, "torch_compile")
    reading.taken |= {"torch_compile_backend", "torch_compile_mode"}
    common.spread(reading)


CHUNKED = (
    "without loss_type TRL 1.8 to 1.14 takes chunked_nll, which makes logits by chunks: what is counted is a bound"
)
"""sft_config.py: loss_type's default was nll before and is again since."""


def _objective(reading: Reading, objective: str) -> None:
    """A step of another trainer than SFT's."""
    reading.taken |= {"loss_type", "packing"}
    if reading.settings.get("precision") == "bf16" and common.half(reading, default=True):
        reading.settings["fp32_outputs"] = True
    if objective == "gkd":
        objectives.put_objective(reading, objectives.distillation(reading), "lmbda")
    elif objective == "ppo":
        objectives.put_objective(reading, objective, "num_ppo_epochs")
        objectives.rollouts(reading)
    elif objective in ("grpo", "rloo"):
        objectives.put_objective(reading, objective, "num_generations")
        objectives.completions(reading, objective)
    else:
        place = objectives.preferences(reading)
        objectives.put_objective(reading, objective, "loss_type", reference=place)
    if objective in ("dpo", "kto", "grpo", "rloo"):
        reading.notes.append(objectives.FUSED)


def _method(reading: Reading) -> None:
    """ModelConfig loads weights in fp32 where it is not told otherwise, and BaseConfig computes in bf16."""
    dtype = reading.get("dtype") or reading.get("torch_dtype") or "float32"
    key = "dtype" if reading.get("dtype") else "torch_dtype"
    loaded = "bf16" if str(dtype) in ("bfloat16", "bf16", "float16") else "fp32"
    if str(dtype) == "auto":
        loaded = "bf16"
        reading.notes.append(f"{key}: auto is taken as bf16, as most checkpoints have it")
    computes = common.half(reading, default=True)
    four, eight = reading.flag("load_in_4bit"), reading.flag("load_in_8bit")
    if eight and not reading.flag("use_peft"):
        reading.refuse("load_in_8bit", "a base in 8 bits without adapters")
    if not (reading.flag("use_peft") or four):
        reading.assume("method", "full", "no use_peft")
        for name in ("lora_r", "lora_dropout", "lora_target_modules", "lora_modules_to_save", "use_dora"):
            reading.taken.add(name)
        common.precision(reading, loaded=loaded, computes=computes, key=key)
        return
    reading.put("method", "qlora" if four else "lora", "load_in_4bit" if four else "use_peft")
    if eight and not four:
        common.eight_bits(reading, "load_in_8bit")
    packed = four or eight
    if loaded == "fp32" and not packed:
        reading.refuse("dtype", "adapters on a base in fp32 under autocast: give dtype: bfloat16")
    # sft_trainer.py: adapters on a quantized base are made bf16, and what is not quantized stays as it was loaded.
    whole = packed and loaded == "bf16" and computes
    common.precision(reading, loaded=loaded if whole else "fp32", computes=computes, key="bf16")
    if whole:
        reading.settings["adapter_dtype"] = "bf16"
    if four:
        reading.take("double_quant", "use_bnb_nested_quant", False)
    common.adapters(reading, rank="lora_r", dropout="lora_dropout", default_rank=16, default_dropout=0.05)
    names = reading.get("lora_target_modules")
    if names is None:
        reading.refuse("lora_target_modules", "peft's own targets for this type")
    else:
        common.targets(reading, "lora_target_modules", names)
    saved = reading.names("lora_modules_to_save")
    if saved:
        reading.put("modules_to_save", saved, "lora_modules_to_save")
    if reading.flag("use_dora"):
        reading.put("dora", True, "use_dora")


TRAINER = Trainer(
    "trl",
    "TRL",
    "huggingface/trl f2cd577 (2026-07-24); transformers 5.24, training_args.py",
    (
        frozenset({"model_name_or_path"}),
        frozenset({"per_device_train_batch_size"}),
        frozenset({"output_dir", "learning_rate"}),
    ),
    IGNORED,
    UNMODELLED,
    read,
    {
        "--batch": {"per_device_train_batch_size": "{}"},
        "--context": {"max_length": "{}"},
        "--checkpointing full": {"gradient_checkpointing": "true"},
        "--optimizer-impl fused": {"optim": "adamw_torch_fused"},
        "--optimizer adamw-8bit": {"optim": "adamw_bnb_8bit"},
        "--optimizer paged-adamw-8bit": {"optim": "paged_adamw_8bit"},
        "--logits chunked": {"use_liger_kernel": "true"},
        "--method lora": {
            "use_peft": "true",
            "dtype": "bfloat16",
            "lora_r": "16",
            "lora_target_modules": "[all-linear]",
        },
        "--method qlora": {
            "use_peft": "true",
            "load_in_4bit": "true",
            "lora_r": "16",
            "lora_target_modules": "[all-linear]",
        },
    },
)
