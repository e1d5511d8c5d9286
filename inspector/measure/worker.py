"""A process that builds transformers' classes and tells their tensors, without torch.

inspector/model/design/by_class.py starts it. It reads a line for each class from standard input, {"class":
"LlamaForCausalLM", "config": {...}}, and answers with one: {"rows": [...], ...} (saved.py beside it), or {"error":
"...", "refused": true, "unclear": false}. A process of its own, as the torch of shapes stands there in the place of the
real one (inspector/measure/shapes/), and a config may ask for more than can be built.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import warnings
from typing import Any

MOST_MEMORY = 2 << 30
"""Bytes of addresses; DeepSeek-V3 takes a tenth of it."""
MOST_SECONDS = 60
"""Of the CPU for a class, after which the process ends, also where nobody waits for it any more."""
MISSING = ("ImportError", "LookupError", "MemoryError", "ModuleNotFoundError", "RecursionError", "Unknown")
"""Names of what is raised by what is missing here alone."""
UNCLEAR = (AttributeError, IndexError, NotImplementedError, TypeError)
"""What is raised by what is missing here, or by a class; all else is a class's own word on a config."""


def main() -> int:
    """Answers until standard input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    questions = os.fdopen(os.dup(0), encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):  # what a class reads, or prints, is no line of these
        os.dup2(nowhere, number)
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    _bound_memory()
    from inspector.measure.shapes.torch import install

    install()
    for line in questions:
        _bound_time()
        answers.write(json.dumps(_answer(json.loads(line))) + "\n")
        answers.flush()
    return 0


def _answer(asked: dict[str, Any]) -> dict[str, Any]:
    try:
        from inspector.measure.saved import saved

        return dict(saved(asked["class"], asked["config"]))
    except Exception as error:  # whatever a class raises
        own = type(error) in (LookupError, ImportError, ModuleNotFoundError)
        why = str(error).strip().split(". ")[0] if own else f"{type(error).__name__}: {error}"
        missing, unclear = type(error).__name__ in MISSING, isinstance(error, UNCLEAR)
        return {"error": why, "refused": not missing and not unclear, "unclear": not missing and unclear}


def _bound_memory() -> None:
    try:
        import resource
    except ImportError:  # Windows
        return
    try:
        resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))
    except (OSError, ValueError):  # a lower one stands, or macOS
        return


def _bound_time() -> None:
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_PROF, MOST_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
