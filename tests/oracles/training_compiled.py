"""What a block keeps for the backward pass under torch.compile: measured on the CPU, block by block.

    python -m tests.oracles.training_compiled [--write]

torch's own partitioner decides what is kept and what is computed again (`min_cut_rematerialization_partition`, as the
default backend has it; "aot_eager_decomp_partition" stops short of compiling the two graphs it makes). One block of
each class runs in bf16 on sizes that differ, so that the shape of what is kept tells the product of sizes. Prints JSON:
model type -> {product: bytes}, as inspector.memory.training.compiled has it; and the same of a Llama with adapters, and
of one under torchtitan's selective checkpointing. With --write, inspector/data/compiled.json has the plain ones.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import torch
import transformers
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.modeling_layers import GradientCheckpointingLayer

from inspector.measure.step import saved_operations

DATA = Path(__file__).parents[2] / "inspector" / "data"
TOKENS = 512
SIZES = {"h": 390, "f": 1000, "q": 320, "k": 64, "a": 5, "kv": 1, "r": 7}
CONFIG: dict[str, Any] = {
    "hidden_size": SIZES["h"],
    "intermediate_size": SIZES["f"],
    "num_attention_heads": SIZES["a"],
    "num_key_value_heads": SIZES["kv"],
    "head_dim": SIZES["k"],
    "num_hidden_layers": 2,
    "vocab_size": 96,
    "pad_token_id": 0,
}
TYPES = ("llama", "mistral", "qwen2", "qwen3", "gemma", "olmo2", "smollm3")


def _first_call(model: Any) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
    """The first block, and what it is called with."""
    block = next(module for module in model.modules() if isinstance(module, GradientCheckpointingLayer))
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
    handle = block.register_forward_pre_hook(lambda _, args, kwargs: calls.append((args, kwargs)), with_kwargs=True)
    model(input_ids=torch.ones(1, TOKENS, dtype=torch.long))
    handle.remove()
    return block, *calls[0]


def _adapt(model: Any, targets: str) -> None:
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=SIZES["r"], target_modules=targets if targets == "all-linear" else targets.split(","))
    for parameter in get_peft_model(model, config, autocast_adapter_dtype=False).parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.to(torch.bfloat16)


def _product(values: int) -> str:
    """The product of sizes that a tensor has as many values as, a token; what all blocks share is left out."""
    letters = {size: name for name, size in SIZES.items() if name != "kv"} | {1: ""}
    return "T" + letters[values // TOKENS]


def kept(model_type: str, targets: str = "", *, by_operation: bool = False) -> dict[str, int]:
    """Bytes of what one block keeps, by products of sizes.

    Args:
        targets: modules with adapters in bf16; none where all parameters train.
        by_operation: under checkpointing that keeps what attention and every second matrix product give.
    """
    torch.manual_seed(0)
    torch._dynamo.reset()
    config = AutoConfig.for_model(model_type, **CONFIG)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16, attn_implementation="sdpa").train()
    model.config.use_cache = False
    if targets:
        _adapt(model, targets)
    block, args, kwargs = _first_call(model)
    hidden = args[0].detach().requires_grad_()
    given = [*block.parameters(), *kwargs.get("position_embeddings", ())]
    others = {tensor.untyped_storage()._cdata for tensor in given if isinstance(tensor, torch.Tensor)}
    saved: dict[int, Any] = {}

    def pack(tensor: Any) -> Any:
        saved[tensor.untyped_storage()._cdata] = tensor
        return tensor

    if by_operation:
        block.gradient_checkpointing = False
        block = checkpoint_wrapper(block, context_fn=saved_operations, preserve_rng_state=False)
    compiled = torch.compile(block, backend="aot_eager_decomp_partition")
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        compiled(hidden, *args[1:], **kwargs)
    found: dict[str, int] = {}
    for key, tensor in saved.items():
        values = tensor.untyped_storage().nbytes() // tensor.element_size()
        if key not in others and values % TOKENS == 0:
            name = _product(values)
            found[name] = found.get(name, 0) + tensor.element_size()
    return found


def measured() -> dict[str, dict[str, int]]:
    """Of every type."""
    warnings.simplefilter("ignore")
    found = {model_type: kept(model_type) for model_type in TYPES}
    found["llama by operation"] = kept("llama", by_operation=True)
    return found | {f"llama with {targets}": kept("llama", targets) for targets in ("all-linear", "q_proj,v_proj")}


def render(kept_by_type: dict[str, dict[str, int]]) -> str:
    """The text of inspector/data/compiled.json."""
    versions = f'"torch": "{torch.__version__.split("+")[0]}", "transformers": "{transformers.__version__}"'
    head = f'{{"generator": "python -m tests.oracles.training_compiled --write", {versions}, "kept": {{'
    rows = [f"{json.dumps(name)}: {json.dumps(kept_by_type[name], separators=(',', ':'))}" for name in sorted(TYPES)]
    return head + "\n" + ",\n".join(rows) + "\n}}\n"


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        (DATA / "compiled.json").write_text(render(measured()), "utf-8")
    else:
        json.dump(measured(), sys.stdout, indent=1)
