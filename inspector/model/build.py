"""Puts a `Model` together from its parts: quantization, architecture, parameters."""

from __future__ import annotations

from inspector.hub.checkpoint import Checkpoint, plain_dtype
from inspector.model.architecture import read_architecture
from inspector.model.model import Model
from inspector.model.parameters import count_parameters
from inspector.model.quantization import read_quantization


def build_model(checkpoint: Checkpoint) -> Model:
    """Understand a checkpoint.

    Raises:
        InvalidConfig: config.json holds values that no model can have.
    """
    architecture = read_architecture(checkpoint.config, read_quantization(checkpoint.config))
    bytes_by_dtype: dict[str, int] = {}
    for tensor in checkpoint.tensors:
        dtype = plain_dtype(tensor.dtype)
        bytes_by_dtype[dtype] = bytes_by_dtype.get(dtype, 0) + tensor.nbytes
    count = count_parameters
    if checkpoint.format == "gguf":
        from inspector.model.gguf import count_gguf as count  # its patterns take longer to compile than others to count
    return Model(
        repo_id=checkpoint.repo_id,
        architecture=architecture,
        parameters=count(checkpoint, architecture),
        stored_dtype=max(bytes_by_dtype, key=bytes_by_dtype.__getitem__, default=None),
    )
