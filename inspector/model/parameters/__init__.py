"""The exact parameters of a checkpoint, counted from its tensors."""
