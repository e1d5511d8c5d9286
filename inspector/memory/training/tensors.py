"""What trains, by the tensors' names and shapes: targets of adapters, patterns of names, and shapes for optimizers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase

from inspector.hub.cache.snapshot import split_name
from inspector.hub.checkpoint import Checkpoint
from inspector.model.model import Architecture
from inspector.model.parameters.count import parameter_groups
from inspector.model.parameters.names import component, stack

OUTSIDE = "outside"
"""The "layer" of what is in no layer: embeddings, the last norm, the head."""

HEADS = ("lm_head", "embed_out")
EMBEDDINGS = ("model.embed_tokens.weight", "transformer.wte.weight", "wte.weight", "gpt_neox.embed_in.weight")

POSITION_BIAS = "relative_attention_bias"
"""T5's table of biases by distance: an embedding in the first block of each stack."""

NOT_LINEAR = frozenset({"embedding", "norm", "head", "other", "convolution"})
SOURCE = "the names and shapes of the checkpoint's headers"


@dataclass(frozen=True, slots=True)
class Weight:
    """The same parameter of many layers (and experts): its name in the files with `{}` for numbers, one's shape, how
    many there are, layer -> how many, and the component it belongs to."""

    name: str
    shape: tuple[int, ...]
    count: int
    layers: Mapping[int, int]
    component: str
    in_stack: bool

    @property
    def numel(self) -> int:
        return math.prod(self.shape)

    @property
    def total(self) -> int:
        return self.count * self.numel

    @property
    def module(self) -> str:
        """ "self_attn.q_proj" of "model.layers.{}.self_attn.q_proj.weight"."""
        return self.name.rpartition(".")[0].rpartition("{}.")[2]

    @property
    def linear(self) -> bool:
        """The weight of a linear layer of the blocks."""
        matrix = len(self.shape) == 2 and self.component not in NOT_LINEAR
        return self.in_stack and matrix and not self.module.endswith(POSITION_BIAS)


@dataclass(frozen=True, slots=True)
class Weights:
    """All parameters of a model, and the names of its tensors.

    Attributes:
        names: tensor name -> parameters, of every tensor of the files that holds parameters.
        exact: the shapes are those of the parameters: nothing is packed.
        encoder_layers: of an encoder-decoder.
        offsets: list of layers -> the number of its first block, where that is not 0. An encoder-decoder's blocks are
            the encoder's, one for all that lies between the stacks, and the decoder's.
        sparse: layers with routed experts.
    """

    groups: tuple[Weight, ...]
    names: Mapping[str, int]
    exact: bool
    encoder_layers: int = 0
    offsets: Mapping[str, int] = field(default_factory=dict)
    sparse: frozenset[int] = frozenset()

    def block(self, template: str, numbers: Sequence[int]) -> int | None:
        """The block that a tensor lies in; None for what lies outside."""
        front = stack(template)
        return numbers[0] + self.offsets.get(front, 0) if numbers and front else None

    def linears(self, targets: str) -> tuple[Weight, ...]:
        """The linear layers that peft adapts: all of the blocks', or those whose module ends in one of the names.

        Stacked experts are one parameter in transformers' classes and no module that a name can match.
        """
        if targets == "all-linear":
            return tuple(group for group in self.groups if group.linear)
        wanted = [name.strip() for name in targets.split(",")]
        return tuple(
            group
            for group in self.groups
            if group.linear
            and group.component != "experts"
            and any(group.module == name or group.module.endswith(f".{name}") for name in wanted)
        )

    @property
    def mlp_width(self) -> int | None:
        """The width of the blocks' MLP, where all have the same: for configs that give it under a name of their own."""
        widths = {max(group.shape) for group in self.groups if group.linear and group.component == "mlp"}
        return widths.pop() if len(widths) == 1 else None

    def shared_width(self, hidden: int) -> int | None:
        """The width of the experts that every token passes, all of a block's together."""
        shapes = [group.shape for group in self.groups if group.component == "shared_experts" and group.in_stack]
        widths = [max((size for size in shape if size != hidden), default=hidden) for shape in shapes]
        return max(widths, default=None)

    def rows_of(self, name: str) -> int | None:
        """The rows of the matrix whose name ends so."""
        return next((group.shape[0] for group in self.groups if group.name.endswith(f".{name}")), None)

    def modules(self, names: str) -> tuple[Weight, ...]:
        """The parameters of the modules that end in one of the names (peft's modules_to_save).

        A head that is tied has no tensor of its own: its copy, which trains, is as large as the embedding.
        """
        wanted = [name.strip() for name in names.split(",")]
        found = self._named(wanted)
        if not found and any(name in HEADS for name in wanted):
            return tuple(replace(group, component="head") for group in self.groups if group.name in EMBEDDINGS)
        return found

    def _named(self, wanted: list[str]) -> tuple[Weight, ...]:
        return tuple(
            group for group in self.groups if any(f".{group.name}".rpartition(".")[0].endswith(f".{w}") for w in wanted)
        )

    def by_layer(self, pattern: str) -> tuple[int, dict[int, int]]:
        """Parameters whose name matches a glob: outside the layers, and in each layer.

        >>> Weights((), {"model.layers.0.norm.weight": 8, "lm_head.weight": 9}, True).by_layer("lm_*")
        (9, {})
        """
        outside, layers = 0, dict[int, int]()
        for name, numel in self.names.items():
            if fnmatchcase(name, pattern):
                block = self.block(*split_name(name))
                if block is None:
                    outside += numel
                else:
                    layers[block] = layers.get(block, 0) + numel
        return outside, layers


def only_vectors(weights: Weights, pattern: str) -> dict[int, tuple[int, ...]]:
    """Layer -> the lengths of what matches a glob, for layers in which nothing but vectors (norms, biases) does."""
    dims = {group.name: group.shape for group in weights.groups}
    found: dict[int, list[tuple[int, ...]]] = {}
    for name in weights.names:
        if fnmatchcase(name, pattern):
            template, numbers = split_name(name)
            block = weights.block(template, numbers)
            if block is not None:
                found.setdefault(block, []).append(dims[template])
    return {
        layer: tuple(shape[0] for shape in shapes)
        for layer, shapes in found.items()
        if all(len(shape) == 1 for shape in shapes)
    }


def read_weights(checkpoint: Checkpoint, architecture: Architecture) -> Weights:
    """The parameters of a checkpoint, each weight once, with the shapes of the files."""
    tensor_groups, layers = parameter_groups(checkpoint, architecture)
    encoder = encoder_stack(layers)
    encoder_layers = 1 + max(
        (
            layer
            for tensor_group in tensor_groups
            if encoder and stack(tensor_group.group.template) == encoder
            for layer in tensor_group.layers
        ),
        default=-1,
    )
    offsets = {layers: encoder_layers + 1} if layers and encoder_layers else {}
    groups = tuple(
        Weight(
            tensor_group.group.template,
            tensor_group.group.shape if tensor_group.numel == tensor_group.group.numel else (tensor_group.numel,),
            tensor_group.count,
            {
                layer + offsets.get(stack(tensor_group.group.template) or "", 0): count
                for layer, count in tensor_group.layers.items()
            },
            component(tensor_group.name),
            stack(tensor_group.group.template) in (layers, encoder) and stack(tensor_group.group.template) is not None,
        )
        for tensor_group in tensor_groups
    )
    sparse = frozenset(layer for group in groups if group.component == "experts" for layer in group.layers)
    numel = {group.name: group.numel for group in groups}
    names = {}
    for tensor in checkpoint.tensors:
        template = split_name(tensor.name)[0]
        if template in numel:
            names[tensor.name] = numel[template]
    exact = all(tensor_group.numel == tensor_group.group.numel for tensor_group in tensor_groups)
    return Weights(groups, names, exact, encoder_layers, offsets, sparse)


def encoder_stack(decoder: str | None) -> str | None:
    """The name of the encoder's list of layers beside a decoder's.

    >>> encoder_stack("model.decoder.layers")
    'model.encoder.layers'
    """
    parts = decoder.split(".") if decoder else []
    return ".".join("encoder" if part == "decoder" else part for part in parts) if "decoder" in parts else None


def adapter_size(linears: Iterable[Weight], rank: int, *, dora: bool = False) -> int:
    """Parameters of low-rank adapters: r * (in + out) for each linear layer; DoRA's magnitudes are out more.

    >>> adapter_size([Weight("layers.{}.q_proj.weight", (64, 32), 2, {0: 1, 1: 1}, "attention", True)], rank=4)
    768
    """
    return sum(group.count * (rank * sum(group.shape) + (group.shape[0] if dora else 0)) for group in linears)
