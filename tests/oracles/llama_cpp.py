"""Measures llama.cpp's buffers on this machine's CPU: GGUF files of the right shapes and no data, read off the log.

    pip install xllamacpp gguf numpy
    python tests/oracles/llama_cpp.py > tests/memory/data/llama_cpp_buffers.json

The files are sparse, and no weight is ever read: the server maps them, reserves its graph, and is ended.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

DENSE = {"V": 32000, "h": 4096, "f": 4096, "nh": 32, "nkv": 8, "d": 128}
MIXTURE = {
    "arch": "qwen3moe",
    "V": 32000,
    "h": 2048,
    "f": 6144,
    "nh": 32,
    "nkv": 4,
    "d": 128,
    "E": 16,
    "u": 8,
    "fe": 768,
}
SHAPES: dict[str, dict[str, Any]] = {
    "llama-2-7b": {"V": 32000, "h": 4096, "f": 11008, "nh": 32, "nkv": 32, "d": 128},
    "llama-3-8b": {"V": 128256, "h": 4096, "f": 14336, "nh": 32, "nkv": 8, "d": 128},
    "qwen3-8b": {"arch": "qwen3", "V": 151936, "h": 4096, "f": 12288, "nh": 32, "nkv": 8, "d": 128},
    "tinyllama": {"V": 32000, "h": 2048, "f": 5632, "nh": 32, "nkv": 4, "d": 64},
    "mixtral": {"V": 32000, "h": 4096, "f": 14336, "nh": 32, "nkv": 8, "d": 128, "E": 8, "u": 2, "fe": 14336},
    "qwen3-30b-a3b": MIXTURE | {"V": 151936, "E": 128},
    "gemma-3-4b": {
        "arch": "gemma3",
        "V": 262144,
        "h": 2560,
        "f": 10240,
        "nh": 8,
        "nkv": 4,
        "d": 256,
        "swa": 1024,
        "L": 6,
    },
    "wide experts": MIXTURE | {"fe": 1536},
    "four experts": MIXTURE | {"u": 4},
    "wide mixture": MIXTURE | {"h": 4096},
    "narrow mlp": DENSE | {"f": 1024},
    "narrow mlp, 64 heads": DENSE | {"f": 1024, "nh": 64},
    "narrow mlp, 32 kv heads": DENSE | {"f": 1024, "nkv": 32},
}
RUNS: tuple[dict[str, Any], ...] = (
    {"n_ctx": 4096},
    {"n_ctx": 4096, "n_ubatch": 2048},
    {"n_ctx": 32768},
    {"n_ctx": 4096, "flash_attn": False},
    {"n_ctx": 16384, "n_parallel": 4},
)
START = """
import json, os, sys, xllamacpp as x
path, run = sys.argv[1], json.loads(sys.argv[2])
p = x.CommonParams()
p.model.path, p.n_ctx, p.n_parallel = path, run["n_ctx"], run.get("n_parallel", 1)
p.n_ubatch, p.n_batch = run.get("n_ubatch", 512), 2048
p.fit_params, p.warmup, p.verbosity = False, False, 5
if not run.get("flash_attn", True):
    p.flash_attn_type = x.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
server = x.Server(p)  # kept: what ends it may wait for ever
os._exit(0)
"""


def make_gguf(path: Path, shape: dict[str, Any]) -> None:
    """A GGUF header of these shapes, and a hole of the tensors' size behind it."""
    import gguf
    import numpy as np

    arch, vocabulary, hidden, inner = shape.get("arch", "llama"), shape["V"], shape["h"], shape["f"]
    heads, cached, width, layers = shape["nh"], shape["nkv"], shape["d"], shape.get("L", 2)
    writer = gguf.GGUFWriter(path, arch)
    writer.add_context_length(131072)
    writer.add_embedding_length(hidden)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(inner)
    writer.add_head_count(heads)
    writer.add_head_count_kv(cached)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_key_length(width)
    writer.add_value_length(width)
    writer.add_rope_dimension_count(width)
    writer.add_vocab_size(vocabulary)
    if "E" in shape:
        writer.add_expert_count(shape["E"])
        writer.add_expert_used_count(shape["u"])
        writer.add_expert_feed_forward_length(shape["fe"])
    if "swa" in shape:
        writer.add_sliding_window(shape["swa"])
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([f"t{i}" for i in range(vocabulary)])
    writer.add_token_types([1] * vocabulary)
    writer.add_token_merges(["t 0"])
    writer.add_chat_template("{{ messages[0]['content'] }}")
    tensors: list[tuple[str, tuple[int, ...]]] = [("token_embd", (vocabulary, hidden)), ("output_norm", (hidden,))]
    if arch != "gemma3":
        tensors.append(("output", (vocabulary, hidden)))
    for index in range(layers):
        block: list[tuple[str, tuple[int, ...]]] = [
            ("attn_norm", (hidden,)),
            ("ffn_norm", (hidden,)),
            ("attn_q", (heads * width, hidden)),
            ("attn_k", (cached * width, hidden)),
            ("attn_v", (cached * width, hidden)),
            ("attn_output", (hidden, heads * width)),
        ]
        if arch != "llama":
            block += [("attn_q_norm", (width,)), ("attn_k_norm", (width,))]
        if arch == "gemma3":
            block += [("post_attention_norm", (hidden,)), ("post_ffw_norm", (hidden,))]
        if "E" in shape:
            stack = (shape["E"], shape["fe"], hidden)
            block += [("ffn_gate_inp", (shape["E"], hidden)), ("ffn_gate_exps", stack), ("ffn_up_exps", stack)]
            block.append(("ffn_down_exps", (shape["E"], hidden, shape["fe"])))
        else:
            block += [("ffn_gate", (inner, hidden)), ("ffn_up", (inner, hidden)), ("ffn_down", (hidden, inner))]
        tensors += [(f"blk.{index}.{name}", size) for name, size in block]
    total = 0
    for name, size in tensors:
        kind = np.float32 if len(size) == 1 or name.endswith("gate_inp") else np.float16
        taken = int(np.prod(size)) * np.dtype(kind).itemsize
        writer.add_tensor_info(f"{name}.weight", size, np.dtype(kind), taken)
        total += -(-taken // 32) * 32
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    file = writer.fout[0]
    file.flush()
    file.truncate(-(-file.tell() // 32) * 32 + total)
    writer.close()


def measure(path: Path, run: dict[str, Any]) -> dict[str, Any]:
    """Buffers in MiB as the log prints them."""
    done = subprocess.run(
        [sys.executable, "-c", START, str(path), json.dumps(run)],
        capture_output=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        check=True,
    )
    log = (done.stderr + done.stdout).decode("utf-8", "replace")
    buffers = {kind: [] for kind in ("model", "KV", "compute")}
    for kind, size in re.findall(r"CPU\w* (model|KV|compute) buffer size =\s*([\d.]+) MiB", log):
        buffers[kind].append(float(size))
    return run | {"model": buffers["model"][-1], "kv": buffers["KV"], "compute": buffers["compute"][-1]}


def main() -> None:
    import importlib.metadata

    table = []
    with tempfile.TemporaryDirectory() as folder:
        for name, shape in SHAPES.items():
            path = Path(folder) / "model.gguf"
            make_gguf(path, shape)
            table += [{"name": name, "shape": shape, **measure(path, run)} for run in RUNS]
            path.unlink()
    head = {"made_by": "tests/oracles/llama_cpp.py", "xllamacpp": importlib.metadata.version("xllamacpp")}
    lines = ",\n  ".join(json.dumps(row) for row in table)
    print(f'{{"about": {json.dumps(head)},\n "runs": [\n  {lines}\n]}}')


if __name__ == "__main__":
    main()
