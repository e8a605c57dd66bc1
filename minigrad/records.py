"""Named tuples that are made quickly: for the files that reading a plan imports.

``typing.NamedTuple`` compiles each annotation of a class when the class is made, and
``collections.namedtuple`` the text of a constructor.  That takes longer than all else about a
class, and a process that starts from a plan makes two dozen of them.  The ``NamedTuple`` here
keeps annotations as they are written (the file that has the class must postpone them), gives all
classes one constructor, and is the same otherwise, down to the getters of its fields; type
checkers see that of ``typing``.

>>> class Pair(NamedTuple):
...     first: int
...     second: int = 2
>>> Pair(1), Pair(1)._replace(second=3)
(Pair(first=1, second=2), Pair(first=1, second=3))
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

__all__ = ["NamedTuple"]

if TYPE_CHECKING:
    from typing import NamedTuple as NamedTuple
else:
    from collections import _tuplegetter

    class _Record(tuple):
        """What all of them do; ``_fields`` and ``_field_defaults`` are each one's own."""

        __slots__ = ()
        _fields = ()
        _field_defaults = MappingProxyType({})

        def __new__(cls, *values, **named):
            fields = cls._fields
            if named or len(values) != len(fields):
                rest, known = fields[len(values) :], cls._field_defaults
                try:
                    values += tuple([named.pop(f) if f in named else known[f] for f in rest])
                except KeyError:
                    values = ()
                if named or len(values) != len(fields):
                    raise TypeError(f"{cls.__name__} takes {', '.join(fields)}, each once")
            return tuple.__new__(cls, values)

        @classmethod
        def _make(cls, values):
            """One of these values, in order."""
            return cls(*values)

        def _replace(self, **named):
            """The same with other values of some fields."""
            if unknown := named.keys() - set(self._fields):
                raise TypeError(f"{type(self).__name__} has no {', '.join(sorted(unknown))}")
            return tuple.__new__(type(self), map(named.get, self._fields, self))

        __replace__ = _replace

        def _asdict(self):
            """The values by name."""
            return dict(zip(self._fields, self, strict=True))

        def __repr__(self):
            named = (f"{name}={value!r}" for name, value in self._asdict().items())
            return f"{type(self).__name__}({', '.join(named)})"

        def __getnewargs__(self):
            return tuple(self)

    class _Making(type):
        """Makes of a class with annotations a named tuple of them, which is an ordinary class."""

        def __new__(cls, name, bases, body):
            fields = tuple(body["__annotations__"])
            given = [field for field in fields if field in body]
            if list(fields[len(fields) - len(given) :]) != given:
                raise TypeError(f"{name}: a field without a default follows one with a default")
            defaults = {field: body.pop(field) for field in given}
            places = {field: _tuplegetter(k, None) for k, field in enumerate(fields)}
            known = {"_fields": fields, "_field_defaults": defaults, "__match_args__": fields}
            return type(name, (_Record,), {"__slots__": (), **known, **places, **body})

    NamedTuple = type.__new__(_Making, "NamedTuple", (), {})
