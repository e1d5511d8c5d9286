"""The targets: everything that reads what a repo, a server, a cache or a log holds."""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import io
import json
import math
import operator
import shutil
import struct
import tempfile
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any

from safetensors import SafetensorError, deserialize

from inspector.errors import InspectError, InvalidHeader
from inspector.hub.cache.snapshot import decode_tensors, loads
from inspector.hub.cache.store import MAGIC, Cache
from inspector.hub.checkpoint import Checkpoint
from inspector.hub.formats.documents import parse_headers, parse_index, parse_listing
from inspector.hub.formats.gguf.config import gguf_config
from inspector.hub.formats.gguf.header import read_gguf
from inspector.hub.formats.pytorch.archive import read_pytorch
from inspector.hub.formats.safetensors import header_from_json, header_length, parse_header
from inspector.hub.formats.weights import sharded
from inspector.hub.repo_id import RepoId, parse_model
from inspector.model.config.light import table
from inspector.model.config.read import LAYER_COUNT_KEYS
from inspector.model.config.text import KEYS
from tests.fuzz.harness import Target, command_for, plain, run_command
from tests.fuzz.mutations import mutate_bytes, mutate_json, mutate_text
from tests.hub import make_parts
from tests.hub.formats.make_gguf import Header as GgufHeader
from tests.hub.formats.make_gguf import array, text, u32
from tests.hub.formats.make_torch import Bytes, archive, mapping, name, pickled, tensor
from tests.hub.make_models import gguf, llama_metadata, llama_shapes, torch_file, vocabulary
from tests.hub_server import Content, Sparse, sparse
from tests.hub_server import sharded as shards_of

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
MOST_TENSORS = 1500
"""Of a seed: more of them take longer and show nothing else."""


@lru_cache(maxsize=1)
def scratch() -> Path:
    """A folder for this process, gone at its end."""
    folder = Path(tempfile.mkdtemp(prefix="llm-inspect-fuzz-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def put(folder: Path, files: Mapping[str, Content]) -> Path:
    """A repo's files in a folder; the zeros of a sparse file take no room."""
    for file, content in files.items():
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, Sparse):
            with path.open("wb") as out:
                out.write(content.head)
                out.truncate(len(content.head) + content.zeros)
        elif isinstance(content, Path):
            shutil.copy(content, path)
        else:
            path.write_bytes(content if isinstance(content, bytes) else plain(content))
    return folder


def labelled(label: str, document: Any) -> bytes:
    """A case that says on its first line which files lie beside it."""
    return label.encode() + b"\n" + plain(document)


def keep_label(mutate: Any) -> Any:
    """A mutation of what stands after the first line."""

    def mutated(random: Random, data: bytes) -> bytes:
        label, _, body = data.partition(b"\n")
        changed: str = mutate(random, body.decode("utf-8", "surrogateescape"))
        return label + b"\n" + changed.encode("utf-8", "surrogateescape")

    return mutated


# safetensors headers, with the library as the judge


def safetensors_seeds() -> list[bytes]:
    one = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
    many = {
        f"layers.{i}.w": {"dtype": "BF16", "shape": [2, 3], "data_offsets": [12 * i, 12 * i + 12]} for i in range(4)
    }
    zero = {"a": one, "z": {"dtype": "I64", "shape": [0, 7], "data_offsets": [4, 4]}, "__metadata__": {"format": "pt"}}
    half = {
        "a": {"dtype": "F4", "shape": [4], "data_offsets": [0, 2]},
        "b": {"dtype": "BOOL", "shape": [], "data_offsets": [2, 3]},
    }
    cases = [({"a": one}, 4), (many, 48), (zero, 4), (half, 3), ({"__metadata__": {}}, 0), ({}, 0)]
    files = [plain(header) for header, _ in cases]
    return [struct.pack("<Q", len(raw)) + raw + bytes(size) for raw, (_, size) in zip(files, cases, strict=True)]


SAFETENSORS_KEYS = ("dtype", "shape", "data_offsets", "__metadata__", "a", "x", "__meta\\u0064ata__")
SAFETENSORS_VALUES = (
    *('"F32"', '"F4"', '"U8"', '"BF16"', "[0,4]", "[4,0]", "[0,0]", "[1]", "[]", "[0,9223372036854775807]"),
    *('{"F32":null}', '["F32",[1],[0,4]]', "[4,8]", "18446744073709551615", "18446744073709551616"),
)


def safetensors_mutate(random: Random, data: bytes) -> bytes:
    kind = random.random()
    length = struct.unpack("<Q", data[:8])[0] if len(data) >= 8 else 0
    if kind < 0.6 and 8 + length <= len(data):
        header = data[8 : 8 + length].decode("utf-8", "surrogateescape")
        raw = mutate_json(random, header, SAFETENSORS_KEYS, SAFETENSORS_VALUES).encode("utf-8", "surrogateescape")
        rest = data[8 + length :]
        if random.random() < 0.2:
            raw += random.choice((b" ", b"\n" * 7, b"\0", b"\x0c", b" " * random.choice((64, 99_992, 100_008))))
        if random.random() < 0.1:
            rest += b"x"
        return struct.pack("<Q", len(raw)) + raw + rest
    if kind < 0.9:
        rest = mutate_bytes(random, data[8:])
        at = len(rest) - (len(data) - 8 - length)
        return struct.pack("<Q", max(at, 0)) + rest if random.random() < 0.8 else data[:8] + rest
    return mutate_bytes(random, data)


def safetensors_check(file: bytes) -> None:
    try:
        expected = {key: (info["dtype"], list(info["shape"])) for key, info in deserialize(file)}
    except SafetensorError:
        expected = None
    try:
        length = header_length(file[:8], "test", len(file))
        header = parse_header(file[8 : 8 + length], "test", len(file))
    except InvalidHeader:
        assert expected is None, "refused, and the library accepts it"
        return
    assert expected is not None, "accepted, and the library refuses it"
    assert {t.name: (t.dtype, list(t.shape)) for t in header.tensors} == expected


# config.json


@lru_cache(maxsize=1)
def bundled() -> dict[str, Checkpoint]:
    """The bundled snapshots that have not too many tensors."""
    found = {}
    for path in sorted((ROOT / "fixtures" / "snapshots").glob("*--*.json")):
        if len((checkpoint := loads(path.read_bytes())).tensors) <= MOST_TENSORS:
            found[path.stem] = checkpoint
    return found


@lru_cache(maxsize=1)
def packed() -> dict[str, Any]:
    stored = json.loads((ROOT / "tests" / "model" / "packed.json").read_text())
    return {case["case"]: {**case, "config": {**stored["config"], **case["config"]}} for case in stored["cases"]}


@lru_cache(maxsize=1)
def sampled() -> list[dict[str, Any]]:
    """Configs of the model classes, one a class."""
    builds = json.loads((ROOT / "tests" / "model" / "classes_sample.json").read_text())["builds"]
    return list({build["class"]: build["config"] for build in builds}.values())


@lru_cache(maxsize=8)
def weights_of(label: str) -> Path:
    """A folder with the weights of a seed and no config yet."""
    if label in bundled():
        rows = {t.name: (t.dtype, list(t.shape)) for t in bundled()[label].tensors}
    elif label in packed():
        rows = {t.name: (t.dtype, list(t.shape)) for t in decode_tensors(packed()[label]["tensors"])}
    else:
        rows = make_parts.llama()
    folder = scratch() / f"weights-{hashlib.sha256(label.encode()).hexdigest()[:12]}"
    return put(folder, {"model.safetensors": sparse(rows, {"format": "pt"})})


def config_seeds() -> list[bytes]:
    seeds = [labelled(label, checkpoint.config) for label, checkpoint in bundled().items()]
    return seeds + [labelled("llama", make_parts.LLAMA)] + [labelled("llama", config) for config in sampled()]


def packed_seeds() -> list[bytes]:
    return [labelled(label, case["config"]) for label, case in packed().items()]


CONFIG_KEYS = (
    *(*KEYS, *LAYER_COUNT_KEYS, "model_type", "architectures", "dtype", "torch_dtype", "text_config", "vision_config"),
    *("audio_config", "quantization_config", "compression_config", "quantization", "rope_scaling", "rope_parameters"),
    *(
        "auto_map",
        "trust_remote_code",
        "custom_pipelines",
        "encoder",
        "decoder",
        "num_labels",
        "id2label",
        "per_layer_config",
    ),
)


@lru_cache(maxsize=1)
def config_values() -> tuple[str, ...]:
    types = [json.dumps(model_type) for model_type in table()]
    layers = ('["full_attention","sliding_attention"]', '["linear_attention"]', '["mamba"]', '["chunked_attention"]')
    return (*types, *layers, '"float8_e4m3fn"', '"bfloat16"', '["LlamaForCausalLM"]', '{"model_type":"llama"}')


@lru_cache(maxsize=1)
def packed_values() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Keys and values of all recipes."""
    from inspector.model.packing.registry import METHODS

    keys: set[str] = set()
    values: set[str] = set()
    todo: list[Any] = [case["config"].get("quantization_config") for case in packed().values()]
    while todo:
        value = todo.pop()
        values.add(json.dumps(value))
        if isinstance(value, dict):
            keys |= value.keys()
        todo += value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    values |= {json.dumps(method) for method in METHODS}
    return tuple(sorted(keys)), tuple(sorted(values))


def packed_mutate(random: Random, body: str) -> str:
    keys, values = packed_values()
    document = json.loads(body) if random.random() < 0.7 else None
    if isinstance(document, dict) and isinstance(document.get("quantization_config"), dict):
        recipe = mutate_json(random, json.dumps(document["quantization_config"]), keys, values)
        document["quantization_config"] = None
        return json.dumps(document).replace('"quantization_config": null', f'"quantization_config": {recipe}')
    return mutate_json(random, body, (*keys, *CONFIG_KEYS), values)


def config_check(data: bytes) -> None:
    label, _, body = data.partition(b"\n")
    folder = weights_of(label.decode())
    (folder / "config.json").write_bytes(body)
    command, *options = command_for(data)
    run_command(command, str(folder), "--offline", *options)


def training_check(data: bytes) -> None:
    label, _, body = data.partition(b"\n")
    folder = weights_of(label.decode())
    (folder / "config.json").write_bytes(body)
    methods = (
        ("--method", "lora"),
        ("--method", "full", "--optimizer", "adafactor"),
        ("--zero", "2", "--gpu", "2xH100"),
    )
    run_command("train", str(folder), "--offline", "--json", *methods[len(data) % len(methods)])


# Configs that no weights lie beside, and what trainers are told


def design_check(data: bytes) -> None:
    """As a file that lies alone."""
    _, _, body = data.partition(b"\n")
    path = scratch() / "design" / "config.json"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(body)
    command, *options = command_for(data)
    run_command(command, str(path), "--offline", *options)


def set_seeds() -> list[bytes]:
    """`--set` for a bundled model: a document of keys and values."""
    return [labelled(name.replace("--", "/"), checkpoint.config) for name, checkpoint in bundled().items()]


def set_check(data: bytes) -> None:
    label, _, body = data.partition(b"\n")
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return
    some = Random(body).sample(sorted(document), min(3, len(document))) if isinstance(document, dict) else []
    changes = [text for key in some for text in ("--set", f"{key}={json.dumps(document[key])}")]
    if any("\0" in text or "\ud800" <= max(text) <= "\udfff" for text in changes):
        return  # no shell passes these on
    command, *options = command_for(data)
    run_command(command, label.decode(), "--offline", *changes, *options)


def trainer_seeds() -> list[bytes]:
    examples = json.loads((ROOT / "tests" / "trainers" / "configs.json").read_text())
    return [plain(example["values"]) for example in examples]


@lru_cache(maxsize=1)
def trainer_words() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Keys and values of all examples."""
    keys: set[str] = set()
    values: set[str] = set()
    for example in json.loads((ROOT / "tests" / "trainers" / "configs.json").read_text()):
        keys |= set(example["values"])
        values |= {json.dumps(value) for value in example["values"].values()}
    return tuple(sorted(keys)), tuple(sorted(values))


def trainer_mutate(random: Random, body: str) -> str:
    return mutate_json(random, body, *trainer_words())


def trainer_check(data: bytes) -> None:
    """A file of JSON, which is YAML, too, beside a model that is named where it names none."""
    path = scratch() / "trainer.yaml"
    path.write_bytes(data)
    devices = ((), ("--gpu", "RTX 4090"), ("--gpu", "8xH100", "--json"))
    run_command("train", "meta-llama/Meta-Llama-3-8B", "--config", str(path), "--offline", *devices[len(data) % 3])


# Indices, answers and lists of a server


INDEX_KEYS = ("weight_map", "metadata", "total_size", "model.norm.weight", "headers", "index", "siblings", "rfilename")


def index_seeds() -> list[bytes]:
    files = shards_of(make_parts.llama(), 2, {"total_size": 4})
    return [plain(files["model.safetensors.index.json"]), b'{"weight_map":{"a":"model-00001-of-00002.safetensors"}}']


def index_check(data: bytes) -> None:
    try:
        index = parse_index(data, "org/name")
        assert all(part not in ("", ".", "..") for shard in index.shards for part in shard.split("/"))
    except InspectError:
        pass
    folder = scratch() / "index"
    if not folder.exists():
        put(folder, {**shards_of(make_parts.llama(), 2), "config.json": make_parts.LLAMA})
    (folder / "model.safetensors.index.json").write_bytes(data)
    command, *options = command_for(data)
    run_command(command, str(folder), "--offline", *options)


def header_json(file: Sparse) -> Any:
    return json.loads(file.head[8:])


def headers_seeds() -> list[bytes]:
    files = shards_of(make_parts.llama(), 2)
    headers = {name: header_json(content) for name, content in files.items() if isinstance(content, Sparse)}
    return [plain({"index": {"metadata": {"total_size": 1}}, "headers": headers})]


def headers_check(data: bytes) -> None:
    try:
        index, raw = parse_headers(data, "org/name")
        headers = {shard: header_from_json(raw[shard], shard) for shard in index.shards}
        weights = sharded(index, headers)
    except InspectError:
        return
    assert all(part not in ("", ".", "..") for file in weights.files for part in file.name.split("/"))
    report_of(
        Checkpoint(
            "org/name",
            None,
            "hub",
            dict(make_parts.LLAMA),
            weights.tensors,
            files=weights.files,
            metadata=weights.metadata,
            warnings=weights.warnings,
        )
    )


def report_of(checkpoint: Checkpoint) -> None:
    """What the command would print of it, as JSON and as text."""
    from rich.console import Console

    from inspector.api.inspection import inspect_checkpoint
    from inspector.api.settings import Settings
    from inspector.record import inspection_record
    from inspector.report.text import print_report
    from tests.fuzz.harness import assert_inert

    try:
        inspection = inspect_checkpoint(checkpoint, Settings(), ())
    except InspectError:
        return
    json.dumps(inspection_record(inspection), allow_nan=False)
    out = io.StringIO()
    print_report(Console(file=out, width=80), inspection, explain=False)
    assert_inert(out.getvalue())


def listing_seeds() -> list[bytes]:
    files = [{"rfilename": name, "size": 5} for name in ("config.json", "a/b.safetensors", "x.gguf")]
    return [plain({"sha": "0" * 40, "siblings": files, "gated": "auto", "private": False})]


def listing_check(data: bytes) -> None:
    try:
        commit, files = parse_listing(data, "org/name")
    except InspectError:
        return
    assert commit is None or len(commit) == 40
    assert all(file.size is None or file.size >= 0 for file in files)


# GGUF, PyTorch's zip archives and pickles


def written(content: Content) -> bytes:
    assert isinstance(content, Sparse)
    return content.head


def gguf_seeds() -> list[bytes]:
    shapes = llama_shapes(layers=2, hidden=512, vocabulary=300)
    metadata = llama_metadata(layers=2, hidden=512, vocabulary=300)
    lists = [("llama.attention.head_count_kv", array(4, [1, 2])), ("general.name", text("x")), ("split.count", u32(2))]
    odd = GgufHeader([*metadata[:3], *lists], [("a.weight", (32, 2), 2, 0), ("b", (), 0, 64)])
    big = GgufHeader(metadata, [("a.weight", (32, 2), 0, 0)], order=">")
    return [
        written(gguf(shapes, "Q4_K", metadata)),
        written(gguf(shapes, "Q8_0", metadata, *vocabulary(20))),
        odd.bytes(4096),
        big.bytes(4096),
    ]


def gguf_check(data: bytes) -> None:
    folder = scratch() / "gguf"
    folder.mkdir(exist_ok=True)
    with (folder / "model.gguf").open("wb") as out:
        out.write(data)
        out.truncate(len(data) + (4_000_000 if len(data) % 3 else 0))
    try:
        header = read_gguf(Bytes(data), "model.gguf")
        gguf_config(header.metadata, {tensor.name for tensor in header.tensors})
    except InspectError:
        pass
    command, *options = command_for(data)
    run_command(command, str(folder / "model.gguf"), "--offline", *options)


def torch_seeds() -> list[bytes]:
    shapes = {name: [max(1, n // 16) for n in shape] for name, (_, shape) in make_parts.llama().items()}
    return [
        torch_file(shapes, {"tied": "lm_head.weight"}),
        archive(pickled(mapping({"a.weight": tensor(), "n": b"]((K\1K\2t\x85e", "t": tensor()}))),
        archive(pickled(mapping({"state_dict": mapping({"a": tensor()}), "optimizer": b"}"})), {"0": 24, "1": 7}),
    ]


def torch_mutate(random: Random, data: bytes) -> bytes:
    if random.random() < 0.5:
        return mutate_bytes(
            random, data, (b"PK\1\2", b"PK\5\6", b"PK\6\6", b"PK\3\4", b"archive/data.pkl", b"../x", b"\0")
        )
    at = data.find(b"\x80\x02")
    end = data.find(b"PK\3\4", at)
    return archive(pickle_mutate(random, data[at:end]))


def torch_check(data: bytes) -> None:
    folder = scratch() / "torch"
    put(folder, {"pytorch_model.bin": data, "config.json": make_parts.LLAMA})
    command, *options = command_for(data)
    run_command(command, str(folder), "--offline", *options)


def pickle_seeds() -> list[bytes]:
    system = name("os", "system") + b"(" + b"X\x04\0\0\0true" + b"tR"
    nested = mapping({"a": mapping({"b": mapping({"w": tensor(shape=(2, 3))})})})
    parameter = (
        name("torch._utils", "_rebuild_parameter")
        + b"("
        + tensor()
        + b"\x89"
        + name("collections", "OrderedDict")
        + b")RtR"
    )
    bodies = [mapping({"a.weight": tensor(), "b": tensor(offset=2, shape=(2,), stride=(1,))}), nested]
    bodies += [
        mapping({"p": parameter, "x": system}),
        name("collections", "OrderedDict") + b")R(" + b"X\1\0\0\0a" + tensor() + b"u",
    ]
    return [pickled(body) for body in bodies]


def pickle_mutate(random: Random, data: bytes) -> bytes:
    opcodes = [bytes([code]) for code in (*b"().012FINRSTUVX]_abcdeghijlopqrstu}BC@LKMJG", *range(0x80, 0x99))]
    pieces = [
        tensor(),
        name("os", "system"),
        name("builtins", "eval"),
        b"h\0",
        b"q\1",
        b"(tR",
        b"}",
        b"r\xff\xff\xff\x7f",
    ]
    return mutate_bytes(random, data, [*opcodes, *pieces])


def pickle_check(data: bytes) -> None:
    with contextlib.suppress(InspectError):
        read_pytorch(Bytes(archive(data)), "model.bin")


# Snapshots and the cache


def snapshot_seeds() -> list[bytes]:
    names = [label for label in bundled() if len(bundled()[label].tensors) < 400]
    small = [(ROOT / "fixtures" / "snapshots" / f"{label}.json").read_bytes() for label in names[:8]]
    return [*small, plain({"schema": 1, "tensors": [["a.{}.{}", "F32", [1], "0-3", "1,5-6"]], "config": {}})]


SNAPSHOT_KEYS = (
    "schema",
    "repo_id",
    "revision",
    "source",
    "config",
    "tensors",
    "files",
    "metadata",
    "parts",
    "warnings",
    "format",
)
SNAPSHOT_VALUES = (
    '["a.{}","BF16",[4],"0-999999999"]',
    '["{}.{}.{}","F4",[],"0-9","0-99","0-999"]',
    '"0-1,3"',
    '["a",5]',
)
COMMIT = "a" * 40


def snapshot_check(data: bytes) -> None:
    repo = parse_model("org/name")
    assert isinstance(repo, RepoId)
    cache = Cache(scratch() / "cache", "http://hub.test")
    path = cache._answer(repo, COMMIT)
    path.parent.mkdir(parents=True, exist_ok=True)
    payload = b'{"endpoint":"http://hub.test","repo":"org/name","commit":"%s","checkpoint":%s}' % (
        COMMIT.encode(),
        data,
    )
    path.write_bytes(f"{MAGIC} {hashlib.sha256(payload).hexdigest()}\n".encode() + payload)
    kept = cache.load(repo, COMMIT)
    try:
        checkpoint = loads(data)
    except ValueError:
        return
    report_of(checkpoint)
    if kept is not None:
        report_of(kept)


def cache_seeds() -> list[bytes]:
    folder = scratch() / "cache seeds"
    seeds = []
    for label in list(bundled())[:4]:
        repo = parse_model("org/name")
        assert isinstance(repo, RepoId)
        cache = Cache(folder, "http://hub.test")
        from dataclasses import replace

        cache.store(repo, replace(bundled()[label], revision=COMMIT, snapshot_date=None))
        seeds.append(cache._answer(repo, COMMIT).read_bytes())
    return seeds


def cache_check(data: bytes) -> None:
    """A file of the cache that was changed, or cut, is as if it were not there."""
    repo = parse_model("org/name")
    assert isinstance(repo, RepoId)
    cache = Cache(scratch() / "cache", "http://hub.test")
    path = cache._answer(repo, COMMIT)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    assert cache.load(repo, COMMIT) is None or data in cache_seeds()


# Repos of parts


@lru_cache(maxsize=1)
def part_files() -> dict[str, tuple[str, Mapping[str, Content]]]:
    """Label -> the document that changes, and all files."""
    found: dict[str, tuple[str, Mapping[str, Content]]] = {"pipeline": ("model_index.json", make_parts.pipeline())}
    modules = json.loads((ROOT / "tests" / "model" / "modules.json").read_text())["cases"]
    for case in ("dense", "pooling_only", "static_embedding"):
        files: dict[str, Content] = dict(modules[case]["files"])
        for file, rows in modules[case]["weights"].items():
            files[file] = sparse({key: (dtype, shape) for key, dtype, shape in rows}, {"format": "pt"})
        found[case] = ("modules.json", files)
        for file in files:
            if file.endswith("config.json"):
                found[f"{case} {file}"] = (file, files)
    stored = json.loads((ROOT / "tests" / "model" / "adapters.json").read_text())["cases"]
    for label, case in stored.items():
        rows = {key: (dtype, shape) for key, dtype, shape in case["tensors"]}
        config = {**case["adapter_config"], "base_model_name_or_path": "Qwen/Qwen2.5-0.5B"}
        found[label] = (
            "adapter_config.json",
            {"adapter_config.json": config, "adapter_model.safetensors": sparse(rows)},
        )
    return found


def parts_seeds() -> list[bytes]:
    return [labelled(label, files[document]) for label, (document, files) in part_files().items()]


def parts_keys() -> tuple[str, ...]:
    keys = {key for document, files in part_files().values() if isinstance(d := files[document], dict) for key in d}
    return (*sorted(keys), "idx", "name", "path", "type", "_class_name")


PARTS_VALUES = (
    *(
        '["diffusers","UNet2DConditionModel"]',
        '["transformers","CLIPTextModel"]',
        "[null,null]",
        '"1_Dense"',
        '"../1_Dense"',
    ),
    *(
        '"sentence_transformers.models.Dense"',
        '"LORA"',
        '"IA3"',
        '"LOHA"',
        '"org/base"',
        '"/etc"',
        '"all-linear"',
        '"vae"',
    ),
)


def parts_check(data: bytes) -> None:
    label, _, body = data.partition(b"\n")
    document, files = part_files()[label.decode()]
    folder = scratch() / f"parts-{hashlib.sha256(label).hexdigest()[:12]}"
    if not folder.exists():
        put(folder, files)
    (folder / document).write_bytes(body)
    command, *options = command_for(data)
    run_command(command, str(folder), "--offline", *options, codes=(0, 1, 2, 3, 4, 5))


# Names


NAMES = (
    "model.layers.0.self_attn.q_proj.weight",
    "lm_head.weight",
    "model.embed_tokens.weight",
    "model.layers.1.mlp.up_proj.weight",
)


def names_seeds() -> list[bytes]:
    llama = [[name, dtype, shape] for name, (dtype, shape) in make_parts.llama().items()]
    experts = [
        [f"model.layers.{i}.mlp.experts.{j}.w{k}.weight", "BF16", [64, 32]]
        for i in (0, 1)
        for j in (0, 1)
        for k in (1, 2)
    ]
    return [plain({"config": make_parts.LLAMA, "tensors": rows}) for rows in (llama, llama[:9] + experts, llama[:2])]


def names_mutate(random: Random, data: bytes) -> bytes:
    values = (
        '"model.layers.99999999999.x.weight"',
        '"model.layers.2.self_attn.q_proj.weight"',
        '"a.qweight"',
        '"x.weight_scale"',
        '"model.layers.\u0660.x"',
        '"model.layers.-1.x"',
        '"model.layers.00.x"',
        '"."',
        '"\\u202e.0.weight"',
        '"F8_E4M3"',
        '"U8"',
        "[9223372036854775807,2]",
        "[4294967296,4294967296]",
        "[0,9223372036854775807]",
        "[]",
        "[1,1,1,1,1,1,1,1]",
        '"' + "a." * 3000 + '"',
        '"a.0.1.2.3.4.5.6.7.8.9.10"',
        "9223372036854775807",
    )
    return mutate_json(random, data.decode(), ("a",), values).encode("utf-8", "surrogatepass")


def names_check(data: bytes) -> None:
    """Tensors of any names and shapes, in a file of which the header says so."""
    try:
        case = json.loads(data)
        rows = case["tensors"]
        entries: dict[str, Any] = {}
        at = 0
        for tensor_name, dtype, shape in rows:
            from inspector.hub.dtypes import DTYPE_BITS

            bits = DTYPE_BITS[dtype] * math.prod(map(operator.index, shape))
            entries[str(tensor_name)] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + bits // 8]}
            at += bits // 8
        raw = json.dumps(entries).encode()
        config = json.dumps(case["config"])
    except (ValueError, KeyError, TypeError, RecursionError, OverflowError, AttributeError):
        return
    folder = scratch() / "names"
    put(folder, {"config.json": config.encode()})
    with (folder / "model.safetensors").open("wb") as out:
        out.write(struct.pack("<Q", len(raw)) + raw)
        if type(at) is int and 0 <= at < 2**40:
            out.truncate(8 + len(raw) + at)
    command, *options = command_for(data)
    run_command(command, str(folder), "--offline", *options)
    if type(at) is int and at >= 2**40:  # more than a disk holds: as the Hub's one answer has it
        try:
            header = header_from_json(entries, "org/name")
        except InspectError:
            return
        report_of(
            Checkpoint(
                "org/name", None, "hub", case["config"] if isinstance(case["config"], dict) else {}, header.tensors
            )
        )


# Logs and manifests


def logs_seeds() -> list[bytes]:
    return [path.read_bytes() for path in sorted((ROOT / "tests" / "logs" / "data").glob("*.txt"))]


def logs_check(data: bytes) -> None:
    path = scratch() / "start.log"
    path.write_bytes(data)
    gpu = ("--gpu", "H100") if len(data) % 2 else ()
    run_command("check-log", str(path), "Qwen/Qwen3-8B", "--offline", *gpu, *(("--json",) if len(data) % 3 else ()))


def manifest_seeds() -> list[bytes]:
    by_hand = b"""models:
  - model: Qwen/Qwen3-8B
    gpus: [RTX 4090, 24GiB]
    expected: {fits: true}
  - model: meta-llama/Meta-Llama-3-8B
    context: 8192
    batch: 4
    dtype: fp8
    engine: vllm
    serving: {tp: 1, max_num_seqs: 3}
    gpus: [4xH100]
    tolerance: 1%
    expected:
      parameters: 8030261248
      total: 5
      fits: {4xH100: unknown}
"""
    _, locked = run_command("lock", "Qwen/Qwen3-8B", "google-bert/bert-base-uncased", "--offline", "--gpu", "24GiB")
    return [by_hand, locked.encode()]


MANIFEST_TOKENS = (
    *(
        b"models:",
        b"expected:",
        b"  ",
        b"- ",
        b": ",
        b"{",
        b"}",
        b"[",
        b"]",
        b"&a ",
        b"*a",
        b"<<: *a",
        b"!!python/object:os.system ",
    ),
    *(
        b"true",
        b"null",
        b"1e9",
        b"-1",
        b"0x7f",
        b"1_000",
        b"9" * 40,
        b"?",
        b"|\n",
        b"'",
        b'"\\x1b"',
        b"%YAML 9\n---\n",
        b"~",
        b"1:30",
    ),
    *(
        b"engine: vllm\n",
        b"context: 0\n",
        b"gpus: []\n",
        b"\xff",
        b"\t",
        b"# ",
        b"---\n",
        b"\xe2\x80\xae",
        b".nan",
        b"!!binary x",
    ),
)


def manifest_check(data: bytes) -> None:
    path = scratch() / "models.lock.yaml"
    path.write_bytes(data)
    run_command("verify", str(path), "--offline", *(("--json",) if len(data) % 2 else ()), codes=(0, 1, 2, 3, 4, 5))


def on_text(mutate: Any) -> Any:
    """A mutation of text as one of bytes."""

    def mutated(random: Random, data: bytes) -> bytes:
        changed: str = mutate(random, data.decode("utf-8", "surrogateescape"))
        return changed.encode("utf-8", "surrogateescape")

    return mutated


def json_of(keys: Sequence[str], values: Sequence[str] = ()) -> Any:
    return lambda random, body: mutate_json(random, body, keys, values)


def config_mutate(random: Random, body: str) -> str:
    return mutate_json(random, body, CONFIG_KEYS, config_values())


def parts_mutate(random: Random, body: str) -> str:
    return mutate_json(random, body, parts_keys(), PARTS_VALUES)


def manifest_mutate(random: Random, data: bytes) -> bytes:
    return mutate_bytes(random, data, MANIFEST_TOKENS)


def log_mutate(random: Random, body: str) -> str:
    for _ in range(random.choice((1, 3, 10))):
        body = mutate_text(random, body)
    return body


TARGETS = {
    target.name: target
    for target in (
        Target("safetensors", safetensors_seeds, safetensors_mutate, safetensors_check),
        Target("config", config_seeds, keep_label(config_mutate), config_check),
        Target("packed", packed_seeds, keep_label(packed_mutate), config_check),
        Target("design", config_seeds, keep_label(config_mutate), design_check),
        Target("packed_design", packed_seeds, keep_label(packed_mutate), design_check),
        Target("set", set_seeds, keep_label(config_mutate), set_check),
        Target("trainer", trainer_seeds, on_text(trainer_mutate), trainer_check),
        Target("training", config_seeds, keep_label(config_mutate), training_check),
        Target(
            "index",
            index_seeds,
            on_text(json_of(INDEX_KEYS, ('"../x.safetensors"', '"model-00001-of-00002.safetensors"'))),
            index_check,
        ),
        Target(
            "headers",
            headers_seeds,
            on_text(json_of((*INDEX_KEYS, *SAFETENSORS_KEYS), SAFETENSORS_VALUES)),
            headers_check,
        ),
        Target("listing", listing_seeds, on_text(json_of(INDEX_KEYS)), listing_check),
        Target("names", names_seeds, names_mutate, names_check),
        Target("gguf", gguf_seeds, mutate_bytes, gguf_check),
        Target("torch", torch_seeds, torch_mutate, torch_check),
        Target("pickle", pickle_seeds, pickle_mutate, pickle_check),
        Target("snapshot", snapshot_seeds, on_text(json_of(SNAPSHOT_KEYS, SNAPSHOT_VALUES)), snapshot_check),
        Target("cache", cache_seeds, mutate_bytes, cache_check),
        Target("parts", parts_seeds, keep_label(parts_mutate), parts_check),
        Target("logs", logs_seeds, on_text(log_mutate), logs_check),
        Target("manifest", manifest_seeds, manifest_mutate, manifest_check),
    )
}
