"""What names and shapes tell of parameters where the class is unknown: which are buffers, and which are one weight."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from inspector.model.config.text import language_part
from inspector.model.model import Architecture
from inspector.model.parameters.classes import BUFFER
from inspector.model.parameters.names import Group, TensorGroup, component
from inspector.tables import table_text

TIES = "tie_word_embeddings"
NO_TOKENS = re.compile(r"position|pos_emb|type|segment|wpe|relative|rel_|image|patch|vision|audio")
"""Embeddings of other things than tokens."""
NO_LOGITS = re.compile(r"pooler|classif|score|seq_relationship|qa_outputs|summary")
"""Heads of other things than tokens."""


@lru_cache(maxsize=1)
def _ends() -> tuple[frozenset[str], frozenset[str]]:
    """Ends of names that are buffers in nearly all of transformers' classes, and longer ones that are not."""
    data = json.loads(table_text("buffers.json"))
    return frozenset(data["ends"]), frozenset(data["not"])


def is_buffer_name(template: str) -> bool:
    """Whether a name's last part, or its last two or three, are a buffer's in nearly all classes that have them."""
    parts = template.split(".")
    mine = {".".join(parts[-count:]) for count in (1, 2, 3)}
    buffers, others = _ends()
    return not mine & others and (bool(mine & buffers) or BUFFER.search(template) is not None)


def frozen_norms(groups: Iterable[Group]) -> frozenset[str]:
    """Modules of batch norms that are never trained, whose weight and bias are buffers, too: they count no batches."""
    leaves: dict[str, set[str]] = {}
    for group in groups:
        module, _, leaf = group.template.rpartition(".")
        leaves.setdefault(module, set()).add(leaf)
    return frozenset(
        module
        for module, held in leaves.items()
        if {"running_mean", "running_var"} <= held and "num_batches_tracked" not in held
    )


def tied(by_name: Mapping[str, TensorGroup], config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Heads that are the token embedding, and that embedding, where the files hold both and the config ties.

    save_pretrained writes one of the two; files of other tools (a gathered state of DeepSpeed's ZeRO-3) hold both.
    Where the config and its language part say different things, files with both are taken for untied.
    """
    part = language_part(config)
    flags = {each[TIES] for each in (config, part) if each and isinstance(each.get(TIES), bool)}
    if flags != {True}:
        return
    sizes = _vocabularies(config)
    embeddings: dict[tuple[int, ...], str] = {
        each.group.shape: name
        for name, each in by_name.items()
        if component(name) == "embedding" and name.endswith("weight") and not NO_TOKENS.search(name)
        if len(each.group.shape) == 2 and (not sizes or each.group.shape[0] >= min(sizes))
    }
    for name, each in by_name.items():
        twin = embeddings.get(each.group.shape)
        if twin and component(name) == "head" and name.endswith("weight") and not NO_LOGITS.search(name):
            yield name, twin


def missing_head(by_name: Mapping[str, TensorGroup], architecture: Architecture, config: Mapping[str, Any]) -> str:
    """The note on a head that the files lack, though the config ties none and the class's name says that it has one."""
    named = (architecture.architecture or "").endswith(("ForCausalLM", "LMHeadModel"))
    if not named or config.get(TIES) is not False or any(component(name) == "head" for name in by_name):
        return ""
    return "the files hold no head, and config.json's tie_word_embeddings is false: counted without one"


def _vocabularies(config: Mapping[str, Any]) -> list[int]:
    """The numbers of tokens that a config and its parts name."""
    parts = [config, *(value for value in config.values() if isinstance(value, Mapping))]
    return [
        value
        for part in parts
        for key, value in part.items()
        if key in ("vocab_size", "n_vocab", "padded_vocab_size") and type(value) is int and value > 0
    ]
