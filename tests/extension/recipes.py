"""The recipes of docs/architecture.md, done word for word in a copy of the package."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import struct
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "architecture.md"

_STEP = re.compile(
    r"^`(inspector/[\w./]+)`(?:, (after|before|instead of) `(.+?)`)?:\n\n```\w+\n(.*?)^```$", re.S | re.M
)


class Step(NamedTuple):
    """One block of a recipe: a new file, or lines for one line's neighbourhood."""

    path: str
    where: str
    line: str
    code: str


def steps(title: str) -> list[Step]:
    """The blocks below a heading of the page."""
    section = PAGE.read_text("utf-8").partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    found = [Step(*match.groups("")) for match in _STEP.finditer(section)]
    assert found, f"{PAGE.name} has no recipe '{title}'"
    return found


def code_lines(title: str) -> int:
    """Lines that a recipe has one write."""
    return sum(step.code.count("\n") for step in steps(title))


def package_with(title: str, folder: Path) -> Path:
    """A folder with a copy of the package in which a recipe has been followed, and nothing else touched."""
    ignored = shutil.ignore_patterns("__pycache__", "data")
    shutil.copytree(ROOT / "inspector", folder / "inspector", ignore=ignored)
    (folder / "inspector" / "data").mkdir()
    for each in (ROOT / "inspector" / "data").iterdir():
        (folder / "inspector" / "data" / each.name).symlink_to(each)
    (folder / "fixtures").symlink_to(ROOT / "fixtures")
    for step in steps(title):
        path = folder / step.path
        if not step.where:
            assert not path.exists(), f"{step.path} is there already"
            path.parent.mkdir(exist_ok=True)
            path.write_text(step.code, "utf-8")
            continue
        text = path.read_text("utf-8")
        assert text.count(f"{step.line}\n") == 1, f"{step.path} has not one line {step.line!r}"
        line = f"{step.line}\n"
        new = {"after": line + step.code, "before": step.code + line, "instead of": step.code}[step.where]
        path.unlink()  # of the data it is a link
        path.write_text(text.replace(line, new), "utf-8")
    return folder


def run(package: Path, *arguments: str, code: int = 0) -> str:
    """What the copy's command prints, both streams; with "-c", what a script does there."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment |= {"HF_HOME": str(package / "home"), "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(package)}
    start = arguments if arguments[0] == "-c" else ("-m", "inspector", *arguments)
    done = subprocess.run(
        [sys.executable, *start], capture_output=True, text=True, env=environment, cwd=package, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout if code == 0 else done.stdout + done.stderr


def record(package: Path, *arguments: str) -> dict[str, Any]:
    """What the command prints as JSON."""
    found: dict[str, Any] = json.loads(run(package, *arguments, "--json"))
    return found


MATRICES = {
    **{"self_attn.q_proj": (64, 64), "self_attn.k_proj": (32, 64), "self_attn.v_proj": (32, 64)},
    **{"self_attn.o_proj": (64, 64), "mlp.gate_proj": (128, 64), "mlp.up_proj": (128, 64), "mlp.down_proj": (64, 128)},
}
"""The linear layers of a block of `tiny_llama`."""


def tiny_llama(folder: Path, config: Mapping[str, Any], matrices: Mapping[str, tuple[str, tuple[int, ...]]]) -> str:
    """Write a Llama of two layers, all zeros; its path.

    Args:
        config: keys beside the usual ones.
        matrices: the tensors of a block's linear layers, with their dtypes and shapes.
    """
    tensors = {f"{name}.weight": ("BF16", (256, 64)) for name in ("model.embed_tokens", "lm_head")}
    tensors["model.norm.weight"] = ("BF16", (64,))
    for layer in ("model.layers.0", "model.layers.1"):
        for norm in ("input_layernorm", "post_attention_layernorm"):
            tensors[f"{layer}.{norm}.weight"] = ("BF16", (64,))
        tensors |= {f"{layer}.{name}": tensor for name, tensor in matrices.items()}
    header, end = {}, 0
    for name, (dtype, shape) in tensors.items():
        begin, end = end, end + (1 if dtype == "U8" else 2) * math.prod(shape)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}
    usual = {
        **{"model_type": "llama", "architectures": ["LlamaForCausalLM"], "torch_dtype": "bfloat16"},
        **{"hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 128},
        **{"num_hidden_layers": 2, "vocab_size": 256, "max_position_embeddings": 4096},
    }
    text = json.dumps(header).encode()
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(usual | config), "utf-8")
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + bytes(end))
    return str(folder)
