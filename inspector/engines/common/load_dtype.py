"""The precision that a serving engine loads a checkpoint in: none keeps float32 by default."""

from __future__ import annotations

from collections.abc import Callable

from inspector.memory.precision import STORED, compute_precision
from inspector.model.model import Model

DTYPE_NAMES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}
"""This library's precisions under the engines' `--dtype` names."""


def load_dtype(model: Model, dtype: str, resolve: Callable[[str], str]) -> tuple[str, str]:
    """(the weights' precision, the precision that the model computes in), as the engine has them.

    Args:
        dtype: the weights' precision as asked for; "stored" leaves it to the engine.
        resolve: the engine's own rule: what config.json or the files name -> what it loads.

    Returns:
        "stored" where the files' bytes are kept: packed weights, and plain ones in the precision that is loaded.
    """
    named, _ = compute_precision(model, dtype)
    if dtype != STORED:
        return dtype, named
    loaded = resolve(named)
    packed = model.architecture.quantization is not None
    return STORED if packed or loaded == named else loaded, loaded
