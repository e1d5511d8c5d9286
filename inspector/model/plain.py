"""A checkpoint of one transformers class, understood: quantization, architecture, parameters."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from inspector.hub.checkpoint import Checkpoint, alike
from inspector.hub.dtypes import plain_dtype, stored_bytes
from inspector.model.architecture import read_architecture
from inspector.model.config.read import read_quantization
from inspector.model.lint import dtype_note
from inspector.model.model import Model
from inspector.model.parameters.count import count_and_weigh


def plain_model(checkpoint: Checkpoint) -> Model:
    """The model of a checkpoint that is not made of parts.

    Raises:
        InvalidConfig: config.json holds values that no model can have.
    """
    architecture = read_architecture(checkpoint.config, read_quantization(checkpoint.config))
    bytes_by_dtype = Counter[str]()
    for (dtype, shape), count in alike(checkpoint.tensors).items():
        bytes_by_dtype[plain_dtype(dtype)] += count * stored_bytes(dtype, shape)
    stored_dtype = max(bytes_by_dtype, key=bytes_by_dtype.__getitem__, default=None)
    if checkpoint.format == "gguf":  # its patterns take longer to compile than others to count
        from inspector.model.evidence.gguf import weigh_gguf
        from inspector.model.parameters.gguf import count_gguf

        parameters = count_gguf(checkpoint, architecture)
        architecture = weigh_gguf(architecture, checkpoint.config, (tensor.name for tensor in checkpoint.tensors))
    else:
        parameters, architecture = count_and_weigh(checkpoint, architecture)
    if checkpoint.design is not None and not checkpoint.design.exact:
        parameters = replace(parameters, exact=False)
    if parameters.quantization is not None:
        architecture = replace(architecture, quantization=parameters.quantization)
    return Model(
        repo_id=checkpoint.repo_id,
        architecture=architecture,
        parameters=parameters,
        stored_dtype=stored_dtype,
        notes=dtype_note(stored_dtype, architecture),
    )
