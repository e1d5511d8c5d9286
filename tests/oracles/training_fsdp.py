"""What torch's fully_shard (FSDP2) holds beside a GPU's shards: run on one process that stands for eight.

    python -m tests.oracles.training_fsdp

A small Llama takes a step under fake tensors with a fake process group, whole and sharded; the difference of the peaks,
less what lies outside the blocks, is a number of gathered blocks: in the forward pass (the next one's gathered buffer,
its parameters, and those of the one at work), at the loss, and in the backward pass of a frozen model. Prints JSON.
"""

from __future__ import annotations

import gc
import json
import sys
import warnings
from typing import Any

import torch
import torch.distributed
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.fsdp._fully_shard import _fsdp_param
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.utils._pytree import tree_leaves
from transformers import LlamaConfig, LlamaForCausalLM

from inspector.measure.gpu import MemoryLog

GPUS, LAYERS = 8, 6


class _Log(MemoryLog):
    """Follows fake tensors of the CPU, and storages that FSDP resizes."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default:
            return True if args[0].dtype is torch.bool else 1.0
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if type(leaf).__name__ == "FakeTensor":
                self._follow(leaf.untyped_storage(), str(func))
        return result

    def resized(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        birth = self._born.get(storage._cdata)
        if birth is not None:
            self.live += storage.nbytes() - self.events[birth]
            self.events[birth] = storage.nbytes()
            self.peak = max(self.peak, self.live)


def peaks(*, shard: bool, context: int, vocabulary: int, apart: bool = False) -> dict[str, int]:
    """Peaks above what lives between steps, of a model of which only the norms train.

    Args:
        apart: embedding and head are units of their own.
    """
    config = LlamaConfig(
        hidden_size=1024,
        intermediate_size=4096,
        num_hidden_layers=LAYERS,
        num_attention_heads=8,
        vocab_size=vocabulary,
        use_cache=False,
        tie_word_embeddings=False,
    )
    log = _Log()
    mesh = init_device_mesh("cpu", (GPUS,))  # its ranks are real tensors
    alloc, free = _fsdp_param.alloc_storage, _fsdp_param.free_storage

    def then_note(change: Any) -> Any:
        def changed(tensor: torch.Tensor) -> None:
            change(tensor)
            log.resized(tensor)

        return changed

    _fsdp_param.alloc_storage, _fsdp_param.free_storage = then_note(alloc), then_note(free)
    try:
        with FakeTensorMode(allow_non_fake_inputs=True), log:
            torch.set_default_dtype(torch.bfloat16)
            model = LlamaForCausalLM(config).train()
            torch.set_default_dtype(torch.float32)
            model.requires_grad_(False)
            for module in model.modules():
                if "Norm" in type(module).__name__:
                    module.requires_grad_(True)
            block = sum(parameter.numel() for parameter in model.model.layers[0].parameters())
            outside = sum(parameter.numel() for parameter in model.parameters()) - LAYERS * block
            if shard:
                for layer in model.model.layers:
                    fully_shard(layer, mesh=mesh)
                if apart:
                    fully_shard(model.model.embed_tokens, mesh=mesh)
                    fully_shard(model.lm_head, mesh=mesh)
                fully_shard(model, mesh=mesh)
            ids = torch.ones(1, context, dtype=torch.long)
            gc.collect()
            base = log.live
            log.reset_peak()
            loss = model(input_ids=ids, labels=ids).loss
            found = {"block": block, "outside": outside, "forward": log.peak - base}
            log.reset_peak()
            loss.backward()
            return found | {"backward": log.peak - base}
    finally:
        _fsdp_param.alloc_storage, _fsdp_param.free_storage = alloc, free


HELD_APART = {"forward": 0.0, "loss": 0.5, "backward": 0.0}
"""Of what is outside the blocks, half of it the head, what stays gathered where embedding and head are units."""


def gathered(*, apart: bool = False) -> dict[str, float]:
    """Blocks gathered at once in each phase."""
    blocks = {}
    for phase, name, context, vocabulary in (
        ("forward", "forward", 16, 4096),
        ("loss", "forward", 1024, 65536),
        ("backward", "backward", 16, 4096),
    ):
        whole = peaks(shard=False, context=context, vocabulary=vocabulary)
        spread = peaks(shard=True, context=context, vocabulary=vocabulary, apart=apart)
        held = HELD_APART[phase] if apart else 1
        more = spread[name] - whole[name] - 2 * held * whole["outside"]
        blocks[phase] = more / (2 * whole["block"])
    return blocks


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    torch.distributed.init_process_group("fake", rank=0, world_size=GPUS, store=FakeStore())
    json.dump({"together": gathered(), "apart": gathered(apart=True)}, sys.stdout)
