"""The generated table of what a training step holds (inspector/data/training/, one file a model type).

Bytes stand in it as sums of products of sizes, {"Th": 16, "Tf": 8} for 16 B * T * h + 8 B * T * f. The letters:
T = b * s tokens (b sequences of s tokens), h hidden size, f intermediate size, a attention heads, kv key/value heads,
d head dimension, q = a * d, k = kv * d, V vocabulary, P positions, r rank of the adapters, E experts, K experts a
token, m intermediate size of an expert. "bass" is b * a * s * s, "bkss" b * kv * s * s.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

TABLE = Path(__file__).resolve().parents[2] / "data" / "training"

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
    """One way to train a model type: embeddings and masks, blocks by kind, head and loss, the embedding's gradient."""

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
    """

    profiles: Mapping[str, Profile]
    tied: Mapping[str, Piece]
    versions: str


def known_types() -> tuple[str, ...]:
    """The model types that have a table."""
    return tuple(sorted(path.stem for path in TABLE.glob("*.json")))


@lru_cache(maxsize=8)
def read_table(model_type: str) -> TypeTable | None:
    """The table of a model type, or None where there is none."""
    path = TABLE / f"{model_type}.json"
    if not re.fullmatch(r"[\w-]+", model_type) or not path.exists():
        return None
    raw = json.loads(path.read_text(encoding="utf-8"))
    pieces = [Piece(piece["end"], tuple(piece["peaks"])) for piece in raw["pieces"]]
    return TypeTable(
        profiles={name: _profile(profile, pieces) for name, profile in raw["profiles"].items()},
        tied={precision: pieces[number] for precision, number in raw["tied"].items()},
        versions=f"transformers {raw['transformers']}, torch {raw['torch']}",
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
