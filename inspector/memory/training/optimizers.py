"""What each optimizer keeps from step to step, and what it makes while it steps.

Checked by running torch's and transformers' own (tests/memory/training/test_optimizers.py); bitsandbytes', GaLore's and
APOLLO's follow their sources.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from inspector.memory.estimate import Part
from inspector.memory.training.estimate import TrainingSetup
from inspector.memory.training.optimizers_by_source import BY_SOURCE

TORCH = "torch 2.13, torch/optim"
TRANSFORMERS = "transformers 5.23, optimization.py (Adafactor without a first moment, its default)"
BITSANDBYTES = "bitsandbytes 0.50, optim/optimizer.py: by its source, not measured"
LOW_RANK = {
    "galore": "galore-torch 1.0, adamw.py and galore_projector.py: by its source, not measured",
    "apollo": "apollo-torch 1.0.3, apollo.py and random_projector.py: by its source, not measured",
}

BLOCK = 256
"""Values that share one fp32 scale in bitsandbytes' 8-bit states."""

SMALLEST_8BIT = 4096
"""Tensors with fewer values keep fp32 states (min_8bit_size)."""

SMALLEST_PAGED = 100_000
"""Tensors with fewer values are not paged."""

TORCHAO = "torchao 0.18, optim/adam.py: its states measured on small tensors; its compiled step taken to make nothing"
BLOCKS = {
    "torchao-adamw-8bit": (1.0, 256, 1024),
    "torchao-adamw-4bit": (0.5, 128, 64),
    "torchao-adamw-fp8": (1.0, 256, 0),
}
"""torchao's states: bytes a value, values that share one fp32 scale, and bytes of a tensor's table of codes."""

FP8_LM = "FP8-LM (arXiv 2310.18313, section 3.1): first moment in fp8, second in fp16; not measured"

Shapes = tuple[tuple[tuple[int, ...], int], ...]


@dataclass(frozen=True, slots=True)
class Trained:
    """What the optimizer gets: parameters, those of the largest tensor, and (shape, how many) of each tensor, with
    those of the blocks' linear layers apart. `shapes` is None where they are not known."""

    total: int
    largest: int
    shapes: Shapes | None = None
    linear: Shapes = ()

    def sum(self, size: Callable[[tuple[int, ...]], float]) -> int | None:
        """size(shape) over all tensors."""
        if self.shapes is None:
            return None
        return math.ceil(sum(count * size(shape) for shape, count in (*self.shapes, *self.linear)))


def optimizer_states(setup: TrainingSetup, trained: Trained) -> Part:
    """Bytes of the optimizer's states that are on the GPU, with the fp32 copy of the weights where it keeps one."""
    part = _states(setup, trained)
    if setup.precision != "bf16-master":
        return part
    masters = 4 * trained.total
    size = None if part.bytes is None else part.bytes + masters
    return Part("optimizer_states", size, f"{part.formula} + {trained.total:,} fp32 weights x 4 B", part.source)


def _states(setup: TrainingSetup, trained: Trained) -> Part:
    name, total = setup.optimizer, trained.total
    each = 4 if setup.precision == "bf16-master" else setup.trained_bytes

    def part(size: float | None, formula: str, source: str) -> Part:
        if size is None:
            formula = f"unknown: the tensors' shapes are not known ({formula})"
        return Part("optimizer_states", None if size is None else math.ceil(size), formula, source)

    if name in ("adamw", "sgd", "sgd-momentum"):
        count = {"adamw": 2, "sgd": 0, "sgd-momentum": 1}[name]
        return part(total * count * each, f"{total:,} trainable parameters x {count} states ({name}) x {each} B", TORCH)
    if name == "custom":
        size = setup.optimizer_bytes or 0
        return part(total * size, f"{total:,} trainable parameters x {size:g} B", "--optimizer-bytes")
    if name in ("adafactor", "adafactor-torch"):
        size = 4 if name == "adafactor" else each
        formula = f"rows and columns of each matrix, vectors whole, x {size} B"
        source = TRANSFORMERS if name == "adafactor" else TORCH
        return part(trained.sum(lambda shape: size * _factored(shape)), formula, source)
    if name == "muon":
        return part(_muon_values(trained, each), f"one momentum a matrix of the blocks, two a rest, x {each} B", TORCH)
    if name in LOW_RANK:
        rank = setup.optimizer_rank
        formula = f"rank {rank}: two states of r x the longer side and a projection of r x the shorter, x {each} B"
        return part(_low_rank(trained, each, rank), formula, LOW_RANK[name])
    if name == "fp8-lm":
        return part(3 * total, f"{total:,} trainable parameters x (1 B + 2 B)", FP8_LM)
    if name in BY_SOURCE:
        entry = BY_SOURCE[name]
        kept = trained.sum(lambda shape: entry.bytes_of(shape, each))
        if kept is None and entry.extra is None:
            kept = entry.bytes_of((total,), each)
        return part(kept, f"{total:,} trainable parameters: {entry.formula}", entry.source)
    if name in BLOCKS:
        return _torchao(name, trained, each, part)
    return _bitsandbytes(name, trained, part)


def _torchao(name: str, trained: Trained, each: int, part: Callable[[float | None, str, str], Part]) -> Part:
    """Two states a tensor; small ones, and those that blocks do not divide, keep theirs as the parameter is."""
    size, block, table = BLOCKS[name]

    def states(shape: tuple[int, ...]) -> float:
        values = math.prod(shape)
        if values < SMALLEST_8BIT or values % block:
            return 2 * each * values
        return 2 * (values * size + 4 * values // block + table)

    total = trained.sum(states)
    formula = f"{trained.total:,} trainable parameters x 2 x ({size:g} B + 4 B / {block})"
    return part(2 * trained.total * (size + 4 / block) if total is None else total, formula, TORCHAO)


def _bitsandbytes(name: str, trained: Trained, part: Callable[[float | None, str, str], Part]) -> Part:
    states, paged, eight = 1 if "lion" in name else 2, name.startswith("paged"), name.endswith("8bit")
    formula = f"{states} x " + (f"(1 B + 4 B / {BLOCK})" if eight else "4 B")

    def on_gpu(shape: tuple[int, ...]) -> float:
        values = math.prod(shape)
        if not eight or values < SMALLEST_8BIT:
            return 0 if paged and values >= SMALLEST_PAGED else 4 * states * values
        scales = 4 * -(-values // BLOCK)
        return states * (scales + (0 if paged and values >= SMALLEST_PAGED else values))

    size = trained.sum(on_gpu)
    if size is None:
        size = math.ceil(on_gpu((trained.total,)))
    if paged:
        formula += f"; the states of tensors with {SMALLEST_PAGED:,} values or more are paged, scales stay on the GPU"
    return part(size, f"{trained.total:,} trainable parameters x {formula}", BITSANDBYTES)


def paged_bytes(setup: TrainingSetup, trained: Trained) -> int:
    """Bytes of states in memory that CUDA moves between GPU and CPU as needed; torch's allocator does not count it."""
    if not setup.optimizer.startswith("paged"):
        return 0
    states = 1 if "lion" in setup.optimizer else 2
    each = 1 if setup.optimizer.endswith("8bit") else 4
    total = trained.sum(lambda shape: math.prod(shape) if math.prod(shape) >= SMALLEST_PAGED else 0)
    return states * each * (trained.total if total is None else total)


def _factored(shape: tuple[int, ...]) -> int:
    """Values that stand for the second moments of one tensor (Shazeer & Stern, arXiv 1804.04235).

    >>> _factored((300, 20)), _factored((8, 300, 20)), _factored((20,))
    (320, 2560, 20)
    """
    if len(shape) < 2:
        return math.prod(shape)
    return math.prod(shape) // shape[-1] + math.prod(shape) // shape[-2]


def _muon_values(trained: Trained, each: int) -> int | None:
    if trained.shapes is None:
        return None
    matrices = sum(count * math.prod(shape) for shape, count in trained.linear)
    return each * (matrices + 2 * (trained.total - matrices))


def _low_rank(trained: Trained, each: int, rank: int) -> int | None:
    if trained.shapes is None:
        return None
    low = full = 0
    for shape, count in trained.linear:
        short, long = sorted(shape)
        used = min(rank, short)
        low += count * (2 * used * long + used * short)
        full += count * math.prod(shape)
    return each * (low + 2 * (trained.total - full))


def step_temporaries(setup: TrainingSetup, trained: Trained) -> Part:
    """Bytes that the optimizer makes while it steps.

    torch's foreach AdamW makes one tensor for every parameter at once (the root of exp_avg_sq); its loop two for one
    parameter at a time (that root, and the same divided); fused kernels, bitsandbytes' and SGD none.
    """
    name, how, largest = setup.optimizer, setup.variant, trained.largest
    each = 4 if setup.precision == "bf16-master" else setup.trained_bytes

    def part(size: int, formula: str, source: str = TORCH) -> Part:
        return Part("temporaries", size, formula, source)

    if name == "adamw" and how == "foreach":
        formula = f"{trained.total:,} trainable parameters x {each} B: the roots of all second moments"
        return part(trained.total * each, formula)
    if name == "adamw" and how == "for-loop":
        return part(2 * largest * each, f"2 x the largest tensor, {largest:,} x {each} B")
    if name == "adafactor":
        copies = ADAFACTOR_COPIES[each]
        return part(copies * largest, f"{copies} B a value of the largest tensor, {largest:,}", TRANSFORMERS)
    if name == "adafactor-torch" and how == "foreach":
        return part(each * trained.total, f"{trained.total:,} trainable parameters x {each} B: all updates at once")
    if name == "adafactor-torch":
        return part(each * largest, f"the update of the largest tensor, {largest:,} x {each} B (its loop, the default)")
    if name == "muon":
        matrix = max((shape for shape, _ in trained.linear), key=math.prod, default=(0, 0))
        values, gram = math.prod(matrix), 2 * 2 * min(matrix) ** 2
        copies = 4 if each == 2 else 8
        rest = trained.total - sum(count * math.prod(shape) for shape, count in trained.linear)
        roots = rest * each if how == "foreach" else 0
        formula = (
            f"{copies} B a value of the largest matrix, {values:,}, and two Gram matrices in bf16; or AdamW's roots"
        )
        return part(max(copies * values + gram, roots), formula)
    if name in LOW_RANK:
        formula = f"the update put back to full size, 2 x {largest:,} x {each} B; without the workspace of the SVD"
        return part(2 * largest * each, formula, LOW_RANK[name])
    if name in BY_SOURCE:
        entry = BY_SOURCE[name]
        made = entry.all_at_once * trained.total + entry.one_by_one * largest
        formula = f"{entry.all_at_once} x all, {entry.one_by_one} x the largest of them, {largest:,}, x {each} B"
        return part(made * each, formula, entry.source)
    return part(0, f"none ({name}, {how})")


ADAFACTOR_COPIES = {2: 16, 4: 8}
"""Bytes a value of the largest tensor: gradient and weight in fp32 where they are bf16, and two updates."""
