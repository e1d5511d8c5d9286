"""A training run as a trainer's own config file says it: our settings, what is assumed, and what is not modelled."""

from inspector.trainers.run import Run, read_run

__all__ = ["Run", "read_run"]
