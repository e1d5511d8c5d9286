"""One training case through the library: the peak that `llm-inspect train` gives beside the published one.

Most cases are of trainers other than transformers and peft (torchtune, litgpt, the QLoRA paper): the estimate answers
for the nearest settings: their own kernels are in the error. What a case does not state is as the trainer's own configs
have it (torchtune 0.5: recipes/configs/llama3_*; litgpt of 2023: finetune/lora.py). torchtitan prints what its
allocator reserves (metrics.py: max_reserved_gib), so that is compared; transformers' guide to one GPU of 2022 prints
what nvidia-smi shows, so its CUDA context is taken off, and what is left is compared.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import inspector
from benchmarks.case_facts import GIB, Facts
from inspector.errors import InspectError
from inspector.hub.checkpoint import Checkpoint, Tensor
from inspector.memory import Workload
from inspector.memory.training import (
    Sharding,
    TrainingEstimate,
    TrainingSetup,
    Weights,
    read_weights,
    training_estimate,
    training_total,
)
from inspector.model import Model, build_model

PEAK = "training peak"

TORCHTUNE_TARGETS = "q_proj,v_proj,o_proj,gate_proj,up_proj,down_proj"
"""lora_attn_modules and apply_lora_to_mlp of torchtune's configs; the head has no adapter."""

TORCHTUNE_RANKS = {"meta-llama/Llama-3.2-3B": 64}
"""lora_rank of torchtune's configs, where it is not 8."""

LITGPT_DROPOUT = 0.05

JOINT = {"stabilityai/stablelm-base-alpha-3b": "query_key_value"}
"""Where transformers' class has one projection for queries, keys and values: adapters on it have as many parameters as
litgpt's on queries and values."""

CONFIGS: dict[str, dict[str, Any]] = {
    "stabilityai/stablelm-base-alpha-3b": {
        "model_type": "gpt_neox",
        "architectures": ["GPTNeoXForCausalLM"],
        **{"num_hidden_layers": 16, "hidden_size": 4096, "intermediate_size": 16384, "num_attention_heads": 32},
        **{"vocab_size": 50688, "max_position_embeddings": 4096, "tie_word_embeddings": False},
        **{"use_parallel_residual": True, "rotary_pct": 0.25, "hidden_act": "gelu"},
    },
    "google-bert/bert-large-uncased": {
        "model_type": "bert",
        "architectures": ["BertForSequenceClassification"],
        **{"num_hidden_layers": 24, "hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16},
        **{"vocab_size": 30522, "max_position_embeddings": 512, "type_vocab_size": 2},
    },
}
"""Published configs of models without a bundled snapshot."""

LLAMAS = {
    "LLaMA-65B": (80, 8192, 22016, 64, 32000, 64),
    "meta-llama/Llama-3.1-405B": (126, 16384, 53248, 128, 128256, 8),
}
"""Layers, hidden and intermediate size, heads, vocabulary, key/value heads (Touvron et al., 2023, arXiv 2302.13971,
table 2; Grattafiori et al., 2024, arXiv 2407.21783, table 3)."""


def predict_peak(case: Facts) -> tuple[float | None, float | None, bool | None, str]:
    """(predicted, measured) in GiB, whether it fitted, and why anything is missing."""
    measured = case["measured"]
    titan = str(case["engine"]).startswith("torchtitan")
    occupied = "process_mib_nvml" in measured
    settings = torchtitan_settings(case) if titan else _trainer_settings(case) if occupied else _settings(case)
    if isinstance(settings, str):
        return None, None, None, settings
    setup, sharding, workload = settings
    try:
        model, tensors = _model(str(case["model_id"]))
        training = training_estimate(model, workload, setup, sharding, tensors)
    except InspectError as error:
        return None, None, None, error.message
    if training.peak is None:
        return None, None, None, training.warnings[-1]
    if titan and "peak_gib" in measured:
        if training.reserved is None:
            return None, None, None, "torchtitan prints reserved memory, of which no rule is known for this run"
        return training.reserved / GIB, measured["peak_gib"], None, ""
    if occupied:
        context = measured.get("cuda_context_mib", V100_CONTEXT_MIB)
        return training.peak / GIB, (measured["process_mib_nvml"] - context) / 1024, None, ""
    more = 0
    engine = str(case["engine"]).split(" ")[0]
    if engine == "litgpt" and not model.architecture.mlp_gated and setup.checkpointing == "none":
        more = _plain_litgpt(model, workload, setup, training) - training.peak
    elif setup.checkpointing == "none":
        kept = {"litgpt": _fused_projection, "torchtune": _expanded_heads}.get(engine)
        more = kept(model, workload) if kept else 0
    if "peak_gib" in measured:
        return (training.peak + more) / GIB, measured["peak_gib"], None, ""
    capacity = measured.get("oom_on_gib") or measured.get("fits_on_gb", 0) * 1e9 / GIB
    if not capacity:
        return None, None, None, "neither a peak nor a verdict was measured"
    # A GPU holds more than the tensors that the published peaks count.
    return ((training_total(training).total or 0) + more) / GIB, capacity, "fits_on_gb" in measured, ""


def _settings(case: Facts) -> tuple[TrainingSetup, Sharding, Workload] | str:
    """The case's settings as the library's, or why it cannot be scored."""
    given, engine = case["settings"], str(case["engine"]).split(" ")[0]
    if "estimator" in str(case["engine"]):
        return "an estimator's figure, no measurement"
    if "adapter" in str(given.get("method")):
        return "LLaMA-Adapter is no method of this library"
    if engine == "peft":
        return "batch and length are not stated"
    # A case of torchtune's ablation names each of its switches; one that names its method alone is as the configs are.
    ablation = "recipe" in given or "method" not in given
    checkpointing = given.get("activation_checkpointing", engine == "torchtune" and not ablation)
    checkpointed = bool(given.get("gradient_checkpointing")) or checkpointing not in (False, "probably off")
    if given.get("packed") is False:
        return "lengths of unpacked examples are not stated"
    how: dict[str, Any] = {"checkpointing": "full" if checkpointed else "none", "optimizer_impl": "fused"}
    method = str(given.get("method", "full"))
    if case.get("quant") or "qlora" in method:
        how["method"] = "qlora"
    elif "lora" in method:
        how["method"] = "lora"
    if "method" in how and engine != "QLoRA":
        how["adapter_dtype"] = "bf16"
    rank = TORCHTUNE_RANKS.get(str(case["model_id"]), 8) if engine == "torchtune" else 8
    if "method" in how:
        how["lora_rank"] = next((int(word[2:]) for word in method.split() if word.startswith("r=")), rank)
        if engine == "torchtune":
            how["lora_targets"] = TORCHTUNE_TARGETS
        elif engine == "litgpt" or "q,v" in method:
            how["lora_targets"] = JOINT.get(str(case["model_id"]), "q_proj,v_proj")
        if engine == "litgpt":
            how["lora_dropout"] = LITGPT_DROPOUT
    if how.get("method") == "qlora":
        how["old_bitsandbytes"] = engine != "torchtune"  # which has a layer of its own
        how["double_quant"] = engine != "litgpt" or "dq" in str(case.get("quant"))
    if given.get("compile") and not checkpointed:
        how["compiled"] = True
    if "8bit" in str(given.get("optimizer")).lower():
        how["optimizer"] = "paged-adamw-8bit" if "paged" in str(given["optimizer"]).lower() else "adamw-8bit"
    if given.get("paged_optimizer"):
        how["optimizer"] = "paged-adamw"
    if given.get("optimizer_in_bwd") and "method" not in how:
        how["optimizer_in_backward"] = True
    if given.get("chunked_ce", engine == "torchtune" and not ablation):
        how["logits"] = "chunked-loss"
    offload = ("activations",) if given.get("activation_offloading") else ()
    if given.get("cpu_offload"):
        offload += ("optimizer", "params")
    gpus = given.get("fsdp", 1)
    # torchtune's configs of 70B and more shard embedding and head apart (custom_sharded_layers).
    sharding = Sharding(fsdp=gpus, offload=offload, shard_embeddings=gpus > 1 and engine == "torchtune")
    context = given.get("longest_example_tokens") or given.get("max_seq_len") or given.get("seq_len") or 512
    return TrainingSetup(**how), sharding, Workload(context, given.get("micro_batch") or given.get("batch") or 1)


V100_CONTEXT_MIB = 1343
"""CUDA's context on the guide's V100, where a case does not say it."""


def _trainer_settings(case: Facts) -> tuple[TrainingSetup, Sharding, Workload] | str:
    """A run of transformers' Trainer of 2022 (4.15, torch 1.10), as its guide to one GPU has them.

    AdamW is transformers' own, a loop; attention is eager; and zero_grad leaves the gradients where they are, zeros, so
    that every step is one of accumulation.
    """
    given = case["settings"]
    words = f"{case.get('dtype')} {given}".lower().replace("_", " ")
    batch = next((given[key] for key in BATCHES if key in given), None)
    if batch is None or not isinstance(given.get("seq_len"), int):
        return "batch and length are not stated"
    accumulation = next((value for key, value in given.items() if "accum" in key and isinstance(value, int)), 1)
    again = any("checkpointing" in key and value not in (False, None, "off") for key, value in given.items())
    half = any(each in words for each in ("'fp16': true", "fp16 mixed", "mixed", "dtype': 'float16", "amp"))
    named = str(given.get("optimizer", "AdamW")).lower()
    optimizer = "adafactor" if "adafactor" in named else "adamw-8bit" if "8" in named else "adamw"
    setup = TrainingSetup(
        precision="mixed" if half or "fp16" in str(case.get("dtype")) else "fp32",
        attention="eager",
        checkpointing="full" if again else "none",
        optimizer=optimizer,
        optimizer_impl="for-loop",
    )
    return setup, Sharding(grad_accum=max(2, accumulation)), Workload(given["seq_len"], batch)


BATCHES = ("per_device_train_batch_size", "per_device_batch", "micro_batch", "batch_size", "batch", "local_batch")
"""What cases call the sequences of one forward pass."""


COMPILED_LOSS_SINCE = "2025"
"""torchtitan compiles the loss since the spring of 2025 (components/loss.py); its table of 2024-12 is from before."""


def torchtitan_settings(case: Facts) -> tuple[TrainingSetup, Sharding, Workload] | str:
    """A run of torchtitan by its code of 2024-12 (commit 9dec370), or why it cannot be told.

    - parallelize_llama.py: fully_shard on each block and on the rest, bf16 over fp32 shards, reduction in fp32; under
      pipelines no resharding; sequence parallelism with every tensor parallelism; loss_parallel is the default.
    - pipelining_utils.py: as many microbatches as stages; the interleaved schedule has two stages a GPU.
    - float8.py: weights are gathered in fp8 (its config of 405B) only where data parallelism itself shards.
    - optimizer.py: AdamW, foreach.
    """
    given = case["settings"]
    words = " ".join(str(value) for value in case["settings"].values()).lower()
    checkpointing = str(given.get("activation_checkpointing", "")).lower()
    kind = next((name for name in ("full", "selective", "none") if checkpointing.startswith(name)), None)
    every = "".join(letter for letter in checkpointing if letter.isdigit())
    if kind is None:
        return f"activation checkpointing '{checkpointing}' is not known here"
    # A degree stands in the settings, or beside them, where 1 says nothing.
    tp, pp, cp = (max(int(given.get(key) or 1), int(case.get(key) or 1)) for key in ("tp", "pp", "cp"))
    shard = given.get("fsdp") or given.get("dp_shard")
    shard = int(shard) if shard else int(given["n_gpus"]) // (tp * pp * cp)
    float8, context = "float8" in words or "fp8" in words, int(given["seq_len"])
    how: dict[str, Any] = {"precision": "mixed", "checkpointing": kind}
    if kind == "selective":
        how |= {"checkpoint_every": int(every)} if every else {"checkpointing": "selective-op"}
    how |= {"compiled": "compile" in words, "fp8": "torchao" if float8 else "none"}
    if how["compiled"] and str(case.get("engine_version", "")) >= COMPILED_LOSS_SINCE:
        how["logits"] = "compiled-loss"
    spread: dict[str, Any] = {"fsdp": shard, "cp": cp, "tp": tp, "pp": pp, "reduce_fp32": True}
    spread |= {"fp8_gather": float8 and shard > 1, "sp": tp > 1, "loss_parallel": tp > 1}
    batch = int(given.get("local_batch") or given.get("micro_batch") or given.get("batch") or 1)
    if pp > 1:
        microbatches = int(given.get("microbatches") or pp)
        if batch % microbatches:
            return f"a batch of {batch} is no {microbatches} microbatches"
        batch //= microbatches
        schedule = "interleaved" if "interleaved" in words else "1f1b"
        spread |= {"grad_accum": microbatches, "schedule": schedule, "reshard": False, "torch_pipeline": True}
    if shard == 1 and cp > 1:
        # FSDP shards over the ranks of context parallelism alone: as over so many GPUs with a share of a sequence each.
        spread |= {"fsdp": cp, "cp": 1}
        context = -(-context // cp)
    return TrainingSetup(**how), Sharding(**spread), Workload(context, batch)


def _model(name: str) -> tuple[Model, Weights]:
    if name in LLAMAS:
        *shape, key_value_heads = LLAMAS[name]
        checkpoint = _llama(name, *shape, key_value_heads=key_value_heads)
        model = build_model(checkpoint)
    else:
        if name in CONFIGS:
            return _of_config(name)
        name = {"meta-llama/Llama-3.1-70B": "meta-llama/Llama-3.3-70B-Instruct"}.get(name, name)  # of the same shape
        inspection = inspector.inspect(name, offline=True)
        checkpoint, model = inspection.checkpoint, inspection.model
    return model, read_weights(checkpoint, model.architecture)


def _of_config(name: str) -> tuple[Model, Weights]:
    """A model by its config alone."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "config.json").write_text(json.dumps(CONFIGS[name]), "utf-8")
        inspection = inspector.inspect(folder, offline=True)
    return inspection.model, read_weights(inspection.checkpoint, inspection.model.architecture)


def _fused_projection(model: Model, workload: Workload) -> int:
    """Bytes that litgpt's attention keeps and transformers' does not.

    Query, key and value are one product in bf16, of which the values stay a view (CausalSelfAttention.forward): what
    attention keeps of the values keeps all of it, the unrotated queries and keys, too.
    """
    config = model.architecture
    heads = (config.num_attention_heads or 0) + (config.num_key_value_heads or config.num_attention_heads or 0)
    width = heads * (config.head_dim or 0)
    return 2 * width * workload.batch * workload.context * (config.num_hidden_layers or 0)


def _plain_litgpt(model: Model, workload: Workload, setup: TrainingSetup, training: TrainingEstimate) -> int:
    """The peak of litgpt's own class where its MLP is one GELU between two products (phi, StableLM, Pythia).

    Its blocks keep less than transformers' (lit_gpt/model.py and lora.py of commit 8641822; the same class under fake
    tensors keeps 29.2 bytes a hidden value and token of phi-1.5 and StableLM, this 29): the norm's input, dropout's
    mask and what it leaves, the joint projection, rotated queries and keys, what adapters give to queries and values,
    attention's output, and GELU's input. Of logits it keeps two copies in 16 bits. 4-bit layers before bitsandbytes
    0.44 also keep their inputs: the norm's output and GELU's; and the head is in 4 bits, too (0.5625 B a value), with a
    copy in 16 bits while it is at work.
    """
    config = model.architecture
    hidden, inner = config.hidden_size or 0, config.intermediate_size or 0
    width = config.head_dim or 0
    query, key = (config.num_attention_heads or 0) * width, (config.num_key_value_heads or 0) * width
    block = 5 * hidden + 2 * (query + 2 * key) + 2 * (query + key) + 2 * (query + key) + 2 * query + 2 * inner
    head = 0
    if setup.old_bitsandbytes:
        block += 2 * hidden + 2 * inner
        head = int(0.5625 * hidden * (config.vocab_size or 0))
    tokens = workload.batch * workload.context
    kept = tokens * ((config.num_hidden_layers or 0) * block + 4 * (config.vocab_size or 0))
    return head + kept + sum(part.bytes or 0 for part in training.parts if part.name in ("weights", "optimizer_states"))


def _expanded_heads(model: Model, workload: Workload) -> int:
    """Bytes that torchtune's attention keeps and transformers' does not.

    Keys and values are copied to as many heads as there are queries (MultiHeadAttention.forward) before attention keeps
    them.
    """
    config = model.architecture
    heads = config.num_attention_heads or 0
    copies = heads - (config.num_key_value_heads or heads)
    width = 2 * copies * (config.head_dim or 0)
    return 2 * width * workload.batch * workload.context * (config.num_hidden_layers or 0)


def _llama(
    name: str, layers: int, hidden: int, intermediate: int, heads: int, vocabulary: int, *, key_value_heads: int
) -> Checkpoint:
    """The headers of a LLaMA."""
    config = {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "num_hidden_layers": layers,
        "hidden_size": hidden,
        "intermediate_size": intermediate,
        "num_attention_heads": heads,
        "num_key_value_heads": key_value_heads,
        "vocab_size": vocabulary,
        "tie_word_embeddings": False,
    }
    wide, key = (intermediate, hidden), (hidden // heads * key_value_heads, hidden)
    block = {f"self_attn.{letter}_proj": key if letter in "kv" else (hidden, hidden) for letter in "qkvo"}
    block |= {"mlp.gate_proj": wide, "mlp.up_proj": wide, "mlp.down_proj": (hidden, intermediate)}
    shapes: dict[str, tuple[int, ...]] = {
        f"model.layers.{i}.{part}.weight": shape
        for i in range(layers)
        for part, shape in {**block, "input_layernorm": (hidden,), "post_attention_layernorm": (hidden,)}.items()
    }
    outside = {"model.embed_tokens": (vocabulary, hidden), "model.norm": (hidden,), "lm_head": (vocabulary, hidden)}
    shapes |= {f"{part}.weight": shape for part, shape in outside.items()}
    tensors = tuple(Tensor(tensor, "BF16", shape) for tensor, shape in shapes.items())
    return Checkpoint(name, None, "local", config, tensors)
