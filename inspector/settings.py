"""A setting is one dataclass field: its default, help, unit and option stand together, and are said once.

`setting` makes the field, `settings_of` tells what a dataclass's fields say of themselves. The command line's options,
a manifest's keys, JSON and docs/options.md are made from that.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Concatenate, NamedTuple, ParamSpec, TypeVar

from inspector.errors import UsageError

if TYPE_CHECKING:
    from inspect import Signature

P = ParamSpec("P")
Q = TypeVar("Q")
S = TypeVar("S")
T = TypeVar("T")

_KEY = "setting"
_KNOWN: dict[type, Mapping[str, Setting]] = {}


class About(NamedTuple):
    """What a setting says of itself.

    Attributes:
        help: one or two short sentences, as `--help` shows them.
        option: as the command line writes it; "" for one that has no option.
        unit: of the value: "tokens", "bytes", "pixels"; "" for a plain number, a name or a flag.
        metavar: what stands for the value in `--help`.
        choices: the values that there are, or a function that tells them; empty where any of the type will do.
        least / most: the bounds of a number, both included.
        reads: how text is read where the type alone does not tell: "tokens" (8k), "pixels" (1024x768), ...
        group: the heading that the option stands under.
        docs: what docs/options.md says of it; its help where that is "".
    """

    help: str
    option: str = ""
    unit: str = ""
    metavar: str = ""
    choices: tuple[str, ...] | Callable[[], tuple[str, ...]] = ()
    least: float | None = None
    most: float | None = None
    reads: str = ""
    group: str = ""
    docs: str = ""

    def values(self) -> tuple[str, ...]:
        """Its choices, whichever way they are told."""
        return self.choices() if callable(self.choices) else self.choices


class Setting(NamedTuple):
    """A field of a dataclass of settings: its name, its type as annotated, its default, and what it says of itself."""

    name: str
    type: str
    default: Any
    about: About


def setting(default: Any = dataclasses.MISSING, *, help: str, option: str | None = None, **about: Any) -> Any:
    """A dataclass field that is a setting.

    Args:
        default: its value where none is given; a mapping, list or set is copied for each instance.
        help: see `About`; so are the keywords.
        option: None for the field's name with dashes, "" for no option.
    """
    metadata = {_KEY: (option, About(help, **about))}
    if isinstance(default, dict | list | set):
        return dataclasses.field(default_factory=default.copy, metadata=metadata)
    if default is dataclasses.MISSING:
        return dataclasses.field(metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def settings_of(kind: type) -> Mapping[str, Setting]:
    """The settings among a dataclass's fields, inherited ones first, in their order."""
    if kind in _KNOWN:
        return _KNOWN[kind]
    found: dict[str, Setting] = {}
    for field in dataclasses.fields(kind):
        if _KEY in field.metadata:
            option, about = field.metadata[_KEY]
            default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
            named = f"--{field.name.replace('_', '-')}" if option is None else option
            found[field.name] = Setting(field.name, str(field.type), default, about._replace(option=named))
    _KNOWN[kind] = found
    return found


def asking(
    question: Callable[P, Q], refusal: Callable[[TypeError], Exception] = lambda error: error
) -> Callable[[Callable[[Q], T]], Callable[P, T]]:
    """A function of one question, a dataclass, becomes one that takes the fields of the question as its arguments.

    So a setting is an argument of all functions that ask for it, by its name and type, without being written again:
    type checkers and `help` show it.

    Args:
        refusal: what to raise for arguments that the question does not have.
    """

    def decorate(answer: Callable[[Q], T]) -> Callable[P, T]:
        def ask(*arguments: P.args, **named: P.kwargs) -> T:
            return answer(_asked(question, refusal, answer.__name__, arguments, named))

        _dress(ask, answer, question, ())
        return ask

    return decorate


def asking_it(
    question: Callable[P, Q], refusal: Callable[[TypeError], Exception] = lambda error: error
) -> Callable[[Callable[[S, Q], T]], Callable[Concatenate[S, P], T]]:
    """`asking` for a method: the question stands behind `self`."""

    def decorate(answer: Callable[[S, Q], T]) -> Callable[Concatenate[S, P], T]:
        def ask(self: S, /, *arguments: P.args, **named: P.kwargs) -> T:
            return answer(self, _asked(question, refusal, answer.__name__, arguments, named))

        _dress(ask, answer, question, ("self",))
        return ask

    return decorate


def _asked(
    question: Callable[..., Q],
    refusal: Callable[[TypeError], Exception],
    name: str,
    arguments: tuple[Any, ...],
    named: Mapping[str, Any],
) -> Q:
    """The question that these arguments make; wrong ones are told as those of the function called `name`."""
    try:
        asked = question(*arguments, **named)
    except TypeError as error:
        _, found, rest = str(error).partition("__init__()")
        raise refusal(TypeError(f"{name}(){rest}") if found else error) from None
    _check_bounds(asked)
    return asked


def _check_bounds(asked: object) -> None:
    """Refuse numbers out of a setting's bounds, as the command line does.

    Raises:
        UsageError: one of them is.
    """
    for name, each in settings_of(type(asked)).items():
        least, most, value = each.about.least, each.about.most, getattr(asked, name)
        if least is most is None or not isinstance(value, int | float):
            continue
        if (least is not None and not value >= least) or (most is not None and not value <= most):
            low, high = "" if least is None else f"at least {least:,}", "" if most is None else f"at most {most:,}"
            bounds = " and ".join(filter(None, (low, high)))
            raise UsageError(f"{name} must be {bounds}, not {value}")


def _dress(ask: Any, answer: Any, question: Any, before: tuple[str, ...]) -> None:
    """Give `ask` the name and the words of `answer`, and a signature that is put together when one asks for it."""
    for name in ("__module__", "__name__", "__qualname__", "__doc__"):
        setattr(ask, name, getattr(answer, name))
    ask.__wrapped__ = _Shape(answer, question, before)


class _Shape:
    """What `inspect.signature` finds behind a function that `asking` made."""

    def __init__(self, answer: Any, question: Any, before: tuple[str, ...]) -> None:
        self._made_of = answer, question, before

    def __call__(self) -> None:
        """Only functions have signatures."""

    @property
    def __signature__(self) -> Signature:
        from inspect import Parameter, signature

        answer, question, before = self._made_of
        first = [Parameter(name, Parameter.POSITIONAL_ONLY) for name in before]
        own = signature(question)
        return own.replace(
            parameters=[*first, *own.parameters.values()], return_annotation=signature(answer).return_annotation
        )
