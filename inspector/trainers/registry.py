"""The trainers whose files are read: a line is one. The first that recognises a file's keys reads it."""

from __future__ import annotations

from collections.abc import Iterable

from inspector.trainers import (
    axolotl,
    deepspeed,
    llama_factory,
    llama_factory_v1,
    swift,
    torchtitan,
    torchtune,
    trl,
    unsloth,
    unsloth_script,
)
from inspector.trainers.reading import Trainer

TRAINERS: tuple[Trainer, ...] = (
    torchtune.TRAINER,
    torchtitan.TRAINER,
    swift.TRAINER,
    axolotl.TRAINER,
    unsloth.TRAINER,
    unsloth_script.TRAINER,
    llama_factory.TRAINER,
    llama_factory_v1.TRAINER,
    deepspeed.ACCELERATE,
    deepspeed.DEEPSPEED,
    trl.TRAINER,
)


def recognise(keys: Iterable[str]) -> Trainer | None:
    """The trainer whose config has these dotted keys; None where none is known."""
    there = tuple(keys)
    return next((trainer for trainer in TRAINERS if trainer.recognises(there)), None)
