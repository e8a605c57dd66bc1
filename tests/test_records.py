"""Named tuples of minigrad.records are those of typing, made more quickly."""

from __future__ import annotations

import copy
import pickle
import typing

import pytest

from minigrad.records import NamedTuple


class Ours(NamedTuple):
    """A pair."""

    first: int
    second: tuple[int, ...] = ()

    def total(self) -> int:
        return self.first + sum(self.second)

    @property
    def doubled(self) -> Ours:
        return self._replace(first=2 * self.first)


class Theirs(typing.NamedTuple):
    """A pair."""

    first: int
    second: tuple[int, ...] = ()

    def total(self) -> int:
        return self.first + sum(self.second)

    @property
    def doubled(self) -> Theirs:
        return self._replace(first=2 * self.first)


class Below(Ours):
    __slots__ = ()

    def total(self) -> int:
        return super().total() + 1


def test_they_are_what_typing_makes():
    ours, theirs = Ours(3, (4,)), Theirs(3, (4,))
    assert ours == theirs == (3, (4,))
    assert repr(ours) == repr(theirs).replace("Theirs", "Ours")
    assert ours.doubled == theirs.doubled == (6, (4,))
    assert (ours.total(), ours._asdict()) == (theirs.total(), theirs._asdict())
    for name in ("_fields", "_field_defaults", "__match_args__", "__doc__", "__module__"):
        assert getattr(Ours, name) == getattr(Theirs, name)
    assert typing.get_type_hints(Ours) == typing.get_type_hints(Theirs)
    assert not hasattr(ours, "__dict__")


def test_they_can_be_copied_stored_matched_and_built_upon():
    for one in (Ours(1), Below(1, (2,))):
        assert type(pickle.loads(pickle.dumps(one))) is type(one)
        assert pickle.loads(pickle.dumps(one)) == copy.deepcopy(one) == one
    match Below(1, (2,)):
        case Ours(first, second=(x,)):
            assert (first, x) == (1, 2)
    assert Below(1, (2,)).total() == 4
    with pytest.raises(AttributeError):
        Ours(1).first = 2  # type: ignore[misc]
    with pytest.raises(TypeError):
        Ours()  # type: ignore[call-arg]


def test_defaults_come_last():
    with pytest.raises(TypeError, match="Wrong: a field without a default follows"):

        class Wrong(NamedTuple):
            first: int = 1
            second: int  # type: ignore[misc]
