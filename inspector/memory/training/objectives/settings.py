"""The settings of an objective: what the step trains for, and where its reference model is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from inspector.errors import UsageError
from inspector.memory.training.objectives.companion import Companion
from inspector.memory.training.objectives.objective import Objective
from inspector.memory.training.objectives.registry import OBJECTIVES, objective_of
from inspector.settings import setting

if TYPE_CHECKING:
    from typing_extensions import Self

GENERATIONS = ("auto", "generate", "colocated", "colocated-sleep", "server")

COLOCATED = ("colocated", "colocated-sleep")

VLLM_SHARE = 0.3
"""TRL's default of vllm_gpu_memory_utilization."""

REFERENCES = ("auto", "copy", "adapters-off", "precomputed", "none")

REPOS = ("reference_repo", "reward_repo")
"""Settings that name a model of its own beside the one that trains."""


@dataclass(frozen=True, kw_only=True)
class ObjectiveSetup:
    """What a step trains for.

    Attributes:
        objective: "sft", the model's own loss; "dpo", preferences with a reference model.
        reference: the reference model of an objective that has one: "copy", a frozen copy on the GPU; "adapters-off",
            the base under the adapters; "precomputed", its log-probabilities alone; "none"; "auto", as the trainer
            takes it: the base under adapters, a copy else; under grpo none (beta 0).
        reward_repo: the repository of PPO's reward model and value model, where they are another model's.
        reference_repo: the repository of a reference model or teacher that is another model.
        fp32_outputs: what the model returns is cast to fp32, as accelerate does wherever bf16 is on, though its weights
            are bf16; "mixed" implies it.
        whole_logits: the trainer's own loss reads whole logits, whatever TRL's newest does: there is no fused head.
        texts: of a row of what trains embeddings, each embedded in a pass of its own.
        mini_batch: texts that are embedded at a time (GradCache); None for all of a batch.
        completion_tokens: of the context, those of a completion, whose logits alone are made; None for all of it.
        generation: where completions are generated: "generate", by the model that trains; "colocated", by vLLM in
            the same process; "colocated-sleep", by one that sleeps while the model trains; "server", on other GPUs;
            "auto", as TRL does it: generate.
        vllm_gpu_memory_utilization: a colocated vLLM's share of the GPU.
        gpu_bytes: of the GPU, where it is known.
        companions: the models that `REPOS` name, read.
        is_critic: this is how the objective's value model trains, beside the policy.
    """

    objective: str = setting(
        "sft",
        several=True,
        choices=tuple(OBJECTIVES),
        help="What the step trains for: the model's own loss (sft), preferences, rewards, completions of its own, a"
        f" teacher's logits, embeddings. One of {', '.join(OBJECTIVES)}.",
        docs="`sft`: the model's own loss; preferences with a reference model: `dpo`, `rpo` (with SFT's loss beside"
        " it), `kto`; without: `orpo`, `cpo`, `simpo`; `reward`: a reward model; completions: `grpo`, `rloo`; a"
        " teacher's logits: `gkd`, `kd` with a Kullback-Leibler divergence, `distill` by tiles; texts: `embedding`"
        " ([as TRL and sentence-transformers have them](training.md#dpo-grpo-what-they-add))",
        metavar="NAME",
    )
    reference: str = setting(
        "auto",
        choices=REFERENCES,
        help="Reference model of --objective: a copy, the base under adapters, or its log-probabilities precomputed.",
        docs="where the objective's reference model is: a frozen `copy`; `adapters-off`: the base under the adapters;"
        " `precomputed`: its log-probabilities alone; `none`; `auto`: the base under adapters, else a copy",
    )

    reference_repo: str | None = setting(
        None,
        option="--reference-model",
        help="Repository of the reference model, or of the teacher, where that is another model.",
        docs="repository of the objective's reference model, or of the teacher of `gkd` and `kd`, where that is another"
        " model than the one that trains",
        metavar="ID",
    )

    reward_repo: str | None = setting(
        None,
        option="--reward-model",
        rare=True,
        help="Repository of PPO's reward and value model, where that is another model.",
        docs="repository that `ppo` has its reward model and its value model from, where that is another model's",
        metavar="ID",
    )

    @property
    def aim(self) -> Objective:
        """What is known of the objective, or of the model beside the policy that this is of."""
        found = objective_of(self.objective)
        return found.critic if self.is_critic and found.critic else found

    fp32_outputs: bool = setting(
        False,
        rare=True,
        help="Logits are cast to fp32, as accelerate does under bf16: true, though weights are bf16.",
        docs="an objective's logits are cast to fp32, as accelerate does under `bf16: true`, though weights are bf16",
    )
    whole_logits: bool = setting(
        False, option="", help="The trainer's own loss reads whole logits, whatever TRL's newest does."
    )
    texts: int = setting(
        2,
        rare=True,
        help="Texts of a row for --objective embedding: an anchor, its positive, negatives.",
        docs="texts of a row for `embedding`: an anchor, its positive, negatives",
        metavar="N",
        least=2,
        most=2**10,
    )
    mini_batch: int | None = setting(
        None,
        rare=True,
        help="Texts embedded at a time (GradCache, mini_batch_size) for --objective embedding. Default: the batch."
        " Of ppo, sequences scored at a time.",
        docs="texts embedded at a time for `embedding`: the cached loss's `mini_batch_size` (GradCache); the whole"
        " batch where left out; of `ppo` sequences that are scored at a time (`local_rollout_forward_batch_size`, 64)",
        metavar="N",
        least=1,
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
        VLLM_SHARE,
        rare=True,
        help="A colocated vLLM's share of the GPU. TRL's default: 0.3.",
        docs="a colocated vLLM's share of the GPU; TRL's default",
        metavar="SHARE",
        least=0.01,
        most=1,
    )
    gpu_bytes: int | None = None
    companions: tuple[Companion, ...] = ()
    is_critic: bool = False

    def companion(self, setting: str) -> Companion | None:
        """The model that a setting of `REPOS` names."""
        return next((each for each in self.companions if each.setting == setting), None)

    @property
    def generates(self) -> str:
        """Who generates: "none", "generate", "colocated", "colocated-sleep" or "server"."""
        if not self.aim.generates:
            return "none"
        return "generate" if self.generation == "auto" else self.generation

    def rows(self, batch: int) -> int:
        """Sequences of one forward pass, for a batch of so many examples."""
        if self.aim.headless:
            return min(batch, self.mini_batch) if self.mini_batch else batch * (self.texts - 1)
        return batch * self.aim.rows

    def on_gpu(self, capacity: int) -> Self:
        """The same on a GPU of known size, in bytes, where one of its parts takes a share of that."""
        return replace(self, gpu_bytes=capacity) if self.generates in COLOCATED else self

    def scored_share(self, context: int) -> float:
        """The share of the tokens whose logits are made."""
        return min(1.0, self.completion_tokens / context) if self.completion_tokens else 1.0

    def check_lengths(self, context: int) -> None:
        """Refuse completions that are longer than a prompt and its completion together.

        Raises:
            UsageError: they are.
        """
        if self.completion_tokens is not None and self.completion_tokens > context:
            raise UsageError(
                f"completions of {self.completion_tokens:,} tokens do not fit into {context:,}",
                "--context N is prompt and completion together.",
            )

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
        if self.vllm_gpu_memory_utilization != VLLM_SHARE and self.generates not in COLOCATED:
            raise UsageError(
                "a share of the GPU is what a vLLM on the same GPU takes",
                "Add --generation colocated or colocated-sleep.",
            )
        own = objective_of(self.objective)
        if not own.headless and (self.texts != 2 or (self.mini_batch is not None and own.critic is None)):
            raise UsageError("--texts and --mini-batch are of embedding models", "Add --objective embedding.")
        if self.reward_repo is not None and own.critic is None:
            raise UsageError(f"{self.objective} has no reward model on the GPU", "Add --objective ppo.")
        if self.objective == "sft" and self.fp32_outputs:
            raise UsageError("SFT's loss is computed before outputs are cast", "Leave out --fp32-outputs.")
        if self.objective == "sft":
            if self.reference != "auto":
                raise UsageError("a reference model is of an objective that has one", "Add --objective dpo.")
            if self.reference_repo is not None:
                raise UsageError("sft has no reference model", "Add --objective dpo, or gkd for a teacher.")
            return
        if not own.generates and (self.completion_tokens is not None or self.generation != "auto"):
            raise UsageError(f"{self.objective} generates no completions", "They are of --objective grpo, rloo or ppo.")
        if own.critic is not None and self.generation not in ("auto", "generate"):
            raise UsageError(f"{self.objective}'s policy generates by itself", "Leave out --generation.")
        place = own.reference(self.reference, adapters=adapters)
        if self.reference_repo is not None and place != "copy":
            raise UsageError(
                f"{self.objective} keeps no reference model of its own here ({place})",
                "--reference-model goes with --reference copy.",
            )
        if logits == "chunked" and (self.whole_logits or not self.aim.fused):
            raise UsageError(f"the loss of {self.objective} is over whole logits", "Leave out --logits chunked.")
        if logits in ("chunked-loss", "compiled-loss"):
            raise UsageError(f"--logits {logits} is known for sft alone", "Use --logits all or chunked.")
