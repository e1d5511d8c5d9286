"""Supervised fine-tuning, and pretraining: the model's own loss over the next token."""

from inspector.memory.training.objectives.objective import Objective

LOGITS = "logits, their fp32 copy, the loss's gradients"

OBJECTIVE = Objective("sft", "SFT", "the model's own loss (transformers)", logits_text=LOGITS)
