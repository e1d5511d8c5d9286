"""The torch of shapes alone that transformers' classes are built with (inspector/measure/shapes/)."""

from __future__ import annotations

from typing import Any

import pytest

from inspector.measure.shapes.anything import Anything, Unknown
from inspector.measure.shapes.dtypes import DTYPES
from inspector.measure.shapes.layers import CLASSES
from inspector.measure.shapes.making import MAKERS, pad
from inspector.measure.shapes.module import Module, Parameter
from inspector.measure.shapes.parametrizations import parametrized_weight_norm, remove_weight_norm, weight_norm
from inspector.measure.shapes.tensor import Tensor
from inspector.measure.shapes.torch import CONTENTS

LAYERS: list[tuple[str, tuple[Any, ...], dict[str, Any], dict[str, tuple[int, ...]]]] = [
    ("Linear", (3, 5), {}, {"weight": (5, 3), "bias": (5,)}),
    ("Linear", (3, 5), {"bias": False}, {"weight": (5, 3)}),
    ("Embedding", (7, 4), {"padding_idx": 0}, {"weight": (7, 4)}),
    ("Conv1d", (4, 6, 3), {"groups": 2}, {"weight": (6, 2, 3), "bias": (6,)}),
    ("Conv2d", (4, 6, (3, 2), 1, 0, 1, 2, False), {}, {"weight": (6, 2, 3, 2)}),
    ("ConvTranspose1d", (4, 6, 3), {"groups": 2}, {"weight": (4, 3, 3), "bias": (6,)}),
    ("LayerNorm", ((2, 3),), {}, {"weight": (2, 3), "bias": (2, 3)}),
    ("LayerNorm", (4,), {"bias": False}, {"weight": (4,)}),
    ("RMSNorm", (4,), {}, {"weight": (4,)}),
    ("GroupNorm", (2, 4), {}, {"weight": (4,), "bias": (4,)}),
    (
        "BatchNorm2d",
        (4,),
        {},
        {"weight": (4,), "bias": (4,), "running_mean": (4,), "running_var": (4,), "num_batches_tracked": ()},
    ),
    ("InstanceNorm1d", (4,), {}, {}),
    ("PReLU", (), {}, {"weight": (1,)}),
    (
        "LSTM",
        (3, 5),
        {"num_layers": 2},
        {
            "weight_ih_l0": (20, 3),
            "weight_hh_l0": (20, 5),
            "bias_ih_l0": (20,),
            "bias_hh_l0": (20,),
            "weight_ih_l1": (20, 5),
            "weight_hh_l1": (20, 5),
            "bias_ih_l1": (20,),
            "bias_hh_l1": (20,),
        },
    ),
    (
        "MultiheadAttention",
        (8, 2),
        {},
        {"in_proj_weight": (24, 8), "in_proj_bias": (24,), "out_proj.weight": (8, 8), "out_proj.bias": (8,)},
    ),
    (
        "MultiheadAttention",
        (8, 2),
        {"kdim": 6, "bias": False},
        {"q_proj_weight": (8, 8), "k_proj_weight": (8, 6), "v_proj_weight": (8, 8), "out_proj.weight": (8, 8)},
    ),
    ("GELU", (), {"approximate": "tanh"}, {}),
]


def shapes(module: Any) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in module.state_dict().items()}


@pytest.mark.parametrize(("name", "args", "named", "held"), LAYERS)
def test_layers_hold_what_torch_documents(
    name: str, args: tuple[Any, ...], named: dict[str, Any], held: dict[str, tuple[int, ...]]
) -> None:
    assert shapes(CLASSES[name](*args, **named)) == held


@pytest.mark.parametrize(("name", "args", "named", "held"), LAYERS)
def test_layers_hold_what_torch_has(name: str, args: tuple[Any, ...], named: dict[str, Any], held: object) -> None:
    torch = pytest.importorskip("torch")
    assert shapes(getattr(torch.nn, name)(*args, **named)) == held


def test_weight_norms_have_torchs_names() -> None:
    conv = CLASSES["Conv1d"]
    assert shapes(weight_norm(conv(2, 4, 3, bias=False))) == {"weight_g": (4, 1, 1), "weight_v": (4, 2, 3)}
    both = {"original0": (1, 1, 3), "original1": (4, 2, 3)}
    assert shapes(parametrized_weight_norm(conv(2, 4, 3, bias=False), dim=2)) == {
        f"parametrizations.weight.{name}": shape for name, shape in both.items()
    }
    assert shapes(remove_weight_norm(weight_norm(conv(2, 4, 3, bias=False)))) == {"weight": (4, 2, 3)}


def test_a_module_registers_parts_as_torchs_does() -> None:
    class Own(Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = CLASSES["ModuleList"](CLASSES["Linear"](2, 2, bias=False) for _ in range(2))
            self.head = CLASSES["Linear"](2, 5, bias=False)
            self.head.weight = self.layers[0].weight
            self.register_buffer("kept", MAKERS["zeros"](3))
            self.register_buffer("left", MAKERS["zeros"](3), persistent=False)
            self.nothing = None

    own = Own()
    assert shapes(own) == {
        "layers.0.weight": (2, 2),
        "layers.1.weight": (2, 2),
        "head.weight": (2, 2),
        "kept": (3,),
    }
    assert [name for name, _ in own.named_parameters()] == ["layers.0.weight", "layers.1.weight"]
    assert own.get_parameter("head.weight") is own.layers[0].weight
    with pytest.raises(AttributeError):
        own.no_such  # noqa: B018
    with pytest.raises(AttributeError, match="before"):
        type("Early", (Module,), {"__init__": lambda self: setattr(self, "a", Parameter(MAKERS["zeros"](1)))})()


def test_small_values_are_calculated_and_large_tensors_take_no_memory() -> None:
    steps = MAKERS["linspace"](0, 1, 5)
    assert [each.item() for each in steps] == [0, 0.25, 0.5, 0.75, 1]
    assert (MAKERS["arange"](10) // 3).sum().item() == 12
    large = MAKERS["zeros"](1 << 30, 1 << 20)
    assert tuple((large + 1).transpose(0, 1).reshape(-1, 2).shape) == (1 << 49, 2)
    assert large.array.strides == (0, 0)
    assert tuple(pad(MAKERS["zeros"](2, 3), (1, 1, 0, 2)).shape) == (4, 5)
    assert MAKERS["tensor"]([1, 2]).dtype is DTYPES["int64"]
    assert tuple(Tensor(2, 3).shape) == (2, 3)
    assert Tensor([2.5]).tolist() == [2.5]


def test_what_is_not_known_is_no_size() -> None:
    """Rather no answer than a wrong one."""
    unknown = MAKERS["empty"](4)
    for wanted in (
        lambda: CLASSES["Linear"](2, int(Anything("torch.some_function")())),
        lambda: Parameter(Anything("torch.some_function")()),
        lambda: int(unknown.sum()),
        lambda: unknown[unknown > 0],
        lambda: bool(Anything("torch.cuda").some_question()),
        lambda: list(Anything("torch.some_list")),
        lambda: unknown.fill_(2).tolist(),
    ):
        with pytest.raises(Unknown):
            wanted()


def test_a_changed_view_leaves_no_stale_values() -> None:
    whole = MAKERS["arange"](4)
    whole[1:].fill_(7)
    with pytest.raises(Unknown):
        whole.tolist()
    own = MAKERS["arange"](4)
    own[0] = 9
    assert own.tolist() == [9, 1, 2, 3]


def test_results_have_the_dtypes_and_values_that_torchs_have() -> None:
    tensor, arange = MAKERS["tensor"], MAKERS["arange"]
    truths = arange(5) > 2
    assert (truths.sum().item(), truths.sum().dtype.name) == (2, "int64")
    assert truths.cumsum(0).tolist() == [0, 0, 0, 1, 2]
    assert (truths * 3).tolist() == [0, 0, 0, 3, 3]
    assert (truths & ~truths).tolist() == [False] * 5
    assert (tensor([1, 2]) & 2).tolist() == [0, 2]
    assert (tensor([1], DTYPES["int32"]) + tensor([1])).dtype.name == "int64"
    assert (tensor([250], DTYPES["uint8"]) + 10).tolist() == [4]
    assert MAKERS["cat"]((tensor([1]), MAKERS["zeros"](1))).dtype.name == "float32"
    assert CONTENTS["torch"]["LongTensor"]([1]).dtype.name == "int64"
    assert CONTENTS["torch"]["iinfo"](DTYPES["uint8"]).max == 255
    assert CONTENTS["torch"]["finfo"](DTYPES["bfloat16"]).min == -3.3895313892515355e38
    with pytest.raises(FloatingPointError):
        tensor([1]) // 0
    with pytest.raises(RuntimeError, match="step"):
        arange(0, -4, 2)


@pytest.mark.parametrize(
    "wanted",
    [
        lambda: MAKERS["zeros"](2.5),
        lambda: MAKERS["zeros"](4).view(DTYPES["uint8"]),
        lambda: CLASSES["Conv1d"](4, 8, 2.5),
        lambda: CLASSES["LSTM"](3, 4, 0),
        lambda: CLASSES["GRU"](3, 4, proj_size=2),
        lambda: CLASSES["RNN"](3, 4, 1, "relu", False),
        lambda: CLASSES["Dropout"](-1),
        lambda: CLASSES["NLLLoss"](MAKERS["ones"](3)),
        lambda: Anything("torch.some_function")() == 1,
        lambda: type("Own", (Module,), {"get_extra_state": lambda _: None})().state_dict(),
    ],
)
def test_what_torch_refuses_or_does_otherwise_is_refused(wanted: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        wanted()


def test_an_alias_of_what_was_changed_has_no_old_values() -> None:
    whole = MAKERS["zeros"](3)
    alias, parameter = whole.to(DTYPES["float32"]), Parameter(whole)
    CONTENTS["torch.nn.init"]["ones_"](whole)
    for stale in (whole, alias, parameter):
        with pytest.raises(Unknown):
            stale.tolist()
    same = added = MAKERS["zeros"](2)
    added += 2
    assert same.tolist() == [2, 2]


def test_what_a_module_is_given_of_a_parameters_data_is_no_parameter() -> None:
    own = Module()
    own.one = Parameter(MAKERS["zeros"](3))
    own.other = own.one.data
    assert shapes(own) == {"one": (3,)}


def test_dtypes_that_are_asked_for_are_given() -> None:
    half = {"dtype": DTYPES["float16"]}
    for module in (
        CLASSES["MultiheadAttention"](8, 2, **half),
        CLASSES["TransformerDecoderLayer"](8, 2, 16, **half),
        CLASSES["LSTM"](3, 4, **half),
        CLASSES["PReLU"](**half),
    ):
        assert {value.dtype.name for value in module.state_dict().values()} == {"float16"}
