"""What follows from a verdict: what to change, and what launches it."""
