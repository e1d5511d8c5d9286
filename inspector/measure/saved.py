"""What a transformers class writes, told by building it on torch's meta device: every tensor has a shape and no data.

    python -m inspector.measure.saved < {"class": "LlamaForCausalLM", "config": {...}}

prints the tensors as rows (inspector/hub/cache/snapshot.py), or {"error": "..."}. A process of its own
(inspector/model/design/by_class.py starts it): a config may ask for more than can be built, and torch is slow to load.
Only transformers' own classes are built. Needs torch and transformers.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping
from typing import Any

import torch
from torch.nn.modules.module import register_module_parameter_registration_hook
from transformers import PretrainedConfig, PreTrainedModel
from transformers.core_model_loading import revert_weight_conversion
from transformers.modeling_utils import remove_tied_weights_from_state_dict

DTYPES = {
    torch.float32: "F32",
    torch.float64: "F64",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
    torch.complex64: "C64",
}
MOST_LABELS = 1_000_000


class _Bound:
    """Ends a build that makes more tensors than any model has."""

    def __init__(self, most: int) -> None:
        self.left = most

    def __call__(self, *_: object) -> None:
        self.left -= 1
        if self.left < 0:
            raise ValueError("more tensors than any model has")


def build(model_class: type[PreTrainedModel], config: PretrainedConfig) -> PreTrainedModel:
    """The model without memory."""
    with torch.device("meta"):
        return model_class(config)


def saved_state(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    """The state dict as save_pretrained writes it: no tied twins, names and experts as in the original checkpoint."""
    state: dict[str, Any] = model.state_dict()
    for key in model._keys_to_ignore_on_save or ():
        state.pop(key, None)
    state = remove_tied_weights_from_state_dict(state, model)
    return dict(revert_weight_conversion(model, state))


def rows_of(class_name: str, config: Mapping[str, Any]) -> list[list[Any]]:
    """The tensors of a class with a config, as rows.

    Args:
        config: as config.json has it.

    Raises:
        LookupError: the installed transformers has no such class.
        Exception: whatever the class raises for values that it refuses.
    """
    import transformers

    from inspector.hub.cache.snapshot import MAX_TENSORS, encode_tensors
    from inspector.hub.checkpoint import Tensor
    from inspector.model.config.from_class import arguments

    model_class = getattr(transformers, class_name, None)
    if not isinstance(model_class, type) or not issubclass(model_class, PreTrainedModel):
        raise LookupError(f"the installed transformers has no class {class_name[:80]}")
    labels, count = config.get("id2label"), config.get("num_labels")
    count = len(labels) if isinstance(labels, Mapping) and labels else count
    given = arguments(config) | ({"num_labels": min(count, MOST_LABELS)} if type(count) is int else {})
    config_class: Any = model_class.config_class
    made = config_class(**given)
    hook = register_module_parameter_registration_hook(_Bound(MAX_TENSORS))
    try:
        state = saved_state(build(model_class, made))
    finally:
        hook.remove()
    return encode_tensors(Tensor(name, DTYPES[value.dtype], tuple(value.shape)) for name, value in state.items())


def main() -> int:
    logging.disable(logging.WARNING)
    asked = json.load(sys.stdin)
    try:
        answer: dict[str, Any] = {"rows": rows_of(asked["class"], asked["config"])}
    except Exception as error:  # whatever a class raises
        answer = {"error": " ".join(f"{type(error).__name__}: {error}".split())[:300]}
    json.dump(answer, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
