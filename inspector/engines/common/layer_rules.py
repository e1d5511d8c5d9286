"""An engine's rule for each mechanism of a layer, and what there is where it has none."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

from inspector.engines.serving import CannotTell

P = ParamSpec("P")
R = TypeVar("R")


class UnsupportedLayer(CannotTell):
    """A layer's mechanism, or a mix of them, that an engine has no rule for."""


def name_of(layer: object) -> str:
    """A layer as a person is told of it: its kind, and what the config calls it where that is not known."""
    kind = str(getattr(layer, "kind", type(layer).__name__))
    return f"{kind} layers ({layer.name})" if hasattr(layer, "name") else f"{kind} layers"


class LayerRules(Generic[P, R]):
    """A function of a layer, with one rule for each mechanism: rules(layer, ...).

    A rule is for the classes that it names and for no other, not for what is derived from them either: whoever adds a
    mechanism gets "cannot tell" from every engine until a rule says what the engine keeps of it.
    """

    def __init__(self, what: str) -> None:
        self.what = what
        self._rules: dict[type, Callable[..., R]] = {}

    def of(self, *mechanisms: type) -> Callable[[Callable[Concatenate[Any, P], R]], Callable[Concatenate[Any, P], R]]:
        """The decorated function is the rule for these classes of layers."""

        def added(rule: Callable[Concatenate[Any, P], R]) -> Callable[Concatenate[Any, P], R]:
            self._rules.update(dict.fromkeys(mechanisms, rule))
            return rule

        return added

    @property
    def mechanisms(self) -> frozenset[type]:
        """The classes of layers that have a rule."""
        return frozenset(self._rules)

    def __call__(self, layer: object, *args: P.args, **kwargs: P.kwargs) -> R:
        """What the layer's rule says.

        Raises:
            UnsupportedLayer: there is none.
        """
        rule = self._rules.get(type(layer))
        if rule is None:
            raise UnsupportedLayer(f"no {self.what} for {name_of(layer)}")
        return rule(layer, *args, **kwargs)

    def why_not(self, layers: Iterable[object], *args: P.args, **kwargs: P.kwargs) -> tuple[str, ...]:
        """Why it cannot be told of these layers, as notes: once for each reason; none where each has a rule."""
        reasons: dict[str, None] = {}
        for layer in dict.fromkeys(layers):
            try:
                self(layer, *args, **kwargs)
            except UnsupportedLayer as why:
                reasons[f"cannot tell: {why}"] = None
        return tuple(reasons)

    def known(self, layer: object, *args: P.args, **kwargs: P.kwargs) -> R | None:
        """The same; None where there is no rule, for an account that goes on without this layer's part."""
        try:
            return self(layer, *args, **kwargs)
        except UnsupportedLayer:
            return None
