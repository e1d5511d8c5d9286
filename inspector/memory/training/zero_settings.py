"""The sizes in a DeepSpeed config that memory depends on (runtime/zero/config.py of DeepSpeed 0.19)."""

from __future__ import annotations

from dataclasses import dataclass

from inspector.settings import setting

_GROUP = "Several GPUs"


@dataclass(frozen=True, kw_only=True)
class ZeroSettings:
    """Of ZeRO's buffers, in values. None stands for what transformers puts for "auto" (integrations/deepspeed.py).

    Attributes:
        reduce_bucket_size: gradients reduced at a time; auto: the hidden size squared.
        overlap_comm: stages 1 and 2 reduce while the backward pass goes on, with a second such buffer.
        contiguous_gradients: gradients are copied into that buffer; without, they wait, and are put together.
        prefetch_bucket_size: stage 3 gathers so many at a time ahead of use; auto: 0.9 x the hidden size squared.
        param_persistence_threshold: stage 3 leaves smaller parameters whole; auto: 10 x the hidden size.
        max_live_parameters: what is gathered ahead of use keeps below it.
        max_reuse_distance: what is used again within so many parameters stays gathered.
        sub_group_size: the optimizer of stage 3 steps so many parameters at a time.
    """

    reduce_bucket_size: int | None = setting(
        None,
        option="--zero-reduce-bucket",
        rare=True,
        help="Values of ZeRO's reduce bucket. Default: hidden size squared, as for auto.",
        docs="values of ZeRO's `reduce_bucket_size`; default: the hidden size squared, as transformers puts for `auto`",
        metavar="N",
        least=0,
    )
    overlap_comm: bool = setting(
        False,
        option="--zero-overlap",
        rare=True,
        help="ZeRO's overlap_comm: two reduce buckets in stages 1 and 2.",
        docs="ZeRO's `overlap_comm`: two reduce buckets in stages 1 and 2",
    )
    contiguous_gradients: bool = setting(
        True,
        option="--no-contiguous-gradients",
        rare=True,
        help="ZeRO without contiguous_gradients.",
        docs="ZeRO without `contiguous_gradients`",
    )
    prefetch_bucket_size: int | None = setting(
        None,
        option="--zero-prefetch-bucket",
        rare=True,
        help="Values of ZeRO-3's prefetch bucket; 0 for no prefetch. Default: as for auto.",
        docs="values of ZeRO-3's `stage3_prefetch_bucket_size`, 0 for no prefetch; default: as for `auto`",
        metavar="N",
        least=0,
    )
    param_persistence_threshold: int | None = setting(
        None,
        option="--zero-persistence",
        rare=True,
        help="ZeRO-3 keeps smaller parameters whole. Default: 10 x the hidden size, as for auto.",
        docs="ZeRO-3's `stage3_param_persistence_threshold`: smaller parameters stay whole; default: 10 x the hidden"
        " size, as for `auto`",
        metavar="N",
        least=0,
    )
    max_live_parameters: int = setting(
        10**9,
        option="--zero-max-live",
        rare=True,
        help="ZeRO-3 gathers no more parameters ahead.",
        docs="ZeRO-3's `stage3_max_live_parameters`: no more are gathered ahead of use",
        metavar="N",
        least=0,
    )
    max_reuse_distance: int = setting(
        10**9,
        option="--zero-max-reuse",
        rare=True,
        help="ZeRO-3 keeps what is used again within so many parameters.",
        docs="ZeRO-3's `stage3_max_reuse_distance`: what is used again within so many parameters stays gathered",
        metavar="N",
        least=0,
    )
    sub_group_size: int = setting(
        10**9,
        option="--zero-sub-group",
        rare=True,
        help="Parameters that ZeRO-3's optimizer steps at a time.",
        docs="ZeRO-3's `sub_group_size`: parameters that the optimizer steps at a time",
        metavar="N",
        least=0,
    )
