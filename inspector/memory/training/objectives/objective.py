"""What an objective says of itself: the models on the GPU, the rows of a forward pass, and what its loss holds.

To add one is to write its file here and its line in `OBJECTIVES` (registry.py). Models, passes and losses of one kind
are shared: scoring.py has forward passes without gradients, heads.py what log-probabilities of tokens keep.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from inspector.errors import UsageError

PAIRS = "a batch of pairs: each counts for two sequences, chosen and rejected, of --context tokens"
"""A note of objectives over preferences."""


@dataclass(frozen=True, slots=True)
class LogitBytes:
    """Bytes of each logit at the moments of a loss over whole logits.

    Attributes:
        made: the forward pass ends (under autocast accelerate makes an fp32 copy of what a model returns).
        kept: while another model scores the same rows.
        loss: the most that the loss, and what is logged beside it, takes; a scoring model's logits aside.
        backward: the most of the loss's backward pass.
        scored: the most that a scoring model's own logits take.
        held: of those, what stays until the loss is there.
        rows: bytes for each value of the vocabulary of what is made a few rows at a time.
        alone: more of the backward pass where a batch is one sequence.
    """

    made: int
    kept: int
    loss: int
    backward: int
    scored: int
    held: int
    rows: int = 0
    alone: int = 0


@dataclass(frozen=True, slots=True)
class Objective:
    """What a step trains for.

    Attributes:
        name: as `--objective` has it.
        title: as people write it.
        source: whose step it is: library, versions and files.
        rows: sequences in a forward pass for each one of the batch: 2 where an example is a chosen and a rejected one.
        references: where its frozen reference model can be, the default first; empty where it has none.
        logits: precision of the passes ("bf16", "mixed", "fp32") -> what a loss over whole logits holds.
        prompts: the same of every token, where logits of prompts are made, too; `logits` are of completions then.
        critic: the value model that trains beside the policy.
        scalar_head: the model has a head of one value in the place of the vocabulary's.
        logits_made: precision of the passes -> bytes of each logit of a vocabulary's head that such a model has beside
            its own, and whose logits nobody reads.
        headless: the model is the class without a head; its loss is over one embedding of each text, and encoders
            train by it, too.
        fused: the library whose head makes log-probabilities a tile at a time, for `--logits chunked`; "" for none.
        tile_bytes: of such a head's buffers, where they are its own: fp32 tiles of both models.
        generates: completions are made in the step, and scored before it trains on them; else a reference scores a
            batch after the policy's own pass, whose activations are kept meanwhile.
        scores_itself: the policy scores its completions before it trains, whoever generated them.
        shares_vocabulary: its loss compares the logits of both models, value by value.
        notes: what the reader should know.
        logits_text: what lives of logits at the peak, in words.
    """

    name: str
    title: str
    source: str
    rows: int = 1
    references: tuple[str, ...] = ()
    logits: Mapping[str, LogitBytes] = field(default_factory=dict)
    prompts: Mapping[str, LogitBytes] = field(default_factory=dict)
    critic: Objective | None = None
    scalar_head: bool = False
    logits_made: Mapping[str, int] = field(default_factory=dict)
    headless: bool = False
    fused: str = ""
    tile_bytes: int = 0
    generates: bool = False
    scores_itself: bool = False
    shares_vocabulary: bool = False
    notes: tuple[str, ...] = ()
    logits_text: str = "logits and the copies that the loss makes of them"

    @property
    def settings(self) -> tuple[str, ...]:
        """The fields of `ObjectiveSetup` that mean something here: what a form offers."""
        known = {
            "fp32_outputs": bool(self.logits),
            "reference": bool(self.references),
            "reference_repo": "copy" in self.references,
            "reward_repo": self.critic is not None,
            "texts": self.headless,
            "mini_batch": self.headless or self.critic is not None,
            "completion_tokens": self.generates,
            "generation": self.generates and self.critic is None,
            "vllm_gpu_memory_utilization": self.generates and self.critic is None,
        }
        return tuple(name for name, here in known.items() if here)

    def reference(self, asked: str, *, adapters: bool) -> str:
        """Where the reference model is: "copy", "adapters-off", "precomputed" or "none".

        Args:
            asked: as `ObjectiveSetup.reference`.

        Raises:
            UsageError: the objective cannot have it there.
        """
        if asked != "auto":
            if asked not in self.references:
                known = ", ".join(self.references) or "none of them"
                raise UsageError(f"{self.name} has no reference model '{asked}'", f"It can have {known}.")
            return asked
        first = self.references[0] if self.references else "none"
        return "adapters-off" if first == "copy" and adapters and "adapters-off" in self.references else first
