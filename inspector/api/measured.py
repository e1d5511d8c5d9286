"""`train --measure`: a step of the real class under fake tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from inspector.errors import UsageError
from inspector.hub import Checkpoint
from inspector.memory.estimate import Workload
from inspector.memory.training import Sharding, TrainingSetup
from inspector.memory.training.vision import images_of
from inspector.model import Model


def measured(
    checkpoint: Checkpoint, model: Model, workload: Workload, setup: TrainingSetup, sharding: Sharding
) -> Mapping[str, int]:
    """The peaks of a step of the model's class, run on one GPU.

    Raises:
        UsageError: several GPUs or offload were asked for, or torch or peft is not installed.
    """
    if sharding.cards > 1 or sharding.offload:
        raise UsageError("--measure runs one GPU", "Leave the parallel options out.")
    if setup.objective != "sft":
        raise UsageError("--measure runs the class's own loss", "Leave out --objective.")
    try:
        from inspector.measure.training import measure_training
    except ImportError as error:
        raise UsageError(f"--measure needs {error.name or 'torch'}", "pip install 'torch>=2.13' 'peft>=0.21'") from None
    images = images_of(model, setup, sharding, workload.context, workload.batch)
    if isinstance(images, str):
        raise UsageError(f"--measure: {images}", "Use --images 0 for text alone.")
    counted = (0, None) if images is None else (images.count, images.size)
    return measure_training(checkpoint.config, workload, replace(setup, images=counted[0], image_size=counted[1]))
