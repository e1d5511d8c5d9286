"""What one layer's tensors say that it keeps of a sequence: rows of keys and values, a latent, fixed states."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from inspector.model.evidence.roles import role_of
from inspector.model.layers.layer import StateTensor


class Stored(NamedTuple):
    """A layer's tensor: its whole name in the file with `{}` for numbers, the parameters that it stands for, its shape
    as stored, and whether it is packed, so that the shape says nothing."""

    name: str
    numel: int
    shape: tuple[int, ...]
    packed: bool = False


@dataclass(frozen=True, slots=True)
class Mechanism:
    """What a layer's tensors show. None for what they do not.

    Attributes:
        keys / values: widths of a token's keys and values, all heads together.
        queries: the same of its queries.
        head_dim: width of a head, where the norm of a head's queries or keys shows it.
        latent: width of the compressed row, and of the rotary key beside it.
        index: width of an indexer's key.
        index_tensor: the tensor that shows it.
        index_gate: an indexer's row holds a gate as wide as the key, and a mask, too (GLM-5-Next).
        cross: widths of the keys and values that a decoder's layer makes of its encoder's rows.
        recurrent: it keeps a state, and no row a token.
        convolution: all that shows it is a convolution.
        more: the state's projection makes more than the state takes.
        states: the state's tensors, where the shapes tell them all; of matrices in float32 the most, as no shape tells
            a precision.
        loose: such matrices may as well be in the run's precision (lightning attention, mLSTM).
        memory: it keeps its input, not keys and values (Transformer-XL).
        tensor: the tensor that shows it, for notes.
        shape: of that tensor.
    """

    keys: int | None = None
    values: int | None = None
    queries: int | None = None
    head_dim: int | None = None
    latent: tuple[int, int] | None = None
    index: int | None = None
    index_gate: bool = False
    cross: tuple[int, int] | None = None
    recurrent: bool = False
    convolution: bool = False
    more: bool = False
    states: tuple[StateTensor, ...] | None = None
    loose: bool = False
    memory: bool = False
    tensor: str = ""
    index_tensor: str = ""
    shape: tuple[int, ...] = ()

    @property
    def told(self) -> bool:
        """Whether it shows anything that a layer keeps."""
        return self.rows or self.recurrent or self.cross is not None

    @property
    def rows(self) -> bool:
        """Whether it adds a row a token."""
        return self.keys is not None or self.latent is not None


def mechanism_of(tensors: Mapping[str, Stored], hidden: int | None, config: Mapping[str, Any]) -> Mechanism | None:
    """What a layer keeps, or None where no tensor of it has a known role.

    Args:
        tensors: the layer's, by their names below it ("self_attn.k_proj.weight").
        hidden: the model's hidden size.
        config: the language part's keys, for what shapes leave open (how many heads share a width).
    """
    by_role: dict[str, Stored] = {}
    convolutions: list[Stored] = []
    modules: set[str] = set()
    second = _second_attention(tensors) if config.get("is_encoder_decoder") else None
    for name, tensor in tensors.items():
        role, module = role_of(name), name.partition(".")[0]
        if role == "conv":
            if len(tensor.shape) in (2, 3):
                convolutions.append(tensor)
                modules.add(module)
        elif role is not None:
            by_role.setdefault(f"cross_{role}" if module == second else role, tensor)
    if not by_role and not convolutions:
        return None
    fixed = _states(by_role, convolutions, hidden, config)
    rows = _rows(by_role, hidden, config)
    if fixed is None:
        return rows
    if len(modules) > 1 and ("a_log" in by_role or "delta_in" in by_role):  # those of one are no part of its recurrence
        fixed = replace(fixed, states=None)
    if rows is None or "delta_in" in by_role or not _beside(tensors):
        return fixed
    return replace(rows, recurrent=True, states=fixed.states)


def _second_attention(tensors: Mapping[str, Stored]) -> str | None:
    """The module of a decoder's layer that attends to the encoder, where two have keys and no name tells which."""
    keys = dict.fromkeys(name.partition(".")[0] for name in tensors if role_of(name) == "k")
    return max(keys) if len(keys) == 2 and not any("cross" in str(role_of(name)) for name in tensors) else None


def width(tensor: Stored, hidden: int | None) -> int | None:
    """Outputs of a projection of the hidden state, whichever way round it is stored: (1024, 4096) of a hidden size of
    4,096 has 1,024, and so has (4096, 1024) of GPT-2's kin. None where the shape is none of a projection."""
    if hidden and (tensor.packed or hidden in tensor.shape) and tensor.numel % hidden == 0:
        return tensor.numel // hidden
    return tensor.shape[0] if len(tensor.shape) == 2 and not tensor.packed else None


def _beside(tensors: Mapping[str, Stored]) -> bool:
    """Whether attention and recurrence sit in modules of their own, side by side in one layer (Falcon-H1)."""
    where: dict[str, set[str]] = {"rows": set(), "state": set()}
    for name in tensors:
        role, module = role_of(name), name.split(".")[0]
        if role in ("k", "kv", "qkv", "latent"):
            where["rows"].add(module)
        elif role in ("a_log", "conv", "lru"):
            where["state"].add(module)
    return bool(where["rows"] and where["state"]) and where["rows"].isdisjoint(where["state"])


def _rows(by_role: Mapping[str, Stored], hidden: int | None, config: Mapping[str, Any]) -> Mechanism | None:
    index = by_role.get("indexer")
    index_width = width(index, hidden) if index else None
    if ("latent" in by_role or "fused_latent" in by_role) and (found := _latent(by_role, hidden, config)):
        rank, rope, tensor = found
        gated = "index_gate" in by_role
        return Mechanism(
            latent=(rank, rope),
            index=index_width,
            index_tensor=index.name if index else "",
            index_gate=gated,
            tensor=tensor.name,
            shape=tensor.shape,
        )
    output = by_role.get("o")
    queries = width(by_role["q"], hidden) if "q" in by_role and hidden else None
    keys = values = None
    shown = by_role.get("k") or by_role.get("kv") or by_role.get("qkv")
    if "k" in by_role:
        keys = width(by_role["k"], hidden)
        values = width(by_role["v"], hidden) if "v" in by_role else keys
    elif "kv" in by_role:
        both = width(by_role["kv"], hidden)
        keys = values = both // 2 if both and both % 2 == 0 else None
    elif "qkv" in by_role:
        whole = width(by_role["qkv"], hidden)
        queries = width(output, hidden) if output else _query_width(config)
        left = whole - queries if whole and queries else None
        if left is None or left <= 0 or left % 2:
            return None
        keys = values = left // 2
    cross = _cross(by_role, hidden)
    if not keys or not values or shown is None:
        return None if cross is None else Mechanism(cross=cross)
    head = next((by_role[role] for role in ("q_norm", "k_norm") if role in by_role), None)
    size = head.shape[0] if head and len(head.shape) == 1 else 0
    head_dim = size if size and keys % size == 0 else None
    if head_dim is not None and queries and head_dim == queries:  # a norm over all heads at once
        head_dim = None
    return Mechanism(
        *(keys, values, queries, head_dim, None, index_width, "index_gate" in by_role, cross),
        memory="memory" in by_role,
        index_tensor=index.name if index else "",
        tensor=shown.name,
        shape=shown.shape,
    )


def _cross(by_role: Mapping[str, Stored], hidden: int | None) -> tuple[int, int] | None:
    if "cross_k" in by_role:
        keys = width(by_role["cross_k"], hidden)
        values = width(by_role["cross_v"], hidden) if "cross_v" in by_role else keys
        return (keys, values) if keys and values else None
    whole = by_role.get("cross_kv")
    both = width(whole, hidden) if whole else None
    return (both // 2, both // 2) if both else None


def _latent(
    by_role: Mapping[str, Stored], hidden: int | None, config: Mapping[str, Any]
) -> tuple[int, int, Stored] | None:
    """Width of the latent, of the rotary key, and the tensor that shows their sum."""
    tensor = by_role.get("latent") or by_role["fused_latent"]
    both = width(tensor, hidden)
    norm, queries = by_role.get("latent_norm"), by_role.get("query_latent_norm")
    if "latent" not in by_role:
        both = both - queries.shape[0] if both and queries and len(queries.shape) == 1 else None
    rank = norm.shape[0] if norm and len(norm.shape) == 1 else config.get("kv_lora_rank")
    if both is None or not isinstance(rank, int) or not 0 < rank <= both:
        return None
    return rank, both - rank, tensor


def _states(
    by_role: Mapping[str, Stored], convolutions: list[Stored], hidden: int | None, config: Mapping[str, Any]
) -> Mechanism | None:
    """The states of a layer whose tensors are a recurrence's; None where they are not."""
    if "rwkv" in by_role and "q" not in by_role:
        return Mechanism(recurrent=True, states=_rwkv(by_role, hidden, config), tensor=by_role["rwkv"].name)
    if "filter" in by_role:  # Hyena (arXiv 2302.10866)
        return Mechanism(recurrent=True, tensor=by_role["filter"].name)
    decay = by_role.get("a_log")
    if decay is None and "lru" not in by_role and "delta_in" not in by_role:
        projections = by_role.keys() & {"k", "kv", "qkv"}
        if convolutions and not projections:  # a short convolution alone
            states = _kernels(convolutions)
            first = convolutions[0]
            return Mechanism(recurrent=True, convolution=True, states=states, tensor=first.name, shape=first.shape)
        gated = by_role.get("mlstm") or by_role.get("gate")
        if gated is not None and (projections or not by_role.keys().isdisjoint(("q", "o"))):
            if not by_role.keys().isdisjoint(("latent", "fused_latent")):
                return None
            return Mechanism(recurrent=True, states=_matrix(by_role, hidden, config), loose=True, tensor=gated.name)
        if "shared_qk" in by_role:  # hashing (arXiv 2001.04451): what its cache holds, no shape tells
            return Mechanism(recurrent=True, tensor=by_role["shared_qk"].name)
        return None
    tensor = decay or by_role.get("lru") or by_role["delta_in"]
    if convolutions:
        tensor = convolutions[0]
    kernels = _kernels(convolutions)
    recurrent = _recurrent(by_role, convolutions, hidden, config)
    states = None if recurrent is None or kernels is None else (*kernels, recurrent)
    more = _more(by_role, convolutions, hidden)
    return Mechanism(recurrent=True, more=more, states=states, tensor=tensor.name, shape=tensor.shape)


def _more(by_role: Mapping[str, Stored], convolutions: list[Stored], hidden: int | None) -> bool:
    """Whether Mamba's input projection makes more than the convolution's channels, a gate and, of Mamba-2, a step a
    head: queries, keys and values, too, as in Hymba."""
    inside, output, decay = by_role.get("state_in"), by_role.get("o"), by_role.get("a_log")
    made, inner = (width(each, hidden) if each else None for each in (inside, output))
    if not made or not inner or decay is None or len(convolutions) != 1:
        return False
    steps = decay.numel if len(decay.shape) == 1 else 0
    return made > max(convolutions[0].shape) + inner + steps


def _kernels(convolutions: list[Stored]) -> tuple[StateTensor, ...] | None:
    """The last inputs of the convolutions: channels by kernel, of (channels, 1, kernel) in any order."""
    sizes = [sorted((size for size in tensor.shape if size != 1), reverse=True) for tensor in convolutions]
    if any(len(size) != 2 for size in sizes) or len({size[-1] for size in sizes}) > 1:
        return None
    return (StateTensor((sum(size[0] for size in sizes), sizes[0][1]), "compute"),) if sizes else ()


def _recurrent(
    by_role: Mapping[str, Stored], convolutions: list[Stored], hidden: int | None, config: Mapping[str, Any]
) -> StateTensor | None:
    """The recurrent state of Mamba, Mamba-2, gated delta nets and RG-LRU, float32."""
    if "lru" in by_role:
        shape = by_role["lru"].shape
        return StateTensor(shape, "F32") if len(shape) == 1 else None
    decay, output = by_role.get("a_log"), by_role.get("o")
    if decay is None:
        return None
    if len(decay.shape) == 2:
        return StateTensor(decay.shape, "F32")
    inner = width(output, hidden) if output else None
    channels = sum(max(tensor.shape) for tensor in convolutions)
    heads = decay.numel
    if inner is None or heads < 1 or inner % heads or channels < inner:
        return None
    if len(convolutions) == 3 or "delta_in" in by_role:  # queries, keys and values
        keys = (channels - inner) // 2
        key_heads = config.get("linear_num_key_heads", None if "delta_in" in by_role else heads)
        if not isinstance(key_heads, int) or not 0 < key_heads <= keys or keys % key_heads:
            return None
        return StateTensor((heads, keys // key_heads, inner // heads), "F32")
    size = next((config[key] for key in STATE_SIZES if isinstance(config.get(key), int)), None)
    if size is None:
        return None
    return StateTensor((heads, inner // heads, size), "F32")


STATE_SIZES = ("ssm_state_size", "mamba_d_state", "state_size", "d_state", "mamba_state_dim", "ssm_state_dim")
"""Names of the state size of Mamba-2, which no shape shows alone."""


def _rwkv(
    by_role: Mapping[str, Stored], hidden: int | None, config: Mapping[str, Any]
) -> tuple[StateTensor, ...] | None:
    """RWKV 5 to 7 (arXiv 2503.14456): the last inputs of both blocks, and a matrix a head."""
    bonus = by_role.get("bonus")
    shape = tuple(size for size in bonus.shape if size != 1) if bonus else ()
    if len(shape) != 2:
        heads, size = _heads(config), config.get("head_dim") or config.get("head_size")
        inner = width(by_role["k"], hidden) if "k" in by_role else hidden
        if not isinstance(size, int) and heads and inner:
            size = inner // heads
        if not isinstance(size, int) or not inner or not 0 < size <= inner:
            return None
        shape = (inner // size, size)
    if not hidden:
        return None
    last = StateTensor((hidden,), "compute")
    return (last, last, StateTensor((shape[0], shape[1], shape[1]), "F32"))


def _matrix(
    by_role: Mapping[str, Stored], hidden: int | None, config: Mapping[str, Any]
) -> tuple[StateTensor, ...] | None:
    """Linear attention (arXiv 2006.16236): a key-by-value matrix a head; mLSTM (arXiv 2405.04517) has a normalizer and
    a gate's maximum beside it."""
    rows, heads = _rows(by_role, hidden, config), _heads(config)
    if (
        rows is None
        or rows.keys is None
        or rows.values is None
        or not heads
        or rows.keys % heads
        or rows.values % heads
    ):
        return None
    matrix = StateTensor((heads, rows.keys // heads, rows.values // heads), "F32")
    if "mlstm" in by_role:
        return (matrix, StateTensor((heads, rows.keys // heads), "F32"), StateTensor((heads, 1), "F32"))
    return (matrix,)


def _heads(config: Mapping[str, Any]) -> int | None:
    heads = config.get("num_attention_heads") or config.get("num_heads")
    return heads if isinstance(heads, int) and heads > 0 else None


def _query_width(config: Mapping[str, Any]) -> int | None:
    heads, size = _heads(config), config.get("head_dim")
    if not isinstance(size, int) and heads and isinstance(config.get("hidden_size"), int):
        size = config["hidden_size"] // heads
    return heads * size if heads and isinstance(size, int) else None
