"""LLaMA-Factory's YAML."""

from __future__ import annotations

import math

from inspector.trainers import common, objectives
from inspector.trainers.reading import Reading, Trainer

IGNORED = (
    *common.TRAINING_ARGUMENTS,
    *("dataset", "dataset_dir", "media_dir", "eval_dataset", "template", "max_samples", "preprocessing_*", "plot_loss"),
    *(
        "lora_alpha",
        "loraplus_*",
        "use_rslora",
        "cache_dir",
        "model_revision",
        "mix_strategy",
        "streaming",
        "buffer_size",
    ),
    *("val_size", "predict_with_generate", "ray_*", "resources_per_worker", "placement_strategy", "tokenized_path"),
    *("image_*", "video_*", "audio_*", "use_reentrant_gc", "apollo_scale*", "galore_scale", "swanlab_*", "use_swanlab"),
    *(
        "split_special_tokens",
        "resize_vocab",
        "mask_history",
        "train_on_prompt",
        "compute_accuracy",
        "low_cpu_mem_usage",
    ),
    *("pref_*", "dpo_label_smoothing", "simpo_gamma", "ld_alpha", "kto_*_weight", "ppo_*", "reward_model*"),
    *("pissa_*", "quantization_type", "quantization_device_map", "ref_model*", "print_param_status", "enable_thinking"),
)

UNMODELLED = {
    "use_badam": "BAdam, which trains a block at a time",
    "use_llama_pro": "LLaMA Pro's new blocks",
    "mixture_of_depths": "mixture of depths",
    "use_unsloth": "Unsloth's own passes",
    "use_unsloth_gc": "Unsloth's gradient checkpointing",
    "shift_attn": "shifted sparse attention",
    "galore_layerwise": "a step in the backward pass of each layer",
    "apollo_layerwise": "a step in the backward pass of each layer",
    **dict.fromkeys(("use_mca", "use_megatron_bridge", "*_model_parallel_size", "*_fusion", "overlap_*"), "Megatron"),
    **dict.fromkeys(("sequence_parallel", "use_distributed_optimizer", "moe_grouped_gemm", "recompute_*"), "Megatron"),
    **dict.fromkeys(("moe_token_dispatcher_type", "mixed_precision", "export_hf_on_finish"), "Megatron"),
    **dict.fromkeys(("use_packed_sequences", "context_parallel_size"), "Megatron"),
    "infer_*": "inference, which is no training step",
    "export_*": "an export, which is no training step",
    "use_kt": "KTransformers",
    "use_hyper_parallel": "HyperParallel",
    "fp8*": "LLaMA-Factory's fp8",
    "additional_target": "modules that train beside the adapters",
    "upcast_layernorm": "norms in fp32",
    "upcast_lmhead_output": "logits in fp32",
    "use_asft_loss": "a loss with a reference model",
    "use_dft_loss": "a loss with weights of its own",
    "use_eaft_loss": "a loss with weights of its own",
    "neftune_noise_alpha": "noise on embeddings",
    "oft_*": "OFT",
    "freeze_*": "layers that are frozen",
}


OWN_DTYPE = "without bf16 or fp16 nothing is autocast: the base keeps the model's own dtype, adapters are fp32"
"""model/loader.py, load_model: torch_dtype "auto"; what trains is cast to fp32 (model/adapter.py, init_adapter)."""


def read(reading: Reading) -> None:
    """src/llamafactory/hparams/ (defaults), model/adapter.py and model/loader.py (precision)."""
    model = reading.get("model_name_or_path")
    if model is not None:
        reading.put("model", model, "model_name_or_path")
    if reading.get("adapter_name_or_path") is not None:
        reading.refuse("adapter_name_or_path", "adapters that were trained before")
    stage = str(reading.get("stage", "sft"))
    if stage == "dpo":
        _preferences(reading)
    elif stage in OWN:
        objectives.put_objective(reading, OWN[stage], "stage")
        reading.settings |= {"fp32_outputs": True, "whole_logits": True} if stage == "kto" else {}
    elif stage not in ("sft", "pt"):
        reading.refuse("stage", STAGES.get(stage, f"the method of stage {stage}"))
    reading.take("context", "cutoff_len", 2048)
    common.batches(reading, batch="per_device_train_batch_size", default=8)
    if not (reading.flag("packing") or reading.flag("neat_packing")):
        reading.notes.append("without packing a step's longest sequence is taken to have cutoff_len tokens")
    reading.taken.add("fsdp_transformer_layer_cls_to_wrap")
    common.spread(reading)
    _method(reading)
    _images(reading)
    _optimizer(reading)
    off = reading.flag("disable_gradient_checkpointing")
    key = "disable_gradient_checkpointing"
    reading.taken.add("gradient_checkpointing")
    common.checkpointing(reading, on=not off, key=key)
    common.reentrant(reading, "use_reentrant_gc", default=True)
    reading.choose("attention", "flash_attn", common.ATTENTION, "auto")
    if reading.flag("enable_liger_kernel") and stage in ("sft", "pt"):
        reading.put("logits", "chunked", "enable_liger_kernel")
    else:
        reading.assume("logits", "all")
    if reading.flag("enable_liger_kernel"):  # model/model_utils/liger_kernel.py: without its loss in other stages
        reading.put("kernels", "liger", "enable_liger_kernel")
    if reading.flag("use_v1_kernels"):
        reading.notes.append("LLaMA-Factory's own kernels keep less than is counted: a bound")
    common.router_loss(reading, "moe_aux_loss_coef")
    common.compiled(reading, "torch_compile")


STAGES = {"ppo": "PPO: policy, value head, reward model and generation"}

OWN = {"kto": "kto-fp32", "rm": "reward-lm"}
"""Stages whose step is LLaMA-Factory's own -> objectives."""

LOSSES = dict.fromkeys(("sigmoid", "hinge", "ipo", "kto_pair"), "dpo") | {"orpo": "orpo", "simpo": "simpo"}
"""LLaMA-Factory's pref_loss -> objectives."""

OWN_LOSS = "LLaMA-Factory's own loss over fp32 logits takes what TRL's over fp32 outputs does (ten measured steps)"
"""train/dpo/trainer.py, concatenated_forward; train/trainer_utils.py, get_batch_logps."""


def _preferences(reading: Reading) -> None:
    """Stage dpo: the loss by pref_loss; a reference model but for ORPO and SimPO, the base under adapters."""
    name = str(reading.get("pref_loss", "sigmoid"))
    if name not in LOSSES:
        reading.refuse("pref_loss", f"the loss '{name}'")
        return
    objectives.put_objective(reading, LOSSES[name], "stage")
    for key in ("ref_model", "ref_model_adapters", "ref_model_quantization_bit"):
        if reading.get(key) is not None:
            reading.refuse(key, "a reference model of its own")
    reading.settings["fp32_outputs"] = True  # and by its own cast (concatenated_forward)
    reading.settings["whole_logits"] = True
    reading.notes.append(OWN_LOSS)


def _method(reading: Reading) -> None:
    """What trains is cast to fp32, but under pure_bf16 and DeepSpeed's ZeRO-3 (model/adapter.py, init_adapter)."""
    kind = str(reading.get("finetuning_type", "lora"))
    pure, computes = reading.flag("pure_bf16"), common.half(reading) or reading.flag("pure_bf16")
    key = "pure_bf16" if pure else "bf16"
    reading.own_dtype = pure or (kind == "lora" and reading.get("quantization_bit") is None)
    if kind == "lora" and not computes:
        reading.assume("precision", "bf16", OWN_DTYPE)
    else:
        common.precision(reading, loaded="bf16" if pure else "fp32", computes=computes, key=key)
    bits = reading.get("quantization_bit")
    if kind == "full":
        reading.put("method", "full", "finetuning_type")
        if bits is not None:
            reading.refuse("quantization_bit", "a quantized base without adapters")
        return
    if kind != "lora":
        reading.refuse("finetuning_type", f"the method {kind}")
        return
    if str(reading.get("quantization_method", "bnb")).lower() not in ("bnb", "bitsandbytes"):
        reading.refuse("quantization_method", "a base that bitsandbytes does not quantize")
    width = reading.whole("quantization_bit", 4)
    if bits is not None and width not in (4, 8):
        reading.refuse("quantization_bit", f"a base in {bits} bits")
    reading.put("method", "qlora" if bits is not None else "lora", "quantization_bit" if bits else "finetuning_type")
    if bits is not None and width == 8:
        common.eight_bits(reading, "quantization_bit")
        reading.taken.add("double_quantization")
        common.stays_bf16(reading)
    elif bits is not None:
        reading.take("double_quant", "double_quantization", True)
        common.stays_bf16(reading)  # model/model_utils/checkpointing.py: norms are fp32 by upcast_layernorm alone
    common.adapters(reading, rank="lora_rank", dropout="lora_dropout", default_rank=8, default_dropout=0.0)
    common.targets(reading, "lora_target", reading.get("lora_target", "all"))
    if reading.flag("use_dora"):
        reading.put("dora", True, "use_dora")
    if pure:
        reading.put("adapter_dtype", "bf16", "pure_bf16")


def _images(reading: Reading) -> None:
    """hparams/finetuning_args.py: frozen where nothing is said; hparams/model_args.py: image_max_pixels."""
    names = ("freeze_vision_tower", "freeze_multi_modal_projector", "freeze_language_model", "image_max_pixels")
    if all(reading.get(name) is None for name in names):
        return
    if reading.flag("freeze_language_model"):
        reading.refuse("freeze_language_model", "a frozen language model")
    tower, projector = (reading.flag(name, default=True) for name in names[:2])
    common.vision(reading, "frozen" if projector else "projector", names[1])
    if not tower and reading.settings["method"] == "full":
        reading.put("vision", "trained", names[0])
        if projector:
            reading.refuse(names[1], "a frozen projector behind an encoder that trains")
    elif not tower:  # model/model_utils/misc.py, find_all_linear_modules: the projector never has any
        reading.put("vision", "adapters", names[0])
        reading.notes.append(f"{names[0]}: adapters on the projector are counted, too, where LLaMA-Factory puts none")
    side = math.isqrt(reading.whole("image_max_pixels", 768 * 768))
    reading.put("image_size", (side, side), "image_max_pixels")


def _optimizer(reading: Reading) -> None:
    chosen = [
        (key, ours)
        for key, ours in (
            ("use_galore", "galore"),
            ("use_apollo", "apollo"),
            ("use_muon", "muon"),
            ("use_adam_mini", "adam-mini"),
        )
        if reading.flag(key)
    ]
    for key, ours in chosen:
        reading.put("optimizer", ours, key)
        reading.taken.add("optim")
    if not chosen:
        common.optimizer(reading, "optim", "adamw_torch_fused")
    for key, ours in (("galore", "galore"), ("apollo", "apollo")):
        rank, where = reading.get(f"{key}_rank"), str(reading.get(f"{key}_target", "all"))
        if reading.settings.get("optimizer") == ours:
            reading.settings["optimizer_rank"] = 16 if rank is None else reading.whole(f"{key}_rank", 16)
            if where != "all":
                reading.refuse(f"{key}_target", "targets of the optimizer")


TRAINER = Trainer(
    "llama-factory",
    "LLaMA-Factory",
    "hiyouga/LLaMA-Factory ff6d4d1 (2026-08-18), src/llamafactory/hparams",
    (
        frozenset({"model_name_or_path", "finetuning_type"}),
        frozenset({"model_name_or_path", "cutoff_len"}),
        frozenset({"model_name_or_path", "template"}),
    ),
    IGNORED,
    UNMODELLED,
    read,
    {
        "--batch": {"per_device_train_batch_size": "{}"},
        "--context": {"cutoff_len": "{}"},
        "--image-size": {"image_max_pixels": "{pixels}"},
        "--checkpointing full": {"disable_gradient_checkpointing": "false"},
        "--optimizer-impl fused": {"optim": "adamw_torch_fused"},
        "--optimizer adamw-8bit": {"optim": "adamw_8bit"},
        "--optimizer paged-adamw-8bit": {"optim": "paged_adamw_8bit"},
        "--logits chunked": {"enable_liger_kernel": "true"},
        "--method lora": {"finetuning_type": "lora", "lora_rank": "16", "lora_target": "all"},
        "--method qlora": {
            "finetuning_type": "lora",
            "lora_rank": "16",
            "lora_target": "all",
            "quantization_bit": "4",
            "quantization_method": "bnb",
        },
    },
)
