"""The head's stretch of the table where the loss is over log-probabilities of tokens, not the model's own.

Two ways: whole logits (`LogitBytes`), or TRL's fused head (1.14 and newer, kernels/chunked_logprob.py), which
multiplies tiles of 4,096 tokens and 32,768 values of the vocabulary in one buffer and sums gradients in fp32.
"""

from __future__ import annotations

from dataclasses import dataclass

from inspector.memory.training.estimate import TrainingSetup
from inspector.memory.training.logits import LOGITS, WHOLE_LOSS
from inspector.memory.training.objectives.objective import LogitBytes
from inspector.memory.training.sizes import MissingSize, Sizes
from inspector.memory.training.table import Piece, Sum

TILE_TOKENS, TILE_VALUES = 4096, 32768

LOGARITHMS = 10
"""Bytes a logit from which on a moment of the table is one of the model's own loss, with logits in several copies."""


@dataclass(frozen=True, slots=True)
class Head:
    """The loss's stretch, and what of it is kept while another model scores the same rows."""

    piece: Piece
    kept: Sum


def objective_head(head: Piece, sizes: Sizes, setup: TrainingSetup, *, trains: bool, encodes: bool = False) -> Head:
    """The head's stretch under an objective.

    Args:
        head: the table's, under the model's own loss.
        trains: the head's weight gets a gradient.
        encodes: the model is an encoder, whose own head is more than norms and the vocabulary's weight.
    """
    if setup.aim.headless:
        return Head(_pooled(head, setup, encodes=encodes), {})
    if setup.aim.scalar_head:
        return Head(Piece(_narrow(head.end), (*map(_narrow, head.peaks), *_unread(setup, trains=trains))), {})
    if not (sizes.letters.get("V") and sizes.letters.get("h")):
        raise MissingSize("vocab_size")
    loss = max(head.peaks, key=lambda peak: peak.get("TV", 0))
    later = [peak for peak in head.peaks if peak.get("TV", 0) < LOGARITHMS]  # the loss's own moments are left out
    beside = {name: factor for name, factor in loss.items() if name not in LOGITS}
    if setup.in_tiles:
        beside.pop("Vh", None)  # no copy of the whole weight is cast
        made = _of_both if setup.aim.tile_bytes else _fused
        peaks, kept = made(beside, sizes, setup, trains=trains), beside
        later = [peak for peak in later if not any(name in peak for name in LOGITS)]
    else:
        each, share = setup.logit_bytes, setup.scored_share(sizes.letters["s"])
        if (prompts := setup.prompt_bytes) is not None:
            return Head(_with_prompts(head.end, beside, later, each, prompts, share), {})
        capped = max(0, loss.get("TV", 0) - WHOLE_LOSS)  # logits that are capped keep what they were before
        scores = setup.reference_model in ("copy", "adapters-off")
        peaks = [
            {**beside, "TV": share * (each.made + capped)},
            {**beside, "TV": share * (each.loss + capped + (each.held if scores else 0)), "V": each.rows},
            {**beside, "TV": share * (each.backward + capped + (each.alone if sizes.letters["b"] == 1 else 0))},
        ]
        kept = {**beside, "TV": share * (each.kept + capped)}
    return Head(Piece(head.end, (*peaks, *later)), kept)


def _with_prompts(
    end: Sum, beside: Sum, later: list[Sum], each: LogitBytes, prompts: LogitBytes, share: float
) -> Piece:
    """The head's moments where logits of prompts are made, too, and `each` is of completions alone."""
    names = ("made", "loss", "backward")
    whole = [getattr(prompts, name) + share * getattr(each, name) for name in names]
    stay = [{**peak, "TV": peak.get("TV", 0) + prompts.kept} for peak in later]  # the trainer holds on to what is made
    return Piece(end, (*({**beside, "TV": size} for size in whole), *stay))


def _pooled(head: Piece, setup: TrainingSetup, *, encodes: bool) -> Piece:
    """Mean pooling in the place of the head: the mask as wide as the last hidden state, and their product."""
    if encodes:
        key = setup.compute, setup.adapters
        return Piece({}, ({"Th": POOLED.get(key, 4)},))
    return Piece(_narrow(head.end), ({"Th": 2 * _hidden(setup)}, *map(_narrow, head.peaks)))


POOLED = {("bf16", False): 2, ("bf16", True): 6, ("mixed", False): 12, ("mixed", True): 8}
"""Bytes for each value of an encoder's last hidden state while its texts are pooled; 4 in fp32."""


def _unread(setup: TrainingSetup, *, trains: bool) -> list[Sum]:
    """The moment of logits that are made and let go of at once, beside the last hidden states."""
    if not setup.aim.logits_made:
        return []
    cast = 2 if setup.compute == "mixed" and trains else 0
    return [{"TV": setup.aim.logits_made[setup.compute], "Th": _hidden(setup), "Vh": cast}]


def _narrow(moment: Sum) -> Sum:
    """A moment without logits, and without the weight that makes them."""
    return {name: factor for name, factor in moment.items() if name not in (*LOGITS, "Vh")}


def scoring_heads(sizes: Sizes, setup: TrainingSetup, cast: int) -> list[tuple[int, int]]:
    """The moments of the head of a forward pass without gradients: bytes of logits, and of the rest.

    Args:
        cast: what autocast keeps of the blocks until the pass is over.
    """
    hidden, share = _hidden(setup), setup.scored_share(sizes.letters["s"])
    if setup.aim.tile_bytes:  # hidden states alone
        return [(0, sizes.bytes_of({"Th": hidden}))]
    if setup.in_tiles:
        return [(0, sizes.bytes_of(_plus({"Th": (1 + share) * hidden}, _tile(sizes, setup, share))))]
    rest = sizes.bytes_of({"Th": hidden})
    each = share * setup.logit_bytes.scored
    if (prompts := setup.prompt_bytes) is not None:
        each, share = each + prompts.scored, 1.0
    whole = sizes.bytes_of({"TV": each}), rest
    if setup.compute != "mixed" or setup.adapters:
        return [whole]
    product = sizes.bytes_of({"TV": 2 * share}), rest + cast + sizes.bytes_of({"Vh": 2})
    return [product, whole]


def _hidden(setup: TrainingSetup) -> int:
    """Bytes of a value of the last hidden state."""
    return 2 if setup.compute == "bf16" or (setup.compute == "mixed" and setup.adapters) else 4


def _tile(sizes: Sizes, setup: TrainingSetup, share: float, weights: int = 1) -> dict[str, float]:
    """The buffer of one tile, and what is cast for it under autocast."""
    size = 4 if setup.compute == "fp32" else 2
    tokens, values = min(int(share * sizes.letters["T"]), TILE_TOKENS), min(sizes.letters["V"], TILE_VALUES)
    found: dict[str, float] = {"1": size * tokens * TILE_VALUES}
    if _hidden(setup) != size:
        found["h"] = size * tokens
    if setup.compute == "mixed" and not setup.adapters:
        found["h"] = found.get("h", 0) + weights * size * values
    return found


def _fused(beside: Sum, sizes: Sizes, setup: TrainingSetup, *, trains: bool) -> list[Sum]:
    """The moments of TRL's fused head: of its forward pass, and of its backward pass with fp32 sums of gradients."""
    hidden = _hidden(setup)
    weights = 2 if sizes.letters["V"] > TILE_VALUES else 1
    share = setup.scored_share(sizes.letters["s"])
    forward = _plus(beside, _tile(sizes, setup, share), {"Th": share * hidden})
    sums: dict[str, float] = {"Th": share * (4 + hidden) - hidden, **({"Vh": 4} if trains else {})}
    backward = _plus(beside, _tile(sizes, setup, share, weights), sums)
    given: dict[str, float] = {
        "Th": share * 2 if hidden == 2 else 0,
        "Vh": 2 if trains and setup.compute == "bf16" else 0,
    }
    return [forward, _plus(backward, given)]


def _of_both(beside: Sum, sizes: Sizes, setup: TrainingSetup, *, trains: bool) -> list[Sum]:
    """The moments of the head of two models (ChunkedDivergenceFunction): its two buffers beside the hidden states of
    both; in the backward pass fp32 sums, a tile's gradient in 16 bits beside the one before it, and what is given."""
    hidden, single = _hidden(setup), setup.compute == "fp32"
    tokens, values = min(sizes.letters["T"], TILE_TOKENS), min(sizes.letters["V"], TILE_VALUES)
    tiles = setup.aim.tile_bytes * tokens * TILE_VALUES
    gradients = 0 if single else 2 * tokens * values * (2 if sizes.letters["V"] > TILE_VALUES else 1)
    cast = 2 * values if setup.compute == "mixed" and not setup.adapters else 0
    states = {"Th": 3.0 * hidden, "h": float(cast)}
    sums: dict[str, float] = {"Th": 4, "Vh": 4 if trains else 0}
    given: dict[str, float] = {"Th": hidden, "Vh": 2 if trains and setup.compute == "bf16" else 0}
    forward = _plus(beside, states, {"1": tiles})
    return [forward, _plus(forward, sums, {"1": gradients}), _plus(beside, states, sums, given)]


def _plus(*sums: Sum) -> dict[str, float]:
    names = dict.fromkeys(name for each in sums for name in each)
    return {name: sum(each.get(name, 0) for each in sums) for name in names}
