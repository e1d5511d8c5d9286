"""How an objective's completions are made, and what that takes of the GPU that trains.

- generate: by the model that trains; the KV cache of all sequences of an optimizer step at once.
- colocated: vLLM in the same process, with `vllm_gpu_memory_utilization` of the GPU for itself, all the time.
- colocated-sleep: the same, asleep while the model trains (level 2: weights and cache are let go of).
- server: vLLM on other GPUs: nothing here.

TRL 1.12 and 1.16: trainer/grpo_trainer.py, _generate_single_turn; generation/vllm_generation.py.
"""

from __future__ import annotations

from dataclasses import replace

from inspector.errors import UsageError
from inspector.memory.estimate import Part, Workload
from inspector.memory.inference.total import estimate
from inspector.memory.training.estimate import TrainingSetup
from inspector.memory.training.objectives.settings import COLOCATED
from inspector.memory.training.phases import Moment
from inspector.memory.training.sharding import Sharding
from inspector.model.model import Model

GIB = 2**30
SOURCE = "TRL, generation/vllm_generation.py: from source, not measured"


def engine(model: Model, workload: Workload, setup: TrainingSetup, sharding: Sharding) -> Part | None:
    """vLLM's own share of the GPU; where the GPU is not known, the least that it runs in. None for no vLLM here.

    Raises:
        UsageError: the share does not hold its weights and one sequence's cache: vLLM would not start.
    """
    if setup.generates not in COLOCATED:
        return None
    if setup.gpu_bytes is not None:
        share = setup.vllm_gpu_memory_utilization
        one = estimate(model, Workload(workload.context, 1, dtype="bf16"))
        starts = (one.weights.bytes or 0) + (one.kv_cache.bytes or 0)
        if share * setup.gpu_bytes < starts:
            raise UsageError(
                f"vLLM does not start in {share:g} of the GPU's {setup.gpu_bytes / GIB:.2f} GiB: its weights and a"
                f" sequence's cache take {starts / GIB:.2f} GiB",
                "Take a larger --vllm-gpu-memory-utilization, or --generation server; a vLLM over several GPUs is not"
                " modelled.",
            )
        formula = f"{share:g} of the GPU's {setup.gpu_bytes:,} B (vllm_gpu_memory_utilization)"
        return Part("inference_engine", int(share * setup.gpu_bytes), formula, SOURCE)
    inference = estimate(model, _sequences(workload, setup, sharding))
    sizes = [part.bytes for part in (inference.weights, inference.kv_cache, inference.activations)]
    least = None if None in sizes else sum(size or 0 for size in sizes)
    formula = "no GPU is named: the least, vLLM's weights and the KV cache of what is generated at once"
    return Part("inference_engine", least, formula, SOURCE)


def generating(model: Model, workload: Workload, setup: TrainingSetup, sharding: Sharding) -> list[Moment]:
    """The moment when most is taken for generation beside what lives all the time, where that is something."""
    if setup.generates == "colocated-sleep":
        asleep = engine(model, workload, setup, sharding)
        return [Moment("generation", 0, 0, 0, (asleep.bytes if asleep else 0) or 0)]
    if setup.generates != "generate":
        return []
    made = _sequences(workload, setup, sharding)
    inference = estimate(model, made)
    if setup.completion_tokens and setup.completion_tokens < made.context:  # only the prompts are one forward pass
        prompts = estimate(model, replace(made, context=made.context - setup.completion_tokens))
        inference = replace(inference, activations=prompts.activations)
    return [Moment("generation", 0, 0, 0, (inference.kv_cache.bytes or 0) + (inference.activations.bytes or 0))]


def generation_text(workload: Workload, setup: TrainingSetup, sharding: Sharding) -> str:
    """What the generation's moment is, in words."""
    if setup.generates == "colocated-sleep":
        return "vLLM, awake"
    made = _sequences(workload, setup, sharding)
    return f"KV cache and activations of {made.batch:,} sequences of {made.context:,} tokens at once"


def _sequences(workload: Workload, setup: TrainingSetup, sharding: Sharding) -> Workload:
    """What is generated at once on one GPU: an optimizer step's sequences (steps_per_generation)."""
    dtype = "fp32" if setup.compute == "fp32" and setup.generates == "generate" else "bf16"
    return Workload(workload.context, workload.batch * max(1, sharding.grad_accum), dtype=dtype)
