"""From a `Checkpoint` to a `Model`: the architecture and the exact parameters. Pure functions."""

from inspector.model.build import build_model
from inspector.model.model import Architecture, Experts, Model, Parameters, Quantization

__all__ = ["Architecture", "Experts", "Model", "Parameters", "Quantization", "build_model"]
