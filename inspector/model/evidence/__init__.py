"""What the tensors say of a model's layers: it decides where the class is unknown, and checks where it is known."""

from inspector.model.evidence.weigh import weighed

__all__ = ["weighed"]
