"""The settings of an objective: what the step trains for, and where its reference model is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from inspector.errors import UsageError
from inspector.memory.training.objectives.objective import Objective
from inspector.memory.training.objectives.registry import OBJECTIVES, objective_of
from inspector.settings import setting

if TYPE_CHECKING:
    from typing_extensions import Self

GENERATIONS = ("auto", "generate", "colocated", "colocated-sleep", "server")

COLOCATED = ("colocated", "colocated-sleep")

REFERENCES = ("auto", "copy", "adapters-off", "precomputed", "none")


@dataclass(frozen=True, kw_only=True)
class ObjectiveSetup:
    """What a step trains for.

    Attributes:
        objective: "sft", the model's own loss; "dpo", preferences with a reference model.
        reference: the reference model of an objective that has one: "copy", a frozen copy on the GPU; "adapters-off",
            the base under the adapters; "precomputed", its log-probabilities alone; "none"; "auto", as the trainer
            takes it: the base under adapters, a copy else; under grpo none (beta 0).
        fp32_outputs: what the model returns is cast to fp32, as accelerate does wherever bf16 is on, though its weights
            are bf16; "mixed" implies it.
        completion_tokens: of the context, those of a completion, whose logits alone are made; None for all of it.
        generation: where completions are generated: "generate", by the model that trains; "colocated", by vLLM in
            the same process; "colocated-sleep", by one that sleeps while the model trains; "server", on other GPUs;
            "auto", as TRL does it: generate.
        vllm_gpu_memory_utilization: a colocated vLLM's share of the GPU.
        gpu_bytes: of the GPU, where it is known.
    """

    objective: str = setting(
        "sft",
        several=True,
        choices=tuple(OBJECTIVES),
        help="What the step trains for: the model's own loss (sft); preferences (dpo, orpo, cpo, simpo, kto); a reward"
        " model (reward); or completions of its own (grpo, rloo).",
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

    fp32_outputs: bool = setting(
        False,
        rare=True,
        help="Logits are cast to fp32, as accelerate does under bf16: true, though weights are bf16.",
        docs="an objective's logits are cast to fp32, as accelerate does under `bf16: true`, though weights are bf16",
    )
    completion_tokens: int | None = setting(
        None,
        help="Of --context, tokens of a completion, for --objective grpo or rloo. Default: all.",
        docs="of `--context`, those of a completion (`grpo`, `rloo`), whose logits alone are made; all where left out",
        unit="tokens",
        reads="tokens",
        metavar="TOKENS",
        least=1,
    )
    generation: str = setting(
        "auto",
        choices=GENERATIONS,
        help="Who generates the completions of grpo and rloo: the model itself (auto: generate), vLLM on the same"
        " GPU, awake or asleep while it trains, or on others.",
        docs="who generates the completions of `grpo` and `rloo`: `generate`, the model that trains (`auto`);"
        " `colocated`, vLLM on the same GPU; `colocated-sleep`, one that sleeps while the model trains; `server`, vLLM"
        " on other GPUs",
    )
    vllm_gpu_memory_utilization: float = setting(
        0.3,
        rare=True,
        help="A colocated vLLM's share of the GPU. TRL's default: 0.3.",
        docs="a colocated vLLM's share of the GPU; TRL's default",
        metavar="SHARE",
        least=0.01,
        most=1,
    )
    gpu_bytes: int | None = None

    @property
    def generates(self) -> str:
        """Who generates: "none", "generate", "colocated", "colocated-sleep" or "server"."""
        if not self.aim.generates:
            return "none"
        return "generate" if self.generation == "auto" else self.generation

    def on_gpu(self, capacity: int) -> Self:
        """The same on a GPU of known size, in bytes, where one of its parts takes a share of that."""
        return replace(self, gpu_bytes=capacity) if self.generates in COLOCATED else self

    def scored_share(self, context: int) -> float:
        """The share of the tokens whose logits are made."""
        return min(1.0, self.completion_tokens / context) if self.completion_tokens else 1.0

    def check_objective(self, *, adapters: bool, logits: str) -> None:
        """Refuse what no run can have.

        Raises:
            UsageError: a reference without an objective that has one, or without adapters to turn off; a loss that is
                known for sft alone.
        """
        if self.reference == "adapters-off" and not adapters:
            raise UsageError("without adapters there is nothing to turn off", "Use --reference copy.")
        if self.objective == "sft" and (self.completion_tokens is not None or self.generation != "auto"):
            raise UsageError("sft generates no completions", "Add --objective grpo.")
        if self.objective == "sft" and self.fp32_outputs:
            raise UsageError("SFT's loss is computed before outputs are cast", "Leave out --fp32-outputs.")
        if self.objective == "sft":
            if self.reference != "auto":
                raise UsageError("a reference model is of an objective that has one", "Add --objective dpo.")
            return
        if not self.aim.generates and (self.completion_tokens is not None or self.generation != "auto"):
            raise UsageError(f"{self.objective} generates no completions", "They are of --objective grpo or rloo.")
        self.aim.reference(self.reference, adapters=adapters)
        if logits == "chunked" and not self.aim.fused:
            raise UsageError(f"the loss of {self.objective} is over whole logits", "Leave out --logits chunked.")
        if logits in ("chunked-loss", "compiled-loss"):
            raise UsageError(f"--logits {logits} is known for sft alone", "Use --logits all or chunked.")
