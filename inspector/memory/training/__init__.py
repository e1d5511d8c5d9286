"""Memory of training on each GPU: the peak of a step, by its phases; and the article's formulas beside it."""

from inspector.memory.training.article import article_training
from inspector.memory.training.estimate import ADAPTER_METHODS, CHOICES, TrainingEstimate, TrainingSetup
from inspector.memory.training.sharding import OFFLOADS, Sharding
from inspector.memory.training.step import training_estimate, training_total
from inspector.memory.training.tensors import Weights, read_weights

__all__ = [
    "ADAPTER_METHODS",
    "CHOICES",
    "OFFLOADS",
    "Sharding",
    "TrainingEstimate",
    "TrainingSetup",
    "Weights",
    "article_training",
    "read_weights",
    "training_estimate",
    "training_total",
]
