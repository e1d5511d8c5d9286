"""LLaMA-Factory's YAML of its new trainer (USE_V1=1): told apart, and not modelled."""

from __future__ import annotations

from inspector.trainers.reading import Reading, Trainer

OWN_LOSS = "the new trainer's own loss, which keeps one fp32 copy of all logits more than transformers'"
"""core/base_trainer.py, compute_log_probs: fp32 logits, and a contiguous copy of them without the last position."""


def read(reading: Reading) -> None:
    """src/llamafactory/v1/config/."""
    reading.put("model", reading.get("model"), "model")
    reading.take("context", "cutoff_len", 2048)
    reading.take("batch", "micro_batch_size", 1)
    reading.refuse("model_class", OWN_LOSS)


TRAINER = Trainer(
    "llama-factory-v1",
    "LLaMA-Factory v1",
    "hiyouga/LLaMA-Factory ff6d4d1 (2026-08-18), src/llamafactory/v1",
    (frozenset({"model", "model_class"}), frozenset({"model", "train_dataset"})),
    ("*",),
    {},
    read,
)
