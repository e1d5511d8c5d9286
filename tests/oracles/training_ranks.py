"""What each GPU of a run holds, measured on two processes of the CPU that talk over gloo.

    python -m tests.oracles.training_ranks

A small Llama in fp32 is spread by torch's own classes: DistributedDataParallel's buckets, ZeroRedundancyOptimizer's
share of the states, fully_shard's shards of parameters, gradients and states, parallelize_module's shares under
transformers' tensor parallel plan (with the embedding divided by rows, as torchtitan has it), and the microbatches that
the first pipeline stage has in flight. Prints JSON: one object a process.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
import torch.distributed
import torch.multiprocessing
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.optim import ZeroRedundancyOptimizer
from torch.distributed.pipelining import PipelineStage, Schedule1F1B, ScheduleGPipe
from torch.distributed.tensor import Replicate
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
from torch.nn.parallel import DistributedDataParallel
from transformers import LlamaConfig, LlamaForCausalLM

GPUS, MICROBATCHES = 2, 6

CONFIG: dict[str, Any] = {
    "num_hidden_layers": 3,
    "hidden_size": 64,
    "intermediate_size": 160,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "vocab_size": 320,
    "max_position_embeddings": 128,
    "tie_word_embeddings": False,
}


def _model() -> Any:
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(**CONFIG, use_cache=False)).train()


def _step(model: Any, optimizer: Any) -> None:
    ids = torch.arange(32).reshape(2, 16)
    model(input_ids=ids, labels=ids).loss.backward()
    optimizer.step()


def _bytes(tensors: Iterable[Any]) -> int:
    """Of what this process holds."""
    own = (tensor.to_local() if hasattr(tensor, "to_local") else tensor for tensor in tensors)
    return sum(tensor.numel() * tensor.element_size() for tensor in own)


def _states(optimizer: Any) -> int:
    return _bytes(
        value
        for state in optimizer.state.values()
        for value in state.values()
        if isinstance(value, torch.Tensor) and value.dim() > 0
    )


def ddp() -> dict[str, int]:
    """Bytes of gradients and of the buckets beside them."""
    model = DistributedDataParallel(_model())
    _step(model, torch.optim.SGD(model.parameters(), lr=0.1))
    sizes = str(model._get_ddp_logging_data()["bucket_sizes"])
    buckets = sum(int(size) for size in sizes.split(","))
    return {"gradients": _bytes(parameter.grad for parameter in model.parameters()), "buckets": buckets}


def zero_1() -> dict[str, int]:
    """Bytes of AdamW's states on this process, and those of the largest parameter's: they are dealt out whole."""
    model = DistributedDataParallel(_model())
    optimizer = ZeroRedundancyOptimizer(model.parameters(), torch.optim.AdamW, lr=0.1)
    _step(model, optimizer)
    largest = max(parameter.numel() for parameter in model.parameters())
    return {"optimizer_states": _states(optimizer.optim), "largest": 2 * 4 * largest}


def fsdp() -> dict[str, int]:
    """Bytes of this process's shards after a step."""
    mesh, model = init_device_mesh("cpu", (GPUS,)), _model()
    for layer in model.model.layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    optimizer = torch.optim.AdamW(model.parameters())
    _step(model, optimizer)
    model.reshard()
    return {
        "weights": _bytes(model.parameters()),
        "gradients": _bytes(parameter.grad for parameter in model.parameters()),
        "optimizer_states": _states(optimizer),
    }


def tensor_parallel() -> dict[str, int]:
    """Bytes of this process's share of the parameters."""
    model = _model()
    kinds = {"colwise": ColwiseParallel, "rowwise": RowwiseParallel, "colwise_gather_output": ColwiseParallel}
    plan = {f"model.{name}": kinds[kind]() for name, kind in model.config.base_model_tp_plan.items()}
    plan |= {name: kinds[kind]() for name, kind in type(model)._tp_plan.items()}
    plan["model.embed_tokens"] = RowwiseParallel(input_layouts=Replicate())
    parallelize_module(model, init_device_mesh("cpu", (GPUS,)), plan)
    return {"weights": _bytes(model.parameters())}


def in_flight(schedule: Any) -> int:
    """The most microbatches that this stage's forward pass has done and its backward pass has not."""
    stage = nn.Linear(8, 8)
    live = most = 0

    def forward(*_: Any) -> None:
        nonlocal live, most
        live += 1
        most = max(most, live)

    def backward(*_: Any) -> None:
        nonlocal live
        live -= 1

    stage.register_forward_hook(forward)
    stage.register_full_backward_hook(backward)
    rank = torch.distributed.get_rank()
    example = torch.zeros(1, 8, requires_grad=True)
    piece = PipelineStage(stage, rank, GPUS, torch.device("cpu"), input_args=(example,), output_args=(example,))
    run = schedule(piece, n_microbatches=MICROBATCHES, loss_fn=nn.functional.mse_loss)
    batch = torch.ones(MICROBATCHES, 8, requires_grad=True)
    if rank == 0:
        run.step(batch)
    else:
        run.step(target=torch.zeros(MICROBATCHES, 8), losses=[])
    return most


def _process(rank: int, folder: str) -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=GPUS)
    found = {
        "ddp": ddp(),
        "zero_1": zero_1(),
        "fsdp": fsdp(),
        "tensor_parallel": tensor_parallel(),
        "in_flight": {"1f1b": in_flight(Schedule1F1B), "gpipe": in_flight(ScheduleGPipe)},
    }
    Path(folder, f"{rank}.json").write_text(json.dumps(found))
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def measured() -> list[dict[str, dict[str, int]]]:
    """What each process found."""
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(_process, (folder,), nprocs=GPUS)
        return [json.loads(Path(folder, f"{rank}.json").read_text()) for rank in range(GPUS)]


if __name__ == "__main__":
    json.dump(measured(), sys.stdout, indent=1)
