"""From a checkpoint to a `Model`, whatever it is made of."""

from __future__ import annotations

from inspector.errors import UnreadableModel
from inspector.hub.checkpoint import Checkpoint
from inspector.model.model import Model
from inspector.model.plain import plain_model


def build_model(checkpoint: Checkpoint) -> Model:
    """Understand a checkpoint.

    Raises:
        InvalidConfig: config.json holds values that no model can have.
        UnreadableModel: a config alone, whose tensors were not made (`inspector.model.design.designed`): it is no
            model without weights.
    """
    if checkpoint.design is not None and checkpoint.design.class_name is None:
        raise UnreadableModel(f"{checkpoint.repo_id} holds only a config", "Its tensors have to be made from it first.")
    if checkpoint.parts and checkpoint.parts[-1].kind == "adapter":
        from inspector.model.parameters.adapters import adapted

        return adapted(checkpoint)
    if checkpoint.parts or ("_class_name" in checkpoint.config and "model_type" not in checkpoint.config):
        from inspector.model.assemble import assemble

        return assemble(checkpoint)
    return plain_model(checkpoint)
