"""Where the values of a training step lie: one arena by lifetimes over both passes.

Some values have no memory of their own.  Parameters and buffers stay where the model has them.
A row, a reshape, a transpose or a repetition is a view of what it is made of; only a kernel
that reads whole maps needs a repetition in memory.  And a sweep that
reads a map for the last time may write its result over it (``IN_PLACE``).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from minigrad.engine.graph import Graph, Value
from minigrad.engine.memory import Life, keeps_order, live_peak, place

__all__ = ["Layout", "layout", "views"]

IN_PLACE = {"batch_norm_gradient": (0,), "add": (0, 1), "line_slope": (0,), "curve_slope": (0,)}

REPEATING = ("add", "sub", "mul", "div")  # whose kernel reads repeated numbers where they lie


class Layout(NamedTuple):
    """Where each value lies.

    Attributes
    ----------
    roots : dict of int to int
        The value in whose memory each lies; views of parameters and buffers are left out.
    offsets : dict of int to int
        The first byte of each root.
    size, live : int
        Bytes of the arena, and the largest sum of sizes needed at one step.
    """

    roots: dict[int, int]
    offsets: dict[int, int]
    size: int
    live: int


def views(graph: Graph, leaves: Collection[int]) -> set[int]:
    """The steps that make a view of their first input.

    A reshape is one where the order of its input in memory is known: of what a step writes to
    the arena, or of such a reshape.
    """
    uses = graph.uses()
    found: set[int] = set()
    strided = set(leaves)
    for number, step in graph.steps.items():
        if step.op == "broadcast_to":
            readers = [graph.steps.get(n) for n in uses[number]]
            moved = all(reader is not None and reader.op in REPEATING for reader in readers)
        else:
            moved = step.op in ("row", "transpose")
        if moved:
            strided.add(number)
        if moved or (keeps_order(step) and step.source.number not in strided):
            found.add(number)
    return found


def layout(graph: Graph, leaves: Collection[int], viewed: Collection[int]) -> Layout:
    """A place for every value of a training step.

    Parameters
    ----------
    graph : Graph
    leaves : collection of int
        The values that stand for parameters and buffers.
    viewed : collection of int
        Those that are ``views``.
    """
    at = {number: k for k, number in enumerate(graph.steps, start=1)}
    roots = _roots(graph, leaves, viewed)
    last = _last_uses(graph, roots, at)
    _write_in_place(graph, viewed, roots, last, at)
    values = {value.number: value for value in graph.values()}
    needed = {
        root: Life(values[root].nbytes, at.get(root, 0), last.get(root, at.get(root, 0)))
        for root in set(roots.values())
    }
    offsets, size = place(needed)
    return Layout(roots, offsets, size, live_peak(needed))


def _roots(graph: Graph, leaves: Collection[int], viewed: Collection[int]) -> dict[int, int]:
    """The root of each value, before anything is written in place."""
    roots = {0: 0}
    for number, step in graph.steps.items():
        source = step.inputs[0] if number in viewed else None
        if number in leaves or (isinstance(source, Value) and source.number not in roots):
            continue
        roots[number] = roots[source.number] if isinstance(source, Value) else number
    return roots


def _last_uses(graph: Graph, roots: Mapping[int, int], at: Mapping[int, int]) -> dict[int, int]:
    """The place of the last step that reads each root; outputs are needed to the end."""
    last: dict[int, int] = {}
    end = len(graph.steps) + 1
    for number, readers in graph.uses().items():
        if number in roots:
            places = [end if reader < 0 else at[reader] for reader in readers]
            root = roots[number]
            last[root] = max(last.get(root, 0), *places, at.get(number, 0))
    return last


def _write_in_place(
    graph: Graph,
    viewed: Collection[int],
    roots: dict[int, int],
    last: dict[int, int],
    at: Mapping[int, int],
) -> None:
    """Put results over inputs that nobody reads later."""
    for number, step in graph.steps.items():
        for k in IN_PLACE.get(step.op, ()):
            x = step.inputs[k]
            if not isinstance(x, Value) or x.number not in roots or x.shape != step.shape:
                continue
            root = roots[x.number]
            own = x.number in graph.steps and x.number not in viewed
            if own and last[root] == at[number] and x.dtype == step.output.dtype:
                for other, its in roots.items():
                    if its == number:
                        roots[other] = root
                last[root] = max(last[root], last.get(number, at[number]))
                break
