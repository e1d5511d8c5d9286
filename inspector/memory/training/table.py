"""The generated table of what a training step holds (inspector/data/training/, one file a model type).

Bytes stand in it as sums of products of sizes, {"Th": 16, "Tf": 8} for 16 B * T * h + 8 B * T * f. The letters:
T = b * s tokens (b sequences of s tokens), h hidden size, f intermediate size, a attention heads, kv key/value heads,
d head dimension, q = a * d, k = kv * d, V vocabulary, P positions, r rank of the adapters, E experts, K experts a
token, m intermediate size of an expert, w of the shared experts; of latent attention u and c, the ranks of queries
and of keys and values, n, p and v, a head's widths without and with positions and of its value; g rows of relative
positions (DeBERTa); G tokens that sequence parallelism does not divide (no table's own). "bass" is b * a * s * s,
"bkss" b * kv * s * s.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from inspector.tables import table_names, table_text

Sum = Mapping[str, float]
"""Product of sizes -> bytes of one."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of the step: what it leaves behind, and the moments that can be its largest, above its start."""

    end: Sum
    peaks: tuple[Sum, ...]


@dataclass(frozen=True, slots=True)
class Layer:
    """One block's forward and backward stretch; with checkpointing the backward one computes the block again.

    `released` is what the forward stretch leaves behind until the forward pass leaves autocast: bf16 copies of weights
    that the backward pass will not need. The head's moments count it as "@", for all blocks together.
    """

    forward: Piece
    backward: Piece
    released: Sum


@dataclass(frozen=True, slots=True)
class Profile:
    """One way to train a model type: embeddings and masks, blocks by kind, head and loss, the embedding's gradient.

    Kinds are those of `inspector.model.layers`; "dense" and "sparse" in mixtures whose first blocks are plain; "first",
    "middle" and "last" where a block holds something of the one before it; and of an encoder-decoder, whose two inputs
    are taken to be of the same length, "encoder_first", "encoder_second" (where it differs), "encoder", "encoder_last",
    "bridge" (all between the two stacks), and the decoder's.
    """

    start: Piece
    layers: Mapping[str, Layer]
    head: Piece
    embedding: Piece


@dataclass(frozen=True, slots=True)
class TypeTable:
    """All ways to train one model type.

    Attributes:
        profiles: "method/precision/attention/checkpointing", and "/grouped" where key/value heads are shared and
            "/windowed" where the context is longer than a sliding window.
        tied: precision -> the embedding's stretch where embeddings and head share one weight.
        versions: what the table was made with.
        buffers: bytes of the class's large buffers, causal masks of all positions; no file has them.
    """

    profiles: Mapping[str, Profile]
    tied: Mapping[str, Piece]
    versions: str
    buffers: Sum

    @property
    def eager_only(self) -> bool:
        """The class has no sdpa: transformers falls back to eager where nothing is asked for."""
        return not any("/sdpa/" in name for name in self.profiles)


def known_types() -> tuple[str, ...]:
    """The model types that have a table."""
    return table_names("training")


@lru_cache(maxsize=8)
def read_table(model_type: str) -> TypeTable | None:
    """The table of a model type, or None where there is none."""
    if not re.fullmatch(r"[\w-]{1,100}", model_type, re.ASCII):
        return None
    try:
        raw = json.loads(table_text(f"training/{model_type}.json"))
    except FileNotFoundError:
        return None
    if "like" in raw:  # another type's blocks
        return read_table(raw["like"])
    pieces = [Piece(piece["end"], tuple(piece["peaks"])) for piece in raw["pieces"]]
    return TypeTable(
        profiles={name: _profile(profile, pieces) for name, profile in raw["profiles"].items()},
        tied={precision: pieces[number] for precision, number in raw["tied"].items()},
        versions=f"transformers {raw['transformers']}, torch {raw['torch']}",
        buffers=raw.get("buffers", {}),
    )


def _profile(raw: dict[str, Any], pieces: list[Piece]) -> Profile:
    return Profile(
        start=pieces[raw["start"]],
        layers={
            kind: Layer(pieces[layer["forward"]], pieces[layer["backward"]], layer.get("released", {}))
            for kind, layer in raw["layers"].items()
        },
        head=pieces[raw["head"]],
        embedding=pieces[raw["embedding"]],
    )
