"""The products of sizes that the training table counts in, for one model and one batch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from inspector.memory.training.table import Sum
from inspector.memory.training.tensors import Weights
from inspector.model.model import Architecture

MULTI_LETTER = {"bkss": ("b", "kv", "s", "s"), "Tkv": ("T", "kv"), "1": ()}
"""Products whose name does not spell its letters one by one."""

NAMES = {
    "h": "hidden_size",
    "f": "intermediate_size",
    "a": "num_attention_heads",
    "kv": "num_key_value_heads",
    "d": "head_dim",
    "V": "vocab_size",
    "P": "max_position_embeddings",
}

LATENT_NAMES = {
    "c": "kv_lora_rank",
    "p": "qk_rope_head_dim",
    "n": "qk_nope_head_dim",
    "v": "v_head_dim",
    "u": "q_lora_rank",
}
"""Widths of latent attention."""

SOURCES = NAMES | {
    "m": "moe_intermediate_size",
    "E": "the number of experts",
    "K": "num_experts_per_tok",
    "n": "qk_nope_head_dim",
    "v": "v_head_dim",
    "u": "q_lora_rank",
    "w": "the shared experts' width",
    "g": "the rows of relative positions",
}
"""What a letter that is missing is called."""


class MissingSize(Exception):
    """config.json does not give a size that the table counts in."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """The value of each letter; letters that the model does not have are left out."""

    letters: dict[str, int]
    sequence: int = 1
    """GPUs that divide what is as wide as the hidden size: sequence parallel."""

    def product(self, name: str) -> int:
        """The value of a product: "Tq" is tokens times the queries' width.

        Raises:
            MissingSize: a letter has no value.
        """
        value = 1
        for letter in MULTI_LETTER.get(name) or (() if name == "1" else tuple(name)):
            if letter not in self.letters:
                raise MissingSize(SOURCES.get(letter, letter))
            value *= self.letters[letter]
        if self.sequence > 1 and name[0] == "T" and not any(letter in name for letter in "fqkaVmw"):
            return -(-value // self.sequence)
        return value

    def bytes_of(self, terms: Sum, only: Iterable[str] | None = None) -> int:
        """The bytes that a sum of the table stands for, or those of the products in `only`."""
        return int(sum(factor * self.product(name) for name, factor in terms.items() if only is None or name in only))

    def text(self, terms: Sum, most: int = 6) -> str:
        """The largest terms as a formula: "16 Th + 8 Tf"."""
        ordered = sorted(terms.items(), key=lambda term: -abs(term[1] * self.product(term[0])))
        shown = " + ".join(f"{factor:g} {name}" for name, factor in ordered[:most]).replace("+ -", "- ")
        return (shown or "0") + (" + ..." if len(ordered) > most else "")


def sizes_of(architecture: Architecture, *, batch: int, context: int, rank: int) -> Sizes:
    """The letters of one model, batch and rank."""
    letters = {"b": batch, "s": context, "T": batch * context, "G": batch * context, "r": rank}
    for letter, key in NAMES.items():
        value = getattr(architecture, key)
        if value is not None:
            letters[letter] = value
    if {"a", "d"} <= letters.keys():
        letters["q"] = letters["a"] * letters["d"]
    if {"kv", "d"} <= letters.keys():
        letters["k"] = letters["kv"] * letters["d"]
    if architecture.experts is not None:
        letters["E"], letters["K"] = architecture.experts.total, architecture.experts.active
    if architecture.moe_intermediate_size is not None:
        letters["m"] = architecture.moe_intermediate_size
    widths = next((layer.widths for layer in architecture.layers if layer.widths), None)
    if widths is not None:
        letters |= {letter: widths[key] for letter, key in LATENT_NAMES.items() if key in widths}
        if {"a", "n", "p"} <= letters.keys():
            letters["d"] = letters["n"] + letters["p"]
            letters["q"] = letters["a"] * letters["d"]
    return Sizes(letters)


def with_tensors(sizes: Sizes, tensors: Weights) -> Sizes:
    """With the letters that the tensors' shapes tell, where config.json does not or under a name of its own."""
    letters = dict(sizes.letters)
    width, hidden = tensors.mlp_width, letters.get("h", 0)
    found = {"w": tensors.shared_width(hidden), "g": tensors.rows_of("rel_embeddings.weight")}
    if "f" not in letters:
        found["f"] = width
    letters |= {letter: value for letter, value in found.items() if value}
    return Sizes(letters, sizes.sequence)
