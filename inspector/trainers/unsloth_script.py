"""Unsloth's calls in a script or a notebook: FastLanguageModel.from_pretrained, get_peft_model, SFTConfig, SFTTrainer.

What is counted is as for the YAML of its own command (unsloth.py).
"""

from __future__ import annotations

from inspector.trainers import common, trl, unsloth
from inspector.trainers.reading import Reading, Trainer

TRAINERS = ("SFTTrainer", "UnslothTrainer")

QUANTIZED = ("-unsloth-bnb-4bit", "-bnb-4bit")
"""Ends of the names of Unsloth's repositories of weights in 4 bits, beside which stand those in 16 bits."""


def read(reading: Reading) -> None:
    """unsloth/models/loader.py and llama.py (defaults); models/rl.py for what it makes of TRL's arguments."""
    name = reading.get("load.model_name")
    if name is not None:
        whole = next((name.removesuffix(end) for end in QUANTIZED if str(name).endswith(end)), name)
        reading.put("model", whole, "load.model_name")
    for kind in ("load", "trainer", "adapters"):
        reading.taken.add(f"{kind}.class")
    if "load.max_seq_length" in reading.values and reading.get("load.max_seq_length") is None:
        reading.refuse("load.max_seq_length", "None, the model's own maximum", unless="context")
    reading.take("context", "load.max_seq_length", 2048)
    for key in ("args.max_seq_length", "args.max_length", "trainer.max_seq_length"):
        if reading.get(key) is not None:
            reading.put("context", reading.whole(key, 2048), key)
    reading.take("batch", "args.per_device_train_batch_size", 4)
    reading.take("grad_accum", "args.gradient_accumulation_steps", 2)
    common.optimizer(reading, "args.optim", "adamw_8bit")
    unsloth.fused_loss(reading)
    reading.assume("attention", "sdpa")
    packing = [reading.flag(f"{kind}.packing") for kind in ("args", "trainer")]
    if not any(packing):
        reading.notes.append("without packing a step's longest sequence is taken to have max_seq_length tokens")
    reading.notes.append(unsloth.OWN)
    reading.taken |= {"args.bf16", "args.fp16", "args.class", "args.gradient_checkpointing"}
    _refuse_others(reading)
    _adapters(reading)


def _refuse_others(reading: Reading) -> None:
    """Steps of another kind."""
    trainer, loader = str(reading.get("trainer.class", "SFTTrainer")), str(reading.get("load.class"))
    if trainer not in TRAINERS:
        reading.refuse("trainer.class", f"Unsloth's own passes of {trainer}")
    if "Vision" in loader or not loader.endswith("Model"):
        reading.refuse("load.class", f"a model of {loader}")
    if reading.flag("load.full_finetuning"):
        reading.refuse("load.full_finetuning", "Unsloth's full fine-tuning, whose precision its loader decides")
    elif not any(key.startswith("adapters.") for key in reading.values):
        reading.refuse("load.model_name", "a script without get_peft_model: nothing trains in it")


def _adapters(reading: Reading) -> None:
    """fp32 adapters on a base in nf4 with double quantization, or in bf16; the checkpoints' place."""
    sixteen = reading.flag("load.load_in_16bit")
    four = reading.flag("load.load_in_4bit", default=not sixteen) and not sixteen
    reading.assume("precision", "bf16", "the base's; adapters are fp32 (unsloth_zoo/training_utils.py)")
    unsloth.tell(reading, "method", "qlora" if four else "lora", "load.load_in_4bit")
    reading.take("lora_rank", "adapters.r", 16)
    reading.take("lora_dropout", "adapters.lora_dropout", 0.0)
    names = reading.names("adapters.target_modules").replace(" ", "") or unsloth.TARGETS
    whole = [name for name in names.split(",") if name in ("embed_tokens", "lm_head")]
    if whole or reading.get("adapters.modules_to_save") is not None:
        reading.refuse("adapters.target_modules", "embeddings and heads that train whole")
    elif names.replace("-", "_") in ("all_linear",) or set(names.split(",")) == set(unsloth.TARGETS.split(",")):
        unsloth.tell(reading, "lora_targets", "all-linear", "adapters.target_modules")
    else:
        common.targets(reading, "adapters.target_modules", names)
    unsloth.checkpointing(reading, "adapters.use_gradient_checkpointing")


LOADING = (
    "unsloth_force_compile",
    "dtype",
    "token",
    "device_map",
    "rope_scaling",
    "fix_tokenizer",
    "trust_remote_code",
    "random_state",
)
ADAPTING = (
    *("lora_alpha", "bias", "random_state", "use_rslora", "finetune_*", "task_type", "max_seq_length"),
    *("init_lora_weights", "use_gradient_checkpointing"),
)
TRAINING = (
    *("model", "tokenizer", "processing_class", "train_dataset", "eval_dataset", "dataset_*", "args", "data_collator"),
    *("callbacks", "formatting_func", "compute_metrics", "max_seq_length", "packing", "preprocess_logits_for_metrics"),
)

TRAINER = Trainer(
    "unsloth-script",
    "Unsloth in Python",
    "unslothai/unsloth 015bdef (2026-08-22), models/",
    (frozenset({"load.class", "load.model_name"}),),
    (
        *(f"args.{key}" for key in (*common.TRAINING_ARGUMENTS, *trl.IGNORED, "embedding_learning_rate")),
        *(f"load.{key}" for key in (*LOADING, "use_gradient_checkpointing", "use_exact_model_name", "revision")),
        *(f"adapters.{key}" for key in ADAPTING),
        *(f"trainer.{key}" for key in TRAINING),
    ),
    {
        "load.load_in_8bit": "a base in 8 bits (LLM.int8)",
        "load.load_in_fp8": "a base in fp8",
        "load.fast_inference": "vLLM that shares the weights",
        "load.offload_embedding": "embeddings on the CPU",
        "load.attn_implementation": "attention that the script chooses",
        "load.unsloth_tiled_mlp": "an MLP in tiles",
        "*.qat_scheme": "quantization-aware training",
        "*.quantization_config": "a recipe of quantization of its own",
        "adapters.loftq_config": "LoftQ",
        "adapters.layers_to_transform": "adapters on some layers",
        "adapters.finetune_last_n_layers": "adapters on some layers",
        "adapters.target_parameters": "adapters on stacked experts by name",
        "args.again": "a second training run in the same file",
    },
    read,
)
