"""SGLang: its static share of a GPU, and the pool that is left."""
