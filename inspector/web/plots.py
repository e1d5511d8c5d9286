"""The data of the page's charts."""

from __future__ import annotations

import dataclasses

from inspector.record import Record
from inspector.web.asked import Asked

POINTS = 33
TRAINING_POINTS = 17
FEWEST_TOKENS = 128
"""Where curves over the context begin."""


def curve(asked: Asked) -> Record | None:
    """Memory over the context or the batch: a `Sweep` of api/curves.py; None for training by the article's formulas."""
    least = FEWEST_TOKENS if asked.over == "context" else 1
    if not asked.training:
        from inspector.api.curves import curve

        model = asked.models.of(asked.question(asked.settings)).model
        question = asked.question(asked.settings)
        return dataclasses.asdict(curve(model, question, asked.over, points=POINTS, least=least, log=True))
    from inspector.api.training_curves import training_curve

    weights = asked.models.weights(asked.training_question)
    if weights is None:
        return None
    trained = asked.trained.inspection
    return dataclasses.asdict(
        training_curve(
            trained, weights, asked.training_question, asked.over, points=TRAINING_POINTS, least=least, log=True
        )
    )


def bars(asked: Asked) -> Record | None:
    """Memory at each precision of the weights: a `Sweep`; None for training, whose precision is another setting."""
    if asked.training:
        return None
    from inspector.api.curves import bars

    question = asked.question(asked.settings)
    return dataclasses.asdict(bars(asked.models.of(question).model, question))
