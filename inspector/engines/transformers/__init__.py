"""transformers: weights as loaded, caches as its classes allocate them, whole layers over several devices."""
