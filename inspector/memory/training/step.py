"""`training_estimate`: one training step of a model, and what lives at its peak on the fullest GPU."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from inspector.errors import UsageError
from inspector.memory.estimate import Estimate, Part, Workload
from inspector.memory.inference.total import OVERHEAD_BYTES, estimate
from inspector.memory.training.classifiers import as_its_class, classifier_head, classifies
from inspector.memory.training.estimate import TrainingEstimate, TrainingSetup
from inspector.memory.training.int8 import why_not_int8
from inspector.memory.training.logits import chunked_head, loss_parallel, summed_in_place
from inspector.memory.training.notes import notes
from inspector.memory.training.objectives.critic import critic_setup, with_critic
from inspector.memory.training.objectives.embeddings import embedding_moments
from inspector.memory.training.objectives.generation import generating, generation_text
from inspector.memory.training.objectives.heads import objective_head
from inspector.memory.training.objectives.models import beside, why_not, with_own_head
from inspector.memory.training.objectives.scoring import scored
from inspector.memory.training.offload import off_gpu
from inspector.memory.training.optimizers import Trained, optimizer_states, paged_bytes, step_temporaries
from inspector.memory.training.phases import PHASES, Block, Moment, Passes, Scored, moments
from inspector.memory.training.profiles import Found, find_profile
from inspector.memory.training.ranks import (
    ENDS,
    FIRST,
    LAST,
    ONLY,
    SOURCE,
    Rank,
    communication_text,
    in_flight,
    layers_of,
    pipeline_bytes,
    rank_of,
    rank_sizes,
    refuse_layout,
    sharded,
    stages_of,
)
from inspector.memory.training.recompute import recomputed_blocks
from inspector.memory.training.reserved import Holes, knows_reserved, reserved_bytes, usually_reserved
from inspector.memory.training.sharding import Sharding
from inspector.memory.training.sizes import MissingSize, Sizes, sizes_of, with_tensors
from inspector.memory.training.states import weights
from inspector.memory.training.table import Piece, Profile
from inspector.memory.training.tensors import Weights
from inspector.memory.training.trained import WhatTrains, blocks_of, refuse_on_experts, what_trains
from inspector.memory.training.vision import (
    Images,
    VisionRun,
    images_of,
    still_parameters,
    vision_adapters,
    vision_run,
)
from inspector.memory.training.without_table import states_only
from inspector.memory.training.zero import SOURCE as ZERO
from inspector.memory.training.zero import Zero, with_zero
from inspector.model.model import Model

NOTHING = Piece({}, ({},))


def training_estimate(
    model: Model,
    workload: Workload,
    setup: TrainingSetup,
    sharding: Sharding | None = None,
    tensors: Weights | None = None,
) -> TrainingEstimate:
    """The peak of one training step, with what lives at it, on the fullest GPU.

    Assumed: every token has a label and none is padding; dropout as the class has it by default; the model's own loss
    in fp32.

    Args:
        model: the model to train.
        workload: context and batch of one micro-batch on one data-parallel rank; its precision is not looked at, as
            `setup` has its own.
        setup: how it is trained.
        sharding: over which GPUs; one where None.
        tensors: the parameters' shapes, for what depends on them (targets of adapters, Adafactor, patterns of names).

    Raises:
        UsageError: a context or batch below 1, or a name that no parameter has.
    """
    if workload.context < 1 or workload.batch < 1:
        raise UsageError("context and batch must be at least 1")
    sharding = sharding or Sharding()
    policy = _alone(model, workload, setup, sharding, tensors)
    if setup.aim.critic is None or policy.peak is None:
        return policy
    other = setup.companion("reward_repo")
    theirs = (other.model, other.tensors) if other else (model, tensors)
    value = _alone(theirs[0], workload, critic_setup(setup), sharding, theirs[1])
    return with_critic(model, policy, value)


def _alone(
    model: Model, workload: Workload, setup: TrainingSetup, sharding: Sharding, tensors: Weights | None
) -> TrainingEstimate:
    """The step of one model that trains, and of what is frozen beside it."""
    model = with_own_head(as_its_class(model), setup)
    if sharding.fp8_gather and setup.fp8 != "torchao":
        raise UsageError("torchao's layers gather in fp8", "Add --fp8 torchao.")
    refuse_layout(model, setup, sharding)
    table_setup = as_gathered(setup, sharding)
    if table_setup.compute == "mixed" and (setup.compiled or setup.logits == "compiled-loss"):
        raise UsageError("what is compiled is known without autocast", "Use --precision bf16, or mixed with --fsdp.")
    images, found = _entries(model, workload, table_setup, sharding, tensors)
    if isinstance(found, str):
        return states_only(model, workload, setup, sharding, found)
    if reason := why_not(model, workload, setup, sharding, found) or why_not_int8(setup, tensors):
        return states_only(model, workload, setup, sharding, reason)
    refuse_on_experts(found.layers, setup)
    rows = setup.rows(workload.batch)
    sizes = sizes_of(model.architecture, batch=rows, context=workload.context, rank=setup.lora_rank)
    if tensors is not None:
        sizes = with_tensors(sizes, tensors)
    try:
        still = still_parameters(model, setup, sharding, images)
        what = what_trains(model, setup, tensors, found.layers, sizes, still, vision_adapters(images, sizes))
        stages = stages_of(sharding)
        own = rank_sizes(sizes, sharding)
        run = None if images is None else vision_run(images, model, table_setup, own)
        gpus = [
            _Gpu(model, workload, setup, sharding, tensors, found, what, own, stage, run).estimate() for stage in stages
        ]
    except MissingSize as missing:
        return states_only(model, workload, setup, sharding, f"config.json does not give {missing}")
    fullest = max(gpus, key=lambda gpu: (gpu.peak is None, gpu.peak or 0))
    reserved = [gpu.reserved for gpu in gpus]
    if None not in reserved:
        return replace(fullest, reserved=max(size or 0 for size in reserved))
    usual = None if fullest.peak is None else usually_reserved(fullest.peak, setup, sharding)
    return fullest if usual is None else replace(fullest, reserved=usual[1], reserved_range=(usual[0], usual[2]))


def as_gathered(setup: TrainingSetup, sharding: Sharding) -> TrainingSetup:
    """The setup in the precision of the passes: fully_shard's MixedPrecisionPolicy has fp32 shards, whose bf16 copies
    compute."""
    gathers = sharding.gathers and setup.method == "full" and setup.precision == "mixed"
    return replace(setup, precision="bf16") if gathers else setup


def _entries(
    model: Model, workload: Workload, setup: TrainingSetup, sharding: Sharding, tensors: Weights | None
) -> tuple[Images | None, Found | str]:
    """The images that are counted, and the table's entries for the language part, or why there are none."""
    images = images_of(model, setup, sharding, workload.context, workload.batch)
    if isinstance(images, str):
        return None, images
    if images is None and setup.vision_part == "adapters" and model.architecture.vision:
        return None, "adapters on a vision part are known for steps with images"
    masked = images is not None and images.masked
    found = find_profile(model.architecture, workload, setup, tensors, scattered=sharding.sp, masked=masked)
    if isinstance(found, str) and masked and setup.images is None:  # none was asked for
        images, found = None, find_profile(model.architecture, workload, setup, tensors, scattered=sharding.sp)
    return images, found


@dataclass(frozen=True, slots=True)
class _Gpu:
    """One GPU of a run."""

    model: Model
    workload: Workload
    setup: TrainingSetup
    sharding: Sharding
    tensors: Weights | None
    found: Found
    what: WhatTrains
    sizes: Sizes
    stage: str
    vision: VisionRun | None = None

    def estimate(self) -> TrainingEstimate:
        model, setup, sharding = self.model, self.setup, self.sharding
        rank = rank_of(model, sharding, self.stage)
        trained = self._trained(rank)
        saved = self.what.saved
        whole = weights(setup, model, self.what.trained.total)
        share = rank.total / model.parameters.total if model.parameters.total else 1.0
        owned = self._owned(whole, share, rank)
        steady = (*self._steady(owned), *beside(model, self.workload, setup, sharding, share))
        each = 4 if sharding.main_grads else setup.trained_bytes
        gradient_bytes = trained.total * each + saved * setup.frozen_bytes
        own = self._passes(gradient_bytes)
        passes = [sharded(moment, rank, setup, sharding, trained.total, self.sizes, self.stage) for moment in own]
        zero = self._zero(trained, rank)
        if zero is not None:
            passes = [with_zero(moment, zero) for moment in passes]
        passes += generating(model, self.workload, setup, sharding)
        optimizer, step = self._optimizer(trained, rank, zero, gradient_bytes)
        largest_of = {
            phase: max(found, key=lambda moment: moment.total)
            for phase in PHASES
            if (found := [moment for moment in [*passes, optimizer] if moment.phase == phase])
        }
        peak = max(largest_of.values(), key=lambda moment: moment.total)
        always = sum(part.bytes or 0 for part in steady)
        known = all(part.bytes is not None for part in steady)
        more = communication_text(rank, setup, sharding) if zero is None else zero.text()
        source = f"inspector/data/training ({model.architecture.model_type}): {self.found.versions}, fake tensors"
        return TrainingEstimate(
            self.workload,
            setup,
            self.what.total,
            parts=(
                *steady,
                *self._parts_of(peak, step, gradient_bytes, source, more),
            ),
            peak_phase=peak.phase if known else None,
            phases={phase: always + moment.total for phase, moment in largest_of.items()} if known else {},
            inference_bytes=estimate(model, self.workload).weights.bytes,
            warnings=(
                *estimate(model, self.workload).warnings,
                *notes(model, setup, sharding, paged_bytes(setup, trained), self.vision),
                *self.found.notes,
            ),
            sharding=sharding,
            off_gpu=self._off_gpu(owned, trained, gradient_bytes),
            reserved=reserved_bytes(passes, optimizer, rank, setup, sharding, self._holes(own)) + always
            if known and knows_reserved(setup, sharding)
            else None,
        )

    def _optimizer(self, trained: Trained, rank: Rank, zero: Zero | None, gradient_bytes: int) -> tuple[Moment, Part]:
        """The moment of the optimizer's step, and what it makes."""
        setup, sharding, step = self.setup, self.sharding, self._step(trained, rank)
        at_step = 0 if sharding.gradients_leave else rank.over(gradient_bytes, sharding.shards[1], sharding)
        if setup.optimizer_in_backward and not sharding.away & {"optimizer", "params"}:
            at_step = trained.largest * setup.trained_bytes
            one = replace(trained, total=trained.largest) if setup.optimizer == "adamw" else trained
            step = step_temporaries(setup, one)
            step = replace(step, bytes=min(step.bytes or 0, 2 * at_step), formula=f"of one parameter: {step.formula}")
        elif zero is not None and not sharding.away & {"optimizer", "params"}:
            at_step, rest, text = zero.step()
            step = replace(step, bytes=rest, formula=text, source=ZERO)
        elif zero is not None:
            step = replace(step, bytes=zero.beside("optimizer"), formula=f"{step.formula}; {zero.text()}")
        optimizer = Moment("optimizer", at_step, 0, 0, step.bytes or 0)
        if sharding.buckets:
            optimizer = replace(optimizer, rest=optimizer.rest + gradient_bytes)
        return optimizer, step

    def _holes(self, passes: list[Moment]) -> Holes:
        """What is freed in pieces too small for what comes after."""
        block = self.found.layers[0].forward
        most = max(self.sizes.bytes_of(peak) for peak in block.peaks) - self.sizes.bytes_of(block.end)
        logits = self.sizes.product("TV") if any(moment.logits for moment in passes) else 0
        merged = logits * self.sharding.grad_accum if self.sharding.torch_pipeline else 0
        read = logits if self.setup.logits == "all" else 0  # a compiled loss keeps them for its backward pass
        return Holes(max(0, most), 2 * read, 2 * merged)

    @property
    def _waiting(self) -> int:
        """Bytes of a tied head's gradient, which autograd holds until the embedding's is there."""
        tied = self.model.architecture.tie_word_embeddings is not False and not self.setup.adapters
        whole = tied and self.setup.method == "full"
        return self.setup.trained_bytes * self.sizes.product("Vh") if whole else 0

    def _trained(self, rank: Rank) -> Trained:
        """What trains on this GPU, before data parallelism divides it."""
        trained, total = self.what.trained, self.model.parameters.total
        if rank.total == total:
            return trained
        share = rank.total / total
        return replace(trained, total=int(trained.total * share), largest=min(trained.largest, rank.total))

    def _owned(self, whole: Part, share: float, rank: Rank) -> tuple[Part, Part]:
        """Weights and optimizer states that are this GPU's, wherever they are."""
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
            size = None if size is None else rank.over(int(size * share), by_weights, sharding)
            formula = f"({formula}) x {share:.4g} / {by_weights}"
        if share != 1 and state_size is not None:
            state_size = int(state_size * share)
            states = replace(states, formula=f"({states.formula}) x {share:.4g}")
        if by_states > 1 and state_size is not None:
            state_size = rank.over(state_size, by_states, sharding)
            states = replace(states, formula=f"({states.formula}) / {by_states} GPUs")
        buffers = self.sizes.bytes_of(self.found.buffers)
        if buffers and size is not None:
            size, formula = size + buffers, f"{formula} + {buffers:,} B of causal masks"
        return (
            Part(
                "weights",
                size,
                formula,
                whole.source if share == 1 and by_weights == 1 else f"{whole.source}; {SOURCE}",
            ),
            Part("optimizer_states", state_size, states.formula, states.source),
        )

    def _steady(self, owned: tuple[Part, Part]) -> tuple[Part, Part]:
        """Those of them that are on the GPU."""
        held, states, away = *owned, self.sharding.away
        if "params" in away:
            held = replace(held, bytes=0, formula="on NVMe" if "params" in self.sharding.nvme else "on the CPU")
        if away & {"optimizer", "params"}:
            states = replace(states, bytes=0, formula="on NVMe" if "optimizer" in self.sharding.nvme else "on the CPU")
        return held, states

    def _off_gpu(self, owned: tuple[Part, Part], trained: Trained, gradient_bytes: int) -> tuple[Part, ...]:
        """What this GPU's process keeps in the host's memory and on disk."""
        sharding, away = self.sharding, self.sharding.away
        kept = 0
        if "activations" in away:
            found = replace(self, sharding=replace(sharding, offload=tuple(set(sharding.offload) - {"activations"})))
            kept = max(moment.kept for moment in found._passes(gradient_bytes))
        return off_gpu(
            self.setup,
            replace(sharding, offload=(*sharding.offload, "optimizer")) if "params" in away else sharding,
            weights=owned[0].bytes or 0,
            gradients=_up(gradient_bytes, sharding.shards[1]),
            states=owned[1].bytes or 0,
            trained=_up(trained.total, sharding.shards[2]),
            activations=kept,
            paged=paged_bytes(self.setup, trained),
        )

    def _step(self, trained: Trained, rank: Rank) -> Part:
        setup, gpus = self.setup, self.sharding.shards[2]
        if self.sharding.away & {"optimizer", "params"}:
            return Part("temporaries", 0, "none: the optimizer steps on the CPU", SOURCE)
        step = step_temporaries(setup, trained)
        if self.what.saved:
            beside = step_temporaries(_base_setup(setup), Trained(self.what.saved, self.what.saved))
            step = replace(step, bytes=(step.bytes or 0) + (beside.bytes or 0))
        if gpus > 1:
            step = replace(
                step, bytes=rank.over(step.bytes or 0, gpus, self.sharding), formula=f"({step.formula}) / {gpus} GPUs"
            )
        return step

    def _zero(self, trained: Trained, rank: Rank) -> Zero | None:
        """DeepSpeed's ZeRO on this GPU, where a stage of it divides something."""
        setup, sharding, letters = self.setup, self.sharding, self.sizes.letters
        if not sharding.zero or sharding.main_grads:
            return None
        hidden = letters.get("h") or math.isqrt(rank.block // 12)
        wide = max(letters.get("f", 0), 2 * letters.get("E", 0) * letters.get("m", 0))
        return Zero(
            sharding,
            setup,
            size=2 if setup.compute != "fp32" else 4,
            each=setup.trained_bytes,
            trained=trained.total,
            share=rank.over(trained.total, sharding.ddp * sharding.cp, sharding),
            whole=rank.total,
            largest=min(rank.block, hidden * wide) or rank.block,
            small=rank.norms,
            hidden=hidden,
        )

    def _passes(self, gradient_bytes: int) -> list[Moment]:
        """The moments of forward and backward pass on this GPU, gradients not yet divided."""
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
        if sharding.loss_parallel and setup.objective == "sft":
            head = loss_parallel(head)
        head, scores = self._head(head, trains=trains_head)
        if what.saved_head:
            head_gradients = self.sizes.bytes_of(head.end) + what.saved_head * setup.frozen_bytes
        own = setup.trained_bytes == 4 if setup.aim.tile_bytes else setup.logits in ("chunked", "chunked-loss")
        if own and self._waiting:
            embedding = summed_in_place(embedding, setup.trained_bytes)
        blocks = self._blocks()
        start = profile.start
        if self.stage == ENDS:
            half = _up(layers_of(len(blocks), sharding, ENDS), 2)
            blocks = blocks if 2 * half > len(blocks) else [*blocks[:half], *blocks[-half:]]
        elif self.stage != ONLY:
            count = layers_of(len(blocks), sharding, self.stage)
            blocks = blocks[:count] if self.stage == FIRST else blocks[-count:]
            head = head if self.stage == LAST else NOTHING
            start, embedding = (start, embedding) if self.stage == FIRST else (NOTHING, NOTHING)
        if self.vision is not None:
            start, blocks = self.vision.start, [*self.vision.blocks, *blocks]
        passes = Passes(
            old_gradients=gradient_bytes if sharding.grad_accum > 1 or sharding.main_grads else None,
            tied=self._waiting,
            let_go=self._waiting if setup.optimizer_in_backward else None,
            kept_copies=in_flight(self.stage, sharding),
            offloaded="activations" in sharding.away,
            head_gradients=head_gradients,
            scored=scores,
        )
        whole = Profile(start, profile.layers, head, profile.embedding)
        if setup.aim.headless:
            found_moments = embedding_moments(
                whole, blocks, embedding, self.sizes, passes, self.workload, setup, gradient_bytes
            )
        else:
            found_moments = moments(whole, blocks, embedding, self.sizes, passes)
        beside = pipeline_bytes(self.stage, sharding, self.sizes)
        return [replace(moment, rest=moment.rest + beside) for moment in found_moments]

    def _blocks(self) -> list[Block]:
        """The language part's blocks as they are trained."""
        setup, found = self.setup, self.found
        blocks = blocks_of(
            found.layers,
            found.frozen_layers,
            self.what,
            setup,
            self.tensors if self.tensors is not None and self.tensors.exact else None,
            self.sizes,
            self.model.architecture.model_type,
        )
        recomputed = recomputed_blocks(len(blocks), setup.checkpointing, setup.checkpoint_every)
        return [
            # What compiling spares is nothing to a block that keeps its input alone.
            replace(block, recomputed=again, spared=0 if again and setup.compiled else block.spared)
            for block, again in zip(blocks, recomputed, strict=True)
        ]

    def _head(self, head: Piece, *, trains: bool) -> tuple[Piece, list[Scored]]:
        """The head's stretch under the setup's loss, and the passes of models that score beside."""
        setup, sizes = self.setup, self.sizes
        if setup.objective != "sft":
            encodes = any(layer.kind == "no_cache" for layer in self.model.architecture.layers)
            own = objective_head(head, sizes, setup, trains=trains, encodes=encodes)
            steps = self.sharding.grad_accum
            beside = scored(self.model.architecture, self.workload, setup, sizes, self.tensors, own.kept, steps)
            return own.piece, beside
        if classifies(self.model.architecture):
            return classifier_head(head, self.model.architecture, setup), []
        if setup.logits == "all":
            return head, []
        return chunked_head(head, sizes, as_gathered(setup, self.sharding), trains=trains), []

    def _parts_of(self, peak: Moment, step: Part, gradient_bytes: int, source: str, more: str) -> tuple[Part, ...]:
        """The peak's shares beside weights and optimizer states."""
        layers, sizes = self.found.layers, self.sizes
        if peak.phase == "optimizer":
            among = round(gradient_bytes / peak.gradients) if peak.gradients else 1
            formula = f"{gradient_bytes:,} B" + (f" / {among} GPUs" if among > 1 else "")
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
        over = f"; {more}" if more else ""
        at_work = f"of the stretch at work in the {peak.phase} pass{over}"
        if peak.phase == "generation":
            at_work = generation_text(self.workload, self.setup, self.sharding)
        return (
            Part("gradients", peak.gradients, f"of what is behind the peak, which is in the {peak.phase} pass", source),
            Part("activations", peak.kept + min(peak.rest, 0), kept + given, source),
            Part(
                "logits",
                peak.logits,
                self.setup.aim.logits_text if peak.logits else "none",
                source if self.setup.objective == "sft" else f"{source}; {self.setup.aim.source}",
            ),
            Part("temporaries", max(peak.rest, 0), at_work, source),
        )


def training_total(training: TrainingEstimate) -> Estimate:
    """A training estimate as `verdict.fit.check_fit` takes it: the peak, and what lives beside torch's tensors."""
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


def _up(value: int, by: int) -> int:
    return -(-value // by)
