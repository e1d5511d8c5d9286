"""SGLang's static share of a GPU where it is not given, by release, and what is in use before the weights are loaded.

sglang/srt/arg_groups/memory_hook.py: handle_gpu_memory_settings; before 0.5.19 server_args.py:
_handle_gpu_memory_settings, before 0.5.3 ServerArgs.__post_init__. Read in each minor release from 0.4.6 to 0.5.23.
"""

from __future__ import annotations

from dataclasses import dataclass

from inspector.engines.common.served import GIB, Gpu

Release = tuple[int, ...]

NEWEST: Release = (0, 5, 23)
MIB = 1024**2

BANDS: tuple[tuple[Release, tuple[tuple[int, int, int, int], ...]], ...] = (
    (
        (0, 5, 20),
        ((20, 2048, 8, 8), (35, 4096, 48, 160), (60, 4096, 32, 160), (160, 8192, 256, 512), (2**20, 16384, 512, 512)),
    ),
    (
        (0, 5, 4),
        ((20, 2048, 8, 8), (35, 2048, 24, 80), (60, 4096, 32, 160), (160, 8192, 256, 512), (2**20, 16384, 512, 512)),
    ),
    (
        (0, 5, 3),
        ((20, 2048, 8, 8), (35, 2048, 16, 80), (60, 4096, 32, 160), (160, 8192, 256, 512), (2**20, 16384, 512, 512)),
    ),
    ((0, 4, 7), ((35, 2048, 8, 80), (90, 8192, 160, 160), (160, 8192, 256, 256), (2**20, 16384, 512, 512))),
    ((0,), ((24, 2048, 8, 80), (2**20, 8192, 160, 160))),
)
"""Since which release -> (GiB below which, tokens of a prefill chunk, sequences of the largest graph below four ranks
of tensor parallelism, and from four on)."""

RESERVES = ((35, 2.8, 0.1), (90, 9.5, 0.5), (160, 12.0, 0.5), (2**20, 32.0, 0.0))
"""From 0.4.7 to 0.5.2: (GiB below which, GiB left free, and for each rank)."""

MAX_PREFILL_TOKENS = 16384
"""Tokens of a prefill batch without chunks (max_prefill_tokens)."""

CAPPED_SINCE = (0, 5, 22)
"""Graphs by default are of no more sequences than requests are let in at once."""

DRAFTS_RESERVED = (0, 5, 14)
"""Releases before it keep memory free for what drafts: of a model 6 GiB, of anything else 2."""

PREFILL_GRAPHS_SINCE = (0, 5, 10)
"""Prefills are captured in CUDA graphs by default."""

CONTEXT_BYTES = int(0.45 * GIB)
"""CUDA's context, before anything is loaded: of logs of one rank and of four without NVLink, 0.40 to 0.47 GiB."""

RANK_BYTES = int(1.25 * GIB), int(1.75 * GIB)
"""NCCL's and the custom all-reduce's buffers on ranks beside others, as "Init torch distributed ends. mem usage" prints
them: 1.25 GiB on H100s under 0.5.2, 1.24 to 2.01 since; 0.13 GiB where no GPU reaches another's memory (L4)."""


@dataclass(frozen=True, slots=True)
class FractionFacts:
    """What the static share depends on, of a model.

    Attributes:
        latent: its cache is of latents.
        multimodal: it takes images or audio, and these are not off by default.
        captured: a multimodal model whose prefill is captured in CUDA graphs all the same.
        eager: its prefill is never captured (delta attention beside latents).
        vision: layers and width of the vision encoder as SGLang sees them; None where its config has none.
    """

    latent: bool = False
    multimodal: bool = False
    captured: bool = False
    eager: bool = False
    vision: tuple[int, int] | None = None


USUAL = FractionFacts()
"""A text model that caches keys and values."""


@dataclass(frozen=True, slots=True)
class Batches:
    """The release, the degrees, and the sizes that were given; None takes the default.

    Attributes:
        attention_replicas: of --enable-dp-attention; 1 without it.
        drafts: MiB that older releases keep free for what drafts.
    """

    release: Release = NEWEST
    tp_size: int = 1
    pp_size: int = 1
    chunked_prefill_size: int | None = None
    cuda_graph_max_bs: int | None = None
    attention_replicas: int = 1
    max_running_requests: int | None = None
    graphs: bool = True
    drafts: int = 0


def serving_defaults(memory_mib: float, tp_size: int, release: Release = NEWEST) -> tuple[int, int]:
    """(chunked_prefill_size, cuda_graph_max_bs) by the memory that the driver reports."""
    bands = next(bands for since, bands in BANDS if release >= since)
    gib = memory_mib / 1024
    _, chunk, few, many = next((band for band in bands if gib < band[0]), bands[-1])
    return chunk, few if tp_size < 4 else many


def captured_prefills(most: int) -> int:
    """How many lengths of a prefill are captured, up to `most` tokens (generate_prefill_cuda_graph_batch_sizes)."""
    steps = ((4, 33, 4), (48, 257, 16), (288, 513, 32), (576, 1025, 64), (1280, 4097, 256), (4608, most + 1, 512))
    return sum(size <= most for first, last, step in steps for size in range(first, last, step))


def default_fraction(memory_mib: float, batches: Batches, facts: FractionFacts = USUAL) -> float:
    """mem_fraction_static.

    1 - reserve / memory, in MiB: 512 + 1.5 a token of a chunk + 128 a rank + 2 a sequence of the largest graph + 8 a
    captured length of a prefill (latents: 1,536 in all), and at least 10 GiB on GPUs above 60 GiB. Worked example: an
    H200, 143,771 MiB: 512 + 12,288 + 128 + 512 + 464 = 13,904: 0.903.
    """
    release = batches.release
    ranks = batches.tp_size * batches.pp_size
    if release < (0, 4, 7):
        return _oldest(memory_mib, ranks)
    if release < (0, 5, 3):
        _, base, each = next(row for row in RESERVES if memory_mib / 1024 < row[0])
        reserve = (base + each * ranks) * 1024
    else:
        chunk, batch = serving_defaults(memory_mib, batches.tp_size, release)
        chunk = batches.chunked_prefill_size or chunk
        chunk = MAX_PREFILL_TOKENS if chunk < 0 else chunk
        reserve = 512 + 1.5 * max(chunk, 2048) + 128 * ranks + _graphs(batches, facts, chunk, batch)
        if memory_mib > 60 * 1024:
            reserve = max(reserve, 10 * 1024)
        if release < DRAFTS_RESERVED:
            reserve += batches.drafts
    share = max(0.0, round((memory_mib - reserve) / memory_mib, 3))
    if not facts.multimodal:
        return share
    if release < (0, 4, 10):
        return share * 0.9
    return share if facts.vision is None else share * vision_factor(*facts.vision)


def _graphs(batches: Batches, facts: FractionFacts, chunk: int, batch: int) -> float:
    """MiB for CUDA graphs, and for what replicas of the attention pad (reserve_for_graph_mb).

    Args:
        batch: sequences of the largest graph by default: no more than requests are let in at once, since 0.5.22.
    """
    if batches.max_running_requests is not None and batches.release >= CAPPED_SINCE:
        batch = min(batch, batches.max_running_requests)
    most = batches.cuda_graph_max_bs or batch
    size = 2.0 * most if batches.graphs else 0.0
    if batches.attention_replicas > 1:
        size += (3 if most <= 300 else 4.5) * most * batches.attention_replicas
    captured = batches.graphs and (facts.captured or not (facts.multimodal or facts.eager))
    if batches.release >= PREFILL_GRAPHS_SINCE and batches.pp_size == 1 and captured:
        size += 1536 if facts.latent else 8 * captured_prefills(chunk)
    return size


def vision_factor(layers: int, width: int) -> float:
    """0.95 * (1 - 0.1 * (layers * width**2 / (24 * 1024**2) - 1)), the factor in brackets from 0.8 to 1.05
    (adjust_mem_fraction_for_vlm). Worked example: SigLIP's 27 layers of 1,152: 0.907."""
    size = layers * width**2 / (24 * 1024**2)
    return 0.95 * max(0.8, min(1.05, 1 - 0.1 * (size - 1)))


def _oldest(memory_mib: float, ranks: int) -> float:
    """Of releases before 0.4.7: 0.88, less over several ranks of GPUs up to 80 GiB, more on those above 96."""
    steps = ((16, 0.79), (8, 0.81), (4, 0.85), (2, 0.87)) if memory_mib <= 81920 else ()
    share = next((share for least, share in steps if ranks >= least), 0.88)
    if memory_mib > 96 * 1024:
        share = min(share + 48 * 1024 * (1 - share) / memory_mib, (memory_mib - 18 * 1024) / memory_mib)
    return share


def in_use(gpu: Gpu, ranks: int, release: Release = NEWEST) -> int:
    """Bytes that are in use before the weights are loaded.

    GPUs of more than 60 GiB but those of workstations (compute capability 12) are taken to reach each other's memory.
    Of memory shared with the CPU, SGLang counts what the system has available (get_available_gpu_memory).
    """
    near = gpu.memory > 60 * GIB and (gpu.compute_capability or (9, 0))[0] < 12
    return gpu.system_memory + CONTEXT_BYTES + (RANK_BYTES[release >= (0, 5, 3)] if ranks > 1 and near else 0)
