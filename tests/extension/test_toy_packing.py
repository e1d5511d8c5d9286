"""To add a quantization is to write one file under model/packing and one line in its registry."""

from __future__ import annotations

import json
import math
import shutil
import struct
from pathlib import Path

import pytest

import inspector
from tests.extension.test_toy_layer import run

TOY_FILE = '''"""Toy packing: values of few bits in bytes, and a 16-bit scale for each group of inputs."""

from typing import ClassVar

from inspector.model.packing.packing import Packing, Parts, Rules, Scheme, every, overhead
from inspector.model.parameters.names import Group


def toy(stored: Group, parts: Parts, scheme: Scheme) -> int | None:
    """toy_bytes (out, in * bits / 8)."""
    return stored.numel * 8 // scheme.bits if scheme.bits else None


class Toy(Packing):
    """Its groups have to be whole on a rank."""

    tensors: ClassVar[Rules] = {"toy_bytes": toy, **every(overhead, "toy_scale")}
    group_size = 64
    grouped = True
'''
TOY_LINE = '    "toy toy_v2": "toy:Toy",\n'

LAYER = {"q": (64, 64), "k": (32, 64), "v": (32, 64), "o": (64, 64)}
MATRICES = {f"self_attn.{name}_proj": shape for name, shape in LAYER.items()} | {
    **{"mlp.gate_proj": (128, 64), "mlp.up_proj": (128, 64), "mlp.down_proj": (64, 128)}
}
PACKED = 2 * sum(math.prod(shape) for shape in MATRICES.values())
PLAIN = 2 * 256 * 64 + 64 + 2 * 2 * 64


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package with the toy in it, and a model that is packed by it."""
    root = tmp_path_factory.mktemp("toy")
    source = Path(inspector.__file__).parent
    ignored = shutil.ignore_patterns("__pycache__", "data", "snapshots")
    shutil.copytree(source, root / "inspector", ignore=ignored)
    for name in ("data", "snapshots"):
        if (source / name).exists():
            (root / "inspector" / name).symlink_to(source / name)
    (root / "inspector/model/packing/toy.py").write_text(TOY_FILE, "utf-8")
    registry = root / "inspector/model/packing/registry.py"
    text = registry.read_text("utf-8")
    registry.write_text(text.replace("PACKINGS = {\n", "PACKINGS = {\n" + TOY_LINE, 1), "utf-8")
    config = {
        **{"model_type": "llama", "architectures": ["LlamaForCausalLM"], "torch_dtype": "bfloat16"},
        **{"hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 128},
        **{"num_hidden_layers": 2, "vocab_size": 256, "max_position_embeddings": 4096},
        "quantization_config": {"quant_method": "toy", "bits": 2},
    }
    (root / "model").mkdir()
    (root / "model/config.json").write_text(json.dumps(config), "utf-8")
    (root / "model/model.safetensors").write_bytes(weights())
    return root


def weights() -> bytes:
    """A safetensors file of that model, all zeros: 2 bits a value, and a scale for each 64 inputs."""
    tensors: dict[str, tuple[str, tuple[int, ...]]] = {
        **{f"{name}.weight": ("BF16", (256, 64)) for name in ("model.embed_tokens", "lm_head")},
        "model.norm.weight": ("BF16", (64,)),
    }
    for layer in ("model.layers.0", "model.layers.1"):
        for norm in ("input_layernorm", "post_attention_layernorm"):
            tensors[f"{layer}.{norm}.weight"] = ("BF16", (64,))
        for name, (out, into) in MATRICES.items():
            tensors[f"{layer}.{name}.toy_bytes"] = ("U8", (out, into // 4))
            tensors[f"{layer}.{name}.toy_scale"] = ("F16", (out, into // 64))
    header, end = {}, 0
    for name, (dtype, shape) in tensors.items():
        begin, end = end, end + (1 if dtype == "U8" else 2) * math.prod(shape)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(end)


def test_it_takes_fewer_than_thirty_lines() -> None:
    assert TOY_FILE.count("\n") + TOY_LINE.count("\n") < 30


def test_its_parameters_and_bits_are_in_the_report(package: Path) -> None:
    done = run(package, "show", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["parameters"]["total"] == PACKED + PLAIN
    assert found["parameters"]["exact"]
    assert found["model"]["quantization"] == {
        **{"method": "toy", "bits": 2, "group_size": 64, "packed_bits": 2.25, "packed_parameters": PACKED},
        "effective_bits": round((2.25 * PACKED + 16 * PLAIN) / (PACKED + PLAIN), 3),
        "unquantized": ["lm_head"],
        "unquantized_embeddings": ["model.embed_tokens"],
    }


def test_engines_ask_it_for_its_groups(package: Path) -> None:
    done = run(package, "fit", "--engine", "vllm", "--gpu", "2x H100", "--tp", "2")
    assert "Weight input_size_per_partition = 32 is not divisible by group_size = 64. (o_proj)" in done.stderr
    assert done.returncode == 2
