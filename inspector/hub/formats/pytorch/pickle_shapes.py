"""Reads torch.save's pickle for names, dtypes and shapes only: an interpreter that can build nothing else.

A pickle is a program for a stack machine, and the real one may import and call anything. This one knows no way to
import or to call: a global is a pair of words, and calling it makes an inert `Opaque`, but for a closed list of torch's
own constructors, which make a `TensorRef` out of numbers that are checked. All it holds grows at most linearly with the
steps it takes, and those are capped.

Format: the comments of CPython's Lib/pickletools.py. Opcodes that torch.save does not write (text numbers, extensions,
out-of-band buffers) are refused. The constructors: torch/_utils.py and torch/serialization.py of torch 1.6 to 2.13.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from struct import Struct
from typing import Any, NoReturn

from inspector.errors import UnreadableModel
from inspector.hub.formats.pytorch.pickle_opcodes import OPCODES
from inspector.hub.formats.pytorch.pickle_values import CONSTRUCTORS, MAPPINGS, Name, Opaque, read_storage

MAX_STEPS = 5_000_000
"""A tensor takes about 45: enough for 110,000 tensors in one file, ten times what the largest published files hold."""
MAX_OBJECTS = 1_500_000
"""Containers, objects, marks and dict items made, about 100 bytes each. A tensor takes about a dozen."""
MAX_STRING = 64 * 1024
"""Longer text and all bytes are passed over: no name is that long, and training logs and pickled arrays may be."""
MAX_GLOBAL = 512
MAX_INTEGER_BYTES = 64
"""Random generators' states have integers of 16 bytes."""


class Stop(Exception):
    """The pickle's last opcode; no error."""


def interpret(data: bytes) -> Any:
    """What the pickle describes: dicts with text keys, lists, tuples, numbers, text, and this package's inert values.

    Raises:
        UnreadableModel: it is damaged, larger than any model's, or uses what torch.save does not write.
    """
    machine = Machine(data)
    try:
        machine.run()
    except Stop:
        pass
    except IndexError:  # an empty stack, or the end of the data
        raise UnreadableModel("its pickle is damaged") from None
    if len(machine.stack) != 1 or machine.outer:
        raise UnreadableModel("its pickle is damaged")
    return machine.stack[0]


class Machine:
    """The stack machine. `outer` holds the stacks that a MARK has set aside, as CPython's own unpickler has it."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0
        self.stack: list[Any] = []
        self.outer: list[list[Any]] = []
        self.memo: list[Any] = []
        self.objects = 0

    def run(self) -> NoReturn:
        steps: list[Callable[[], Any] | None] = [None] * 256
        for code, (method, *arguments) in OPCODES.items():
            steps[code] = partial(getattr(self, method), *arguments)
        for _ in range(MAX_STEPS):
            code = self.data[self.at]
            self.at += 1
            step = steps[code]
            if step is None:
                raise UnreadableModel(f"its pickle uses opcode 0x{code:02x}, which torch.save does not write")
            step()
        raise UnreadableModel(f"its pickle takes more than {MAX_STEPS:,} steps")

    # what the data holds

    def take(self, length: int) -> bytes:
        start = self.at
        self.at += length
        if self.at > len(self.data):
            raise UnreadableModel("its pickle is cut off")
        return self.data[start : self.at]

    def number(self, form: Struct) -> int:
        value: int = form.unpack(self.take(form.size))[0]
        return value

    def line(self) -> str:
        end = self.data.find(b"\n", self.at, self.at + MAX_GLOBAL)
        if end < 0:
            raise UnreadableModel("its pickle has a global without an end")
        return self.text(self.take(end + 1 - self.at)[:-1])

    def text(self, raw: bytes) -> str:
        try:
            return raw.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            raise UnreadableModel("its pickle has text that is none") from None

    def charge(self, count: int) -> None:
        self.objects += count
        if self.objects > MAX_OBJECTS:
            raise UnreadableModel(f"its pickle makes more than {MAX_OBJECTS:,} objects")

    def push(self, value: Any) -> None:
        self.charge(1)
        self.stack.append(value)

    def pop_mark(self) -> list[Any]:
        items = self.stack
        self.stack = self.outer.pop()
        return items

    # frames, the stack, the memo

    def proto(self) -> None:
        if self.take(1)[0] > 5:
            raise UnreadableModel("its pickle is of an unknown version")

    def frame(self) -> None:
        self.take(8)

    def stop(self) -> NoReturn:
        raise Stop

    def mark(self) -> None:
        self.charge(1)
        self.outer.append(self.stack)
        self.stack = []

    def pop(self) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self.pop_mark()

    def dup(self) -> None:
        self.stack.append(self.stack[-1])

    def get(self, form: Struct) -> None:
        self.stack.append(self.memo[self.number(form)])

    def put(self, form: Struct) -> None:
        """Picklers number what they remember in order, so a list does, which no index can make large."""
        if self.number(form) != len(self.memo):
            raise UnreadableModel("its pickle remembers out of order")
        self.memoize()

    def memoize(self) -> None:
        self.memo.append(self.stack[-1])

    # numbers and text

    def constant(self, value: Any) -> None:
        self.stack.append(value)

    def small_integer(self, form: Struct) -> None:
        self.stack.append(self.number(form))

    def integer(self, form: Struct) -> None:
        length = self.number(form)
        if length > MAX_INTEGER_BYTES:
            raise UnreadableModel(f"its pickle has an integer of {length:,} bytes")
        self.push(int.from_bytes(self.take(length), "little", signed=True))

    def binfloat(self) -> None:
        self.take(8)
        self.stack.append(0.0)  # no shape depends on one

    def string(self, form: Struct) -> None:
        raw = self.take(self.number(form))
        self.push(self.text(raw) if len(raw) <= MAX_STRING else Opaque(None))

    def passed_over(self, form: Struct) -> None:
        self.take(self.number(form))
        self.push(Opaque(None))

    # containers

    def tuple_of(self, length: int) -> None:
        if len(self.stack) < length:
            raise IndexError
        items = tuple(self.stack[-length:])
        del self.stack[-length:]
        self.push(items)

    def tuple_to_mark(self) -> None:
        items = self.pop_mark()
        self.push(tuple(items))

    def empty_list(self) -> None:
        self.push([])

    def list_to_mark(self) -> None:
        items = self.pop_mark()
        self.push(items)

    def empty_dict(self) -> None:
        self.push({})

    def dict_to_mark(self) -> None:
        items = self.pop_mark()
        self.push({})
        self.store(items)

    def opaque_to_mark(self) -> None:
        self.pop_mark()
        self.push(Opaque(None))

    def empty_set(self) -> None:
        self.push(Opaque(None))

    def append(self) -> None:
        value = self.stack.pop()
        self.extend([value])

    def appends(self) -> None:
        self.extend(self.pop_mark())

    def extend(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is list:
            target.extend(values)
        elif isinstance(target, Opaque):
            self.charge(len(values))
            for value in values:
                target.items[str(len(target.items))] = value
        else:
            raise UnreadableModel("its pickle appends to what is no list")

    def additems(self) -> None:
        self.pop_mark()
        if not isinstance(self.stack[-1], Opaque):
            raise UnreadableModel("its pickle adds to what is no set")

    def setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self.store([key, value])

    def setitems(self) -> None:
        self.store(self.pop_mark())

    def store(self, items: list[Any]) -> None:
        """Keys become text: an attacker can choose numbers and tuples that all hash alike, but not text."""
        target = self.stack[-1]
        mapping = target.items if isinstance(target, Opaque) else target
        if type(mapping) is not dict or len(items) % 2:
            raise UnreadableModel("its pickle sets items of what is no dict")
        self.charge(len(items))  # two a pair: the entry, and the key's text
        for key, value in zip(items[::2], items[1::2], strict=True):
            if type(key) is not str:
                key = str(key) if type(key) is int else f"<{type(key).__name__} {len(mapping)}>"  # noqa: PLW2901
            mapping[key] = value

    # what would import and call

    def global_(self) -> None:
        module = self.line()
        self.push(Name(module, self.line()))

    def stack_global(self) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if type(name) is not str or type(module) is not str or max(len(name), len(module)) > MAX_GLOBAL:
            raise UnreadableModel("its pickle names a global by what is no name")
        self.push(Name(module, name))

    def reduce(self) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        if type(arguments) is not tuple:
            raise UnreadableModel("its pickle calls without arguments")
        self.push(construct(function, arguments))

    def newobj_ex(self) -> None:
        self.stack.pop()
        self.reduce()

    def inst(self) -> None:
        made_by = Name(self.line(), self.line())
        self.pop_mark()
        self.push(Opaque(made_by))

    def obj(self) -> None:
        items = self.pop_mark()
        self.push(Opaque(items[0] if isinstance(items[0], Name) else None))

    def build(self) -> None:
        state = self.stack.pop()
        target = self.stack[-1]
        if isinstance(target, Opaque):
            target.state = state  # kept, never run: a pickled module's tensors are in it

    def binpersid(self) -> None:
        self.push(read_storage(self.stack.pop()))


def construct(function: Any, arguments: tuple[Any, ...]) -> Any:
    """What calling `function` stands for. Nothing is called but the checked constructors of `CONSTRUCTORS`."""
    if not isinstance(function, Name):
        return Opaque(None)
    if function in MAPPINGS:
        if any(type(item) in (list, dict) and item for item in arguments):  # copying could be repeated without end
            raise UnreadableModel("its pickle fills a dict in a way that torch.save does not")
        return {}
    constructor = CONSTRUCTORS.get(function)
    if constructor is None:
        return Opaque(function)
    return constructor(function, arguments)
