"""To add a mechanism of attention is to write one file under model/layers and one line in its registry."""

from __future__ import annotations

import json
import math
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

import inspector

TOY_FILE = '''"""Ring attention, a toy: one row a token, and at most as many as the ring has places."""

from dataclasses import dataclass
from typing import ClassVar

from inspector.model.layers.layer import CacheRequest, Layer, LayerSource


@dataclass(frozen=True, slots=True)
class RingAttention(Layer):
    """Every token sees those in a ring of `places`; a row is as wide as the hidden size."""

    hidden_size: int
    places: int

    kind: ClassVar[str] = "ring_attention"
    values_per_token = property(lambda self: self.hidden_size)
    config_keys = ("hidden_size", "sliding_window")

    @classmethod
    def read(cls, name: str, source: LayerSource) -> "RingAttention | None":
        hidden, places = source.whole("hidden_size"), source.whole("sliding_window")
        return cls(hidden, places) if hidden and places else None

    def tokens_held(self, request: CacheRequest) -> int:
        return min(request.context, self.places)
'''
TOY_LINE = '    "ring_attention": "ring:RingAttention",\n'


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package with the toy in it, and a model that has it in its second layer."""
    root = tmp_path_factory.mktemp("toy")
    source = Path(inspector.__file__).parent
    ignored = shutil.ignore_patterns("__pycache__", "data", "snapshots")
    shutil.copytree(source, root / "inspector", ignore=ignored)
    for name in ("data", "snapshots"):
        if (source / name).exists():
            (root / "inspector" / name).symlink_to(source / name)
    (root / "inspector/model/layers/ring.py").write_text(TOY_FILE, "utf-8")
    registry = root / "inspector/model/layers/registry.py"
    text = registry.read_text("utf-8")
    registry.write_text(text.replace("LAYER_TYPES = {\n", "LAYER_TYPES = {\n" + TOY_LINE, 1), "utf-8")
    config = {
        **{"model_type": "llama", "architectures": ["LlamaForCausalLM"], "torch_dtype": "bfloat16"},
        **{"hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 128},
        **{"num_hidden_layers": 2, "vocab_size": 256, "max_position_embeddings": 4096, "sliding_window": 100},
        "layer_types": ["full_attention", "ring_attention"],
    }
    (root / "model").mkdir()
    (root / "model/config.json").write_text(json.dumps(config), "utf-8")
    (root / "model/model.safetensors").write_bytes(weights())
    return root


def weights() -> bytes:
    """A safetensors file of that model, all zeros."""
    shapes = {"model.embed_tokens": (256, 64), "model.norm": (64,), "lm_head": (256, 64)}
    for layer in ("model.layers.0", "model.layers.1"):
        shapes |= {f"{layer}.{name}": (64,) for name in ("input_layernorm", "post_attention_layernorm")}
        shapes |= {f"{layer}.self_attn.{name}_proj": (64 if name in "qo" else 32, 64) for name in "qkvo"}
        shapes |= {f"{layer}.mlp.{name}_proj": (128, 64) for name in ("gate", "up")}
        shapes[f"{layer}.mlp.down_proj"] = (64, 128)
    header, end = {}, 0
    for name, shape in shapes.items():
        begin, end = end, end + 2 * math.prod(shape)
        header[f"{name}.weight"] = {"dtype": "BF16", "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(end)


def run(package: Path, command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(package)}
    words = [sys.executable, "-m", "inspector", command, str(package / "model"), *arguments]
    return subprocess.run(words, capture_output=True, text=True, env=environment, cwd=package, check=False)


def test_it_takes_fewer_than_thirty_lines() -> None:
    assert TOY_FILE.count("\n") + TOY_LINE.count("\n") < 30


def test_its_cache_and_its_kind_are_in_the_report(package: Path) -> None:
    done = run(package, "show", "--json", "--context", "1000", "--batch", "3")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["model"]["layer_kinds"] == {"full_attention": 1, "ring_attention": 1}
    rows = 2 * (16 + 16)
    assert found["memory"]["inference"]["kv_cache"] == 3 * 2 * (1000 * rows + 100 * 64)
    assert found["memory"]["inference"]["kv_bytes_per_token"] == 2 * (rows + 64)


def test_its_text_is_in_the_explanation(package: Path) -> None:
    done = run(package, "show", "--explain", "--context", "1000")
    assert done.returncode == 0, done.stderr
    assert "1 layers x batch 1 x 100 tokens x (64 values) x 2 B" in " ".join(done.stdout.split())
    assert "ring_attention" in done.stdout


@pytest.mark.parametrize("engine", ["vllm", "sglang", "llama.cpp", "mlx"])
def test_every_serving_engine_says_that_it_cannot_tell(package: Path, engine: str) -> None:
    gpu = "M2 Ultra 64GB" if engine == "mlx" else "H100"
    done = run(package, "fit", "--engine", engine, "--gpu", gpu)
    assert done.returncode == 4, done.stdout + done.stderr
    assert "cannot tell" in done.stdout
    assert "Traceback" not in done.stderr
