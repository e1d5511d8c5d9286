"""What a user may tell SGLang. None takes its own default for the device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from inspector.engines.common.options import (
    expert_parallel,
    kv_cache_dtype,
    pipeline_parallel,
    tensor_parallel,
    version,
)
from inspector.settings import setting

if TYPE_CHECKING:
    from inspector.engines.common.heads import DraftHead
    from inspector.model import Model


@dataclass(frozen=True)
class SglangOptions:
    """SGLang's options, under this library's names; each says of itself what it is.

    Attributes:
        draft: what drafts in speculative decoding, read: a model of its own, or a head of the model.
    """

    version: str | None = version()
    tensor_parallel: int | None = tensor_parallel()
    pipeline_parallel: int | None = pipeline_parallel()
    expert_parallel: int | None = expert_parallel()
    mem_fraction_static: float | None = setting(None, help="SGLang's static share of the GPU.", metavar="SHARE")
    kv_cache_dtype: str | None = kv_cache_dtype()
    draft: Model | DraftHead | None = None
