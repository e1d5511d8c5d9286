"""torch.nn.Module, its parameters and buffers."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

from inspector.measure.shapes.anything import Anything, Unknown
from inspector.measure.shapes.dtypes import DTYPES, OF_PYTHON, Dtype
from inspector.measure.shapes.tensor import Tensor, blank

ON_PARAMETER: list[Callable[[Any, str, Any], Any]] = []
"""Called with each parameter that a module gets, as torch's registration hooks are."""
DEFAULT = [DTYPES["float32"]]
"""The dtype of what names none."""


def empty(*shape: int, kind: Dtype | None = None) -> Tensor:
    found = kind or DEFAULT[0]
    return blank(shape, OF_PYTHON.get(found, found))


OWN_STATE = ("get_extra_state", "_save_to_state_dict")
"""With which a class writes other tensors than it registers."""


class Parameter(Tensor):
    def __init__(self, data: Any = None, requires_grad: bool = True) -> None:
        if data is None:
            data = empty(0)
        if not isinstance(data, Tensor):
            raise Unknown(f"a parameter of {data!r}")
        self._hold(data.array, data.dtype, data.known, data)
        self.requires_grad = requires_grad


class Buffer(Tensor):
    def __init__(self, data: Any = None, *, persistent: bool = True) -> None:
        data = empty(0) if data is None else data
        self._hold(data.array, data.dtype, data.known)
        self.persistent = persistent


class Handle:
    """What a registered hook is taken away with."""

    def __init__(self, hooks: list[Any] | None = None) -> None:
        self.hooks = hooks

    def remove(self) -> None:
        if self.hooks is not None:
            self.hooks.clear()


def on_parameter(hook: Callable[[Any, str, Any], Any]) -> Handle:
    """torch's register_module_parameter_registration_hook."""
    ON_PARAMETER.append(hook)
    return Handle(ON_PARAMETER)


class Module:
    training = True
    _version = 1

    def __init__(self, *_: Any, **__: Any) -> None:
        own = self.__dict__
        for name in ("_parameters", "_buffers", "_modules"):
            own[name] = {}
        own["_non_persistent_buffers_set"] = set()
        for name in ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_state_dict_hooks"):
            own[name] = OrderedDict()

    # what belongs to it

    def __getattr__(self, name: str) -> Any:
        for kind in ("_parameters", "_buffers", "_modules"):
            held = self.__dict__.get(kind)
            if held is not None and name in held:
                return held[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        own = self.__dict__
        if isinstance(value, Anything) and value._made:  # it may be a module, with parameters
            raise Unknown(f"{type(self).__name__}.{name} of {value!r}")
        if isinstance(value, Parameter):
            self._forget(name)
            self.register_parameter(name, value)
        elif isinstance(value, Module):
            self._forget(name)
            own["_modules"][name] = value
        elif isinstance(value, Buffer):
            self._forget(name)
            self.register_buffer(name, value, value.persistent)
        elif name in own.get("_parameters", ()):
            if value is not None:
                raise TypeError(f"{name} is a parameter")
            own["_parameters"][name] = None
        elif name in own.get("_modules", ()):
            if value is not None:
                raise TypeError(f"{name} is a module")
            own["_modules"][name] = None
        elif name in own.get("_buffers", ()):
            own["_buffers"][name] = value
        else:
            object.__setattr__(self, name, value)

    def _forget(self, name: str) -> None:
        own = self.__dict__
        if "_parameters" not in own:
            raise AttributeError("a module is given parts before Module.__init__()")
        own.pop(name, None)
        for kind in ("_parameters", "_buffers", "_modules"):
            own[kind].pop(name, None)
        own["_non_persistent_buffers_set"].discard(name)

    def __delattr__(self, name: str) -> None:
        for kind in ("_parameters", "_buffers", "_modules"):
            if name in self.__dict__[kind]:
                del self.__dict__[kind][name]
                return
        object.__delattr__(self, name)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._parameters, *self._buffers, *self._modules})

    def register_parameter(self, name: str, param: Any) -> None:
        for hook in ON_PARAMETER:
            hook(self, name, param)
        self._parameters[name] = param

    def register_buffer(self, name: str, tensor: Any, persistent: bool = True) -> None:
        self._forget(name)
        self._buffers[name] = tensor
        if not persistent:
            self._non_persistent_buffers_set.add(name)

    def add_module(self, name: str, module: Any) -> None:
        self._modules[name] = module

    register_module = add_module

    # walking

    def named_modules(
        self, memo: set[int] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[Any]:
        memo = set() if memo is None else memo
        if id(self) in memo:
            return
        if remove_duplicate:
            memo.add(id(self))
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                yield from module.named_modules(memo, f"{prefix}.{name}" if prefix else name, remove_duplicate)

    def modules(self) -> Iterator[Any]:
        return (module for _, module in self.named_modules())

    def named_children(self) -> Iterator[Any]:
        seen = set()
        for name, module in self._modules.items():
            if module is not None and id(module) not in seen:
                seen.add(id(module))
                yield name, module

    def children(self) -> Iterator[Any]:
        return (module for _, module in self.named_children())

    def _named(self, kind: str, prefix: str, recurse: bool, remove_duplicate: bool) -> Iterator[Any]:
        seen = set()
        modules = self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate) if recurse else [(prefix, self)]
        for place, module in modules:
            for name, value in module.__dict__[kind].items():
                if value is None or id(value) in seen:
                    continue
                if remove_duplicate:
                    seen.add(id(value))
                yield f"{place}.{name}" if place else name, value

    def named_parameters(self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True) -> Iterator[Any]:
        return self._named("_parameters", prefix, recurse, remove_duplicate)

    def named_buffers(self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True) -> Iterator[Any]:
        return self._named("_buffers", prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Any]:
        return (value for _, value in self.named_parameters(recurse=recurse))

    def buffers(self, recurse: bool = True) -> Iterator[Any]:
        return (value for _, value in self.named_buffers(recurse=recurse))

    def get_submodule(self, target: str) -> Any:
        found: Any = self
        for name in target.split(".") if target else ():
            found = getattr(found, name)
            if not isinstance(found, Module):
                raise AttributeError(f"{name} is no module")
        return found

    def _get(self, kind: str, target: str) -> Any:
        place, _, name = target.rpartition(".")
        held = self.get_submodule(place).__dict__[kind]
        if name not in held:
            raise AttributeError(f"{target} is none of {kind}")
        return held[name]

    def get_parameter(self, target: str) -> Any:
        return self._get("_parameters", target)

    def get_buffer(self, target: str) -> Any:
        return self._get("_buffers", target)

    def set_submodule(self, target: str, module: Any, strict: bool = False) -> None:
        place, _, name = target.rpartition(".")
        setattr(self.get_submodule(place), name, module)

    def state_dict(self, *_: Any, prefix: str = "", **__: Any) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for place, module in self.named_modules(prefix=prefix.rstrip("."), remove_duplicate=False):
            own = type(module)
            if own.state_dict is not Module.state_dict or any(hasattr(own, name) for name in OWN_STATE):
                raise Unknown(f"{own.__name__} writes a state of its own")
            lead = f"{place}." if place else ""
            for name, value in module._parameters.items():
                if value is not None:
                    found[lead + name] = value
            for name, value in module._buffers.items():
                if value is not None and name not in module._non_persistent_buffers_set:
                    found[lead + name] = value
        return found

    def apply(self, function: Callable[[Any], Any]) -> Any:
        for module in self.children():
            module.apply(function)
        function(self)
        return self

    # what changes no shape

    def _kept(self, *_: Any, **__: Any) -> Any:
        return self

    eval = cuda = cpu = requires_grad_ = to_empty = share_memory = _kept

    def train(self, mode: bool = True) -> Any:
        return self

    def to(self, *args: Any, **kwargs: Any) -> Any:
        kinds = [each for each in (*args, *kwargs.values()) if isinstance(each, Dtype)]
        return self._cast(kinds[0]) if kinds else self

    def _cast(self, kind: Dtype) -> Any:
        for value in (*self.parameters(), *self.buffers()):
            if value.is_floating_point():
                value.data = value.to(kind)
        return self

    def half(self) -> Any:
        return self._cast(DTYPES["float16"])

    def float(self) -> Any:
        return self._cast(DTYPES["float32"])

    def bfloat16(self) -> Any:
        return self._cast(DTYPES["bfloat16"])

    def double(self) -> Any:
        return self._cast(DTYPES["float64"])

    def _hooked(self, *_: Any, **__: Any) -> Handle:
        return Handle()

    register_forward_hook = register_forward_pre_hook = register_full_backward_hook = _hooked
    register_load_state_dict_pre_hook = register_load_state_dict_post_hook = _hooked
    _register_load_state_dict_pre_hook = _hooked
    register_full_backward_pre_hook = register_backward_hook = _hooked

    def reset_parameters(self) -> None:
        return None

    def extra_repr(self) -> str:
        return ""

    def zero_grad(self, *_: Any, **__: Any) -> None:
        return None

    def compile(self, *_: Any, **__: Any) -> None:
        return None

    def _get_name(self) -> str:
        return type(self).__name__

    def __call__(self, *_: Any, **__: Any) -> Any:
        return Anything(f"{type(self).__name__}()")

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        made = object.__new__(type(self))
        memo[id(self)] = made
        for name, value in self.__dict__.items():
            made.__dict__[name] = copy.deepcopy(value, memo)
        return made


def hold(module: Module, name: str, *shape: int, kind: Dtype | None = None, there: bool = True) -> None:
    """Gives a module a parameter of a shape; None under its name where it is not there."""
    module.register_parameter(name, Parameter(empty(*shape, kind=kind)) if there else None)
