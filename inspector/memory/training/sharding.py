"""How a training run is spread over GPUs: the settings, checked against each other."""

from __future__ import annotations

from dataclasses import dataclass

from inspector.errors import UsageError, known_hint
from inspector.memory.training.zero_settings import ZeroSettings
from inspector.settings import setting, settings_of

OFFLOADS = ("optimizer", "params", "activations")
NVME = ("optimizer", "params")
SCHEDULES = ("1f1b", "interleaved", "gpipe", "dualpipe")
CHUNKS = 2
"""Stages of one GPU under the interleaved schedule: torchtitan's default (pipeline_parallel.py)."""


@dataclass(frozen=True, kw_only=True)
class Sharding(ZeroSettings):
    """Degrees of each kind of parallelism; 1 for none. Data parallelism is ddp, plain or under ZeRO, or fsdp.

    ZeRO's sizes are those of `ZeroSettings`.

    Attributes:
        ddp: data-parallel GPUs: torch's DistributedDataParallel, with a bucket copy of the gradients unless
            `bucket_view`; or DeepSpeed's, where a `zero` stage is given.
        zero: stage of ZeRO (arXiv 1910.02054) over those GPUs: 1 divides states, 2 gradients, 3 parameters too.
        fsdp: GPUs that share every weight under torch's fully_shard (FSDP2).
        hsdp: replicas of such a group.
        tp: tensor parallel (arXiv 1909.08053); sp: its sequence parallel form (arXiv 2205.05198).
        pp: pipeline stages, with `grad_accum` microbatches.
        schedule: "1f1b", where the first stage has as many microbatches in flight as there are stages, or "gpipe",
            where every stage has all; "interleaved" (arXiv 2104.04473, section 2.2), where a GPU has `CHUNKS` stages;
            "dualpipe" (DeepSeek-V3, arXiv 2412.19437, table 2), where it has a stage and the one opposite.
        ends_less: the first and the last stage have a layer less than the others (Llama 3, arXiv 2407.21783, section
            3.3.2; torchtitan since 2025; Megatron-LM's account-for-embedding-in-pipeline-split and its twin).
        torch_pipeline: the stages are torch.distributed.pipelining's: a buffer to receive each microbatch, and every
            microbatch's logits kept on the last stage and put together after the step.
        cp: context parallel: each GPU has a share of every sequence.
        ep: expert parallel: each GPU has a share of the experts.
        grad_accum: microbatches a step.
        offload: what lives on the CPU: some of `OFFLOADS`.
        nvme: what lives on disk, with buffers on the CPU: some of `NVME` (DeepSpeed's ZeRO-Infinity).
        bucket_view: DDP's gradient_as_bucket_view.
        fp8_gather: FSDP gathers the blocks' weights in fp8 (torchao's enable_fsdp_float8_all_gather).
        shard_embeddings: embedding and head are FSDP units of their own, and not gathered while blocks are at work.
        reduce_fp32: FSDP reduces gradients in fp32 (MixedPrecisionPolicy's reduce_dtype), not as they are computed.
        reshard: FSDP lets go of a unit after its forward pass; without, units stay gathered, and their gradients whole
            until the last microbatch (reshard_after_forward=False, as torchtitan has it in pipelines).
        main_grads: gradients are added to an fp32 buffer that always lives, DDP's bucket and view (Megatron-LM's main
            gradients; with zero=1 its distributed optimizer).
        loss_parallel: torch's loss_parallel: the loss over logits that stay divided by tensor parallelism.
    """

    ddp: int = setting(1, help="Data-parallel GPUs.", metavar="N", least=1)
    bucket_view: bool = setting(
        False, rare=True, help="DDP's gradient_as_bucket_view.", docs="DDP's `gradient_as_bucket_view`"
    )
    main_grads: bool = setting(
        False,
        rare=True,
        help="Gradients accumulate in an fp32 buffer that always lives (Megatron-LM's).",
        docs="gradients accumulate in an fp32 buffer that always lives, as Megatron-LM's; with `--zero 1` its"
        " distributed optimizer",
    )
    zero: int | None = setting(None, help="Stage of DeepSpeed's ZeRO, over the GPUs of --ddp.", least=0, most=3)
    fsdp: int = setting(1, help="GPUs of torch's fully_shard (FSDP2).", metavar="N", least=1)
    fp8_gather: bool = setting(
        False,
        rare=True,
        help="FSDP gathers blocks in fp8, for --fp8 torchao.",
        docs="FSDP gathers torchao's weights in fp8",
    )
    shard_embeddings: bool = setting(False, rare=True, help="Embedding and head are FSDP units of their own.")
    reduce_fp32: bool = setting(False, rare=True, help="FSDP reduces gradients in fp32.")
    reshard: bool = setting(
        True,
        rare=True,
        option="--no-reshard",
        help="FSDP keeps its units gathered, and their gradients whole until the last microbatch.",
    )
    hsdp: int = setting(
        1,
        help="Replicas of the groups of --fsdp.",
        docs="replicas of the groups of `--fsdp`",
        metavar="N",
        least=1,
        rare=True,
    )
    tp: int = setting(1, help="GPUs of tensor parallelism.", metavar="N", least=1)
    sp: bool = setting(
        False, rare=True, help="Sequence parallelism beside --tp.", docs="sequence parallelism beside `--tp`"
    )
    loss_parallel: bool = setting(
        False,
        rare=True,
        help="torch's loss_parallel: logits stay divided by --tp.",
        docs="torch's `loss_parallel`: logits stay divided by `--tp`",
    )
    pp: int = setting(1, help="Pipeline stages.", metavar="N", least=1)
    schedule: str = setting(
        "1f1b",
        rare=True,
        choices=SCHEDULES,
        help="Schedule of the pipeline.",
        docs="of a pipeline: `1f1b` (default); `interleaved`, with two stages a GPU; `gpipe`, which keeps every"
        " microbatch; or `dualpipe`, with a stage and the one opposite on each GPU (DeepSeek-V3)",
    )
    ends_less: bool = setting(
        False,
        option="--pp-ends-less",
        rare=True,
        help="The first and the last stage have a layer less.",
        docs="the first and the last stage have a layer less than the others, as in Llama 3 405B's training",
    )
    torch_pipeline: bool = setting(
        False,
        rare=True,
        help="Stages are torch.distributed.pipelining's, which keeps all logits of the last stage.",
        docs="stages are torch.distributed.pipelining's: buffers for every microbatch, all logits of the last stage",
    )
    cp: int = setting(1, rare=True, help="GPUs of context parallelism.", metavar="N", least=1)
    ep: int = setting(1, help="GPUs of expert parallelism.", metavar="N", least=1)
    grad_accum: int = setting(1, help="Microbatches per step.", metavar="N", least=1)
    offload: tuple[str, ...] = setting(
        (),
        choices=OFFLOADS,
        help="What lives on the CPU; may be repeated.",
        docs="`optimizer`, `params` or `activations` to the CPU; with `--checkpointing full`, activations are the"
        " blocks' inputs alone (unsloth's offloaded checkpointing); may be repeated",
    )
    nvme: tuple[str, ...] = setting(
        (),
        rare=True,
        choices=NVME,
        help="What lives on disk, by ZeRO-Infinity; may be repeated.",
        docs="`optimizer` or `params` to disk (DeepSpeed's ZeRO-Infinity, with `--zero 3`); its buffers, and what is"
        " offloaded to the CPU, are given as the host's memory; may be repeated",
    )

    def __post_init__(self) -> None:
        """Refuse what no run can have."""
        degrees = (self.ddp, self.fsdp, self.hsdp, self.tp, self.pp, self.cp, self.ep, self.grad_accum)
        if not all(1 <= degree <= 2**16 for degree in degrees):
            raise UsageError("a parallel degree must be between 1 and 65,536")
        if self.zero not in (None, 0, 1, 2, 3):
            raise UsageError(f"there is no ZeRO stage {self.zero}", "Known: 0, 1, 2, 3.")
        if self.fsdp > 1 and (self.ddp > 1 or self.zero):
            raise UsageError("one of DDP, ZeRO and FSDP at a time", "For HSDP: --fsdp GPUS --hsdp REPLICAS.")
        if self.shard_embeddings and self.fsdp == 1:
            raise UsageError("embedding and head are units of FSDP", "Add --fsdp GPUS.")
        if self.fp8_gather and self.fsdp == 1:
            raise UsageError("weights are gathered by FSDP", "Add --fsdp GPUS.")
        if (self.reduce_fp32 or not self.reshard) and self.fsdp == 1:
            raise UsageError("reduction and resharding are FSDP's", "Add --fsdp GPUS.")
        if self.main_grads and (self.fsdp > 1 or self.zero in (2, 3) or self.offload):
            raise UsageError("an fp32 buffer of all gradients is not divided", "For FSDP: --reduce-fp32.")
        if self.loss_parallel and self.tp == 1:
            raise UsageError("loss_parallel divides by tensor parallelism", "Add --tp GPUS.")
        if self.torch_pipeline and self.pp == 1:
            raise UsageError("stages are of a pipeline", "Add --pp STAGES.")
        if self.hsdp > 1 and self.fsdp == 1:
            raise UsageError("HSDP shards within each group", "Add --fsdp GPUS, the GPUs of a group.")
        if self.bucket_view and self.ddp == 1:
            raise UsageError("buckets are DDP's", "Add --ddp GPUS.")
        if self.sp and self.tp == 1:
            raise UsageError("sequence parallel is a form of tensor parallel", "Add --tp GPUS.")
        sizes = settings_of(ZeroSettings).values()
        if not self.zero and any(getattr(self, each.name) != each.default for each in sizes):
            raise UsageError("the sizes of buckets and of live parameters are ZeRO's", "Add --zero STAGE --ddp GPUS.")
        unknown = [name for name in self.offload if name not in OFFLOADS]
        if unknown:
            raise UsageError(f"cannot offload '{unknown[0]}'", known_hint(unknown[0], OFFLOADS))
        if self.schedule not in SCHEDULES:
            raise UsageError(f"there is no schedule '{self.schedule}'", known_hint(self.schedule, SCHEDULES))
        if self.schedule != "1f1b" and (self.pp == 1 or self.grad_accum == 1):
            raise UsageError("a schedule orders the microbatches of a pipeline", "Add --pp STAGES --grad-accum COUNT.")
        if self.schedule == "dualpipe" and self.pp % 2:
            raise UsageError("DualPipe pairs a pipeline's stages", "Give --pp an even number.")
        if self.schedule == "dualpipe" and (self.grad_accum % 2 or self.grad_accum < 2 * self.pp):
            # deepseek-ai/DualPipe, dualpipe/dualpipe.py: step() asserts both.
            raise UsageError(
                "DualPipe takes microbatches from both ends: an even number, at least two a stage",
                f"Give --grad-accum {2 * self.pp} or more.",
            )
        if self.ends_less and self.pp == 1:
            raise UsageError("stages are of a pipeline", "Add --pp STAGES.")
        unknown = [name for name in self.nvme if name not in NVME]
        if unknown:
            raise UsageError(f"cannot put '{unknown[0]}' on disk", known_hint(unknown[0], NVME))
        if self.nvme and self.zero != 3:
            raise UsageError("ZeRO-3 alone swaps to NVMe", "Add --zero 3.")
        if "params" in self.away and self.zero != 3 and self.fsdp == 1:
            raise UsageError("parameters are offloaded by ZeRO-3 and FSDP", "Add --zero 3, or --fsdp GPUS.")

    @property
    def cards(self) -> int:
        """GPUs that the run takes. Experts are spread over those that are there for other reasons, or over more."""
        data = self.ddp * self.fsdp * self.hsdp
        return max(data * self.tp * self.pp * self.cp, self.ep)

    @property
    def shards(self) -> tuple[int, int, int]:
        """Over how many GPUs weights, gradients and optimizer states are split by data parallelism."""
        # Context-parallel ranks hold the same weights and join the group that shards them.
        gpus = self.ddp * self.cp
        if self.fsdp > 1:
            return (self.fsdp * self.cp,) * 3
        return (gpus if self.zero == 3 else 1, gpus if self.zero in (2, 3) else 1, gpus if self.zero else 1)

    @property
    def away(self) -> frozenset[str]:
        """What is not on the GPU."""
        return frozenset(self.offload) | frozenset(self.nvme)

    @property
    def gradients_leave(self) -> bool:
        """Whether gradients follow the optimizer off the GPU, as soon as they are reduced; FSDP's follow the weights,
        whose shards they are as (CPUOffloadPolicy of torch/distributed/fsdp/_fully_shard/_fsdp_api.py)."""
        if self.fsdp > 1:
            return bool(self.away & {"optimizer", "params"})
        return "optimizer" in self.away and self.zero in (2, 3)

    @property
    def gathers(self) -> bool:
        """Whether weights are put together from shards, a unit at a time."""
        return self.fsdp > 1 or self.zero == 3

    @property
    def buckets(self) -> bool:
        """Whether DDP keeps a copy of all gradients in its buckets."""
        return self.ddp > 1 and not self.zero and not self.bucket_view and not self.main_grads

    def words(self) -> str:
        """In a few words, for a heading; empty for one GPU."""
        named = [
            (f"ZeRO-{self.zero}" if self.zero else "DDP", self.ddp),
            ("FSDP", self.fsdp),
            ("HSDP groups", self.hsdp),
            ("tensor" + (" and sequence" if self.sp else "") + " parallel", self.tp),
            (
                {"gpipe": "GPipe ", "interleaved": "interleaved ", "dualpipe": "DualPipe "}.get(self.schedule, "")
                + "pipeline",
                self.pp,
            ),
            ("context parallel", self.cp),
            ("expert parallel", self.ep),
        ]
        found = [f"{name} x {degree}" for name, degree in named if degree > 1]
        found += [f"{self.grad_accum} microbatches"] if self.grad_accum > 1 else []
        found += [f"{name} on the CPU" for name in self.offload if name not in self.nvme]
        found += [f"{name} on NVMe" for name in self.nvme]
        return ", ".join(found)
