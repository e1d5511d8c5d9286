"""torch.nn's modules that hold others, or parameters, by a number or a name."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from inspector.measure.shapes.module import Module, Parameter
from inspector.measure.shapes.tensor import Tensor


class ModuleList(Module):
    def __init__(self, modules: Iterable[Any] | None = None) -> None:
        super().__init__()
        self.extend(modules or ())

    def append(self, module: Any) -> Any:
        self.add_module(str(len(self)), module)
        return self

    def extend(self, modules: Iterable[Any]) -> Any:
        for module in modules:
            self.append(module)
        return self

    def insert(self, index: int, module: Any) -> None:
        self._again([*list(self)[:index], module, *list(self)[index:]])

    def pop(self, index: int = -1) -> Any:
        found = self[index]
        del self[index]
        return found

    def _again(self, modules: Iterable[Any]) -> None:
        self.__dict__["_modules"] = {str(at): module for at, module in enumerate(modules)}

    def __getitem__(self, index: Any) -> Any:
        held = list(self._modules.values())
        return type(self)(held[index]) if isinstance(index, slice) else held[index]

    def __setitem__(self, index: int, module: Any) -> None:
        self._modules[list(self._modules)[index]] = module

    def __delitem__(self, index: Any) -> None:
        held = list(self._modules.values())
        del held[index]
        self._again(held)

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Any]:
        return iter(list(self._modules.values()))

    def __contains__(self, module: object) -> bool:
        return any(each is module for each in self._modules.values())

    def __add__(self, other: Iterable[Any]) -> Any:
        return type(self)([*self, *other])

    def __iadd__(self, other: Iterable[Any]) -> Any:
        return self.extend(other)


class Sequential(ModuleList):
    def __init__(self, *modules: Any) -> None:
        Module.__init__(self)
        if len(modules) == 1 and isinstance(modules[0], Mapping):
            for name, module in modules[0].items():
                self.add_module(name, module)
        else:
            self.extend(modules)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return type(self)(OrderedDict(list(self._modules.items())[index]))
        return list(self._modules.values())[index]

    def __add__(self, other: Iterable[Any]) -> Any:
        return type(self)(*self, *other)


class Mapped(Module):
    """What ModuleDict and ParameterDict share."""

    KIND = "_modules"

    def __init__(self, values: Any = None) -> None:
        super().__init__()
        if values:
            self.update(values)

    @property
    def _held(self) -> dict[str, Any]:
        found: dict[str, Any] = self.__dict__[self.KIND]
        return found

    def update(self, values: Any) -> None:
        for name, value in values.items() if hasattr(values, "items") else values:
            self[name] = value

    def __setitem__(self, name: str, value: Any) -> None:
        setattr(self, name, value) if self.KIND == "_parameters" else self.add_module(name, value)

    def __getitem__(self, name: str) -> Any:
        return self._held[name]

    def __delitem__(self, name: str) -> None:
        del self._held[name]

    def __contains__(self, name: object) -> bool:
        return name in self._held

    def __len__(self) -> int:
        return len(self._held)

    def __iter__(self) -> Iterator[str]:
        return iter(self._held)

    def keys(self) -> Any:
        return self._held.keys()

    def values(self) -> Any:
        return self._held.values()

    def items(self) -> Any:
        return self._held.items()

    def get(self, name: str, default: Any = None) -> Any:
        return self._held.get(name, default)

    def pop(self, name: str) -> Any:
        return self._held.pop(name)


class ModuleDict(Mapped):
    pass


class ParameterDict(Mapped):
    KIND = "_parameters"

    def __setitem__(self, name: str, value: Any) -> None:
        setattr(
            self, name, value if isinstance(value, Parameter) or not isinstance(value, Tensor) else Parameter(value)
        )


class ParameterList(Module):
    def __init__(self, values: Iterable[Any] = ()) -> None:
        super().__init__()
        self.extend(values or ())

    def append(self, value: Any) -> Any:
        self.register_parameter(str(len(self)), value if isinstance(value, Parameter) else Parameter(value))
        return self

    def extend(self, values: Iterable[Any]) -> Any:
        for value in values:
            self.append(value)
        return self

    def __len__(self) -> int:
        return len(self._parameters)

    def __iter__(self) -> Iterator[Any]:
        return iter(list(self._parameters.values()))

    def __getitem__(self, index: Any) -> Any:
        return list(self._parameters.values())[index]
