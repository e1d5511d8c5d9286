"""The tensors of a design by its class itself, where the tables do not tell them and torch is installed.

A process of its own builds the class of the installed transformers on torch's meta device
(inspector/measure/saved.py): some seconds, no weights, no network, no code of a repo.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

from inspector.hub.cache.snapshot import decode_tensors
from inspector.hub.checkpoint import Tensor
from inspector.model.config.light import installed

SECONDS = 60
"""After which a class is not waited for any more: DeepSeek-V3 takes a tenth of it."""

HINT = "Where torch is installed, the class itself is asked: pip install torch."
UNBUILT = f"The class of the installed transformers was asked: it does not build it, or not in {SECONDS} seconds."
START = "import sys; sys.path[:] = sys.argv[1:]; from inspector.measure.saved import main; sys.exit(main())"
"""Of the process: this one's path and no other, as the folder that one stands in may be a repo's."""


def can_build() -> bool:
    """Whether torch and transformers are installed."""
    return installed() is not None and find_spec("torch") is not None


def built_by_class(class_name: str, config: Mapping[str, Any]) -> tuple[Tensor, ...] | None:
    """The tensors that a class writes with a config, in 32 bits; None where it cannot be asked, or refuses.

    Args:
        class_name: one of the installed transformers'.
        config: as config.json has it.
    """
    return _built(json.dumps({"class": class_name, "config": dict(config)})) if can_build() else None


@lru_cache(maxsize=8)
def _built(asked: str) -> tuple[Tensor, ...] | None:
    import subprocess

    path = [each for each in sys.path if each]
    environ = {name: value for name, value in os.environ.items() if "TOKEN" not in name} | {"HF_HUB_OFFLINE": "1"}
    try:
        result = subprocess.run(
            [sys.executable, "-c", START, *path],
            input=asked.encode(),
            env=environ,
            capture_output=True,
            timeout=SECONDS,
            check=True,
        )
        return tuple(decode_tensors(json.loads(result.stdout)["rows"]))
    except (OSError, subprocess.SubprocessError, ValueError, LookupError):
        return None
