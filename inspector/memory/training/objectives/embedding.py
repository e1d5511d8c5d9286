"""Embedding models as sentence-transformers trains them: contrastive, with in-batch negatives (arXiv 1705.00652).

The anchors of a batch go through the model in one pass, their positives and negatives in another, and the activations
of both are kept until the loss is there (MultipleNegativesRankingLoss). With `--mini-batch` they are embedded so
many at a time, twice: once without gradients, and once to train (its cached form, GradCache, arXiv 2101.06983).
"""

from inspector.memory.training.objectives.objective import Objective

OBJECTIVE = Objective(
    "embedding",
    "embeddings",
    "sentence-transformers 6.2, losses/multiple_negatives_ranking.py and cached_multiple_negatives_ranking.py",
    headless=True,
    notes=(
        "--batch is rows of a batch (per_device_train_batch_size), each of --texts texts of --context tokens",
        "mean pooling and normalized embeddings; negatives that other GPUs gather are not counted",
    ),
    logits_text="none: the model has no head",
)
