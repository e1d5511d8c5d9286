"""llama.cpp as an engine: its options, and where its plan, its log reader and its comparison are."""

from __future__ import annotations

from inspector.engines.engine import Engine
from inspector.engines.llama_cpp.options import LlamaCppOptions

_WHOLE_LAYERS = "llama.cpp lays whole layers over all cards of --gpu."


class LlamaCpp(Engine):
    """Buffers for the weights, the whole context's cache and a step, over GPUs and the CPU."""

    name = "llama.cpp"
    title = "llama.cpp"
    options = LlamaCppOptions
    foreign_options = dict.fromkeys(
        ("tensor_parallel", "pipeline_parallel", "data_parallel", "expert_parallel"), _WHOLE_LAYERS
    )


ENGINE = LlamaCpp()
