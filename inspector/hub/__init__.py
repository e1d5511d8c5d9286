"""The resolver: from a repo ID or a local path to a `Checkpoint`, without reading a weight."""

from inspector.hub.checkpoint import Checkpoint, File, Network, Tensor
from inspector.hub.dtypes import DTYPE_BITS
from inspector.hub.resolver import Resolver, resolve

__all__ = ["DTYPE_BITS", "Checkpoint", "File", "Network", "Resolver", "Tensor", "resolve"]
