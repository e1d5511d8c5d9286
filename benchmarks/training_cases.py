"""One training case through the library: the peak that `llm-inspect train` gives beside the published one.

The cases are of other trainers than transformers and peft (torchtune, litgpt, the QLoRA paper), so the estimate answers
for the nearest settings: their own kernels, and what a case does not state, are in the error.
"""

from __future__ import annotations

from typing import Any

import inspector
from benchmarks.case_facts import GIB, Facts
from inspector.errors import InspectError
from inspector.hub.checkpoint import Checkpoint, Tensor
from inspector.memory import Workload
from inspector.memory.training import Sharding, TrainingEstimate, TrainingSetup, read_weights, training_estimate
from inspector.model import build_model

PEAK = "training peak"

LLAMA_65B = (80, 8192, 22016, 64, 32000)
"""Layers, hidden and intermediate size, heads, vocabulary (Touvron et al., 2023, arXiv 2302.13971, table 2)."""


def predict_peak(case: Facts) -> tuple[float | None, float | None, bool | None, str]:
    """(predicted, measured) in GiB, whether it fitted, and why anything is missing."""
    measured = case["measured"]
    settings = _settings(case)
    if isinstance(settings, str):
        return None, None, None, settings
    setup, sharding, workload = settings
    try:
        training = _estimate(str(case["model_id"]), setup, sharding, workload)
    except InspectError as error:
        return None, None, None, error.message
    if training.peak is None:
        return None, None, None, training.warnings[-1]
    peak = training.peak / GIB
    if "peak_gib" in measured:
        return peak, measured["peak_gib"], None, ""
    capacity = measured.get("oom_on_gib") or measured.get("fits_on_gb", 0) * 1e9 / GIB
    if not capacity:
        return None, None, None, "neither a peak nor a verdict was measured"
    return peak, capacity, "fits_on_gb" in measured, ""


def _settings(case: Facts) -> tuple[TrainingSetup, Sharding, Workload] | str:
    """The case's settings as the library's, or why it cannot be scored."""
    given, engine = case["settings"], str(case["engine"]).split(" ")[0]
    if "estimator" in str(case["engine"]):
        return "an estimator's figure, no measurement"
    if "adapter" in str(given.get("method")):
        return "LLaMA-Adapter is no method of this library"
    if engine == "peft":
        return "batch and length are not stated"
    checkpointing = "full" if given.get("activation_checkpointing") not in (None, False, "probably off") else "none"
    checkpointing = "full" if given.get("gradient_checkpointing") else checkpointing
    if given.get("compile") and checkpointing == "none":
        return "torch.compile keeps other tensors than the eager class"
    if given.get("packed") is False:
        return "lengths of unpacked examples are not stated"
    how: dict[str, Any] = {"checkpointing": checkpointing, "optimizer_impl": "fused"}
    method = str(given.get("method", "full"))
    if case.get("quant") or "qlora" in method:
        how["method"] = "qlora"
    elif "lora" in method:
        how |= {"method": "lora", "adapter_dtype": "bf16"}
    rank = next((int(word[2:]) for word in method.split() if word.startswith("r=")), 8)
    if "method" in how:
        how["lora_rank"] = rank
        if "q,v" in method:
            how["lora_targets"] = "q_proj,v_proj"
    if "8bit" in str(given.get("optimizer")).lower():
        how["optimizer"] = "paged-adamw-8bit" if "paged" in str(given["optimizer"]).lower() else "adamw-8bit"
    if given.get("paged_optimizer"):
        how["optimizer"] = "paged-adamw"
    if given.get("optimizer_in_bwd") and "method" not in how:
        how["optimizer_in_backward"] = True
    if given.get("chunked_ce"):
        how["logits"] = "chunked"
    offload = ("activations",) if given.get("activation_offloading") else ()
    if given.get("cpu_offload"):
        offload += ("optimizer", "params")
    sharding = Sharding(fsdp=given.get("fsdp", 1), offload=offload)
    context = given.get("longest_example_tokens") or given.get("max_seq_len") or given.get("seq_len") or 512
    return TrainingSetup(**how), sharding, Workload(context, given.get("micro_batch") or given.get("batch") or 1)


def _estimate(name: str, setup: TrainingSetup, sharding: Sharding, workload: Workload) -> TrainingEstimate:
    if name == "LLaMA-65B":
        checkpoint = _llama(*LLAMA_65B)
        model = build_model(checkpoint)
    else:
        name = {"meta-llama/Llama-3.1-70B": "meta-llama/Llama-3.3-70B-Instruct"}.get(name, name)  # of the same shape
        inspection = inspector.inspect(name, offline=True)
        checkpoint, model = inspection.checkpoint, inspection.model
    return training_estimate(model, workload, setup, sharding, read_weights(checkpoint, model.architecture))


def _llama(layers: int, hidden: int, intermediate: int, heads: int, vocabulary: int) -> Checkpoint:
    """The headers of a LLaMA without grouped heads."""
    config = {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "num_hidden_layers": layers,
        "hidden_size": hidden,
        "intermediate_size": intermediate,
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        "vocab_size": vocabulary,
        "tie_word_embeddings": False,
    }
    square, wide = (hidden, hidden), (intermediate, hidden)
    block = {f"self_attn.{name}_proj": square for name in "qkvo"}
    block |= {"mlp.gate_proj": wide, "mlp.up_proj": wide, "mlp.down_proj": (hidden, intermediate)}
    shapes: dict[str, tuple[int, ...]] = {
        f"model.layers.{i}.{name}.weight": shape
        for i in range(layers)
        for name, shape in {**block, "input_layernorm": (hidden,), "post_attention_layernorm": (hidden,)}.items()
    }
    outside = {"model.embed_tokens": (vocabulary, hidden), "model.norm": (hidden,), "lm_head": (vocabulary, hidden)}
    shapes |= {f"{name}.weight": shape for name, shape in outside.items()}
    tensors = tuple(Tensor(name, "BF16", shape) for name, shape in shapes.items())
    return Checkpoint("LLaMA-65B", None, "local", config, tensors)
