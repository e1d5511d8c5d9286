"""The serving engines' own accounting: what each loads, profiles, reserves, and leaves for the KV cache."""

from inspector.memory.engines.served import (
    Card,
    MixtureFacts,
    ServedModel,
    VisionFacts,
    Weights,
    profiled,
    served_model,
)

__all__ = ["Card", "MixtureFacts", "ServedModel", "VisionFacts", "Weights", "profiled", "served_model"]
