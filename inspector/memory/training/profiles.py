"""Which entries of the training table stand for a model and a setup."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from inspector.memory.estimate import Workload
from inspector.memory.training.estimate import TrainingSetup
from inspector.memory.training.fp8 import with_casts, with_fused_casts
from inspector.memory.training.recompute import (
    SAVED_PRODUCTS,
    each,
    mentions,
    mixed_layers,
    recomputed_blocks,
    scoreless,
    with_saved_ops,
    without_scores,
)
from inspector.memory.training.table import Layer, Piece, Profile, Sum, TypeTable, read_table
from inspector.memory.training.tensors import Weights
from inspector.model.config.light import by_hand
from inspector.model.model import Architecture

GLOBAL_EVERY = 3
"""Of an encoder's blocks every so many-th sees all tokens: ModernBERT's default, which all published ones have. An
`Architecture` does not tell these blocks apart."""


@dataclass(frozen=True, slots=True)
class Found:
    """The entries for one model: its profile, its blocks in order, the embedding's stretch; the same of blocks in which
    nothing trains, for frozen-except; and what the table was made with."""

    profile: Profile
    layers: list[Layer]
    embedding: Piece
    frozen_profile: Profile | None
    frozen_layers: list[Layer]
    versions: str
    buffers: Sum
    notes: tuple[str, ...] = ()


def find_profile(
    architecture: Architecture,
    workload: Workload,
    setup: TrainingSetup,
    tensors: Weights | None = None,
    *,
    scattered: bool = False,
    masked: bool = False,
) -> Found | str:
    """The table's entries for a model, or the reason why there are none.

    Args:
        tensors: for types whose blocks differ in what config.json does not tell alike for all: an encoder's beside a
            decoder's, mixtures with plain blocks before them.
        scattered: sequence parallel.
        masked: attention by a mask in every block, as images may bring it.
    """
    if setup.kernels != "none":
        found = _find(architecture, workload, setup, tensors, scattered=scattered, masked=masked)
        if not isinstance(found, str):
            return found
    plain = replace(setup, kernels="none")
    found = _find(architecture, workload, plain, tensors, scattered=scattered, masked=masked)
    if isinstance(found, str) or setup.kernels == "none":
        return found
    return replace(found, notes=(*found.notes, f"what {setup.kernels}'s kernels spare is not known here: a bound"))


def _find(
    architecture: Architecture,
    workload: Workload,
    setup: TrainingSetup,
    tensors: Weights | None,
    *,
    scattered: bool,
    masked: bool,
) -> Found | str:
    """`find_profile`, of the very kernels of a setup."""
    model_type = architecture.model_type or ""
    if setup.kernels != "none" and (setup.compiled or setup.fp8 != "none" or setup.checkpointing == "selective-op"):
        return "what is compiled, in fp8 or recomputed by operation is known without kernels"
    table = _table(model_type, architecture, setup.kernels) or _table_of_part(architecture, setup.kernels)
    if table is None:
        return f"no table for the model type '{model_type}'"
    if not architecture.layers:
        return "config.json does not give num_hidden_layers"
    if tensors is not None and _narrow_embedding(architecture, tensors):
        return f"the table of '{model_type}' is for embeddings as wide as the blocks"
    entries = _entries(table, _word(setup), architecture, workload, setup, tensors, masked=masked)
    if isinstance(entries, str):
        return entries
    profile, layers = entries
    if setup.checkpointing == "selective-op":
        layers = each(layers, lambda layer: with_saved_ops(layer, compiled=setup.compiled, scattered=scattered))
    if setup.method == "qlora" and _word(setup) != "qlora":
        layers = each(layers, _with_working_copy)
    if setup.quantize_experts:
        layers = each(layers, _with_unpacked_experts)
    if setup.fp8 == "torchao":
        layers = each(layers, with_fused_casts if setup.compiled else with_casts)
    frozen: Profile | None = None
    frozen_layers: list[Layer] = []
    if setup.method == "frozen-except":
        still = _entries(table, "frozen", architecture, workload, setup, tensors)
        if isinstance(still, str):
            return still
        frozen, frozen_layers = still
    tied = not setup.adapters and architecture.tie_word_embeddings is not False
    embedding = table.tied.get(setup.compute, profile.embedding) if tied else profile.embedding
    return Found(
        profile,
        layers,
        embedding,
        frozen,
        frozen_layers,
        table.versions,
        table.buffers,
        _notes(model_type, table, profile, setup),
    )


def _notes(model_type: str, table: TypeTable, profile: Profile, setup: TrainingSetup) -> tuple[str, ...]:
    """What is taken for granted of the type."""
    found = []
    if setup.attention == "sdpa" and table.eager_only:
        found.append("the class has no sdpa: attention is eager, as transformers then has it")
    if setup.attention == "flash" and table.eager_only:
        found.append("flash: what the class keeps with eager attention, without scores: a bound")
    if setup.kernels == "none" and read_table(f"{model_type}-xielu"):
        found.append("the activation runs in Python; with the package xielu each block keeps less: --kernels xielu")
    if "bridge" in profile.layers:
        found.append("--context tokens go into the encoder, and as many into the decoder")
    return tuple(found)


def _narrow_embedding(architecture: Architecture, tensors: Weights) -> bool:
    """Whether tokens are embedded in another width than the hidden size (ELECTRA-small, OPT-350M)."""
    hidden, vocabulary = architecture.hidden_size, architecture.vocab_size
    shapes = [group.shape for group in tensors.groups if group.component == "embedding" and len(group.shape) == 2]
    widths = {width for rows, width in shapes if rows == vocabulary}
    return tensors.exact and bool(widths) and hidden not in widths


def _table(name: str, architecture: Architecture, kernels: str) -> TypeTable | None:
    """The type's table, or that of the form its blocks have: a gated MLP (T5), queries without a latent (DeepSeek)."""
    end = "" if kernels == "none" else f"-{kernels}"
    if any(layer.widths and "q_lora_rank" not in layer.widths for layer in architecture.layers):
        return read_table(f"{name}-direct{end}")
    return (read_table(f"{name}-gated{end}") if architecture.mlp_gated else None) or read_table(f"{name}{end}")


def _table_of_part(architecture: Architecture, kernels: str) -> TypeTable | None:
    """The table of a model's language part, where it has an encoder of images or sound beside."""
    part = architecture.language_type
    if part is None or not architecture.is_decoder or not (architecture.vision or architecture.audio):
        return None
    return _table(by_hand("training_language_part").get(part, part), architecture, kernels)


def _word(setup: TrainingSetup) -> str:
    """The first word of the table's name for a setup."""
    if setup.method == "lora":
        return "dora" if setup.dora else "lora-bf16" if setup.adapter_dtype == "bf16" else "lora"
    if setup.method == "qlora":
        if setup.precision == "mixed" and not setup.kbit_upcast:
            return "lora"
        return "qlora" if setup.adapter_dtype == "fp32" else "lora-bf16"
    return "full"


WORKING_COPY = 2.0625
"""Bytes a value of a 4-bit weight while it is at work: in bf16, with its scales, as in the table's entries of qlora."""


def _with_working_copy(layer: Layer) -> Layer:
    """A block on a 4-bit base that stays in bf16 but for that: that of an unpacked base, whose linear layers keep
    nothing either, with the copy of one weight at every moment."""
    name = "hf" if mentions(layer, "f") else "hq"

    def more(piece: Piece) -> Piece:
        copies = tuple({**peak, name: peak.get(name, 0) + WORKING_COPY} for peak in piece.peaks)
        return Piece(piece.end, copies)

    return Layer(more(layer.forward), more(layer.backward), layer.released)


UNPACKED = 6
"""Bytes of three values of an expert in bf16: of gate, up and down."""


def _with_unpacked_experts(layer: Layer) -> Layer:
    """A block whose stacked experts are in 4 bits: while they are at work, and in the backward pass until they were,
    all of the block's are unpacked (bitsandbytes, nn/parametrize.py; Axolotl 067b021, monkeypatch/moe_quant.py)."""
    rows = next((letter for letter in "mf" if any(f"TK{letter}" in peak for peak in layer.backward.peaks)), None)
    if rows is None:
        return layer
    name = f"Eh{rows}"

    def at_work(piece: Piece) -> Piece:
        routed = [any(f"TK{letter}" in peak for letter in ("h", rows)) for peak in piece.peaks]
        more = [{**peak, name: peak.get(name, 0) + UNPACKED} for peak in piece.peaks]
        return Piece(piece.end, tuple(more[i] if routed[i] else peak for i, peak in enumerate(piece.peaks)))

    return Layer(at_work(layer.forward), at_work(layer.backward), layer.released)


def _entries(
    table: TypeTable,
    word: str,
    architecture: Architecture,
    workload: Workload,
    setup: TrainingSetup,
    tensors: Weights | None,
    *,
    masked: bool = False,
) -> tuple[Profile, list[Layer]] | str:
    """The profile and the entry of each block."""
    if setup.checkpointing in ("none", "full"):
        return _plain_entries(table, word, architecture, workload, setup, tensors, masked=masked)
    if setup.checkpointing == "selective-op":
        names = {group.module.rpartition(".")[2] for group in tensors.linears("all-linear")} if tensors else set()
        if names != set(SAVED_PRODUCTS):
            return "selective-op is known for decoders whose blocks have the linear layers of Llama's"
        full = replace(setup, checkpointing="full")
        return _plain_entries(table, word, architecture, workload, full, tensors)
    plain = replace(setup, checkpointing="none", checkpoint_every=2)
    whole = _plain_entries(table, word, architecture, workload, plain, tensors)
    if isinstance(whole, str):
        return whole
    profile, layers = whole
    if setup.checkpointing == "attention":
        return profile, each(layers, without_scores)
    again = _plain_entries(table, word, architecture, workload, replace(plain, checkpointing="full"), tensors)
    if isinstance(again, str):
        return again
    recomputed = recomputed_blocks(len(layers), setup.checkpointing, setup.checkpoint_every)
    last = again[0] if recomputed and recomputed[-1] else profile
    mixed = Profile(profile.start, profile.layers, last.head, profile.embedding)
    return mixed, mixed_layers(layers, again[1], recomputed)


def _plain_entries(
    table: TypeTable,
    word: str,
    architecture: Architecture,
    workload: Workload,
    setup: TrainingSetup,
    tensors: Weights | None,
    *,
    masked: bool = False,
) -> tuple[Profile, list[Layer]] | str:
    attention = "sdpa" if setup.attention == "flash" else setup.attention
    if table.eager_only:
        attention = "eager"
    masked = masked and attention == "sdpa"  # eager attention has a mask in every block anyway
    windowed = masked or (
        attention == "sdpa" == setup.attention
        and any(
            layer.kind == "sliding_attention" and layer.window is not None and workload.context >= layer.window
            for layer in architecture.layers
        )
    )
    heads, key_value_heads = architecture.num_attention_heads, architecture.num_key_value_heads
    name = f"{word}/{setup.compute}/{attention}/{setup.checkpointing}"
    if heads is not None and key_value_heads is not None and key_value_heads < heads:
        grouped = f"{name}/grouped"
        name = grouped if grouped in table.profiles or f"{grouped}/windowed" in table.profiles else name
    if windowed:
        name += "/windowed"
    profile = table.profiles.get(name)
    if profile is None:
        return f"no entry {name} in the table of '{architecture.model_type}'"
    kinds = ["sliding_attention"] * len(architecture.layers) if masked else _kinds(profile, architecture, tensors)
    if isinstance(kinds, str):
        return kinds
    missing = next((kind for kind in kinds if kind not in profile.layers), None)
    if missing is not None:
        return f"no entry for {missing} layers in the table of '{architecture.model_type}'"
    layers = [profile.layers[kind] for kind in kinds]
    return profile, each(layers, scoreless) if setup.attention == "flash" and table.eager_only else layers


def _kinds(profile: Profile, architecture: Architecture, tensors: Weights | None) -> list[str] | str:
    """The name of each block's entry, or the reason why it cannot be told."""
    layers, entries = architecture.layers, profile.layers
    if "bridge" in entries:
        encoders = tensors.encoder_layers if tensors is not None else 0
        if not encoders or not layers:
            return "the names of the tensors do not tell the encoder's layers from the decoder's"
        if architecture.tie_word_embeddings is False and architecture.model_type not in by_hand("always_tied"):
            return f"the table of '{architecture.model_type}' is for one embedding that encoder, decoder and head share"
        return [*_stack("encoder", encoders, entries), "bridge", *_stack("decoder", len(layers), entries)]
    if "sparse" in entries:
        if tensors is None:
            return "which layers have experts is told by the tensors' names, which are not known here"
        return ["sparse" if index in tensors.sparse else "dense" for index in range(len(layers))]
    if "middle" in entries:
        return ["first", *["middle"] * (len(layers) - 2), *["last"] * (len(layers) > 1)]
    if len(entries) == 1:
        return [next(iter(entries))] * len(layers)
    if layers and layers[0].kind == "no_cache":
        return [("sliding_attention" if index % GLOBAL_EVERY else "full_attention") for index in range(len(layers))]
    return [layer.kind for layer in layers]


def _stack(name: str, count: int, entries: Collection[str]) -> list[str]:
    """The blocks of one of two stacks: the first and the last have entries of their own, in some the second."""
    first = [f"{name}_first", *[f"{name}_second"] * (count > 2 and f"{name}_second" in entries)]
    last = [f"{name}_last"] * (count > 1)
    return [*first, *[name] * (count - len(first) - len(last)), *last]
