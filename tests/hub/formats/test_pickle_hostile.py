"""Pickles made to run something, or to fill the memory: nothing runs, and each ends soon with our error or a result."""

from __future__ import annotations

import contextlib
import io
import pickle
import struct
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inspector.errors import InspectError, UnreadableModel
from inspector.hub.formats.pytorch import pickle_shapes, pickle_values, state_dict
from inspector.hub.formats.pytorch.pickle_opcodes import OPCODES
from inspector.hub.formats.pytorch.pickle_shapes import interpret
from inspector.hub.formats.pytorch.pickle_values import Name, Opaque, TensorRef
from tests.hub.formats.make_torch import mapping, name, number, pickled, read_pickle, tensor, text

GOOD = pickled(mapping({"a.weight": tensor(), "n": b"]((K\1K\2t\x85e", "t": tensor()}))
SECONDS = 30.0
"""Of CPU time; at most two on an idle core. The bound only catches a change of order."""


WATCHED = ("exec", "compile", "open", "os.system", "subprocess.Popen", "pickle.find_class", "marshal.loads", "import")


class Watch:
    """Notes what runs while it is on. An audit hook cannot be taken off again, so there is one for all tests."""

    on = False
    seen: ClassVar[list[str]] = []

    def __call__(self, event: str, _: Any) -> None:
        if self.on and event in WATCHED:
            self.seen.append(event)


@pytest.fixture(scope="module")
def hook() -> Watch:
    watch = Watch()
    sys.addaudithook(watch)
    return watch


@pytest.fixture
def nothing_runs(hook: Watch) -> Iterator[None]:
    """Every way by which a pickle is known to run something is watched."""
    hook.seen.clear()
    hook.on = True
    yield
    hook.on = False
    assert hook.seen == []


def result_or_error(body: bytes) -> Any:
    try:
        return read_pickle(body)
    except InspectError as error:
        return error


def touch(path: Path) -> str:
    return f"touch {path}"


ATTACKS: dict[str, Callable[[Path], bytes]] = {
    "os.system by reduce": lambda p: name("os", "system") + b"(" + text(touch(p)) + b"tR",
    "posix.system by reduce": lambda p: name("posix", "system") + text(touch(p)) + b"\x85R",
    "builtins.eval": lambda p: name("builtins", "eval") + text(f"open({str(p)!r}, 'w')") + b"\x85R",
    "builtins.exec of Python 2": lambda p: name("__builtin__", "exec") + text(f"open({str(p)!r}, 'w')") + b"\x85R",
    "open": lambda p: name("io", "open") + text(str(p)) + text("w") + b"\x86R",
    "nested reduce by getattr": lambda p: (
        name("builtins", "getattr") + name("os", "system") + text("__call__") + b"\x86R" + text(touch(p)) + b"\x85R"
    ),
    "stack global": lambda p: text("os") + text("system") + b"\x93" + text(touch(p)) + b"\x85R",
    "dotted stack global": lambda p: text("torch") + text("os.system") + b"\x93" + text(touch(p)) + b"\x85R",
    "setstate by build": lambda _: (
        name("torch.nn", "Module") + b")\x81}" + text("__setstate__") + name("os", "system") + b"sb"
    ),
    "inst": lambda p: b"(" + text(touch(p)) + b"ios\nsystem\n",
    "obj": lambda p: b"(" + name("os", "system") + text(touch(p)) + b"o",
    "newobj_ex": lambda p: (
        name("subprocess", "Popen") + text(touch(p)) + b"\x85" + mapping({"shell": b"\x88"}) + b"\x92"
    ),
    "torch's own loader": lambda p: name("torch.storage", "_load_from_bytes") + text(touch(p)) + b"\x85R",
    "runpy": lambda p: name("runpy", "_run_code") + text(f"open({str(p)!r}, 'w')") + b"}\x86R",
    "a subclass whose function is os.system": lambda p: (
        name("torch._tensor", "_rebuild_from_type_v2")
        + b"("
        + name("os", "system")
        + name("torch", "Tensor")
        + text(touch(p))
        + b"\x85}tR"
    ),
    "a tensor whose hooks are os.system": lambda p: (
        name("torch._utils", "_rebuild_parameter")
        + b"("
        + tensor()
        + b"\x88"
        + name("os", "system")
        + text(touch(p))
        + b"\x85RtR"
    ),
    "a persistent id": lambda p: (
        b"(" + text("storage") + name("os", "system") + text(touch(p)) + text("cpu") + b"K\1tQ"
    ),
}


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.usefixtures("nothing_runs")
def test_code_in_a_pickle_does_not_run(attack: str, tmp_path: Path) -> None:
    target = tmp_path / "created"
    body = ATTACKS[attack](target)
    for value in (body, mapping({"w": tensor(), "x": body}), mapping({"state_dict": body})):
        result_or_error(value)
    assert not target.exists()
    # beside a good tensor, it is at most an object without a meaning
    found = result_or_error(mapping({"w": tensor(), "x": body}))
    assert isinstance(found, UnreadableModel) or [t.name for t in found.tensors] in (["w"], ["w", "x"])


class Runs:
    """What Python's own pickle would run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return eval, (f"open({str(self.path)!r}, 'w').close()",)


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_that_python_would_run_does_not(protocol: int, tmp_path: Path) -> None:
    data = pickle.dumps({"w": 1, "x": Runs(tmp_path / "created")}, protocol)
    if protocol == 0:  # torch cannot write that
        with pytest.raises(UnreadableModel, match="does not write"):
            interpret(data)
    else:
        assert isinstance(interpret(data)["x"], Opaque)
    assert not (tmp_path / "created").exists()


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"\x82\x01", "opcode 0x82"),  # EXT1
        (b"\x83\x01\x00", "opcode 0x83"),
        (b"\x84\x01\x00\x00\x00", "opcode 0x84"),
        (b"Pos.system\n", "opcode 0x50"),  # a text persistent ID
        (b"I1\n", "opcode 0x49"),
        (b"L" + b"9" * 5000 + b"L\n", "opcode 0x4c"),
        (b"\x97", "opcode 0x97"),  # an out-of-band buffer
        (b"\x8d" + struct.pack("<Q", 2**32) + b"x", "cut off"),
        (b"\x8d" + struct.pack("<Q", 2**64 - 1) + b"x", "cut off"),
        (b"X" + struct.pack("<I", 2**32 - 1) + b"x", "cut off"),
        (b"\x8e" + struct.pack("<Q", 2**63) + b"x", "cut off"),
        (b"\x8b" + struct.pack("<i", -1), "integer of"),
        (b"\x8b" + struct.pack("<I", 2**31) + b"\1" * 100, "integer of"),
        (b"\x8a\xff" + b"\1" * 255, "integer of"),
        (b"c" + b"a" * 10_000, "global without an end"),
        (b"X\2\0\0\0\xff\xfe", "text that is none"),
        (b"\x80\xff", "unknown version"),
        (b"r\0\0\0\0", "damaged"),
        (b"Nr\xff\xff\xff\xff", "out of order"),
        (b"j\xff\xff\xff\xff", "damaged"),
        (b"R", "damaged"),
        (b"N)R0t", "damaged"),
        (b"(", "damaged"),
        (b"NN", "damaged"),
        (b"", "damaged"),
        (b"\x87", "damaged"),
        (b"NNR", "calls without arguments"),
        (b"NNa", "appends to what is no list"),
        (b"NNNs", "no dict"),
        (b"}(Nu", "no dict"),
        (b"}(N\x90", "no set"),
        (b"NN\x93", "what is no name"),
        (name("collections", "OrderedDict") + b"](" + text("k") + tensor() + b"\x86e\x85R", "fills a dict"),
    ],
)
def test_what_torch_does_not_write_is_refused(body: bytes, says: str) -> None:
    with pytest.raises(UnreadableModel, match=says):
        read_pickle(body)


MEMO = b"\x94"

KEEP = MEMO + b"0"
"""Remember the top of the stack, and take it off."""


def get(index: int) -> bytes:
    return b"h" + bytes([index])


LAUGHS = {
    # each holds the one before it several times: far more than 2^60 tensors when walked
    "billion laughs of dicts": (
        mapping({"w": tensor()})
        + KEEP
        + b"".join(mapping({str(k): get(i) for k in range(10)}) + KEEP for i in range(30))
        + get(30)
    ),
    "billion laughs of lists": (
        b"](" + tensor() + b"e" + KEEP + b"".join(b"](" + get(i) * 10 + b"e" + KEEP for i in range(30)) + get(30)
    ),
    "billion laughs of tuples": tensor() + KEEP + b"".join(get(i) * 3 + b"\x87" + KEEP for i in range(30)) + get(30),
    "a long list in many lists": (
        b"]("
        + b"N" * 200_000
        + b"e"
        + KEEP
        + b"]("
        + get(0) * 200_000
        + b"e"
        + KEEP
        + mapping({"a": get(1), "w": tensor()})
    ),
    "a long name in many dicts": (
        text("x" * 60_000)
        + KEEP
        + mapping({"w": tensor()})
        + KEEP
        + b"".join(b"}(" + get(0) + get(i) + b"u" + KEEP for i in range(1, 25))
        + b"]("
        + get(25) * 100_000
        + b"e"
    ),
    "a dict in itself": b"}" + MEMO + text("w") + tensor() + b"s" + text("self") + get(0) + b"s",
    "a list in itself": b"]" + MEMO + get(0) + b"a",
    "a module in itself": (
        name("torch.nn", "Module") + b")\x81" + MEMO + b"}" + text("_modules") + b"}" + text("m") + get(0) + b"ssb"
    ),
    "a state dict in itself": b"}" + MEMO + text("state_dict") + get(0) + b"s" + text("w") + tensor() + b"s",
    "deep tuples": b"N" + b"\x85" * 500_000,
    "deep lists": b"]" * 300_000 + b"a" * 299_999,
    "deep dicts": (b"}" + text("k")) * 200_000 + b"N" + b"s" * 200_000,
}
QUIET = {
    "deep objects": name("a", "b") + KEEP + (get(0) + b")\x81") * 200_000 + b"b" * 199_999,
    "integers that hash alike": b"}(" + b"".join(number(k * (2**61 - 1)) + b"N" for k in range(1, 60_000)) + b"u",
    "tuples that hash alike": b"}(" + b"".join(number(k * (2**61 - 1)) + b"\x85N" for k in range(1, 60_000)) + b"u",
}
ENDLESS = {
    "marks": b"(" * 400_000,
    "dicts": b"}" * 400_000,
    "dicts of one item": b"}K\1Ns" * 200_000,
    "lists": b"]" * 400_000,
    "lists of one item": b"]Na" * 400_000,
    "objects": name("a", "b") + KEEP + (get(0) + b")R") * 200_000,
    "names": b"ca\nb\n" * 200_000,
    "the top of the stack": b"N" + b"2" * 600_000,
    "memory": b"N" + MEMO * 600_000,
    "items of a list": b"](" + b"J\xff\xff\xff\x7f" * 600_000 + b"e",
    "items of an object": name("a", "b") + b")R(" + b"N" * 300_000 + b"e",
}


@pytest.mark.parametrize("bomb", LAUGHS)
def test_a_bomb_is_refused_soon(bomb: str) -> None:
    start = time.process_time()
    with pytest.raises(UnreadableModel, match=r"nested without end|names are too long"):
        read_pickle(LAUGHS[bomb])
    assert time.process_time() - start < SECONDS


@pytest.mark.parametrize("bomb", QUIET)
def test_what_would_be_slow_elsewhere_is_not(bomb: str) -> None:
    start = time.process_time()
    with pytest.raises(UnreadableModel, match="holds no tensors"):
        read_pickle(QUIET[bomb])
    assert time.process_time() - start < SECONDS


@pytest.mark.parametrize("bomb", ENDLESS)
def test_the_caps_keep_memory_small(bomb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """At a tenth of the caps, since counting memory is slow: under 25 MB, so under 250 at the caps."""
    monkeypatch.setattr(pickle_shapes, "MAX_STEPS", pickle_shapes.MAX_STEPS // 10)
    monkeypatch.setattr(pickle_shapes, "MAX_OBJECTS", pickle_shapes.MAX_OBJECTS // 10)
    data = pickled(ENDLESS[bomb])
    tracemalloc.start()
    try:
        with pytest.raises(UnreadableModel, match=r"takes more than|makes more than"):
            interpret(data)
        assert tracemalloc.get_traced_memory()[1] < 25_000_000
    finally:
        tracemalloc.stop()


def test_a_state_dict_of_a_hundred_thousand_tensors_is_within_the_caps() -> None:
    """As torch pickles it: shared words remembered, everything else made anew."""
    shared = name("torch._utils", "_rebuild_tensor_v2") + MEMO + b"0" + text("storage") + MEMO + b"0"
    shared += text("cpu") + MEMO + b"0"
    shared += name("torch", "BFloat16Storage") + MEMO + b"0" + name("collections", "OrderedDict") + MEMO + b"0"
    rows = []
    for i in range(100_000):
        where = b"(h\1h\3" + text(str(i)) + MEMO + b"h\2M\0\x08t" + MEMO + b"Q"
        made = (
            b"h\0("
            + where
            + b"K\0K\x20K\x40\x86"
            + MEMO
            + b"K\x40K\1\x86"
            + MEMO
            + b"\x89h\4)R"
            + MEMO
            + b"t"
            + MEMO
            + b"R"
        )
        rows.append(text(f"model.layers.{i}.weight") + MEMO + made + MEMO)
    found = state_dict.find_state_dict(
        interpret(pickled(shared + mapping({"state_dict": b"}(" + b"".join(rows) + b"u"})))
    )
    assert len(found.tensors) == 100_000
    assert found.tensors["model.layers.7.weight"].shape == (32, 64)


@settings(max_examples=1500, deadline=None)
@given(st.lists(st.sampled_from(sorted(OPCODES)) | st.integers(0, 255), max_size=60).map(bytes))
def test_any_opcodes_give_a_value_or_our_error(body: bytes) -> None:
    for data in (body, pickled(body), GOOD[:-1] + body + b"."):
        with contextlib.suppress(UnreadableModel):
            state_dict.find_state_dict(interpret(data))


@settings(max_examples=500, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), min_size=1, max_size=5))
def test_any_mutation_gives_a_value_or_our_error(changes: list[tuple[int, int]]) -> None:
    data = bytearray(GOOD)
    for at, value in changes:
        data[at] = value
    try:
        for ref in state_dict.find_state_dict(interpret(bytes(data))).tensors.values():
            assert isinstance(ref, TensorRef)
            assert all(n >= 0 for n in ref.shape)
    except UnreadableModel:
        pass


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**200), 2**200)
    | st.floats()
    | st.text(max_size=9)
    | st.binary(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=4) | st.tuples(inner, inner) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=20,
)


@settings(max_examples=300, deadline=None)
@given(plain, st.integers(2, 5))
def test_what_python_pickles_is_read_as_python_reads_it(value: Any, protocol: int) -> None:
    out = io.BytesIO()
    pickle.Pickler(out, protocol).dump(value)

    def same(ours: Any, theirs: Any) -> bool:
        if isinstance(theirs, bytes):
            return isinstance(ours, Opaque)
        if isinstance(theirs, float):
            return repr(ours) == "0.0"
        if isinstance(theirs, dict):
            return list(ours) == list(theirs) and all(same(ours[k], theirs[k]) for k in theirs)
        if isinstance(theirs, (list, tuple)):
            return type(ours) is type(theirs) and len(ours) == len(theirs) and all(map(same, ours, theirs))
        return type(ours) is type(theirs) and repr(ours) == repr(theirs)

    assert same(interpret(out.getvalue()), value)


def test_the_interpreter_imports_and_calls_nothing() -> None:
    """By its source: none of its modules knows pickle, or a way to import, look up or evaluate."""
    for module in (pickle_shapes, pickle_values, state_dict):
        source = Path(str(module.__file__)).read_text(encoding="utf-8")
        for word in (
            "import pickle",
            "importlib",
            "__import__",
            "eval(",
            "exec(",
            "find_class",
            "marshal",
            "globals()",
        ):
            assert word not in source
    # getattr is there once, for the table of opcodes, whose words are this package's own
    assert (
        sum(Path(str(m.__file__)).read_text().count("getattr") for m in (pickle_shapes, pickle_values, state_dict)) == 1
    )
    assert all(hasattr(pickle_shapes.Machine, method) for method, *_ in OPCODES.values())
    assert interpret(pickled(name("os", "system"))) == Name("os", "system")
