"""Environment and CUDA-like stub platform: import before anything of vllm."""

import os
import sys
import tempfile
import types

_W = os.path.join(tempfile.gettempdir(), "vllm-oracle")
os.environ.update(
    VLLM_LOGGING_LEVEL="ERROR",
    HF_HUB_OFFLINE="1",
    VLLM_NO_USAGE_STATS="1",
    HF_HOME=os.path.join(_W, "hf"),
    VLLM_CACHE_ROOT=os.path.join(_W, "vc"),
    VLLM_CONFIG_ROOT=os.path.join(_W, "vcfg"),
    TRANSFORMERS_VERBOSITY="error",
    VLLM_TARGET_DEVICE="cuda",
    VLLM_ENABLE_V1_MULTIPROCESSING="0",
    TOKENIZERS_PARALLELISM="false",
    VLLM_PLUGINS="",
    CUDA_VISIBLE_DEVICES="",
)
import warnings

warnings.filterwarnings("ignore")
for n in (
    "vllm._C_stable_libtorch",
    "vllm._C",
    "vllm._moe_C",
    "vllm._moe_C_stable_libtorch",
    "vllm._qutlass_C",
    "vllm._rocm_C",
    "vllm.vllm_flash_attn._vllm_fa2_C",
    "vllm.vllm_flash_attn._vllm_fa3_C",
    "vllm._flashmla_C",
    "vllm._flashmla_extension_C",
    "vllm._deepselect_C",
    "vllm._flashkda_C",
    "vllm.cumem_allocator",
):
    sys.modules[n] = types.ModuleType(n)
import torch

_tv = torch.library.Library("torchvision", "FRAGMENT")
[_tv.define(n + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor") for n in ("nms", "qnms")]
import torch._ops as _O


class _Op:
    """Stands for a CUDA op of vLLM's extensions, which this machine cannot load."""

    def __init__(self, name):
        self.__name__ = name
        self.name_ = name
        self._schema = None

    def __call__(self, *a, **k):
        n = self.name_
        if "support" in n:
            return True
        if "workspace_size" in n:
            return 0
        raise RuntimeError("stub op " + n)

    def __getattr__(self, n):
        if n.startswith("__"):
            raise AttributeError(n)
        return _Op(self.name_)

    def __hash__(self):
        return hash(self.name_)

    def __eq__(self, o):
        return isinstance(o, _Op) and o.name_ == self.name_


_old = _O._OpNamespace.__getattr__


def _ga(self, n):
    try:
        return _old(self, n)
    except AttributeError:
        if self.name.startswith(
            ("_C", "_moe_C", "_vllm_fa", "_flash", "_qutlass", "_deepselect", "vllm_", "deep_gemm")
        ) and not n.startswith("__"):
            return _Op(n)
        raise


_O._OpNamespace.__getattr__ = _ga
_ll = torch.ops.load_library
torch.ops.load_library = lambda p: None if "/vllm/" in str(p) else _ll(p)
_rf = torch.library.register_fake


def _register_fake(op, func=None, /, **k):
    if isinstance(op, str) and op.split("::")[0] != "vllm" and "torchvision" not in op:

        def deco(f):
            try:
                return _rf(op, **k)(f)
            except RuntimeError:
                return f

        return deco if func is None else deco(func)
    return _rf(op, func, **k)


torch.library.register_fake = _register_fake
import vllm.platforms as P
from vllm.platforms import cuda as C
from vllm.platforms.interface import DeviceCapability


class Stub(C.NonNvmlCudaPlatform):
    device_name = "cuda"
    device_type = "cuda"

    @property
    def supported_dtypes(self):
        return [torch.bfloat16, torch.float16, torch.float32]

    @classmethod
    def get_device_capability(cls, device_id=0):
        return DeviceCapability(9, 0)

    @classmethod
    def has_device_capability(cls, capability, device_id=0):
        c = capability if isinstance(capability, int) else capability[0] * 10 + capability[1]
        return c <= 90

    @classmethod
    def get_device_name(cls, device_id=0):
        return "NVIDIA H200"

    @classmethod
    def get_device_total_memory(cls, device_id=0):
        return 143771 * 2**20

    @classmethod
    def num_compute_units(cls, device_id=0):
        return 132

    @classmethod
    def is_pin_memory_available(cls):
        return False

    @classmethod
    def device_count(cls):
        return 1

    @classmethod
    def get_cuda_runtime_major(cls):
        return 13

    @classmethod
    def set_device(cls, device):
        pass

    @classmethod
    def import_kernels(cls):
        pass

    @classmethod
    def is_integrated_gpu(cls, device_id=0):
        return False

    @classmethod
    def get_device_uuid(cls, device_id=0):
        return "GPU-0"


P._current_platform = Stub()


class _Dummy:
    def __init__(self, *a, **k):
        self.cuda_stream = 0
        self.__dict__.update(k)

    def __getattr__(self, n):
        if n.startswith("__"):
            raise AttributeError(n)
        return lambda *a, **k: None

    def __enter__(self):
        return self

    def __exit__(self, *a):
        return None


_props = types.SimpleNamespace(
    name="NVIDIA H200",
    major=9,
    minor=0,
    total_memory=143771 * 2**20,
    multi_processor_count=132,
    L2_cache_size=50 * 2**20,
    warp_size=32,
    shared_memory_per_block_optin=232448,
    shared_memory_per_multiprocessor=233472,
    regs_per_multiprocessor=65536,
    max_threads_per_multi_processor=2048,
)
cu = torch.cuda
cu.current_device = lambda: 0
cu.is_available = lambda: False
cu.device_count = lambda: 1
cu.Stream = type("Stream", (_Dummy,), {})
cu.Event = type("Event", (_Dummy,), {})
cu.ExternalStream = type("ExternalStream", (_Dummy,), {})
cu.current_stream = lambda *a, **k: _Dummy()
cu.default_stream = lambda *a, **k: _Dummy()
cu.stream = lambda s: _Dummy()
for _n in ("set_device", "synchronize", "empty_cache"):
    setattr(cu, _n, lambda *a, _n=_n, **k: None)
cu.get_device_properties = lambda *a, **k: _props
cu.get_device_capability = lambda *a, **k: (9, 0)
cu.get_device_name = lambda *a, **k: "NVIDIA H200"
cu.mem_get_info = lambda *a, **k: (143771 * 2**20, 143771 * 2**20)
cu.is_current_stream_capturing = lambda: False
cu.is_bf16_supported = lambda *a, **k: True
torch.version.cuda = "13.0"
torch.accelerator.empty_cache = lambda *a, **k: None
from torch.overrides import TorchFunctionMode


class Meta(TorchFunctionMode):
    """Sends every tensor that is asked for on the GPU to the meta device."""

    def __init__(self, big=False):
        super().__init__()
        self.big = big

    def __torch_function__(self, func, types_, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        d = kwargs.get("device")
        if d is not None and "cuda" in str(d):
            kwargs["device"] = "meta"
        if isinstance(d, int):
            kwargs["device"] = "meta"
        n = getattr(func, "__name__", "")
        if self.big and n in ("empty", "empty_strided", "rand", "randn") and "device" not in kwargs:
            kwargs["device"] = "meta"
        if n == "cuda":
            return args[0].to("meta")
        if n == "pin_memory":
            return args[0]
        if n == "to":
            args = tuple("meta" if (isinstance(a, (str, torch.device)) and "cuda" in str(a)) else a for a in args)
        return func(*args, **kwargs)


import importlib.abc
import importlib.machinery

NAMES = {"cutlass", "quack"}


class Anything:
    """Stands for anything of a package that only kernels use: a decorator, a class to derive from, a number."""

    def __init__(self, *a, **k):
        pass

    def __call__(self, *a, **k):
        return a[0] if len(a) == 1 and callable(a[0]) and not k else Anything()

    def __getattr__(self, n):
        if n.startswith("__"):
            raise AttributeError(n)
        return Anything()

    def __mro_entries__(self, bases):
        return (object,)

    def __iter__(self):
        return iter(())

    def __len__(self):
        return 1

    def __index__(self):
        return 1

    __int__ = __index__

    def __float__(self):
        return 1.0

    def __contains__(self, k):
        return False

    def __getitem__(self, k):
        return Anything()

    def __or__(self, o):
        return self

    __ror__ = __or__


class _Mod(types.ModuleType):
    def __getattr__(self, n):
        if n.startswith("__"):
            raise AttributeError(n)
        return Anything()


class _Find(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in NAMES:
            return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec):
        return _Mod(spec.name)

    def exec_module(self, m):
        m.__path__ = []


sys.meta_path.append(_Find())
