"""Packed weights: what they stand for, their effective bits, and what a recipe left unquantized."""

from inspector.model.packing.methods import METHODS, NOT_STORED
from inspector.model.packing.report import describe
from inspector.model.packing.unpack import Unpacked, not_known, unpack

__all__ = ["METHODS", "NOT_STORED", "Unpacked", "describe", "not_known", "unpack"]
