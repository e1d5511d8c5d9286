"""Memory of inference under transformers: weights, KV cache, activations, overhead."""
