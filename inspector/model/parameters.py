"""The exact parameters of a checkpoint, counted from its headers as the class that its config names counts them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from inspector.hub.checkpoint import Checkpoint
from inspector.model.classes import BUFFER, ModelClass, find_class
from inspector.model.model import Architecture, Parameters
from inspector.model.names import MTP, Group, component, decoder_stack, group_tensors, stack
from inspector.model.quantization import LANGUAGE_PARTS, read_quantization, understood, unpack

MAX_LAYERS = 10_000
"""A config that claims more is wrong, and gets no table by layer."""

PARAMETER, OVERHEAD, BUFFERS = "parameter", "overhead", "buffer"
MTP_LAYERS, DUPLICATE_HEAD, DUPLICATE_EMBEDDING, OTHER = "mtp", "duplicate_head", "duplicate_embedding", "other"


@dataclass(slots=True)
class Lot:
    """The tensors of one group that share a fate.

    Attributes:
        group: where they come from.
        name: the parameter's template, packed suffix put right; where the class is known, as the class has it.
        numel: parameters that one tensor stands for.
        layers: first number in the name -> tensors.
        count: how many tensors.
        role: parameter, overhead, buffer, or why the class does not load them.
    """

    group: Group
    name: str
    numel: int
    layers: Mapping[int, int]
    count: int
    role: str = PARAMETER

    @property
    def total(self) -> int:
        return self.count * self.numel

    @property
    def nbytes(self) -> int:
        return self.count * self.group.nbytes


def count_parameters(checkpoint: Checkpoint, architecture: Architecture) -> Parameters:
    """Count what `sum(p.numel() for p in model.parameters())` gives for the class that the config names.

    Never raises: what cannot be told is counted as stored, with `exact=False` and a note.
    """
    model_class = find_class(architecture.architecture) if architecture.architecture else None
    counter = _Counter(checkpoint, architecture, model_class)
    lots = counter.lots()
    if model_class and 2 * sum(lot.total for lot in lots if lot.role == OTHER) > sum(lot.total for lot in lots):
        # Nearly nothing matched: another model under this class's name, or names that nobody foresaw
        counter = _Counter(checkpoint, architecture, None)
        lots = counter.lots()
    return _sum_up(lots, counter, architecture)


class _Counter:
    """Sorts a checkpoint's tensors into lots, and keeps the notes that this gives rise to."""

    def __init__(self, checkpoint: Checkpoint, architecture: Architecture, model_class: ModelClass | None) -> None:
        self.config = checkpoint.config
        self.architecture = architecture
        self.model_class = model_class
        self.recipe = read_quantization(checkpoint.config)
        self.groups = group_tensors(checkpoint.tensors)
        self.stack = decoder_stack(self.groups)
        self.missing_head = 0
        self.layers_beyond = False
        self.exact = True
        self.notes: list[str] = []

    def lots(self) -> list[Lot]:
        lots = [lot for group in self.groups for lot in self._split(group)]
        packed = {lot.group.module for lot in lots if lot.group.template.endswith(".qweight")}
        unknown = Counter[str]()
        for lot in lots:
            if lot.role in (PARAMETER, OVERHEAD):
                lot.role = self._role(lot, packed, unknown)
        self._drop_twins(lots)
        self._note(unknown)
        return lots

    def _split(self, group: Group) -> list[Lot]:
        """The group's lots: its tensors, those beyond the config's last layer apart."""
        name, numel = unpack(group.template, group.shape, group.dtype, self.recipe)
        as_stored = self.model_class.locate(group.template)[1] if self.model_class else "unknown"
        if self.recipe is None and as_stored == "parameter":
            name, numel = group.template, group.numel
        if numel is None:
            numel = group.numel
            self.exact = False
            self.notes.append(
                f"{group.count} packed tensors ({group.template}) count as stored: how they are packed is not known"
            )
        role = OVERHEAD if numel == 0 else PARAMETER
        limit = self.architecture.num_hidden_layers
        if not limit or stack(group.template) != self.stack or max(group.layers, default=0) < limit:
            return [Lot(group, name, numel, group.layers, group.count, role)]
        inside = {layer: count for layer, count in group.layers.items() if layer < limit}
        beyond = {layer: count for layer, count in group.layers.items() if layer >= limit}
        if MTP.search(name) or _predicts_more(self.config):
            why = MTP_LAYERS
        elif (self.architecture.architecture or "").endswith("ForCausalLM") and "decoder" not in group.template:
            why = OTHER  # the config was cut short, and the class makes no more layers than it says
        else:
            self.layers_beyond = True  # num_hidden_layers counts another stack
            return [Lot(group, name, numel, group.layers, group.count, role)]
        lots = [Lot(group, name, numel, beyond, sum(beyond.values()), why)]
        if inside:
            lots.append(Lot(group, name, numel, inside, sum(inside.values()), role))
        return lots

    def _role(self, lot: Lot, packed: set[str], unknown: Counter[str]) -> str:
        """What the class makes of a lot; `lot.name` becomes the class's own spelling."""
        if self.model_class is None:
            if MTP.search(lot.name):
                return MTP_LAYERS
            return BUFFERS if BUFFER.search(lot.name) or _is_mask(lot) else lot.role
        if MTP.search(lot.name) and self.model_class.bare(lot.name) not in self.model_class.known:
            return MTP_LAYERS
        lot.name, status = self.model_class.locate(lot.name)
        if lot.role == OVERHEAD:
            return OVERHEAD
        if status == "buffer" or _is_mask(lot) or self.model_class.mixed.get(lot.name) == len(lot.group.shape):
            return BUFFERS
        held = status == "parameter" and self.model_class.switched_on(lot.name, self.config)
        if lot.name.endswith(".bias") and lot.group.module in packed and not held:
            return OVERHEAD  # GPTQ gives every packed layer a bias, of zeros where the model has none
        if status == "parameter":
            return PARAMETER
        if status == "not_loaded":
            return OTHER
        unknown[lot.group.template] += lot.count
        return PARAMETER if lot.name.rpartition(".")[0] in self.model_class.modules else OTHER

    def _drop_twins(self, lots: list[Lot]) -> None:
        """Counts every tied weight once, whichever of its names the file has; adds a head that is in no file."""
        by_name = {lot.name: lot for lot in lots if lot.role == PARAMETER}
        for name, kept in self._ties(by_name).items():
            twin = by_name.get(name)
            if twin is None:
                continue
            if kept in by_name:
                twin.role = DUPLICATE_HEAD if component(name) == "head" else DUPLICATE_EMBEDDING
            else:
                by_name[kept] = twin  # the file has the weight under this name only
        if self.model_class and not self._tied():
            self._miss_head(by_name, self.model_class)

    def _miss_head(self, by_name: Mapping[str, Lot], model_class: ModelClass) -> None:
        """A head that is neither tied nor in the file: the class makes a new one, as large as the embedding."""
        heads: dict[str, list[str]] = {}
        for name, kept in model_class.ties.items():
            if component(name) == "head" and name.endswith(".weight") and name in model_class.held:
                heads.setdefault(kept, []).append(name)
        for kept, names in heads.items():  # one head may have two spellings, in memory and in files
            if kept in by_name and not by_name.keys() & set(names):
                self.missing_head += by_name[kept].total
                self.notes.append(f"the file holds no {names[0]}: the class makes a new one, which is counted")

    def _ties(self, by_name: Mapping[str, Lot]) -> dict[str, str]:
        """Twin -> the name that is kept, as far as they hold for this config."""
        if self.model_class is None:
            if not self._tied():
                return {}
            embeddings = [n for n in by_name if component(n) == "embedding" and n.endswith("weight")]
            heads = [n for n in by_name if component(n) == "head" and n.endswith("weight")]
            same = {by_name[n].group.shape: n for n in embeddings}
            return {n: same[by_name[n].group.shape] for n in heads if by_name[n].group.shape in same}
        ties = dict(self.model_class.shared)
        for name, kept in self.model_class.ties.items():
            # A class that always ties its embeddings (T5) still has a head of its own where the config says so
            if self._tied() or (self.model_class.always_tied and component(name) != "head"):
                ties[name] = kept
        return ties

    def _tied(self) -> bool:
        if self.model_class:
            return self.model_class.ties_with(self.config)
        return bool(self.architecture.tie_word_embeddings)

    def _note(self, unknown: Counter[str]) -> None:
        if self.model_class is None:
            self.exact = False
            named = self.architecture.architecture or "(none named)"
            self.notes.append(f"parameters counted by tensor names alone: model class {named} is not known")
        if self.model_class and self.model_class.unsaved:
            self.exact = False
            self.notes.append(f"the class also makes {', '.join(self.model_class.unsaved)}, which no file holds")
        if unknown:
            self.exact = False
            first = next(iter(unknown))
            self.notes.append(
                f"{unknown.total()} tensors are not known of {self.architecture.architecture} (first: {first})"
            )
        if not understood(self.recipe) and self.recipe:
            self.exact = False
            self.notes.append(f"quantization method {self.recipe.method} is not known: parameters as stored")


def _is_mask(lot: Lot) -> bool:
    """A causal mask that older versions saved (gpt2, gpt_neox): "attn.bias", 1 x 1 x positions x positions."""
    shape = lot.group.shape
    return lot.name.endswith(".bias") and len(shape) == 4 and shape[:2] == (1, 1) and shape[2] == shape[3] > 1


def _predicts_more(config: Mapping[str, Any]) -> bool:
    """Whether the config speaks of layers for multi-token prediction."""
    parts = [config, *(config.get(key) for key in LANGUAGE_PARTS)]
    return any(
        ("nextn" in key or "mtp" in key) and isinstance(value, int) and value > 0
        for part in parts
        if isinstance(part, Mapping)
        for key, value in part.items()
    )


def _sum_up(lots: Iterable[Lot], counter: _Counter, architecture: Architecture) -> Parameters:
    components, dtypes, aside = Counter[str](), Counter[str](), Counter[str]()
    layers = architecture.num_hidden_layers or 0
    if not 0 < layers <= MAX_LAYERS or counter.stack is None or counter.layers_beyond:
        layers = 0
    by_layer, bytes_by_layer = [0] * layers, [0] * layers
    buffers = stored_bytes = overhead_bytes = 0
    for lot in lots:
        if lot.role == BUFFERS:
            buffers += lot.total
            continue
        if lot.role not in (PARAMETER, OVERHEAD):
            aside[lot.role] += lot.total
            continue
        stored_bytes += lot.nbytes
        if lot.role == PARAMETER:
            components[component(lot.name)] += lot.total
            dtypes[lot.group.dtype] += lot.count * lot.group.numel
        else:
            overhead_bytes += lot.nbytes
        if layers and stack(lot.group.template) == counter.stack:
            for layer, count in lot.layers.items():
                by_layer[layer] += count * lot.numel if lot.role == PARAMETER else 0
                bytes_by_layer[layer] += count * lot.group.nbytes
    if counter.missing_head:
        components["head"] += counter.missing_head
    total = components.total()
    return Parameters(
        total=total,
        active=total - idle_parameters(components["experts"], architecture),
        by_component={name: n for name, n in components.items() if n},
        by_dtype=dict(dtypes),
        buffers=buffers,
        stored_only={name: n for name, n in aside.items() if n},
        stored_bytes=stored_bytes,
        overhead_bytes=overhead_bytes,
        by_layer=tuple(by_layer),
        bytes_by_layer=tuple(bytes_by_layer),
        exact=counter.exact,
        notes=tuple(counter.notes),
    )


def idle_parameters(routed: int, architecture: Architecture) -> int:
    """Parameters of the routed experts that one token is not sent to: routed * (1 - active / total)."""
    experts = architecture.experts
    if experts is None or experts.total <= 0 or not 0 <= experts.active <= experts.total:
        return 0
    return routed * (experts.total - experts.active) // experts.total
