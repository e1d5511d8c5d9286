"""What DeepSpeed's ZeRO holds beside its shares: reduce buckets, gathered weights, gradients, the optimizer's step.

By the source of DeepSpeed 0.19 (runtime/zero/stage_1_and_2.py, stage3.py, partitioned_param_coordinator.py), and as it
is on two processes (tests/oracles/training_zero.py):

- The reduce bucket is allocated whole, however small the model. Stages 1 and 2 have it, and a second one where
  communication overlaps, from the first gradient to the last; stage 3 has one always. Stage 3 puts what is in it
  together once more, as its reduce-scatter takes it. `allgather_bucket_size` takes no memory where the backend gathers
  into one tensor, as NCCL does.
- Stage 2 has its share of the gradients whole from the first one on, and a second one while a later microbatch adds to
  it. Stage 3 has it always, in a flat buffer.
- Stage 3 gathers a module's weights before its pass. After it, those stay that are used again within
  `max_reuse_distance` parameters: when the forward pass turns, the last half of that distance. Where there is prefetch,
  every module gathers a bucket more, until `max_live_parameters` are there. Small parameters stay whole.
- The step puts a group's gradients together, in fp32 where there are masters, while the old ones are still there.
  The optimizer sees one tensor: the whole share, or in stage 3 a sub-group.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from inspector.memory.training.estimate import TrainingSetup
from inspector.memory.training.optimizers import Trained, step_temporaries
from inspector.memory.training.phases import Moment
from inspector.memory.training.sharding import Sharding

SOURCE = "DeepSpeed 0.19, runtime/zero: by its source; sizes as on two processes (tests/oracles/training_zero.py)"


@dataclass(frozen=True, slots=True)
class Zero:
    """ZeRO on one GPU.

    Attributes:
        size: bytes of a weight, and of a value of a bucket, as it computes.
        each: bytes of a gradient.
        trained: parameters that train, before data parallelism divides them.
        share: those of this GPU's share.
        whole: all parameters, before data parallelism divides them.
        largest: the largest parameter of a block.
        small: parameters of norms.
        hidden: the hidden size, which "auto" is made of.
    """

    sharding: Sharding
    setup: TrainingSetup
    size: int
    each: int
    trained: int
    share: int
    whole: int
    largest: int
    small: int
    hidden: int

    @property
    def stage(self) -> int:
        return self.sharding.zero or 0

    @property
    def bucket(self) -> int:
        """Values of a reduce bucket."""
        given = self.sharding.reduce_bucket_size
        return self.hidden**2 if given is None else given

    @property
    def buckets(self) -> int:
        """Bytes of the reduce buckets in the backward pass."""
        if not self.sharding.contiguous_gradients:
            return 2 * min(self.bucket, self.trained) * self.size  # those that wait, and those that are put together
        count = 2 if self.sharding.overlap_comm and self.stage < 3 else 1
        return count * self.bucket * self.size

    @property
    def persistent(self) -> int:
        """Values of parameters that stage 3 leaves whole."""
        given = self.sharding.param_persistence_threshold
        threshold = 10 * self.hidden if given is None else given
        return self.small if self.hidden <= threshold else 0

    @property
    def prefetches(self) -> bool:
        return self.sharding.prefetch_bucket_size != 0

    def gathered(self, phase: str) -> int:
        """Values that stage 3 has gathered: what is kept or fetched ahead, and while blocks are at work, theirs."""
        most = self.whole - self.persistent
        live = self.sharding.max_live_parameters if self.prefetches else 0
        kept = max(self.sharding.max_reuse_distance // 2, live)
        return min(most, kept + (self.largest if phase in ("forward", "backward") else 0))

    def beside(self, phase: str) -> int:
        """Bytes beside the shares in a phase."""
        if self.stage < 3:
            return self.buckets if phase == "backward" else 0
        always = self.persistent * self.size + (self.buckets if self.sharding.contiguous_gradients else 0)
        if phase == "optimizer":
            return always
        more = self.gathered(phase) * self.size
        if phase == "backward":
            more += min(self.bucket, self.trained) * self.size
            more += 0 if self.sharding.contiguous_gradients else self.buckets
        return always + more

    def gradients(self, moment: Moment) -> int:
        """Bytes of gradients in a moment of the passes."""
        own, several = self.share * self.each, self.sharding.grad_accum > 1
        if self.sharding.gradients_leave:
            return 0
        if self.stage == 3:
            return own
        if self.stage == 2:
            return own * (1 + several) if moment.phase == "backward" else own * several
        return moment.gradients

    def step(self) -> tuple[int, int, str]:
        """Bytes of gradients and of all else in the optimizer's step, beside weights and states; how they come to be.

        In stage 1 all gradients are there until they are reduced, which may take more than the step.
        """
        own, masters = self.share * self.each, self.setup.precision == "bf16-master"
        group = max(self.sharding.sub_group_size, self.share * self.largest // max(1, self.whole))
        at_once = min(self.share, group) if self.stage == 3 else self.share  # a parameter is in one group
        flat, single = self.each * at_once, (4 if masters else self.each) * at_once
        made = step_temporaries(self.setup, Trained(at_once, at_once))
        together = flat + (single if masters else 0)
        stepping = single + (made.bytes or 0) - (0 if self.stage == 3 else own)
        rest = max(together, stepping) + self.beside("optimizer")
        text = f"gradients of {at_once:,} put together, {single:,} B, and the step's temporaries: {made.formula}"
        if self.stage == 1 and self.trained * self.each + self.buckets > rest:
            text = f"the share of the gradients, {own:,} B, and reduce buckets, {self.buckets:,} B"
            return self.trained * self.each, own + self.buckets, text
        return own, rest, text

    def text(self) -> str:
        """What it adds to a moment, as a formula."""
        found = [f"reduce buckets {self.buckets:,} B"]
        if self.stage == 3:
            gathered = self.gathered("backward")
            found.append(f"gathered: {gathered:,} parameters at most, and {self.persistent:,} always, x {self.size} B")
        return "; ".join(found)


def with_zero(moment: Moment, zero: Zero) -> Moment:
    """A moment of the passes with ZeRO's gradients and buffers."""
    return replace(moment, gradients=zero.gradients(moment), rest=moment.rest + zero.beside(moment.phase))
