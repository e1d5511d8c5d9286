"""ms-swift: the call of `swift sft`, `pt` or `rlhf` in a shell script, or the YAML or JSON that it takes instead."""

from __future__ import annotations

from typing import Any

from inspector.trainers import common, deepspeed, objectives
from inspector.trainers.reading import Reading, Trainer

IGNORED = (
    *common.TRAINING_ARGUMENTS,
    *("swift", "dataset*", "val_dataset*", "cached_*", "split_dataset_ratio", "streaming", "interleave_prob", "system"),
    *("load_from_cache_file", "shuffle_buffer_size", "stopping_strategy", "download_mode", "columns", "strict", "seed"),
    *("model_name", "model_author", "model_type", "template*", "agent_template", "use_chat_template", "norm_bbox"),
    *("truncation_strategy", "padding_side", "loss_scale", "is_binary_loss_scale", "response_prefix", "custom_*"),
    *("enable_thinking", "preserve_thinking", "add_non_thinking_prefix", "model_kwargs*", "external_plugins"),
    *("disable_*", "load_args", "load_data_args", "packing_*", "lazy_tokenize", "use_hf", "local_repo_path"),
    *(
        "init_strategy",
        "init_weights",
        "lora_alpha",
        "use_rslora",
        "vit_lr",
        "aligner_lr",
        "check_model",
        "add_version",
    ),
    *("create_checkpoint_symlink", "callbacks", "early_stop_interval", "safe_serialization", "max_shard_size"),
    *("max_epochs", "train_dataloader_shuffle", "acc_strategy", "predict_with_generate", "metric*", "extra_eval_args"),
    *("swanlab_*", "router_aux_loss_coef", "ignore_args_error", "experts_impl", "max_new_tokens", "ENV"),
    *("adapters", "temperature", "bnb_4bit_compute_dtype", "bnb_4bit_quant_type", "resume_only_model", "rope_scaling"),
    *("beta", "label_smoothing", "simpo_gamma", "desirable_weight", "undesirable_weight", "use_flash_ckpt", "new_*"),
    *(
        "padding_free",
        "vllm_*",
        "reward_*",
        "cosine_*",
        "repetition_*",
        "soft_*",
        "multi_turn*",
        "sleep_level",
        "delta",
    ),
    *("num_generations", "num_iterations", "top_*", "min_p", "epsilon*", "stop_words", "overlong_filter", "chord_*"),
    *("dynamic_sample", "max_resample_times", "advantage_*", "scale_rewards", "kl_in_reward", "importance_sampling_*"),
    *("move_model_batches", "offload_model", "offload_optimizer", "async_generate", "log_*", "structured_outputs_*"),
    *("center_rewards_coefficient", "max_model_len", "ref_model_revision", "ld_alpha", "discopop_tau", "loss_weights"),
)

UNMODELLED = {
    "use_galore": "ms-swift's GaLore: --optimizer galore says it",
    "galore_*": "ms-swift's GaLore: --optimizer galore says it",
    "lisa_activated_layers": "LISA, which trains some layers at a time",
    "optimizer": "an optimizer of ms-swift's own",
    "sequence_parallel_size": "ms-swift's sequence parallelism (Ulysses and rings)",
    "freeze_parameters*": "parameters that train by patterns: --method frozen-except --train-only says it",
    "trainable_parameters*": "parameters that train by patterns: --method frozen-except --train-only says it",
    "target_regex": "targets of adapters by a pattern",
    "target_parameters": "adapters on stacked experts by name",
    "freeze_llm": "a language part that does not train",
    "lora_bias": "biases that train beside adapters",
    "lora_dtype": "adapters in another dtype",
    "bnb_4bit_quant_storage": "4-bit values stored as another type",
    "device_map": "layers spread over GPUs",
    "deepspeed_autotp_size": "DeepSpeed's tensor parallelism",
    "zero_hpz_partition_size": "ZeRO++",
    "enable_dft_loss": "a loss with weights of its own",
    "enable_channel_loss": "losses of several channels",
    "steps_per_generation": "completions of other than one optimizer step generated at once",
    "generation_batch_size": "completions of other than one optimizer step generated at once",
    "mrl_dims": "a loss of its own",
    "ref_model": "a reference model of its own",
    "num_labels": "classifiers: --objective reward, or a config whose class is one",
    "use_swift_lora": "ms-swift's own adapters",
    "neftune_noise_alpha": "noise on embeddings",
}

_ZERO_2: dict[str, Any] = {"overlap_comm": False, "reduce_bucket_size": 2 * 10**8, "contiguous_gradients": True}
_ZERO_3: dict[str, Any] = {
    **{"stage": 3, "overlap_comm": False, "contiguous_gradients": True},
    **dict.fromkeys(deepspeed.AUTO, "auto"),
}
_STATES = {"offload_optimizer.device": "cpu"}
ZERO: dict[str, dict[str, Any]] = {
    **{f"zero{stage}": {"stage": stage, **_ZERO_2} for stage in (0, 1, 2)},
    "zero2_offload": {"stage": 2, **_ZERO_2, **_STATES},
    "zero3": _ZERO_3,
    "zero3_offload": {**_ZERO_3, **_STATES, "offload_param.device": "cpu"},
}
"""What swift/config/*.json say of ZeRO."""

ATTENTION = {**common.ATTENTION, "flash_attn": "flash", "flash_attention_4": "flash"}

RLHF = {name: name for name in ("dpo", "orpo", "cpo", "simpo", "kto", "grpo")} | {"rm": "reward"}
"""rlhf_type -> objectives; ms-swift's trainers are TRL's with losses over whole logits."""

LEAST_BATCH = 16
"""Sequences of a step that gradient_accumulation_steps is set for where it is not given."""


def read(reading: Reading) -> None:
    """swift/arguments/ and swift/trainers/arguments.py (defaults), swift/pipelines/train/tuner.py (adapters)."""
    if reading.get("model") is not None:
        reading.put("model", reading.get("model"), "model")
    if reading.get("model_revision") is not None:
        reading.put("revision", reading.get("model_revision"), "model_revision")
    if reading.get("max_length") is None:
        reading.refuse("max_length", "its default, the model's own maximum: --context N says another", unless="context")
    reading.take("context", "max_length", 2048)
    _processes(reading)
    _batches(reading)
    common.optimizer(reading, "optim", "adamw_torch_fused")
    _method(reading)
    _vision(reading)
    on = reading.flag("gradient_checkpointing", default=True)
    common.checkpointing(reading, on=on, key="gradient_checkpointing")
    common.reentrant(reading, "gradient_checkpointing_kwargs.use_reentrant", default=False)
    reading.choose("attention", "attn_impl", ATTENTION, "sdpa")
    for key in ("tuner_backend", "train_backend"):
        if str(reading.get(key, "peft")) != "peft":
            reading.refuse(key, "adapters by another library than peft")
    if not (reading.flag("packing") or reading.flag("padding_free")):
        reading.notes.append("without packing a step's longest sequence is taken to have max_length tokens")
    _loss(reading)
    common.compiled(reading, "torch_compile")
    reading.taken |= {"torch_compile_backend", "torch_compile_mode"}
    _spread(reading)


def _processes(reading: Reading) -> None:
    """Environment variables, as torchrun takes them (swift/cli/main.py); several GPUs of one process share layers."""
    each, nodes = reading.get("ENV.NPROC_PER_NODE"), reading.whole("ENV.NNODES", 1)
    if each is not None:
        reading.processes = reading.whole("ENV.NPROC_PER_NODE", 1) * nodes
    elif len(str(reading.get("ENV.CUDA_VISIBLE_DEVICES", "0")).split(",")) > 1:
        reading.refuse("ENV.CUDA_VISIBLE_DEVICES", "layers spread over the GPUs of one process")
    reading.taken |= {key for key in reading.values if key.startswith("ENV.")}


def _batches(reading: Reading) -> None:
    batch = reading.take("batch", "per_device_train_batch_size", 1)
    if reading.get("gradient_accumulation_steps") is None and reading.values.get("rlhf_type") != "grpo":
        steps = -(-LEAST_BATCH // max(1, batch * (reading.processes or 1)))
        reading.assume("grad_accum", steps, f"a step of {LEAST_BATCH} sequences or more")
    else:
        reading.take("grad_accum", "gradient_accumulation_steps", 1)


def _method(reading: Reading) -> None:
    """Weights are loaded in torch_dtype, and the passes compute in it (arguments/base_args/model_args.py)."""
    key = "tuner_type" if reading.get("tuner_type") is not None else "train_type"  # as it was called before 4.0
    kind = str(reading.get(key, "lora"))
    dtype = str(reading.get("torch_dtype", "bfloat16"))
    half = dtype in ("bfloat16", "float16")
    if reading.get("torch_dtype") is None:
        reading.notes.append("torch_dtype: the model's own is taken as bf16, as most checkpoints have it")
    reading.taken |= {"bf16", "fp16"}
    method = reading.get("quant_method")
    bits = reading.whole("quant_bits", 0)
    if method is not None and (method != "bnb" or bits not in (4, 8)):
        reading.refuse("quant_method", f"a base by {method} in {bits} bits")
    if kind == "full":
        reading.put("method", "full", key)
        if method is not None:
            reading.refuse("quant_method", "a quantized base without adapters")
        common.precision(reading, loaded="bf16" if half else "fp32", computes=half, key="torch_dtype")
        reading.taken |= {"lora_rank", "lora_dropout", "target_modules", "modules_to_save", "use_dora"}
        return
    if kind != "lora":
        reading.refuse(key, f"the tuner '{kind}'")
        return
    reading.put("method", "qlora" if method == "bnb" and bits == 4 else "lora", "quant_bits" if method else key)
    if method == "bnb" and bits == 8:
        common.eight_bits(reading, "quant_bits")
    if not half:
        reading.refuse("torch_dtype", "adapters on a base in fp32")
    common.precision(reading, loaded="fp32", computes=half, key="torch_dtype")  # peft's adapters are fp32
    common.stays_bf16(reading)
    if reading.settings["method"] == "qlora" and bits == 4:
        reading.take("double_quant", "bnb_4bit_use_double_quant", True)
    common.adapters(reading, rank="lora_rank", dropout="lora_dropout", default_rank=8, default_dropout=0.05)
    common.targets(reading, "target_modules", reading.get("target_modules", "all-linear"))
    saved = reading.names("modules_to_save")
    if saved:
        reading.put("modules_to_save", saved, "modules_to_save")
    if reading.flag("use_dora"):
        reading.put("dora", True, "use_dora")


def _vision(reading: Reading) -> None:
    """swift/arguments/tuner_args.py: the encoder and what joins it are frozen where nothing is said."""
    encoder, aligner = (reading.flag(key, default=True) for key in ("freeze_vit", "freeze_aligner"))
    if reading.settings.get("method") == "full":
        reading.settings["vision"] = "trained" if not encoder else "frozen" if aligner else "projector"
    elif not encoder:
        reading.put("vision", "adapters", "freeze_vit")
        if aligner:
            reading.notes.append("freeze_aligner: adapters on the aligner are counted, too, where ms-swift puts none")
    elif not aligner:
        reading.refuse("freeze_aligner", "adapters on the aligner alone")
    reading.taken |= {"vit_gradient_checkpointing"}
    for key in ("max_pixels", "ENV.MAX_PIXELS"):
        if reading.get(key) is not None:
            side = int(reading.whole(key, 0) ** 0.5)
            reading.put("image_size", (side, side), key)


def _loss(reading: Reading) -> None:
    liger = reading.flag("use_liger_kernel")
    if liger:
        reading.put("kernels", "liger", "use_liger_kernel")
    kind = str(reading.get("rlhf_type", "dpo")) if reading.get("swift") == "rlhf" or reading.get("rlhf_type") else ""
    task = str(reading.get("task_type", "causal_lm"))
    if task != "causal_lm":
        reading.refuse("task_type", f"the task {task}")
    losses = reading.names("loss_type").split(",") if reading.get("loss_type") else []
    if kind != "grpo" and (not kind or any(loss not in (*objectives.DPO_LOSSES, "sft") for loss in losses)) and losses:
        reading.refuse("loss_type", "a loss of its own")
    if not kind:
        if liger:
            reading.put("logits", "chunked", "use_liger_kernel")
        else:
            reading.assume("logits", "all")
            reading.notes.append(LABELLED)
        reading.taken.add("use_logits_to_keep")
        return
    reading.taken |= {"cpo_alpha", "sft_alpha", "use_logits_to_keep"}
    if kind not in RLHF:
        reading.refuse("rlhf_type", f"ms-swift's {kind}")
        return
    if liger:
        reading.refuse("use_liger_kernel", "Liger's own losses of objectives")
    name = RLHF[kind]
    if name == "grpo":
        _generation(reading)
    if name == "dpo":
        name = objectives.with_sft(reading, losses)
    if name == "simpo" and reading.number("cpo_alpha", 1.0):
        name = "cpo"
    if reading.flag("packing"):
        _packed_pairs(reading, name)
    reading.settings |= {"whole_logits": True}
    if reading.settings.get("precision") == "bf16":
        reading.settings["fp32_outputs"] = True
    objectives.put_objective(reading, name, "rlhf_type", reference=_reference(reading, name))
    reading.assume("logits", "all", "ms-swift's losses of objectives are over whole logits")
    reading.notes.append("ms-swift's trainers are taken for TRL's, of which they are made")


def _packed_pairs(reading: Reading, name: str) -> None:
    """swift/dataset/packing.py: a packed row has max_length tokens of chosen and rejected sequences together."""
    if name in ("kto", "grpo"):
        reading.refuse("packing", f"packed sequences of {name}")
    elif "context" in reading.settings:
        reading.settings["context"] = -(-int(reading.settings["context"]) // 2)
        reading.notes.append("packing: max_length tokens are of chosen and rejected sequences, half of each")


def _reference(reading: Reading, name: str) -> str:
    """Where the reference model is: GRPO has one where beta is not 0 (0.04 where nothing is said)."""
    if name != "grpo":
        return "auto"
    if not reading.number("beta", 0.04):
        return "none"
    return "adapters-off" if reading.settings.get("method") in ("lora", "qlora") else "copy"


def _generation(reading: Reading) -> None:
    """swift/rlhf_trainers/args_mixin.py: prompts have max_length tokens, and completions theirs beside."""
    made = reading.take("completion_tokens", "max_completion_length", 512)
    if "context" in reading.settings:
        reading.settings["context"] = int(reading.settings["context"]) + made
    if not reading.flag("use_vllm"):
        reading.assume("generation", "generate", "use_vllm is not on")
    elif reading.get("vllm_mode") == "server":
        reading.put("generation", "server", "vllm_mode")
    elif reading.get("vllm_mode") != "colocate":
        reading.refuse("vllm_mode", "on which GPUs vLLM runs")
    else:
        asleep = reading.whole("sleep_level", 0) > 0
        reading.put("generation", "colocated-sleep" if asleep else "colocated", "vllm_mode")
        reading.take("vllm_gpu_memory_utilization", "vllm_gpu_memory_utilization", 0.9)


LABELLED = (
    "ms-swift makes logits from the first token with a label on alone (use_logits_to_keep): what is counted is a bound"
)
"""trainers/mixin.py, prepare_logits_to_keep; with packing those of tokens with labels alone."""


def _spread(reading: Reading) -> None:
    given = reading.get("deepspeed")
    if str(given) in ZERO:
        reading.spread = "zero"
        for setting, value in deepspeed.told(ZERO[str(given)]).items():
            reading.put(setting, value, "deepspeed")
    elif given is not None:
        common.deepspeed(reading)
    if reading.get("fsdp") == "fsdp2":  # swift/config/fsdp2.json
        reading.spread = "fsdp"
        reading.put("checkpointing", "full", "fsdp")
    elif reading.get("fsdp") is not None:
        reading.refuse("fsdp", "a file of FSDP's settings")


TRAINER = Trainer(
    "ms-swift",
    "ms-swift",
    "modelscope/ms-swift 3602360 (2026-08-22), swift/arguments",
    (frozenset({"swift"}), frozenset({"model", "tuner_type"}), frozenset({"model", "train_type", "dataset"})),
    IGNORED,
    UNMODELLED,
    read,
    {
        "--batch": {"per_device_train_batch_size": "{}"},
        "--context": {"max_length": "{}"},
        "--image-size": {"max_pixels": "{pixels}"},
        "--checkpointing full": {"gradient_checkpointing": "true"},
        "--optimizer-impl fused": {"optim": "adamw_torch_fused"},
        "--optimizer adamw-8bit": {"optim": "adamw_bnb_8bit"},
        "--optimizer paged-adamw-8bit": {"optim": "paged_adamw_8bit"},
        "--logits chunked": {"use_liger_kernel": "true"},
    },
)
