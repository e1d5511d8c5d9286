"""The engines that there are: one line each. No engine's code is imported before it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inspector.errors import UsageError, known_hint

if TYPE_CHECKING:
    from inspector.engines.engine import Engine

_MODULES = {
    "transformers": "inspector.engines.transformers.engine",
    "vllm": "inspector.engines.vllm.engine",
    "sglang": "inspector.engines.sglang.engine",
    "llama.cpp": "inspector.engines.llama_cpp.engine",
    "mlx": "inspector.engines.mlx.engine",
}
"""Name, as `--engine` takes it -> the module that has the engine as `ENGINE`. The first is the default."""


def register(name: str, module: str) -> None:
    """Add an engine of one's own: from then on it is one of `names()`."""
    _MODULES[name] = module


def names() -> tuple[str, ...]:
    """All engines, the default first."""
    return tuple(_MODULES)


def engine_named(name: str) -> Engine:
    """The engine of this name.

    Raises:
        UsageError: there is none.
    """
    from importlib import import_module

    if name not in _MODULES:
        raise UsageError(f"no memory profile for the engine '{name}' yet", known_hint(name, _MODULES))
    engine: Engine = import_module(_MODULES[name]).ENGINE
    return engine


def engines() -> tuple[Engine, ...]:
    """All of them, in the order of `names()`."""
    return tuple(map(engine_named, _MODULES))
