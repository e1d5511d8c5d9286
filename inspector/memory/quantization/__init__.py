"""Precisions and recipes: the bytes that weights and caches take when they are quantized."""
