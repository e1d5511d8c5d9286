"""Checkpoint lint: where config.json and the files' tensors disagree. Only what is certain is said."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from functools import lru_cache, partial
from typing import Any

from inspector.hub.cache.snapshot import format_indices
from inspector.hub.checkpoint import PLACEHOLDER
from inspector.hub.dtypes import DTYPE_BITS
from inspector.model.config.expressions import holds, key_of, names_in, number_of
from inspector.model.config.light import Entry, table
from inspector.model.layers.layer import Layer
from inspector.model.model import Architecture
from inspector.model.parameters.names import TensorGroup, component, modules, stack
from inspector.tables import table_text

EMBEDDINGS = frozenset({"embed_tokens", "wte", "word_embeddings", "tok_embeddings", "embed_in"})
"""Names of a token embedding beside the list of layers."""

LOADED_DTYPES = {"float32": "F32", "bfloat16": "BF16", "float16": "F16"}
"""config.json's `dtype` -> safetensors' name of it."""


def _row(architecture: Architecture) -> Entry:
    """What the table says of the model's type."""
    return table().get(architecture.model_type or "", {})


def lint(
    tensor_groups: Iterable[TensorGroup], architecture: Architecture, layers: str | None
) -> tuple[list[str], bool]:
    """What the reader should know of a checkpoint that is not as its config says, and whether the two contradict each
    other: what is merely stored twice does not.

    Only language models are compared with their config: other classes have layers, heads and embeddings that the
    language part's keys do not count. tests/oracles/parameters.py demands silence on what each class saves itself.

    Args:
        tensor_groups: of its tensors, sorted.
        layers: the name of the list of decoder layers in the files, e.g. "model.layers".
    """
    tensor_groups = tuple(tensor_groups)
    found = list(_stored_twice(tensor_groups))
    name, places = architecture.architecture or "", (layers or "").split(".")
    alone = name.endswith(("ForCausalLM", "LMHeadModel"))
    language = alone or (name.endswith("ForConditionalGeneration") and "language_model" in places)
    if not language or layers is None or "decoder" in places or _row(architecture).get("counted_otherwise"):
        return found, False
    held = [tensor_group for tensor_group in tensor_groups if tensor_group.role == "parameter"]
    inside = [tensor_group for tensor_group in held if stack(tensor_group.group.template) == layers]
    against = [*_missing_layers(inside, architecture), *_vocabulary(held, architecture, layers, alone)]
    against += _experts(inside, architecture) if alone else ()
    return found + against, bool(against)


_KEYS = (".k_proj.weight", ".SelfAttention.k.weight", "indexer.wk.weight")
_ROWS = (".kv_a_proj_with_mqa.weight", ".query_key_value.weight", ".qkv_proj.weight", ".Wqkv.weight", ".c_attn.weight")
_STATES = ("conv1d.weight", ".A_log")
_MEDIA = ("vision", "audio", "projector")


def suspicious(groups: Sequence[TensorGroup], architecture: Architecture, layers: str | None, *, known: bool) -> bool:
    """Whether the layers' tensors must be weighed against the config: its type or its class (`known`) is unknown, or a
    quick look finds a layer's keys, or its recurrence, of other sizes than its spec, or none at all.

    A look may be wrong: what is weighed, and agrees, stays as it was.
    """
    if layers is None or not architecture.is_decoder or not architecture.layers:
        return layers is not None and not architecture.exact
    if not known or not architecture.exact:
        return True
    if "language_model" not in layers and not (architecture.architecture or "").endswith(
        ("ForCausalLM", "LMHeadModel")
    ):
        decoder = architecture.layers[0].kind == "cross_attention" and "decoder" in layers.split(".")
        stacks = {stack(each.group.template) for each in groups if each.role == "parameter"} - {None}
        if not decoder and len([each for each in stacks if component(f"{each}.{{}}.weight") not in _MEDIA]) > 1:
            return False  # which of them the config's language part is, names do not tell
    front, specs = f"{layers}.{{}}.", architecture.layers
    seen: set[int] = set()
    for each in groups:
        name = each.group.template if not each.packed else each.name
        if each.role != "parameter" or not name.endswith((*_KEYS, *_ROWS, *_STATES)) or not name.startswith(front):
            continue
        above = name.rsplit(".", 2)[0] + "."  # a projection may be called c_attn itself
        if "_attn." in above and "self_attn." not in above and "linear_attn." not in above:
            continue
        if "indexer" not in name:
            seen.update(each.layers)
        kinds = {id(layer): layer for index in each.layers if index < len(specs) for layer in [specs[index]]}
        if any(_differs(name, each, layer, architecture) for layer in kinds.values()):
            return True
    return bool(seen) and any(
        index not in seen and hasattr(layer, "num_key_value_heads") for index, layer in enumerate(specs)
    )


def _differs(name: str, each: TensorGroup, layer: Layer, architecture: Architecture) -> bool:
    """Whether a tensor that shows what its layer keeps is of another size than the layer."""
    shape, width = each.group.shape, each.numel // (architecture.hidden_size or 1)
    rows, queries = layer.rows or layer, architecture.num_attention_heads or 0
    if "indexer" in name:
        key: int | None = getattr(layer, "index_head_dim", None)
        return key is not None and width not in (key, (key - 1) // 2)
    size, value = getattr(rows, "head_dim", None), getattr(rows, "v_head_dim", None)
    heads = [count for count in (getattr(rows, "num_key_value_heads", None), architecture.num_key_value_heads) if count]
    if name.endswith(_KEYS):
        return size is not None and width not in [size * count for count in heads]
    if name.endswith(_ROWS):
        rank, rope = getattr(rows, "kv_lora_rank", None), getattr(rows, "qk_rope_head_dim", None)
        if rank is not None and rope is not None:
            return bool(rank + rope != width)
        if size is None or size != value or not queries:
            return False
        return width not in [(queries + 2 * count) * size for count in heads]
    states, sizes = layer.states, sorted((number for number in shape if number != 1), reverse=True)
    if name.endswith(_STATES[0]) and states and len(states[0].shape) == 2 and len(sizes) == 2:
        return states[0].shape[0] != sizes[0] or states[0].shape[1] not in (sizes[1], sizes[1] - 1)
    return len(shape) == 2 and len(states) > 1 and tuple(shape) not in [state.shape for state in states]


def dtype_note(stored_dtype: str | None, architecture: Architecture) -> tuple[str, ...]:
    """Weights that are loaded in another precision than they are stored in.

    Source: `from_pretrained(dtype="auto")`, the default since transformers 5, takes the config's dtype.
    """
    loaded = LOADED_DTYPES.get(architecture.dtype or "")
    if architecture.quantization or loaded in (None, stored_dtype) or stored_dtype not in LOADED_DTYPES.values():
        return ()
    ratio = DTYPE_BITS[loaded or ""] / DTYPE_BITS[stored_dtype or ""]
    change = "" if ratio == 1 else ", half of that" if ratio < 1 else ", twice that"
    return (
        f"the files hold {stored_dtype}, config.json says {architecture.dtype}: transformers loads the weights as"
        f" {architecture.dtype}{change}",
    )


def _missing_layers(inside: list[TensorGroup], architecture: Architecture) -> Iterator[str]:
    expected = len(architecture.layers)
    seen = {layer for tensor_group in inside for layer in tensor_group.layers}
    missing = sorted(set(range(expected)) - seen)
    if seen and missing and architecture.num_hidden_layers == expected:
        yield (
            f"config.json says {expected} layers; the files hold nothing of {_plural(len(missing), 'layer')}"
            f" {format_indices(missing)}"
        )


def _vocabulary(held: list[TensorGroup], architecture: Architecture, layers: str, with_head: bool) -> Iterator[str]:
    """Rows of the token embedding and the head that are not the config's vocabulary."""
    vocabulary = architecture.vocab_size
    if _row(architecture).get("more_embedding_rows"):
        return
    parent = layers.rpartition(".")[0]
    for tensor_group in held:
        module, _, leaf = tensor_group.group.template.rpartition(".")
        above, _, name = module.rpartition(".")
        beside = name in EMBEDDINGS and above == parent
        if (
            leaf != "weight"
            or not (beside or (with_head and module == "lm_head"))
            or len(tensor_group.group.shape) != 2
        ):
            continue
        rows = tensor_group.group.shape[0]
        if vocabulary and rows != vocabulary and tensor_group.group.shape[1] == architecture.hidden_size:
            yield (
                f"{tensor_group.group.template} has {rows:,} rows, config.json's vocab_size is {vocabulary:,}"
                f" ({'padded' if rows > vocabulary else 'cut'}): transformers refuses such a file"
            )


def _experts(inside: list[TensorGroup], architecture: Architecture) -> Iterator[str]:
    """Layers whose files hold more or fewer routed experts than the config says."""
    experts = architecture.experts
    if experts is None:
        return
    counts: dict[str, Counter[int]] = {}
    for tensor_group in inside:
        if ".experts.{}." in tensor_group.group.template and tensor_group.group.template.count("{}") == 2:
            counts.setdefault(tensor_group.group.template, Counter()).update(tensor_group.layers)
    wrong = {layer: n for found in counts.values() for layer, n in found.items() if n != experts.total}
    if wrong:
        layer = min(wrong)
        yield f"config.json says {experts.total} experts; the files hold {wrong[layer]} in layer {layer}"


def _stored_twice(tensor_groups: tuple[TensorGroup, ...]) -> Iterator[str]:
    twice = [
        tensor_group for tensor_group in tensor_groups if tensor_group.role in ("duplicate_head", "duplicate_embedding")
    ]
    for tensor_group in twice:
        what = "head" if component(tensor_group.name) == "head" else "embedding"
        name, nbytes = tensor_group.group.template, tensor_group.nbytes
        yield f"the {what} is stored twice: {name} is tied, its {nbytes:,} B hold nothing new"


def _plural(count: int, noun: str) -> str:
    return noun if count == 1 else f"{noun}s"


ShapeRow = tuple[list[Sequence[Any]], dict[str, Any], dict[str, list[str]], dict[str, str]]
"""Of a type: [expression of keys, tensor, axis, perhaps a condition for it], the defaults and the names of the keys (of
several in a config, the first one counts; of none, the class makes its own), the types of each part. An axis below 0 is
the number of layers or experts that a name counts; `i` is a layer's number, and `class_name` a key, too."""

WORD = re.compile(r"\b[A-Za-z_][\w.]*\b(?!\()")
"""A key in an expression, no function."""
RECURRENT = re.compile(r"(?<=\.weight_hh_l)\d+$")
"""A layer's number in the names of torch's recurrent modules: "decoder.lstm.weight_hh_l1" is of the second of them."""
LAYER = re.compile(r"[0-9]{1,9}")
"""A key of `per_layer_config`: "05"."""
INDEX = re.compile(r"\bi\b")
"""A layer's number, in an expression."""
MOST_LAYERS = 4096
"""Whose sizes are calculated one by one."""
QUOTIENT = re.compile(r"//[A-Za-z_]")
HEAD_WIDTHS = ("head_dim", "d_kv", "dim_head", "head_size", "kv_channels")
"""Ends of keys that say how wide a head is."""


@lru_cache(maxsize=1)
def _text() -> str:
    return table_text("shapes.json")


def _is_alone(model_type: object) -> bool:
    """Whether a type's parts share names, so that their own types' rows do not tell which is whose."""
    return model_type in _text().split('"alone": "', 1)[-1].split('"', 1)[0].split()


@lru_cache(maxsize=8)
def _shapes(model_type: str) -> ShapeRow | None:
    """A type's row: of the whole file, one line is read as JSON."""
    text = _text()
    start = text.find(f"\n{json.dumps(model_type)}: ")
    if start < 0:
        return None
    line = text[start + 1 : text.index("\n", start + 1)].rstrip(",").partition(": ")[2]
    row: ShapeRow = tuple(json.loads(line))
    return row


def wrong_sizes(
    config: Mapping[str, Any], groups: Iterable[TensorGroup], stack: str | None
) -> Iterator[tuple[str, str]]:
    """Keys whose values are not what the tensors show, and a note on each that names tensor, keys and both values.

    Args:
        config: config.json as parsed.
        groups: of its tensors, sorted.
        stack: the name of the list of the language part's layers.
    """
    said: set[str] = set()
    for expression, _, note in wrong_rows(config, groups, stack):
        if expression not in said:
            yield expression, note
        said.add(expression)


def states_untold(class_name: str, config: Mapping[str, Any], *, doubted: bool) -> bool:
    """Whether a config states a key of which no table tells all that it changes (inspector/data/untold.json): a number,
    or a switch or a list that is not as the class has it. `doubted`: stated or not, if the class has such a key."""
    text = table_text("untold.json")
    start = text.find(f"\n{json.dumps(class_name)}: ")
    if start < 0:
        return False
    line = text[start + 1 : text.index("\n", start + 1)].rstrip(",").partition(": ")[2]
    return doubted or any(key_of(config, path) not in (None, usual) for path, usual in json.loads(line).items())


def sizes_of_none(config: Mapping[str, Any], names: Iterable[str]) -> bool:
    """Whether a config tells a size above 0 of a module that none of these tensors is in."""
    row, there = _shapes(str(config.get("model_type"))), modules(names)
    if row is None:
        return False
    keys = _Keys(config, row)
    return any(
        axis >= 0
        and (module := name.rpartition(".")[0]) not in there
        and PLACEHOLDER in module
        and (keys.size(expression, {}, (0,)) or 0) > 0
        for expression, name, axis, *_ in row[0]
    )


def wrong_rows(
    config: Mapping[str, Any], groups: Iterable[TensorGroup], stack: str | None
) -> Iterator[tuple[str, str, str]]:
    """The same of every tensor that shows a key: expression, name of the tensor in the row, note."""
    by_name = _by_name([each for each in groups if each.role == "parameter"])
    for path, part in (
        ("", config),
        *((f"{key}.", value) for key, value in config.items() if isinstance(value, Mapping)),
    ):
        model_type = part.get("model_type")
        row = _shapes(model_type) if isinstance(model_type, str) else None
        if row is None or (path and _is_alone(config.get("model_type"))):
            continue
        names = by_name if not path else _inside(row, by_name, path, stack)
        yield from _compared(part, row, names, path)


def _by_name(held: Iterable[TensorGroup]) -> dict[str, list[TensorGroup]]:
    """Groups by their names, and those of lists of different modules also by a member's own: "list.3.weight", that of
    the last one also as "list.-1.weight"; those of recurrent layers also by that of all: "lstm.weight_hh_l{}"; all of a
    list by its own: "layers.{}"."""
    found: dict[str, list[TensorGroup]] = {}
    for each in held:
        found.setdefault(each.name, []).append(each)
        if RECURRENT.search(each.name):
            found.setdefault(RECURRENT.sub("{}", each.name), []).append(each)
    for name, some in [(name, some) for name, some in found.items() if name.count("{}") == 1]:
        last = max((index for each in some for index in each.layers), default=0)
        for each in some:
            single = {str(min(each.layers))} if len(each.layers) == 1 else set()
            several = {"0": 0, "-1": last}.items() if len(some) > 1 else ()
            for index in single | {index for index, layer in several if layer in each.layers}:
                found.setdefault(name.replace("{}", index), []).append(each)
    for name, some in [(name, some) for name, some in found.items() if "{}" in name and some[0].layers]:
        found.setdefault(list_of(name), []).extend(some)
    return found


class _Keys:
    """A config's values, under the names and with the defaults that a type's row has."""

    def __init__(self, config: Mapping[str, Any], row: ShapeRow) -> None:
        _, self._defaults, self._names, parts = row
        classes = config.get("architectures")
        self._config = {**config, "class_name": classes[0] if isinstance(classes, list) and classes else None}
        kinds = {prefix: _part(config, prefix).get("model_type") for prefix in parts}
        self._others = {prefix for prefix, kind in kinds.items() if kind and kind not in parts[prefix].split()}

    def hold(self, condition: str, own: Mapping[str, Any], indices: tuple[int, ...] = ()) -> bool:
        """Whether a condition is so. `own`: what a layer has of its own; `indices`: its number."""
        return holds(condition, partial(self._given, own=own), indices)

    def size(self, expression: str, own: Mapping[str, Any], indices: tuple[int, ...] = ()) -> int | None:
        """What an expression gives; None where the keys do not tell."""
        return number_of(expression, partial(self._value, own=own), indices)

    def _given(self, key: str, own: Mapping[str, Any]) -> Any:
        prefix, _, last = key.rpartition(".")
        if prefix in self._others:
            return None
        part = {**_part(self._config, prefix), **own}
        known = (part[name] for name in (*self._names.get(key, ()), last) if name in part)
        return next(known, self._defaults.get(key))

    def _value(self, key: str, own: Mapping[str, Any]) -> Any:
        found, (prefix, _, last) = self._given(key, own), key.rpartition(".")
        if found is None and last == "head_dim" and prefix not in self._others:
            before = key.removesuffix("head_dim")
            hidden, heads = (self._value(before + name, own) for name in ("hidden_size", "num_attention_heads"))
            found = hidden // heads if type(hidden) is type(heads) is int and heads > 0 else None
        return found


def _compared(
    config: Mapping[str, Any], row: ShapeRow, by_name: Mapping[str, list[TensorGroup]], path: str
) -> Iterator[tuple[str, str, str]]:
    """One row's wrong sizes. `path`: what stands before the keys of a part, "text_config."."""
    keys, fronts = _Keys(config, row), set(map(_front, by_name))
    for expression, name, axis, *conditions in row[0]:
        condition = conditions[0] if conditions else ""
        by_layer = INDEX.search(f"{expression} {condition}") is not None
        if not by_layer and not keys.hold(condition, {}):
            continue
        prefix = names_in(expression)[0].rpartition(".")[0]
        shown, part = WORD.sub(lambda key: path + key[0], expression), _part(config, prefix)
        if axis < 0 and "-" in expression and name not in by_name and _front(name) in fronts:
            count = keys.size(expression, {}) or 0
            if count > 0:
                yield shown, name, f"the files hold no {name}, config.json's {shown} is {count:,}"
        if name not in by_name or (QUOTIENT.search(expression) and _head_is_told(part, prefix, row[2])):
            continue
        groups, own = by_name[name], _own_values(part)
        if by_layer:
            layers = {layer: own.get(layer, {}) for each in groups for layer in each.layers if layer < MOST_LAYERS}
            told = (layer for layer, values in layers.items() if keys.hold(condition, values, (layer,)))
            usual, due = set[int | None](), {layer: keys.size(expression, layers[layer], (layer,)) for layer in told}
        else:
            usual = {keys.size(expression, {})}
            due = {layer: keys.size(expression, values) for layer, values in own.items()}
        if "{}" not in name or axis == -1:  # a member of a list may be of any of its layers
            usual, due = usual | {*due.values()}, {}
        for places, found, expected in _differing(groups, axis, usual, due):
            what = f"{groups[0].group.template} {'has' if axis >= 0 else 'is there for'} {_listed(found)}"
            where = f" in {_plural(len(places), 'layer')} {format_indices(sorted(places))}" if due else ""
            yield shown, name, f"{what}{where}, config.json's {shown} is {_listed(expected)}"


def _head_is_told(part: Mapping[str, Any], prefix: str, names: Mapping[str, list[str]]) -> bool:
    """Whether a part says how wide a head is, which is then no quotient; not where the class makes that itself."""
    told = (f"{prefix}.{key}" if prefix else str(key) for key in part if str(key).endswith(HEAD_WIDTHS))
    return any(names.get(key) != [] for key in told)


def _front(name: str) -> str:
    """The list that a name's first number counts: "layers.{}.mlp.gate.weight" -> "layers."."""
    return name.partition("{}")[0]


def list_of(name: str) -> str:
    """The same as the name of all of the list's members: "layers.{}"."""
    return _front(name) + "{}"


def _own_values(part: Mapping[str, Any]) -> dict[int, Mapping[str, Any]]:
    """Layer -> what it has of its own beside a config's values."""
    layers = part.get("per_layer_config")
    some = {str(at): own for at, own in layers.items()} if isinstance(layers, Mapping) else {}
    return {int(at): own for at, own in some.items() if LAYER.fullmatch(at) and isinstance(own, Mapping)}


def _differing(
    groups: Sequence[TensorGroup], axis: int, usual: Set[int | None], due: Mapping[int, int | None]
) -> Iterator[tuple[set[int], set[int], set[int]]]:
    """The sizes of a name's tensors that are not as they should be: the layers that have them, those sizes, and what
    they should be.

    Args:
        usual: what the size may be.
        due: layer -> what it is there instead.
    """
    every = {layer for each in groups for layer in each.layers}
    own = [({layer}, {due[layer]}) for layer in sorted(every & due.keys())]
    for layers, sizes in [(every - due.keys(), usual), *own]:
        held, told = _sizes(groups, axis, layers), {size for size in sizes if size is not None}
        if held and told and not held & told:
            yield layers, held, told


def _listed(sizes: set[int]) -> str:
    return " and ".join(f"{size:,}" for size in sorted(sizes)[:3])


def _inside(
    row: ShapeRow, by_name: Mapping[str, list[TensorGroup]], path: str, stack: str | None
) -> Mapping[str, list[TensorGroup]]:
    """A part's tensors by their names below it: below what most of the names that its type knows begin with."""
    fronts = Counter(
        name.removesuffix(own) for own in {own for _, own, *_ in row[0]} for name in by_name if name.endswith(f".{own}")
    )
    media = path.startswith(("vision", "audio"))
    fitting = [
        front
        for front, count in fronts.most_common()
        if count > 2
        and (component(f"{front}x.weight") in ("vision", "audio") if media else f"{stack}.".startswith(front))
    ]
    if len(fitting) != 1:
        return {}
    return {name.removeprefix(fitting[0]): held for name, held in by_name.items() if name.startswith(fitting[0])}


def _part(config: Mapping[str, Any], prefix: str) -> Mapping[str, Any]:
    """A part of a config by its dotted path; empty where there is none."""
    part = key_of(config, prefix) if prefix else config
    return part if isinstance(part, Mapping) else {}


def _sizes(groups: Sequence[TensorGroup], axis: int, layers: Set[int]) -> set[int]:
    """The sizes along an axis of those groups of a name (layers may differ) that have one of these layers, or how many
    its numbers are, if none of them is missing; empty where that is not known."""
    if axis == -1:
        numbers = {*layers, *(int(found[0]) for each in groups for found in [RECURRENT.search(each.name)] if found)}
        return {len(numbers)} if numbers and len(numbers) == 1 + max(numbers) - min(numbers) else set()
    if axis < -1:
        return {each.layers[layer] for each in groups for layer in layers if layer in each.layers}
    plain = all(not each.packed and each.numel == each.group.numel for each in groups)
    held = [each for each in groups if not each.layers or any(layer in each.layers for layer in layers)]
    return {each.group.shape[axis] for each in held if axis < len(each.group.shape)} if plain else set()
