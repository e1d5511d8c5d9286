"""The exact parameters of a checkpoint, counted from its headers as the class that its config names counts them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from inspector.hub.checkpoint import Checkpoint, Held
from inspector.model.config.expressions import names_in
from inspector.model.config.light import TIES, with_ties
from inspector.model.config.read import SIGNS, find_recipe
from inspector.model.config.text import LANGUAGE_PARTS, language_part
from inspector.model.lint import lint, sizes_of_none, states_untold, suspicious, wrong_sizes
from inspector.model.model import Architecture, Parameters, Quantization
from inspector.model.parameters.classes import BUFFER, ModelClass, class_of
from inspector.model.parameters.counter import ParameterCounter
from inspector.model.parameters.names import (
    BUFFERS,
    DUPLICATE_EMBEDDING,
    DUPLICATE_HEAD,
    MTP,
    MTP_LAYERS,
    OTHER,
    OVERHEAD,
    PARAMETER,
    SHARED,
    Group,
    TensorGroup,
    component,
    decoder_stack,
    group_tensors,
    stack,
)

INDEX_DTYPES = frozenset({"I64", "U64", "BOOL"})
BYTES = frozenset({"I8", "U8"})
WHOLE_DTYPES = BYTES | {"I16", "U16", "I32", "U32"}
"""What packed weights are stored in, too: a value a byte, or several in each."""

UNKNOWN = "unknown"
"""The component of what the class does not know."""


def count_parameters(checkpoint: Checkpoint, architecture: Architecture) -> Parameters:
    """Count what `sum(p.numel() for p in model.parameters())` gives for the class that the config names.

    Never raises: what cannot be told is counted as stored, with `exact=False` and a note.
    """
    return count_and_weigh(checkpoint, architecture, weigh=False)[0]


def count_and_weigh(
    checkpoint: Checkpoint, architecture: Architecture, *, weigh: bool = True
) -> tuple[Parameters, Architecture]:
    """The parameters, and the architecture as the tensors show it: where its class is unknown, or its sizes are not
    the config's (`inspector.model.evidence`)."""
    counter, groups = _sorted(checkpoint, architecture)
    if weigh and suspicious(groups, architecture, counter.stack, known=counter.model_class is not None):
        from inspector.model.evidence import weighed

        told = architecture.exact
        architecture, again = weighed(checkpoint.config, architecture, groups, counter.stack)
        if again:
            counter, groups = _sorted(checkpoint, architecture)
        counter.exact &= architecture.exact or not told
    if counter.lacks_language_part(groups):
        counter.exact = False
        counter.notes.append(
            f"the files hold nothing of the language part's {architecture.num_hidden_layers} layers, which come from"
            " elsewhere: what it all takes is not known"
        )
        architecture = replace(architecture, layers=(), layers_at_least=())
    notes, against = lint(groups, architecture, counter.stack)
    counter.notes += notes
    counter.exact &= not against
    if counter.model_class is not None and architecture.exact and counter.held is None:
        counter.check_modules(groups, checkpoint.config)
        counter.check_sizes(groups, checkpoint.config)
        counter.check_class(groups, checkpoint.config)
    if not any(group.packed for group in groups):
        counter.note_plain(groups, architecture.quantization)
        return counter.checked(_sum_up(groups, counter, architecture)), architecture
    from inspector.model.packing.report import describe

    quantization, notes, certain = describe(groups, checkpoint.config, counter.guessed)
    counter.notes += notes
    counter.exact &= certain
    return replace(_sum_up(groups, counter, architecture), quantization=quantization), architecture


def parameter_groups(checkpoint: Checkpoint, architecture: Architecture) -> tuple[list[TensorGroup], str | None]:
    """The tensor groups that are parameters, and the name of the list of layers (None where the names do not tell)."""
    counter, tensor_groups = _sorted(checkpoint, architecture)
    return [tensor_group for tensor_group in tensor_groups if tensor_group.role == PARAMETER], counter.stack


def sorted_groups(checkpoint: Checkpoint, architecture: Architecture) -> tuple[list[TensorGroup], str | None]:
    """All tensor groups with their roles, and the name of the list of layers."""
    counter, tensor_groups = _sorted(checkpoint, architecture)
    return tensor_groups, counter.stack


def _sorted(checkpoint: Checkpoint, architecture: Architecture) -> tuple[_Counter, list[TensorGroup]]:
    model_class = class_of(architecture.architecture, architecture.model_type)
    counter = _Counter(checkpoint, architecture, model_class)
    if counter.held is not None:
        return counter, counter.told_groups(counter.held)
    tensor_groups = counter.tensor_groups()
    if model_class and 2 * sum(
        tensor_group.total for tensor_group in tensor_groups if tensor_group.role == OTHER or not tensor_group.known
    ) > sum(tensor_group.total for tensor_group in tensor_groups):
        # Nearly nothing matched: another model under this class's name, or names that nobody foresaw
        counter = _Counter(checkpoint, architecture, None)
        tensor_groups = counter.tensor_groups()
    return counter, tensor_groups


def _is_another(head: str, by_name: Mapping[str, TensorGroup], model_class: ModelClass) -> bool:
    """Whether the files hold nothing of a head's module, which has more by default: the config has made another head
    of the class (DeBERTa-v2's with `legacy=false`)."""
    module = f"{head.partition('.')[0]}."
    return any(name.startswith(module) and name not in model_class.ties for name in model_class.parameters) and not any(
        name.startswith(module) for name in by_name
    )


def _without_null(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """A config whose tie flag, where it is null, is missing."""
    return {key: value for key, value in config.items() if key != TIES or value is not None}


def _projections(shape: Architecture) -> dict[str, int]:
    """Parameters of a layer's projections, as far as the config tells."""
    hidden = shape.hidden_size or 0
    rows = {
        "k_proj v_proj": (shape.num_key_value_heads or 0) * (shape.head_dim or 0),
        "q_proj o_proj": (shape.num_attention_heads or 0) * (shape.head_dim or 0),
        "gate_proj up_proj down_proj": shape.intermediate_size or 0,
    }
    return {name: hidden * count for names, count in rows.items() for name in names.split() if hidden * count}


class _Counter:
    """Sorts a checkpoint's tensors into tensor groups, and keeps the notes that this gives rise to."""

    def __init__(self, checkpoint: Checkpoint, architecture: Architecture, model_class: ModelClass | None) -> None:
        self.config = with_ties(checkpoint.config)
        self.untold = checkpoint.config.get(TIES) is None and TIES not in with_ties(_without_null(checkpoint.config))
        self.architecture = architecture
        self.model_class = model_class
        self.tensors = checkpoint.tensors
        self.groups = group_tensors(checkpoint.tensors)
        self.stack = decoder_stack(self.groups)
        self.frozen: frozenset[str] | None = None
        self.unknown_method: str | None = None
        self.guessed: Mapping[str, Any] | None = None
        self.missing_head = 0
        self.unsaved = 0
        self.layers_beyond = False
        self.cut = 0
        self.doubted = False
        self.predicting: frozenset[int] | None = None
        self.held = checkpoint.design.held if checkpoint.design is not None else None
        self.exact = self.held is not None or not architecture.outside
        self.notes: list[str] = []

    def told_groups(self, held: Held) -> list[TensorGroup]:
        """A design's tensor groups, of which its class itself said which are parameters."""
        self.groups = group_tensors(each for each in self.tensors if each.name not in held.buffers)
        found = [self._whole(*stored) for stored in self._unpacked()]
        for group in group_tensors(each for each in self.tensors if each.name in held.buffers):
            found.append(replace(self._whole(group, group.template, group.numel, False), role=BUFFERS))
        if self.model_class is not None:
            for each in found:
                each.name = self.model_class.locate(each.name)[0]
            if self.model_class.rows:
                found += self._padding(found, self.model_class)
        limit = self.architecture.num_hidden_layers or 0
        last = max(
            (max(each.layers, default=0) for each in found if stack(each.group.template) == self.stack), default=0
        )
        self.layers_beyond = last >= limit
        self.unsaved = held.unsaved
        return found

    def checked(self, parameters: Parameters) -> Parameters:
        """The parameters; not exact where they are not as many as a design's class said."""
        if self.held is None or parameters.total == self.held.parameters:
            return parameters
        note = f"the class holds {self.held.parameters:,} parameters, and what it writes {parameters.total:,}"
        return replace(parameters, exact=False, notes=(*parameters.notes, note))

    def tensor_groups(self) -> list[TensorGroup]:
        tensor_groups = [tensor_group for stored in self._unpacked() for tensor_group in self._split(*stored)]
        packed = {
            tensor_group.group.module
            for tensor_group in tensor_groups
            if tensor_group.group.template.endswith(".qweight")
        }
        unknown = Counter[str]()
        for tensor_group in tensor_groups:
            if tensor_group.role in (PARAMETER, OVERHEAD):
                tensor_group.role = self._role(tensor_group, packed, unknown)
        if self.model_class and self.model_class.rows:
            tensor_groups += self._padding(tensor_groups, self.model_class)
        if self.model_class and self.model_class.repeats:
            tensor_groups += self._repeats(tensor_groups, self.model_class)
            tensor_groups = [each for each in tensor_groups if each.count]
        self._whole_numbers(tensor_groups)
        self._drop_twins(tensor_groups)
        self._note(unknown)
        return tensor_groups

    def _padding(self, tensor_groups: list[TensorGroup], model_class: ModelClass) -> list[TensorGroup]:
        """The rows that files hold beyond those that the class loads (a vocabulary padded in the files alone), apart;
        what they pad keeps its own rows only."""
        beyond = []
        for each in tensor_groups:
            rows, shape = model_class.rows_of(each.name, self.config), each.group.shape
            if each.role != PARAMETER or each.packed or rows is None or not shape or shape[0] <= rows:
                continue
            padding = replace(each.group, shape=(shape[0] - rows, *shape[1:]))
            each.group = replace(each.group, shape=(rows, *shape[1:]))
            each.numel = each.group.numel
            beyond.append(TensorGroup(padding, each.name, padding.numel, each.layers, each.count, OTHER))
        return beyond

    def _repeats(self, tensor_groups: list[TensorGroup], model_class: ModelClass) -> list[TensorGroup]:
        """What files hold of modules that share others' tensors (the block that several of Zamba's layers use), apart:
        save_pretrained stores it once, and others all of them."""
        beyond = []
        for module, number in model_class.differing(self.config).items():
            own = [each for each in tensor_groups if each.role == PARAMETER and each.name.startswith(f"{module}.")]
            layers = sorted({layer for each in own for layer in each.layers})
            for each in own if len(layers) > number else ():
                again = {layer: count for layer, count in each.layers.items() if layer not in layers[:number]}
                each.layers = {layer: count for layer, count in each.layers.items() if layer not in again}
                each.count = sum(each.layers.values())
                beyond.append(replace(each, layers=again, count=sum(again.values()), role=SHARED))
            if len(layers) > number:
                self.notes.append(
                    f"{module} is stored {len(layers)} times; its class has {number}, which the other layers share"
                )
        return beyond

    def lacks_language_part(self, tensor_groups: list[TensorGroup]) -> bool:
        """Whether an unknown class has a language part that is not in the files (Ultravox: `text_model_id`): they hold
        layers, of which none is of its hidden size."""
        facts = self.architecture
        if self.model_class is not None or self.held is not None or not facts.is_decoder or not facts.layers:
            return False
        inside = [each.group for each in tensor_groups if stack(each.group.template) is not None]
        apart = language_part(self.config) is not None and facts.hidden_size is not None
        return apart and bool(inside) and not any(facts.hidden_size in group.shape for group in inside)

    def note_plain(self, tensor_groups: list[TensorGroup], recipe: Quantization | None) -> None:
        """A note on files of plain weights alone under a recipe of packed ones: unpacked, and the recipe left."""
        told = recipe is not None and recipe.bits is not None and recipe.bits < 16
        if recipe is None or not told or self.held is not None or self.unknown_method or not tensor_groups:
            return
        from inspector.model.packing.registry import facts_of

        parts = facts_of(recipe.method).tensors.keys() - {"weight", "bias"}
        if any(each.group.template.rpartition(".")[2] in parts for each in tensor_groups):
            return  # as the method itself keeps it: FP-Quant's copy for the backward pass
        self.notes.append(
            f"config.json names a recipe of {recipe.method}, but no weight of the files is packed: they count as they"
            " are, and programs that go by the recipe refuse them or pack them anew"
        )

    def check_modules(self, tensor_groups: list[TensorGroup], config: Mapping[str, Any]) -> None:
        """Notes on modules that the class has with this config and no file holds, or the other way round."""
        known, names = self.model_class, {each.name for each in tensor_groups}
        if known is None or not self.exact or self.cut:
            return
        layers = self.architecture.num_hidden_layers or 0
        uneven = any(
            each.role == PARAMETER and 0 < len(each.layers) < layers and stack(each.group.template) == self.stack
            for each in tensor_groups
        )
        more = any(each.role == PARAMETER and not known.switched_on(each.name, config) for each in tensor_groups)
        self.doubted = more or known.lacks(names, config)
        if uneven or self.doubted or sizes_of_none(config, names):
            from inspector.model.design.missing import missing

            notes = missing(known, config, tensor_groups)
            self.notes += notes
            self.exact &= not notes

    def check_sizes(self, tensor_groups: list[TensorGroup], config: Mapping[str, Any]) -> None:
        """Notes on sizes of the config that are not the tensors'; a key that another note names has one already."""
        for expression, note in wrong_sizes(config, tensor_groups, self.stack):
            self.exact = False
            keys = {key.rpartition(".")[2] for key in names_in(expression)}
            counted = [word for word in ("layers", "experts") if any(key.endswith(word) for key in keys)]
            words = keys | {f" {word}; the files hold" for word in counted}
            if not any(word in said for said in self.notes for word in words):
                self.notes.append(note)

    def check_class(self, tensor_groups: list[TensorGroup], config: Mapping[str, Any]) -> None:
        """Notes on what the class itself has otherwise, asked where no table tells all that it can differ in."""
        known = self.model_class
        if known is None or not self.exact or self.cut:
            return
        if states_untold(known.name, config, doubted=self.doubted):
            from inspector.model.design.compared import beside_class

            notes = beside_class(known, config, tensor_groups)
            self.notes += notes
            self.exact &= not notes

    def _whole_numbers(self, tensor_groups: list[TensorGroup]) -> None:
        """Tensors of whole numbers that no packing explains are no parameters, which are trained and so fractions.

        64-bit ones and flags are indices and masks (EAGLE-3's d2t and t2d): buffers. The others may be weights in a
        packing that nothing tells.
        """
        for each in tensor_groups:
            dtype = each.group.dtype
            as_stored = each.numel == each.group.numel and (not each.packed or dtype not in BYTES)
            if each.role != PARAMETER or not as_stored:
                continue
            if dtype in INDEX_DTYPES:
                each.role = BUFFERS
            elif dtype in WHOLE_DTYPES and self.unknown_method is None:
                self.exact = False
                self.notes.append(
                    f"{each.count} tensors of whole numbers ({each.group.template}, {each.group.dtype}) count as"
                    " stored: what they stand for is not known"
                )

    def _unpacked(self) -> Iterable[tuple[Group, str, int | None, bool]]:
        """Every group, the template and the number of the parameters it stands for, and whether it is packed."""
        recipe, mlx = find_recipe(self.config) or (None, False)
        if recipe is None and not any(group.template.endswith(SIGNS) for group in self.groups):
            return [(group, group.template, group.numel, False) for group in self.groups]
        from inspector.model.packing.unpack import not_known, unpack

        if recipe is None:
            from inspector.model.packing.guess import guessed_recipe

            guess = guessed_recipe(self.groups, _projections(self.architecture))
            self.guessed = recipe = guess.recipe if guess else None
            if guess is not None and guess.doubt is not None:
                self.exact = False
                self.notes.append(guess.doubt)
        self.unknown_method = not_known(recipe, mlx=mlx) if recipe is not None else None
        return unpack(self.groups, self.tensors, recipe, mlx=mlx)

    def _whole(self, group: Group, name: str, numel: int | None, packed: bool) -> TensorGroup:
        """The group's tensors as one tensor group."""
        if not packed and self.model_class and self.model_class.locate(group.template)[1] == "parameter":
            name, numel = group.template, group.numel
        if numel is None:
            numel = group.numel
            self.exact = False
            self.notes.append(
                f"{group.count} packed tensors ({group.template}) count as stored: how they are packed is not known"
            )
        role = OVERHEAD if numel == 0 else PARAMETER
        return TensorGroup(group, name, numel, group.layers, group.count, role, packed)

    def _split(self, group: Group, name: str, numel: int | None, packed: bool) -> list[TensorGroup]:
        """The group's tensor groups: its tensors, those beyond the config's last layer apart."""
        whole = self._whole(group, name, numel, packed)
        limit = self.architecture.num_hidden_layers
        if not limit or stack(group.template) != self.stack or max(group.layers, default=0) < limit:
            return [whole]
        inside = {layer: count for layer, count in group.layers.items() if layer < limit}
        beyond = {layer: count for layer, count in group.layers.items() if layer >= limit}
        if MTP.search(whole.name) or (_predicts_more(self.config) and self._predict(beyond)):
            why = MTP_LAYERS
        elif (
            self.model_class is not None
            and self.model_class.name.endswith("ForCausalLM")
            and "decoder" not in group.template
        ):
            why = OTHER  # the config was cut short, and the class makes no more layers than it says
            self.cut = max(self.cut, 1 + max(beyond))
        else:
            self.layers_beyond = True  # num_hidden_layers counts another stack, or the list begins with other modules
            return [whole]
        tensor_groups = [replace(whole, layers=beyond, count=sum(beyond.values()), role=why)]
        if inside:
            tensor_groups.append(replace(whole, layers=inside, count=sum(inside.values())))
        return tensor_groups

    def _predict(self, layers: Iterable[int]) -> bool:
        """Whether layers beyond the config's last are for multi-token prediction: tensors that only such a layer has
        stand there."""
        if self.predicting is None:
            named = (each for each in self.groups if MTP.search(each.template) and stack(each.template) == self.stack)
            self.predicting = frozenset(layer for each in named for layer in each.layers)
        return not self.predicting.isdisjoint(layers)

    def _role(self, tensor_group: TensorGroup, packed: set[str], unknown: Counter[str]) -> str:
        """What the class makes of a tensor group; `tensor_group.name` becomes the class's own spelling."""
        if self.model_class is None:
            return self._role_by_name(tensor_group)
        if MTP.search(tensor_group.name) and self.model_class.bare(tensor_group.name) not in self.model_class.known:
            return MTP_LAYERS
        tensor_group.name, status = self.model_class.locate(tensor_group.name)
        if tensor_group.role == OVERHEAD:
            return OVERHEAD
        if _is_mask(tensor_group) or self.model_class.is_buffer(
            tensor_group.name, status, len(tensor_group.group.shape), self.config
        ):
            return BUFFERS
        if status == "buffer":  # and yet none with this config
            return PARAMETER
        held = status == "parameter" and self.model_class.switched_on(tensor_group.name, self.config)
        if tensor_group.name.endswith(".bias") and tensor_group.group.module in packed and not held:
            return OVERHEAD  # GPTQ gives every packed layer a bias, of zeros where the model has none
        if status == "parameter":
            return PARAMETER
        if status == "not_loaded":
            return OTHER
        unknown[tensor_group.group.template] += tensor_group.count
        if tensor_group.group.dtype.startswith(("I", "U", "BOOL")):  # a table of token ids (EAGLE-3's d2t, t2d)
            return BUFFERS
        tensor_group.known = tensor_group.name.rpartition(".")[0] in self.model_class.modules
        return PARAMETER

    def _role_by_name(self, tensor_group: TensorGroup) -> str:
        """What a class that is unknown makes of a tensor group, by its name and shape alone."""
        from inspector.model.parameters.unknown import frozen_norms, is_buffer_name

        name = tensor_group.name
        if MTP.search(name):
            return MTP_LAYERS
        if _is_mask(tensor_group) or BUFFER.search(name):
            return BUFFERS if is_buffer_name(name) or _is_mask(tensor_group) else tensor_group.role
        named = self.architecture.model_type or self.architecture.architecture
        if tensor_group.role != PARAMETER or tensor_group.packed or not named:  # diffusers' classes have their own list
            return tensor_group.role
        if self.frozen is None:
            self.frozen = frozen_norms(self.groups)
        frozen = tensor_group.group.module in self.frozen and len(tensor_group.group.shape) == 1
        return BUFFERS if frozen or is_buffer_name(name) else PARAMETER

    def _drop_twins(self, tensor_groups: list[TensorGroup]) -> None:
        """Counts every tied weight once, whichever of its names the file has; adds a head that is in no file."""
        held = [tensor_group for tensor_group in tensor_groups if tensor_group.role == PARAMETER]
        by_name = {tensor_group.name: tensor_group for tensor_group in held}
        ties = self._ties(by_name)
        renamed = {}  # the kept weight may have the name that it gets only as it is loaded (Emu3)
        if self.model_class and any(name in by_name and kept not in by_name for name, kept in ties.items()):
            renamed = {
                name: each for each in by_name.values() for name in self.model_class.renamed(each.group.template)
            }
        for name, kept in ties.items():
            twin = by_name.get(name)
            if twin is None:
                continue
            if kept in by_name or renamed.get(kept, twin) is not twin:
                for each in held:  # a name has several groups where its layers differ in shape
                    if each.name == name:
                        each.role = DUPLICATE_HEAD if component(name) == "head" else DUPLICATE_EMBEDDING
            else:
                by_name[kept] = twin  # the file has the weight under this name only
        if self.model_class and not self._tied() and not self.model_class.always_tied:
            self._miss_head(by_name, self.model_class)

    def _miss_head(self, by_name: Mapping[str, TensorGroup], model_class: ModelClass) -> None:
        """A head that is neither tied nor in the file: the class makes a new one, as large as the embedding."""
        heads: dict[str, list[str]] = {}
        for name, kept in model_class.ties.items():
            if component(name) == "head" and name.endswith(".weight") and name in model_class.held:
                heads.setdefault(kept, []).append(name)
        for kept, names in heads.items():  # one head may have two spellings, in memory and in files
            if kept in by_name and not by_name.keys() & set(names) and not _is_another(names[0], by_name, model_class):
                if self._is_draft(by_name):
                    self.notes.append("a draft for speculative decoding: its head is its target's, and not counted")
                    continue
                self.missing_head += by_name[kept].total
                self.notes.append(f"the file holds no {names[0]}: the class makes a new one, which is counted")

    def _is_draft(self, by_name: Mapping[str, TensorGroup]) -> bool:
        """Whether a layer beside the stack joins the embedding with a target's hidden states (EAGLE, arXiv
        2401.15077): "fc.weight", of several hidden sizes."""
        hidden = self.architecture.hidden_size or 0
        shapes = (each.group.shape for each in by_name.values() if each.group.template.endswith("fc.weight"))
        return any(len(shape) == 2 and shape[0] == hidden and shape[1] in (2 * hidden, 3 * hidden) for shape in shapes)

    def _ties(self, by_name: Mapping[str, TensorGroup]) -> dict[str, str]:
        """Twin -> the name that is kept, as far as they hold for this config."""
        if self.model_class is None:
            from inspector.model.parameters.unknown import missing_head, tied

            if note := missing_head(by_name, self.architecture, self.config):
                self.notes.append(note)
            return dict(tied(by_name, self.config))
        ties = {**self.model_class.shared, **self.model_class.twins(self.config, tied=self._tied())}
        for name in self.model_class.kept_apart(self.config):
            ties.pop(name, None)
        return ties

    def _tied(self) -> bool:
        if self.model_class and self.model_class.always_tied and self.untold:
            return True
        if self.model_class:
            return self.model_class.ties_with(self.config)
        return bool(self.architecture.tie_word_embeddings)

    def _note(self, unknown: Counter[str]) -> None:
        if self.cut:
            limit = self.architecture.num_hidden_layers
            self.notes.append(
                f"config.json says {limit} layers; the files hold {self.cut}: those beyond are not loaded"
            )
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
                f"{unknown.total()} tensors are not known of {self.architecture.architecture} (first: {first}):"
                " counted as stored"
            )
        if self.unknown_method:
            self.exact = False
            self.notes.append(f"quantization method {self.unknown_method} is not known: parameters as stored")


def _is_mask(tensor_group: TensorGroup) -> bool:
    """A causal mask that older versions saved (gpt2, gpt_neox): "attn.bias", 1 x 1 x positions x positions."""
    shape = tensor_group.group.shape
    return tensor_group.name.endswith(".bias") and len(shape) == 4 and shape[:2] == (1, 1) and shape[2] == shape[3] > 1


def _predicts_more(config: Mapping[str, Any]) -> bool:
    """Whether the config speaks of layers for multi-token prediction."""
    parts = [config, *(config.get(key) for key in LANGUAGE_PARTS)]
    return any(
        ("nextn" in key or "mtp" in key) and isinstance(value, int) and value > 0
        for part in parts
        if isinstance(part, Mapping)
        for key, value in part.items()
    )


def _sum_up(tensor_groups: list[TensorGroup], counter: _Counter, architecture: Architecture) -> Parameters:
    counted = ParameterCounter(architecture, by_layer=counter.stack is not None and not counter.layers_beyond)
    for tensor_group in tensor_groups:
        if tensor_group.role == BUFFERS:
            counted.buffers += tensor_group.total
            continue
        if tensor_group.role not in (PARAMETER, OVERHEAD):
            counted.aside[tensor_group.role] += tensor_group.total
            continue
        part = component(tensor_group.name) if tensor_group.known else UNKNOWN
        if tensor_group.role == PARAMETER:
            counted.components[part] += tensor_group.total
            counted.dtypes[tensor_group.group.dtype] += tensor_group.count * tensor_group.group.numel
        else:
            counted.overhead_bytes += tensor_group.nbytes
        list_of_layers = stack(tensor_group.group.template)
        counted.place(
            part,
            tensor_group.group.template,
            numel=tensor_group.numel if tensor_group.role == PARAMETER else 0,
            nbytes=tensor_group.group.nbytes,
            count=tensor_group.count,
            layers=tensor_group.layers if list_of_layers == counter.stack else None,
            outside=list_of_layers or part,
        )
    if counter.missing_head:
        counted.components["head"] += counter.missing_head
    counted.components["embedding"] += counter.unsaved
    kept = (PARAMETER, DUPLICATE_HEAD)
    held = tuple(
        tensor_group
        for tensor_group in tensor_groups
        if tensor_group.role in kept
        or (tensor_group.role == BUFFERS and tensor_group.name.endswith("e_score_correction_bias"))
    )
    return counted.result(exact=counter.exact, notes=counter.notes, stack=counter.stack, tensor_groups=held)
