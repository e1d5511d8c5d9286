"""llm-inspect: a model's exact parameters and memory, from its config and headers alone."""
