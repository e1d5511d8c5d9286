"""llama.cpp: its buffers, its cache for the whole context, its layers over GPUs and the CPU."""
