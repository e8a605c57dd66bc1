"""What each opcode of a pickle does to the machine.

The opcodes are documented, with their arguments, in CPython's Lib/pickletools.py.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from minigrad.errors import FormatError, quote
from minigrad.formats.pickle_machine import Machine, Opaque, Ordered

__all__ = ["OPCODES", "STOP"]

MAX_INTEGER = 32  # bytes; a longer one is not read
MAX_DIGITS = 80
MAX_KEY = 1 << 60  # below 2^61 - 1, where the hashes of integers begin to collide

Opcode = Callable[[Machine], None]


def refuse(m: Machine) -> None:
    code = m.data[m.pos - 1]
    raise FormatError(
        f"the pickle has the opcode {REFUSED.get(code, hex(code))}, which no list of tensors needs"
    )


# --- constants ---------------------------------------------------------------------------


def constant(value: object) -> Opcode:
    return lambda m: m.stack.append(value)


def unsigned(nbytes: int) -> Opcode:
    return lambda m: m.stack.append(m.unsigned(nbytes))


def byte(m: Machine) -> None:
    m.stack.append(m.data[m.pos])
    m.pos += 1


def signed(m: Machine) -> None:
    m.stack.append(int.from_bytes(m.take(4), "little", signed=True))


def long(length_bytes: int) -> Opcode:
    def run(m: Machine) -> None:
        raw = m.take(m.unsigned(length_bytes))
        small = len(raw) <= MAX_INTEGER
        m.stack.append(int.from_bytes(raw, "little", signed=True) if small else Opaque("int"))

    return run


def text_integer(m: Machine) -> None:
    line = m.line()
    if line in ("00", "01"):  # how protocols 0 and 1 write False and True
        m.stack.append(line == "01")
        return
    digits = line.removesuffix("L").removeprefix("-")
    if not (digits.isascii() and digits.isdigit()):
        raise FormatError(f"the pickle has {quote(line)} for an integer")
    if len(digits) > MAX_DIGITS:
        m.stack.append(Opaque("int"))
        return
    m.stack.append(-int(digits) if line.startswith("-") else int(digits))


def float64(m: Machine) -> None:
    m.stack.append(struct.unpack(">d", m.take(8))[0])


def text(length_bytes: int) -> Opcode:
    return lambda m: m.stack.append(m.text(m.unsigned(length_bytes)))


def text_or_bytes(length_bytes: int) -> Opcode:
    """A string of Python 2, which is text, or the bytes of an array."""

    def run(m: Machine) -> None:
        raw = bytes(m.take(m.unsigned(length_bytes)))
        try:
            m.stack.append(m.decode(raw))
        except FormatError:
            m.budget.spend_values(len(raw), "a string")
            m.stack.append(raw)

    return run


def binary(length_bytes: int) -> Opcode:
    def run(m: Machine) -> None:
        raw = bytes(m.take(m.unsigned(length_bytes)))
        m.budget.spend_values(len(raw), "a string of bytes")
        m.stack.append(raw)

    return run


# --- containers --------------------------------------------------------------------------


def make_tuple(m: Machine) -> None:
    values = m.pop_mark()
    m.stack.append(tuple(values))


def tuple_of(n: int) -> Opcode:
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


def extend(target: object, values: list[object]) -> None:
    if isinstance(target, list):
        target.extend(values)
    elif not isinstance(target, Opaque):
        raise FormatError(f"the pickle appends to {quote(target)}")


def set_item(m: Machine) -> None:
    value, key = m.stack.pop(), m.stack.pop()
    set_items(m.stack[-1], [key, value])


def set_items_above_mark(m: Machine) -> None:
    values = m.pop_mark()
    m.budget.work(len(values) // 4)
    set_items(m.stack[-1], values)


def set_items(target: object, values: list[object]) -> None:
    if len(values) % 2 or not isinstance(target, (dict, Opaque)):
        raise FormatError(f"the pickle sets {len(values)} keys and values in {quote(target)}")
    if isinstance(target, Opaque):
        return
    for key, value in zip(values[::2], values[1::2], strict=True):
        name = key if is_key(key) else Opaque("key")
        if name in target:
            raise FormatError(f"the pickle has a dict with the key {quote(str(key))} twice")
        target[name] = value


def is_key(key: object) -> bool:
    if type(key) is int:
        return abs(key) < MAX_KEY
    return key is None or type(key) in (str, bool)


# --- the stack and the memo --------------------------------------------------------------


def mark(m: Machine) -> None:
    m.push_mark()


def pop(m: Machine) -> None:
    m.stack.pop()


def pop_to_mark(m: Machine) -> None:
    m.pop_mark()


def duplicate(m: Machine) -> None:
    m.stack.append(m.stack[-1])


def put(length_bytes: int) -> Opcode:
    def run(m: Machine) -> None:
        m.memo[m.unsigned(length_bytes)] = m.stack[-1]

    return run


def put_byte(m: Machine) -> None:
    m.memo[m.data[m.pos]] = m.stack[-1]
    m.pos += 1


def memoize(m: Machine) -> None:
    m.memo[len(m.memo)] = m.stack[-1]


def get(length_bytes: int) -> Opcode:
    def run(m: Machine) -> None:
        index = m.unsigned(length_bytes)
        if index not in m.memo:
            raise FormatError(f"the pickle recalls value {index}, which it never stored")
        m.stack.append(m.memo[index])

    return run


# --- names and calls ---------------------------------------------------------------------


def global_(m: Machine) -> None:
    module, name = m.line(), m.line()
    m.stack.append(m.find_global(module, name))


def stack_global(m: Machine) -> None:
    name, module = m.stack.pop(), m.stack.pop()
    if type(module) is not str or type(name) is not str:
        raise FormatError("the pickle asks for a global whose name is not a string")
    m.stack.append(m.find_global(module, name))


def call(m: Machine) -> None:
    arguments, function = m.stack.pop(), m.stack.pop()
    m.stack.append(m.call(function, arguments))


def call_with_keywords(m: Machine) -> None:
    keywords, arguments, function = m.stack.pop(), m.stack.pop(), m.stack.pop()
    if not isinstance(keywords, dict):
        raise FormatError("the pickle calls with keywords that are not a dict; nothing was run")
    made = m.call(function, arguments)
    m.stack.append(made if isinstance(made, Opaque) else Opaque("a call with keywords"))


def call_class(m: Machine) -> None:
    """INST: the class is in two lines of text, the arguments are above the mark."""
    module, name = m.line(), m.line()
    m.stack.append(m.call(m.find_global(module, name), tuple(m.pop_mark())))


def call_object(m: Machine) -> None:
    """OBJ: class and arguments are above the mark."""
    function, *arguments = m.pop_mark() or [None]
    m.stack.append(m.call(function, tuple(arguments)))


def set_state(m: Machine) -> None:
    state = m.stack.pop()
    target = m.stack[-1]
    if isinstance(target, Ordered):
        target.attributes = state


def persistent(m: Machine) -> None:
    pid = m.stack.pop()
    if m.persistent is None or type(pid) is not tuple:
        raise FormatError("the pickle has a persistent id where none belongs")
    m.stack.append(m.persistent(pid, m.budget))


def protocol(m: Machine) -> None:
    version = m.unsigned(1)
    if version > 5:
        raise FormatError(f"the pickle is of protocol {version}; 5 is the newest that is known")


def frame(m: Machine) -> None:
    nbytes = m.unsigned(8)
    if m.pos + nbytes > m.stop:
        raise FormatError(f"the pickle has a frame of {nbytes:,} bytes, and ends before that")


STOP = ord(".")

TABLE: dict[int | str, Opcode] = {
    "N": constant(None), 0x88: constant(True), 0x89: constant(False),
    "K": byte, "M": unsigned(2), "J": signed,                # BININT1, BININT2, BININT
    0x8A: long(1), 0x8B: long(4),                            # LONG1, LONG4
    "I": text_integer, "L": text_integer,                    # INT, LONG
    "G": float64,                                            # BINFLOAT
    0x8C: text(1), "X": text(4), 0x8D: text(8),              # SHORT_BINUNICODE, BINUNICODE, ...8
    "U": text_or_bytes(1), "T": text_or_bytes(4),            # SHORT_BINSTRING, BINSTRING
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
    "R": call, 0x81: call, 0x92: call_with_keywords,         # REDUCE, NEWOBJ, NEWOBJ_EX
    "i": call_class, "o": call_object,
    "b": set_state,                                          # BUILD
    "Q": persistent,                                         # BINPERSID
    0x80: protocol, 0x95: frame,
}  # fmt: skip

REFUSED = {
    ord("P"): "PERSID", 0x82: "EXT1", 0x83: "EXT2", 0x84: "EXT4", 0x97: "NEXT_BUFFER",
    0x98: "READONLY_BUFFER", ord("F"): "FLOAT", ord("S"): "STRING", ord("V"): "UNICODE",
    ord("g"): "GET", ord("p"): "PUT",
}  # fmt: skip

_by_code = {ord(key) if isinstance(key, str) else key: run for key, run in TABLE.items()}
OPCODES = [_by_code.get(code, refuse) for code in range(256)]
