"""Runs llama.cpp itself on models of given metadata: what it allocates for a context.

    pip install --no-deps xllamacpp==2026.10.11549 llama-cpp-py-sync==0.11548 && pip install cffi numpy
    python tests/oracles/llama/real.py < JOBS.jsonl > FOUND.jsonl

The first wheel has libllama (build 11549) in its module, the second the declarations of its functions. A job is
{"name", "metadata", "runs": [settings], "tensors": whether to name them}. llama_model_init_from_user makes a model of
metadata alone, all tensors F32 and none of them allocated (no_alloc); a context is made for each run.
llama_get_memory_breakdown says to the byte what the context takes: it is a C++ function, whose std::map is read here
node by node. Each job has a process of its own, for llama.cpp ends the process where an assertion fails.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import sys
from typing import Any

LINE = re.compile(
    r"^llama_(kv_cache|memory_recurrent)[:,] (?:layer +(\d+): dev = |size = +[\d.]+ MiB \( *(\d+) cells)", re.MULTILINE
)
U64, I32 = {"layer_multipliers", "head_offsets", "head_vocab_sizes"}, {"sections", "deepstack_mapping", "target_layers"}


class Llama:
    """libllama, through the wheel's own declarations."""

    def __init__(self) -> None:
        from importlib.util import find_spec
        from pathlib import Path

        from llama_cpp_py_sync import _cffi_bindings as bindings

        spec = find_spec("xllamacpp")
        assert spec is not None
        assert spec.origin is not None
        path = str(next(Path(spec.origin).parent.glob("xllamacpp*.so")))
        self.ffi, self.lib, self.base = bindings.ffi, bindings.ffi.dlopen(path), ctypes.CDLL(path)
        self.base.gguf_init_empty.restype = ctypes.c_void_p
        self.breakdown = self.base._Z26llama_get_memory_breakdownPK13llama_context
        self.breakdown.restype, self.breakdown.argtypes = ctypes.c_void_p, [ctypes.c_void_p, ctypes.c_void_p]
        self.log = bytearray()
        self.shapes: dict[str, list[int]] = {}
        self.base.ggml_get_name.restype, self.base.ggml_get_name.argtypes = ctypes.c_char_p, [ctypes.c_void_p]
        self.set_tensor = self.ffi.callback("void(struct ggml_tensor *, void *)", self._named)
        self.on_log = self.ffi.callback("void(enum ggml_log_level, const char *, void *)", self._logged)
        self.lib.llama_log_set(self.on_log, self.ffi.NULL)
        self.lib.llama_backend_init()

    def _logged(self, _level: Any, text: Any, _data: Any) -> None:
        line = self.ffi.string(text)
        self.log.extend(line)
        if b" MiB (" in line and b"cells" in line:  # what is left where llama.cpp ends the process
            os.write(2, line)

    def _named(self, tensor: Any, _data: Any) -> None:
        address = int(self.ffi.cast("uintptr_t", tensor))
        shape = list((ctypes.c_int64 * 4).from_address(address + 16))
        while len(shape) > 1 and shape[-1] == 1:
            shape.pop()
        self.shapes[self.base.ggml_get_name(address).decode()] = shape

    def metadata(self, values: dict[str, Any]) -> int:
        """A gguf_context of these values."""
        made = self.base.gguf_init_empty()
        here, key_of = ctypes.c_void_p(made), str.encode
        for key, value in values.items():
            name = key_of(key)
            if isinstance(value, bool):
                self.base.gguf_set_val_bool(here, name, ctypes.c_bool(value))
            elif isinstance(value, int):
                self.base.gguf_set_val_u32(here, name, ctypes.c_uint32(value))
            elif isinstance(value, float):
                self.base.gguf_set_val_f32(here, name, ctypes.c_float(value))
            elif isinstance(value, str):
                self.base.gguf_set_val_str(here, name, value.encode())
            elif value and isinstance(value[0], str):
                words = (ctypes.c_char_p * len(value))(*map(str.encode, value))
                self.base.gguf_set_arr_str(here, name, words, ctypes.c_size_t(len(value)))
            else:
                last = key.rsplit(".", 1)[-1]
                kind, item = (6, ctypes.c_float) if value and isinstance(value[0], float) else (4, ctypes.c_uint32)
                kind, item = (
                    (10, ctypes.c_uint64) if last in U64 else (5, ctypes.c_int32) if last in I32 else (kind, item)
                )
                kind, item = (7, ctypes.c_bool) if value and isinstance(value[0], bool) else (kind, item)
                array = (item * len(value))(*value)
                self.base.gguf_set_arr_data(here, name, kind, array, ctypes.c_size_t(len(value)))
        return int(made)

    def parts(self, context: Any) -> dict[str, int]:
        """Bytes of the model, the context and the compute buffers, over all buffer types.

        std::map's header node lies 8 bytes in, its root 8 more; a node is colour, parent, left, right, key, value.
        """
        room = (ctypes.c_uint64 * 6)()
        self.breakdown(ctypes.addressof(room), int(self.ffi.cast("uintptr_t", context)))
        found, nodes = dict.fromkeys(("model", "context", "compute"), 0), [room[2]]
        while nodes:
            if address := nodes.pop():
                node = (ctypes.c_uint64 * 8).from_address(address)
                nodes += [node[2], node[3]]
                for name, size in zip(found, node[5:8], strict=True):
                    found[name] += size
        return found

    def load(self, values: dict[str, Any], *, empty: bool = True) -> Any:
        """A model of metadata; one with memory names its tensors as they are set.

        Raises:
            RuntimeError: llama.cpp's own words.
        """
        params = self.lib.llama_model_default_params()
        params.no_alloc, params.n_gpu_layers = empty, 0
        made = self.ffi.cast("struct gguf_context *", self.metadata(values))
        model = self.lib.llama_model_init_from_user(made, self.set_tensor, self.ffi.NULL, params)
        if model == self.ffi.NULL:
            raise RuntimeError(self.said())
        return model

    def said(self) -> str:
        """The log's last complaint."""
        lines = [line for line in bytes(self.log).decode("utf-8", "replace").splitlines() if line.strip()]
        return next((line for line in reversed(lines) if "error" in line), lines[-1] if lines else "")[-300:]

    def run(self, model: Any, settings: dict[str, Any]) -> dict[str, Any]:
        """What a context of these settings takes.

        Raises:
            RuntimeError: llama.cpp's own words.
        """
        params = self.lib.llama_context_default_params()
        for name, value in settings.items():
            setattr(params, name, value)
        self.log.clear()
        params.n_batch = max(params.n_batch, params.n_ubatch)
        params.n_threads = params.n_threads_batch = 1
        context = self.lib.llama_init_from_model(model, params)
        if context == self.ffi.NULL:
            raise RuntimeError(self.said())
        found = {**self.parts(context), "caches": caches(bytes(self.log).decode("utf-8", "replace"))}
        self.lib.llama_free(context)
        return found


def caches(log: str) -> list[dict[str, Any]]:
    """Each cache that a context's log names: its kind, cells and layers."""
    found: list[dict[str, Any]] = []
    layers: list[int] = []
    for kind, layer, cells in LINE.findall(log):
        if layer:
            layers.append(int(layer))
        else:
            found.append({"kind": kind, "cells": int(cells), "layers": layers})
            layers = []
    return found


def done(llama: Llama, job: dict[str, Any]) -> dict[str, Any]:
    """A job's answer."""
    try:
        model = llama.load(job["metadata"])
        found = {"name": job["name"], "runs": [llama.run(model, settings) for settings in job["runs"]]}
        if job.get("tensors"):
            llama.lib.llama_model_free(llama.load(job["metadata"], empty=False))
            found["tensors"] = llama.shapes
        return found
    except RuntimeError as error:
        return {"name": job["name"], "error": str(error)}


def main() -> None:
    os.environ["GGML_NO_BACKTRACE"] = "1"
    llama = Llama()
    for line in sys.stdin:
        job = json.loads(line)
        read, write = os.pipe()
        if not (child := os.fork()):
            os.close(read)
            os.dup2(write, 2)
            llama.log.clear()
            with os.fdopen(write, "w") as pipe:
                pipe.write(json.dumps(done(llama, job)))
                pipe.flush()
            os._exit(0)
        os.close(write)
        with os.fdopen(read) as pipe:
            answer = pipe.read()
        _, status = os.waitpid(child, 0)
        *words, last = answer.splitlines() or [""]
        if status:
            # Without the folder that the library was built in
            said = [re.sub(r"/\S+/(?=src/)", "", line) for line in (*words, last) if " MiB (" not in line]
            sizes = [line for line in words if " MiB (" in line]
            error = f"signal {status & 127}: {' '.join(said)[:300]}"
            last = json.dumps({"name": job["name"], "error": error, "sizes": sizes})
        print(last, flush=True)


if __name__ == "__main__":
    main()
