"""What a user may tell llama.cpp. None takes its own default."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from inspector.engines.common.options import version
from inspector.settings import setting

if TYPE_CHECKING:
    from inspector.engines.common.heads import DraftHead
    from inspector.model import Model


@dataclass(frozen=True)
class LlamaCppOptions:
    """llama.cpp's options, under its own names; each says of itself what it is.

    Attributes:
        draft: the draft model of speculative decoding, read.
        projector: bytes of the tensors of an encoder's own file (mmproj); None without one.
    """

    version: str | None = version()
    n_gpu_layers: int | None = setting(
        None,
        help="Layers that llama.cpp has on the GPUs. Default: all.",
        docs="layers on the GPUs, the output being one of them; default all",
        metavar="N",
        least=0,
    )
    n_ubatch: int | None = setting(
        None,
        help="llama.cpp's tokens per step. Default: 512.",
        docs="tokens per step; default 512",
        unit="tokens",
        metavar="N",
        least=1,
    )
    cache_type_k: str | None = setting(
        None,
        help="Type of llama.cpp's cached keys: f16 (default), q8_0, q4_0, ...",
        docs="of keys: `f16` (default), `bf16`, `f32`, `q8_0`, `q5_1`, `q5_0`, `q4_1`, `q4_0`, `iq4_nl`",
        metavar="TYPE",
    )
    cache_type_v: str | None = setting(
        None, help="Type of its cached values, likewise.", docs="of values, likewise", metavar="TYPE"
    )
    draft: Model | DraftHead | None = None
    projector: int | None = None
