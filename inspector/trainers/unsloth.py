"""The YAML of Unsloth's own command, `unsloth train --config FILE`.

Its passes are Unsloth's own kernels, which keep less than transformers' classes. Of its mechanics two are modelled:
checkpoints that wait on the CPU (use_gradient_checkpointing="unsloth"), and the cross entropy that makes logits by
chunks (unsloth_zoo/fused_losses).
"""

from __future__ import annotations

from inspector.trainers.reading import Reading, Trainer

OWN = (
    "Unsloth's own passes keep less than transformers' classes; its repositories in 4 bits (...-unsloth-bnb-4bit) keep"
    " some layers in 16 bits, which is not counted (Qwen3 14B: 2 GiB)"
)


def read(reading: Reading) -> None:
    """unsloth_cli/config.py; studio/backend/core/training/trainer.py for what it has no key for."""
    if reading.get("model") is not None:
        reading.put("model", reading.get("model"), "model")
    reading.take("context", "training.max_seq_length", 2048)
    reading.take("batch", "training.batch_size", 2)
    reading.take("grad_accum", "training.gradient_accumulation_steps", 4)
    reading.assume("optimizer", "adamw-8bit", "its trainer's default, adamw_8bit")
    fused_loss(reading)
    reading.assume("attention", "sdpa")
    if not reading.flag("training.packing"):
        reading.notes.append("without packing a step's longest sequence is taken to have max_seq_length tokens")
    reading.notes.append(OWN)
    kind = str(reading.get("training.training_type", "lora")).strip().lower()
    if kind != "lora":
        reading.refuse("training.training_type", "Unsloth's full fine-tuning, whose precision its loader decides")
        return
    _adapters(reading)
    checkpointing(reading, "training.gradient_checkpointing")


def _adapters(reading: Reading) -> None:
    """fp32 adapters (prepare_model_for_training) on a base in nf4 with double quantization, or in bf16."""
    reading.assume("precision", "bf16", "the base's; adapters are fp32 (unsloth_zoo/training_utils.py)")
    four = reading.flag("training.load_in_4bit", default=True)
    tell(reading, "method", "qlora" if four else "lora", "training.load_in_4bit")
    reading.take("lora_rank", "lora.lora_r", 64)
    reading.take("lora_dropout", "lora.lora_dropout", 0.0)
    names = reading.names("lora.target_modules").replace(" ", "") or TARGETS
    every = set(names.split(",")) == set(TARGETS.split(","))
    tell(reading, "lora_targets", "all-linear" if every else names, "lora.target_modules")
    if reading.flag("lora.use_dora"):
        reading.put("dora", True, "lora.use_dora")


def fused_loss(reading: Reading) -> None:
    """Its cross entropy takes as large a chunk as half of the free memory holds in fp32, and 4 GiB at most."""
    reading.assume("logits", "chunked", "its cross entropy makes logits by chunks (unsloth_zoo/fused_losses)")
    reading.assume("logits_chunk", CHUNK_GIB, "its chunks' most (unsloth_zoo ce232d6, _get_chunk_multiplier)")


CHUNK_GIB = 4.0
"""GiB of a chunk's logits in fp32; UNSLOTH_CE_LOSS_TARGET_GB sets another."""


def checkpointing(reading: Reading, key: str) -> None:
    """unsloth: the blocks' inputs wait on the CPU (unsloth_zoo/gradient_checkpointing.py)."""
    how = str(reading.get(key, "unsloth")).strip().lower()
    if how == "unsloth":
        tell(reading, "checkpointing", "full", key)
        tell(reading, "offload", ("activations",), key)
    elif how in ("true", "1", "yes"):
        reading.put("checkpointing", "full", key)
    elif how in ("none", "false", "0", "no", "off"):
        reading.put("checkpointing", "none", key)
    else:
        reading.refuse(key, f"'{how}' is not known here")


def tell(reading: Reading, setting: str, value: object, key: str) -> None:
    """A setting that a key gives, or its default."""
    if reading.get(key) is None:
        reading.assume(setting, value)
    else:
        reading.put(setting, value, key)


TARGETS = "q_proj,k_proj,v_proj,o_proj,gate_proj,up_proj,down_proj"

TRAINER = Trainer(
    "unsloth",
    "Unsloth",
    "unsloth 2026.10.9, unsloth_cli/config.py",
    (
        frozenset({"training.load_in_4bit"}),
        frozenset({"training.training_type"}),
        frozenset({"training.max_seq_length", "training.batch_size"}),
    ),
    (
        *("data.*", "logging.*", "training.output_dir", "training.num_epochs", "training.learning_rate"),
        *("training.warmup_steps", "training.max_steps", "training.save_steps", "training.weight_decay"),
        *("training.random_seed", "training.train_on_completions", "lora.lora_alpha", "lora.use_rslora"),
        *("lora.vision_all_linear", "lora.finetune_*"),
    ),
    {"lora.use_loftq": "LoftQ"},
    read,
    {
        "--batch": {"training.batch_size": "{}"},
        "--grad-accum": {"training.gradient_accumulation_steps": "{}"},
        "--context": {"training.max_seq_length": "{}"},
        "--checkpointing full": {"training.gradient_checkpointing": "unsloth"},
        "--method qlora": {"training.load_in_4bit": "true"},
    },
)
