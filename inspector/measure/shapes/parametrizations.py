"""torch.nn.utils' functions that put other parameters in the place of a module's own."""

from __future__ import annotations

from collections.abc import Iterable

from inspector.measure.shapes.containers import ModuleDict, ModuleList
from inspector.measure.shapes.module import Module, Parameter, empty


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """torch.nn.utils.weight_norm: a length beside a direction."""
    g, v = _length_and_direction(module, name, dim)
    delattr(module, name)
    module.register_parameter(f"{name}_g", g)
    module.register_parameter(f"{name}_v", v)
    object.__setattr__(module, name, v.clone())
    return module


def _length_and_direction(module: Module, name: str, dim: int | None) -> tuple[Parameter, Parameter]:
    value = getattr(module, name)
    one = None if dim in (None, -1) else dim % value.ndim
    shape = [] if one is None else [size if at == one else 1 for at, size in enumerate(value.shape)]
    return Parameter(empty(*shape, kind=value.dtype)), Parameter(value)


def parametrized_weight_norm(module: Module, name: str = "weight", dim: int = 0) -> Module:
    """torch.nn.utils.parametrizations.weight_norm."""
    return _parametrized(module, name, _length_and_direction(module, name, dim))


def _parametrized(module: Module, name: str, originals: Iterable[Parameter]) -> Module:
    value = getattr(module, name)
    delattr(module, name)
    if "parametrizations" not in module._modules:
        module.add_module("parametrizations", ModuleDict())
    held = ParametrizationList([])
    for at, original in enumerate(originals):
        held.register_parameter(f"original{at}", original)
    module.parametrizations[name] = held
    object.__setattr__(module, name, value.clone())
    return module


class ParametrizationList(ModuleList):
    pass


def remove_weight_norm(module: Module, name: str = "weight") -> Module:
    value = module._parameters.pop(f"{name}_v", None)
    if value is None:
        raise ValueError(f"weight_norm of {name!r} not found in {module}")
    del module._parameters[f"{name}_g"]
    module.__dict__.pop(name, None)
    module.register_parameter(name, Parameter(value))
    return module


def remove_parametrizations(module: Module, name: str = "weight", leave_parametrized: bool = True) -> Module:
    held = module.parametrizations[name]
    del module.parametrizations[name]
    if not len(module.parametrizations):
        delattr(module, "parametrizations")
    module.__dict__.pop(name, None)
    module.register_parameter(name, Parameter(held.original1))
    return module


def is_parametrized(module: Module, name: str | None = None) -> bool:
    held = module._modules.get("parametrizations")
    return held is not None and (name is None or name in held)
