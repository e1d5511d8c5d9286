"""The generated table: complete, of one make, and (where torch is there) what its generator still gives."""

from __future__ import annotations

import pytest

from fixtures.training_types import TYPES
from inspector.memory.training.table import known_types, read_table
from inspector.tables import DATA

WAYS = (
    ("full", ("bf16", "fp32", "mixed")),
    ("lora", ("bf16", "mixed")),
    ("qlora", ("bf16", "mixed")),
    ("frozen", ("bf16", "fp32", "mixed")),
    ("lora-bf16", ("bf16",)),
)
SHARING = (
    "bridge",
    "first",
    "last",
    *(f"{stack}_{place}" for stack in ("encoder", "decoder") for place in ("first", "second", "last")),
)
RARE_WAYS = (("lora", ("fp32",)), ("dora", ("bf16", "mixed")))


def test_every_type_of_the_generator_has_a_table() -> None:
    assert set(known_types()) == {kind.table for kind in TYPES}


def test_all_tables_were_made_with_the_same_torch() -> None:
    """And with the release of transformers since which their types are as they were: `make tables` skips these."""
    versions = {table.versions.partition(", ")[2] for name in known_types() if (table := read_table(name))}
    assert versions == {"torch 2.13.0"}


@pytest.mark.parametrize("kind", TYPES, ids=lambda kind: kind.table)
def test_every_way_to_train_a_type_is_there(kind: object) -> None:
    name, attentions = kind.table, kind.attentions  # type: ignore[attr-defined]
    table = read_table(name)
    assert table is not None
    ways = {"/".join(name.split("/")[:4]) for name in table.profiles}
    rows = WAYS + (RARE_WAYS if kind.rare_ways else ())  # type: ignore[attr-defined]
    assert ways == {
        f"{word}/{precision}/{attention}/{checkpointing}"
        for word, precisions in rows
        if word != "qlora" or kind.quantizable  # type: ignore[attr-defined]
        for precision in precisions
        for attention in attentions
        for checkpointing in ("none", "full")
    }
    assert set(table.tied) == {"bf16", "fp32", "mixed"}


def test_what_a_block_leaves_behind_has_no_tokens_in_it() -> None:
    """Forward keeps, backward lets go: what stays are gradients, whose size no batch changes. (Rotary tables, "sd", are
    shared by all blocks, and go with the last that uses them. The first and the last block of an encoder's and a
    decoder's stack hold what all blocks share, and the bridge what the decoder's blocks read.)"""
    for name in known_types():
        table = read_table(name)
        assert table is not None
        for way, profile in table.profiles.items():
            for kind, layer in profile.layers.items():
                if kind in SHARING:
                    continue
                forward, backward = layer.forward.end, layer.backward.end
                left = {p for p in {*forward, *backward} if p != "sd" and forward.get(p, 0) + backward.get(p, 0)}
                assert not any(letter in product for product in left for letter in "Tbs"), (name, way, left)


def test_the_generator_still_gives_the_stored_table() -> None:
    pytest.importorskip("torch")
    pytest.importorskip("peft")
    from fixtures.make_training import profile, unpack, ways

    kind = next(kind for kind in TYPES if kind.model_type == "llama")
    name, step, variant = next(way for way in ways(kind) if way[0] == "full/bf16/sdpa/none/grouped")
    stored = unpack((DATA / "training" / "llama.json").read_text(encoding="utf-8"))["profiles"][name]
    assert profile(kind, step, variant) == stored
