"""Whole models in formats other than safetensors: a Llama as a GGUF file, and shards as torch.save lays them out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise

from inspector.hub.dtypes import GGML_TYPES, tensor_bytes
from tests.hub.formats.make_gguf import Header, Raw, array, text, u32
from tests.hub.formats.make_torch import archive, mapping, pickled, tensor
from tests.hub_server import Content, Sparse

NUMBERS = {kind.name: number for number, kind in GGML_TYPES.items()}
"""ggml's numbers of its types."""
FILE_TYPE = {"F16": 1, "Q4_0": 2, "Q8_0": 7, "Q2_K": 10, "Q4_K": 15, "Q6_K": 18, "BF16": 32}
"""llama.cpp's number of the recipe that is most like a type."""
Shapes = Mapping[str, Sequence[int]]


def llama_shapes(layers: int = 32, hidden: int = 4096, vocabulary: int = 128_256, tied: bool = False) -> Shapes:
    """llama.cpp's names and torch's shapes of a Llama 3; by default of the 8B, 8,030,261,248 parameters."""
    kv, inner = hidden // 4, hidden * 7 // 2
    shapes: dict[str, Sequence[int]] = {"token_embd.weight": (vocabulary, hidden)}
    for i in range(layers):
        shapes |= {
            f"blk.{i}.attn_norm.weight": (hidden,),
            f"blk.{i}.attn_q.weight": (hidden, hidden),
            f"blk.{i}.attn_k.weight": (kv, hidden),
            f"blk.{i}.attn_v.weight": (kv, hidden),
            f"blk.{i}.attn_output.weight": (hidden, hidden),
            f"blk.{i}.ffn_norm.weight": (hidden,),
            f"blk.{i}.ffn_gate.weight": (inner, hidden),
            f"blk.{i}.ffn_up.weight": (inner, hidden),
            f"blk.{i}.ffn_down.weight": (hidden, inner),
        }
    shapes["output_norm.weight"] = (hidden,)
    return shapes if tied else {**shapes, "output.weight": (vocabulary, hidden), "rope_freqs.weight": (64,)}


def llama_metadata(layers: int = 32, hidden: int = 4096, vocabulary: int = 128_256) -> list[tuple[str, Raw]]:
    return [
        ("general.architecture", text("llama")),
        ("llama.block_count", u32(layers)),
        ("llama.context_length", u32(8192)),
        ("llama.embedding_length", u32(hidden)),
        ("llama.feed_forward_length", u32(hidden * 7 // 2)),
        ("llama.attention.head_count", u32(hidden // 128)),
        ("llama.attention.head_count_kv", u32(hidden // 512)),
        ("llama.vocab_size", u32(vocabulary)),
    ]


def gguf(shapes: Shapes, kind: str, metadata: Sequence[tuple[str, Raw]], *more: tuple[str, Raw]) -> Sparse:
    """A GGUF file: matrices of one type, everything else in float32, as llama.cpp quantizes."""
    infos, at = [], 0
    for name, shape in shapes.items():
        number = NUMBERS[kind] if len(shape) > 1 else NUMBERS["F32"]
        infos.append((name, tuple(reversed(shape)), number, at))
        size = tensor_bytes(GGML_TYPES[number], tuple(shape))
        assert size is not None
        at += size + -size % 32
    file_type = [("general.file_type", u32(FILE_TYPE[kind]))] if kind in FILE_TYPE else []
    return Sparse(Header([*metadata, *file_type, *more], infos).bytes(), at)


def vocabulary(words: int) -> list[tuple[str, Raw]]:
    """What a tokenizer of so many words takes in a header."""
    tokens = [f"word{i:07}" for i in range(words)]
    return [
        ("tokenizer.ggml.tokens", array(8, tokens)),
        ("tokenizer.ggml.scores", array(6, [0.0] * words)),
        ("tokenizer.ggml.token_type", array(5, [1] * words)),
        ("tokenizer.ggml.merges", array(8, [f"{a} {b}" for a, b in pairwise(tokens)])),
    ]


def torch_file(
    shapes: Shapes, twins: Mapping[str, str] | None = None, extra: Mapping[str, bytes] | None = None
) -> bytes:
    """A state dict of float32 tensors, one storage each; `twins` (name -> first name) share theirs; `extra` pickles."""
    items: dict[str, bytes] = {}
    sizes: dict[str, int] = {}
    keys = {name: str(i) for i, name in enumerate(shapes)}
    for name, shape in [*shapes.items(), *((twin, shapes[first]) for twin, first in (twins or {}).items())]:
        count, strides = 1, []
        for n in reversed(shape):
            strides.insert(0, count)
            count *= n
        key = keys[(twins or {}).get(name, name)]
        sizes[key] = 4 * count
        items[name] = tensor(key, shape, strides, elements=count)
    return archive(pickled(mapping({**items, **(extra or {})})), sizes)


def torch_shards(shapes: Shapes, count: int) -> dict[str, Content]:
    """`pytorch_model.bin.index.json` and its shards."""
    names = list(shapes)
    files: dict[str, Content] = {}
    where = {}
    for i in range(count):
        part = names[i * len(names) // count : (i + 1) * len(names) // count]
        file = f"pytorch_model-{i + 1:05}-of-{count:05}.bin"
        files[file] = torch_file({name: shapes[name] for name in part})
        where |= dict.fromkeys(part, file)
    return {"pytorch_model.bin.index.json": json.dumps({"metadata": {}, "weight_map": where}).encode(), **files}
