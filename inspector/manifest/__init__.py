"""Manifests: what models were when they were locked, and whether they still are."""

from inspector.manifest.check import Finding, Outcome, verify
from inspector.manifest.form import Entry, Expected, read_manifest, write_manifest
from inspector.manifest.lock import lock

__all__ = ["Entry", "Expected", "Finding", "Outcome", "lock", "read_manifest", "verify", "write_manifest"]
