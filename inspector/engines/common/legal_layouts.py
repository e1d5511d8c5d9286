"""Which degrees of tensor, pipeline and expert parallelism an engine accepts, and what an illegal one runs into.

Read in vLLM 0.10 to 0.33 and SGLang 0.5.23. Every rule is one that stops the start, named with its class; what a
kernel merely pads or falls back from is legal. Not checked, for no rule was found: GGUF's rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from inspector.engines.common.loaded_weights import check_degrees, round_up
from inspector.engines.common.served import ServedModel, is_packed
from inspector.errors import UsageError
from inspector.model.layers.layer import Layer
from inspector.model.packing.registry import facts_of

VOCABULARY_MULTIPLE = 64
MARLIN_N, MARLIN_K = 64, 128
"""What Marlin's kernels divided outputs and inputs into before it padded (GPTQ_MARLIN_MIN_THREAD_N and _K)."""

MOST = 64
"""Degrees that a hint tries."""


@dataclass(frozen=True, slots=True)
class LayoutRules:
    """What an engine's release checks of the degrees, where engines differ.

    Attributes:
        engine: its name, for the refusal.
        experts_option: its own option for expert parallelism.
        divides_vocabulary: the padded vocabulary has to divide; else it is padded further.
        divides_experts: the experts have to divide over the ranks that they are dealt out to.
        pads_for_marlin: widths that Marlin's kernels do not take are padded.
        packed_on_one_rank: prequantized bitsandbytes is loaded without tensor parallelism alone.
    """

    engine: str
    experts_option: str
    divides_vocabulary: bool = False
    divides_experts: bool = False
    pads_for_marlin: bool = False
    packed_on_one_rank: bool = False


def check_layout(
    model: ServedModel,
    rules: LayoutRules,
    *,
    tensor_parallel: int,
    pipeline_parallel: int = 1,
    data_parallel: int = 1,
    whole_experts: bool = False,
) -> None:
    """Refuse degrees that the engine refuses, in its words, with those that it would take.

    Args:
        whole_experts: expert parallelism (vLLM's --enable-expert-parallel, SGLang's --ep-size).

    Raises:
        UsageError: the first rule that is broken.
    """
    check_degrees(model, tensor_parallel=tensor_parallel, pipeline_parallel=pipeline_parallel)
    if data_parallel < 1:
        raise UsageError("the degree of data parallelism must be at least 1")
    broken = next(_broken(model, rules, tensor_parallel, data_parallel, whole_experts), None)
    if broken is None:
        return
    hints, ranks = [], tensor_parallel * data_parallel
    dealt = model.mixture is not None and not whole_experts and ranks > 1
    if dealt and next(_broken(model, rules, tensor_parallel, data_parallel, True), None) is None:
        hints.append(f"--ep {ranks} ({rules.experts_option}) leaves the experts whole, which is legal.")
    degrees = legal_degrees(model, rules, whole_experts=whole_experts)
    if degrees:
        listed = ", ".join(map(str, degrees))
        hints.append(f"Degrees of tensor parallelism that it takes{_with(whole_experts)}: {listed}.")
    raise UsageError(f"{rules.engine} refuses tensor parallel {tensor_parallel}: {broken}", " ".join(hints))


def legal_degrees(model: ServedModel, rules: LayoutRules, *, whole_experts: bool = False) -> tuple[int, ...]:
    """The degrees of tensor parallelism up to `MOST` that the engine takes, without pipeline and replicas."""
    found = []
    for degree in range(1, MOST + 1):
        try:
            check_degrees(model, tensor_parallel=degree, pipeline_parallel=1)
        except UsageError:
            continue
        if next(_broken(model, rules, degree, 1, whole_experts), None) is None:
            found.append(degree)
    return tuple(found)


def _with(whole_experts: bool) -> str:
    return " with whole experts" if whole_experts else ""


def _broken(
    model: ServedModel, rules: LayoutRules, tensor_parallel: int, data_parallel: int, whole_experts: bool
) -> Iterator[str]:
    """What the engine would say, rule after rule."""
    yield from _vocabulary(model, rules, tensor_parallel)
    yield from _widths(model, tensor_parallel, data_parallel, whole_experts)
    yield from _experts(model, rules, tensor_parallel * data_parallel, whole_experts)
    packing = model.packing
    if packing is None:
        return
    facts = facts_of(packing.method)
    if facts.one_rank_only and tensor_parallel > 1 and rules.packed_on_one_rank:
        yield "Prequant BitsAndBytes models with tensor parallelism is not supported"
    if packing.block is not None:
        yield from _blocks(model, packing.block, tensor_parallel, data_parallel, whole_experts)
    elif facts.grouped:
        yield from _groups(model, rules, tensor_parallel, data_parallel, whole_experts)


def _vocabulary(model: ServedModel, rules: LayoutRules, tensor_parallel: int) -> Iterator[str]:
    """VocabParallelEmbedding pads the rows to 64 and divides them; SGLang pads to more where that does not suffice."""
    padded = round_up(max(1, model.vocab_size), VOCABULARY_MULTIPLE)
    if rules.divides_vocabulary and padded % tensor_parallel:
        yield f"{padded} rows of the padded vocabulary are not divisible by {tensor_parallel}"


def _widths(model: ServedModel, tensor_parallel: int, data_parallel: int, whole_experts: bool) -> Iterator[str]:
    """MergedColumnParallelLinear divides gate and up, FusedMoE the experts' width, over the ranks."""
    if model.intermediate_size is not None and model.intermediate_size % tensor_parallel:
        name = "the shared experts' width" if model.mixture else "intermediate_size"
        yield f"{name} {model.intermediate_size} is not divisible by {tensor_parallel}"
    ranks = tensor_parallel * data_parallel
    if model.mixture is not None and not whole_experts and model.mixture.intermediate_size % ranks:
        yield f"the experts' intermediate_size {model.mixture.intermediate_size} is not divisible by {ranks}"


def _experts(model: ServedModel, rules: LayoutRules, ranks: int, whole_experts: bool) -> Iterator[str]:
    """vLLM deals experts out unevenly where they don't divide (determine_expert_map, in all versions read), unless it
    balances them (EPLB); SGLang's FusedMoE asserts that they divide. Neither has redundant experts here."""
    if not whole_experts or model.mixture is None:
        return
    if rules.divides_experts and model.mixture.total % ranks:
        yield f"{model.mixture.total} experts are not divisible by {ranks} ranks"
    if ranks > model.mixture.total:
        yield f"{model.mixture.total} experts cannot be dealt out to {ranks} ranks"


def _inputs(model: ServedModel, tensor_parallel: int) -> Iterator[tuple[str, int]]:
    """The input widths that a rank of the row-parallel layers has: of the output and of the down projection."""
    packing, rows = model.packing, _rows(model)
    width = rows.output_width if rows is not None else None
    if width and model.num_attention_heads and (packing is None or is_packed(packing, "o_proj")):
        yield "o_proj", model.num_attention_heads * width // tensor_parallel
    if model.intermediate_size is not None and (packing is None or is_packed(packing, "down_proj")):
        yield "down_proj", model.intermediate_size // tensor_parallel


def _outputs(model: ServedModel, tensor_parallel: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """The output widths that a rank of the column-parallel layers has, those of merged layers side by side."""
    packing, rows, heads = model.packing, _rows(model), model.num_attention_heads
    if rows is not None and heads and (packing is None or is_packed(packing, "q_proj")):
        yield from rows.projections(heads // tensor_parallel, tensor_parallel).items()
    if model.intermediate_size is not None and (packing is None or is_packed(packing, "gate_proj")):
        inner = model.intermediate_size // tensor_parallel
        yield "gate_up_proj", (inner, inner) if model.mlp_gated else (inner,)


def _rows(model: ServedModel) -> Layer | None:
    return next((layer.rows for layer in model.layers if layer.rows is not None), None)


def _blocks(
    model: ServedModel, block: tuple[int, int], tensor_parallel: int, data_parallel: int, whole_experts: bool
) -> Iterator[str]:
    """Scales of blocks: vLLM's fp8_utils.py, validate_fp8_block_shape and (for experts) Fp8MoEMethod.create_weights;
    SGLang's have the same names and words."""
    block_n, block_k = block
    if model.mixture is not None and model.packing is not None and is_packed(model.packing, "experts"):
        inner = model.mixture.intermediate_size // (1 if whole_experts else tensor_parallel * data_parallel)
        if inner % block_n:
            yield (
                f"The output_size of gate's and up's weight = {inner} is not divisible by weight quantization"
                f" block_n = {block_n}."
            )
        if tensor_parallel > 1 and inner % block_k:
            yield (
                f"The input_size of down's weight = {inner} is not divisible by weight quantization"
                f" block_k = {block_k}."
            )
    if tensor_parallel == 1:
        return
    for name, width in _inputs(model, tensor_parallel):
        if width % block_k:
            yield (
                f"Weight input_size_per_partition = {width} is not divisible by weight quantization"
                f" block_k = {block_k}. ({name})"
            )
    for name, widths in _outputs(model, tensor_parallel):
        for width in widths:
            if width % block_n:
                yield (
                    f"Weight output_partition_size = {width} is not divisible by weight quantization"
                    f" block_n = {block_n}. ({name})"
                )


def _groups(
    model: ServedModel, rules: LayoutRules, tensor_parallel: int, data_parallel: int, whole_experts: bool
) -> Iterator[str]:
    """Scales of groups along the inputs, which a rank must hold whole.

    vLLM: AWQLinearMethod.create_weights; marlin_utils.py: verify_marlin_supports_shape, since 0.28 at the latest
    distributed/utils.py: verify_group_size_divides_partition. SGLang's marlin_utils.py likewise. Mixtures fall back to
    kernels whose groups are halved down to 32 (MoeWNA16Method.create_weights).
    """
    packing = model.packing
    assert packing is not None
    size = packing.group_size
    if size is not None and tensor_parallel > 1:
        for name, width in _inputs(model, tensor_parallel):
            if width % size:
                yield f"Weight input_size_per_partition = {width} is not divisible by group_size = {size}. ({name})"
    if size is not None and model.mixture is not None and not whole_experts and is_packed(packing, "experts"):
        inner = model.mixture.intermediate_size // (tensor_parallel * data_parallel)
        least = min(size, 32)
        if inner % least:
            yield f"the experts' width on a rank, {inner}, is not divisible by a group of {least}"
    # AWQ falls back to kernels of its own, and Exllama takes what computes in half precision.
    if rules.pads_for_marlin or model.compute != "bf16" or tensor_parallel == 1:
        return
    if packing.bits not in (4, 8) or not facts_of(packing.method).marlin:
        return
    for name, width in _inputs(model, tensor_parallel):
        if width % MARLIN_K:
            yield f"Weight input_size_per_partition = {width} is not divisible by min_thread_k = {MARLIN_K}. ({name})"
    for name, widths in _outputs(model, tensor_parallel):
        if sum(widths) % MARLIN_N:
            yield (
                f"Weight output_size_per_partition = {sum(widths)} is not divisible by min_thread_n = {MARLIN_N}."
                f" ({name})"
            )
