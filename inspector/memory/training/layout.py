"""A layout of a training step over many GPUs, as inspector.advice.layouts proposes it: the types."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from inspector.settings import setting


@dataclass(frozen=True, kw_only=True)
class LayoutSettings:
    """What a layout is proposed for.

    Attributes:
        total_gpus: GPUs of the run, for which a layout is proposed where the degrees do not give one; None for none.
        global_batch: sequences a step of the whole run; the micro-batch x microbatches x data-parallel GPUs where None.
        node_gpus: GPUs of a node, within which tensor parallelism stays.
        kept: names of settings that stay although they are at their defaults: "checkpointing", "tp".
    """

    total_gpus: int | None = setting(
        None,
        option="--gpus",
        help="Propose a layout of so many GPUs: the one with the least memory.",
        docs="propose a layout of so many GPUs: the one with the least memory, and the simplest that fits `--gpu`."
        " Degrees that are given stay",
        metavar="N",
        least=1,
        most=2**16,
        group="Several GPUs",
    )
    global_batch: int | None = setting(
        None,
        help="Sequences per step of the whole run, for --gpus.",
        docs="sequences per step of the whole run, for `--gpus`; default: as many as plain data parallelism would take",
        metavar="N",
        least=1,
        most=2**24,
        group="Several GPUs",
    )
    node_gpus: int = setting(
        8,
        rare=True,
        help="GPUs of a node, within which --gpus keeps tensor parallelism.",
        docs="GPUs of a node, within which `--gpus` keeps tensor parallelism",
        metavar="N",
        least=1,
        most=2**16,
        group="Several GPUs",
    )
    kept: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Layout:
    """One layout.

    Attributes:
        settings: degrees, micro-batch, microbatches and checkpointing, by their names as settings.
        options: the same as the command line has them, beside what was asked for.
        peak: bytes of the step's peak on the fullest GPU.
        needed: with what lives beside torch's tensors, as verdicts count it.
    """

    settings: Mapping[str, Any]
    options: str
    peak: int
    needed: int


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a layout has, or has not, one of the choices.

    Attributes:
        choice: the setting's name: "tp".
        value: that of the layout.
        text: what was chosen, and within which limits.
        otherwise: the least peak of a layout that chooses otherwise, where it is a degree with others, too; None where
            there is none.
    """

    choice: str
    value: Any
    text: str
    otherwise: int | None


@dataclass(frozen=True, slots=True)
class Proposal:
    """What is proposed for a number of GPUs.

    Attributes:
        global_batch: sequences a step, which every layout keeps.
        least: the layout with the least memory, of the same the simplest.
        reasons: of that.
        simplest: the layout with the fewest kinds of parallelism that fits the GPU that was asked for, then with the
            least recomputation and the largest micro-batch; None where no GPU was asked for, or none fits.
        sized: layouts that were sized.
    """

    gpus: int
    global_batch: int
    least: Layout
    reasons: tuple[Reason, ...]
    simplest: Layout | None
    sized: int
