"""The pickle opcodes that torch.save writes, and which method of `pickle_shapes.Machine` follows each.

Source: the `opcodes` table of CPython's Lib/pickletools.py. What is missing (text numbers, text persistent IDs,
extensions, out-of-band buffers) is refused.
"""

from __future__ import annotations

from struct import Struct
from typing import Any

INT32, UINT8, UINT16, UINT32, UINT64 = Struct("<i"), Struct("<B"), Struct("<H"), Struct("<I"), Struct("<Q")

OPCODES: dict[int, tuple[Any, ...]] = {
    ord("."): ("stop",),
    ord("("): ("mark",),
    ord("0"): ("pop",),
    ord("1"): ("pop_mark",),
    ord("2"): ("dup",),
    ord("B"): ("passed_over", UINT32),  # bytes
    ord("C"): ("passed_over", UINT8),
    ord("G"): ("binfloat",),
    ord("J"): ("small_integer", INT32),
    ord("K"): ("small_integer", UINT8),
    ord("M"): ("small_integer", UINT16),
    ord("N"): ("constant", None),
    ord("Q"): ("binpersid",),
    ord("R"): ("reduce",),
    ord("T"): ("passed_over", UINT32),  # a Python 2 string
    ord("U"): ("string", UINT8),
    ord("X"): ("string", UINT32),
    ord("]"): ("empty_list",),
    ord("a"): ("append",),
    ord("b"): ("build",),
    ord("c"): ("global_",),
    ord("d"): ("dict_to_mark",),
    ord("e"): ("appends",),
    ord("h"): ("get", UINT8),
    ord("i"): ("inst",),
    ord("j"): ("get", UINT32),
    ord("l"): ("list_to_mark",),
    ord("o"): ("obj",),
    ord("q"): ("put", UINT8),
    ord("r"): ("put", UINT32),
    ord("s"): ("setitem",),
    ord("t"): ("tuple_to_mark",),
    ord("u"): ("setitems",),
    ord(")"): ("constant", ()),
    ord("}"): ("empty_dict",),
    0x80: ("proto",),
    0x81: ("reduce",),  # NEWOBJ: a class and its arguments
    0x85: ("tuple_of", 1),
    0x86: ("tuple_of", 2),
    0x87: ("tuple_of", 3),
    0x88: ("constant", True),
    0x89: ("constant", False),
    0x8A: ("integer", UINT8),
    0x8B: ("integer", UINT32),
    0x8C: ("string", UINT8),
    0x8D: ("string", UINT64),
    0x8E: ("passed_over", UINT64),  # bytes
    0x8F: ("empty_set",),
    0x90: ("additems",),
    0x91: ("opaque_to_mark",),  # a frozen set
    0x92: ("newobj_ex",),
    0x93: ("stack_global",),
    0x94: ("memoize",),
    0x95: ("frame",),
    0x96: ("passed_over", UINT64),  # a bytearray
}
"""Opcode -> the method that follows it, and its argument: often the form of the length or index that comes next."""
