"""What vLLM's profiling run finds: the peak of a dummy step, the memory outside torch, the CUDA graphs.

The peak is not one sum but the largest of three moments: while images are encoded, inside a layer at the largest
step, and in the sampler, which runs once over a full set of sequences and holds several copies of their logits.
"""

from __future__ import annotations

from typing import Literal

from inspector.engines.common.loaded_weights import ceil_div, mixture_workspace
from inspector.engines.common.served import GIB, ServedModel
from inspector.engines.vllm.version import VllmVersion

Sampler = Literal["sort", "triton", "flashinfer", "none"]

SORT_BYTES = 38
"""A logit's bytes at the peak of the sampler that sorts: 2 as computed, 4 as float32, 4 + 8 sorted with their indices,
and torch's buffers for the sort. The last are not in vLLM's source: 38.0 is what 9 logs of 5 vocabularies give
(0.6 to 0.16; 37.9 to 38.1)."""

CUBLAS_WORKSPACE = {"hopper": 32 * 1024**2, "other": 8_519_680}
"""torch's own workspace for products, in its allocator: 8 x 4 MiB from Hopper on, else 2 x 4 MiB + 8 x 16 KiB
(aten/src/ATen/cuda/CublasHandlePool.cpp: parseChosenWorkspaceSize)."""

LAYER_HIDDEN_COPIES = 3.75
"""Hidden states alive beside an MLP's own tensors, in copies of tokens * hidden_size. Fitted on the two logs where a
layer outweighs the sampler (CodeLlama 7B and Granite 3.1 8B, version 0.19: 3.67 to 3.80 fits both; either alone gives
it within 0.02)."""


def activation_shares(
    model: ServedModel,
    version: VllmVersion,
    *,
    tokens: int,
    sequences: int,
    sampler: Sampler,
    tensor_parallel: int = 1,
    compute_capability: tuple[int, int] | None = None,
    multiprocessors: int = 132,
    last_stage: bool = True,
    later_stage: bool = False,
) -> dict[str, int]:
    """Bytes of the profile's peak on one rank: what is kept, plus the larger of a layer's and the sampler's peak.

    vllm/v1/worker/gpu_model_runner.py: profile_run.

    Returns:
        What lives at the peak, by name: workspace, images, earlier_stage, mixture_workspace, and layer or sampler; or
        workspace, images and encoder.
    """
    hopper = compute_capability is None or compute_capability >= (9, 0)
    alive = {"workspace": CUBLAS_WORKSPACE["hopper" if hopper else "other"]}
    if model.vision is not None:
        alive["images"] = encoder_bytes(model, tokens, sequences)
    encoding = alive | {"encoder": encoder_peak_bytes(model, tokens, sequences, tensor_parallel)}
    if later_stage:  # the hidden states and the residual that come from the stage before
        alive["earlier_stage"] = 2 * tokens * model.hidden_size * model.element_bytes
    if model.mixture is not None and version.kept_workspaces and not model.padded_experts:
        alive["mixture_workspace"] = mixture_workspace(
            model.mixture, model.hidden_size, tokens, tensor_parallel, model.element_bytes
        )
    layer, sampled = layer_peak_bytes(model, tokens=tokens, tensor_parallel=tensor_parallel), 0
    if last_stage and sampler != "none":
        sampled = sampler_peak_bytes(
            model, tokens=tokens, sequences=sequences, sampler=sampler, multiprocessors=multiprocessors
        )
    alive["sampler" if sampled > layer else "layer"] = max(layer, sampled)
    return encoding if sum(encoding.values()) > sum(alive.values()) else alive


def sampler_peak_bytes(
    model: ServedModel, *, tokens: int, sequences: int, sampler: Sampler, multiprocessors: int = 132
) -> int:
    """sequences * V * c + tokens * h * e + 2 * sequences * h * e, where c bytes a logit are alive at once.

    vllm/v1/sample/sampler.py and ops/topk_topp_sampler.py. c = 14: logits as computed (2), as float32 (4), their
    probabilities (4), and random numbers beside them (4); FlashInfer's masked logits in their place. The Triton kernel
    keeps a float32 row of the vocabulary a multiprocessor besides. A float32 model's logits are not cast, yet a copy
    of them was there in the one log seen: 16.
    """
    buffer = 4 * model.vocab_size * buffer_rows(sampler, sequences, multiprocessors)
    hidden = (min(sequences, tokens) * 2 + tokens) * model.hidden_size * model.element_bytes
    return min(sequences, tokens) * model.vocab_size * logit_bytes(model, sampler) + buffer + hidden


def logit_bytes(model: ServedModel, sampler: Sampler) -> int:
    """Bytes of one logit's copies, all told."""
    element = model.element_bytes
    return SORT_BYTES if sampler == "sort" else 4 * (4 if element == 4 else 3) + (0 if element == 4 else element)


def buffer_rows(sampler: Sampler, sequences: int, multiprocessors: int = 132) -> int:
    """Float32 rows of the vocabulary that the Triton kernel keeps beside the logits; other samplers keep none."""
    if sampler != "triton":
        return 0
    programs = min(multiprocessors, sequences)
    return min(1 << (programs - 1).bit_length(), multiprocessors)


def layer_peak_bytes(model: ServedModel, *, tokens: int, tensor_parallel: int = 1) -> int:
    """tokens * (3f + 3.75h) * e for a gated MLP of inner width f on a rank: gate and up side by side, their product.

    A plain MLP holds 2f. Where the recipe quantizes activations, a byte a value of the product besides.
    """
    inner = ceil_div(model.intermediate_size or 0, tensor_parallel)
    widths = (3 if model.mlp_gated else 2) * inner * model.element_bytes + (inner if model.int8_activations else 0)
    return tokens * (widths + int(LAYER_HIDDEN_COPIES * model.hidden_size * model.element_bytes))


def encoder_items(model: ServedModel, tokens: int, sequences: int = 1024) -> int:
    """Items that the profile encodes at once: as many as the step's tokens hold, and the sequences may have; at least
    one (vllm/multimodal/encoder_budget.py: MultiModalBudget._get_max_items)."""
    vision = model.vision
    if vision is None or vision.per_prompt < 1:
        return 0
    return max(1, min(max(tokens, vision.tokens) // vision.tokens, sequences * vision.per_prompt))


def encoder_bytes(model: ServedModel, tokens: int, sequences: int = 1024) -> int:
    """Bytes of the images that the profile encodes first and keeps: their pixels and their tokens."""
    vision = model.vision
    if vision is None:
        return 0
    each = 3 * vision.pixels + vision.tokens * model.hidden_size
    return encoder_items(model, tokens, sequences) * each * model.element_bytes


def encoder_peak_bytes(model: ServedModel, tokens: int, sequences: int, tensor_parallel: int = 1) -> int:
    """Bytes of the encoder's largest block on a rank: items * patches * (whole + divided / ranks) * e.

    0 where the encoder's widths are not known. Not measured: the blocks of vision_items were read in vLLM's classes.
    """
    vision = model.vision
    if vision is None or not vision.blocks:
        return 0
    width = max(whole + ceil_div(divided, tensor_parallel) for whole, divided in vision.blocks)
    return encoder_items(model, tokens, sequences) * vision.patches * width * model.element_bytes


NON_TORCH_GIB: dict[tuple[str, int], float] = {
    ("v0", 1): 0.05,
    ("0.17", 1): 0.13,
    ("0.17", 2): 0.54,
    ("0.18", 1): 0.25,
    ("0.18", 2): 2.09,
    ("0.18", 4): 2.21,
}
"""GiB outside torch's allocator, by version class and ranks: CUDA context, kernels, libraries, NCCL. Medians over the
groups of benchmarks/fitted.json: V0 5 groups on 5 GPUs (0.01 to 0.16); to 0.17 5 groups at one rank (0.13 to 0.14), 1
at two; from 0.18 22 groups at one rank (0.24 to 0.26, and Granite twice 0.46), 5 at two (2.07 to 2.10), 1 at four, all
V1 on H100. Other counts of ranks take the next lower one."""

WITHOUT_FABRIC = ((7, 5), (8, 6), (8, 7), (8, 9), (12, 0), (12, 1))
"""Compute capabilities of GPUs without the data centers' NVLink, whose ranks keep nothing of what that needs (NCCL's
NVLS, symmetric memory, FlashInfer's fused all-reduce): the "0.18" rows for several ranks are H100's. On these the row
before has been seen: 0.21 on 8 L40S (0.10), 0.1 to 0.8 on 2 RTX 5090 and 2 RTX 3090 (0.27, 0.28:
https://github.com/vllm-project/recipes/pull/810, https://github.com/noonghunna/club-3090/issues/1087)."""


NON_TORCH_RANGE_GIB: dict[tuple[str, int], tuple[float, float]] = {
    ("v0", 1): (0.01, 0.16),
    ("0.17", 1): (0.13, 0.14),
    ("0.18", 1): (0.24, 0.46),
    ("0.18", 2): (2.07, 2.10),
}
"""The least and the most of the same groups, where there was more than one."""


def non_torch_range(
    version: VllmVersion, tensor_parallel: int, compute_capability: tuple[int, int] | None = None
) -> tuple[int, int] | None:
    """(least, most) bytes seen outside torch on one of so many ranks; None where one log at most shows it."""
    seen = NON_TORCH_RANGE_GIB.get((_row(version, tensor_parallel, compute_capability), tensor_parallel))
    return None if seen is None else (int(GIB * seen[0]), int(GIB * seen[1]))


def version_class(version: VllmVersion) -> str:
    """The row of `NON_TORCH_GIB` that a version belongs to."""
    if not version.v1:
        return "v0"
    return "0.17" if version.release < (0, 18) else "0.18"


def _row(version: VllmVersion, ranks: int, compute_capability: tuple[int, int] | None) -> str:
    """The row of the table for so many ranks of a GPU."""
    row = version_class(version)
    return "0.17" if row == "0.18" and ranks > 1 and compute_capability in WITHOUT_FABRIC else row


def non_torch_bytes(
    version: VllmVersion,
    tensor_parallel: int,
    table: dict[tuple[str, int], float] | None = None,
    compute_capability: tuple[int, int] | None = None,
) -> int:
    """Bytes outside torch on one rank, from the table."""
    rows = NON_TORCH_GIB if table is None else table
    row = _row(version, tensor_parallel, compute_capability)
    ranks = max((ranks for name, ranks in rows if name == row and ranks <= tensor_parallel), default=0)
    return int(GIB * rows.get((row, ranks), NON_TORCH_GIB[row, 1]))


GRAPH_GIB_BASE, GRAPH_GIB_A_LAYER = 0.28, 0.016875
"""GiB of the CUDA graphs' estimate, and more for each layer. Fitted by least absolute deviation on what version 0.19
printed for 27 groups on H100 (0.5 to 1.8; benchmarks/fitted.json): median error 0.12, one in ten above 0.6, for the
estimate is the difference of two readings of free memory (Granite 2B: 1.6 estimated, 0.84 taken)."""


GRAPH_SPREAD = int(0.6 * GIB)
"""One estimate in ten was further off."""


LARGEST_GRAPH = 512
"""Tokens of the largest graph (vllm/config/vllm.py: _set_cudagraph_sizes)."""

FITTED_GRAPHS = 102
"""Of the logs that the estimate is fitted on: 51 sizes, each captured in pieces and whole."""


def captured_graphs(tokens: int, sequences: int, drafted: int = 0) -> int:
    """Graphs that are captured: in pieces for all sizes up to twice the widest decoding step, whole for those that a
    decoding step can have.

    Worked example: 64 sequences: sizes up to 128, of which those up to 64 also whole: 19 and 11 (a log shows 18 and 10:
    https://github.com/vllm-project/vllm/issues/41789).
    """
    widest = sequences * (1 + drafted)
    sizes = (1, 2, 4, *range(8, 256, 8), *range(256, LARGEST_GRAPH + 1, 16))
    most = min(2 * widest, tokens)
    return sum((size <= most) + (size <= min(most, widest)) for size in sizes)


def graph_bytes(
    layers: int,
    graphs: int = FITTED_GRAPHS,
    *,
    base: float = GRAPH_GIB_BASE,
    a_layer: float = GRAPH_GIB_A_LAYER,
) -> int:
    """Bytes that vLLM estimates for so many CUDA graphs: it measures two of each kind and counts the others alike
    (v1/worker/gpu_model_runner.py: profile_cudagraph_memory)."""
    return int(GIB * (base + a_layer * layers) * graphs / FITTED_GRAPHS)
