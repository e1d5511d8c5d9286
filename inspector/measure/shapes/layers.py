"""torch.nn's modules by their parameters: what torch's documentation says of the shapes that each of them holds."""

from __future__ import annotations

import copy
import operator
from collections.abc import Mapping
from typing import Any

from inspector.measure.shapes.anything import Unknown
from inspector.measure.shapes.containers import ModuleDict, ModuleList, ParameterDict, ParameterList, Sequential
from inspector.measure.shapes.dtypes import DTYPES
from inspector.measure.shapes.module import Buffer, Module, Parameter, empty, hold
from inspector.measure.shapes.tensor import Tensor


class Plain(Module):
    """A module without parameters. Its arguments are attributes where code reads them."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()
        if any(isinstance(value, Tensor) for value in args):
            raise Unknown(f"{type(self).__name__} of a tensor")
        for name, value in kwargs.items():
            if isinstance(value, Tensor):  # the weights of a loss's classes
                self.register_buffer(name, value)
            else:
                object.__setattr__(self, name, value)


class Dropout(Plain):
    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__(p=p, inplace=inplace)
        if p < 0 or p > 1:
            raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")


PLAIN = """
Identity ReLU ReLU6 GELU SiLU Mish ELU SELU
CELU GLU Tanh Sigmoid Softmax Softmax2d LogSoftmax Softmin Softplus Softsign Softshrink Tanhshrink Hardswish
Hardsigmoid Hardtanh Hardshrink LeakyReLU RReLU LogSigmoid Threshold Flatten Unflatten Upsample UpsamplingBilinear2d
UpsamplingNearest2d PixelShuffle PixelUnshuffle ChannelShuffle Fold Unfold MaxPool1d MaxPool2d MaxPool3d AvgPool1d
AvgPool2d AvgPool3d LPPool1d LPPool2d AdaptiveAvgPool1d AdaptiveAvgPool2d AdaptiveAvgPool3d AdaptiveMaxPool1d
AdaptiveMaxPool2d AdaptiveMaxPool3d ZeroPad1d ZeroPad2d ZeroPad3d ConstantPad1d ConstantPad2d ConstantPad3d
ReflectionPad1d ReflectionPad2d ReflectionPad3d ReplicationPad1d ReplicationPad2d ReplicationPad3d LocalResponseNorm
CosineSimilarity PairwiseDistance CrossEntropyLoss NLLLoss MSELoss L1Loss SmoothL1Loss HuberLoss BCELoss
BCEWithLogitsLoss KLDivLoss CTCLoss GaussianNLLLoss PoissonNLLLoss CosineEmbeddingLoss MarginRankingLoss
TripletMarginLoss MultiLabelMarginLoss SoftMarginLoss
"""


class Linear(Module):
    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        hold(self, "weight", out_features, in_features, kind=dtype)
        hold(self, "bias", out_features, kind=dtype, there=bool(bias))


class Bilinear(Module):
    def __init__(
        self,
        in1_features: int,
        in2_features: int,
        out_features: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        hold(self, "weight", out_features, in1_features, in2_features, kind=dtype)
        hold(self, "bias", out_features, kind=dtype, there=bool(bias))


class Embedding(Module):
    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        _weight: Any = None,
        _freeze: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if padding_idx is not None and not -num_embeddings <= padding_idx < num_embeddings:
            raise AssertionError("Padding_idx must be within num_embeddings")
        self.num_embeddings, self.embedding_dim, self.padding_idx = num_embeddings, embedding_dim, padding_idx
        if _weight is not None and tuple(_weight.shape) != (num_embeddings, embedding_dim):
            raise AssertionError("Shape of weight does not match num_embeddings and embedding_dim")
        self.weight = Parameter(empty(num_embeddings, embedding_dim, kind=dtype) if _weight is None else _weight)

    @classmethod
    def from_pretrained(
        cls, embeddings: Any, freeze: bool = True, padding_idx: int | None = None, **_: Any
    ) -> Embedding:
        rows, width = embeddings.shape
        return cls(rows, width, padding_idx=padding_idx, _weight=embeddings)


class EmbeddingBag(Embedding):
    pass


def sizes_of(value: Any, count: int) -> tuple[int, ...]:
    """One number for each of the dimensions, or the numbers themselves."""
    sizes = tuple(value) if isinstance(value, (tuple, list)) else (value,) * count
    return tuple(operator.index(each) for each in sizes)


class Convolution(Module):
    DIMS, TRANSPOSED = 2, False

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        *more: Any,
        **named: Any,
    ) -> None:
        super().__init__()
        order: tuple[str, ...] = ("dilation", "groups", "bias", "padding_mode", "device", "dtype")
        if self.TRANSPOSED:
            order = ("output_padding", "groups", "bias", "dilation", "padding_mode", "device", "dtype")
        given = dict(zip(order, more, strict=False)) | named
        groups, bias = given.get("groups", 1), given.get("bias", True)
        if groups <= 0 or in_channels % groups or out_channels % groups:
            raise ValueError("channels must be divisible by groups")
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size = sizes_of(kernel_size, self.DIMS)
        self.stride = sizes_of(stride, self.DIMS)
        self.padding = padding if isinstance(padding, str) else sizes_of(padding, self.DIMS)
        self.dilation = sizes_of(given.get("dilation", 1), self.DIMS)
        self.output_padding = sizes_of(given.get("output_padding", 0), self.DIMS)
        self.padding_mode = given.get("padding_mode", "zeros")
        one, other = (in_channels, out_channels) if self.TRANSPOSED else (out_channels, in_channels)
        kind = given.get("dtype")
        hold(self, "weight", one, other // groups, *self.kernel_size, kind=kind)
        hold(self, "bias", out_channels, kind=kind, there=bool(bias))


class LayerNorm(Module):
    def __init__(
        self,
        normalized_shape: Any,
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.normalized_shape, self.eps = sizes_of(normalized_shape, 1), eps
        self.elementwise_affine = elementwise_affine
        for name, there in (("weight", elementwise_affine), ("bias", elementwise_affine and bias)):
            hold(self, name, *self.normalized_shape, kind=dtype, there=there)


class RMSNorm(LayerNorm):
    def __init__(self, normalized_shape: Any, eps: Any = None, elementwise_affine: bool = True, **named: Any) -> None:
        super().__init__(normalized_shape, eps, elementwise_affine, bias=False, dtype=named.get("dtype"))


class GroupNorm(Module):
    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if num_channels % num_groups:
            raise ValueError("num_channels must be divisible by num_groups")
        self.num_groups, self.num_channels, self.eps, self.affine = num_groups, num_channels, eps, affine
        for name in ("weight", "bias"):
            hold(self, name, num_channels, kind=dtype, there=affine)


class BatchNorm(Module):
    AFFINE = STATISTICS = True

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: Any = 0.1,
        affine: bool | None = None,
        track_running_stats: bool | None = None,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine = self.AFFINE if affine is None else affine
        self.track_running_stats = self.STATISTICS if track_running_stats is None else track_running_stats
        for name in ("weight", "bias"):
            hold(self, name, num_features, kind=dtype, there=self.affine)
        for name in ("running_mean", "running_var"):
            self.register_buffer(name, empty(num_features, kind=dtype) if self.track_running_stats else None)
        self.register_buffer("num_batches_tracked", empty(kind=DTYPES["int64"]) if self.track_running_stats else None)


class InstanceNorm(BatchNorm):
    AFFINE = STATISTICS = False


class PReLU(Module):
    def __init__(self, num_parameters: int = 1, init: float = 0.25, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        hold(self, "weight", num_parameters, kind=dtype)


LSTM_GATES = 4


class Recurrent(Module):
    GATES = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
        **named: Any,
    ) -> None:
        super().__init__()
        if not isinstance(bias, bool):  # torch.nn.RNN has another argument there
            raise Unknown(f"a recurrent layer with bias={bias!r}")
        if hidden_size <= 0 or num_layers <= 0:
            raise ValueError("hidden_size and num_layers must be greater than zero")
        if proj_size and (self.GATES != LSTM_GATES or not 0 < proj_size < hidden_size):
            raise ValueError("proj_size is of LSTM, and smaller than hidden_size")
        if not 0 <= dropout <= 1:
            raise ValueError("dropout should be a number in range [0, 1]")
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.batch_first, self.bidirectional, self.proj_size, self.bias = batch_first, bidirectional, proj_size, bias
        out, ways = proj_size or hidden_size, ("", "_reverse") if bidirectional else ("",)
        rows = self.GATES * hidden_size
        for layer in range(num_layers):
            for way in ways:
                within = input_size if layer == 0 else out * len(ways)
                of: dict[str, tuple[int, ...]] = {"weight_ih": (rows, within), "weight_hh": (rows, out)}
                of |= {"bias_ih": (rows,), "bias_hh": (rows,)} if bias else {}
                of |= {"weight_hr": (proj_size, hidden_size)} if proj_size else {}
                for name, shape in of.items():
                    hold(self, f"{name}_l{layer}{way}", *shape, kind=dtype)

    def flatten_parameters(self) -> None:
        return None


class Cell(Module):
    GATES = 1

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, dtype: Any = None, **_: Any) -> None:
        super().__init__()
        rows = self.GATES * hidden_size
        hold(self, "weight_ih", rows, input_size, kind=dtype)
        hold(self, "weight_hh", rows, hidden_size, kind=dtype)
        for name in ("bias_ih", "bias_hh"):
            hold(self, name, rows, kind=dtype, there=bool(bias))


class MultiheadAttention(Module):
    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if embed_dim <= 0 or num_heads <= 0:
            raise ValueError("embed_dim and num_heads must be greater than 0")
        if embed_dim % num_heads:
            raise AssertionError("embed_dim must be divisible by num_heads")
        self.embed_dim, self.num_heads, self.head_dim = embed_dim, num_heads, embed_dim // num_heads
        self.batch_first = batch_first
        kdim, vdim = kdim or embed_dim, vdim or embed_dim
        self._qkv_same_embed_dim = kdim == vdim == embed_dim
        of = {"in_proj_weight": (3 * embed_dim, embed_dim)} if self._qkv_same_embed_dim else {}
        apart = {"q_proj_weight": embed_dim, "k_proj_weight": kdim, "v_proj_weight": vdim}
        of |= {} if self._qkv_same_embed_dim else {name: (embed_dim, size) for name, size in apart.items()}
        for name in (*apart, "in_proj_weight"):
            hold(self, name, *of.get(name, ()), kind=dtype, there=name in of)
        hold(self, "in_proj_bias", 3 * embed_dim, kind=dtype, there=bool(bias))
        self.out_proj = Linear(embed_dim, embed_dim, bias=bias, dtype=dtype)
        for name in ("bias_k", "bias_v"):
            hold(self, name, 1, 1, embed_dim, kind=dtype, there=add_bias_kv)


BEFORE_BIAS = 5
"""Arguments of a transformer's layer between its three sizes and its bias."""


class TransformerEncoderLayer(Module):
    def __init__(self, d_model: int, nhead: int, dim_feedforward: int = 2048, *more: Any, **named: Any) -> None:
        super().__init__()
        if len(more) > BEFORE_BIAS:
            raise Unknown(f"{type(self).__name__} with a bias by its place")
        own = {name: named[name] for name in ("bias", "dtype") if name in named}
        self.self_attn = MultiheadAttention(d_model, nhead, **own)
        self.linear1, self.linear2 = Linear(d_model, dim_feedforward, **own), Linear(dim_feedforward, d_model, **own)
        self.norm1, self.norm2 = LayerNorm(d_model, **own), LayerNorm(d_model, **own)


class TransformerDecoderLayer(TransformerEncoderLayer):
    def __init__(self, d_model: int, nhead: int, dim_feedforward: int = 2048, *more: Any, **named: Any) -> None:
        super().__init__(d_model, nhead, dim_feedforward, *more, **named)
        own = {name: named[name] for name in ("bias", "dtype") if name in named}
        self.multihead_attn = MultiheadAttention(d_model, nhead, **own)
        self.norm3 = LayerNorm(d_model, **own)


class Layers(Module):
    def __init__(self, layer: Module, num_layers: int, norm: Any = None, **_: Any) -> None:
        super().__init__()
        self.layers = ModuleList(copy.deepcopy(layer) for _ in range(num_layers))
        self.norm = norm


def kinds(base: type[Module], names: Mapping[str, Mapping[str, Any]]) -> dict[str, type[Module]]:
    return {name: type(name, (base,), dict(values)) for name, values in names.items()}


CLASSES: dict[str, Any] = {
    each.__name__: each
    for each in (
        Module, Parameter, Buffer, Linear, Bilinear, Embedding, EmbeddingBag, LayerNorm, RMSNorm, GroupNorm, PReLU,
        MultiheadAttention, TransformerEncoderLayer, TransformerDecoderLayer, ModuleList, Sequential, ModuleDict,
        ParameterDict, ParameterList,
    )
}  # fmt: skip
CLASSES |= {name: type(name, (Plain,), {}) for name in PLAIN.split()}
CLASSES |= kinds(
    Dropout, {f"Dropout{dims}d": {} for dims in (1, 2, 3)} | {"AlphaDropout": {}, "FeatureAlphaDropout": {}}
)
CLASSES["Dropout"] = Dropout
CLASSES |= kinds(Convolution, {f"Conv{dims}d": {"DIMS": dims} for dims in (1, 2, 3)})
CLASSES |= kinds(Convolution, {f"ConvTranspose{dims}d": {"DIMS": dims, "TRANSPOSED": True} for dims in (1, 2, 3)})
CLASSES |= kinds(BatchNorm, {f"BatchNorm{dims}d": {} for dims in (1, 2, 3)} | {"SyncBatchNorm": {}})
CLASSES |= kinds(InstanceNorm, {f"InstanceNorm{dims}d": {} for dims in (1, 2, 3)})
CLASSES |= kinds(Recurrent, {"RNN": {}, "GRU": {"GATES": 3}, "LSTM": {"GATES": LSTM_GATES}})
CLASSES |= kinds(Cell, {"RNNCell": {}, "GRUCell": {"GATES": 3}, "LSTMCell": {"GATES": 4}})
CLASSES |= kinds(Layers, {"TransformerEncoder": {}, "TransformerDecoder": {}})
CLASSES["NonDynamicallyQuantizableLinear"] = Linear


class Unbuilt(Module):
    """A module of torch.nn that is not built here: it can be inherited from, and not made."""

    def __init__(self, *_: Any, **__: Any) -> None:
        raise Unknown(f"torch.nn.{type(self).__name__} is not built here")
