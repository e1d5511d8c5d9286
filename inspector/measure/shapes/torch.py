"""A torch of shapes alone, under torch's name: transformers' classes are built with it, where torch is not installed.

What a class needs to say which tensors it has is here: modules with parameters, small calculations. Everything else can
be named and not used (inspector/measure/shapes/anything.py). `install` puts it in the place of torch, so it is
for a process of its own.
"""

from __future__ import annotations

import importlib.metadata
import math
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import numpy as np

from inspector.measure.shapes.anything import NO, Anything, no
from inspector.measure.shapes.dtypes import ALIASES, DTYPES, Dtype
from inspector.measure.shapes.layers import CLASSES, Unbuilt
from inspector.measure.shapes.making import MAKERS, pad
from inspector.measure.shapes.module import DEFAULT, Buffer, Parameter, on_parameter
from inspector.measure.shapes.operations import BY_NAME, kept
from inspector.measure.shapes.parametrizations import (
    ParametrizationList,
    is_parametrized,
    parametrized_weight_norm,
    remove_parametrizations,
    remove_weight_norm,
    weight_norm,
)
from inspector.measure.shapes.tensor import Device, Size, Tensor

VERSION = "2.13.0"
HERE = {"torch": VERSION, "torchvision": "0.28.0", "natten": "0.20.0"}
"""What is found here, and the versions that transformers asks for. Of all but torch nothing is used in a build."""
LENT = {"scipy": "1.17.0"}
"""What is found here where it is not installed: losses ask for it, and use it in a pass alone."""
BESIDE = ("timm",)
"""What is made of torch's modules alone."""


class Part(ModuleType):
    """A module of torch: what is put there, and `Anything` of every other name."""

    __path__ = ()  # type: ignore[assignment]  # of a package

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if f"{self.__name__}.{name}" in CONTENTS:
            return import_module(f"{self.__name__}.{name}")
        if self.__name__ == "torch.nn" and name[:1].isupper():
            found: Any = type(name, (Unbuilt,), {})
        else:
            found = no if name in NO else Anything(f"{self.__name__}.{name}")
        setattr(self, name, found)
        return found


class Finder(MetaPathFinder, Loader):
    """Finds torch here, and nothing of what is made of the real one."""

    def __init__(self, others: Sequence[Any]) -> None:
        self.others = others

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        top = fullname.partition(".")[0]
        if top in HERE:
            return ModuleSpec(fullname, self, is_package=True)
        if "." not in fullname and needs_torch(fullname):
            return None
        found = (each.find_spec(fullname, path, target) for each in self.others)
        return next((spec for spec in found if spec is not None), None)

    def find_distributions(self, *context: Any) -> Iterator[Any]:
        for each in self.others:
            if hasattr(each, "find_distributions"):
                yield from each.find_distributions(*context)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return Part(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        vars(module).update(CONTENTS.get(module.__name__, {}))
        module.__file__ = "torch"


def needs_torch(name: str) -> bool:
    """Whether an installed package requires torch: its code is for the real one."""
    if name in sys.stdlib_module_names or name in BESIDE:
        return False
    try:
        wanted = importlib.metadata.requires(name) or ()
    except importlib.metadata.PackageNotFoundError:
        return False
    return any(each.split(";")[0].strip().startswith("torch") and "extra" not in each for each in wanted)


def _version(name: str, real: Any = importlib.metadata.version) -> str:
    return HERE[name] if name in HERE else real(name)


def install() -> None:
    """Puts it in the place of torch, for this process."""
    HERE.update((name, version) for name, version in LENT.items() if find_spec(name) is None)
    sys.meta_path[:] = [Finder(tuple(sys.meta_path))]
    importlib.metadata.version = _version  # type: ignore[assignment]


LARGEST = {
    name: tuple(float(getattr(np.finfo(name), each)) for each in ("max", "eps", "tiny"))
    for name in ("float16", "float32", "float64")
}
LARGEST["bfloat16"] = ((2 - 2.0**-7) * 2.0**127, 2.0**-7, 2.0**-126)
LARGEST |= {"float8_e4m3fn": (448.0, 2.0**-3, 2.0**-6), "float8_e5m2": (57_344.0, 2.0**-2, 2.0**-14)}
"""Of floats the largest value, the step after 1, and the smallest normal one."""


class Generator:
    def manual_seed(self, *_: Any) -> Generator:
        return self


class Info:
    """torch.finfo and torch.iinfo."""

    def __init__(self, kind: Any = None) -> None:
        kind = kind or DEFAULT[0]
        self.bits, self.dtype = 8 * kind.itemsize, kind.name
        if not kind.is_floating_point:
            self.max: float = int(np.iinfo(kind.numpy).max)
            self.min: float = int(np.iinfo(kind.numpy).min)
        elif kind.name in LARGEST:
            self.max, self.eps, self.tiny = LARGEST[kind.name]
            self.min, self.smallest_normal = -self.max, self.tiny


class NoGrad:
    """torch.no_grad and its like: a context, a decorator, or a decorator's maker."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __new__(cls, *args: Any, **_: Any) -> Any:
        return args[0] if args and callable(args[0]) else super().__new__(cls)

    def __call__(self, function: Any) -> Any:
        return function

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        return None


def given_back(first: Any = None, *_: Any, **__: Any) -> Any:
    """What it is called with; itself, where that is yet to come, as of a decorator with settings."""
    return given_back if first is None else first


def set_default_dtype(kind: Dtype) -> None:
    DEFAULT[0] = kind


def of_type(name: str, kind: str) -> type[Tensor]:
    return type(name, (Tensor,), {"KIND": DTYPES[kind]})


def filled(tensor: Tensor, *_: Any, **__: Any) -> Tensor:
    """Of torch.nn.init's functions: the tensor, of other values."""
    return tensor.in_place()


METHODS = """
flatten reshape transpose permute unsqueeze squeeze chunk split unbind narrow numel is_floating_point is_complex
repeat_interleave swapaxes clone
"""
INITS = """
xavier_uniform_ xavier_normal_ kaiming_uniform_ kaiming_normal_ normal_ uniform_ zeros_ ones_ constant_ trunc_normal_
orthogonal_ eye_ dirac_ sparse_
"""
TYPES = ALIASES | {"bfloat16": "bfloat16", "bool": "bool", "byte": "uint8", "char": "int8"}
SPELT = {"bfloat16": "BFloat16"}

CONTENTS: dict[str, dict[str, Any]] = {
    "torch": {
        **BY_NAME,
        **DTYPES,
        **{name: DTYPES[kind] for name, kind in ALIASES.items()},
        **{name: getattr(Tensor, name) for name in METHODS.split()},
        **{f"{SPELT.get(name, name.title())}Tensor": of_type(f"{name}Tensor", kind) for name, kind in TYPES.items()},
        **dict.fromkeys(("no_grad", "inference_mode", "enable_grad", "set_grad_enabled"), NoGrad),
        **MAKERS,
        "__version__": VERSION,
        "Tensor": Tensor,
        "Size": Size,
        "Generator": Generator,
        "device": Device,
        "dtype": Dtype,
        "finfo": Info,
        "iinfo": Info,
        "is_tensor": lambda value: isinstance(value, Tensor),
        "get_default_dtype": lambda: DEFAULT[0],
        "set_default_dtype": set_default_dtype,
        "get_default_device": lambda: Device("cpu"),
        "manual_seed": lambda *_: Generator(),
        "compile": given_back,
        "strided": "strided",
        "inf": float("inf"),
        "nan": float("nan"),
        "pi": math.pi,
    },
    "torch.nn": CLASSES,
    "torch.nn.modules.module": {**CLASSES, "register_module_parameter_registration_hook": on_parameter},
    "torch.nn.parameter": {"Parameter": Parameter, "Buffer": Buffer},
    "torch.nn.modules": CLASSES,
    "torch.nn.utils": {
        "weight_norm": weight_norm,
        "remove_weight_norm": remove_weight_norm,
    },
    "torch.nn.utils.parametrizations": {"weight_norm": parametrized_weight_norm},
    "torch.nn.utils.parametrize": {
        "remove_parametrizations": remove_parametrizations,
        "is_parametrized": is_parametrized,
        "ParametrizationList": ParametrizationList,
    },
    "torch.nn.functional": {"pad": pad, "softmax": kept, "softplus": BY_NAME["softplus"]},
    "torch.nn.init": dict.fromkeys(INITS.split(), filled),
    "torch.version": {"cuda": None, "hip": None, "xpu": None, "__version__": VERSION},
    "torch.accelerator": {"current_accelerator": lambda *_, **__: None},
    "torch.cuda": {"device_count": lambda: 0, "is_bf16_supported": no},
    "torch.compiler": {"disable": given_back, "allow_in_graph": given_back},
}
for _place in ("activation", "linear", "sparse", "conv", "batchnorm", "container", "loss", "normalization"):
    CONTENTS[f"torch.nn.modules.{_place}"] = CLASSES
