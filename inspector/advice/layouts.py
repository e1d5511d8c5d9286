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

A larger micro-batch never takes less, nor does less recomputation or a smaller expert-parallel degree than the largest:
the least memory is looked for with micro-batches of one sequence, with recomputation, and with that degree or none.
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
from inspector.memory.training.vision import Images, images_of
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
    least = search.least
    if least is None:
        raise UnreadableModel(
            f"no layout of {asked.total_gpus} GPUs can be sized",
            "Without --gpus, what is known of a step on one GPU is printed.",
        )
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
        self._refuse_given()
        found = list(self._allowed())
        if not found:
            raise UsageError(
                f"no layout of {_count(self.gpus, 'GPU')} keeps {_count(self.global_batch, 'sequence')} per step",
                "Give another --global-batch, or leave degrees out.",
            )
        return found

    def _refuse_given(self) -> None:
        """Refuse a degree that was given and that the GPUs, the model or a node cannot have.

        Raises:
            UsageError: there is one, with what it has to divide.
        """
        own, whole = self.sharding, 1
        for kind in (self.data, "hsdp", *KINDS):
            degree = getattr(own, kind)
            if degree > 1 and kind in NAMES and not self._allows(kind, degree):
                raise UsageError(f"--{kind} {degree} cannot be: {self._limits(kind)}", f"Leave out --{kind}.")
            whole *= 1 if kind == "ep" else degree
            if self.gpus % whole or (kind == "ep" and self.gpus % degree):
                raise UsageError(
                    f"--{kind} {degree} does not divide {_count(self.gpus, 'GPU')}", f"Leave out --{kind}."
                )

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
            divided = self.setup.objective == "sft" and self.setup.logits in ("all", "compiled-loss")
            degrees |= {"sp": True, "loss_parallel": divided}
        try:
            yield replace(self.sharding, **degrees)
        except UsageError:
            return

    def _degrees(self, kind: str, most: int) -> list[int]:
        """The degrees of a kind that divide so many GPUs and that the model allows; one that is given stays."""
        given = getattr(self.sharding, kind)
        divisors = [given] if given > 1 or kind in self.asked.kept else range(1, most + 1)
        found = [degree for degree in divisors if most % degree == 0 and (degree == 1 or self._allows(kind, degree))]
        return sorted({found[0], found[-1]}) if kind == "ep" and found else found

    def _allows(self, kind: str, degree: int) -> bool:
        """Whether the model and the hardware allow such a degree."""
        architecture, context = self.model.architecture, self.workload.context
        if self._not_known(kind):
            return False
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

    @cached_property
    def _with_images(self) -> bool:
        found = images_of(self.model, self.setup, Sharding(), self.workload.context, 1)
        return isinstance(found, Images)

    def _not_known(self, kind: str) -> str:
        """Why such a step has no degree of a kind; "" where it has, or may have."""
        if self._with_images and kind in ("tp", "pp", "cp"):
            return "not known with images; --images 0 for text alone"
        if self.setup.objective == "sft":
            return ""
        if kind in ("pp", "cp"):
            return f"known for supervised fine-tuning alone, not for {self.setup.aim.title}"
        if kind == "tp" and self.setup.companions:
            return "not known beside a model of its own"
        return ""

    def _limits(self, kind: str) -> str:
        """What bounds a degree, in words."""
        architecture = self.model.architecture
        if reason := self._not_known(kind):
            return reason
        if kind == "tp":
            heads = f"{architecture.num_attention_heads} heads, {architecture.num_key_value_heads} of keys and values"
            inner = f" and {architecture.intermediate_size:,} inner values" if architecture.intermediate_size else ""
            return f"within a node of {_count(self.asked.node_gpus, 'GPU')}, and divides {heads}{inner}"
        if kind == "pp":
            return f"at most {architecture.num_hidden_layers} stages, and a microbatch for each"
        if kind == "cp":
            return f"two chunks of a sequence per GPU, of {SHORTEST_CHUNK} tokens or more, and full attention alone"
        experts = architecture.experts
        return f"divides {experts.total} routed experts" if experts else "the model has no routed experts"

    @cached_property
    def candidates(self) -> list[_Candidate]:
        """All with micro-batches of one sequence and the most recomputation."""
        setup = list(self._ways(("none", "full")))[-1]
        sized = (self._size(sharding, setup, 1) for sharding in self.shardings)
        return [found for found in sized if found is not None]

    @cached_property
    def least(self) -> _Candidate | None:
        """The one with the least memory; without recomputation, where that takes no more."""
        best = min(self.candidates, key=lambda each: (each.peak, each.simplicity), default=None)
        if best is None:
            return None
        others = [self._resized(best, setup) for setup in self._ways(("none",))]
        return min((each for each in (best, *others) if each), key=lambda each: (each.peak, each.simplicity))

    def _resized(self, one: _Candidate, setup: TrainingSetup, batch: int = 1) -> _Candidate | None:
        """The same degrees with another setup or micro-batch."""
        sharding = replace(one.sharding, grad_accum=one.sharding.grad_accum * one.workload.batch)
        return self._size(sharding, setup, batch)

    def _ways(self, names: Iterable[str]) -> Iterator[TrainingSetup]:
        """The setup with each kind of checkpointing; as it is, where one was asked for."""
        if self.setup.checkpointing != "none" or "checkpointing" in self.asked.kept:
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
        fitting = [each for each in self.candidates if each.needed <= capacity]  # with the most recomputation
        for found in sorted(fitting, key=lambda each: each.simplicity):
            for setup in ways:
                one = found if setup == found.setup else self._resized(found, setup)
                if one is not None and one.needed <= capacity:
                    return self._largest(one.sharding, setup, one, capacity)
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
        given = {"batch": self.workload.batch, "checkpointing": self.setup.checkpointing}
        chosen = {"batch": candidate.workload.batch, "checkpointing": candidate.setup.checkpointing}
        known = {
            name: settings_of(kind)[name] for name, kind in (("batch", RunSettings), ("checkpointing", TrainingSetup))
        }
        for name, each in settings_of(Sharding).items():
            value = getattr(candidate.sharding, name)
            if value != getattr(self.sharding, name):
                known[name], given[name], chosen[name] = each, getattr(self.sharding, name), value
        order = [name for name in (*settings_of(Sharding), *chosen) if name in chosen]
        words: list[str] = []
        for name in dict.fromkeys(order):
            if chosen[name] != given[name]:  # what was given before is said again, if only to be the default
                words += option_words(known[name], chosen[name]) or [known[name].about.option, str(chosen[name])]
        return Layout(chosen, shlex.join(words), candidate.peak, candidate.needed)

    def reasons(self, least: _Candidate) -> Iterator[Reason]:
        """Of each choice: what it is, and the least that another one takes."""
        for kind in KINDS:
            value = getattr(least.sharding, kind)
            others = [each for each in self.candidates if (getattr(each.sharding, kind) > 1) != (value > 1)]
            what = f"{NAMES[kind]} x {value}" if value > 1 else f"no {NAMES[kind]}"
            text = f"{what} ({self._limits(kind)})"
            if value == 1 and not others:
                text = f"no {NAMES[kind]} can be: {self._limits(kind)}"
            yield Reason(kind, value, text, _least(others))
        mode = least.setup.checkpointing
        others = [found for setup in self._ways(("none", "full")) if (found := self._resized(least, setup))]
        others = [each for each in others if each.setup.checkpointing != mode]
        yield Reason("checkpointing", mode, f"checkpointing {mode}", _least(others))
        more = self._resized(least, least.setup, 2) if least.sharding.grad_accum % 2 == 0 else None
        steps = f"{_count(least.sharding.grad_accum, 'microbatch')} of one sequence"
        yield Reason("batch", 1, f"{steps} on {_count(self._data(least), 'data-parallel GPU')}", _least([more]))

    def _data(self, least: _Candidate) -> int:
        return self.global_batch // least.sharding.grad_accum


def _least(found: Sequence[_Candidate | None]) -> int | None:
    return min((each.peak for each in found if each is not None), default=None)


def _count(number: int, what: str) -> str:
    """ "1 GPU", "64 GPUs", "8 microbatches"."""
    return f"{number:,} {what}" + ("" if number == 1 else "es" if what.endswith("ch") else "s")
