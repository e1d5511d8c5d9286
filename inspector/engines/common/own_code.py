"""Classes of a repo's own code, which neither an engine nor transformers has."""

from __future__ import annotations

from inspector.model.architecture import AUTO_MAP
from inspector.model.model import Architecture
from inspector.model.parameters.classes import class_folders


def is_own_class(shape: Architecture) -> bool:
    """Whether config.json names a class, and transformers has none of that name."""
    return shape.architecture is not None and shape.architecture not in class_folders()


def own_models(shape: Architecture) -> frozenset[str]:
    """The Auto classes of models that the repo has code for ("AutoModelForCausalLM"), by `auto_map`."""
    return frozenset(key for key in shape.written.get(AUTO_MAP, {}) if key.startswith("AutoModel"))


def own_code_note(refusal: str) -> str:
    """Why a verdict cannot be given where only the repo's own code may run: `is_backend_compatible` of its class, which
    vLLM's and SGLang's backends for transformers ask, stands in that code."""
    return f"{refusal}: whether its backend for transformers runs the repo's own code is not known"
