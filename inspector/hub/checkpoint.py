"""What the resolver hands on: a `Checkpoint`, everything that is known of a repo without its weights."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain, product
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, overload

from inspector.errors import UnsupportedFormat
from inspector.hub.dtypes import stored_bytes

Source = Literal["hub", "cache", "local", "bundled"]
PartKind = Literal["component", "module", "base", "adapter"]

MAX_PARTS = 64
"""Pipelines have about ten components; a document that names more is hostile."""
PLACEHOLDER = "{}"
"""Of a template: stands for a component that is a plain number."""
MAX_INDEX_DIGITS = 9


class Tensor(NamedTuple):
    """One stored tensor. A named tuple, not a dataclass: a large model has 90,000 of them.

    Attributes:
        name: as the file has it.
        dtype: a safetensors dtype, a key of `DTYPE_BITS`; of a GGUF file ggml's type ("Q4_K"), a key of `BLOCKS`, or
            what `dtypes.measured` makes of a type that is no key of it.
        shape: as stored (packed weights stay packed; ggml's types give the unpacked shape).
    """

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def numel(self) -> int:
        """Stored elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes in the file."""
        return stored_bytes(self.dtype, self.shape)


class TensorRow(NamedTuple):
    """Tensors of one template, dtype and shape: those of every combination of the indices.

    Attributes:
        template: the name, with `{}` for each component that is a number ("h.{}.w1").
        indices: of each placeholder the numbers that stand there, ascending.
    """

    template: str
    dtype: str
    shape: tuple[int, ...]
    indices: tuple[tuple[range, ...], ...]

    @property
    def size(self) -> int:
        """How many tensors."""
        return math.prod([sum(map(len, ranges)) for ranges in self.indices])

    @property
    def numbers(self) -> Iterator[tuple[int, ...]]:
        """The combinations of the indices, in order."""
        return product(*map(chain.from_iterable, self.indices))

    @property
    def first_key(self) -> str:
        """What its first tensor is sorted by."""
        return _formats(self.template)[1] % tuple(ranges[0][0] for ranges in self.indices)


class TensorRows(Sequence[Tensor]):
    """The tensors that rows stand for, in natural order (layer 2 before layer 10); made once one is asked for.

    Most of what is told of a model is told of its rows, of which there are dozens (`inspector.model.parameters.names`).
    Equal to any sequence of the same tensors.

    Attributes:
        rows: no two stand for the same tensor; in the order of their first tensors.
    """

    def __init__(self, rows: Iterable[TensorRow]) -> None:
        self.rows = tuple(sorted(rows, key=lambda row: row.first_key))
        self._count = sum(row.size for row in self.rows)

    @cached_property
    def _tensors(self) -> tuple[Tensor, ...]:
        keys: list[str] = []
        tensors: list[Tensor] = []
        new = tuple.__new__  # a third quicker than the class's own constructor, which matters 90,000 times
        for row in self.rows:
            name_format, key_format = _formats(row.template)
            numbers = list(row.numbers)
            keys += map(key_format.__mod__, numbers)
            dtype, shape = row.dtype, row.shape
            tensors += [new(Tensor, (name, dtype, shape)) for name in map(name_format.__mod__, numbers)]
        order = sorted(range(len(keys)), key=keys.__getitem__)
        return tuple([tensors[i] for i in order])

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self._tensors)

    @overload
    def __getitem__(self, place: int) -> Tensor: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[Tensor, ...]: ...
    def __getitem__(self, place: int | slice) -> Tensor | tuple[Tensor, ...]:
        return self._tensors[place]

    def __eq__(self, other: object) -> bool:
        if isinstance(other, TensorRows):
            return self.rows == other.rows or (len(self) == len(other) and self._tensors == other._tensors)
        return isinstance(other, tuple) and len(self) == len(other) and self._tensors == other

    def __hash__(self) -> int:
        return hash(self._tensors)

    def __repr__(self) -> str:
        return repr(self._tensors)

    def __reduce__(self) -> Any:
        return TensorRows, (self.rows,)


def alike(tensors: Sequence[Tensor]) -> Mapping[tuple[str, tuple[int, ...]], int]:
    """How many tensors there are of each dtype and shape, in the order of their first ones; of 90,000 a few dozen."""
    if not isinstance(tensors, TensorRows):
        return Counter((dtype, shape) for _, dtype, shape in tensors)
    counts = Counter[tuple[str, tuple[int, ...]]]()
    for row in tensors.rows:
        counts[row.dtype, row.shape] += row.size
    return counts


class File(NamedTuple):
    """A file of the repo: its path in the repo and its size in bytes (None where the Hub did not say)."""

    name: str
    size: int | None


class Network(NamedTuple):
    """What an answer cost: requests sent (redirects count), bytes of bodies received, read from the cache or not."""

    requests: int = 0
    bytes: int = 0
    cached: bool = False


NOTHING_ASKED = Network()


class ListedModel(NamedTuple):
    """What a list says of a model; None for what it does not say.

    Attributes:
        name: its repo ID.
        license: "apache-2.0", "gemma", as its tags name it.
        pipeline_tag: its task.
        parameters: how many it has, where it is bundled.
        at_least: those that lie on the devices in any case: all but the embedding; likewise.
        same_as: what stands for its config and headers, where other models have the same.
    """

    name: str
    license: str | None = None
    pipeline_tag: str | None = None
    downloads: int | None = None
    likes: int | None = None
    parameters: int | None = None
    at_least: int | None = None
    same_as: str | None = None


class Held(NamedTuple):
    """What a class has of a config, as it said itself.

    Attributes:
        buffers: the names of the tensors that are no parameters.
        unsaved: elements of the parameters that no file holds.
        parameters: how many there are, each shared one once.
    """

    buffers: frozenset[str]
    unsaved: int
    parameters: int


class Design(NamedTuple):
    """What a checkpoint that was read from a config alone is made of.

    Attributes:
        class_name: the class whose tensors it has; None until they are made.
        dtype: the safetensors dtype of its weights, as the config names it or as is assumed.
        changes: config key, dotted within parts, -> the value that it was changed to.
        exact: its tensors are those that the class would write: the tables have been checked for such configs.
        assumed: what the config does not say, and what is taken instead.
        held: which tensors are parameters, where the class itself said it.
    """

    class_name: str | None = None
    dtype: str | None = None
    changes: Mapping[str, Any] = MappingProxyType({})
    exact: bool = False
    assumed: tuple[str, ...] = ()
    held: Held | None = None


@dataclass(frozen=True)
class Checkpoint:
    """A repo's config, and every tensor's name, dtype and shape, all of one commit.

    Attributes:
        repo_id: as the Hub names it, with `:SELECTOR` where one of its models, folders or files was selected, or the
            local path as the user gave it.
        revision: the commit (40 hex digits), or None for local files, bundled snapshots and mirrors that do not say.
        source: where the answer came from.
        config: config.json as parsed, or for a GGUF file what its metadata says; empty where there is neither.
        tensors: every tensor of the weight files that transformers would load.
        format: the container: "safetensors", "pytorch" or "gguf".
        files: the weight files, with their sizes.
        metadata: the index's `metadata` (or the single file's `__metadata__`).
        warnings: what the user should know of how this was read.
        snapshot_date: of a bundled snapshot, the day it was made (ISO 8601).
        parts: of a diffusers pipeline, a sentence-transformers model or an adapter with its base: the checkpoints that
            it is made of. Then `tensors` is empty, and `files` are those of all parts.
        design: read from a config alone: there are no files, and `tensors` are none until `inspector.model.design`
            makes those that its class would write.
    """

    repo_id: str
    revision: str | None
    source: Source
    config: dict[str, Any]
    tensors: Sequence[Tensor]
    format: str = "safetensors"
    files: tuple[File, ...] = ()
    metadata: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    network: Network = NOTHING_ASKED
    snapshot_date: str | None = None
    parts: tuple[Part, ...] = ()
    design: Design | None = None

    @property
    def tensor_bytes(self) -> int:
        """Bytes of all stored tensors, headers left out."""
        own = sum(count * stored_bytes(*stored) for stored, count in alike(self.tensors).items())
        return own + sum(part.checkpoint.tensor_bytes for part in self.parts)

    @property
    def tensor_count(self) -> int:
        """Stored tensors, those of the parts included."""
        return len(self.tensors) + sum(part.checkpoint.tensor_count for part in self.parts)


class Part(NamedTuple):
    """One of the checkpoints that a checkpoint is made of.

    Attributes:
        name: a pipeline's own name for it ("unet", "text_encoder_2"), "transformer", "dense", "base", "adapter".
        kind: "component" of a diffusers pipeline, "module" of a sentence-transformers model, "adapter" (PEFT) and the
            "base" that it is for.
        class_name: the class that its document names; of an adapter its type ("LORA").
        checkpoint: what it holds; its files are named from the repo's root.
    """

    name: str
    kind: PartKind
    class_name: str | None
    checkpoint: Checkpoint


class Weights(NamedTuple):
    """What the weight files hold: the weights' part of a `Checkpoint`.

    Attributes:
        config: what the files themselves say of the model, None where config.json says it.
        parts: see `Checkpoint`.
        is_design: there are none: the place holds a config alone.
    """

    tensors: tuple[Tensor, ...]
    files: tuple[File, ...]
    metadata: dict[str, Any]
    warnings: tuple[str, ...] = ()
    format: str = "safetensors"
    config: dict[str, Any] | None = None
    parts: tuple[Part, ...] = ()
    is_design: bool = False


NO_WEIGHTS = Weights((), (), {}, is_design=True)
"""Of a place that holds a config alone."""


def with_weights(checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint, where what is asked is which weights run.

    Raises:
        UnsupportedFormat: a config alone was read.
    """
    if checkpoint.design is not None:
        raise UnsupportedFormat(f"{checkpoint.repo_id} holds only a config", "There are no weights that could run.")
    return checkpoint


def config_alone(checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint as if it had no weights."""
    if checkpoint.design is not None:
        return checkpoint
    return replace(checkpoint, tensors=(), files=(), metadata={}, parts=(), format="safetensors", design=Design())


def _formats(template: str) -> tuple[str, str]:
    """`%` formats of a template's names and of their sort keys: the names with all numbers padded to one width."""
    name, key = [], []
    for part in template.split("."):
        if part == PLACEHOLDER:
            name.append("%d")
            key.append(f"%0{MAX_INDEX_DIGITS}d")
        else:
            literal = (part[1:] if part[:1] == "{" else part).replace("%", "%%")
            name.append(literal)
            key.append(literal)
    return ".".join(name), ".".join(key)
