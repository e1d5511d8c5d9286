"""TRL's GRPOTrainer: the passes that score a batch of completions, then its own `_compute_loss`."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import torch

from inspector.measure.gpu import DEVICE
from inspector.measure.step import Step
from tests.oracles.objectives.harness import Case, tokens, trainer_of

HEAD = {"temperature": 1.0, "outputs": ("log_probs", "entropy")}
ROWS = 1


def loss_of(model: Any, reference: Any, case: Case) -> Callable[[], Any]:
    from trl.trainer.grpo_trainer import GRPOTrainer

    trainer = trainer_of(GRPOTrainer, model=model, ref_model=reference, **settings(case))
    completions, scored = completed(case)
    inputs = completions | {"num_items_in_batch": torch.ones((), device=DEVICE)}

    def computed() -> Any:
        own = dict(inputs)
        if case.reference != "none":
            with torch.no_grad(), model.disable_adapter() if reference is None else nullcontext():
                frozen = model if reference is None else reference
                own["ref_per_token_logps"] = trainer._get_per_token_logps_and_entropies(frozen, *scored)[0]
        return trainer._compute_loss(model, own)

    return computed


def completed(case: Case) -> tuple[dict[str, Any], tuple[Any, ...]]:
    """A batch of completions as GRPO's and RLOO's losses take it, and what their scoring takes of it."""
    ids, mask = (tokens(case.step.batch, case.step.context)[name] for name in ("input_ids", "attention_mask"))
    prompt = case.step.context - case.completion_tokens
    inputs = {
        "prompt_ids": ids[:, :prompt],
        "prompt_mask": mask[:, :prompt],
        "completion_ids": ids[:, prompt:],
        "completion_mask": mask[:, prompt:],
        "advantages": torch.ones(case.step.batch, device=DEVICE),
    }
    return inputs, (ids, mask, case.completion_tokens, case.step.batch)


def settings(case: Case) -> dict[str, Any]:
    """What GRPO's and RLOO's losses read of a trainer."""
    arguments = {"gradient_checkpointing_kwargs": None, "report_to": [], "delta": None, "steps_per_generation": 1}
    return {
        "args": types.SimpleNamespace(**arguments, use_bias_correction_kl=False),
        "state": types.SimpleNamespace(global_step=0),
        "model_kwarg_keys": ("logits_to_keep",),
        "temperature": 1.0,
        "_entropy_bonus_enabled": False,
        "top_entropy_quantile": 1.0,
        "off_policy_mask_threshold": None,
        "importance_sampling_level": "token",
        "beta": 0.0 if case.reference == "none" else 0.1,
        "loss_type": "dapo",
        "epsilon_low": 0.2,
        "epsilon_high": 0.2,
        "use_vllm": False,
        "current_gradient_accumulation_steps": 1,
        "max_completion_length": case.completion_tokens,
    }


def cases(step: Step) -> Iterator[Case]:
    """What is measured of one way to train."""
    completion = step.context // 2
    adapters = step.method == "lora"
    if step.checkpointing == "full" or adapters:
        yield Case("grpo", step, reference="none", completion_tokens=completion)
    if step.checkpointing == "full" and (adapters or step.precision == "bf16"):
        place = "adapters-off" if adapters else "copy"
        yield Case("grpo", step, reference=place, completion_tokens=completion)
    if step.method == "full" and step.precision == "bf16":
        yield Case("grpo", step, reference="none", fp32_outputs=True, completion_tokens=completion)
