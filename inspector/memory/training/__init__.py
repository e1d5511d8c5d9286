"""Memory of training on one card: the peak of a step, by its phases; and the article's formulas beside it."""

from inspector.memory.training.article import article_training
from inspector.memory.training.estimate import CHOICES, TrainingEstimate, TrainingSetup
from inspector.memory.training.step import training_estimate, training_total

__all__ = ["CHOICES", "TrainingEstimate", "TrainingSetup", "article_training", "training_estimate", "training_total"]
