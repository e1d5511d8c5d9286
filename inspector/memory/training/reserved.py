"""What torch's caching allocator holds at its most: more than the tensors that live at the step's peak.

Trainers print it (torchtitan's metrics.py: `reserved_bytes.all.peak`) and nvidia-smi shows it. Known for FSDP2, by
rules of torch's sources; within 10 % of torchtitan's published tables (tests/memory/training/test_torchtitan.py).

- Memory is cached for each stream apart (c10/cuda/CUDACachingAllocator.cpp; "CUDA semantics" in torch's docs). FSDP2
  allocates what it gathers and the shards of its gradients on streams of their own (fsdp/_fully_shard/
  _fsdp_collectives.py: all_gather_copy_in_stream, reduce_scatter_stream), so each adds its own peak to the rest's.
- A free block serves nothing that is larger. What a block's forward pass makes and frees stays beside the logits; what
  the logits leave when the loss has read them, beside the loss's gradients; and torch's pipeline puts all logits
  together in a tensor that no free block can serve.

On one GPU the rules of the allocator are replayed over the births and deaths of a step's tensors (inspector/measure/
allocator.py; `--measure`): what it reserves above the peak is known as a range over types and settings.

Not counted of FSDP2: rounding to 512 B and 2 MiB, NCCL's buffers (which no allocator of torch holds), and pieces lost
otherwise.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from inspector.memory.training.estimate import TrainingSetup
from inspector.memory.training.phases import Moment
from inspector.memory.training.ranks import Rank, gathered_bytes
from inspector.memory.training.sharding import Sharding
from inspector.tables import table_text


@dataclass(frozen=True, slots=True)
class Holes:
    """Bytes that are freed in pieces too small for what comes after.

    Attributes:
        block: what a block's forward pass makes and frees.
        logits: the logits in the model's precision, until the loss has read them.
        merged: all microbatches' logits, put together after the step.
    """

    block: int
    logits: int
    merged: int


def knows_reserved(setup: TrainingSetup, sharding: Sharding) -> bool:
    """Whether the rules are known for such a run."""
    return (
        sharding.fsdp > 1
        and setup.objective == "sft"
        and setup.logits in ("all", "chunked", "compiled-loss")
        and not sharding.away - {"activations"}
    )


def reserved_bytes(
    passes: Iterable[Moment], optimizer: Moment, rank: Rank, setup: TrainingSetup, sharding: Sharding, holes: Holes
) -> int:
    """Bytes that the allocator holds, above weights and optimizer states.

    Args:
        passes: the moments of this GPU, gradients divided.
        optimizer: that of the optimizer's step.
    """
    compute = 2 if setup.compute != "fp32" else 4
    apart = sharding.shard_embeddings and rank.head  # one of the two at a time, in the same memory
    outside = max(rank.head, rank.outside - rank.head) if apart else rank.outside
    gathering = compute * outside + int(gathered_bytes(setup, sharding) * rank.block)
    rest = 0
    for moment in passes:
        lost = holes.block + holes.logits if moment.phase == "loss" and moment.logits else 0
        rest = max(rest, moment.total - moment.gradients + lost)
    return max(rest + gathering + holes.merged, optimizer.rest) + optimizer.gradients


def usually_reserved(peak: int, setup: TrainingSetup, sharding: Sharding) -> tuple[int, int, int] | None:
    """(10th percentile, median, 90th) of what one GPU's allocator reserves for a step with such a peak.

    None where no such steps were replayed: several GPUs, offload, what is compiled, quantized or in fp8, other losses
    than the class's own, other objectives and optimizers, eager attention.
    """
    if sharding.cards > 1 or sharding.away or setup.compiled or setup.fp8 != "none" or setup.attention == "eager":
        return None
    if setup.logits != "all" or setup.objective != "sft" or setup.optimizer_in_backward:
        return None
    if setup.optimizer != "adamw" or setup.method not in ("full", "lora"):
        return None
    shares = _shares()
    return int(peak * shares[0]), int(peak * shares[1]), int(peak * shares[2])


@cache
def _shares() -> tuple[float, float, float]:
    """Percentiles of reserved / peak (inspector/data/reserved.json, by tests/oracles/training_reserved.py)."""
    found = json.loads(table_text("reserved.json"))
    return found["low"], found["median"], found["high"]
