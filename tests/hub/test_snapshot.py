"""The compact form of a checkpoint: it must come back exactly, and refuse what it did not write."""

from __future__ import annotations

import json
import pickle
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspector.hub import Resolver
from inspector.hub.cache import snapshot
from inspector.hub.checkpoint import Checkpoint, File, Part, Tensor, alike
from inspector.hub.dtypes import DTYPE_BITS
from inspector.model import build_model
from inspector.model.parameters.names import group_tensors

component = st.one_of(
    st.sampled_from(
        ["layers", "w1", "05", "00", "0", "{}", "{", "}", "{{}}", "{0}", "%d", "%", "", "٣", "²", "é", "-1", "1-2"]
    ),
    st.integers(0, 12).map(str),
    st.integers(10**8, 10**11).map(str),
    st.text(max_size=4),
)
name = st.lists(component, min_size=1, max_size=4).map(".".join)
tensor = st.builds(
    Tensor,
    name=name,
    dtype=st.sampled_from(sorted(DTYPE_BITS)),
    shape=st.lists(st.sampled_from([0, 1, 2, 4096]), max_size=3).map(tuple),
)
json_value = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
checkpoint = st.builds(
    Checkpoint,
    repo_id=st.text(max_size=9),
    revision=st.none() | st.text(max_size=9),
    source=st.sampled_from(["hub", "cache", "local", "bundled"]),
    config=st.dictionaries(st.text(max_size=5), json_value, max_size=3),
    tensors=st.lists(tensor, max_size=30, unique_by=lambda t: t.name).map(tuple),
    format=st.text(max_size=9),
    files=st.lists(st.builds(File, st.text(max_size=9), st.none() | st.integers(0)), max_size=3).map(tuple),
    metadata=st.dictionaries(st.text(max_size=5), json_value, max_size=3),
    warnings=st.lists(st.text(max_size=9), max_size=3).map(tuple),
    snapshot_date=st.none() | st.text(max_size=9),
)


def make(*tensors: Tensor) -> Checkpoint:
    return Checkpoint("org/name", "0" * 40, "hub", {"model_type": "llama"}, tensors)


def rows(*tensors: Tensor) -> list[list[Any]]:
    result: list[list[Any]] = snapshot.encode(make(*tensors))["tensors"]
    return result


@given(checkpoint)
def test_every_checkpoint_comes_back(original: Checkpoint) -> None:
    for copy in (snapshot.decode(snapshot.encode(original)), snapshot.loads(snapshot.dumps(original))):
        assert sorted(copy.tensors) == sorted(original.tensors)
        assert copy == Checkpoint(**{**vars(original), "tensors": tuple(copy.tensors)})
        assert copy.tensor_bytes == original.tensor_bytes
        assert snapshot.encode(copy) == snapshot.encode(original)


@given(st.permutations([Tensor(f"h.{i}.{p}", "F32", (i % 3,)) for i in range(12) for p in ("w", "b")]))
def test_order_does_not_depend_on_the_order_before(tensors: list[Tensor]) -> None:
    copy = snapshot.decode(snapshot.encode(make(*tensors)))
    assert [t.name for t in copy.tensors] == [f"h.{i}.{p}" for i in range(12) for p in ("b", "w")]


def test_equal_layers_are_one_row() -> None:
    experts = [Tensor(f"layers.{i}.experts.{j}.w1", "BF16", (4, 2)) for i in range(3, 61) for j in range(256)]
    assert rows(*experts) == [["layers.{}.experts.{}.w1", "BF16", [4, 2], "3-60", "0-255"]]


def test_irregular_indices_are_lists_of_ranges() -> None:
    layers = [Tensor(f"layers.{i}.linear_attn.norm", "F32", (8,)) for i in range(12) if i % 4 != 3]
    assert rows(*layers) == [["layers.{}.linear_attn.norm", "F32", [8], "0-2,4-6,8-10"]]


def test_a_set_that_is_no_product_is_split() -> None:
    ragged = [Tensor(f"a.{i}.b.{j}", "F32", ()) for i, j in [(0, 0), (0, 1), (1, 0), (2, 0), (2, 1)]]
    assert rows(*ragged) == [["a.{}.b.{}", "F32", [], "0,2", "0-1"], ["a.{}.b.{}", "F32", [], "1", "0"]]


def test_a_leading_zero_is_kept() -> None:
    assert snapshot.split_name("layers.05.w1.7") == ("layers.05.w1.{}", (7,))


def test_deepseek_v3_is_small_and_quick() -> None:
    names = [f"model.layers.{i}.mlp.experts.{j}.{p}_proj" for i in range(3, 62) for j in range(256) for p in "gud"]
    tensors = [Tensor(f"{n}.{s}", "F32", (16, 56)) for n in names for s in ("weight", "weight_scale_inv")]
    text = snapshot.dumps(make(*tensors))
    assert len(text) < 2_000
    best = min(_timed(text) for _ in range(3))
    assert best < 1.0  # about 0.15 s on an idle core; the bound only catches a change of order


def _timed(text: str) -> float:
    start = time.process_time()
    assert len(snapshot.loads(text).tensors) == 90_624
    return time.process_time() - start


@pytest.mark.parametrize(
    "row",
    [
        None,
        [],
        ["a.{}", "F32", [1]],
        ["a", "F32", [1], "0"],
        ["a", "F31", [1]],
        ["a", ["F32"], [1]],
        ["a", "F32", [-1]],
        ["a", "F32", [True]],
        ["a", "F32", [1.0]],
        ["a", "F32", 3],
        ["a", "F32", [1] * 65],
        ["a", "F32", [2**63]],
        [7, "F32", [1]],
        ["{x", "F32", [1]],
        ["a.3", "F32", [1]],
        ["a.{}", "F32", [1], ""],
        ["a.{}", "F32", [1], "3-1"],
        ["a.{}", "F32", [1], "0-3,2"],
        ["a.{}", "F32", [1], "-1"],
        ["a.{}", "F32", [1], "1-2-3"],
        ["a.{}", "F32", [1], "٣"],
        ["a.{}", "F32", [1], [0, 1]],
        ["a.{}", "F32", [1], "0-1000000"],
        ["a.{}.{}", "F32", [1], "0-9999", "0-999999999"],
        ["a" * 1000 + ".{}", "F32", [1], "0-999999"],
    ],
)
def test_malformed_rows_are_refused(row: Any) -> None:
    data = snapshot.encode(make())
    with pytest.raises(ValueError, match=r"."):
        snapshot.decode({**data, "tensors": [row]})


@pytest.mark.parametrize(
    "key", ["schema", "repo_id", "source", "format", "files", "metadata", "warnings", "config", "tensors"]
)
@pytest.mark.parametrize("value", [None, 1.5, {1: 2}, [None], [["a", -1]], [["a", True]], "x"])
def test_malformed_fields_are_refused(key: str, value: Any) -> None:
    if (key, value) in [("repo_id", "x"), ("format", "x")]:
        return
    data = snapshot.encode(make())
    with pytest.raises(ValueError, match=r"."):
        snapshot.decode({**data, key: value})


@pytest.mark.parametrize("text", ["", "[]", "null", "{}", "[" * 100_000, '{"schema": 2}', b"\xff\xfe"])
def test_text_that_is_no_snapshot_is_refused(text: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        snapshot.loads(text)


def test_a_name_given_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="same name"):
        snapshot.encode(make(Tensor("a", "F32", (1,)), Tensor("a", "F16", (1,))))
    data = snapshot.encode(make())
    with pytest.raises(ValueError, match="same name"):
        snapshot.decode({**data, "tensors": [["a", "F32", [1]], ["a", "F16", [1]]]})
    with pytest.raises(ValueError, match="same name"):
        snapshot.decode({**data, "tensors": [["a.{}", "F32", [1], "0-3"], ["a.{}", "F16", [1], "3,5"]]})


def test_the_text_is_plain_json() -> None:
    original = make(Tensor("a.0", "F32", (1,)))
    assert json.loads(snapshot.dumps(original)) == snapshot.encode(original)
    assert json.loads(snapshot.dumps(make())) == snapshot.encode(make())


def with_parts(*parts: Part) -> Checkpoint:
    return Checkpoint("org/name", "0" * 40, "hub", {"a": 1}, (), parts=parts)


def test_the_parts_of_a_checkpoint_come_back() -> None:
    whole = with_parts(
        Part("unet", "component", "UNet2DConditionModel", make(Tensor("a.2.w", "F16", (3, 4)))),
        Part("adapter", "adapter", None, make(Tensor("b", "BF16", (5,)))),
    )
    assert snapshot.loads(snapshot.dumps(whole)) == whole
    assert (whole.tensor_bytes, whole.tensor_count) == (24 + 10, 2)


def test_a_checkpoint_without_parts_is_written_as_ever() -> None:
    data = snapshot.encode(make())
    assert data["schema"] == 1
    assert "parts" not in data
    assert snapshot.encode(with_parts(Part("a", "base", None, make())))["schema"] == 2  # older versions refuse it


@pytest.mark.parametrize(
    "parts",
    [
        None,
        [],
        {},
        [[]],
        [["a", "base", None]],
        [[1, "base", None, {}]],
        [["a", "other", None, {}]],
        [["a", "base", 3, {}]],
        [["a", "base", None, {}]],
        [["a", [], None, {}]],
    ],
)
def test_malformed_parts_are_refused(parts: Any) -> None:
    data = {**snapshot.encode(make()), "schema": 2, "parts": parts}
    with pytest.raises(ValueError, match=r"."):
        snapshot.decode(data)


def test_parts_do_not_nest() -> None:
    inner = with_parts(Part("a", "base", None, make()))
    data = snapshot.encode(with_parts(Part("b", "base", None, inner)))
    with pytest.raises(ValueError, match="part of a part"):
        snapshot.decode(data)


@given(st.lists(tensor, max_size=30, unique_by=lambda t: t.name))
def test_what_is_told_of_rows_is_told_of_their_tensors(tensors: list[Tensor]) -> None:
    lazy = snapshot.decode(snapshot.encode(make(*tensors))).tensors
    told, shapes = group_tensors(lazy), list(alike(lazy).items())
    assert "_tensors" not in vars(lazy)  # none was made
    made = tuple(lazy)
    assert told == group_tensors(made)
    assert [list(group.layers) for group in told] == [list(group.layers) for group in group_tensors(made)]
    assert shapes == list(alike(made).items())
    assert (lazy, hash(lazy), len(lazy), lazy[:2]) == (made, hash(made), len(made), made[:2])
    assert pickle.loads(pickle.dumps(lazy)) == lazy


def test_a_bundled_mixture_is_understood_without_making_its_tensors() -> None:
    checkpoint = Resolver(offline=True).resolve("Qwen/Qwen3-30B-A3B")
    assert build_model(checkpoint).parameters.total == 30_532_122_624
    assert len(checkpoint.tensors) == 18_867
    assert "_tensors" not in vars(checkpoint.tensors)
