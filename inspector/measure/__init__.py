"""Measuring with the real classes under fake tensors: what `--measure` and the oracle run. Needs torch."""
