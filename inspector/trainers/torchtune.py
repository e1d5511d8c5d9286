"""torchtune's YAML."""

from __future__ import annotations

import re

from inspector.trainers import common
from inspector.trainers.reading import Reading, Trainer

IGNORED = (
    *("output_dir", "tokenizer", "checkpointer", "seed", "shuffle", "epochs", "max_steps_per_epoch", "log_*", "device"),
    *(
        "metric_logger",
        "profiler",
        "lr_scheduler",
        "clip_grad_norm",
        "resume_from_checkpoint",
        "dataset",
        "dataset_val",
    ),
    *(
        "run_val_every_n_steps",
        "batch_size_val",
        "save_*",
        "low_cpu_ram",
        "collate_fn",
        "optimizer",
        "model.lora_alpha",
    ),
    *("max_bsize", "name", "datasets", "loss", "model.max_seq_len", "keep_last_n_checkpoints", "async_checkpointing"),
    *("use_distributed_state_dict", "cudnn_deterministic_mode", "model.image_size", "dataloader"),
    *("max_new_tokens", "temperature", "top_k", "enable_kv_cache", "max_seq_length", "apply_chat_template"),
)

UNMODELLED = {
    "ac_mode": "selective checkpointing by torchtune's own numbers: --checkpointing selective says it",
    "teacher_*": "distillation by another recipe",
    "kd_*": "distillation by another recipe",
    "ref_*": "a reference model",
    "quantizer*": "quantization-aware training",
    "policy_*": "reinforcement methods",
    "reward_*": "reinforcement methods",
    "grpo_*": "reinforcement methods",
    "ppo_*": "reinforcement methods",
    "enable_fp8_training": "torchtune's fp8",
    "context_parallel_dim": "torchtune's context parallelism",
    "use_flex": "flex attention",
    "prompt*": "a generation, which is no training step",
    "tasks": "an evaluation, which is no training step",
    "model.*_trainable": "parts of the model that train or not",
}

OPTIMIZERS = {
    "torch.optim.AdamW": "adamw",
    "torch.optim.Adam": "adamw",
    "torch.optim.SGD": "sgd",
    "bitsandbytes.optim.AdamW8bit": "adamw-8bit",
    "bitsandbytes.optim.PagedAdamW8bit": "paged-adamw-8bit",
    "bitsandbytes.optim.PagedAdamW": "paged-adamw",
    "torchao.prototype.low_bit_optim.AdamW8bit": "torchao-adamw-8bit",
    "torchao.prototype.low_bit_optim.AdamW4bit": "torchao-adamw-4bit",
    "torchao.optim.AdamW8bit": "torchao-adamw-8bit",
}

LOSSES = {
    "CEWithChunkedOutputLoss": "chunked-loss",
    "LinearCrossEntropyLoss": "chunked",
    "CrossEntropyLoss": "all",
}
"""torchtune's losses: logits in chunks with the head apart, within the loss, or all at once."""

MODULES = {"output_proj": "o_proj"}

MODELS = {
    "llama2_7b": "meta-llama/Llama-2-7b-hf",
    "llama3_8b": "meta-llama/Meta-Llama-3-8B",
    "llama3_1_8b": "meta-llama/Llama-3.1-8B",
    "llama3_2_1b": "meta-llama/Llama-3.2-1B",
    "llama3_2_3b": "meta-llama/Llama-3.2-3B",
    "llama3_3_70b": "meta-llama/Llama-3.3-70B-Instruct",
    "mistral_7b": "mistralai/Mistral-7B-v0.1",
    "qwen2_5_0_5b": "Qwen/Qwen2.5-0.5B",
    "qwen2_5_7b_base": "Qwen/Qwen2.5-7B",
    "qwen2_5_7b_instruct": "Qwen/Qwen2.5-7B-Instruct",
}
"""torchtune's builders of models -> a repository of the same shape; others are named on the command line."""


def read(reading: Reading) -> None:
    """recipes/ (full_finetune_*.py, lora_finetune_*.py) and their configs."""
    method, builder = _model(reading)
    if builder in MODELS:
        reading.put("model", MODELS[builder], "model._component_")
    else:
        reading.unnamed = f"model._component_ {builder}"
    length = reading.get("tokenizer.max_seq_len")
    if length is not None:
        reading.put("context", reading.whole("tokenizer.max_seq_len", 1), "tokenizer.max_seq_len")
    else:
        longest = "the longest example, which the file does not bound: --context N"
        reading.refuse("tokenizer.max_seq_len", longest, unless="context")
    if not reading.flag("dataset.packed"):
        reading.notes.append("without packing a step's longest sequence is taken to have max_seq_len tokens")
    reading.take("batch", "batch_size", 1)
    reading.take("grad_accum", "gradient_accumulation_steps", 1)
    reading.choose("precision", "dtype", {"bf16": "bf16", "fp32": "fp32"}, "bf16")
    _optimizer(reading)
    loss = str(reading.get("loss._component_", "CrossEntropyLoss")).rpartition(".")[2]
    if reading.get("kd_loss._component_") is not None:
        _distillation(reading)
    elif loss in DPO_LOSSES:
        _preferences(reading)
    elif loss in LOSSES:
        reading.put("logits", LOSSES[loss], "loss._component_")
    else:
        reading.refuse("loss._component_", f"the loss {loss}")
    common.checkpointing(
        reading,
        on=reading.flag("enable_activation_checkpointing"),
        key="enable_activation_checkpointing",
        offload=reading.flag("enable_activation_offloading"),
    )
    if reading.flag("compile"):
        compiles = method == "full" and not reading.flag("enable_activation_checkpointing")
        if compiles:
            reading.put("compiled", True, "compile")
        elif not reading.flag("enable_activation_checkpointing"):
            reading.notes.append("compile: what compiled blocks keep is not modelled here: a bound")
    reading.assume("attention", "sdpa")
    _spread(reading)


DPO_LOSSES = ("DPOLoss", "RSOLoss")
"""torchtune/rlhf/loss: functions of sums of log-probabilities."""


def _preferences(reading: Reading) -> None:
    """recipes/lora_dpo_*.py: the base under the adapters is the reference; full_dpo_distributed.py: a frozen copy."""
    reading.put("objective", "dpo", "loss._component_")
    reading.settings["whole_logits"] = True
    reading.assume("logits", "all", "log-probabilities are of whole logits (rlhf.get_batch_log_probs)")
    reading.taken |= {key for key in reading.values if key.startswith(("ref_checkpointer", "loss.", "ref_policy_"))}
    reading.notes.append("torchtune's DPO holds of logits what TRL's does: from source, not measured")


def _distillation(reading: Reading) -> None:
    """recipes/knowledge_distillation_*.py: a teacher's logits and the student's, both in chunks."""
    reading.put("objective", "kd", "kd_loss._component_")
    reading.settings["whole_logits"] = True
    reading.assume("logits", "all", "the model gives all logits, in chunks")
    builder = str(reading.get("teacher_model._component_", "")).rpartition(".")[2]
    if builder in MODELS:
        reading.put("reference_repo", MODELS[builder], "teacher_model._component_")
    else:
        which = f"the teacher {builder}: --reference-model ID"
        reading.refuse("teacher_model._component_", which, unless="reference_repo")
    reading.taken |= {key for key in reading.values if key.startswith(("teacher_checkpointer", "kd_", "loss."))}
    reading.notes.append("torchtune's losses upcast logits by chunks: what is counted for distillation is a bound")


def _model(reading: Reading) -> tuple[str, str]:
    """How the model trains and its builder: "lora_llama3_1_8b" is the second with adapters."""
    component = str(reading.get("model._component_", "")).rpartition(".")[2]
    method = "qlora" if component.startswith("qlora_") or reading.flag("model.quantize_base") else "full"
    if component.startswith("lora_") and method == "full":
        method = "lora"
    reading.put("method", method, "model._component_")
    if method == "full":
        return method, component
    reading.settings["adapter_dtype"] = "bf16"
    common.adapters(reading, rank="model.lora_rank", dropout="model.lora_dropout", default_rank=8, default_dropout=0.0)
    given = [name for name in reading.names("model.lora_attn_modules").split(",") if name]
    names = [MODULES.get(name, name) for name in given]
    if reading.flag("model.apply_lora_to_mlp"):
        names += ["gate_proj", "up_proj", "down_proj"]
    if reading.flag("model.apply_lora_to_output"):
        reading.refuse("model.apply_lora_to_output", "adapters on the head")
    reading.put("lora_targets", ",".join(names), "model.lora_attn_modules")
    if reading.flag("model.use_dora"):
        reading.refuse("model.use_dora", "DoRA in bf16")
    return method, re.sub("^q?lora_", "", component)


def _optimizer(reading: Reading) -> None:
    component = str(reading.get("optimizer._component_", "torch.optim.AdamW"))
    if component not in OPTIMIZERS:
        reading.refuse("optimizer._component_", f"the optimizer {component}")
        return
    reading.put("optimizer", OPTIMIZERS[component], "optimizer._component_")
    if reading.flag("optimizer.fused"):
        reading.put("optimizer_impl", "fused", "optimizer.fused")
    if reading.flag("optimizer_in_bwd"):
        reading.put("optimizer_in_backward", True, "optimizer_in_bwd")


def _spread(reading: Reading) -> None:
    reading.spread = "fsdp"
    for key in ("fsdp_cpu_offload", "fsdp.cpu_offload"):
        if reading.flag(key):
            reading.put("offload", ("params",), key)
    if reading.get("custom_sharded_layers"):
        reading.put("shard_embeddings", True, "custom_sharded_layers")
    common.degree(reading, "tp", "tensor_parallel_dim")
    reading.taken |= {"tensor_parallel_plan._component_", "tensor_parallel_plan", "memory_efficient_fsdp_wrap"}
    reading.taken |= {"data_parallel_shard_dim", "data_parallel_replicate_dim", "fsdp_reshard_after_forward", "fsdp"}


TRAINER = Trainer(
    "torchtune",
    "torchtune",
    "pytorch/torchtune bd2a0fc (2026-04-23), recipes/",
    (frozenset({"model._component_", "batch_size"}), frozenset({"model._component_", "checkpointer._component_"})),
    IGNORED,
    UNMODELLED,
    read,
    {
        "--batch": {"batch_size": "{}"},
        "--context": {"tokenizer.max_seq_len": "{}"},
        "--checkpointing full": {"enable_activation_checkpointing": "True"},
        "--optimizer-impl fused": {"optimizer.fused": "True"},
        "--optimizer adamw-8bit": {"optimizer._component_": "bitsandbytes.optim.AdamW8bit"},
        "--optimizer paged-adamw-8bit": {"optimizer._component_": "bitsandbytes.optim.PagedAdamW8bit"},
        "--logits chunked": {"loss._component_": "torchtune.modules.loss.LinearCrossEntropyLoss"},
    },
)
