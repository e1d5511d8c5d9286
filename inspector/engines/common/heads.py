"""Heads for speculative decoding, which draft from the model's own hidden states: EAGLE (arXiv 2401.15077), EAGLE-3
(2503.01840), and the layers for multi-token prediction (MTP) that a model's own files hold.

A head has layers with a cache of their own; its token embedding, and mostly its output projection, are the model's.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from inspector.engines.common.kept_heads import configured_heads
from inspector.engines.common.served import Weights
from inspector.errors import UsageError
from inspector.hub.checkpoint import Checkpoint
from inspector.model import Model
from inspector.model.layers.layer import Layer
from inspector.model.parameters.count import sorted_groups
from inspector.model.parameters.names import MTP_LAYERS, PARAMETER, TensorGroup, component, stack

DRAFT_TOKENS = 3
"""That are drafted at once: llama.cpp's own default, and what vLLM has to be told."""

OWN_LAYERS = "mtp"
"""What names a model's own layers for multi-token prediction, where a draft model is named."""

PLAIN = frozenset(("F64", "F32", "F16", "BF16"))
"""Dtypes of weights that are cast to the precision that the model computes in."""

KEPT = "e_score_correction_bias"
"""A router's correction, which stays in the precision that it is stored in."""

TOKEN_ID_BYTES = 8
"""Of the table that says which of the model's tokens one of a smaller vocabulary is (EAGLE-3's d2t, int64)."""

WHOLE = ("fc", "eh_proj", "q_a_proj", "kv_a_proj_with_mqa")
"""Modules that every rank keeps whole: what joins embedding and hidden state, and the down-projections of latents."""


@dataclass(frozen=True)
class DraftHead:
    """What a head adds to its model.

    Attributes:
        method: "eagle", "eagle3" or "mtp".
        architecture: the class that its config names; None for a model's own layers.
        layers: one spec a layer of its own; none where it cannot be seen what they cache.
        stored: the bytes as the files have them, of what is not cast; see `weights`.
        counts: parameters of plain dtypes, by what ranks do to them (the names of `Weights`).
        vocab_size: rows of its own output projection; None where that is the model's.
        steps: layers that were trained to draft one token each; None where one layer drafts all.
        notes: what was taken for granted.
    """

    method: str
    architecture: str | None
    layers: tuple[Layer, ...]
    stored: Mapping[str, int]
    counts: Mapping[str, int]
    vocab_size: int | None = None
    steps: int | None = None
    notes: tuple[str, ...] = ()

    @property
    def tokens(self) -> int:
        """That are drafted at once: a multiple of `steps` (vllm/config/speculative.py: n_predict)."""
        return DRAFT_TOKENS if self.steps is None or DRAFT_TOKENS % self.steps == 0 else self.steps

    def weights(self, element_bytes: int) -> Weights:
        """Bytes by what ranks do to them. `element_bytes`: of the precision that the model computes in."""
        shares = {name: self.stored.get(name, 0) + self.counts.get(name, 0) * element_bytes for name in _SHARES}
        return Weights(**shares)


_SHARES = ("embedding", "head", "divided", "key_value", "experts", "replicated")


class Draft(NamedTuple):
    """What drafts: the checkpoint that it lies in, as read, and where it is a head of the model, that."""

    checkpoint: Checkpoint
    model: Model | DraftHead


def own_layers(checkpoint: Checkpoint, model: Model) -> DraftHead:
    """A model's layers for multi-token prediction: all that its files hold of them, but for copies of the embedding and
    the output projection. Their attention is that of the model's layer whose tensors have the same names and shapes.

    Raises:
        UsageError: its files hold none.
    """
    groups, name = sorted_groups(checkpoint, model.architecture)
    ahead = [group for group in groups if group.role == MTP_LAYERS]
    if not ahead:
        raise UsageError(
            f"the files of {model.repo_id} hold no layers for multi-token prediction",
            "--draft mtp is for models that have them; else name a draft model.",
        )
    attention = [group for group in ahead if _attends(group)]
    places = [_places(group, groups, name) for group in attention]
    known = frozenset.intersection(*places) if places else frozenset()
    layers = configured_heads(model.architecture)
    attends = layers[min(known)] if known and min(known) < len(layers) else None
    steps = len({place for group in attention for place in group.layers})
    shares = [(group, _share(group, own_head=False)) for group in ahead]
    return DraftHead("mtp", None, (attends,) * steps if attends else (), *_added(shares), steps=steps)


def drafter(checkpoint: Checkpoint, model: Model, target: Model) -> Model | DraftHead:
    """What a draft's files hold: a head, or a model of its own, which reads no hidden states of another.

    Args:
        checkpoint / model: of the draft.
        target: whose hidden states it reads.
    """
    hidden = model.architecture.hidden_size
    groups, _ = sorted_groups(checkpoint, model.architecture)
    joins = [group.group.shape for group in groups if group.group.template.rpartition("model.")[2] == "fc.weight"]
    wide = [shape for shape in joins if len(shape) == 2 and shape[0] == hidden and shape[1] % shape[0] == 0]
    if not wide or hidden is None:
        return model
    inputs = [group.group.shape[-1] for group in groups if group.name.endswith("self_attn.q_proj.weight")]
    third = wide[0][1] > 2 * hidden or 2 * hidden in inputs  # EAGLE's layers read one hidden state, EAGLE-3's first two
    vocab = model.architecture.vocab_size
    rows = [each.group.shape[0] for each in groups if component(each.name) == "head" and len(each.group.shape) == 2]
    own_rows = rows[0] if rows and third else None
    shares = [(group, _share(group, own_head=third)) for group in groups if group.role == PARAMETER]
    stored, counts = _added(shares)
    if own_rows is not None and own_rows != target.architecture.vocab_size:
        stored["replicated"] = stored.get("replicated", 0) + own_rows * TOKEN_ID_BYTES
    notes = []
    if vocab == target.architecture.vocab_size and hidden == target.architecture.hidden_size:
        copied = counts.pop("embedding", 0)
        if copied:
            notes.append("the head's embedding is taken to be a copy of the model's, which is then kept once")
    return DraftHead(
        "eagle3" if third else "eagle",
        model.architecture.architecture,
        configured_heads(model.architecture),
        stored,
        counts,
        vocab_size=own_rows,
        notes=tuple(notes),
    )


def _attends(group: TensorGroup) -> bool:
    """Whether it is a matrix of a layer's attention."""
    return ".self_attn." in group.group.template and len(group.group.shape) == 2 and group.numel > 0


def _places(group: TensorGroup, groups: Iterable[TensorGroup], name: str | None) -> frozenset[int]:
    """The model's layers that have such a tensor."""
    leaf, shape = group.group.template.rpartition(".self_attn.")[2], group.group.shape
    return frozenset(
        place
        for each in groups
        if each.role == PARAMETER and each.group.shape == shape and stack(each.group.template) == name
        if each.group.template.rpartition(".self_attn.")[2] == leaf
        for place in each.layers
    )


def _share(group: TensorGroup, *, own_head: bool) -> str | None:
    """What a rank does to a tensor, a name of `_SHARES`; None for what is the model's."""
    part, module = component(group.name), group.group.module.rpartition(".")[2]
    if part == "head" or module == "head" or "shared_head.head" in group.group.template:
        return "head" if own_head else None
    if part == "embedding" or module == "embed_tokens":
        return "embedding" if own_head or group.role == PARAMETER else None
    if part in ("norm", "router") or len(group.group.shape) < 2 or module in WHOLE:
        return "divided" if module == "fc" and group.role == MTP_LAYERS else "replicated"
    if module in ("k_proj", "v_proj"):
        return "key_value"
    return "experts" if part == "experts" else "divided"


def _added(shares: Iterable[tuple[TensorGroup, str | None]]) -> tuple[dict[str, int], dict[str, int]]:
    """(stored bytes, parameters that are cast) by share."""
    stored: dict[str, int] = {}
    counts: dict[str, int] = {}
    for group, share in shares:
        if share is None:
            continue
        numel = math.prod(group.group.shape)
        if group.group.dtype in PLAIN and group.numel == numel and not group.name.endswith(KEPT):
            counts[share] = counts.get(share, 0) + group.total
        else:
            stored[share] = stored.get(share, 0) + group.nbytes
    return stored, counts
