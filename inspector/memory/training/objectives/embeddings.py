"""A step over embeddings of texts: two forward passes whose activations are kept, or mini-batches that go twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from inspector.memory.estimate import Workload
from inspector.memory.training.estimate import TrainingSetup
from inspector.memory.training.phases import Block, Moment, Passes, kept_by_pass, moments
from inspector.memory.training.sizes import Sizes
from inspector.memory.training.table import Piece, Profile


def embedding_moments(
    profile: Profile,
    blocks: Sequence[Block],
    embedding: Piece,
    sizes: Sizes,
    passes: Passes,
    workload: Workload,
    setup: TrainingSetup,
    gradient_bytes: int,
) -> list[Moment]:
    """The moments of all passes of a batch.

    The anchors go first, by themselves, then all other texts in one pass (util: embed_columns); the others' backward
    pass is first, and the anchors' adds to its gradients.

    Args:
        profile / blocks / embedding / passes: of one pass, as `moments` takes them.
        sizes: of the pass over the other texts, or of a mini-batch.
        gradient_bytes: of all gradients.
    """
    again = replace(passes, old_gradients=gradient_bytes)
    if setup.mini_batch:
        rows = setup.texts * workload.batch * sizes.product("h") * WIDTH
        scores = min(setup.mini_batch, workload.batch) * workload.batch * (setup.texts - 1) * WIDTH
        found = moments(profile, blocks, embedding, sizes, again)
        kept = [replace(moment, rest=moment.rest + 2 * rows) for moment in found]  # embeddings and their gradients
        return [*kept, Moment("loss", 0, 0, 0, 5 * rows + 4 * scores)]
    fewer = _resized(sizes, workload.batch)
    anchors = [replace(block, spared=block.spared // (setup.texts - 1)) for block in blocks]
    kept_before = kept_by_pass(profile, anchors, fewer)
    others = moments(profile, blocks, embedding, sizes, passes)
    first = moments(profile, anchors, embedding, fewer, again)
    # The anchors' last hidden state stays in their features until the loss is there.
    tokens = (2 if setup.compute == "bf16" else 4) * fewer.product("Th")
    return [
        *(
            replace(moment, kept=moment.kept + kept_before - (tokens if moment.phase == "backward" else 0))
            for moment in others
        ),
        *(moment for moment in first if moment.phase == "backward"),
    ]


WIDTH = 4
"""Bytes of a value of an embedding: the Trainer's models return fp32."""


def _resized(sizes: Sizes, rows: int) -> Sizes:
    """The sizes of so many sequences of the same length."""
    tokens = rows * sizes.letters["s"]
    return Sizes(sizes.letters | {"b": rows, "T": tokens, "G": tokens}, sizes.sequence)
