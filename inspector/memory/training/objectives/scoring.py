"""Forward passes without gradients, of a reference model or of the policy: their moments from the training table.

Without gradients a block keeps nothing but its output, as a checkpointed one does in its forward pass: so its moments
are those of the table's checkpointed blocks, without what those keep.
"""

from __future__ import annotations

from dataclasses import replace

from inspector.memory.estimate import Workload
from inspector.memory.training.estimate import TrainingSetup
from inspector.memory.training.objectives.companion import Companion
from inspector.memory.training.objectives.heads import scoring_heads
from inspector.memory.training.phases import Scored
from inspector.memory.training.profiles import find_profile
from inspector.memory.training.sizes import Sizes, sizes_of, with_tensors
from inspector.memory.training.table import Sum
from inspector.memory.training.tensors import Weights
from inspector.model.model import Architecture


def frozen_setup(setup: TrainingSetup) -> TrainingSetup:
    """How a frozen model computes beside the one that trains: as that does, or a base without its adapters."""
    if setup.method == "qlora":
        return replace(setup, checkpointing="full", optimizer="sgd", optimizer_in_backward=False)
    precision = "bf16" if setup.precision == "bf16-master" else setup.precision
    if setup.adapters and precision == "mixed":
        precision = "bf16"  # a base in bf16 has nothing to cast
    return TrainingSetup(precision=precision, attention=setup.attention, checkpointing="full")


def scored(
    architecture: Architecture,
    workload: Workload,
    setup: TrainingSetup,
    sizes: Sizes,
    tensors: Weights | None,
    kept: Sum,
    grad_accum: int = 1,
) -> list[Scored]:
    """The moments of the passes without gradients.

    The reference model scores a batch while the policy's activations are kept; where completions are generated, before
    the policy's own pass, and so does the policy itself where vLLM made them (importance sampling).

    Args:
        kept: what the policy's head keeps while the reference scores.
        grad_accum: micro-batches that are scored together, where an update's are.
    """
    found = []
    if setup.aim.critic is not None:
        workload, sizes = _rollout(workload, setup, sizes, grad_accum)
    if setup.reference_model in ("copy", "adapters-off"):
        frozen, other = frozen_setup(setup), setup.companion("reference_repo")
        if other is None:
            found += _pass(architecture, workload, setup, frozen, sizes, tensors, kept)
        else:
            theirs = _sizes_beside(other, sizes)
            found += _pass(other.model.architecture, workload, setup, frozen, theirs, other.tensors, kept)
    if setup.aim.scores_itself or setup.generates not in ("none", "generate"):
        own = replace(setup, checkpointing="full", checkpoint_every=2)
        found += _pass(architecture, workload, setup, own, sizes, tensors, kept)
    return found


def _rollout(workload: Workload, setup: TrainingSetup, sizes: Sizes, grad_accum: int) -> tuple[Workload, Sizes]:
    """The sequences that are scored at a time of all of an update."""
    rows = min(workload.batch * grad_accum, setup.mini_batch or ROLLOUT)
    tokens = rows * workload.context
    return replace(workload, batch=rows), Sizes(sizes.letters | {"b": rows, "T": tokens, "G": tokens}, sizes.sequence)


ROLLOUT = 64
"""PPOConfig's local_rollout_forward_batch_size."""


def _sizes_beside(other: Companion, sizes: Sizes) -> Sizes:
    """Another model's sizes with the same sequences."""
    rows, context = sizes.letters["b"], sizes.letters["s"]
    return with_tensors(sizes_of(other.model.architecture, batch=rows, context=context, rank=1), other.tensors)


def _pass(
    architecture: Architecture,
    workload: Workload,
    setup: TrainingSetup,
    frozen: TrainingSetup,
    sizes: Sizes,
    tensors: Weights | None,
    kept: Sum,
) -> list[Scored]:
    """One model's pass: embeddings and masks, each block, the head."""
    phase, under = ("scoring", None) if setup.aim.generates else ("reference", kept)
    found = find_profile(architecture, workload, frozen, tensors)
    if isinstance(found, str):  # the policy's own entries were found, so these are there, too
        return []
    moments = [Scored(phase, under, 0, sizes.bytes_of(peak)) for peak in found.profile.start.peaks]
    below, cast = sizes.bytes_of(found.profile.start.end), 0
    for layer in found.layers:
        most = max(sizes.bytes_of(peak) for peak in layer.forward.peaks)
        moments.append(Scored(phase, under, 0, below + cast + most))
        cast += sizes.bytes_of(layer.released)
    head = scoring_heads(sizes, setup, cast)
    return [*moments, *(Scored(phase, under, logits, below + rest) for logits, rest in head)]
