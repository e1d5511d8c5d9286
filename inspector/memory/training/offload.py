"""What a process keeps off its GPU: in the host's memory, and on NVMe (ZeRO-Infinity, arXiv 2104.07857).

By DeepSpeed 0.19's source (runtime/zero/stage3.py, offload_config.py, swap_tensor/), not measured; its own estimators
count the same bytes a parameter and half as much again for buffers (additional_buffer_factor).
"""

from __future__ import annotations

from inspector.memory.estimate import Part
from inspector.memory.training.estimate import TrainingSetup
from inspector.memory.training.sharding import Sharding

DEEPSPEED = "DeepSpeed 0.19, runtime/zero and runtime/swap_tensor: by its source, not measured"
FSDP = "torch 2.13, CPUOffloadPolicy: by its source, not measured"

OPTIMIZER_BUFFERS = 4
"""Of offload_optimizer.buffer_count, each as large as the largest group of the optimizer, in fp32."""

PARAMETER_BUFFERS, PARAMETER_BUFFER = 5, 10**8
"""offload_param.buffer_count, and values of each (buffer_size)."""

IN_MEMORY = 10**9
"""Parameters that stay in memory all the same (offload_param.max_in_cpu)."""


def off_gpu(
    setup: TrainingSetup,
    sharding: Sharding,
    *,
    weights: int,
    gradients: int,
    states: int,
    trained: int,
    activations: int,
    paged: int,
) -> tuple[Part, ...]:
    """Parts "host_memory" and "disk" of one process; those that are nothing are left out.

    Args:
        weights: bytes of the GPU's share of the weights.
        gradients: bytes of its share of the gradients in their own precision.
        states: bytes of its share of the optimizer's states, with the fp32 copy of the weights.
        trained: parameters of that share.
        activations: bytes that blocks keep and that are offloaded.
        paged: bytes of paged states, which move between GPU and host.
    """
    memory: list[tuple[int, str]] = []
    disk: list[tuple[int, str]] = []
    if "optimizer" in sharding.away:
        # DeepSpeed's optimizer on the CPU takes fp32 gradients; torch's takes them as they are.
        left = 4 * trained if sharding.zero else gradients
        owned = [(states, "optimizer states"), (left, "gradients")]
        if sharding.zero:
            # stage_1_and_2.py: param_buffer_of_bit16_for_cpu_offload_groups; stage3.py: grad_partitions_flat_buffer.
            half = (2 if setup.compute != "fp32" else 4) * trained
            what = "gradients as they are computed" if sharding.zero == 3 else "weights as they are computed with"
            memory.append((half, what))
        if "optimizer" in sharding.nvme:
            largest = min(trained, sharding.sub_group_size)
            disk += owned
            memory.append((OPTIMIZER_BUFFERS * largest * 4, f"{OPTIMIZER_BUFFERS} buffers x {largest:,} x 4 B"))
        else:
            memory += owned
    if "params" in sharding.away:
        if "params" in sharding.nvme:
            size = 2 if setup.compute != "fp32" else 4
            stay = min(weights, IN_MEMORY * size)
            buffers = PARAMETER_BUFFERS * PARAMETER_BUFFER * size
            memory.append((buffers, f"{PARAMETER_BUFFERS} buffers x {PARAMETER_BUFFER:,} x {size} B"))
            memory.append((stay, f"the first {IN_MEMORY:,} parameters at most"))
            disk.append((weights - stay, "other parameters"))
        else:
            memory.append((weights, "parameters"))
    memory += [(activations, "activations"), (paged, "paged states (not pinned)")]
    source = DEEPSPEED if sharding.zero else FSDP
    return tuple(
        Part(
            name,
            sum(size for size, _ in owned),
            " + ".join(f"{text} {size:,} B" for size, text in owned if size),
            source,
        )
        for name, owned in (("host_memory", memory), ("disk", disk))
        if any(size for size, _ in owned)
    )
