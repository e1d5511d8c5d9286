"""What stands for the parts of torch that no size of a model comes from: it can be named, called and inherited from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

NO = ("is_available", "is_built", "is_compiling", "is_initialized", "is_scripting", "is_tracing", "is_tracing_enabled")
"""Questions that are answered: nothing is there, and nothing goes on."""


class Unknown(TypeError):
    """A value was wanted of what has none here."""


class Anything:
    """A function, class, decorator, context or constant of torch that is not built here.

    Whoever asks it for a truth, a number or its items gets `Unknown`: nothing that is made of it can be taken for a
    size.
    """

    def __init__(self, name: str, made: bool = False) -> None:
        self.__dict__["_name"] = self.__dict__["__name__"] = self.__dict__["__qualname__"] = name
        self.__dict__["_made"] = made

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return no if name in NO else Anything(f"{self._name}.{name}")

    def __setattr__(self, name: str, value: Any) -> None:
        self.__dict__[name] = value

    def __call__(self, *args: Any, **_: Any) -> Any:
        """Of a function or class alone: the same, as by a decorator.

        Raises:
            Unknown: of a module, as it may give back another one.
        """
        if any(hasattr(type(each), "named_modules") for each in args):
            raise Unknown(f"{self._name} of a module")
        if len(args) == 1 and (isinstance(args[0], type) or hasattr(args[0], "__code__")):
            return args[0]
        return Anything(f"{self._name}()", made=True)

    def __mro_entries__(self, _: tuple[Any, ...]) -> tuple[type, ...]:
        return (Base,)

    def __instancecheck__(self, _: object) -> bool:
        return False

    def __subclasscheck__(self, _: type) -> bool:
        return False

    def __or__(self, _: object) -> Any:
        return Any

    __ror__ = __or__

    def __getitem__(self, _: object) -> Any:
        return Anything(f"{self._name}[]")

    def __enter__(self) -> Anything:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def _unknown(self, *_: object) -> Any:
        raise Unknown(f"{self._name} has no value here")

    def __eq__(self, other: object) -> bool:
        return bool(self._unknown()) if self._made else self is other

    __hash__ = object.__hash__
    __bool__ = __int__ = __float__ = __index__ = __len__ = _unknown
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __floordiv__ = _unknown
    __lt__ = __le__ = __gt__ = __ge__ = _unknown

    def __iter__(self) -> Iterator[Any]:
        raise Unknown(f"{self._name} has no items here")

    def __repr__(self) -> str:
        return f"<{self._name}>"


class Base:
    """What a class inherits that names one of torch's that is not built here."""

    def __init_subclass__(cls, **_: Any) -> None:
        super().__init_subclass__()

    apply = classmethod(lambda _, *__, **___: Anything("apply()"))


def no(*_: object, **__: object) -> bool:
    return False
