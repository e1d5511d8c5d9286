"""What trains of a model under a setup: adapters, matching parameters or all; and each block as it is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from inspector.errors import UsageError
from inspector.memory.training.compiled import spared_by_compiling
from inspector.memory.training.estimate import TrainingSetup
from inspector.memory.training.fp8 import SHARED, kept_by_transformer_engine
from inspector.memory.training.int8 import in_int8
from inspector.memory.training.lora import adapter_parameters
from inspector.memory.training.optimizers import Shapes, Trained
from inspector.memory.training.phases import Block
from inspector.memory.training.sizes import Sizes
from inspector.memory.training.table import Layer
from inspector.memory.training.tensors import Weight, Weights, adapter_size, only_vectors
from inspector.model.config.light import traits_of
from inspector.model.model import Model

COPIES = {"bf16": 4, "mixed": 2}
"""Bytes an adapter keeps of each value of its input: an fp32 copy, or under autocast a bf16 one."""


@dataclass(frozen=True, slots=True)
class WhatTrains:
    """What the optimizer gets.

    Attributes:
        trained: the parameters, the adapters' where there are some.
        saved: of modules that train whole beside adapters, in the base's precision.
        outside / layers: for frozen-except, what trains outside the layers and in each.
        head / embedding: parameters of head and embedding that train (0 for tied ones' second use).
    """

    trained: Trained
    saved: int = 0
    saved_head: int = 0
    outside: int = 0
    layers: dict[int, int] | None = None
    embedding: bool = False

    @property
    def total(self) -> int:
        return self.trained.total + self.saved


def what_trains(
    model: Model,
    setup: TrainingSetup,
    weights: Weights | None,
    layers: Sequence[Layer],
    sizes: Sizes,
    still: int,
    vision: int = 0,
) -> WhatTrains:
    """What trains, by the tensors' shapes where they are known, else by the table.

    Args:
        still: parameters of encoders that get no gradient.
        vision: parameters of adapters on the vision part.

    Raises:
        UsageError: no parameter has such a name.
        MissingSize: config.json does not give a size.
    """
    shapes = weights if weights is not None and weights.exact else None
    if setup.adapters:
        what = _adapters(model, setup, shapes, layers, sizes)
        if vision:  # whose shapes no table tells
            what = replace(what, trained=Trained(what.trained.total + vision, what.trained.largest))
        return what
    if setup.method == "frozen-except":
        return _matching(setup, weights)
    stacked = sizes.letters.get("E", 0) * 2 * sizes.letters.get("m", sizes.letters.get("f", 0)) * sizes.product("h")
    largest = max(sizes.product("Vh"), sizes.product("hf"), stacked)
    total = model.parameters.total - still
    return WhatTrains(Trained(total, largest, *_shapes(shapes)), embedding=True)


def _shapes(weights: Weights | None) -> tuple[Shapes | None, Shapes]:
    if weights is None:
        return None, ()
    rest = tuple((group.shape, group.count) for group in weights.groups if not group.linear)
    return rest, tuple((group.shape, group.count) for group in weights.groups if group.linear)


def _adapters(
    model: Model, setup: TrainingSetup, weights: Weights | None, layers: Sequence[Layer], sizes: Sizes
) -> WhatTrains:
    rank, experts = setup.lora_rank, model.architecture.experts is not None
    if setup.lora_targets == "all-linear" and (weights is None or experts):
        return WhatTrains(
            Trained(adapter_parameters(layers, sizes, dora=setup.dora, each=setup.trained_bytes), sizes.product("fr"))
        )
    if weights is None:
        raise UsageError(
            "targets of adapters are told by tensor names, which this checkpoint does not give unpacked",
            "Use --lora-targets all-linear.",
        )
    chosen = weights.linears(setup.lora_targets)
    if not chosen:
        known = sorted({group.module.rpartition(".")[2] for group in weights.groups if group.linear})
        raise UsageError(
            f"no linear layer of the blocks is named {setup.lora_targets}", f"There are {', '.join(known)}."
        )
    total = adapter_size(chosen, rank, dora=setup.dora)
    pairs = tuple(
        (shape, group.count) for group in chosen for shape in ((rank, group.shape[-1]), (group.shape[0], rank))
    )
    largest = max(rank * max(group.shape) for group in chosen)
    saved = weights.modules(setup.modules_to_save) if setup.modules_to_save else ()
    if setup.modules_to_save and not saved:
        raise UsageError(f"no module is named {setup.modules_to_save}", "E.g. --modules-to-save lm_head,embed_tokens.")
    return WhatTrains(
        Trained(total, largest, (), pairs),
        saved=sum(group.total for group in saved),
        saved_head=sum(group.total for group in saved if group.component == "head"),
        embedding=any(group.component == "embedding" for group in saved),
    )


def _matching(setup: TrainingSetup, weights: Weights | None) -> WhatTrains:
    if weights is None:
        raise UsageError("what matches a pattern is told by the tensors' names, which are not known here")
    outside, layers = weights.by_layer(setup.trained)
    total = outside + sum(layers.values())
    if not total:
        example = next(iter(weights.names), "model.norm.weight")
        raise UsageError(f"no parameter's name matches {setup.trained}", f"A name here: {example}")
    embedding = any(
        group.component == "embedding"
        and weights.by_layer(setup.trained)[0] >= group.numel
        and _matches(weights, group, setup.trained)
        for group in weights.groups
    )
    largest = max(numel for name, numel in weights.names.items() if _one(name, setup.trained))
    return WhatTrains(Trained(total, largest), outside=outside, layers=layers, embedding=embedding)


def _matches(weights: Weights, group: Weight, pattern: str) -> bool:
    return group.name in weights.names and _one(group.name, pattern)


def _one(name: str, pattern: str) -> bool:
    from fnmatch import fnmatchcase

    return fnmatchcase(name, pattern)


def blocks_of(
    layers: Sequence[Layer],
    frozen: Sequence[Layer],
    what: WhatTrains,
    setup: TrainingSetup,
    weights: Weights | None,
    sizes: Sizes,
    model_type: str | None,
) -> list[Block]:
    """Each block as it is trained, first one first.

    Args:
        frozen: the entries of blocks in which nothing trains, for frozen-except.
    """
    if what.layers is not None:
        lowest = 0 if what.embedding else min(what.layers, default=len(layers))
        each = setup.trained_bytes
        vectors = only_vectors(weights, setup.trained) if weights is not None else {}
        blocks = []
        for index, (layer, still) in enumerate(zip(layers, frozen, strict=True)):
            whole = index in what.layers and index not in vectors
            kept_less = -sum(_kept_by_vector(length, setup, sizes) for length in vectors.get(index, ()))
            own = each * what.layers.get(index, 0)
            blocks.append(Block(layer if whole else still, kept_less, own, index >= lowest))
        return blocks
    if setup.fp8.startswith("te") and weights is not None:
        less = kept_by_transformer_engine(weights, sizes, primary=setup.fp8 == "te-primary")
        return [Block(layer, less.get(i, 0)) for i, layer in enumerate(layers)]
    if setup.base == "int8" and weights is not None:
        blocks = blocks_of(layers, frozen, what, replace(setup, base="nf4"), weights, sizes, model_type)
        return in_int8(blocks, weights, weights.linears(setup.lora_targets), setup, sizes)
    every = setup.lora_targets == "all-linear"
    spared: dict[int, int] = {}
    if setup.compiled:
        spared = {index: spared_by_compiling(layer, model_type, sizes) for index, layer in enumerate(layers)}
    if setup.method == "qlora" and setup.frozen_bytes == 2 and setup.compute == "mixed" and not setup.lora_dropout:
        for index, fewer in _uncopied(weights.linears(setup.lora_targets) if weights else [], sizes).items():
            spared[index] = spared.get(index, 0) + fewer
    if not setup.adapters or weights is None or (every and not setup.lora_dropout and not setup.old_bitsandbytes):
        return [Block(layer, spared.get(index, 0)) for index, layer in enumerate(layers)]
    chosen = weights.linears(setup.lora_targets)
    gradients: dict[int, int] = {}
    for group in weights.linears("all-linear"):
        adapted = group in chosen
        for index, count in group.layers.items():
            if adapted:
                one = adapter_size([replace(group, count=count)], setup.lora_rank, dora=setup.dora)
                gradients[index] = gradients.get(index, 0) + one * setup.trained_bytes
                fewer = -_dropout(group, setup, sizes, model_type)
            elif group.component == "experts":
                continue
            else:
                fewer = _kept(group, setup, sizes, model_type)
            spared[index] = spared.get(index, 0) + count * fewer
    for index, layer in enumerate([] if every else layers):
        spared[index] = spared.get(index, 0) + sizes.bytes_of(_of_stacks(layer))
    for index, fewer in _inputs(weights, chosen, setup, sizes).items():
        spared[index] = spared.get(index, 0) + fewer
    return [Block(layer, spared.get(i, 0), None if every else gradients.get(i, 0)) for i, layer in enumerate(layers)]


def _kept_by_vector(length: int, setup: TrainingSetup, sizes: Sizes) -> int:
    """Bytes that a norm's weight keeps where nothing else trains: what it is multiplied with, for its own gradient."""
    width = sizes.letters.get("q", length) if length == sizes.letters.get("d") else length
    return sizes.letters["T"] * width * (2 if setup.compute == "bf16" else 4)


def _kept(group: Weight, setup: TrainingSetup, sizes: Sizes, model_type: str | None) -> int:
    """Bytes that an adapter on a linear layer keeps: its input in its own precision, and rank values a token.

    Where the adapter has the input's precision already, the input is kept anyway, or shared; then the rank's alone.
    """
    copies = COPIES.get(setup.precision, 0) if setup.adapter_dtype == "fp32" else 0
    inputs = _width(group, model_type)
    outputs = group.numel // inputs
    rank = 2 if setup.precision == "mixed" or setup.adapter_dtype == "bf16" else 4
    dora = {"bf16": 6, "mixed": 4}.get(setup.precision, 0) * outputs if setup.dora else 0
    return sizes.letters["T"] * (copies * inputs + rank * setup.lora_rank + dora)


def refuse_on_experts(layers: Sequence[Layer], setup: TrainingSetup) -> None:
    """Refuse what peft's adapters on stacked experts cannot do (peft/tuners/lora/layer.py: ParamWrapper).

    Raises:
        UsageError: dropout or DoRA, where all linear layers have adapters and so the experts.
    """
    stacks = setup.lora_targets == "all-linear" and any(_of_stacks(layer) for layer in layers)
    if setup.adapters and stacks and (setup.lora_dropout or setup.dora):
        raise UsageError(
            f"peft's adapters on stacked experts take no {'dropout' if setup.lora_dropout else 'DoRA'}",
            "Leave the experts out: --lora-targets q_proj,k_proj,v_proj,o_proj.",
        )


def _of_stacks(layer: Layer) -> dict[str, float]:
    """What the entry keeps for adapters on stacked experts: the sum of weights and adapters, and the adapters' rows.
    peft puts no others there (peft/tuners/lora/layer.py: ParamWrapper), and names of modules do not reach them."""
    return {name: factor for name, factor in layer.forward.end.items() if name.startswith("E") and len(name) > 2}


def _width(group: Weight, model_type: str | None) -> int:
    """Values of a linear layer's input, a token. GPT-2's Conv1D stores inputs first."""
    return group.shape[0] if traits_of(model_type or "").get("conv1d") else group.shape[1]


def _shares(setup: TrainingSetup) -> bool:
    """Whether adapters keep their inputs as they are, in the base's own precision, and so one for all that share it."""
    return setup.adapter_dtype == "bf16" or setup.precision == "fp32"


def _dropout(group: Weight, setup: TrainingSetup, sizes: Sizes, model_type: str | None) -> int:
    """Bytes that the dropout before an adapter keeps: its mask, a byte a value; and its output, where that does not
    take the place of a copy of the input."""
    if not setup.lora_dropout:
        return 0
    output = setup.frozen_bytes if _shares(setup) else 0
    return sizes.letters["T"] * _width(group, model_type) * (1 + output)


def _uncopied(chosen: Sequence[Weight], sizes: Sizes) -> dict[int, int]:
    """Layer -> bytes of the adapters' inputs that plain linear layers copy and 4-bit ones share: under autocast peft
    casts none of these (peft/tuners/lora/bnb.py, Linear4bit.forward). The input of o_proj attention keeps in any case.
    """
    found: dict[int, int] = {}
    kept: set[tuple[int, str]] = set()
    for group in chosen:
        name = group.module.rpartition(".")[2]
        first = next((names[0] for names in SHARED if name in names), name)
        for index in group.layers if group.component != "experts" else ():
            alone = name != "o_proj" and (index, first) not in kept
            kept.add((index, first))
            found[index] = found.get(index, 0) + (0 if alone else sizes.letters["T"] * group.shape[1] * 2)
    return found


def _inputs(weights: Weights, chosen: Sequence[Weight], setup: TrainingSetup, sizes: Sizes) -> dict[int, int]:
    """Layer -> bytes of inputs that the entry keeps for adapters and this setup does not; less than nothing for those
    that old versions of bitsandbytes keep (MatMul4Bit.forward, `ctx.tensors = (A, B)` until 0.43). The input of o_proj
    attention keeps in any case."""
    found: dict[int, int] = {}
    linears = [group for group in weights.linears("all-linear") if group.component != "experts"]
    for names in SHARED:
        sharing = [group for group in linears if group.module.rpartition(".")[2] in names]
        for index in {index for group in sharing for index in group.layers}:
            here = [group for group in sharing if index in group.layers]
            size = sizes.letters["T"] * here[0].shape[1] * setup.frozen_bytes
            keeps = any(group in chosen for group in here) and not setup.lora_dropout
            less = size if _shares(setup) and not keeps else 0
            found[index] = found.get(index, 0) + less - (size if setup.old_bitsandbytes else 0)
    return found
