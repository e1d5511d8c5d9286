"""What the reader of a training estimate should know: what was not measured, and what is taken for granted."""

from __future__ import annotations

from inspector.memory.training.estimate import TrainingSetup
from inspector.memory.training.optimizers import LOW_RANK
from inspector.memory.training.sharding import Sharding
from inspector.model.model import Model


def notes(model: Model, setup: TrainingSetup, sharding: Sharding, paged: int) -> tuple[str, ...]:
    """One sentence each."""
    found = []
    if setup.attention == "flash":
        found.append("flash: not measured; taken to keep what torch's own flash kernel keeps")
    if setup.optimizer in LOW_RANK or "8bit" in setup.optimizer or "lion" in setup.optimizer:
        found.append(f"{setup.optimizer}: the states follow the library's source, and were not measured")
    if paged:
        found.append(
            f"{paged / 2**30:.2f} GiB of optimizer states are paged: they move between card and CPU as needed, and are"
            " not in the peak"
        )
    if setup.precision == "bf16-master":
        found.append(
            "bf16-master: as DeepSpeed keeps them (2 B weights, 2 B gradients, fp32 copy and states); estimated"
        )
    if model.architecture.quantization is not None:
        found.append(f"a {model.architecture.quantization.method} checkpoint is taken as unpacked before it is trained")
    if setup.method == "qlora" and model.architecture.experts is not None:
        found.append(
            "transformers 5 stacks a mixture's experts in one parameter, which bitsandbytes does not quantize: they"
            f" stay at {setup.frozen_bytes} B a value"
        )
    if model.architecture.vision or model.architecture.audio:
        found.append("only text passes: images or sound would keep more")
    if setup.logits == "chunked":
        found.append("chunked logits follow Liger's fused linear cross entropy by its source, and were not measured")
    if setup.adapters and setup.lora_targets != "all-linear":
        found.append(
            "targets of adapters: what other linear layers would keep is taken off; within the block an estimate"
        )
    if setup.adapters and model.architecture.experts is not None and setup.lora_targets != "all-linear":
        found.append("names do not reach stacked experts, which are no modules of their own")
    if setup.optimizer_in_backward:
        found.append("the optimizer in the backward pass is not measured: no gradient outlives its block")
    if setup.method == "frozen-except":
        found.append(
            "blocks in which only some parameters train are taken to keep what wholly trained ones keep: a bound"
        )
    if sharding.cards > 1 or sharding.offload:
        found.append(
            f"{sharding.words()}: an estimate for the fullest card, from papers and sources, not measured"
            + ("; adapters and states are divided like the weights" if setup.adapters else "")
        )
    return tuple(found)
