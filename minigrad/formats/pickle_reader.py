"""Reads a pickle as data: the loop over its opcodes.

`minigrad.formats.pickle_machine` says what is and is not done for a file.
"""

from __future__ import annotations

from collections.abc import Mapping

from minigrad.errors import FormatError
from minigrad.formats.limits import Budget
from minigrad.formats.pickle_machine import Builder, Machine
from minigrad.formats.pickle_opcodes import OPCODES, STOP

__all__ = ["read_pickle"]


def read_pickle(
    data: memoryview,
    start: int,
    globals_: Mapping[str, Builder],
    budget: Budget,
    persistent: Builder | None = None,
) -> tuple[object, int]:
    """Run the pickle that begins at ``start``.

    Parameters
    ----------
    data : memoryview
        Bytes that hold the pickle; more may follow it.
    start : int
        Where it begins.
    globals_ : mapping
        ``"module.name"`` to the function that is called in place of the named one, with the
        tuple of arguments and the budget.
    budget : Budget
        Of the whole file.
    persistent : callable, optional
        Called with the tuple of a persistent id and the budget.

    Returns
    -------
    value : object
        Made of None, bool, int, float, str, bytes, tuple, list, dict, `Ordered`, `Global`,
        `Opaque` and what the given functions return.  A set is a list.
    end : int
        The position after the pickle.

    Raises
    ------
    FormatError
        For a program that is broken or over the budget.
    """
    machine = Machine(data, start, globals_, persistent, budget)
    try:
        while True:
            budget.steps -= 1
            if budget.steps < 0:
                budget.work(0)  # raises
            code = data[machine.pos]
            machine.pos += 1
            if code == STOP:
                return _result(machine), machine.pos
            OPCODES[code](machine)
    except IndexError:
        # of the data or of one of the two stacks: all three are only ever too short
        raise FormatError("the pickle ends early, or takes what it never put down") from None


def _result(m: Machine) -> object:
    if len(m.stack) != 1 or m.marks:
        raise FormatError("the pickle stops with other than one value")
    return m.stack[0]
