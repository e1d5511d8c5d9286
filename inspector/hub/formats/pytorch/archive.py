"""PyTorch's `.bin`, `.pt` and `.pth` files: names, dtypes and shapes from two small reads; nothing is unpickled.

Format (torch.save since 1.6): a zip archive, `NAME/data.pkl` first, then uncompressed `NAME/data/KEY`, one a storage.
The pickle holds everything but the numbers. The archive's end says where the pickle lies and how long each storage is.
"""

from __future__ import annotations

from dataclasses import dataclass

from inspector.errors import UnreadableModel, UnsupportedFormat
from inspector.hub.checkpoint import Tensor
from inspector.hub.formats.pytorch.pickle_shapes import interpret
from inspector.hub.formats.pytorch.state_dict import StateDict, find_state_dict
from inspector.hub.formats.pytorch.zip_directory import Entry, read_directory, read_entry
from inspector.hub.formats.reader import CountingReader, RangeReader

MAX_PICKLE = 32 * 1024 * 1024
"""A tensor takes about 250 bytes; the largest published state dicts have pickles of a few hundred kilobytes."""
LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""The magic number of torch.save before 1.6, 0x1950a86a20f9469cfc6c, as protocol 2 pickles it."""
SAVE_AGAIN = "Load it with torch on a machine you trust and save it again, best as safetensors."


@dataclass(frozen=True)
class PytorchFile:
    """What a file holds.

    Attributes:
        tensors: of its state dict, in order, tied ones under each of their names.
        duplicates: name -> the earlier name of the same weight (same storage, same view).
        storages: storage key -> bytes, of all that `tensors` look into.
        tensor_storages: tensor name -> storage key.
        root: where in the file the state dict was, "" for the whole: "state_dict", "module.model".
        uncounted: names of tensors in it that are not in `tensors`, as their kind is not understood (sparse, meta,
            subclasses, dtypes without a safetensors name). Where there are any, a sum over `tensors` is too small.
        other_tensors: tensors of the file outside the state dict (an optimizer's).
        whole_module: a pickled module, not a state dict: buffers that a state dict leaves out may be among `tensors`.
        reads, bytes_read: what it took.
    """

    tensors: tuple[Tensor, ...]
    duplicates: dict[str, str]
    storages: dict[str, int]
    tensor_storages: dict[str, str]
    root: str
    uncounted: tuple[str, ...]
    other_tensors: int
    whole_module: bool
    reads: int
    bytes_read: int

    @property
    def unique_tensors(self) -> tuple[Tensor, ...]:
        """Each weight once."""
        return tuple(t for t in self.tensors if t.name not in self.duplicates)

    @property
    def storage_bytes(self) -> int:
        """Bytes of the file that hold the state dict's numbers, shared ones counted once."""
        return sum(self.storages.values())


def read_pytorch(reader: RangeReader, name: str) -> PytorchFile:
    """Read a file that torch.save wrote.

    Args:
        name: the file's name, for messages.

    Raises:
        UnsupportedFormat: it is something else (TorchScript, a legacy file, no torch file); the message says what.
        UnreadableModel: it is damaged or hostile.
    """
    try:
        return _read(CountingReader(reader))
    except UnreadableModel as error:
        raise type(error)(f"{name}: {error.message}", error.hint) from None


def _read(reader: CountingReader) -> PytorchFile:
    entries = read_directory(reader)
    if entries is None:
        raise _no_archive(reader)
    pickle = _find_pickle(entries)
    root = pickle.name.removesuffix("data.pkl")
    found = find_state_dict(interpret(read_entry(reader, pickle, MAX_PICKLE)))
    if not found.tensors and not found.uncounted:
        raise UnreadableModel("it holds no tensors")
    return PytorchFile(
        tensors=tuple(Tensor(name, ref.dtype, ref.shape) for name, ref in found.tensors.items()),
        duplicates=found.duplicates(),
        storages=_storage_sizes(found, entries, root),
        tensor_storages={name: ref.storage.key for name, ref in found.tensors.items()},
        root=found.root,
        uncounted=tuple(found.uncounted),
        other_tensors=found.other_tensors,
        whole_module=found.whole_module,
        reads=reader.reads,
        bytes_read=reader.bytes_read,
    )


def _find_pickle(entries: dict[str, Entry]) -> Entry:
    pickles = [entry for name, entry in entries.items() if name.endswith("/data.pkl") and name.count("/") == 1]
    roots = {name.split("/")[0] for name in entries}
    for root in roots:
        if f"{root}/constants.pkl" in entries:
            raise UnsupportedFormat("a TorchScript archive, which is a program with weights", SAVE_AGAIN)
        if f"{root}/.data/extern_modules" in entries:
            raise UnsupportedFormat("a torch.package archive, which is a program with weights", SAVE_AGAIN)
        if f"{root}/archive_format" in entries or f"{root}/models/model.json" in entries:
            raise UnsupportedFormat("a torch.export archive (.pt2), which is a program with weights", SAVE_AGAIN)
    if len(pickles) != 1:
        raise UnsupportedFormat("a zip archive that torch.save did not write (no data.pkl, or more than one)")
    return pickles[0]


def _storage_sizes(found: StateDict, entries: dict[str, Entry], root: str) -> dict[str, int]:
    """The archive's own sizes, which must be at least what the pickle says."""
    sizes: dict[str, int] = {}
    for ref in found.tensors.values():
        entry = entries.get(f"{root}data/{ref.storage.key}")
        if entry is None or entry.size < ref.storage.nbytes:
            raise UnreadableModel(f"its storage {ref.storage.key[:40]!r} is missing or too short")
        sizes[ref.storage.key] = entry.size
    return sizes


def _no_archive(reader: CountingReader) -> UnreadableModel:
    """What a file is that does not end like a zip archive, from its first bytes."""
    head = reader.read(0, min(reader.size, 512))
    if head.startswith(LEGACY):
        return UnsupportedFormat("a legacy torch file (torch.save before 1.6), which only torch can read", SAVE_AGAIN)
    if head.startswith(b"PK\3\4"):
        return UnreadableModel(
            "a torch file that is cut off: its zip directory is missing", "Download or upload it again."
        )
    if head.startswith(b"version https://git-lfs"):
        return UnreadableModel("a Git LFS pointer, not the file itself", "Fetch it with git lfs pull.")
    if head[257:262] == b"ustar":
        return UnsupportedFormat("a tar archive, as torch.save wrote before 0.1.10", SAVE_AGAIN)
    if head.startswith(b"GGUF"):
        return UnsupportedFormat("a GGUF file under another name")
    if head.startswith(b"\x80") and head[1:2] <= b"\x05":
        return UnsupportedFormat("a bare pickle, not a file that torch.save wrote", SAVE_AGAIN)
    return UnsupportedFormat("not a file that torch.save wrote")
