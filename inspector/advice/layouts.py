"""A layout for so many GPUs: a search over the degrees, with the sizing function that `train` prints.

What the model, the hardware or the schedule forbids is no part of it:

- tensor parallel: divides attention and key/value heads and the intermediate size (Megatron-LM, arguments.py:
  validate_args), and stays within a node, whose links are the fast ones (arXiv 2104.04473, section 3); with sequence
  parallelism, it divides each GPU's tokens.
- pipeline: no more stages than layers, and no fewer microbatches than stages.
- context parallel: two chunks of each sequence a GPU, for an even causal mask (torch's context_parallel), none shorter
  than a tile of the attention kernels; of models whose layers all attend to everything.
- expert parallel: divides the experts, and the GPUs among which data parallelism is.
- data parallel: whole micro-batches, so that the global batch is what was asked for.

A larger micro-batch never takes less, so the least memory is looked for with micro-batches of one sequence.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from inspector.errors import UnreadableModel, UsageError
from inspector.memory import Workload
from inspector.memory.estimate import RunSettings
from inspector.memory.training import Sharding, TrainingSetup, Weights, training_estimate, training_total
from inspector.memory.training.layout import Layout, LayoutSettings, Proposal, Reason
from inspector.model import Model
from inspector.settings import option_words, settings_of

KINDS = ("tp", "pp", "cp", "ep")
"""Of parallelism beside that of data, the simplest first."""

NAMES = {"tp": "tensor parallel", "pp": "pipeline", "cp": "context parallel", "ep": "expert parallel"}

RECOMPUTED = ("none", "selective", "full")
"""Checkpointing, the least recomputation first."""

SHORTEST_CHUNK = 128
"""Tokens of a tile of flash attention's queries: a shorter chunk would leave it part empty."""


@dataclass(frozen=True, slots=True)
class _Candidate:
    """One point of the search, sized."""

    sharding: Sharding
    setup: TrainingSetup
    workload: Workload
    peak: int
    needed: int

    @property
    def simplicity(self) -> tuple[Any, ...]:
        degrees = [getattr(self.sharding, kind) for kind in KINDS]
        used = [place for place, degree in enumerate(degrees) if degree > 1]
        recomputed = RECOMPUTED.index(self.setup.checkpointing) if self.setup.checkpointing in RECOMPUTED else 0
        return len(used), used, degrees, recomputed, -self.workload.batch


def propose_layout(
    model: Model,
    workload: Workload,
    setup: TrainingSetup,
    sharding: Sharding,
    tensors: Weights | None,
    asked: LayoutSettings,
    capacity: int | None = None,
) -> Proposal:
    """The layout with the least memory that keeps the global batch; and the simplest that fits.

    Args:
        workload: context, and the micro-batch that the default of the global batch is made of.
        setup: as `training_estimate` takes it; checkpointing is part of the search where it is "none".
        sharding: degrees above 1 are kept; so are its other settings.
        asked: `total_gpus` and what goes with it.
        capacity: bytes that a program can have of one GPU; None where none was named.

    Raises:
        UsageError: no degrees make so many GPUs and keep the global batch.
        UnreadableModel: the peak of no such layout is known.
    """
    search = _Search(model, workload, setup, sharding, tensors, asked)
    found = search.candidates
    if not found:
        raise UnreadableModel(
            f"no layout of {asked.total_gpus} GPUs can be sized",
            "Without --gpus, what is known of a step on one GPU is printed.",
        )
    least = min(found, key=lambda each: (each.peak, each.simplicity))
    simplest = None if capacity is None else search.simplest(capacity)
    return Proposal(
        asked.total_gpus or 1,
        search.global_batch,
        search.layout(least),
        tuple(search.reasons(least)),
        None if simplest is None else search.layout(simplest),
        search.sized,
    )


class _Search:
    """The layouts of one question."""

    def __init__(
        self,
        model: Model,
        workload: Workload,
        setup: TrainingSetup,
        sharding: Sharding,
        tensors: Weights | None,
        asked: LayoutSettings,
    ) -> None:
        self.model, self.workload, self.setup, self.sharding, self.tensors = model, workload, setup, sharding, tensors
        self.asked, self.sized = asked, 0
        self.gpus = asked.total_gpus or 1
        self.data = "ddp" if sharding.zero is not None or sharding.ddp > 1 else "fsdp"
        given = sharding.tp * sharding.pp * sharding.cp
        usual = workload.batch * sharding.grad_accum * max(1, self.gpus // given)
        self.global_batch = asked.global_batch or usual

    @cached_property
    def shardings(self) -> list[Sharding]:
        """All that are allowed, with micro-batches of one sequence.

        Raises:
            UsageError: none is.
        """
        found = list(self._allowed())
        if not found:
            raise UsageError(
                f"no layout of {self.gpus:,} GPUs keeps {self.global_batch:,} sequences per step",
                "Give another --global-batch, or leave degrees out.",
            )
        return found

    def _allowed(self) -> Iterator[Sharding]:
        own = self.sharding
        for tp in self._degrees("tp", self.gpus):
            for pp in self._degrees("pp", self.gpus // tp):
                for cp in self._degrees("cp", self.gpus // (tp * pp)):
                    data = self.gpus // (tp * pp * cp)
                    if (getattr(own, self.data) > 1 and data != getattr(own, self.data) * own.hsdp) or data % own.hsdp:
                        continue
                    steps, rest = divmod(self.global_batch, data)
                    if rest or (pp > 1 and steps < pp) or (tp > 1 and self.workload.context // cp % tp):
                        continue
                    for ep in self._degrees("ep", data * cp):
                        yield from self._made(tp, pp, cp, ep, data, steps)

    def _made(self, tp: int, pp: int, cp: int, ep: int, data: int, steps: int) -> Iterator[Sharding]:
        """The setting, where it is one: what was given beside the degrees may not go with them."""
        degrees: dict[str, Any] = {
            self.data: data // self.sharding.hsdp,
            "tp": tp,
            "pp": pp,
            "cp": cp,
            "ep": ep,
            "grad_accum": steps,
        }
        if tp > 1:
            degrees |= {"sp": True, "loss_parallel": self.setup.logits in ("all", "compiled-loss")}
        try:
            yield replace(self.sharding, **degrees)
        except UsageError:
            return

    def _degrees(self, kind: str, most: int) -> list[int]:
        """The degrees of a kind that divide so many GPUs and that the model allows; one that is given stays."""
        given = getattr(self.sharding, kind)
        divisors = [given] if given > 1 else range(1, most + 1)
        return [degree for degree in divisors if most % degree == 0 and (degree == 1 or self._allows(kind, degree))]

    def _allows(self, kind: str, degree: int) -> bool:
        """Whether the model and the hardware allow such a degree."""
        architecture, context = self.model.architecture, self.workload.context
        if kind == "pp":
            return degree <= (architecture.num_hidden_layers or 0)
        if kind == "cp":
            chunk, rest = divmod(context, 2 * degree)
            whole = all(layer.kind in ("full_attention", "latent_attention") for layer in architecture.layers)
            return whole and not rest and chunk >= SHORTEST_CHUNK
        if kind == "ep":
            return architecture.experts is not None and architecture.experts.total % degree == 0
        sizes = (
            architecture.num_attention_heads,
            architecture.num_key_value_heads or architecture.num_attention_heads,
            architecture.intermediate_size or degree,
        )
        return degree <= self.asked.node_gpus and all(size and size % degree == 0 for size in sizes)

    def _limits(self, kind: str) -> str:
        """What bounds a degree, in words."""
        architecture = self.model.architecture
        if kind == "tp":
            heads = f"{architecture.num_attention_heads} heads, {architecture.num_key_value_heads} of keys and values"
            return f"within a node of {self.asked.node_gpus} GPUs, and divides {heads}"
        if kind == "pp":
            return f"at most {architecture.num_hidden_layers} stages, and a microbatch for each"
        if kind == "cp":
            return f"two chunks of a sequence per GPU, of {SHORTEST_CHUNK} tokens or more, and full attention alone"
        return "divides the routed experts" if architecture.experts else "the model has no routed experts"

    @cached_property
    def candidates(self) -> list[_Candidate]:
        """All with micro-batches of one sequence, with the least and the most recomputation."""
        ways = list(self._ways(("none", "full")))
        return [
            found
            for sharding in self.shardings
            for setup in ways
            if (found := self._size(sharding, setup, 1)) is not None
        ]

    def _ways(self, names: Iterable[str]) -> Iterator[TrainingSetup]:
        """The setup with each kind of checkpointing; as it is, where one was asked for."""
        if self.setup.checkpointing != "none":
            yield self.setup
            return
        for name in names:
            try:
                yield replace(self.setup, checkpointing=name)
            except UsageError:
                continue

    def _size(self, sharding: Sharding, setup: TrainingSetup, batch: int) -> _Candidate | None:
        """One point; None where the rules refuse it or cannot size it."""
        workload = replace(self.workload, batch=batch)
        spread = replace(sharding, grad_accum=sharding.grad_accum // batch)
        self.sized += 1
        try:
            training = training_estimate(self.model, workload, setup, spread, self.tensors)
        except UsageError:
            return None
        needed = training_total(training).total
        if training.peak is None or needed is None:
            return None
        return _Candidate(spread, setup, workload, training.peak, needed)

    def simplest(self, capacity: int) -> _Candidate | None:
        """The first that fits, with its largest micro-batch."""
        ways = list(self._ways(RECOMPUTED))
        order = sorted(self.shardings, key=lambda each: _Candidate(each, self.setup, self.workload, 0, 0).simplicity)
        for sharding in order:
            for setup in ways:
                one = self._size(sharding, setup, 1)
                if one is not None and one.needed <= capacity:
                    return self._largest(sharding, setup, one, capacity)
        return None

    def _largest(self, sharding: Sharding, setup: TrainingSetup, one: _Candidate, capacity: int) -> _Candidate:
        """With the largest micro-batch that fits and divides the steps, a pipeline's stages all at work."""
        best = one
        for batch in range(2, sharding.grad_accum // sharding.pp + 1):
            if sharding.grad_accum % batch:
                continue
            more = self._size(sharding, setup, batch)
            if more is None or more.needed > capacity:
                break
            best = more
        return best

    def layout(self, candidate: _Candidate) -> Layout:
        """As the command line says it."""
        sharding, words = candidate.sharding, []
        settings: dict[str, Any] = {}
        for name, each in settings_of(Sharding).items():
            value = getattr(sharding, name)
            if value != getattr(self.sharding, name):
                settings[name] = value
                words += option_words(each, value)
        settings |= {"batch": candidate.workload.batch, "checkpointing": candidate.setup.checkpointing}
        for kind, name in ((RunSettings, "batch"), (TrainingSetup, "checkpointing")):
            words += option_words(settings_of(kind)[name], settings[name])
        return Layout(settings, shlex.join(words), candidate.peak, candidate.needed)

    def reasons(self, least: _Candidate) -> Iterator[Reason]:
        """Of each choice: what it is, and the least that another one takes."""
        for kind in KINDS:
            value = getattr(least.sharding, kind)
            others = [each for each in self.candidates if (getattr(each.sharding, kind) > 1) != (value > 1)]
            what = f"{NAMES[kind]} x {value}" if value > 1 else f"no {NAMES[kind]}"
            yield Reason(kind, value, f"{what} ({self._limits(kind)})", _least(others))
        mode = least.setup.checkpointing
        others = [each for each in self.candidates if each.setup.checkpointing != mode]
        yield Reason("checkpointing", mode, f"checkpointing {mode}", _least(others))
        more = self._size(least.sharding, least.setup, 2) if least.sharding.grad_accum % 2 == 0 else None
        steps = f"{least.sharding.grad_accum} microbatches of one sequence"
        yield Reason("batch", 1, f"{steps} on each of {self._data(least)} data-parallel GPUs", _least([more]))

    def _data(self, least: _Candidate) -> int:
        return self.global_batch // least.sharding.grad_accum


def _least(found: Sequence[_Candidate | None]) -> int | None:
    return min((each.peak for each in found if each is not None), default=None)
