"""Checkpoint lint: where config.json and the files' tensors disagree. Only what is certain is said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from inspector.hub.cache.snapshot import format_indices
from inspector.hub.dtypes import DTYPE_BITS
from inspector.model.config.light import Entry, table
from inspector.model.model import Architecture
from inspector.model.parameters.names import TensorGroup, component, stack

EMBEDDINGS = frozenset({"embed_tokens", "wte", "word_embeddings", "tok_embeddings", "embed_in"})
"""Names of a token embedding beside the list of layers."""

LOADED_DTYPES = {"float32": "F32", "bfloat16": "BF16", "float16": "F16"}
"""config.json's `dtype` -> safetensors' name of it."""


def _row(architecture: Architecture) -> Entry:
    """What the table says of the model's type."""
    return table().get(architecture.model_type or "", {})


def lint(tensor_groups: Iterable[TensorGroup], architecture: Architecture, layers: str | None) -> list[str]:
    """What the reader should know of a checkpoint that is not as its config says.

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
        return found
    held = [tensor_group for tensor_group in tensor_groups if tensor_group.role == "parameter"]
    inside = [tensor_group for tensor_group in held if stack(tensor_group.group.template) == layers]
    found += [*_missing_layers(inside, architecture), *_vocabulary(held, architecture, layers, alone)]
    return found + list(_experts(inside, architecture) if alone else ())


_ROWS = (
    ".k_proj.weight",
    ".kv_a_proj_with_mqa.weight",
    ".query_key_value.weight",
    ".qkv_proj.weight",
    ".c_attn.weight",
)
_STATES = ("conv1d.weight", ".A_log")
_MEDIA = ("vision", "audio", "projector")


def is_decoder_alone(architecture: Architecture, layers: str) -> bool:
    """Whether the class is the decoder of an encoder-decoder by itself: its config counts the encoder's layers."""
    return (architecture.architecture or "").endswith("ForCausalLM") and "decoder" in layers.split(".")


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
        stacks = {stack(each.group.template) for each in groups if each.role == "parameter"} - {None}
        if len([front for front in stacks if component(f"{front}.{{}}.weight") not in _MEDIA]) > 1:
            return False  # which of them the config's language part is, names do not tell
    if is_decoder_alone(architecture, layers):
        counts = [max(each.layers) + 1 for each in groups if each.layers and stack(each.group.template) == layers]
        if counts and max(counts) != len(architecture.layers):
            return True
    front, hidden, specs = f"{layers}.{{}}.", architecture.hidden_size or 1, architecture.layers
    seen: set[int] = set()
    for each in groups:
        name = each.group.template if not each.packed else each.name
        if each.role != "parameter" or not name.endswith((*_ROWS, *_STATES)) or not name.startswith(front):
            continue
        if "indexer" in name or ("_attn." in name and "self_attn." not in name and "linear_attn." not in name):
            continue
        seen.update(each.layers)
        rows = each.numel // hidden
        if name.endswith(_ROWS[0]):
            kinds = {id(layer): layer for index in each.layers if index < len(specs) for layer in [specs[index]]}
            for layer in kinds.values():
                heads = (getattr(layer, "num_key_value_heads", None), architecture.num_key_value_heads)
                width = getattr(layer, "head_dim", None)
                if width is not None and rows not in [width * count for count in heads if count]:
                    return True
        elif name.endswith(_ROWS[1:]):
            kinds = {id(layer): layer for index in each.layers if index < len(specs) for layer in [specs[index]]}
            for layer in kinds.values():
                rank, rope = getattr(layer, "kv_lora_rank", None), getattr(layer, "qk_rope_head_dim", None)
                if rank is not None and rope is not None and rank + rope != rows:
                    return True
        elif name.endswith(_STATES[0]):
            for index in each.layers:
                states = getattr(specs[index], "states", None) if index < len(specs) else None
                if (
                    states
                    and each.group.shape
                    and len(states[0].shape) == 2
                    and states[0].shape[0] != max(each.group.shape)
                ):
                    return True
    return bool(seen) and any(
        index not in seen and hasattr(layer, "num_key_value_heads") for index, layer in enumerate(specs)
    )


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
