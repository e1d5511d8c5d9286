"""GGUF: its header, what its metadata says, and which of a repo's files is meant."""
