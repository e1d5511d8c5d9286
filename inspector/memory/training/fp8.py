"""Linear layers that multiply in fp8: what they keep for the backward pass, and what they make while they are at work.

- torchao (float8/float8_linear.py): weights stay as they are, and input, weight and gradient are cast each time they
  are used. Autograd keeps the input and the weight as they were, not their fp8 copies (`save_for_backward(input_hp,
  weight_hp_t)`): activations are those of bf16. Only under autocast less is kept: no bf16 copies of fp32 weights.
  Measured with torchao 0.18's own Float8Linear under fake tensors (tests/measure/test_training_fp8.py). Compiled runs
  may keep fp8 copies instead, so what is given here is a bound for them. The head is left out, as torchtitan has it.
- Transformer Engine (pytorch/module/linear.py, `_Linear.forward`): each layer keeps its own fp8 copy of its input, and
  of its weight two, as it is and transposed. Read in a release 1.x, not measured: it needs a GPU to be imported.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from inspector.memory.training.recompute import mentions
from inspector.memory.training.sizes import Sizes
from inspector.memory.training.table import Layer, Piece, Sum
from inspector.memory.training.tensors import Weights

CASTS = {"forward": 5, "backward": 3}
"""Bytes a value of the widest input while it is cast: its fp32 and its fp8 copy; in the backward pass the fp32 copy
takes the place of what has been let go of, and what stays are the fp8 copies."""

OWN_COPY = 1
WEIGHT_COPIES = 2
"""Transformer Engine's fp8 copies of a weight: as it is, and transposed."""

SHARED = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"), ("down_proj",))
"""Modules of gated decoders that have one input."""


FUSED_CASTS = {"forward": 1, "backward": 1}
"""The same of compiled blocks, whose kernels write the fp8 copy alone."""


def with_fused_casts(layer: Layer) -> Layer:
    """A compiled block of torchao's Float8Linear: not measured, as its kernels need a GPU."""
    return with_casts(layer, FUSED_CASTS)


def with_casts(layer: Layer, casts_of: Mapping[str, int] = CASTS) -> Layer:
    """A block of torchao's Float8Linear, by its entry in the table."""
    casts = ("Tf", "hf") if mentions(layer, "f") else ("Th", "hq") if mentions(layer, "q") else ("Th",)
    copies = {name: factor for name, factor in layer.forward.end.items() if _of_weights(name)}

    def without(moment: Sum) -> dict[str, float]:
        return {name: factor for name, factor in moment.items() if name not in copies}

    def above(moment: Sum) -> dict[str, float]:
        return {name: moment.get(name, 0) + copies.get(name, 0) for name in {**moment, **copies}}

    def casting(moments: Sequence[Sum], phase: str) -> tuple[Sum, ...]:
        values = casts_of[phase]
        return tuple({**moment, name: moment.get(name, 0) + values} for moment in moments for name in casts)

    forward = casting([without(peak) for peak in layer.forward.peaks], "forward")
    backward = casting([above(peak) for peak in layer.backward.peaks], "backward")
    return Layer(Piece(without(layer.forward.end), forward), Piece(above(layer.backward.end), backward), layer.released)


def _of_weights(product: str) -> bool:
    """Whether a product of sizes has no tokens in it: "hf", not "Tf"."""
    return product[0] not in "Tbs1"


def kept_by_transformer_engine(weights: Weights, sizes: Sizes, *, primary: bool) -> dict[int, int]:
    """Layer -> bytes that a block keeps less than in bf16; below nothing where it keeps more.

    Args:
        primary: weights live in fp8 alone, both ways round (fp8_model_init): their copies are the weights.
    """
    found: dict[int, int] = {}
    tokens, linears = sizes.letters["T"], weights.linears("all-linear")
    for group in linears:
        copies = 0 if primary else WEIGHT_COPIES * group.numel
        for index, count in group.layers.items():
            found[index] = found.get(index, 0) - count * (OWN_COPY * tokens * group.shape[1] + copies)
    for names in SHARED:
        inputs = {i: g.shape[1] for g in linears if g.module.rpartition(".")[2] in names for i in g.layers}
        for index, width in inputs.items():
            found[index] += 2 * tokens * width
    return found
