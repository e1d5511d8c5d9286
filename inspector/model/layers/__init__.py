"""The mechanisms of attention and state: one file each, with its facts and its sizing rules."""
