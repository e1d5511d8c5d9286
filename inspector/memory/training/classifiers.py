"""Classes with a classifier in the place of the vocabulary's head: their step makes no logits of a vocabulary.

116 measured steps of eight types (tests/memory/training/classifiers.json): within 1.6 % of their peaks.
"""

from __future__ import annotations

from dataclasses import replace

from inspector.memory.training.estimate import TrainingSetup
from inspector.memory.training.logits import LOGITS
from inspector.memory.training.table import Piece, Sum
from inspector.model.model import Architecture, Model

ENDS = ("ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering", "ForMultipleChoice")
"""How transformers names them, whatever the model type."""


def classifies(architecture: Architecture) -> bool:
    """Whether the class of a config has a classifier as its head."""
    return (architecture.architecture or "").endswith(ENDS)


def as_its_class(model: Model) -> Model:
    """The model with nothing tied where its class has no head that could be."""
    if not classifies(model.architecture):
        return model
    return replace(model, architecture=replace(model.architecture, tie_word_embeddings=False))


def classifier_head(head: Piece, architecture: Architecture, setup: TrainingSetup) -> Piece:
    """The head's stretch of a classifier: that of the table without logits and without what makes them.

    Of an encoder nothing of the table's is left, as its own head for the vocabulary has layers of its own; a
    classifier reads one token, or few values of each, and gives a gradient as large as the last hidden states.
    """
    if any(layer.kind == "no_cache" for layer in architecture.layers):
        every = (architecture.architecture or "").endswith("ForTokenClassification")
        size = 2 if setup.compute == "bf16" else 4
        return Piece({}, ({"Th": size + (size + 1 if every else 0)},))
    return Piece(_narrow(head.end), tuple(map(_narrow, head.peaks)))


def _narrow(moment: Sum) -> Sum:
    return {name: factor for name, factor in moment.items() if name not in (*LOGITS, "Vh")}
