"""Plots of memory: over the context, and of each precision of the weights, with the devices' lines."""
