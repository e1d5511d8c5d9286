"""From bytes to a verdict: does it fit, with what headroom, and what would make it fit."""
