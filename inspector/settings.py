"""A setting is one dataclass field: its default, help, unit and option stand together, and are said once.

`setting` makes the field, `settings_of` tells what a dataclass's fields say of themselves. The command line's options,
a manifest's keys, JSON and docs/options.md are made from that.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping
from os import PathLike
from typing import TYPE_CHECKING, Any, Concatenate, NamedTuple, ParamSpec, TypeVar

from inspector.errors import UsageError

if TYPE_CHECKING:
    from fractions import Fraction
    from inspect import Signature

P = ParamSpec("P")
Q = TypeVar("Q")
S = TypeVar("S")
T = TypeVar("T")

_KEY = "setting"
_AFTER_COMMA = re.compile(r"0\d")
_THOUSANDS = re.compile(r"\s*\d{1,3}(,\d{3})+\s*")
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
        rare: few need it: --help-all shows its option, --help does not.
        several: it may be a list with commas: several devices, or the values that a table has rows or columns for.
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
    rare: bool = False
    several: bool = False

    def values(self) -> tuple[str, ...]:
        """Its choices, whichever way they are told."""
        return self.choices() if callable(self.choices) else self.choices


class Setting(NamedTuple):
    """A field of a dataclass of settings: its name, its type as annotated, its default, and what it says of itself."""

    name: str
    type: str
    default: Any
    about: About

    @property
    def many(self) -> bool:
        """Whether its value is several texts."""
        return self.type.startswith(("tuple[str", "Sequence[str"))


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
    own = f"{name}()"
    read = read_values(question, dict(zip(_positional(question), arguments, strict=False)), own)
    values = read_values(question, named, own)
    try:
        asked = question(*read.values(), *arguments[len(read) :], **values)
    except TypeError as error:
        _, found, rest = str(error).partition("__init__()")
        raise refusal(TypeError(f"{own}{rest}{_near_names(question, named)}") if found else error) from None
    check_bounds(asked)
    return asked


def _near_names(kind: Any, named: Mapping[str, Any]) -> str:
    """ "; did you mean gpus?" for an argument that the question does not have; "" where nothing is near."""
    from difflib import get_close_matches

    known = [each.name for each in dataclasses.fields(kind) if each.init]
    wrong = next((name for name in named if name not in known), "")
    near = get_close_matches(wrong, known, 1, 0.6)
    return f"; did you mean {near[0]}?" if near else ""


def read_values(kind: Any, values: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The values of a dataclass's fields, from what people write: "8k" tokens, one GPU without a tuple, a choice in
    any case, one model where several are asked for.

    Args:
        name: of the function, or of the argument that they are given in.

    Raises:
        TypeError: one of them is not of its field's type.
        UsageError: a text that cannot be read.
    """
    settings = settings_of(kind)
    read = {key: _read(settings.get(key), key, value) for key, value in values.items()}
    _check_types(kind, read, name)
    return read


def _read(setting: Setting | None, name: str, value: Any) -> Any:
    if name in ("models", "ids") and isinstance(value, str | PathLike):
        return (value,)
    if setting is not None and setting.many and setting.about.several:
        return _listed(value)
    if not isinstance(value, str) or setting is None or value == setting.default:
        return value
    if setting.many:
        return (value,)
    if setting.about.reads in _READERS:
        return _READERS[setting.about.reads](value)
    return next((each for each in setting.about.values() if each.lower() == value.lower()), value)


def _listed(value: Any) -> Any:
    """Every text of a list, or one alone, as the texts between its commas; other values as they are."""
    if isinstance(value, str):
        return tuple(split_values(value))
    if isinstance(value, list | tuple):
        return tuple(part for each in value for part in (split_values(each) if isinstance(each, str) else (each,)))
    return value


def split_values(text: str, reads: str = "") -> list[str]:
    """The values of a list such as "4k,32k,128k", each once, in order. "4,096" tokens are one number.

    Args:
        reads: how each is read, as in `About`.

    Raises:
        UsageError: one of them is empty.
    """
    if "," not in text or (reads == "tokens" and _THOUSANDS.fullmatch(text)):
        return [text]
    found = [each.strip() for each in text.split(",")]
    if not all(found):
        raise UsageError(f"'{text}' has an empty value", "Write a list as 4k,32k.")
    if reads == "tokens" and any(_AFTER_COMMA.match(each) for each in found):
        raise UsageError(f"'{text}' has commas within numbers, too", "Write a list as 4096,32768 or 4k,32k.")
    return list(dict.fromkeys(found))


def reads_as_one(text: str) -> str:
    """What is said of tokens that could be a list and are one number; "" where nothing else could be meant.

    >>> reads_as_one("128,512")
    "128,512 is one number, 128512; several are '128, 512'"
    >>> reads_as_one("4,096"), reads_as_one("4k,8k")
    ('', '')
    """
    found = text.strip().split(",")
    if not _THOUSANDS.fullmatch(text) or any(each.startswith("0") for each in found):
        return ""
    return f"{text.strip()} is one number, {''.join(found)}; several are '{', '.join(found)}'"


def read_ranges(kind: Any, ranges: Mapping[str, Any], name: str) -> dict[str, tuple[Any, ...]]:
    """Each setting's values, read as `read_values` does, from a list of them or from a text with commas.

    Args:
        kind: the dataclass whose settings they are.
        ranges: setting -> its values.
        name: as in `read_values`.

    Raises:
        TypeError: a value is not of its setting's type.
        UsageError: a setting that takes no list, a list without values, or a value that cannot be read.
    """
    known = {each.name: each for each in settings_of(kind).values() if each.about.several and not each.many}
    read: dict[str, tuple[Any, ...]] = {}
    for key, given in ranges.items():
        if key not in known:
            raise UsageError(f"no table is over '{key}'", f"It may be over {', '.join(known)}.")
        if not isinstance(given, str | list | tuple):
            raise TypeError(f"{name}: {key} must be several values, not {given!r:.80}")
        values = _values_in(given, known[key]) if isinstance(given, str) else given
        read[key] = tuple(dict.fromkeys(read_values(kind, {key: value}, name)[key] for value in values))
        if not read[key]:
            raise UsageError(f"no values of {key}", "Give at least one.")
    return read


def _values_in(text: str, setting: Setting) -> list[Any]:
    texts = split_values(text, setting.about.reads)
    if "int" not in setting.type or setting.about.reads:
        return texts
    wrong = next((each for each in texts if not each.isascii() or not each.isdigit()), None)
    if wrong is not None:
        raise UsageError(f"'{wrong}' is not a number of {setting.name}", "Write a list as 1,8,32.")
    return list(map(int, texts))


def read_tokens(text: str) -> int:
    """A number of tokens: "4096", "8k" (8,192), "128k", "1m".

    Raises:
        UsageError: it is none, or not from 1 to 2**40.
    """
    plain = text.strip().lower().replace(",", "").replace("_", "")
    factor = {"k": 1024, "m": 1024**2}.get(plain[-1:], 1)
    digits = plain[:-1] if factor > 1 else plain
    if not digits.isascii() or not digits.isdigit() or not 1 <= int(digits) * factor <= 2**40:
        raise UsageError(f"'{text}' is not a number of tokens", "Try 4096, 8k or 128k.")
    return int(digits) * factor


def read_pixels(text: str) -> tuple[int, int]:
    """Width and height in pixels: "1024x768", or "1024" for a square.

    Raises:
        UsageError: it is no size, or a side is not from 1 to 2**16.
    """
    sides = text.lower().split("x")
    whole = [int(side) for side in sides if side.isascii() and side.isdigit() and len(side) < 6]
    if len(whole) != len(sides) or len(sides) > 2 or not all(1 <= side <= 2**16 for side in whole):
        raise UsageError(f"'{text}' is no size of an image", "Try 1024x768, or 1024 for a square.")
    return whole[0], whole[-1]


def read_share(text: str) -> int | Fraction:
    """A number of parameters ("1000000"), or a share of all of them ("50%", as 1/2).

    Raises:
        UsageError: it is neither, or more than 100%.
    """
    from fractions import Fraction

    plain = text.strip().replace(",", "").replace("_", "")
    percent = plain.removesuffix("%").strip()
    if plain.isascii() and plain.isdigit():
        return int(plain)
    if plain.endswith("%") and re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,9})?", percent) and Fraction(percent) <= 100:
        return Fraction(percent) / 100
    raise UsageError(f"'{text}' is no number of parameters", "Try 1000000, or a share of all: 50%.")


_READERS: Mapping[str, Callable[[str], Any]] = {"tokens": read_tokens, "pixels": read_pixels}
"""How text is read that is no plain value, by `About.reads`."""


def tuples(value: Any) -> Any:
    """JSON's arrays as the tuples that settings are; what is null in an object is left out of it."""
    if isinstance(value, Mapping):
        return {key: tuples(each) for key, each in value.items() if each is not None}
    return tuple(map(tuples, value)) if isinstance(value, list) else value


def option_words(setting: Setting, value: Any) -> list[str]:
    """A setting's value as a command line has it: ["--context", "8192"]; none for what no option says.

    >>> option_words(Setting("batch", "int", 1, About("", option="--batch")), 8)
    ['--batch', '8']
    """
    option = setting.about.option
    if not option or value is None or value is setting.default:
        return []
    if isinstance(value, bool):
        return [option] if value is not (setting.default is True) else []
    if setting.many:
        return [word for each in value for word in (option, str(each))]
    return [option, "x".join(map(str, value)) if isinstance(value, tuple) else str(value)]


def _check_types(kind: Any, values: Mapping[str, Any], name: str) -> None:
    """Refuse values that are not of their fields' types.

    Raises:
        TypeError: one of them is.
    """
    types = {each.name: str(each.type) for each in dataclasses.fields(kind)}
    for key, value in values.items():
        if key in types and not any(_is(value, one) for one in types[key].split(" | ")):
            raise TypeError(f"{name}: {key} must be {types[key]}, not {value!r:.80}")


def _positional(kind: Any) -> list[str]:
    return [each.name for each in dataclasses.fields(kind) if each.init and not each.kw_only]


_TYPES: Mapping[str, Any] = {
    "None": (type(None),),
    "bool": (bool,),
    "int": (int,),
    "float": (int, float),
    "str": (str,),
    "Formulas": (str,),
    "Iterable": (Iterable,),
    "Mapping": (Mapping,),
    "PathLike": (PathLike,),
    "Sequence": (list, tuple),
    "tuple": (list, tuple),
}
"""By the first word of an annotation; any other names a class."""


def _is(value: Any, annotation: str) -> bool:
    outer, _, inner = annotation.partition("[")
    if isinstance(value, bool) and outer in ("int", "float"):
        return False
    if outer not in _TYPES:
        return any(each.__name__ == outer for each in type(value).__mro__)
    if not isinstance(value, _TYPES[outer]):
        return False
    return outer not in ("Sequence", "tuple") or all(_is(item, re.split("[],]", inner)[0]) for item in value)


def check_bounds(asked: object) -> None:
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
