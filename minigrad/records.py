"""Named tuples that are made quickly: for the files that reading a plan imports.

``typing.NamedTuple`` compiles each annotation of a class when the class is made, which takes
longer than all else about it, and a process that starts from a plan makes two dozen of them.
The ``NamedTuple`` here keeps annotations as they are written (the file that has the class must
postpone them), and is the same otherwise; type checkers see that of ``typing``.

>>> class Pair(NamedTuple):
...     first: int
...     second: int = 2
>>> Pair(1), Pair(1)._replace(second=3)
(Pair(first=1, second=2), Pair(first=1, second=3))
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = ["NamedTuple"]

if TYPE_CHECKING:
    from typing import NamedTuple as NamedTuple
else:
    from collections import namedtuple

    class _Making(type):
        """Makes of a class with annotations a named tuple of them, which is an ordinary class."""

        def __new__(cls, name, bases, body):
            fields = list(body["__annotations__"])
            given = [field for field in fields if field in body]
            if fields[len(fields) - len(given) :] != given:
                raise TypeError(f"{name}: a field without a default follows one with a default")
            defaults = [body.pop(field) for field in given]
            made = namedtuple(name, fields, defaults=defaults, module=body["__module__"])
            return type(name, (made,), {"__slots__": (), **body})

    NamedTuple = type.__new__(_Making, "NamedTuple", (), {})
