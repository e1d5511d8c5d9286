"""Adds up a checkpoint's tensors, one kind at a time, into `Parameters`: by component, by dtype, by layer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from inspector.model.model import Architecture, Parameters, Share
from inspector.model.parameters.names import TensorGroup

MAX_LAYERS = 10_000
"""A config that claims more is wrong, and gets no table by layer."""


class ParameterCounter:
    """What was added so far.

    Attributes:
        components: component -> parameters.
        dtypes: stored dtype -> stored elements of the tensors that hold parameters.
        aside: why the class does not load it -> parameters of the file.
        buffers: elements that are no parameters.
        overhead_bytes: of scales, zero points and the like.
    """

    def __init__(self, architecture: Architecture, *, by_layer: bool) -> None:
        """`by_layer`: whether the names tell the layers apart; without, everything is outside of them."""
        count = architecture.num_hidden_layers or 0
        self.architecture = architecture
        self.components, self.dtypes, self.aside = Counter[str](), Counter[str](), Counter[str]()
        self.buffers = self.overhead_bytes = 0
        self._layers = [Share(0, 0, 0)] * (count if by_layer and 0 < count <= MAX_LAYERS else 0)
        self._attention, self._bytes = Counter[str](), Counter[str]()
        self._outside: dict[str, Share] = {}

    def place(
        self,
        component: str,
        template: str,
        *,
        numel: int,
        nbytes: int,
        count: int,
        layers: Mapping[int, int] | None,
        outside: str,
    ) -> None:
        """Put what is loaded where it belongs.

        Args:
            template: the tensors' name, with `{}` for its numbers.
            numel: parameters that each stands for, 0 for overhead.
            nbytes: stored bytes of each.
            count: how many tensors.
            layers: layer -> tensors in it, None for what is outside of the layers.
            outside: the part it then belongs to.
        """
        self._bytes[component] += count * nbytes
        if not self._layers or layers is None:
            old = self._outside.get(outside, Share(0, 0, 0, template))
            self._outside[outside] = _plus(old, count, numel, nbytes)
            return
        kinds = self.architecture.layers if component == "attention" else ()
        for layer, tensors in layers.items():
            self._layers[layer] = _plus(self._layers[layer], tensors, numel, nbytes)
            if layer < len(kinds):
                self._attention[kinds[layer].kind] += tensors * numel

    def result(
        self, *, exact: bool, notes: Iterable[str], stack: str | None, tensor_groups: tuple[TensorGroup, ...] = ()
    ) -> Parameters:
        """The sums. `stack`: the name of the layers' own list in the files, "model.layers"."""
        total = self.components.total()
        if self.components["experts"] and self.architecture.experts is None:
            notes = (*notes, "how many experts a token uses is not known: all count as active, an upper bound")
        return Parameters(
            total=total,
            active=total - _idle_parameters(self.components["experts"], self.architecture),
            by_component=_filled(self.components),
            by_dtype=dict(self.dtypes),
            buffers=self.buffers,
            stored_only=_filled(self.aside),
            stored_bytes=sum(share.bytes for share in (*self._layers, *self._outside.values())),
            overhead_bytes=self.overhead_bytes,
            bytes_by_component=dict(self._bytes),
            by_attention=_filled(self._attention),
            layers=tuple(self._layers),
            outside=self._outside,
            stack=stack,
            exact=exact,
            notes=tuple(notes),
            tensor_groups=tensor_groups,
        )


def _plus(share: Share, count: int, numel: int, nbytes: int) -> Share:
    return Share(share.parameters + count * numel, share.bytes + count * nbytes, share.tensors + count, share.first)


def _filled(counts: Mapping[str, int]) -> dict[str, int]:
    return {name: count for name, count in counts.items() if count}


def _idle_parameters(routed: int, architecture: Architecture) -> int:
    """Parameters of the routed experts that one token is not sent to: routed * (1 - active / total)."""
    experts = architecture.experts
    if experts is None or experts.total <= 0 or not 0 <= experts.active <= experts.total:
        return 0
    return routed * (experts.total - experts.active) // experts.total
