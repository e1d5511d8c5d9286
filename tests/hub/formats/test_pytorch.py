"""Files of torch.save: made by torch where it is installed, else by hand."""

from __future__ import annotations

import contextlib
import io
import random
import struct
import warnings
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from inspector.errors import InspectError, UnreadableModel, UnsupportedFormat
from inspector.hub.checkpoint import Tensor
from inspector.hub.formats.pytorch.archive import read_pytorch
from inspector.hub.formats.pytorch.pickle_values import DTYPES
from inspector.hub.formats.reader import LocalFile
from tests.hub.formats import make_torch
from tests.hub.formats.make_torch import Bytes, archive, mapping, name, pickled, read, read_pickle, tensor

GOOD = archive(
    pickled(mapping({"a.weight": tensor(), "b.weight": tensor(), "c": tensor("1", (4,), (1,), 2)})), {"0": 24, "1": 24}
)


def torch_module() -> Any:
    return pytest.importorskip("torch")


def saved(value: Any, **kwargs: Any) -> bytes:
    out = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch_module().save(value, out, **kwargs)
    return out.getvalue()


# by hand


def test_names_dtypes_shapes_and_storages() -> None:
    file = read(GOOD)
    assert file.tensors == (
        Tensor("a.weight", "F32", (2, 3)),
        Tensor("b.weight", "F32", (2, 3)),
        Tensor("c", "F32", (4,)),
    )
    assert file.duplicates == {"b.weight": "a.weight"}
    assert [t.name for t in file.unique_tensors] == ["a.weight", "c"]
    assert file.storages == {"0": 24, "1": 24}
    assert file.tensor_storages == {"a.weight": "0", "b.weight": "0", "c": "1"}
    assert file.storage_bytes == 48
    assert (file.root, file.uncounted, file.other_tensors, file.whole_module) == ("", (), 0, False)


def test_another_view_of_the_same_storage_is_another_weight() -> None:
    halves = {"up": tensor(shape=(3,), stride=(1,)), "down": tensor(shape=(3,), stride=(1,), offset=3)}
    file = read_pickle(mapping(halves))
    assert file.duplicates == {}
    assert file.storage_bytes == 24


def test_the_archive_may_have_any_name_and_a_packed_pickle() -> None:
    data = archive(pickled(mapping({"w": tensor()})), root="pytorch_model", method=zipfile.ZIP_DEFLATED)
    assert read(data).tensors == (Tensor("w", "F32", (2, 3)),)


def test_two_reads_and_less_than_a_hundredth_of_a_large_file() -> None:
    big = {f"layers.{i}.weight": tensor(str(i), (1000, 100), (100, 1), elements=100_000) for i in range(100)}
    reader = Bytes(archive(pickled(mapping(big)), {str(i): 400_000 for i in range(100)}))
    file = read_pytorch(reader, "model.bin")
    assert len(file.tensors) == 100
    assert len(reader.reads) == file.reads == 2
    assert file.bytes_read == sum(length for _, length in reader.reads) < reader.size / 100


def test_a_directory_longer_than_the_first_read_takes_one_more() -> None:
    many = {f"w{i}": tensor(str(i), (1,), (1,), elements=1) for i in range(900)}
    reader = Bytes(archive(pickled(mapping(many)), {str(i): 4 for i in range(900)}))
    assert len(read_pytorch(reader, "model.bin").tensors) == 900
    assert len(reader.reads) == 3


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model", "module", "net"])
def test_a_state_dict_under_a_known_key_is_found_and_the_rest_counted(key: str) -> None:
    training = {"optimizer": mapping({"exp_avg": tensor("1")}), key: mapping({"w": tensor()}), "epoch": b"K\3"}
    file = read_pickle(mapping(training), **{"0": 24, "1": 24})
    assert file.tensors == (Tensor("w", "F32", (2, 3)),)
    assert (file.root, file.other_tensors, file.storages) == (key, 1, {"0": 24})


def test_wrappers_may_be_nested_and_a_model_may_be_called_model() -> None:
    file = read_pickle(mapping({"state_dict": mapping({"module": mapping({"model": mapping({"w": tensor()})})})}))
    assert [t.name for t in file.tensors] == ["w"]
    assert file.root == "state_dict.module.model"
    flat = read_pickle(mapping({"model": b"K\1", "model.w": tensor()}))
    assert ([t.name for t in flat.tensors], flat.root) == (["model.w"], "")


def test_nested_dicts_and_lists_are_laid_out_flat() -> None:
    inner = mapping({"w": tensor(), "steps": b"](K\1K\2e", "parts": b"](" + tensor("1") + b"e"})
    file = read_pickle(mapping({"encoder": inner, "n": b"K\1"}), **{"0": 24, "1": 24})
    assert [t.name for t in file.tensors] == ["encoder.w", "encoder.parts.0"]


def test_numbers_as_keys_become_text() -> None:
    file = read_pickle(b"}(K\5" + tensor() + b"N" + tensor("1") + b"u", **{"0": 24, "1": 24})
    assert [t.name for t in file.tensors] == ["5", "<NoneType 1>"]


def test_tensors_of_unknown_kinds_are_named_not_dropped() -> None:
    sparse = name("torch._utils", "_rebuild_sparse_tensor") + b"(" + tensor() + b"tR"
    file = read_pickle(mapping({"w": tensor(), "s": sparse}))
    assert [t.name for t in file.tensors] == ["w"]
    assert file.uncounted == ("s",)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (archive(pickled(mapping({"w": tensor()})), more={"constants.pkl": b"", "code/m.py": b""}), "TorchScript"),
        (archive(pickled(mapping({"w": tensor()})), more={".data/extern_modules": b""}), "torch.package"),
        (archive(pickled(b"N"), root="a/b"), "torch.save did not write"),
        (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.", "legacy torch file"),
        (b"\x80\x04\x95" + bytes(40), "bare pickle"),
        (b"GGUF" + bytes(40), "GGUF"),
        (bytes(257) + b"ustar" + bytes(300), "tar archive"),
        (b"\x93NUMPY" + bytes(40), "not a file that torch.save wrote"),
        (b"", "not a file that torch.save wrote"),
    ],
)
def test_what_is_something_else_is_named(data: bytes, says: str) -> None:
    with pytest.raises(UnsupportedFormat, match=says) as caught:
        read(data)
    assert caught.value.message.startswith("model.bin: ")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (GOOD[:-1], "cut off"),
        (GOOD[: len(GOOD) // 2], "cut off"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "LFS pointer"),
        (archive(pickled(mapping({"epoch": b"K\1"}))), "holds no tensors"),
        (archive(pickled(tensor() + b"0N")), "holds no tensors"),
        (archive(pickled(mapping({"w": tensor()})), {}), "missing or too short"),
        (archive(pickled(mapping({"w": tensor()})), {"0": 23}), "missing or too short"),
    ],
)
def test_what_is_damaged_is_refused(data: bytes, says: str) -> None:
    with pytest.raises(UnreadableModel, match=says):
        read(data)


@pytest.mark.parametrize(
    "wrong",
    [
        tensor(shape=(2, 4)),
        tensor(offset=1),
        tensor(stride=(4, 1)),
        tensor(shape=(-1, 3)),
        tensor(stride=(-3, 1)),
        tensor(offset=-1),
        tensor(shape=(2, 3, 1)),
        tensor(shape=(1,) * 65, stride=(1,) * 65),
        tensor(shape=(2**62, 2**62), stride=(0, 0)),
        tensor(shape=(2**63,), stride=(0,)),
        tensor(elements=-1),
        tensor(shape=(2**100,), stride=(1,)),
    ],
)
def test_shapes_that_cannot_be_are_refused(wrong: bytes) -> None:
    with pytest.raises(UnreadableModel):
        read_pickle(mapping({"w": wrong}))


def test_two_tensors_of_one_name_are_refused() -> None:
    with pytest.raises(UnreadableModel, match=r"two of its tensors are called 'a\.b'"):
        read_pickle(mapping({"a": mapping({"b": tensor()}), "a.b": tensor()}))


def test_a_zip_bomb_is_not_set_off() -> None:
    data = bytearray(archive(bytes(40_000_000), method=zipfile.ZIP_DEFLATED))
    with pytest.raises(UnreadableModel, match="no model's is more than"):
        read(bytes(data))
    # the directory and the local header now promise a small size; the body is still the bomb
    data = bytearray(archive(bytes(4_000_000), method=zipfile.ZIP_DEFLATED))
    directory = data.rindex(b"PK\1\2", 0, data.index(b"archive/data.pkl", 100))
    data[directory + 24 : directory + 28] = struct.pack("<I", 1000)
    with pytest.raises(UnreadableModel, match="not as long as"):
        read(bytes(data))


def end_record(data: bytes) -> int:
    return data.rindex(b"PK\5\6")


@pytest.mark.parametrize(
    ("field", "value"), [(4, 1), (8, 77), (12, 2**32 - 2), (16, 2**31), (16, 0), (10, 0xFFFF), (20, 9)]
)
def test_an_end_record_that_lies_is_refused(field: int, value: int) -> None:
    data = bytearray(GOOD)
    at = end_record(GOOD) + field
    size = 4 if field in (12, 16) else 2
    data[at : at + size] = value.to_bytes(size, "little")
    with pytest.raises(UnreadableModel):
        read(bytes(data))


def test_a_64_bit_end_is_read() -> None:
    data = bytearray(GOOD)
    at = end_record(GOOD)
    _, _, _, here, count, size, offset, _ = struct.unpack("<4sHHHHIIH", data[at:])
    record = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, here, count, size, offset)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, at, 1)
    full = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 2**32 - 1, 2**32 - 1, 0)
    assert read(bytes(data[:at]) + record + locator + full).tensors == read(GOOD).tensors
    with pytest.raises(UnreadableModel, match="64-bit end is missing"):
        read(bytes(data[:at]) + full)


@pytest.mark.parametrize("size", [2**40, 24])
def test_64_bit_sizes_of_an_entry_are_read(size: int) -> None:
    """A storage of a terabyte, and a small one whose sizes stand in the 64-bit fields all the same."""
    inner = archive(pickled(mapping({"w": tensor(elements=size // 4, shape=(size // 4,), stride=(1,))})), {})
    at = end_record(inner)
    _, _, _, _, count, _length, offset, _ = struct.unpack("<4sHHHHIIH", inner[at:])
    path = b"archive/data/0"
    extra = struct.pack("<HHQQQ", 1, 24, size, size, offset)
    local = struct.pack("<4sHHHHHIIIHH", b"PK\3\4", 45, 0, 0, 0, 0, 0, 0, 0, len(path), 0) + path
    full = 2**32 - 1
    entry = struct.pack(
        "<4sHHHHHHIIIHHHHHII", b"PK\1\2", 45, 45, 0, 0, 0, 0, 0, full, full, len(path), 28, 0, 0, 0, 0, full
    )
    directory = inner[offset:at] + entry + path + extra
    start = offset + len(local) + size
    end = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, count + 1, count + 1, len(directory), start)
    end += struct.pack("<4sIQI", b"PK\6\7", 0, start + len(directory), 1)
    end += struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, full, full, 0)

    class Sparse(Bytes):
        def read(self, offset: int, length: int) -> bytes:
            self.reads.append((offset, length))
            head, tail = inner[: start - size], directory + end
            data = b"" if offset >= len(head) else head[offset : offset + length]
            data += bytes(max(0, min(offset + length, start) - max(offset, len(head))))
            return data + (b"" if offset + length <= start else tail[max(0, offset - start) : offset + length - start])

    reader = Sparse(b"")
    reader.size = start + len(directory) + len(end)
    file = read_pytorch(reader, "model.bin")
    assert file.tensors == (Tensor("w", "F32", (size // 4,)),)
    assert file.storages == {"0": size}


def test_damage_in_entries_is_refused() -> None:
    packed = archive(pickled(mapping({"w": tensor()})), method=zipfile.ZIP_DEFLATED)
    body = 30 + len("archive/data.pkl")
    for data, at, value, says in (
        (packed, body, b"\xff\xff\xff\xff", "packed pickle is damaged"),
        (GOOD, 0, b"PK\0\0", "not where"),
        (GOOD, 6, b"\1", "not where"),
        (GOOD, 30, b"X", "not what"),
        (GOOD, 28, b"\xff\xff", "not what"),
        (GOOD, GOOD.index(b"PK\1\2") + 8, b"\1", "encrypted"),
        (GOOD, GOOD.index(b"PK\1\2") + 10, b"\x0c", "packed by method 12"),
        (GOOD, GOOD.index(b"PK\1\2") + 34, b"\1", "damaged"),
        (GOOD, GOOD.index(b"PK\1\2") + 46, b"\xff", "no text"),
        (GOOD, GOOD.index(b"PK\1\2") + 42, b"\x05", "overlap"),
    ):
        wrong = data[:at] + value + data[at + len(value) :]
        with pytest.raises(UnreadableModel, match=says):
            read(wrong)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400))
@example(b"PK\5\6" + bytes(18))
def test_any_bytes_give_a_result_or_our_error(data: bytes) -> None:
    for body in (data, data + GOOD[end_record(GOOD) :], archive(data), archive(pickled(data))):
        with contextlib.suppress(InspectError):
            read(body)


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), min_size=1, max_size=6), st.booleans())
def test_any_mutation_gives_a_result_or_our_error(changes: list[tuple[int, int]], cut: bool) -> None:
    data = bytearray(GOOD)
    for at, value in changes:
        data[at] = value
    if cut:
        del data[changes[0][0] :]
    reader = Bytes(bytes(data))
    with contextlib.suppress(InspectError):
        read_pytorch(reader, "model.bin")
    assert len(reader.reads) <= 4
    assert sum(length for _, length in reader.reads) <= 2 * len(data) + 4096


# by torch


def test_every_dtype_of_torch_has_the_name_that_safetensors_gives_it() -> None:
    torch = torch_module()
    known = {word: code for word, code in DTYPES.items() if hasattr(torch, word)}
    file = read(saved({word: torch.empty((3, 2), dtype=getattr(torch, word)) for word in known}))
    assert file.uncounted == ()
    for t in file.tensors:
        assert t.dtype == known[t.name]
        assert t.shape == ((3, 4) if t.dtype == "F4" else (3, 2))
        assert t.nbytes == file.storages[file.tensor_storages[t.name]]


def test_dtypes_without_a_safetensors_name_are_named() -> None:
    torch = torch_module()
    file = read(saved({"w": torch.zeros(2), "c": torch.zeros(2, dtype=torch.complex128)}))
    assert ([t.name for t in file.tensors], file.uncounted) == (["w"], ("c",))


def test_a_module_with_a_tied_head() -> None:
    torch = torch_module()
    model = torch.nn.Sequential(torch.nn.Embedding(10, 4), torch.nn.Linear(4, 10, bias=False), torch.nn.BatchNorm1d(10))
    model[1].weight = model[0].weight
    file = read(saved(model.state_dict()))
    assert {t.name: t.shape for t in file.tensors} == {k: tuple(v.shape) for k, v in model.state_dict().items()}
    assert file.duplicates == {"1.weight": "0.weight"}
    assert sum(t.numel for t in file.unique_tensors) == 40 + 4 * 10 + 1


def test_parameters_buffers_and_a_whole_pickled_module() -> None:
    torch = torch_module()
    weight = torch.nn.Parameter(torch.zeros(2, 3))
    weight.note = "kept by _rebuild_parameter_with_state"
    file = read(saved({"w": weight, "v": torch.nn.Parameter(torch.zeros(4))}))
    assert file.tensors == (Tensor("w", "F32", (2, 3)), Tensor("v", "F32", (4,)))
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    whole = read(saved({"epoch": 3, "model": model}))
    assert {t.name: t.shape for t in whole.tensors} == {k: tuple(v.shape) for k, v in model.state_dict().items()}
    assert whole.whole_module


def test_a_training_checkpoint_with_optimizer_and_random_state() -> None:
    torch = torch_module()
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.zeros(1, 3)).sum().backward()
    optimizer.step()
    state = {"rng": torch.get_rng_state(), "python_rng": random.getstate(), "note": {1, 2}, "path": Path("a")}
    file = read(saved({"optimizer": optimizer.state_dict(), "state_dict": model.state_dict(), **state}))
    assert file.tensors == (Tensor("weight", "F32", (2, 3)), Tensor("bias", "F32", (2,)))
    assert file.other_tensors == 7  # AdamW's step and two moments of each, and the generator


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_protocol_that_torch_can_write(protocol: int) -> None:
    torch = torch_module()
    value = {"w": torch.zeros(300, 2), "big": 2**70, "f": 1.5, "b": b"x" * 300, "n": None, "t": (1, 2, 3, 4)}
    assert read(saved(value, pickle_protocol=protocol)).tensors == (Tensor("w", "F32", (300, 2)),)


def test_views_and_transposes() -> None:
    torch = torch_module()
    base = torch.zeros(4, 6, dtype=torch.float16)
    file = read(saved({"base": base, "t": base.t(), "part": base[1:3], "expanded": torch.zeros(1, 2).expand(5, 2)}))
    assert {t.name: t.shape for t in file.tensors} == {"base": (4, 6), "t": (6, 4), "part": (2, 6), "expanded": (5, 2)}
    assert file.duplicates == {}
    assert file.storage_bytes == 48 + 8


def test_sparse_meta_and_quantized() -> None:
    torch = torch_module()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantized = torch.quantize_per_channel(torch.zeros(4, 4), torch.ones(4), torch.zeros(4), 0, torch.qint8)
    file = read(saved({"q": quantized, "s": torch.eye(3).to_sparse(), "m": torch.zeros(3, device="meta")}))
    assert file.tensors == (Tensor("q", "I8", (4, 4)),)
    assert file.uncounted == ("s", "m")


def test_a_legacy_file_and_torchscript_made_by_torch(tmp_path: Path) -> None:
    torch = torch_module()
    with pytest.raises(UnsupportedFormat, match="legacy"):
        read(saved({"w": torch.zeros(2)}, _use_new_zipfile_serialization=False))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(torch.nn.Linear(2, 2)).save(str(tmp_path / "m.pt"))
    with LocalFile(tmp_path / "m.pt") as file, pytest.raises(UnsupportedFormat, match="TorchScript"):
        read_pytorch(file, "m.pt")


def test_a_file_of_torch_takes_two_reads_and_less_than_a_hundredth(tmp_path: Path) -> None:
    torch = torch_module()
    layers = {f"h.{i}.{part}": torch.zeros(256, 256) for i in range(48) for part in ("q", "k", "v", "o")}
    torch.save(layers, tmp_path / "m.bin")
    with LocalFile(tmp_path / "m.bin") as file:
        found = read_pytorch(file, "m.bin")
        assert sum(t.numel for t in found.tensors) == 192 * 65536
        assert found.reads <= 3
        assert found.bytes_read < file.size / 100
    assert make_torch.read(saved(layers)).tensors == found.tensors
