"""A model that is only a design: its tensors as its class would write them, from its config alone."""

from inspector.model.design.changes import Change, read_changes
from inspector.model.design.designed import designed

__all__ = ["Change", "designed", "read_changes"]
