"""Fuzzing: real files with something changed, and what must hold whatever was changed. See `__main__`."""
