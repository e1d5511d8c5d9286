"""One GPU of many: its share of the parameters, its sizes, and what each kind of parallelism adds to a moment.

Measured on small models: the table that all starts from, what FSDP2 gathers (tests/oracles/training_fsdp.py), and on
two processes the shares of DDP, ZeRO-1, FSDP2 and tensor parallel, and the microbatches that a pipeline has in flight
(tests/oracles/training_ranks.py). The rest are estimates from papers and sources.

- tensor parallel (Megatron-LM, arXiv 1909.08053): heads, intermediate size and vocabulary are divided; norms, and what
  is as wide as the hidden size, are not. Its sequence form (arXiv 2205.05198) divides those, too.
- pipeline (1F1B, arXiv 2104.04473): the first stage keeps the activations of as many microbatches as there are stages.
  DualPipe (arXiv 2412.19437, table 2): two stages a GPU, and activations of one more microbatch than there are stages.
- ZeRO (arXiv 1910.02054): states, then gradients, then parameters divided by the GPUs.
- FSDP2 (torch/distributed/fsdp/_fully_shard): units are the blocks, and all that is outside them; one unit is at work
  and the next on its way, what is outside stays gathered until the backward pass is over, and a unit's gradients are
  there once more as the input of their reduce-scatter.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from inspector.errors import UsageError
from inspector.memory.precision import RECIPES
from inspector.memory.training.estimate import TrainingSetup
from inspector.memory.training.phases import Moment
from inspector.memory.training.sharding import CHUNKS, Sharding
from inspector.memory.training.sizes import Sizes
from inspector.model.model import Model

SOURCE = "arXiv 1910.02054, 1909.08053, 2205.05198, 2104.04473; torch 2.13; shares measured on small models"

WHOLE = frozenset({"norm", "router", "other"})
"""Components that tensor parallelism does not divide."""

DIVIDED = ("f", "a", "kv", "q", "k", "V", "m", "w")
"""Letters that it divides."""

GATHERED = {"forward": 3, "loss": 1, "backward": 2}
"""Blocks gathered at once, as torch's fully_shard does (tests/oracles/training_fsdp.py)."""

GATHERED_APART = {"forward": 3, "loss": 0, "backward": 2}
"""The same where embedding and head are units of their own."""

FIRST, MIDDLE, LAST, ENDS, ONLY = "first", "middle", "last", "ends", "only"
"""Which stage of a pipeline a GPU has: under DualPipe `ENDS`, the first and the last, or two of the `MIDDLE`."""


@dataclass(frozen=True, slots=True)
class Rank:
    """Parameters of one GPU before data parallelism divides them: all, its largest block, what is outside blocks, and
    the head of that, where it has a weight of its own; and routed experts and norms, of all."""

    total: int
    block: int
    outside: int
    head: int = 0
    experts: int = 0
    norms: int = 0

    def over(self, size: int, gpus: int, sharding: Sharding) -> int:
        """Bytes that are proportional to the parameters, divided over data-parallel GPUs.

        Those that have other experts are not among the GPUs that divide an expert: of DP ranks, DP / EP hold the same.

        >>> Rank(total=100, block=10, outside=0, experts=80).over(1000, 8, Sharding(fsdp=8, ep=4))
        425
        """
        experts = size * self.experts // self.total if sharding.ep > 1 and self.total else 0
        return _up(size - experts, gpus) + _up(experts, max(1, gpus // sharding.ep))


def refuse_layout(model: Model, setup: TrainingSetup, sharding: Sharding) -> None:
    """Refuse what this model cannot be divided by.

    Raises:
        UsageError: more stages than layers, heads that do not divide (Megatron-LM, arguments.py: validate_args; torch's
            DTensor views them the same way), experts' ranks without experts, two places for one thing, or gradients
            that are gone before they are summed (torchtune's recipes refuse the two settings together).
    """
    architecture = model.architecture
    layers, heads = architecture.num_hidden_layers, architecture.num_attention_heads
    if layers and sharding.pp > layers:
        raise UsageError(f"{sharding.pp} pipeline stages are more than the model's {layers} layers")
    if heads and heads % sharding.tp:
        degrees = ", ".join(str(degree) for degree in range(1, min(heads, 64) + 1) if heads % degree == 0)
        raise UsageError(f"{heads} attention heads cannot be divided by --tp {sharding.tp}", f"They can by {degrees}.")
    if sharding.ep > 1 and architecture.experts is None:
        raise UsageError("expert parallelism needs a model with routed experts", "Leave out --ep.")
    twice = [name for name in sharding.nvme if name in sharding.offload]
    if twice:
        raise UsageError(f"{twice[0]} cannot be on the CPU and on disk", "Give --offload or --nvme for it.")
    if setup.optimizer_in_backward and sharding.grad_accum > 1:
        raise UsageError(
            "an optimizer in the backward pass leaves no gradients to accumulate", "Leave out --grad-accum."
        )


def rank_of(model: Model, sharding: Sharding, stage: str) -> Rank:
    """The share of one GPU of a pipeline stage: the largest layers, as many as a stage has, and what is outside them.

    Embedding and head are divided by tensor parallelism, routed experts by expert parallelism, too; norms and routers
    are not.
    """
    counts, layers = model.parameters.by_component, model.parameters.by_layer
    total, number = model.parameters.total, model.architecture.num_hidden_layers or 1
    embedding, head = counts.get("embedding", 0), counts.get("head", 0)
    outside = total - sum(layers) if layers else embedding + head
    inside, experts = total - outside, counts.get("experts", 0)
    largest = max(layers, default=0) or _up(inside, number)
    having = sum(size > largest // 2 for size in layers) or number  # layers with experts, where there are some
    held = layers_of(number, sharding, stage)
    kept = inside if stage == ONLY else sum(sorted(layers)[-held:]) if layers else _up(inside * held, number)
    of_experts = experts if stage == ONLY else _up(experts * min(held, having), having)
    if stage not in (ONLY, ENDS):
        outside = (head or embedding) if stage == LAST else counts.get("embedding", outside) if stage == FIRST else 0
    whole = sum(count for name, count in counts.items() if name in WHOLE)

    def divided(size: int, of_experts: int) -> int:
        """Parameters of layers on one GPU."""
        rest = size - of_experts
        undivided = rest * whole // max(1, inside - experts)
        return undivided + _up(rest - undivided, sharding.tp) + _up(of_experts, sharding.tp * sharding.ep)

    outside, head = _up(outside, sharding.tp), _up(0 if stage in (FIRST, MIDDLE) else head, sharding.tp)
    norms = _up(counts.get("norm", 0) * held, number)
    return Rank(
        divided(kept, of_experts) + outside,
        divided(largest, _up(experts, having)),
        outside,
        head,
        _up(of_experts, sharding.tp * sharding.ep),
        norms,
    )


def stages_of(sharding: Sharding) -> tuple[str, ...]:
    """The stages of which one is the fullest."""
    if sharding.pp == 1:
        return (ONLY,)
    ends = (ENDS,) if sharding.schedule == "dualpipe" else (FIRST, LAST)
    return (*ends, MIDDLE) if sharding.ends_less and sharding.pp > 2 else ends


def layers_of(number: int, sharding: Sharding, stage: str) -> int:
    """Layers of a GPU, of so many; of `ENDS` and DualPipe's `MIDDLE` those of two stages.

    >>> [layers_of(126, Sharding(pp=16, ends_less=True), stage) for stage in (FIRST, MIDDLE, LAST)]
    [7, 8, 7]
    >>> layers_of(61, Sharding(pp=16, grad_accum=32, schedule="dualpipe"), ENDS)
    8
    """
    if stage == ONLY:
        return number
    held = _up(number + 2 * sharding.ends_less, sharding.pp)
    held -= sharding.ends_less and stage != MIDDLE
    return min(number, 2 * held) if sharding.schedule == "dualpipe" else held


def rank_sizes(sizes: Sizes, sharding: Sharding) -> Sizes:
    """The letters of one GPU."""
    letters = dict(sizes.letters)
    if sharding.tp > 1:
        letters |= {name: _up(letters[name], sharding.tp) for name in DIVIDED if name in letters}
    if sharding.cp > 1:
        letters["s"] = _up(letters["s"], sharding.cp)
        letters["T"] = letters["G"] = letters["b"] * letters["s"]
    if sharding.ep > 1 and "E" in letters:
        letters["E"] = _up(letters["E"], sharding.ep)
    return Sizes(letters, sequence=sharding.tp if sharding.sp else 1)


def sharded(
    moment: Moment, rank: Rank, setup: TrainingSetup, sharding: Sharding, trained: int, sizes: Sizes, stage: str = ONLY
) -> Moment:
    """A moment of the passes on one GPU: its gradients divided, gathered weights and buckets beside it.

    Args:
        trained: parameters that train, of this GPU before data parallelism divides them.
        sizes: of this GPU.
    """
    whole = (
        moment.gradients
        if sharding.grad_accum > 1 or sharding.main_grads
        else moment.gradients * _gradient_scale(setup, sharding)
    )
    gradients = 0 if sharding.gradients_leave else rank.over(whole, sharding.shards[1], sharding)
    more = _of_sequence(moment.phase, setup, sizes) if sharding.sp else 0
    more += _of_context(moment.phase, setup, sizes, sharding) if sharding.cp > 1 else 0
    share = trained / rank.total if rank.total else 0.0
    compute = 2 if setup.compute != "fp32" else 4
    if sharding.buckets:
        more += trained * setup.trained_bytes
    if sharding.fsdp > 1:
        held, blocks = rank.outside, GATHERED
        if sharding.shard_embeddings and rank.head:  # a tied head is one weight with the embedding, and stays
            held, blocks = rank.head if moment.phase == "loss" else 0, GATHERED_APART
        gathered = blocks.get(moment.phase, 0) * rank.block
        if not sharding.reshard:
            gathered = rank.total - held
        more += compute * held + int(gathered_bytes(setup, sharding) * gathered)
        if moment.phase == "backward":
            reduced = 4 if sharding.reduce_fp32 else compute
            more += int(share * (reduced * rank.block + _of_root(moment, rank, held, reduced, compute)))
        if not sharding.reshard and (moment.phase == "backward" or _passes_alternate(stage, sharding)):
            # Each of a GPU's stages has its gradients reduced before the next one's backward passes begin.
            whole = (4 if sharding.reduce_fp32 else compute) * trained if sharding.grad_accum > 1 else 0
            more += _up(whole, CHUNKS if sharding.schedule == "interleaved" else 1)
    return replace(moment, gradients=gradients, rest=moment.rest + more)


def _of_root(moment: Moment, rank: Rank, held: int, reduced: int, compute: int) -> int:
    """Bytes of the gradients of what is outside the blocks: the head's waits as it is computed, and all are reduced
    when the root's backward pass is over (FSDPState._root_post_backward_final_callback), where nothing else is kept."""
    return reduced * held if not moment.kept else compute * min(rank.head or held, held)


def _passes_alternate(stage: str, sharding: Sharding) -> bool:
    """Whether forward passes come after backward ones: not where all microbatches are in flight first."""
    return stage != FIRST or (sharding.schedule == "1f1b" and sharding.grad_accum > sharding.pp)


def gathered_bytes(setup: TrainingSetup, sharding: Sharding) -> float:
    """Bytes of a value of the blocks' gathered weights; a quantized base is gathered as it is stored
    (bnb_4bit_quant_storage; torchao's NF4Tensor.fsdp_pre_all_gather), and each weight unpacked while it is at work."""
    if setup.method == "qlora":
        name = "bnb-int8" if setup.base == "int8" else "nf4-dq" if setup.double_quant else "nf4"
        return float(RECIPES[name].bits) / 8
    return 1 if sharding.fp8_gather else 2 if setup.compute != "fp32" else 4


def _gradient_scale(setup: TrainingSetup, sharding: Sharding) -> int:
    """What a divided gradient takes beside the one that is computed: FSDP's is as the shard is, fp32."""
    return 2 if sharding.gathers and setup.method == "full" and setup.precision == "mixed" else 1


def _of_sequence(phase: str, setup: TrainingSetup, sizes: Sizes) -> int:
    """Bytes that sequence parallelism puts together for a moment (arXiv 2205.05198, section 4.2.2).

    The input of attention or MLP is gathered before its linear layers, in fp8 where they multiply in fp8
    (torchao/float8/float8_tensor_parallel.py: PrepareFloat8ModuleInput), and their output is whole until it is
    scattered. In the backward pass input and gradient are gathered, and two products' gradients of the input are whole
    until they are summed. The head's input stays gathered until its weight's gradient is made.
    """
    whole, gathered = sizes.product("Gh"), 1 if setup.fp8 == "torchao" else 2
    return whole * {"forward": gathered + 2, "loss": 2}.get(phase, 2 * gathered + 4)


def _of_context(phase: str, setup: TrainingSetup, sizes: Sizes, sharding: Sharding) -> int:
    """Bytes that context parallelism holds while a block's attention is at work (torch/distributed/tensor/experimental/
    _context_parallel/_attention.py: _templated_ring_attention, _AllGatherRotater, its default).

    Keys and values of all ranks are gathered, and their own once more as what is sent; in the forward pass outputs are
    merged in fp32, in the backward pass the gradients of queries, keys and values are summed in fp32. Heads of keys and
    values are repeated before, as attention without grouped heads takes them.
    """
    if phase not in ("forward", "backward") or "q" not in sizes.letters:
        return 0
    one = sizes.product("Tq")
    each = 2 if setup.compute != "fp32" else 4
    return 2 * each * (sharding.cp + 1) * one + (4 if phase == "forward" else 12) * one


def in_flight(stage: str, sharding: Sharding) -> float:
    """Microbatches whose activations a stage keeps, at its most (torch/distributed/pipelining/schedules.py).

    >>> in_flight(FIRST, Sharding(pp=8, grad_accum=8)), in_flight(LAST, Sharding(pp=8, grad_accum=8))
    (8, 1)
    >>> in_flight(LAST, Sharding(pp=8, grad_accum=8, schedule="interleaved"))
    4.5
    >>> in_flight(ENDS, Sharding(pp=16, grad_accum=32, schedule="dualpipe"))  # of two stages each
    8.5
    """
    count = sharding.grad_accum if sharding.grad_accum > 1 else sharding.pp
    if stage == ONLY:
        return 1
    if sharding.schedule == "gpipe":
        return count
    if sharding.schedule == "dualpipe":
        return min(sharding.pp + 1, count) / 2
    place = {FIRST: 0, MIDDLE: 1}.get(stage, sharding.pp - 1)  # of the middle ones the second stage has most
    if sharding.schedule == "interleaved":
        later = 2 * (sharding.pp - 1 - place)
        return min((CHUNKS - 1) * sharding.pp + later + 1, CHUNKS * count) / CHUNKS
    return min(sharding.pp - place, count)


def pipeline_bytes(stage: str, sharding: Sharding, sizes: Sizes) -> int:
    """Bytes of torch's pipeline stage beside its passes (torch/distributed/pipelining/stage.py).

    A buffer for what each microbatch receives, activations or gradients, and the outputs of those in flight; on the
    last stage the logits of all microbatches, for the step's result.
    """
    if not sharding.torch_pipeline or stage == ONLY:
        return 0
    microbatches = max(sharding.grad_accum, 1)
    if stage == LAST:
        return microbatches * (2 * sizes.product("Th") + 2 * sizes.product("TV"))
    return int((microbatches + in_flight(stage, sharding)) * 2 * sizes.product("Th"))


def communication_text(rank: Rank, setup: TrainingSetup, sharding: Sharding) -> str:
    """What parallelism adds to a moment, as a formula; empty for nothing."""
    compute = 2 if setup.compute != "fp32" else 4
    found = []
    if sharding.fsdp > 1:
        outside = f", and {rank.outside:,} outside them"
        counts = "forward 3, loss 1, backward 2"
        if sharding.shard_embeddings and rank.head:
            outside, counts = f", and the head's {rank.head:,} at the loss", "forward 3, backward 2"
        if not sharding.reshard:
            counts = "all of them"
        each = gathered_bytes(setup, sharding)
        packed = f", blocks at {each:.4g} B as they are packed" if each != int(each) else ""
        found.append(f"gathered: (blocks of {rank.block:,}, {counts}{outside}) x {compute} B{packed}")
        if not sharding.reshard and sharding.grad_accum > 1:
            found.append("whole gradients until the last microbatch")
    if sharding.buckets:
        found.append("DDP's buckets, as large as the gradients")
    return "; ".join(found)


def _up(value: int, by: int) -> int:
    return -(-value // by)
