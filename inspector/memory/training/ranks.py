"""One card of many: its share of the parameters, its sizes, and what each kind of parallelism adds to a moment.

Estimates from papers and sources. Measured are the table that they start from, and what FSDP2 gathers.

- tensor parallel (Megatron-LM, arXiv 1909.08053): heads, intermediate size and vocabulary are divided; norms, and what
  is as wide as the hidden size, are not. Its sequence form (arXiv 2205.05198) divides those, too.
- pipeline (1F1B, arXiv 2104.04473): the first stage keeps the activations of as many microbatches as there are stages.
- ZeRO (arXiv 1910.02054): states, then gradients, then parameters divided by the cards.
- FSDP2 (torch/distributed/fsdp/_fully_shard): units are the blocks, and all that is outside them; one unit is at work
  and the next on its way, what is outside stays gathered until the backward pass is over, and a unit's gradients are
  there once more as the input of their reduce-scatter.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from inspector.memory.training.estimate import TrainingSetup
from inspector.memory.training.phases import Moment
from inspector.memory.training.sharding import Sharding
from inspector.memory.training.sizes import Sizes
from inspector.model.model import Model

SOURCE = "arXiv 1910.02054, 1909.08053, 2205.05198, 2104.04473; torch 2.13 FSDP2: an estimate, not measured"

WHOLE = frozenset({"norm", "router", "other"})
"""Components that tensor parallelism does not divide."""

DIVIDED = ("f", "a", "kv", "q", "k", "V", "m")
"""Letters that it divides."""

GATHERED = {"forward": 3, "loss": 1, "backward": 2}
"""Blocks gathered at once, as torch's fully_shard does (tests/oracles/training_fsdp.py); ZeRO-3 is taken alike."""

FIRST, LAST, ONLY = "first", "last", "only"


@dataclass(frozen=True, slots=True)
class Rank:
    """Parameters of one card before data parallelism divides them: all, its largest block, what is outside blocks."""

    total: int
    block: int
    outside: int


def rank_of(model: Model, sharding: Sharding, stage: str) -> Rank:
    """The share of one card of a pipeline stage."""
    counts = model.parameters.by_component
    total = model.parameters.total
    divided = sum(
        _up(count, (1 if name in WHOLE else sharding.tp) * (sharding.ep if name == "experts" else 1))
        for name, count in counts.items()
    )
    share = divided / total if counts and total else 1 / sharding.tp
    layers = model.parameters.by_layer
    outside = total - sum(layers) if layers else counts.get("embedding", 0) + counts.get("head", 0)
    number = model.architecture.num_hidden_layers or 1
    largest = max(layers, default=0) or _up(total - outside, number)
    inside = total - outside
    if stage != ONLY:
        inside = sum(sorted(layers)[-_up(number, sharding.pp) :]) if layers else _up(inside, sharding.pp)
        head = counts.get("head", 0) or counts.get("embedding", 0)
        outside = head if stage == LAST else counts.get("embedding", outside)
    if share == 1:
        return Rank(inside + outside, largest, outside)
    return Rank(int((inside + outside) * share), int(largest * share), int(outside * share))


def rank_sizes(sizes: Sizes, sharding: Sharding) -> Sizes:
    """The letters of one card."""
    letters = dict(sizes.letters)
    if sharding.tp > 1:
        letters |= {name: _up(letters[name], sharding.tp) for name in DIVIDED if name in letters}
    if sharding.cp > 1:
        letters["s"] = _up(letters["s"], sharding.cp)
        letters["T"] = letters["b"] * letters["s"]
    if sharding.ep > 1 and "E" in letters:
        letters["E"] = _up(letters["E"], sharding.ep)
    return Sizes(letters, sequence=sharding.tp if sharding.sp else 1)


def sharded(moment: Moment, rank: Rank, setup: TrainingSetup, sharding: Sharding, trained: int) -> Moment:
    """A moment of the passes on one card: its gradients divided, gathered weights and buckets beside it.

    Args:
        trained: parameters that train, of this card before data parallelism divides them.
    """
    leaves = "optimizer" in sharding.offload and sharding.shards[1] > 1
    gradients = 0 if leaves else _up(moment.gradients, sharding.shards[1])
    more = 0
    share = trained / rank.total if rank.total else 0.0
    compute = 2 if setup.compute != "fp32" else 4
    if sharding.buckets:
        more += trained * setup.trained_bytes
    if sharding.zero in (1, 2, 3):
        more += 2 * _reduce_bucket(rank) * compute
    if sharding.gathers:
        held = rank.outside if sharding.fsdp > 1 or moment.phase == "loss" else 0
        more += compute * (held + GATHERED.get(moment.phase, 0) * rank.block)
        if moment.phase == "backward":
            more += int(compute * share * (rank.block + held))
    return replace(moment, gradients=gradients, rest=moment.rest + more)


def communication_text(rank: Rank, setup: TrainingSetup, sharding: Sharding) -> str:
    """What parallelism adds to a moment, as a formula; empty for nothing."""
    compute = 2 if setup.compute != "fp32" else 4
    found = []
    if sharding.gathers:
        outside = f" and {rank.outside:,} outside them" if sharding.fsdp > 1 else ""
        counts = "forward 3, loss 1, backward 2"
        found.append(f"gathered: (blocks of {rank.block:,}, {counts},{outside}) x {compute} B")
    if sharding.zero:
        found.append(f"two reduce buckets of {_reduce_bucket(rank):,} x {compute} B")
    if sharding.buckets:
        found.append("DDP's buckets, as large as the gradients")
    return "; ".join(found)


def _reduce_bucket(rank: Rank) -> int:
    """Values of DeepSpeed's reduce bucket: what transformers puts for "auto", hidden size squared, is about a twelfth
    of a block."""
    return rank.block // 12


def _up(value: int, by: int) -> int:
    return -(-value // by)
