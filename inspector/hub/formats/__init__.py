"""The files that weights are stored in, read from their headers."""
