"""`training_estimate`: one training step of a model, and what lives at its peak on the fullest card."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from inspector.errors import UsageError
from inspector.memory.estimate import Estimate, Part, Workload
from inspector.memory.inference import OVERHEAD_BYTES, estimate
from inspector.memory.training.estimate import TrainingEstimate, TrainingSetup
from inspector.memory.training.logits import chunked_head
from inspector.memory.training.notes import notes
from inspector.memory.training.optimizers import Trained, optimizer_states, paged_bytes, step_temporaries
from inspector.memory.training.phases import PHASES, Moment, Passes, moments
from inspector.memory.training.profiles import Found, find_profile
from inspector.memory.training.ranks import (
    FIRST,
    LAST,
    ONLY,
    SOURCE,
    Rank,
    communication_text,
    rank_of,
    rank_sizes,
    sharded,
)
from inspector.memory.training.sharding import Sharding
from inspector.memory.training.sizes import MissingSize, Sizes, sizes_of
from inspector.memory.training.states import weights
from inspector.memory.training.table import Piece, Profile
from inspector.memory.training.tensors import Weights
from inspector.memory.training.trained import WhatTrains, blocks_of, what_trains
from inspector.model.model import Model

UNKNOWN = ("activations", "logits", "temporaries")
NOTHING = Piece({}, ({},))


def training_estimate(
    model: Model,
    workload: Workload,
    setup: TrainingSetup,
    sharding: Sharding | None = None,
    tensors: Weights | None = None,
) -> TrainingEstimate:
    """The peak of one training step, with what lives at it, on the fullest card.

    Assumed: every token has a label and none is padding; dropout as the class has it by default; the model's own loss
    in fp32.

    Args:
        model: the model to train.
        workload: context and batch of one micro-batch on one data-parallel rank; its precision is not looked at, as
            `setup` has its own.
        setup: how it is trained.
        sharding: over which cards; one where None.
        tensors: the parameters' shapes, for what depends on them (targets of adapters, Adafactor, patterns of names).

    Raises:
        UsageError: a context or batch below 1, or a name that no parameter has.
    """
    if workload.context < 1 or workload.batch < 1:
        raise UsageError("context and batch must be at least 1")
    sharding = sharding or Sharding()
    if sharding.gathers and setup.method == "full" and setup.precision == "mixed":
        # fully_shard's MixedPrecisionPolicy: fp32 shards, whose bf16 copies compute.
        table_setup = replace(setup, precision="bf16")
    else:
        table_setup = setup
    found = find_profile(model.architecture, workload, table_setup)
    if isinstance(found, str):
        return _states_only(model, workload, setup, sharding, found)
    sizes = sizes_of(model.architecture, batch=workload.batch, context=workload.context, rank=setup.lora_rank)
    if "f" not in sizes.letters and tensors is not None and tensors.mlp_width:
        sizes.letters["f"] = tensors.mlp_width
    try:
        what = what_trains(model, setup, tensors, found.layers, sizes)
        stages = (ONLY,) if sharding.pp == 1 else (FIRST, LAST)
        cards = [
            _Card(model, workload, setup, sharding, tensors, found, what, rank_sizes(sizes, sharding), stage).estimate()
            for stage in stages
        ]
    except MissingSize as missing:
        return _states_only(model, workload, setup, sharding, f"config.json does not give {missing}")
    return max(cards, key=lambda card: (card.peak is None, card.peak or 0))


@dataclass(frozen=True, slots=True)
class _Card:
    """One card of a run."""

    model: Model
    workload: Workload
    setup: TrainingSetup
    sharding: Sharding
    tensors: Weights | None
    found: Found
    what: WhatTrains
    sizes: Sizes
    stage: str

    def estimate(self) -> TrainingEstimate:
        model, setup, sharding = self.model, self.setup, self.sharding
        rank = rank_of(model, sharding, self.stage)
        trained = self._trained(rank)
        saved = self.what.saved
        whole = weights(setup, model, self.what.trained.total)
        share = rank.total / model.parameters.total if model.parameters.total else 1.0
        steady = self._steady(whole, share)
        gradient_bytes = trained.total * setup.trained_bytes + saved * setup.frozen_bytes
        passes = [sharded(moment, rank, setup, sharding, trained.total) for moment in self._passes(gradient_bytes)]
        step = self._step(trained)
        at_step = 0 if self._gradients_leave else _up(gradient_bytes, sharding.shards[1])
        if setup.optimizer_in_backward:
            at_step = trained.largest * setup.trained_bytes
            step = replace(step, bytes=min(step.bytes or 0, 2 * at_step), formula=f"of one parameter: {step.formula}")
        optimizer = Moment("optimizer", at_step, 0, 0, step.bytes or 0)
        if sharding.buckets:
            optimizer = replace(optimizer, rest=optimizer.rest + gradient_bytes)
        largest_of = {
            phase: max(found, key=lambda moment: moment.total)
            for phase in PHASES
            if (found := [moment for moment in [*passes, optimizer] if moment.phase == phase])
        }
        peak = max(largest_of.values(), key=lambda moment: moment.total)
        always = sum(part.bytes or 0 for part in steady)
        known = all(part.bytes is not None for part in steady)
        source = f"inspector/data/training ({model.architecture.model_type}): {self.found.versions}, fake tensors"
        return TrainingEstimate(
            self.workload,
            setup,
            self.what.total,
            parts=(
                *steady,
                *self._parts_of(peak, step, gradient_bytes, source, communication_text(rank, setup, sharding)),
            ),
            peak_phase=peak.phase if known else None,
            phases={phase: always + moment.total for phase, moment in largest_of.items()} if known else {},
            inference_bytes=estimate(model, self.workload).weights.bytes,
            warnings=(
                *estimate(model, self.workload).warnings,
                *notes(model, setup, sharding, paged_bytes(setup, trained)),
            ),
            sharding=sharding,
        )

    @property
    def _gradients_leave(self) -> bool:
        return "optimizer" in self.sharding.offload and self.sharding.shards[1] > 1

    def _trained(self, rank: Rank) -> Trained:
        """What trains on this card, before data parallelism divides it."""
        trained, total = self.what.trained, self.model.parameters.total
        if rank.total == total:
            return trained
        share = rank.total / total
        return replace(trained, total=int(trained.total * share), largest=min(trained.largest, rank.total))

    def _steady(self, whole: Part, share: float) -> tuple[Part, Part]:
        """Weights and optimizer states."""
        setup, sharding, saved = self.setup, self.sharding, self.what.saved
        size = None if whole.bytes is None else whole.bytes + saved * setup.frozen_bytes
        formula = whole.formula + (f" + {saved:,} of modules_to_save x {setup.frozen_bytes} B" if saved else "")
        states = optimizer_states(setup, self.what.trained)
        state_size = states.bytes
        if saved:
            beside = optimizer_states(_base_setup(setup), Trained(saved, saved))
            state_size = None if state_size is None or beside.bytes is None else state_size + beside.bytes
            states = replace(states, formula=f"{states.formula} + {beside.formula}")
        by_weights, _, by_states = sharding.shards
        if share != 1 or by_weights > 1:
            size = None if size is None else _up(int(size * share), by_weights)
            formula = f"({formula}) x {share:.4g} / {by_weights}"
        if share != 1 and state_size is not None:
            state_size = int(state_size * share)
            states = replace(states, formula=f"({states.formula}) x {share:.4g}")
        if by_states > 1 and state_size is not None:
            state_size = _up(state_size, by_states)
            states = replace(states, formula=f"({states.formula}) / {by_states} cards")
        if "params" in sharding.offload:
            size, formula = 0, "on the CPU"
        if "optimizer" in sharding.offload or "params" in sharding.offload:
            state_size, states = 0, replace(states, formula="on the CPU")
        return (
            Part(
                "weights",
                size,
                formula,
                whole.source if share == 1 and by_weights == 1 else f"{whole.source}; {SOURCE}",
            ),
            Part("optimizer_states", state_size, states.formula, states.source),
        )

    def _step(self, trained: Trained) -> Part:
        setup, cards = self.setup, self.sharding.shards[2]
        if "optimizer" in self.sharding.offload or "params" in self.sharding.offload:
            return Part("temporaries", 0, "none: the optimizer steps on the CPU", SOURCE)
        step = step_temporaries(setup, trained)
        if self.what.saved:
            beside = step_temporaries(_base_setup(setup), Trained(self.what.saved, self.what.saved))
            step = replace(step, bytes=(step.bytes or 0) + (beside.bytes or 0))
        if cards > 1:
            step = replace(step, bytes=_up(step.bytes or 0, cards), formula=f"({step.formula}) / {cards} cards")
        return step

    def _passes(self, gradient_bytes: int) -> list[Moment]:
        """The moments of forward and backward pass on this card, gradients not yet divided."""
        setup, sharding, found, what = self.setup, self.sharding, self.found, self.what
        profile, embedding = found.profile, found.embedding
        trains_head = not setup.adapters or what.saved_head > 0
        head_gradients = None
        if what.layers is not None and found.frozen_profile is not None:
            trains_head = what.outside > 0
            base = profile if trains_head else found.frozen_profile
            profile = Profile(base.start, profile.layers, base.head, profile.embedding)
            embedding = embedding if what.embedding else found.frozen_profile.embedding
            head_gradients = (0 if what.embedding else what.outside) * setup.trained_bytes
        head = profile.head
        if setup.logits == "chunked":
            head = chunked_head(head, self.sizes, setup, trains=trains_head)
        if what.saved_head:
            head_gradients = self.sizes.bytes_of(head.end) + what.saved_head * setup.frozen_bytes
        blocks = blocks_of(
            found.layers,
            found.frozen_layers,
            what,
            setup,
            self.tensors if self.tensors is not None and self.tensors.exact else None,
            self.sizes,
            self.model.architecture.model_type,
        )
        start, copies = profile.start, 1
        if self.stage != ONLY:
            count = _up(len(blocks), sharding.pp)
            if self.stage == FIRST:
                blocks, head = blocks[:count], NOTHING
                copies = min(sharding.pp, sharding.grad_accum) if sharding.grad_accum > 1 else sharding.pp
            else:
                blocks, start, embedding = blocks[-count:], NOTHING, NOTHING
        return moments(
            Profile(start, profile.layers, head, profile.embedding),
            blocks,
            embedding,
            self.sizes,
            Passes(
                recomputed=setup.checkpointing == "full",
                old_gradients=0 if setup.optimizer_in_backward else gradient_bytes if sharding.grad_accum > 1 else None,
                kept_copies=copies,
                offloaded="activations" in sharding.offload,
                head_gradients=head_gradients,
            ),
        )

    def _parts_of(self, peak: Moment, step: Part, gradient_bytes: int, source: str, more: str) -> tuple[Part, ...]:
        """The peak's shares beside weights and optimizer states."""
        layers, sizes = self.found.layers, self.sizes
        if peak.phase == "optimizer":
            formula = f"{gradient_bytes:,} B" + (
                f" / {self.sharding.shards[1]} cards" if self.sharding.shards[1] > 1 else ""
            )
            if self.sharding.cards == 1 and not self.what.saved:
                formula = f"{self.what.total:,} trainable parameters x {self.setup.trained_bytes} B"
            none = "none while the optimizer steps"
            buckets = peak.rest - (step.bytes or 0)
            if buckets:
                step = replace(step, bytes=peak.rest, formula=f"{step.formula} + DDP's buckets, {buckets:,} B")
            return (
                Part("gradients", peak.gradients, formula, step.source),
                Part("activations", 0, none, source),
                Part("logits", 0, none, source),
                step,
            )
        block = layers[0].forward.end
        kept = f"{len(layers)} blocks; the first keeps {sizes.text(block)} = {sizes.bytes_of(block):,} B"
        given = "" if peak.rest >= 0 else f", less {-peak.rest:,} B that the block at work has let go of"
        cards = f"; {more}" if more else ""
        return (
            Part("gradients", peak.gradients, f"of what is behind the peak, which is in the {peak.phase} pass", source),
            Part("activations", peak.kept + min(peak.rest, 0), kept + given, source),
            Part(
                "logits",
                peak.logits,
                "logits, their fp32 copy, the loss's gradients" if peak.logits else "none",
                source,
            ),
            Part("temporaries", max(peak.rest, 0), f"of the stretch at work in the {peak.phase} pass{cards}", source),
        )


def training_total(training: TrainingEstimate) -> Estimate:
    """A training estimate in the form that `inspector.hardware.check_fit` takes: the peak, and what lives on the card
    beside torch's tensors."""
    steady = training.parts[0]
    rest = None if training.peak is None else training.peak - (steady.bytes or 0)
    return Estimate(
        training.workload,
        weights=steady,
        kv_cache=Part("kv_cache", 0, "none while training", "use_cache=False"),
        activations=Part("training", rest, "all but the weights at the peak", ""),
        overhead=Part("overhead", OVERHEAD_BYTES, "CUDA context, kernels and libraries", "see inference.py"),
        kv_bytes_per_token=0,
        kv_dtype=None,
    )


def _base_setup(setup: TrainingSetup) -> TrainingSetup:
    """For modules that train whole beside adapters: the optimizer over parameters in the base's precision."""
    precision = "bf16" if setup.frozen_bytes == 2 else "fp32"
    attention = "sdpa" if precision == "fp32" else setup.attention
    return TrainingSetup(
        precision=precision,
        optimizer=setup.optimizer,
        optimizer_impl=setup.optimizer_impl,
        attention=attention,
        optimizer_bytes=setup.optimizer_bytes,
    )


def _states_only(
    model: Model, workload: Workload, setup: TrainingSetup, sharding: Sharding, reason: str
) -> TrainingEstimate:
    """What is known without a table. The peak is then unknown, never a part of it."""
    base = model.parameters.total
    full = setup.method == "full"
    by_weights, by_gradients, by_states = sharding.shards
    size, none = base * setup.trained_bytes, f"unknown: {reason}"
    own, states = weights(setup, model, 0), optimizer_states(setup, Trained(base, base))
    parts: Sequence[Part] = [
        replace(own, bytes=None if own.bytes is None else _up(own.bytes, by_weights)),
        replace(states, bytes=None if states.bytes is None else _up(states.bytes, by_states))
        if full
        else Part("optimizer_states", None, none, ""),
        Part("gradients", _up(size, by_gradients), f"{base:,} x {setup.trained_bytes} B", "")
        if full
        else Part("gradients", None, none, ""),
        *(Part(name, None, none, "") for name in UNKNOWN),
    ]
    least = sum(part.bytes or 0 for part in parts)
    return TrainingEstimate(
        workload,
        setup,
        base if full else None,
        tuple(parts),
        inference_bytes=estimate(model, workload).weights.bytes,
        warnings=(
            f"the peak is not known: {reason}; without activations it takes at least {least:,} B;"
            " --measure runs the class itself",
        ),
        sharding=sharding,
    )


def _up(value: int, by: int) -> int:
    return -(-value // by)
