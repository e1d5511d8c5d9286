"""Many models: from a list of IDs to a stream of records, politely, resumably, losing nothing."""

from inspector.batch.ids import read_ids
from inspector.batch.limits import HubRateLimiter
from inspector.batch.outcome import Record
from inspector.batch.run import ainspect_many, inspect_many

__all__ = ["HubRateLimiter", "Record", "ainspect_many", "inspect_many", "read_ids"]
