"""Packed weights: what they stand for, their effective bits, and what a recipe left unquantized."""
