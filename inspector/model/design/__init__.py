"""A model that is only a design: its tensors as its class would write them, from its config alone."""
