"""`--measure`: one training step of the real transformers class under fake tensors, and the peaks that it has."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from inspector.errors import InspectError, UsageError
from inspector.measure.step import CLASSIFIERS, Step, measure
from inspector.memory import Workload
from inspector.memory.training import TrainingSetup

MEASURED_OPTIMIZERS = ("adamw", "sgd", "sgd-momentum", "adafactor", "adafactor-torch", "muon")

LEFT_OUT = frozenset({"auto_map", "architectures", "quantization_config", "torch_dtype", "dtype", "_name_or_path"})
"""Keys of config.json that do not belong to the class's arithmetic; `auto_map` names code, which is never run."""


def measure_training(config: Mapping[str, Any], workload: Workload, setup: TrainingSetup) -> dict[str, int]:
    """Bytes in the allocator's blocks: weights, optimizer_states, gradients, and the peaks of forward, backward,
    optimizer and the step; and "reserved", what torch's allocator holds after two steps.

    Raises:
        UsageError: the setup is not one that can be run here.
        InspectError: the class could not be built or run, with the reason.
    """
    step = _step(workload, setup)
    step = replace(step, head=next((end for end in CLASSIFIERS if _class_name(config).endswith(end)), ""))
    model_type = config.get("model_type")
    if not isinstance(model_type, str):
        raise InspectError("config.json names no model_type, so there is no class to measure")
    name = _class_name(config)
    sizes = {key: value for key, value in config.items() if key not in LEFT_OUT and key != "model_type"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return measure(
                model_type, sizes, step, encoder=name.endswith(("ForMaskedLM", "ForPreTraining")), whole=True
            )
        except InspectError:
            raise
        except ModuleNotFoundError as error:
            raise UsageError(f"--measure needs {error.name} for this", f"pip install {error.name}") from None
        except Exception as error:
            reason = " ".join(str(error).split())[:200]
            raise InspectError(
                f"the step of {model_type} could not be measured: {type(error).__name__}: {reason}"
            ) from error


def _class_name(config: Mapping[str, Any]) -> str:
    named = config.get("architectures")
    return str(named[0]) if isinstance(named, list) and named else ""


def _step(workload: Workload, setup: TrainingSetup) -> Step:
    if setup.optimizer not in MEASURED_OPTIMIZERS:
        raise UsageError(
            f"--measure does not step {setup.optimizer}, which has no CPU twin",
            f"It steps {', '.join(MEASURED_OPTIMIZERS)}.",
        )
    if setup.optimizer_in_backward and setup.optimizer not in ("adamw", "sgd", "sgd-momentum"):
        raise UsageError(
            f"--measure steps {setup.optimizer} after the backward pass", "Leave out --optimizer-in-backward."
        )
    if setup.compiled:
        raise UsageError("--measure runs the blocks as they are", "Leave out --compile.")
    if setup.fp8 != "none":
        raise UsageError("--measure runs the class's own linear layers", "Leave out --fp8.")
    if setup.checkpointing == "attention":
        raise UsageError("--measure checkpoints whole blocks", "Use --checkpointing full, selective or selective-op.")
    if setup.old_bitsandbytes or not setup.double_quant:
        raise UsageError(
            "--measure runs the bitsandbytes that is installed, with double quantization",
            "Leave out --old-bitsandbytes and --no-double-quant.",
        )
    fused = setup.logits == "chunked" and setup.logits_chunk is None and setup.kernels == "liger"
    if setup.logits != "all" and not fused:
        raise UsageError("--measure runs the class's own loss, and Liger's with --kernels liger", "Leave out --logits.")
    if setup.precision == "bf16-master":
        raise UsageError("--measure has no masters beside bf16 weights", "Use --precision bf16 or mixed.")
    return Step(
        precision=setup.precision,
        method=setup.method,
        attention="sdpa" if setup.attention == "flash" else setup.attention,
        checkpointing=setup.checkpointing,
        optimizer=setup.optimizer,
        optimizer_impl=setup.variant,
        lora_rank=setup.lora_rank,
        lora_targets=setup.lora_targets,
        adapter_dtype=setup.adapter_dtype,
        dora=setup.dora,
        modules_to_save=setup.modules_to_save,
        trained=setup.trained,
        checkpoint_every=setup.checkpoint_every,
        lora_dropout=setup.lora_dropout,
        kbit_upcast=setup.kbit_upcast,
        base=setup.base,
        reentrant=setup.reentrant,
        optimizer_in_backward=setup.optimizer_in_backward,
        batch=workload.batch,
        context=workload.context,
        images=setup.images or 0,
        image_size=setup.image_size,
        vision=setup.vision_part,
        kernels=setup.kernels,
        fused_loss=fused,
    )
