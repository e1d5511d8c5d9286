"""Weighs the layers that a config gives against the layers that the files hold: where they differ, the shapes win."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from inspector.hub.cache.snapshot import format_indices
from inspector.hub.checkpoint import PLACEHOLDER
from inspector.model.evidence.mechanism import Mechanism, Stored, mechanism_of
from inspector.model.evidence.roles import role_of
from inspector.model.layers.chunked import ChunkedAttention
from inspector.model.layers.cross import CrossAttention
from inspector.model.layers.full import Attention, FullAttention
from inspector.model.layers.hidden_states import HiddenStates
from inspector.model.layers.hybrid import HybridAttention
from inspector.model.layers.indexed import IndexedAttention
from inspector.model.layers.latent import LatentAttention
from inspector.model.layers.layer import Layer
from inspector.model.layers.linear import LinearAttention
from inspector.model.layers.no_cache import NoCache
from inspector.model.layers.prefixed import PrefixedAttention
from inspector.model.layers.sliding import SlidingAttention
from inspector.model.layers.unknown import UnknownLayer
from inspector.model.model import Architecture

if TYPE_CHECKING:
    from inspector.model.parameters.names import TensorGroup


@dataclass(frozen=True, slots=True)
class Found:
    """What the files say of the decoder's layers.

    Attributes:
        hidden: width of the residual stream, as the layers' norms or the embedding have it.
        mechanisms: layer -> what it keeps; None for a layer without a tensor of a known role.
        encoder: the files hold an encoder beside the decoder.
        attentions: in each layer, where that is one number: 2 of LongCat-Flash.
    """

    hidden: int | None
    mechanisms: Mapping[int, Mechanism | None]
    encoder: bool = False
    attentions: int = 1

    @property
    def told(self) -> bool:
        """Whether any layer shows what it keeps."""
        return any(one is not None and one.told for one in self.mechanisms.values())


def find_layers(groups: Iterable[TensorGroup], stack: str, config: Mapping[str, Any]) -> Found:
    """Reads the mechanism of each layer; equal layers are read once.

    Args:
        groups: of the checkpoint; those of the stack count, also of layers beyond the config's last.
        stack: the name of the list of layers, "model.layers".
        config: the language part's keys.
    """
    front = f"{stack}.{PLACEHOLDER}."
    inside = [
        each
        for each in groups
        if each.role in ("parameter", "other", "buffer") and each.group.template.startswith(front)
    ]
    norms: dict[int, int] = {}
    layers: dict[int, list[int]] = {}
    for number, each in enumerate(inside):
        name, shape = each.group.template.removeprefix(front), each.group.shape
        if len(shape) == 1 and name.count(".") == 1 and "norm" in name.lower().replace("ln", "norm"):
            norms[shape[0]] = norms.get(shape[0], 0) + each.count
        for layer in each.layers:
            layers.setdefault(layer, []).append(number)
    named = config.get("hidden_size")
    hidden = max(norms, key=lambda size: (norms[size], size), default=None) or _embedding_width(groups)
    hidden = hidden or (named if type(named) is int else None)
    known: dict[tuple[int, ...], Mechanism | None] = {}
    found: dict[int, Mechanism | None] = {}
    for layer, numbers in sorted(layers.items()):
        key = tuple(numbers)
        if key not in known:
            tensors = {}
            for number in numbers:
                each = inside[number]
                name = each.group.template.removeprefix(front)
                if each.packed:
                    name = each.name.rpartition(front)[2] or name
                tensors[name] = Stored(each.group.template, each.numel, each.group.shape, each.packed)
            known[key] = mechanism_of(tensors, hidden, config)
        found[layer] = known[key]
    encoder = "decoder" in stack and any("encoder" in each.group.template.split(".")[:3] for each in groups)
    return Found(hidden, found, encoder, _attentions(inside, front))


def _attentions(inside: Iterable[TensorGroup], front: str) -> int:
    """How many attentions each layer holds: "self_attn.{}.o_proj.weight" is there as often in each."""
    counts = {
        number
        for each in inside
        if (name := each.group.template.removeprefix(front)).count(PLACEHOLDER) == 1
        and role_of(name) in ("k", "latent")
        for number in each.layers.values()
    }
    return counts.pop() if len(counts) == 1 else 1


def _embedding_width(groups: Iterable[TensorGroup]) -> int | None:
    from inspector.model.lint import EMBEDDINGS

    for each in groups:
        module, _, leaf = each.group.template.rpartition(".")
        if leaf == "weight" and module.rpartition(".")[2] in EMBEDDINGS and len(each.group.shape) == 2:
            return each.group.shape[1]
    return None


def weigh_layers(found: Found, architecture: Architecture, config: Mapping[str, Any]) -> Architecture:
    """The architecture with the layers that the files show, a note for each kind of difference.

    A layer of a known class stays as the class has it wherever its sizes are the shapes', or the shapes do not tell.
    """
    layers = architecture.layers
    if not layers or not architecture.is_decoder or not found.told:
        return architecture
    least = architecture.layers_at_least or layers
    if not architecture.exact and found.attentions > 1 and len(found.mechanisms) == len(layers):
        layers, least = (tuple(one for one in each for _ in range(found.attentions)) for each in (layers, least))
        found = replace(found, mechanisms={i: found.mechanisms.get(i // found.attentions) for i in range(len(layers))})
    if not architecture.exact:
        layers, least = _as_told(layers, found), _as_told(least, found)
        found = replace(found, mechanisms=_with_shared(found.mechanisms, layers))
    layers, wrong = _read_all(layers, found, _Reader(architecture, config, found))
    if not architecture.exact:
        least, _ = _read_all(least, found, _Reader(architecture, config, found, least=True))
    least = () if architecture.exact or least == layers else least
    if (layers, least) == (architecture.layers, architecture.layers_at_least):
        return architecture
    count = len(layers)
    notes = tuple(
        f"{note}{'' if len(where) == count else f' (layers {format_indices(where)})'}: the tensors count"
        for note, where in wrong.items()
    )
    windows = [layer.sliding_window for layer in layers if isinstance(layer, SlidingAttention)]
    heads, head_dim = heads_of(layers, architecture)
    return replace(
        architecture,
        layers=layers,
        sliding_window=windows[0] if windows else None,
        exact=architecture.exact and not wrong,
        notes=_still_true(architecture, found) + notes,
        layers_at_least=least,
        num_key_value_heads=heads,
        head_dim=head_dim,
    )


def _read_all(layers: Sequence[Layer], found: Found, reader: _Reader) -> tuple[tuple[Layer, ...], dict[str, list[int]]]:
    """The layers as the files show them, equal ones as one object, and the notes with the layers that they are on."""
    read, same, wrong = list(layers), dict[Layer, Layer](), dict[str, list[int]]()
    for index, layer in enumerate(layers):
        if index not in found.mechanisms and reader.known:
            continue
        change = reader.read(layer, found.mechanisms.get(index))
        if change is not None:
            read[index], note = change
            if note:
                wrong.setdefault(note, []).append(index)
    return tuple(same.setdefault(layer, layer) for layer in read), wrong


def _with_shared(mechanisms: Mapping[int, Mechanism | None], layers: Sequence[Layer]) -> Mapping[int, Mechanism | None]:
    """The mechanisms with the attention that layers share the weights of: of those that the config calls hybrid, some
    files hold the first one's alone (Zamba2). Each keeps rows of its own."""
    hybrid = [index for index, layer in enumerate(layers) if _is_hybrid(layer) and mechanisms.get(index)]
    rows = next((one for index in hybrid if (one := mechanisms[index]) is not None and one.rows), None)
    if rows is None:
        return mechanisms
    shared = dict(mechanisms)
    for index in hybrid:
        own = shared[index]
        if own is not None and not own.rows:
            shared[index] = replace(rows, recurrent=own.recurrent, states=own.states)
    return shared


def _is_hybrid(layer: Layer) -> bool:
    return isinstance(layer, HybridAttention) or (isinstance(layer, UnknownLayer) and layer.name.startswith("hybrid"))


def _as_told(layers: tuple[Layer, ...], found: Found) -> tuple[Layer, ...]:
    """The layers, where a guess by a period is off: tensors of each layer show either a recurrence or rows."""
    told = {index: one for index, one in found.mechanisms.items() if one is not None and one.told}
    states = {index for index, one in told.items() if one.recurrent and not one.rows and not one.convolution}
    rows = {index for index, one in told.items() if one.rows and not one.recurrent}
    plain = next((layer for layer in layers if isinstance(layer, Attention)), UnknownLayer("full_attention"))
    if not states or not rows or len(states | rows) < len(layers):
        return layers
    state = UnknownLayer("linear_attention", 0)
    stateful = [isinstance(one, LinearAttention) or (isinstance(one, UnknownLayer) and one.row == 0) for one in layers]
    return tuple(
        (layer if stateful[index] else state) if index in states else (plain if stateful[index] else layer)
        for index, layer in enumerate(layers)
    )


def _still_true(architecture: Architecture, found: Found) -> tuple[str, ...]:
    """The notes without those on widths that the config leaves open, where the tensors of all layers show them."""
    if architecture.exact or not all(one is not None and one.told for one in found.mechanisms.values()):
        return architecture.notes
    return tuple(note for note in architecture.notes if not note.startswith(OPEN_WIDTHS))


OPEN_WIDTHS = ("no number of key/value heads is given", "the compressed latent is taken")


def heads_of(layers: Sequence[Layer], architecture: Architecture) -> tuple[int | None, int | None]:
    """Key/value heads and head dimension, None where layers differ; the config's where no layer has any."""
    rows = {(layer.num_key_value_heads, layer.head_dim) for layer in layers if isinstance(layer, Attention)}
    if not rows:
        return architecture.num_key_value_heads, architecture.head_dim
    heads, sizes = {one[0] for one in rows}, {one[1] for one in rows}
    return heads.pop() if len(heads) == 1 else None, sizes.pop() if len(sizes) == 1 else None


PLAIN_KINDS = frozenset(
    {"full_attention", "sliding_attention", "chunked_attention", "linear_attention", "indexed_attention"}
    | {"conv", "hybrid", "linear attention"}
)
"""Names of kinds that say no more than the tensors do."""

_REREAD = frozenset(
    {FullAttention, SlidingAttention, ChunkedAttention, CrossAttention, LatentAttention}
    | {IndexedAttention, HybridAttention, LinearAttention, UnknownLayer}
)
"""Mechanisms that the widths of keys and values tell better than the config; any other is as its own file has it."""


class _Reader:
    """Reads a mechanism as a layer, beside the layer that the config gives: as the most that the shapes leave open, or
    the `least`."""

    def __init__(
        self, architecture: Architecture, config: Mapping[str, Any], found: Found, *, least: bool = False
    ) -> None:
        self.architecture, self.config, self.known = architecture, config, architecture.exact
        self.encoder, self.least = found.encoder, least
        kinds = config.get("layer_types")
        self.told_apart = isinstance(kinds, list) and len(set(map(str, kinds))) > 1
        """The config says of each layer what it keeps."""

    def read(self, layer: Layer, seen: Mechanism | None) -> tuple[Layer, str] | None:
        """The layer that the files show in place of one that the config gives, and the note; None where it stays."""
        if isinstance(layer, UnknownLayer) and (self.known or layer.name not in PLAIN_KINDS):
            return None  # the config names a mechanism of its own, which the widths alone do not tell
        if seen is not None and seen.cross and not seen.rows and not seen.recurrent:
            return None if self.known else (UnknownLayer("rows of an image or an encoder", 0), "")
        if seen is None or not seen.told:
            if isinstance(layer, NoCache) or (self.known and not isinstance(layer, Attention | LatentAttention)):
                return None
            note = "" if not self.known else "the files hold no keys and values of some layers"
            return NoCache(), note
        state = seen.recurrent and not seen.rows
        if isinstance(layer, NoCache) and (self.known or not state or seen.convolution):
            return None
        if state and not self.known and isinstance(layer, Attention) and self.told_apart:
            return self._beside(layer, seen)
        if state:
            return self._state(layer, seen)
        if not self.known and (other := self._other(layer, seen)):
            return other, ""
        if isinstance(layer, LinearAttention) or (isinstance(layer, UnknownLayer) and layer.row == 0):
            return None if isinstance(layer, LinearAttention) else self._state(layer, seen)
        if self.known and isinstance(layer, IndexedAttention) and (change := self._known_index(layer, seen)):
            return change
        if seen.latent is not None:
            return self._latent(layer, seen)
        return self._heads(layer, seen)

    @staticmethod
    def _known_index(layer: IndexedAttention, seen: Mechanism) -> tuple[Layer, str] | None:
        """A known class's indexer with keys of another width than the config's."""
        width, given = seen.index, layer.index_head_dim
        if width is None or given in (width, 2 * width + 1):  # with a gate and a mask beside the key
            return None
        note = f"{seen.index_tensor} makes an indexer's keys of {width:,}, config.json's index_head_dim is {given:,}"
        return replace(layer, index_head_dim=width), note

    def _other(self, layer: Layer, seen: Mechanism) -> Layer | None:
        """What no width alone tells: inputs in place of keys and values, states beside them that no rule knows."""
        hidden = self.architecture.hidden_size
        if seen.memory and hidden and "mem_len" in self.config:
            return HiddenStates(hidden, self.config["mem_len"] or None)
        if isinstance(layer, HybridAttention) and "conv_window" in layer.keys:  # no role is its convolutions'
            return None
        if _is_hybrid(layer) and not seen.recurrent:
            return UnknownLayer("state of unknown size")
        return None

    @staticmethod
    def _beside(layer: Attention, seen: Mechanism) -> tuple[Layer, str] | None:
        """A layer that attends by the config, and whose tensors show a state alone: a convolution may stand before
        attention, one projection may make a state's inputs and the rows (Hymba)."""
        if seen.convolution:
            return None
        if not seen.more:
            return LinearAttention(seen.states) if seen.states else UnknownLayer("state of unknown size", 0), ""
        if seen.states:
            return HybridAttention(layer, seen.states), ""
        return UnknownLayer("state of unknown size", layer.values_per_token), ""

    def _state(self, layer: Layer, seen: Mechanism) -> tuple[Layer, str] | None:
        states = seen.states
        if states and seen.loose and self.least:
            states = tuple(replace(state, dtype="compute") for state in states)
        if self.known:
            return self._known_state(layer, seen)
        if isinstance(layer, LinearAttention) and not states:
            return None
        return (LinearAttention(states) if states else UnknownLayer("state of unknown size", 0)), ""

    def _known_state(self, layer: Layer, seen: Mechanism) -> tuple[Layer, str] | None:
        """A known class's states with the convolution's channels and kernel, and the channels' state, of the shapes.
        Some classes keep one input less than the kernel is long."""
        states, own = seen.states, layer.states
        if not isinstance(layer, LinearAttention) or not states or not seen.shape or len(states) != len(own):
            return None
        notes, kept = [], list(own)
        for number, (told, found) in enumerate(zip(own, states, strict=True)):
            if len(told.shape) != 2 or len(found.shape) != 2 or told.shape == found.shape:
                continue
            less = number == 0 and told.shape == (found.shape[0], found.shape[1] - 1)
            if not less:
                kept[number] = replace(told, shape=found.shape)
                what = "its convolution" if number == 0 else "its state"
                sizes = (" x ".join(f"{size:,}" for size in state.shape) for state in (found, told))
                notes.append(f"{what} is {', not '.join(sizes)}")
        if not notes:
            return None
        note = f"{seen.tensor}: {' and '.join(notes)} as config.json's {', '.join(layer.keys)} give"
        return LinearAttention(tuple(kept), layer.keys), note

    def _latent(self, layer: Layer, seen: Mechanism) -> tuple[Layer, str] | None:
        rank, rope = seen.latent or (0, 0)
        plain = layer.attention if isinstance(layer, IndexedAttention) else layer
        if self.known:
            if not isinstance(plain, LatentAttention):
                return None
            if plain.kv_lora_rank + plain.qk_rope_head_dim == rank + rope:
                return None
            note = (
                f"{seen.tensor} makes rows of {rank + rope:,}, config.json's kv_lora_rank and qk_rope_head_dim are"
                f" {plain.kv_lora_rank:,} and {plain.qk_rope_head_dim:,}"
            )
            new = replace(plain, kv_lora_rank=rank, qk_rope_head_dim=rope)
            return (replace(layer, attention=new) if isinstance(layer, IndexedAttention) else new), note
        sizes = [self.config.get(key) for key in ("qk_nope_head_dim", "v_head_dim", "q_lora_rank")]
        nope, value, query = (size if isinstance(size, int) else None for size in sizes)
        window = plain.window if isinstance(plain, SlidingAttention | LatentAttention) else None
        latent = LatentAttention(rank, rope, window, nope, value, query)
        return self._indexed(latent, seen), ""

    def _indexed(self, rows: Attention | LatentAttention, seen: Mechanism) -> Layer:
        """The rows with an indexer's beside them: its key, and at most the key's gate and a mask, where it has such."""
        if not seen.index:
            return rows
        return IndexedAttention(rows, 2 * seen.index + 1 if seen.index_gate and not self.least else seen.index)

    def _heads(self, layer: Layer, seen: Mechanism) -> tuple[Layer, str] | None:
        if type(layer) not in _REREAD:
            return None
        keys, values = seen.keys or 0, seen.values or 0
        plain = layer.attention if isinstance(layer, IndexedAttention | HybridAttention) else layer
        if self.known:
            if not isinstance(plain, Attention) or self._agrees(plain, keys, values):
                return None
            made = self._attention(plain, keys, values, seen)
            note = (
                f"{seen.tensor} makes keys of {keys:,} ({made.num_key_value_heads} KV heads of {made.head_dim}),"
                f" config.json's num_key_value_heads and head_dim are {plain.num_key_value_heads:,} and"
                f" {plain.head_dim:,}"
            )
        else:
            made, note = self._attention(plain, keys, values, seen), ""
            if made == layer and not seen.index and not seen.recurrent:
                return None
        if isinstance(layer, HybridAttention) or (isinstance(layer, IndexedAttention) and not seen.index):
            return replace(layer, attention=made), note
        if not self.known and seen.recurrent:
            return (HybridAttention(made, seen.states) if seen.states else UnknownLayer("state of unknown size")), note
        return (made if self.known else self._indexed(made, seen)), note

    def _agrees(self, plain: Attention, keys: int, values: int) -> bool:
        heads = (plain.num_key_value_heads, self.architecture.num_key_value_heads)
        return any(count is not None and count * plain.head_dim == keys for count in heads) and any(
            count is not None and count * plain.v_head_dim == values for count in heads
        )

    def _attention(self, plain: Layer, keys: int, values: int, seen: Mechanism) -> Attention:
        """The attention of these widths, with the window that the config gives it."""
        size = self._head_dim(plain, keys, seen)
        heads = keys // size
        value = values // heads if values % heads == 0 else values
        if values % heads:
            heads, size = 1, keys
        window = plain.sliding_window if isinstance(plain, SlidingAttention | CrossAttention) else None
        cross = seen.cross and self.encoder and not (self.least and not self.config.get("is_encoder_decoder"))
        if isinstance(plain, CrossAttention) or cross:
            tokens = plain.encoder_tokens if isinstance(plain, CrossAttention) else None
            if tokens is None and "num_mel_bins" in self.config:  # an audio encoder pads its input to one length
                tokens = self.config.get("max_source_positions")
            row = sum(seen.cross) if seen.cross and sum(seen.cross) != keys + values else None
            return CrossAttention(heads, size, value, tokens, window, row)
        if window is not None:
            return SlidingAttention(heads, size, value, window)
        if isinstance(plain, ChunkedAttention):
            return ChunkedAttention(heads, size, value, plain.attention_chunk_size)
        learned = self.config.get("prompt_length")
        if not self.known and not self.least and type(learned) is int and learned > 0:
            return PrefixedAttention(heads, size, value, learned)
        return FullAttention(heads, size, value)

    def _head_dim(self, plain: Layer, keys: int, seen: Mechanism) -> int:
        """Width of a head: as its norm has it, as the config names it, or queries over heads; at worst all in one."""
        facts = self.architecture
        count = facts.num_attention_heads
        options = (
            seen.head_dim,
            plain.head_dim if isinstance(plain, Attention) else None,
            facts.head_dim,
            seen.queries // count if seen.queries and count and seen.queries % count == 0 else None,
        )
        return next((size for size in options if size and keys % size == 0), keys)
