"""What a user may tell mlx-lm. None takes its own default."""

from __future__ import annotations

from dataclasses import dataclass

from inspector.engines.common.options import tensor_parallel
from inspector.settings import setting


@dataclass(frozen=True)
class MlxOptions:
    """mlx-lm's options, under its own names; each says of itself what it is."""

    tensor_parallel: int | None = tensor_parallel()
    prefill_step_size: int | None = setting(
        None, help="mlx-lm's tokens a chunk of a prompt.", unit="tokens", metavar="N", least=1
    )
    kv_bits: int | None = setting(
        None, help="mlx-lm's quantized cache: 8, 4, ... bits.", unit="bits", metavar="N", least=1
    )
    kv_group_size: int | None = setting(None, help="mlx-lm's groups of it. Default: 64.", metavar="N", least=1)
    quantized_kv_start: int | None = setting(
        None, help="mlx-lm quantizes from here. Default: 5000.", unit="tokens", metavar="N", least=0
    )
