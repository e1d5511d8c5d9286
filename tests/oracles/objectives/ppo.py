"""TRL's PPOTrainer (experimental): its own `train`, two updates of it, whose generation is stood in for."""

from __future__ import annotations

import contextlib
import types
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from unittest import mock

import torch

from inspector.measure.gpu import DEVICE, pretend_training_gpu, trained_shapes
from inspector.measure.step import Step, build, make_optimizer, move_to_gpu
from tests.oracles.objectives import harness, reward
from tests.oracles.objectives.harness import Case, MaskedLog, prepared, trainer_of
from tests.oracles.objectives.orpo import measures
from tests.oracles.objectives.reward import takes

__all__ = ["cases", "measure", "measures", "takes"]


def measure(model_type: str, config: dict[str, Any], case: Case) -> dict[str, int]:
    """Peaks of the second update's rollout (without generation), passes and optimizer, and what lives between."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from trl.experimental.ppo import ppo_trainer

    step, single = case.step, replace(case.step, method="full", checkpointing="none")
    if step.method == "lora":
        single = replace(single, precision="bf16")
    policy = build(model_type, config, step)
    value, rewards = (reward.built(model_type, config, single) for _ in range(2))
    reference = build(model_type, config, single).eval() if case.copies else None
    memory = MaskedLog(trained_shapes(policy) | trained_shapes(value))
    with pretend_training_gpu(memory) as log:
        frozen = 0
        for each in (policy, value, rewards, reference):
            if each is not None:
                move_to_gpu(each)
                each.config.use_cache = False
        weights = sum(_bytes(each) for each in (policy, value))
        frozen = log.live - weights
        both = ppo_trainer.PolicyAndValueWrapper(policy, value)
        both = prepared(both.train(), case)
        for each in (rewards, reference):
            if each is not None:
                prepared(each.eval(), case)
        optimizer = make_optimizer(both, step)
        for parameter in both.parameters():
            if parameter.requires_grad:
                parameter.grad = torch.empty_like(parameter)
        optimizer.step()
        optimizer.zero_grad()
        between = log.live
        peaks = {"weights": weights, "frozen_models": frozen, "optimizer_states": between - weights - frozen}
        trainer = _trainer(ppo_trainer, both, reference, rewards, optimizer, case, log, peaks)
        patches = {
            "batch_generation": _generated(case, config),
            "unwrap_model_for_generation": lambda model, *_, **__: contextlib.nullcontext(model),
            "empty_cache": lambda: None,
            "masked_whiten": lambda values, _mask, **_: values.clone(),  # which would ask whether a mask is empty
        }
        with mock.patch.multiple(ppo_trainer, **patches), contextlib.suppress(_Done):
            ppo_trainer.PPOTrainer.train(trainer)
        peaks["peak"] = max(peaks[name] for name in ("scoring", "forward", "backward", "optimizer"))
        del trainer, optimizer, both
    return peaks


class _Done(Exception):
    """The second update is over."""


def _bytes(model: Any) -> int:
    seen = {id(each): each for each in (*model.parameters(), *model.buffers())}
    return sum(-(-each.numel() * each.element_size() // 512) * 512 for each in seen.values())


def _generated(case: Case, config: dict[str, Any]) -> Callable[..., Any]:
    """Sequences and the scores of their completions, as generation leaves them: fp32."""

    def made(*_: Any) -> Any:
        rows = case.step.batch * case.accumulated
        ids = torch.ones(rows, case.step.context, dtype=torch.long, device=DEVICE)
        return ids, torch.empty(rows, case.completion_tokens, config["vocab_size"], device=DEVICE)

    return made


def _trainer(
    module: Any, both: Any, reference: Any, rewards: Any, optimizer: Any, case: Case, log: Any, peaks: dict[str, int]
) -> Any:
    """A trainer of one mini-batch an update, that notes the peak of each phase of the second update."""
    batch, rows = case.step.batch, case.step.batch * case.accumulated
    seen: list[int] = []

    class Accelerator(harness.Accelerator):
        @contextlib.contextmanager
        def accumulate(self, _model: Any) -> Iterator[None]:
            note("scoring") if len(seen) % case.accumulated == 0 else note("optimizer")
            yield

        def backward(self, loss: Any) -> None:
            note("forward")
            (loss / case.accumulated).backward()
            note("backward")
            seen.append(1)

        def print(self, *_: Any) -> None:
            pass

    def note(phase: str) -> None:
        if len(seen) >= case.accumulated:  # the first update leaves its scores behind
            peaks[phase] = max(peaks.get(phase, 0), log.peak)
        log.reset_peak()

    class Optimizer:
        def step(self) -> None:
            if len(seen) % case.accumulated == 0:
                optimizer.step()
                note("optimizer")

        def zero_grad(self) -> None:
            if len(seen) % case.accumulated == 0:
                optimizer.zero_grad()
                log.reset_peak()

    def logged(_metrics: Any) -> None:
        if len(seen) >= 2 * case.accumulated:
            note("optimizer")
            raise _Done

    prompts = torch.ones(rows, case.step.context - case.completion_tokens, dtype=torch.long, device=DEVICE)
    arguments = {
        "response_length": case.completion_tokens,
        "temperature": 0.7,
        "num_ppo_epochs": 1,
        "num_mini_batches": 1,
        "gradient_accumulation_steps": case.accumulated,
        "per_device_train_batch_size": batch,
        "num_total_batches": 3,
        "total_episodes": 3 * rows,
        "batch_size": rows,
        "local_batch_size": rows,
        "local_mini_batch_size": rows,
        "local_rollout_forward_batch_size": case.mini_batch or 64,
        "logging_steps": 1,
        "eval_steps": None,
        "save_steps": None,
        "ds3_gather_for_generation": True,
        "missing_eos_penalty": None,
        "kl_estimator": "k1",
        "kl_coef": 0.05,
        "whiten_rewards": False,
        "gamma": 1.0,
        "lam": 0.95,
        "cliprange": 0.2,
        "cliprange_value": 0.2,
        "vf_coef": 0.1,
        "num_sample_generations": 0,
        "report_to": [],
    }
    handler = types.SimpleNamespace(on_train_begin=lambda *a: a[-1], on_step_end=lambda *a: a[-1])
    return trainer_of(
        module.PPOTrainer,
        accelerator=Accelerator(),
        args=types.SimpleNamespace(**arguments),
        model=both,
        ref_model=reference,
        reward_model=rewards,
        optimizer=Optimizer(),
        processing_class=types.SimpleNamespace(pad_token_id=0, eos_token_id=0),
        dataloader=[{"input_ids": prompts}],
        train_dataset_len=rows,
        state=types.SimpleNamespace(),
        control=types.SimpleNamespace(should_save=False),
        callback_handler=handler,
        is_deepspeed_enabled=False,
        lr_scheduler=types.SimpleNamespace(step=lambda: None, get_last_lr=lambda: [0.0]),
        stop_token_id=None,
        model_adapter_name=None,
        ref_adapter_name=None,
        is_peft_model=case.step.method == "lora",
        log=logged,
    )


def cases(step: Step) -> Iterator[Case]:
    """What is measured of one way to train: a policy under checkpointing, and a value model that keeps all."""
    if step.precision == "mixed" and step.method == "lora":
        return
    yield Case("ppo", step, completion_tokens=64)
    if step.checkpointing == "full":
        yield Case("ppo", step, completion_tokens=64, accumulated=2)
