"""The pickle machine, reading data only: a stack, a memo, and a table of opcodes.

A pickle is a program.  Most of its opcodes push a constant or fold the top of the stack
into a tuple, list or dict.  The dangerous few let a file call what it names; here

* a name (GLOBAL, STACK_GLOBAL) must stand in the caller's allow-list, and means the
  function of ours that the list gives, or nothing that can be called;
* a call (REDUCE, NEWOBJ) therefore only ever calls a function of ours;
* a state (BUILD) is dropped: no ``__setstate__``, no attribute is ever set;
* INST, OBJ, EXT and the other opcodes that are missing from the table are refused.

Nothing is imported, and no class of Python's own unpickler is used.  Memory and time are
bounded by the limits below, since every opcode adds at most one value, and works in
proportion to the bytes or values that it takes away.  Values are never walked recursively,
and only strings and small integers are hashed, so neither deep nesting nor chosen hash
collisions hurt.

The opcodes are documented, with their arguments, in CPython's Lib/pickletools.py.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any

from minigrad.errors import FormatError
from minigrad.formats.limits import quote

__all__ = ["MAX_BYTES", "Builder", "Global", "read_pickle"]

MAX_BYTES = 1 << 25  # of one pickle; 300 tensors need about 50 KB
MAX_OPCODES = 1_000_000  # a tensor needs about 36
MAX_MARKS = 1_000  # a pickler recurses, so nothing it wrote nests deeper than its stack
MAX_STRING = 1 << 16
MAX_LINE = 1 << 8
MAX_INTEGER = 32  # bytes, or digits in text
MAX_KEY = 1 << 60  # below 2^61 - 1, where the hashes of integers begin to collide

Builder = Callable[[tuple[Any, ...]], Any]


class Global:
    """A name that the allow-list knows; ``build`` is our function for it, if it has one."""

    __slots__ = ("build", "name")

    def __init__(self, name: str, build: Builder | None) -> None:
        self.name = name
        self.build = build


class Machine:
    """The state between two opcodes."""

    __slots__ = ("allowed", "data", "marks", "memo", "persistent", "pos", "stack", "stop")

    def __init__(
        self, data: memoryview, start: int, allowed: Mapping[str, Builder | None],
        persistent: Builder | None,
    ) -> None:  # fmt: skip
        self.data = data
        self.pos = start
        self.stop = min(len(data), start + MAX_BYTES)
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []  # the stacks that lie under the open marks
        self.memo: dict[int, Any] = {}
        self.allowed = allowed
        self.persistent = persistent

    def take(self, nbytes: int) -> memoryview:
        """The next bytes of the program."""
        start = self.pos
        self.pos = start + nbytes
        if self.pos > self.stop:
            raise FormatError("the pickle is truncated, or larger than any list of tensors")
        return self.data[start : self.pos]

    def unsigned(self, nbytes: int) -> int:
        """The next little-endian integer."""
        return int.from_bytes(self.take(nbytes), "little")

    def line(self) -> str:
        """The next text up to a newline."""
        text = bytes(self.data[self.pos : min(self.pos + MAX_LINE, self.stop)])
        end = text.find(b"\n")
        if end < 0:
            raise FormatError(f"the pickle has a line without an end, or over {MAX_LINE} bytes")
        self.pos += end + 1
        return decode(text[:end])

    def pop_mark(self) -> list[Any]:
        """All values above the last mark."""
        values = self.stack
        self.stack = self.marks.pop()
        return values


def read_pickle(
    data: memoryview, start: int, allowed: Mapping[str, Builder | None],
    persistent: Builder | None = None,
) -> tuple[Any, int]:  # fmt: skip
    """Run the pickle that begins at ``start``.

    Parameters
    ----------
    data : memoryview
        Bytes that hold the pickle; more may follow it.
    start : int
        Where it begins.
    allowed : mapping
        ``"module.name"`` to the function that is called in place of the named one, with
        the tuple of arguments, or to None for a name that stands only for itself.
    persistent : callable, optional
        Called with the tuple of a persistent id.

    Returns
    -------
    value : object
        Made of None, bool, int, float, str, bytes, tuple, list, dict, `Global` and what
        the given functions return.  A set is a list.
    end : int
        The position after the pickle.

    Raises
    ------
    FormatError
        For everything else.
    """
    machine = Machine(data, start, allowed, persistent)
    try:
        for _ in range(MAX_OPCODES):
            code = data[machine.pos]
            machine.pos += 1
            if code == STOP:
                return result(machine), machine.pos
            OPCODES[code](machine)
    except IndexError:
        # of the data or of one of the two stacks: all three are only ever too short
        raise FormatError("the pickle ends early, or takes what it never put down") from None
    raise FormatError(f"the pickle has over {MAX_OPCODES:,} opcodes, more than any list of tensors")


def result(m: Machine) -> Any:
    if len(m.stack) != 1 or m.marks:
        raise FormatError("the pickle stops with other than one value")
    return m.stack[0]


def decode(text: memoryview | bytes) -> str:
    try:
        return str(text, "utf-8", "surrogatepass")
    except UnicodeDecodeError:
        raise FormatError("the pickle has a string that is not UTF-8") from None


def refuse(m: Machine) -> None:
    code = m.data[m.pos - 1]
    raise FormatError(
        f"the pickle has the opcode {REFUSED.get(code, hex(code))}, which no list of tensors needs"
    )


# --- constants ---------------------------------------------------------------------------


def constant(value: object) -> Callable[[Machine], None]:
    return lambda m: m.stack.append(value)


def unsigned(nbytes: int) -> Callable[[Machine], None]:
    return lambda m: m.stack.append(m.unsigned(nbytes))


def byte(m: Machine) -> None:
    m.stack.append(m.data[m.pos])
    m.pos += 1


def signed(m: Machine) -> None:
    m.stack.append(int.from_bytes(m.take(4), "little", signed=True))


def long(length_bytes: int) -> Callable[[Machine], None]:
    def run(m: Machine) -> None:
        nbytes = m.unsigned(length_bytes)
        if nbytes > MAX_INTEGER:
            raise FormatError(f"the pickle has an integer of {nbytes:,} bytes")
        m.stack.append(int.from_bytes(m.take(nbytes), "little", signed=True))

    return run


def text_integer(m: Machine) -> None:
    line = m.line()
    if line in ("00", "01"):  # how protocols 0 and 1 write False and True
        m.stack.append(line == "01")
        return
    digits = line.removesuffix("L").removeprefix("-")
    if not (digits.isascii() and digits.isdigit()) or len(digits) > MAX_INTEGER:
        raise FormatError(f"the pickle has {quote(line)} for an integer")
    m.stack.append(-int(digits) if line.startswith("-") else int(digits))


def float64(m: Machine) -> None:
    m.stack.append(struct.unpack(">d", m.take(8))[0])


def string(length_bytes: int) -> Callable[[Machine], None]:
    def run(m: Machine) -> None:
        nbytes = m.unsigned(length_bytes)
        if nbytes > MAX_STRING:
            raise FormatError(f"the pickle has a string of {nbytes:,} bytes")
        m.stack.append(decode(m.take(nbytes)))

    return run


def binary(length_bytes: int) -> Callable[[Machine], None]:
    return lambda m: m.stack.append(bytes(m.take(m.unsigned(length_bytes))))


# --- containers --------------------------------------------------------------------------


def mark(m: Machine) -> None:
    if len(m.marks) == MAX_MARKS:
        raise FormatError(f"the pickle is nested over {MAX_MARKS:,} deep")
    m.marks.append(m.stack)
    m.stack = []


def make_tuple(m: Machine) -> None:
    values = m.pop_mark()
    m.stack.append(tuple(values))


def tuple_of(n: int) -> Callable[[Machine], None]:
    def run(m: Machine) -> None:
        values = [m.stack.pop() for _ in range(n)]
        m.stack.append(tuple(reversed(values)))

    return run


def make_list(m: Machine) -> None:
    values = m.pop_mark()
    m.stack.append(values)


def make_dict(m: Machine) -> None:
    values = m.pop_mark()
    m.stack.append({})
    set_items(m.stack[-1], values)


def append(m: Machine) -> None:
    value = m.stack.pop()
    extend(m.stack[-1], [value])


def appends(m: Machine) -> None:
    values = m.pop_mark()
    extend(m.stack[-1], values)


def extend(target: object, values: list[Any]) -> None:
    if type(target) is not list:
        raise FormatError(f"the pickle appends to {quote(target)}")
    target.extend(values)


def set_item(m: Machine) -> None:
    value, key = m.stack.pop(), m.stack.pop()
    set_items(m.stack[-1], [key, value])


def set_items_above_mark(m: Machine) -> None:
    values = m.pop_mark()
    set_items(m.stack[-1], values)


def set_items(target: object, values: list[Any]) -> None:
    if type(target) is not dict or len(values) % 2:
        raise FormatError(f"the pickle sets {len(values)} keys and values in {quote(target)}")
    for key, value in zip(values[::2], values[1::2], strict=True):
        if not is_key(key):
            raise FormatError(f"the pickle has a dict with a key that is {quote(key)}")
        if key in target:
            raise FormatError(f"the pickle has a dict with the key {quote(str(key))} twice")
        target[key] = value


def is_key(key: object) -> bool:
    if type(key) is int:
        return abs(key) < MAX_KEY
    return key is None or type(key) in (str, bool)


# --- the stack and the memo --------------------------------------------------------------


def pop(m: Machine) -> None:
    m.stack.pop()


def pop_to_mark(m: Machine) -> None:
    m.pop_mark()


def duplicate(m: Machine) -> None:
    m.stack.append(m.stack[-1])


def put(length_bytes: int) -> Callable[[Machine], None]:
    def run(m: Machine) -> None:
        m.memo[m.unsigned(length_bytes)] = m.stack[-1]

    return run


def put_byte(m: Machine) -> None:
    m.memo[m.data[m.pos]] = m.stack[-1]
    m.pos += 1


def memoize(m: Machine) -> None:
    m.memo[len(m.memo)] = m.stack[-1]


def get(length_bytes: int) -> Callable[[Machine], None]:
    def run(m: Machine) -> None:
        index = m.unsigned(length_bytes)
        if index not in m.memo:
            raise FormatError(f"the pickle recalls value {index}, which it never stored")
        m.stack.append(m.memo[index])

    return run


# --- names and calls ---------------------------------------------------------------------


def global_(m: Machine) -> None:
    module, name = m.line(), m.line()
    m.stack.append(find_global(m, module, name))


def stack_global(m: Machine) -> None:
    name, module = m.stack.pop(), m.stack.pop()
    if type(module) is not str or type(name) is not str:
        raise FormatError("the pickle asks for a global whose name is not a string")
    m.stack.append(find_global(m, module, name))


def find_global(m: Machine, module: str, name: str) -> Global:
    full = f"{module}.{name}"
    if full not in m.allowed:
        raise FormatError(
            f"the pickle asks for {quote(full)}, which is not on the list of what a file of "
            f"weights may name; nothing was run (a model is saved by its state_dict() alone)"
        )
    return Global(full, m.allowed[full])


def call(m: Machine) -> None:
    arguments, function = m.stack.pop(), m.stack.pop()
    if type(function) is not Global or function.build is None or type(arguments) is not tuple:
        raise FormatError("the pickle calls what cannot be called; nothing was run")
    m.stack.append(function.build(arguments))


def drop_state(m: Machine) -> None:
    m.stack.pop()
    m.stack[-1]  # there must be something that the state was for


def persistent(m: Machine) -> None:
    pid = m.stack.pop()
    if m.persistent is None or type(pid) is not tuple:
        raise FormatError("the pickle has a persistent id where none belongs")
    m.stack.append(m.persistent(pid))


def protocol(m: Machine) -> None:
    version = m.unsigned(1)
    if version > 5:
        raise FormatError(f"the pickle is of protocol {version}; 5 is the newest that is known")


def frame(m: Machine) -> None:
    nbytes = m.unsigned(8)
    if m.pos + nbytes > m.stop:
        raise FormatError(f"the pickle has a frame of {nbytes:,} bytes, and ends before that")


STOP = ord(".")

TABLE: dict[int | str, Callable[[Machine], None]] = {
    "N": constant(None), 0x88: constant(True), 0x89: constant(False),
    "K": byte, "M": unsigned(2), "J": signed,                # BININT1, BININT2, BININT
    0x8A: long(1), 0x8B: long(4),                            # LONG1, LONG4
    "I": text_integer, "L": text_integer,                    # INT, LONG
    "G": float64,                                            # BINFLOAT
    0x8C: string(1), "X": string(4), 0x8D: string(8),        # SHORT_BINUNICODE, BINUNICODE, ...8
    "U": string(1), "T": string(4),                          # SHORT_BINSTRING, BINSTRING: Python 2
    "C": binary(1), "B": binary(4), 0x8E: binary(8),         # SHORT_BINBYTES, BINBYTES, ...8
    0x96: binary(8),                                         # BYTEARRAY8
    "(": mark,
    ")": constant(()), "t": make_tuple,                      # EMPTY_TUPLE, TUPLE
    0x85: tuple_of(1), 0x86: tuple_of(2), 0x87: tuple_of(3),
    "]": lambda m: m.stack.append([]), "l": make_list,       # EMPTY_LIST, LIST
    "a": append, "e": appends,
    0x8F: lambda m: m.stack.append([]),                      # EMPTY_SET
    0x90: appends, 0x91: make_list,                          # ADDITEMS, FROZENSET
    "}": lambda m: m.stack.append({}), "d": make_dict,       # EMPTY_DICT, DICT
    "s": set_item, "u": set_items_above_mark,
    "0": pop, "1": pop_to_mark, "2": duplicate,
    "q": put_byte, "r": put(4), 0x94: memoize,               # BINPUT, LONG_BINPUT, MEMOIZE
    "h": get(1), "j": get(4),                                # BINGET, LONG_BINGET
    "c": global_, 0x93: stack_global,
    "R": call, 0x81: call,                                   # REDUCE, NEWOBJ
    "b": drop_state,                                         # BUILD
    "Q": persistent,                                         # BINPERSID
    0x80: protocol, 0x95: frame,
}  # fmt: skip

REFUSED = {
    ord("i"): "INST", ord("o"): "OBJ", 0x92: "NEWOBJ_EX", ord("P"): "PERSID",
    0x82: "EXT1", 0x83: "EXT2", 0x84: "EXT4", 0x97: "NEXT_BUFFER", 0x98: "READONLY_BUFFER",
    ord("F"): "FLOAT", ord("S"): "STRING", ord("V"): "UNICODE", ord("g"): "GET", ord("p"): "PUT",
}  # fmt: skip

_by_code = {ord(key) if isinstance(key, str) else key: run for key, run in TABLE.items()}
OPCODES = [_by_code.get(code, refuse) for code in range(256)]
