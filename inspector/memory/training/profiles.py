"""Which entries of the training table stand for a model and a setup."""

from __future__ import annotations

from dataclasses import dataclass

from inspector.memory.estimate import Workload
from inspector.memory.training.estimate import TrainingSetup
from inspector.memory.training.table import Layer, Piece, Profile, TypeTable, known_types, read_table
from inspector.model.layers import SlidingAttention
from inspector.model.model import Architecture

LANGUAGE_PARTS = {"gemma3": "gemma3_text"}
"""Types of several modalities whose language part has a table: nothing but text passes then."""


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


def find_profile(architecture: Architecture, workload: Workload, setup: TrainingSetup) -> Found | str:
    """The table's entries for a model, or the reason why there are none."""
    model_type = architecture.model_type or ""
    table = read_table(LANGUAGE_PARTS.get(model_type, model_type))
    if table is None:
        return f"no table for the model type '{model_type}' (there is one for {', '.join(known_types())})"
    entries = _entries(table, _word(setup), architecture, workload, setup)
    if isinstance(entries, str):
        return entries
    profile, layers = entries
    frozen: Profile | None = None
    frozen_layers: list[Layer] = []
    if setup.method == "frozen-except":
        still = _entries(table, "frozen", architecture, workload, setup)
        if isinstance(still, str):
            return still
        frozen, frozen_layers = still
    tied = not setup.adapters and architecture.tie_word_embeddings is not False
    embedding = table.tied.get(setup.compute, profile.embedding) if tied else profile.embedding
    return Found(profile, layers, embedding, frozen, frozen_layers, table.versions)


def _word(setup: TrainingSetup) -> str:
    """The first word of the table's name for a setup."""
    if setup.method == "lora":
        return "dora" if setup.dora else "lora-bf16" if setup.adapter_dtype == "bf16" else "lora"
    return "qlora" if setup.method == "qlora" else "full"


def _entries(
    table: TypeTable, word: str, architecture: Architecture, workload: Workload, setup: TrainingSetup
) -> tuple[Profile, list[Layer]] | str:
    attention = "sdpa" if setup.attention == "flash" else setup.attention
    windowed = setup.attention == "sdpa" and any(
        isinstance(layer, SlidingAttention) and workload.context >= layer.sliding_window
        for layer in architecture.layers
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
    layers = []
    for layer in architecture.layers:
        entry = profile.layers.get(layer.kind) if len(profile.layers) > 1 else next(iter(profile.layers.values()))
        if entry is None:
            return f"no entry for {layer.kind} layers in the table of '{architecture.model_type}'"
        layers.append(entry)
    return profile, layers
