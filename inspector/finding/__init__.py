"""What runs on a device: models of the Hub's lists, of the caches and bundled ones, each with its best recipe."""

from inspector.finding.look import Found
from inspector.finding.run import Finding, find

__all__ = ["Finding", "Found", "find"]
