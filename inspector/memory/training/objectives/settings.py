"""The settings of an objective: what the step trains for, and where its reference model is."""

from __future__ import annotations

from dataclasses import dataclass

from inspector.errors import UsageError
from inspector.memory.training.objectives.objective import Objective
from inspector.memory.training.objectives.registry import OBJECTIVES, objective_of
from inspector.settings import setting

REFERENCES = ("auto", "copy", "adapters-off", "precomputed", "none")


@dataclass(frozen=True, kw_only=True)
class ObjectiveSetup:
    """What a step trains for.

    Attributes:
        objective: "sft", the model's own loss; "dpo", preferences with a reference model.
        reference: the reference model of an objective that has one: "copy", a frozen copy on the GPU; "adapters-off",
            the base under the adapters; "precomputed", its log-probabilities alone; "none"; "auto", as the trainer
            takes it: the base under adapters, a copy else.
    """

    objective: str = setting(
        "sft",
        several=True,
        choices=tuple(OBJECTIVES),
        help="What the step trains for: the model's own loss (sft); preferences (dpo, orpo, cpo, simpo, kto); or a"
        " reward model (reward).",
        docs="`sft`: the model's own loss; preferences with a reference model: `dpo`, `kto`; without: `orpo`, `cpo`,"
        " `simpo`; `reward`: a reward model ([as TRL has them](training.md#dpo-grpo-what-they-add))",
    )
    reference: str = setting(
        "auto",
        choices=REFERENCES,
        help="Reference model of --objective: a copy, the base under adapters, or its log-probabilities precomputed.",
        docs="where the objective's reference model is: a frozen `copy`; `adapters-off`: the base under the adapters;"
        " `precomputed`: its log-probabilities alone; `none`; `auto`: the base under adapters, else a copy",
    )

    @property
    def aim(self) -> Objective:
        """What is known of the objective."""
        return objective_of(self.objective)

    def check_objective(self, *, adapters: bool, logits: str) -> None:
        """Refuse what no run can have.

        Raises:
            UsageError: a reference without an objective that has one, or without adapters to turn off; a loss that is
                known for sft alone.
        """
        if self.reference == "adapters-off" and not adapters:
            raise UsageError("without adapters there is nothing to turn off", "Use --reference copy.")
        if self.objective == "sft":
            if self.reference != "auto":
                raise UsageError("a reference model is of an objective that has one", "Add --objective dpo.")
            return
        self.aim.reference(self.reference, adapters=adapters)
        if logits == "chunked" and not self.aim.fused:
            raise UsageError(f"the loss of {self.objective} is over whole logits", "Leave out --logits chunked.")
        if logits in ("chunked-loss", "compiled-loss"):
            raise UsageError(f"--logits {logits} is known for sft alone", "Use --logits all or chunked.")
