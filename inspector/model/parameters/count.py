"""The exact parameters of a checkpoint, counted from its headers as the class that its config names counts them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from inspector.hub.checkpoint import Checkpoint
from inspector.model.config.read import LANGUAGE_PARTS, SIGNS, find_recipe
from inspector.model.lint import lint
from inspector.model.model import Architecture, Parameters
from inspector.model.parameters.classes import BUFFER, ModelClass, find_class
from inspector.model.parameters.counter import Tally
from inspector.model.parameters.names import MTP, Group, component, decoder_stack, group_tensors, stack

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
        packed: they hold a weight that is not stored as a plain float, or belong to one.
    """

    group: Group
    name: str
    numel: int
    layers: Mapping[int, int]
    count: int
    role: str = PARAMETER
    packed: bool = False

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
    counter, lots = _sorted(checkpoint, architecture)
    counter.notes += lint(lots, architecture, counter.stack)
    if not any(lot.packed for lot in lots):
        return _sum_up(lots, counter, architecture)
    from inspector.model.packing import describe

    quantization, notes, certain = describe(lots, checkpoint.config)
    counter.notes += notes
    counter.exact &= certain
    return replace(_sum_up(lots, counter, architecture), quantization=quantization)


def parameter_lots(checkpoint: Checkpoint, architecture: Architecture) -> tuple[list[Lot], str | None]:
    """The lots that are parameters, and the name of the list of layers (None where the names do not tell)."""
    counter, lots = _sorted(checkpoint, architecture)
    return [lot for lot in lots if lot.role == PARAMETER], counter.stack


def _sorted(checkpoint: Checkpoint, architecture: Architecture) -> tuple[_Counter, list[Lot]]:
    model_class = find_class(architecture.architecture) if architecture.architecture else None
    counter = _Counter(checkpoint, architecture, model_class)
    lots = counter.lots()
    if model_class and 2 * sum(lot.total for lot in lots if lot.role == OTHER) > sum(lot.total for lot in lots):
        # Nearly nothing matched: another model under this class's name, or names that nobody foresaw
        counter = _Counter(checkpoint, architecture, None)
        lots = counter.lots()
    return counter, lots


class _Counter:
    """Sorts a checkpoint's tensors into lots, and keeps the notes that this gives rise to."""

    def __init__(self, checkpoint: Checkpoint, architecture: Architecture, model_class: ModelClass | None) -> None:
        self.config = checkpoint.config
        self.architecture = architecture
        self.model_class = model_class
        self.tensors = checkpoint.tensors
        self.groups = group_tensors(checkpoint.tensors)
        self.stack = decoder_stack(self.groups)
        self.unknown_method: str | None = None
        self.missing_head = 0
        self.unsaved = 0
        self.layers_beyond = False
        self.exact = True
        self.notes: list[str] = []

    def lots(self) -> list[Lot]:
        lots = [lot for stored in self._unpacked() for lot in self._split(*stored)]
        packed = {lot.group.module for lot in lots if lot.group.template.endswith(".qweight")}
        unknown = Counter[str]()
        for lot in lots:
            if lot.role in (PARAMETER, OVERHEAD):
                lot.role = self._role(lot, packed, unknown)
        self._drop_twins(lots)
        self._note(unknown)
        return lots

    def _unpacked(self) -> Iterable[tuple[Group, str, int | None, bool]]:
        """Every group, the template and the number of the parameters it stands for, and whether it is packed."""
        recipe, mlx = find_recipe(self.config) or (None, False)
        if recipe is None and not any(group.template.endswith(SIGNS) for group in self.groups):
            return [(group, group.template, group.numel, False) for group in self.groups]
        from inspector.model.packing import not_known, unpack

        self.unknown_method = not_known(recipe, mlx=mlx) if recipe is not None else None
        return unpack(self.groups, self.tensors, recipe, mlx=mlx)

    def _split(self, group: Group, name: str, numel: int | None, packed: bool) -> list[Lot]:
        """The group's lots: its tensors, those beyond the config's last layer apart."""
        if not packed and self.model_class and self.model_class.locate(group.template)[1] == "parameter":
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
            return [Lot(group, name, numel, group.layers, group.count, role, packed)]
        inside = {layer: count for layer, count in group.layers.items() if layer < limit}
        beyond = {layer: count for layer, count in group.layers.items() if layer >= limit}
        if MTP.search(name) or _predicts_more(self.config):
            why = MTP_LAYERS
        elif (self.architecture.architecture or "").endswith("ForCausalLM") and "decoder" not in group.template:
            why = OTHER  # the config was cut short, and the class makes no more layers than it says
        else:
            self.layers_beyond = True  # num_hidden_layers counts another stack
            return [Lot(group, name, numel, group.layers, group.count, role, packed)]
        lots = [Lot(group, name, numel, beyond, sum(beyond.values()), why, packed)]
        if inside:
            lots.append(Lot(group, name, numel, inside, sum(inside.values()), role, packed))
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
        if _is_mask(lot) or self.model_class.is_buffer(lot.name, status, len(lot.group.shape), self.config):
            return BUFFERS
        if status == "buffer":  # and yet none with this config
            return PARAMETER
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
        for name in self.model_class.kept_apart(self.config):
            ties.pop(name, None)
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
        for name, keys in self.model_class.unsaved.items() if self.model_class else ():
            numel = 1
            for size in [getattr(self.architecture, key, None) or 0 for key in keys] or [0]:
                numel *= size
            self.unsaved += numel
            if not numel:
                self.exact = False
                self.notes.append(f"the class also makes {name}, which no file holds")
        if unknown:
            self.exact = False
            first = next(iter(unknown))
            self.notes.append(
                f"{unknown.total()} tensors are not known of {self.architecture.architecture} (first: {first})"
            )
        if self.unknown_method:
            self.exact = False
            self.notes.append(f"quantization method {self.unknown_method} is not known: parameters as stored")


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


def _sum_up(lots: list[Lot], counter: _Counter, architecture: Architecture) -> Parameters:
    tally = Tally(architecture, by_layer=counter.stack is not None and not counter.layers_beyond)
    for lot in lots:
        if lot.role == BUFFERS:
            tally.buffers += lot.total
            continue
        if lot.role not in (PARAMETER, OVERHEAD):
            tally.aside[lot.role] += lot.total
            continue
        part = component(lot.name)
        if lot.role == PARAMETER:
            tally.components[part] += lot.total
            tally.dtypes[lot.group.dtype] += lot.count * lot.group.numel
        else:
            tally.overhead_bytes += lot.nbytes
        list_of_layers = stack(lot.group.template)
        tally.place(
            part,
            lot.group.template,
            numel=lot.numel if lot.role == PARAMETER else 0,
            nbytes=lot.group.nbytes,
            count=lot.count,
            layers=lot.layers if list_of_layers == counter.stack else None,
            outside=list_of_layers or part,
        )
    if counter.missing_head:
        tally.components["head"] += counter.missing_head
    tally.components["embedding"] += counter.unsaved
    kept = (PARAMETER, DUPLICATE_HEAD)
    held = tuple(
        lot
        for lot in lots
        if lot.role in kept or (lot.role == BUFFERS and lot.name.endswith("e_score_correction_bias"))
    )
    return tally.result(exact=counter.exact, notes=counter.notes, stack=counter.stack, lots=held)
