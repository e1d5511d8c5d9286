"""What a transformers class writes, told by building it without memory: on torch's meta device, or, in a process of its
own (inspector/measure/worker.py), on a torch of shapes alone. Only transformers' own classes are built.

Needs transformers, and torch or what stands for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

import torch
import transformers
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
NOT_OF_TENSORS = ("attn_implementation", "_attn_implementation", "auto_map", "dtype", "torch_dtype")
"""Keys without which every class is made in 32 bits: a part's dtype is that of its model, whatever its config says."""


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


def own_name(base: type[PreTrainedModel], config_class: type[PretrainedConfig]) -> str | None:
    """What the repos of a type call a class of another type that transformers makes of it: SarvamMLAForCausalLM of a
    DeepseekV3ForCausalLM with a SarvamMLAConfig. None for a class that is not named after its config."""
    if not isinstance(base, type) or not issubclass(base, PreTrainedModel) or not base.config_class:
        return None
    prefix = base.config_class.__name__.removesuffix("Config")
    if not base.__name__.startswith(prefix):
        return None
    return config_class.__name__.removesuffix("Config") + base.__name__.removeprefix(prefix)


def made_of(model_type: object) -> tuple[type[PretrainedConfig] | None, list[type[PreTrainedModel]]]:
    """The config class of a model type, and the classes that transformers makes with it."""
    from transformers.models.auto import modeling_auto
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    if not isinstance(model_type, str) or model_type not in CONFIG_MAPPING:
        return None, []
    mappings = [classes for name, classes in vars(modeling_auto).items() if name.endswith("_MAPPING_NAMES")]
    names = dict.fromkeys(classes.get(model_type) for classes in mappings)
    found = (getattr(transformers, name, None) for name in names if isinstance(name, str))
    return CONFIG_MAPPING[model_type], [each for each in found if isinstance(each, type)]


def class_and_config(name: str, model_type: object) -> tuple[type[PreTrainedModel], type[PretrainedConfig]]:
    """A model class, and the class that reads its config: the type's where transformers makes the class of it.

    Raises:
        LookupError: the installed transformers has no such class.
    """
    found: Any = getattr(transformers, name, None)
    config_class, classes = made_of(model_type)
    if config_class is not None:
        for each in classes:
            if found is each or own_name(each, config_class) == name:
                return each, config_class
    if not isinstance(found, type) or not issubclass(found, PreTrainedModel) or found.config_class is None:
        raise LookupError(f"the installed transformers has no class {name[:80]}")
    return found, found.config_class


def _without_engines(config: Any) -> Any:
    """A config without what asks for a package, a dtype, or code of its own, and changes no tensor's shape."""
    if isinstance(config, Mapping):
        return {key: _without_engines(value) for key, value in config.items() if key not in NOT_OF_TENSORS}
    return config


class Saved(TypedDict):
    """What a class writes with a config, as JSON.

    Keys:
        rows: the tensors, as rows (inspector/hub/cache/snapshot.py).
        buffers: the names of those that are no parameters.
        unsaved: elements of the parameters that no file holds.
        parameters: `model.num_parameters()`.
        type: the model type that the config was read as.
    """

    rows: list[list[Any]]
    buffers: list[str]
    unsaved: int
    parameters: int
    type: str


def saved(class_name: str, config: Mapping[str, Any]) -> Saved:
    """What a class writes with a config.

    Args:
        config: as config.json has it.

    Raises:
        LookupError: the installed transformers has no such class.
        Exception: whatever the class raises for values that it refuses.
    """
    from inspector.hub.cache.snapshot import MAX_TENSORS, encode_tensors
    from inspector.hub.checkpoint import Tensor
    from inspector.model.config.from_class import arguments

    model_class, config_class = class_and_config(class_name, config.get("model_type"))
    labels, count = config.get("id2label"), config.get("num_labels")
    count = len(labels) if isinstance(labels, Mapping) and labels else count
    given = arguments(config) | ({"num_labels": min(count, MOST_LABELS)} if type(count) is int else {})
    made = config_class(**_without_engines(given))
    hook = register_module_parameter_registration_hook(_Bound(MAX_TENSORS))
    try:
        model = build(model_class, made)
    finally:
        hook.remove()
    state = saved_state(model)
    whole = model.state_dict()
    parameters = {id(value): value.numel() for value in model.parameters()}
    own = {name: id(model.get_parameter_or_buffer(name)) for name in whole}  # a state dict's tensors may be detached
    left = own.keys() & set(model._keys_to_ignore_on_save or ())
    unsaved = {own[name] for name in left} - {own[name] for name in own.keys() - left}
    buffers = {name: value for name, value in whole.items() if own[name] not in parameters}
    return Saved(
        rows=encode_tensors(Tensor(name, DTYPES[value.dtype], tuple(value.shape)) for name, value in state.items()),
        buffers=sorted(state.keys() & revert_weight_conversion(model, buffers).keys()),
        unsaved=sum(parameters.get(each, 0) for each in unsaved),
        parameters=sum(parameters.values()),
        type=config_class.model_type,
    )
