"""vLLM: its profile, its cache planner, its versions."""
