"""mlx-lm: what it keeps of weights and caches on Apple's devices."""
