"""Axolotl's YAML."""

from __future__ import annotations

from inspector.trainers import common, objectives
from inspector.trainers.reading import Reading, Trainer

IGNORED = (
    *common.TRAINING_ARGUMENTS,
    *("vllm", "trl.vllm_*", "trl.reward_*"),
    *("datasets", "pretraining_dataset", "test_datasets", "dataset_*", "val_set_size", "shuffle_*", "special_tokens"),
    *(
        "tokens",
        "added_tokens_overrides",
        "eot_tokens",
        "chat_template*",
        "tokenizer_*",
        "processor_type",
        "model_type",
    ),
    *("wandb_*", "mlflow_*", "comet_*", "swanlab_*", "use_swanlab", "trackio_*", "use_wandb", "use_tensorboard"),
    *(
        "lora_alpha",
        "lora_model_dir",
        "lora_fan_in_fan_out",
        "peft_use_rslora",
        "loraplus_*",
        "strict",
        "auto_resume_*",
    ),
    *("loss_watchdog_*", "early_stopping_patience", "train_on_inputs", "eval_*", "resize_token_embeddings_to_32x"),
    *(
        "skip_prepare_dataset",
        "sample_packing_*",
        "sample_packing_eff_est",
        "total_num_tokens",
        "local_rank",
        "plugins",
    ),
    *("ddp*", "is_llama_derived_model", "is_mistral_derived_model", "is_falcon_derived_model", "type_of_model"),
    *("torchdistx_path", "curriculum_sampling", "min_sample_len", "low_cpu_mem_usage", "use_ray", "ray_num_workers"),
    *(
        "cosine_*",
        "optim_args",
        "image_resize_algorithm",
        "experimental_skip_move_to_device",
        "base_model_*",
    ),
    *("max_packed_sequence_len", "num_epochs", "device_map", "gc_steps", "streaming*", "use_otel_metrics", "otel_*"),
    *(
        "save_first_step",
        "fsdp_final_state_dict_type",
        "bnb_config_kwargs",
        "revision_of_model",
        "tokenizer_save_jinja*",
    ),
    *("flex_attn_compile_kwargs", "hf_use_auth_token", "cls_model_config", "reinit_weights", "pretrain_multipack_attn"),
)

UNMODELLED = {
    "gptq*": "adapters on a GPTQ base",
    "rl": "an objective that is not known",
    "dpo_use_liger_kernel": "Liger's loss over pairs",
    "reward_model": "reward models",
    "process_reward_model": "reward models",
    "relora*": "ReLoRA",
    "lisa_*": "LISA, which trains some layers at a time",
    "qat*": "quantization-aware training",
    "unfrozen_parameters": "parameters that train by patterns: --method frozen-except --train-only says it",
    "lora_target_parameters": "adapters on stacked experts by name",
    "fp8*": "Axolotl's fp8",
    "layer_offloading": "layers on the CPU",
    "activation_memory_budget": "a budget of activations",
    "diffusion*": "diffusion language models",
    "ebft*": "EBFT",
    "expert_parallel_size": "Axolotl's expert parallelism",
    "neftune_noise_alpha": "noise on embeddings",
    "multipack_real_batches": "packing without one long sequence",
    "tiled_mlp": "an MLP in tiles",
    "model_config.*": "settings of the model itself",
    "model_quantization_config*": "a base that its own files quantize",
    "gemma4_hybrid_attn_impl": "two implementations of attention",
    "use_eaft": "a loss with weights of its own",
    "eaft_*": "a loss with weights of its own",
    "use_onebitllms": "linear layers of 1-bit weights",
    "llama4_linearized_experts": "experts as linear layers of their own",
    "peft.loftq_config*": "LoftQ",
    "llmcompressor*": "sparse training",
}

DEEPSPEED_CONFIGS = "deepspeed_configs/"

BF16 = "Axolotl's default: bf16 auto, which is on where the GPU has it (Ampere and newer)"
"""utils/schemas/config.py, and utils/config, resolve_dtype."""


def read(reading: Reading) -> None:
    """src/axolotl/utils/schemas/ (defaults) and loaders/model.py (precision)."""
    model = reading.get("base_model")
    if model is not None:
        reading.put("model", model, "base_model")
    if reading.get("revision_of_model") is not None:
        reading.put("revision", reading.get("revision_of_model"), "revision_of_model")
    reading.take("context", "sequence_len", 512)
    common.batches(reading, batch="micro_batch_size", default=1)
    if reading.get("batch_size") is not None and reading.get("gradient_accumulation_steps") is None:
        reading.refuse("batch_size", "a global batch, which needs the number of GPUs")
    common.optimizer(reading, "optimizer", "adamw_torch_fused")
    _precision(reading)
    _adapters(reading)
    _images(reading)
    _checkpointing(reading)
    # utils/config/__init__.py, normalize_config
    common.reentrant(reading, "gradient_checkpointing_kwargs.use_reentrant", default=reading.get("rl") is None)
    _attention(reading)
    _kernels(reading)
    _spread(reading)
    if reading.get("rl") is not None:
        _objective(reading, str(reading.get("rl")).lower())


OBJECTIVES = dict.fromkeys(("dpo", "ipo"), "dpo") | {name: name for name in ("orpo", "kto", "simpo", "grpo")}
"""Axolotl's rl (utils/schemas/enums.py) -> objectives."""


def _objective(reading: Reading, name: str) -> None:
    """core/builders/rl.py, and train.py (setup_reference_model); TRL 1.9, whose losses read whole logits."""
    if name not in OBJECTIVES:
        reading.refuse("rl", f"the objective '{name}'")
        return
    objective = OBJECTIVES[name]
    if reading.settings.get("precision") == "bf16":
        reading.settings["fp32_outputs"] = True
    reading.taken |= {"rl_beta", "orpo_alpha", "simpo_gamma", "cpo_alpha", "kto_desirable_weight", "rl_coef"}
    reading.taken |= {"kto_undesirable_weight", "dpo_label_smoothing", "dpo_use_weighting", "dpo_loss_weights"}
    place = "precomputed" if reading.flag("precompute_ref_log_probs") else "auto"
    if reading.flag("rl_adapter_ref_model") and place == "auto":
        place = "copy"
    objectives.put_objective(reading, objective, "rl", reference=place)
    if objective == "dpo":
        losses = reading.names("dpo_loss_type").split(",")
        reading.settings["objective"] = objectives.with_sft(reading, losses)
        if reading.flag("dpo_padding_free"):
            reading.notes.append(objectives.PADDED)
    if objective == "simpo" and reading.number("cpo_alpha", 0.0):
        reading.settings["objective"] = "cpo"
    for loss in reading.names("dpo_loss_type").split(","):
        if loss and loss not in (*objectives.DPO_LOSSES, "sft"):
            reading.refuse("dpo_loss_type", f"DPO with the loss '{loss}'")
    if objective == "grpo":
        objectives.completions(reading, "grpo", "trl.", "vllm.gpu_memory_utilization")
    if reading.settings.get("logits") == "chunked":
        reading.settings["logits"] = "all"  # fused cross entropies are of SFT's loss
    reading.settings["whole_logits"] = True


def _precision(reading: Reading) -> None:
    """Weights are loaded in the precision of the passes (cfg.torch_dtype); packed files that are unpacked, too."""
    if reading.flag("model_quantization_config_kwargs.dequantize"):  # Mxfp4Config(dequantize=True), of gpt-oss
        reading.taken |= {"model_quantization_config", "model_quantization_config_kwargs.dequantize"}
    computes = common.half(reading, default=True) or reading.flag("bfloat16") or reading.flag("float16")
    loaded = "bf16" if computes else "fp32"
    trains_adapters = reading.get("adapter") is not None
    # peft's adapters are fp32, and the Trainer's autocast is on.
    common.precision(reading, loaded="fp32" if trains_adapters else loaded, computes=computes, key="bf16", why=BF16)


def _adapters(reading: Reading) -> None:
    adapter = reading.get("adapter")
    if adapter is None:
        reading.assume("method", "full", "no adapter")
        for key, what in (("load_in_4bit", "a 4-bit base"), ("load_in_8bit", "a base in 8 bits")):
            if reading.flag(key):
                reading.refuse(key, f"{what} without adapters")
        for key in ("lora_r", "lora_dropout", "lora_target_modules", "lora_target_linear", "lora_modules_to_save"):
            reading.taken.add(key)
        return
    if adapter not in ("lora", "qlora"):
        reading.refuse("adapter", f"the adapter '{adapter}'")
        return
    four, eight = reading.flag("load_in_4bit"), reading.flag("load_in_8bit")
    reading.put("method", "qlora" if four else "lora", "load_in_4bit" if four else "adapter")
    if eight and adapter == "lora" and not four:  # loaders/model.py, _set_quantization_config
        common.eight_bits(reading, "load_in_8bit")
    if reading.flag("quantize_moe_experts") and four:
        reading.put("quantize_experts", True, "quantize_moe_experts")
    elif reading.flag("quantize_moe_experts"):
        reading.refuse("quantize_moe_experts", "experts in 8 bits")
    if adapter == "qlora" and not four:
        reading.refuse("adapter", "qlora without load_in_4bit")
    common.stays_bf16(reading)  # loaders/model.py, _configure_embedding_dtypes: what peft made fp32 is bf16 again
    common.adapters(reading, rank="lora_r", dropout="lora_dropout", default_rank=8, default_dropout=0.0)
    names = reading.get("lora_target_modules")
    if reading.flag("lora_target_linear"):
        reading.put("lora_targets", "all-linear", "lora_target_linear")
        if reading.get("processor_type") is not None:  # it takes images: its encoder's linear layers are among all
            reading.put("vision", "adapters", "processor_type")
        reading.taken.add("lora_target_modules")
    elif names is not None:
        common.targets(reading, "lora_target_modules", names)
    else:
        reading.refuse("lora_target_modules", "adapters without targets")
    saved = reading.names("lora_modules_to_save")
    if saved:
        reading.put("modules_to_save", saved, "lora_modules_to_save")
    if reading.flag("peft_use_dora"):
        reading.put("dora", True, "peft_use_dora")


def _images(reading: Reading) -> None:
    """utils/freeze.py; processing_strategies.py, which resizes images where it is told a size."""
    if reading.flag("freeze_mm_modules"):
        common.vision(reading, "frozen", "freeze_mm_modules")
    size = reading.get("image_size")
    sides = size if isinstance(size, list) else [size, size]
    if size is not None and len(sides) == 2 and all(type(side) is int and side > 0 for side in sides):
        reading.put("image_size", tuple(sides), "image_size")
    elif size is not None:
        reading.refuse("image_size", "no size of an image")


def _checkpointing(reading: Reading) -> None:
    value = str(reading.get("gradient_checkpointing", "false")).lower()
    kind = str(reading.get("activation_offloading", "false")).lower()
    offload = kind == "legacy" or value in ("offload", "unsloth") or reading.flag("activation_offloading")
    if value not in ("true", "false", "offload", "unsloth"):
        reading.refuse("gradient_checkpointing", f"gradient_checkpointing: {value}")
        return
    common.checkpointing(reading, on=value != "false", key="gradient_checkpointing", offload=offload)


def _attention(reading: Reading) -> None:
    if reading.get("attn_implementation") is not None:
        common_choices = common.ATTENTION | {"xformers": "flash", "flex_attention": "flash", "s2": "flash"}
        reading.choose("attention", "attn_implementation", common_choices, "sdpa")
    elif reading.flag("flash_attention"):
        reading.put("attention", "flash", "flash_attention")
    elif reading.flag("eager_attention"):
        reading.put("attention", "eager", "eager_attention")
    else:
        reading.assume("attention", "sdpa", "transformers' default")
    reading.taken |= {"flash_attention", "eager_attention", "sdp_attention", "xformers_attention"}
    patched = [reading.flag(f"flash_attn_{name}") for name in ("cross_entropy", "rms_norm", "fuse_mlp", "fuse_qkv")]
    if any(patched):
        reading.notes.append("flash-attn's kernels of the loss, norms and MLPs keep less than is counted: a bound")
    if not reading.flag("sample_packing"):
        reading.notes.append("without sample_packing a step's longest sequence is taken to have sequence_len tokens")
    for key in ("pad_to_sequence_len", "flash_optimum"):
        reading.taken.add(key)


def _kernels(reading: Reading) -> None:
    plugins = reading.names("plugins")
    fused = reading.flag("liger_fused_linear_cross_entropy") or reading.flag("cut_cross_entropy")
    if fused or "cut_cross_entropy" in plugins:
        reading.put("logits", "chunked", "liger_fused_linear_cross_entropy" if fused else "plugins")
    else:
        reading.assume("logits", "all")
    gated = [reading.flag(f"liger_{name}") for name in ("glu_activation", "swiglu")]
    rest = [reading.flag(f"liger_{name}") for name in ("rms_norm", "rope", "layer_norm")]
    if any(gated) and rest[0]:
        reading.put("kernels", "liger", "liger_rms_norm")
    elif any([*gated, *rest]):
        reading.notes.append(common.LIGER)
    reading.taken |= {"liger_cross_entropy", "liger_rms_norm_gated", "liger_use_token_scaling"}
    kernels = [reading.flag(f"{name}_kernel") for name in ("lora_mlp", "lora_qkv", "lora_o", "lora_embedding")]
    if any([*kernels, reading.flag("fused_attn_kernel")]):
        reading.notes.append("Axolotl's own kernels keep less than is counted: a bound")
    reading.taken |= {"use_kernels", "use_scattermoe", "use_sonicmoe", "experts_implementation"}
    for key in ("output_router_logits", "router_aux_loss_coef"):
        common.router_loss(reading, f"model_config.{key}")
    common.compiled(reading, "torch_compile")
    reading.taken |= {"torch_compile_backend", "torch_compile_mode"}


def _spread(reading: Reading) -> None:
    fsdp = common.fsdp(reading) or any(key.startswith("fsdp_config.") for key in reading.values)
    reading.taken |= {"fsdp_version", "fsdp_config"}
    if fsdp:
        reading.spread = "fsdp"
        common.fsdp_config(reading)
    common.deepspeed(reading)
    for key, ours in (("dp_shard_size", "fsdp"), ("dp_replicate_size", "hsdp")):
        if reading.get(key) is not None:
            reading.put(ours, reading.whole(key, 1), key)
    for key, ours in (("context_parallel_size", "cp"), ("tensor_parallel_size", "tp")):
        common.degree(reading, ours, key)


TRAINER = Trainer(
    "axolotl",
    "Axolotl",
    "axolotl-ai-cloud/axolotl 067b021 (2026-07-24), src/axolotl/utils/schemas",
    (frozenset({"base_model", "micro_batch_size"}), frozenset({"base_model", "sequence_len"})),
    IGNORED,
    UNMODELLED,
    read,
    {
        "--batch": {"micro_batch_size": "{}"},
        "--context": {"sequence_len": "{}"},
        "--image-size": {"image_size": "{side}"},
        "--checkpointing full": {"gradient_checkpointing": "true"},
        "--optimizer-impl fused": {"optimizer": "adamw_torch_fused"},
        "--optimizer adamw-8bit": {"optimizer": "adamw_bnb_8bit"},
        "--optimizer paged-adamw-8bit": {"optimizer": "paged_adamw_8bit"},
        "--logits chunked": {
            "plugins": "[axolotl.integrations.liger.LigerPlugin]",
            "liger_fused_linear_cross_entropy": "true",
        },
        "--method lora": {"adapter": "lora", "lora_r": "16", "lora_alpha": "32", "lora_target_linear": "true"},
        "--method qlora": {
            "adapter": "qlora",
            "load_in_4bit": "true",
            "lora_r": "16",
            "lora_alpha": "32",
            "lora_target_linear": "true",
        },
    },
)
