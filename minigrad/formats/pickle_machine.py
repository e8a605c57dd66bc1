"""The pickle machine, reading data only: a stack, a memo, and values that are never run.

A pickle is a program.  Most of its opcodes push a constant or fold the top of the stack into
a tuple, list or dict.  The dangerous few let a file call what it names; here

* a name means a function of ours if the caller's list has it, and else only itself;
* a call of a function of ours builds what that function says; any other call builds an
  `Opaque` value, which remembers the name and nothing else.  Nothing is imported or run;
* a state is dropped, except the attributes of an `Ordered` dict, which are kept as data.

Memory and time are bounded by the budget of the file, since every opcode adds at most one
small value, and works in proportion to the bytes or values that it takes away.  Values are
never walked recursively, and only strings and small integers are hashed, so neither deep
nesting nor chosen hash collisions hurt.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from minigrad.errors import FormatError, quote
from minigrad.formats.limits import Budget

__all__ = ["MAX_PICKLE", "Builder", "Global", "Machine", "Opaque", "Ordered"]

MAX_PICKLE = 1 << 24  # bytes of one pickle; 300 tensors need about 50 KB
MAX_MARKS = 1_000  # a pickler recurses, so nothing it wrote nests deeper than its stack
MAX_LINE = 1 << 8

Builder = Callable[[tuple[object, ...], Budget], object]


class Global:
    """A name in the file; ``build`` is our function for it, if the list has one."""

    __slots__ = ("build", "name")

    def __init__(self, name: str, build: Builder | None) -> None:
        self.name = name
        self.build = build


class Opaque:
    """A value that is not read: what the file would have called to make it.

    Keys and values that are set in it are dropped.  As a key it stands for a key that is
    neither text nor a small number.
    """

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


class Ordered(dict[object, object]):
    """An OrderedDict, which may have attributes."""

    __slots__ = ("attributes",)

    def __init__(self, items: Mapping[object, object] | None = None) -> None:
        super().__init__(items or {})
        self.attributes: object = None


class Machine:
    """The state between two opcodes.

    Parameters
    ----------
    data : memoryview
        Bytes that hold the pickle; more may follow it.
    start : int
        Where it begins.
    globals_ : mapping
        ``"module.name"`` to the function that is called in place of the named one.
    persistent : callable or None
        Called with the tuple of a persistent id.
    budget : Budget
        Of the whole file.
    """

    __slots__ = ("budget", "data", "globals", "marks", "memo", "persistent", "pos", "stack", "stop")

    def __init__(
        self,
        data: memoryview,
        start: int,
        globals_: Mapping[str, Builder],
        persistent: Builder | None,
        budget: Budget,
    ) -> None:
        self.data = data
        self.pos = start
        self.stop = min(len(data), start + MAX_PICKLE)
        self.stack: list[object] = []
        self.marks: list[list[object]] = []  # the stacks that lie under the open marks
        self.memo: dict[int, object] = {}
        self.globals = globals_
        self.persistent = persistent
        self.budget = budget

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
        return self.decode(text[:end])

    def text(self, nbytes: int) -> str:
        """The next bytes as text."""
        self.budget.steps -= 1  # for it takes as long as two other opcodes
        return self.decode(bytes(self.take(nbytes)))

    def decode(self, raw: bytes) -> str:
        """The text of UTF-8, paid for; one wide character makes all of a text four bytes wide."""
        self.budget.spend_values(len(raw) * (1 if raw.isascii() else 4), "a text")
        try:
            return str(raw, "utf-8", "surrogatepass")
        except UnicodeDecodeError:
            raise FormatError("the pickle has a text that is not UTF-8") from None

    def pop_mark(self) -> list[object]:
        """All values above the last mark."""
        values = self.stack
        self.stack = self.marks.pop()
        return values

    def push_mark(self) -> None:
        """Begin a new stack on top of this one."""
        if len(self.marks) == MAX_MARKS:
            raise FormatError(f"the pickle is nested over {MAX_MARKS:,} deep")
        self.marks.append(self.stack)
        self.stack = []

    def find_global(self, module: str, name: str) -> Global:
        """What a name in the file means."""
        full = f"{module}.{name}"
        self.budget.spend_values(len(full), "a name")
        return Global(full, self.globals.get(full))

    def call(self, function: object, arguments: object) -> object:
        """What a call in the file builds: a value of ours, or one that is not read."""
        if isinstance(function, Opaque):
            return function
        if not isinstance(function, Global) or type(arguments) is not tuple:
            raise FormatError(
                f"the pickle calls {quote(function)}, which cannot be called; nothing was run"
            )
        if function.build is None:
            return Opaque(function.name)
        return function.build(arguments, self.budget)
