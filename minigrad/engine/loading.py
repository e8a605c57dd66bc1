"""Plans read from disk: the format is that of ``files``.

A file is never trusted.  Reading it means to record its steps anew from shapes alone: those of
common kinds by arithmetic (``outline``), all others by calling the public functions that they
name, which check every argument (``loading_calls``).  All else (fusion, blocks, places in
memory) is decided anew from what they record, so no file can make a kernel leave its arrays.
Filters that were packed for this machine's instruction set are used where they lie: their
shape decides how many numbers they must be, and any numbers are filters.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NoReturn

import numpy as np

from minigrad.arguments import LARGEST
from minigrad.arrays import FLOATS, Array
from minigrad.engine.batches import LAYOUTS
from minigrad.engine.design import design
from minigrad.engine.fuse import FOLDS, rewrite
from minigrad.engine.graph import Constant, Graph, Value, needed
from minigrad.engine.outline import VERSION, is_name, outlined
from minigrad.engine.packing import REGISTERS, Order, PackedConstant, aligned, register_bytes
from minigrad.engine.plan import Plan
from minigrad.errors import FormatError, MinigradError, quote, shown
from minigrad.formats.limits import Budget, default_limit
from minigrad.formats.safetensors import read_safetensors
from minigrad.formats.source import source
from minigrad.formats.state_dict import StateDict
from minigrad.kernels.cython.core import current_level
from minigrad.resources import check_memory
from minigrad.threads import thread_count

__all__ = ["load_plan"]

MOST_STEPS = 2000
MOST_IMAGES = 1 << 16


def load_plan(
    path: str | os.PathLike[str], *, threads: int | None = None, mmap: bool = False
) -> Plan:
    """Read a plan that ``Plan.save`` wrote.

    Nothing but NumPy and the compiled core is needed; the model is not.  The file is checked as
    one from anywhere.  Where its weights were packed for registers of another size than this
    machine's, they are packed anew, and a warning says so.

    Parameters
    ----------
    path : path
    threads : int, optional
        How many threads the plan uses; by default what ``num_threads`` says at each call.
    mmap : bool
        Map the file instead of reading it: the kernels read the weights where they lie in the
        file, and processes that map one file share its memory.  A file that is cut in place while
        the plan is in use ends the process (``save`` replaces files, which is safe).

    Returns
    -------
    Plan

    Raises
    ------
    FormatError
        If the file is broken, hostile, or no plan.
    OSError
        If the file cannot be opened.

    Examples
    --------
    >>> import minigrad as mg, numpy as np, tempfile
    >>> path = tempfile.mkdtemp() + "/net.plan"
    >>> plan = mg.compile(mg.nn.Conv2d(3, 8, 3).eval(), (1, 3, 9, 9))
    >>> plan.save(path)
    >>> x = np.ones((1, 3, 9, 9), np.float32)
    >>> bool((mg.load_plan(path)(x) == plan(x)).all())
    True
    """
    workers = None if threads is None else thread_count(threads)
    name = os.fspath(path)
    try:
        with source(name, mapped=mmap) as file:
            state = read_safetensors(file, Budget(default_limit(file.size)))
        version = state.metadata.pop("minigrad.plan", None)
        if version != VERSION:
            raise FormatError(_other(version))
        network = _Saved(state, _parsed(state.metadata.pop("minigrad.steps", "")))
        plan = network.plan(workers)
    except FormatError as error:
        raise FormatError(f"{shown(name, 5000)}: {error}") from None
    if network.register not in (0, register_bytes()) and (here := current_level()):
        warnings.warn(
            f"{shown(name, 5000)} was packed for {network.isa}, and this machine runs {here}: "
            f"its weights are packed anew, which a file that is saved on this machine spares",
            stacklevel=2,
        )
    return plan


def _other(version: str | None) -> str:
    """What a file is that is no plan of this version."""
    if version is None:
        return "the file is no plan of minigrad: compile(...).save(...) writes one"
    return (
        f"the file is a plan of version {quote(version)}, and this minigrad reads version "
        f"{VERSION!r}: save it again from the model"
    )


def _parsed(text: str) -> Any:
    """The JSON of the steps."""

    def refuse(word: str) -> NoReturn:
        raise ValueError(word)

    try:
        return json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError):
        raise FormatError("the steps of the plan are not JSON") from None


class _Saved:
    """The network that a plan file describes."""

    def __init__(self, state: StateDict, described: object) -> None:
        match described:
            case {
                "input": list(shape), "dtype": "float32" | "float64" as dtype,
                "layout": str(layout), "name": str(name), "steps": list(steps),
                "outputs": list(outputs), "returns_one": bool(returns_one),
                "isa": str(isa), "register": int(register), "packed": dict(packed),
            }:  # fmt: skip
                pass
            case _:
                raise FormatError("the plan does not say its input, steps, outputs and packing")
        if not all(map(is_name, (name, isa))):
            raise FormatError(f"{quote(name)} or {quote(isa)} is no name of a network or its CPU")
        if layout not in LAYOUTS or not 0 < len(steps) <= MOST_STEPS or len(outputs) > len(steps):
            raise FormatError(f"a plan has 1 to {MOST_STEPS} steps, a layout, and fewer outputs")
        if not all(type(n) is int and 0 <= n <= LARGEST for n in shape) or len(shape) > 8:
            raise FormatError(f"the input's shape {quote(str(shape))} is none")
        if shape and shape[0] > MOST_IMAGES:
            raise FormatError(f"a plan in a file takes at most {MOST_IMAGES:,} images")
        self.shape, self.dtype, self.layout, self.name = tuple(shape), dtype, layout, name
        self.steps, self.outputs, self.returns_one = steps, outputs, returns_one
        self.isa, self.register = isa, register
        self.constants = self._constants(state, packed)
        self.metadata = state.metadata

    def _constants(
        self, state: Mapping[str, Array], packed: dict[str, object]
    ) -> dict[str, Constant]:
        """What the steps may read beside maps; packed filters are known by shape alone."""
        if (self.register not in REGISTERS and packed) or not packed.keys() <= state.keys():
            raise FormatError("the plan says of tensors that are not there that they are packed")
        _check_read_as_filters(packed, self.steps)
        floats = {name: array for name, array in state.items() if array.dtype in FLOATS}
        constants = {name: Constant(array) for name, array in floats.items()}
        for name, described in packed.items():
            constants[name] = _filters(name, state[name], described, self.register)
        return constants

    def plan(self, threads: int | None) -> Plan:
        """The plan, recorded from the file's steps."""
        try:
            graph, notes = rewrite(self._graph(), FOLDS)
            plan = design(graph, notes, self.name)
            return Plan(plan, threads, self.layout, about=partial(dict[str, str], self.metadata))
        except FormatError:
            raise
        except (MinigradError, TypeError, ValueError, LookupError, OverflowError) as error:
            raise FormatError(f"the plan cannot be run: {quote(str(error), 300)}") from None

    def _graph(self) -> Graph:
        """The recorded steps."""
        start = Value(0, self.shape, np.dtype(self.dtype))
        made = outlined(self.steps, self.constants, start)
        known = {str(number): step.output for number, step in (made or {}).items()}
        outputs = tuple([known[n] for n in self.outputs if isinstance(n, str) and n in known])
        if made is None or len(outputs) < max(len(self.outputs), 1):
            from minigrad.engine.loading_calls import called  # few plans have use for it

            return called(self.steps, self.constants, self.outputs, self.returns_one, start)
        check_memory(start.nbytes, f"an input of shape {start.shape}")
        check_memory(sum(y.nbytes for y in outputs), f"the output for an input of {start.shape}")
        return Graph(start, needed(made, outputs), outputs, self.returns_one and len(outputs) == 1)


def _filters(name: str, array: Array, described: object, register: int) -> PackedConstant:
    """A tensor that holds filters in the order of the kernels."""
    match described:
        case [list(shape), int(groups)] if len(shape) in (2, 4):
            pass
        case _:
            raise FormatError(f"the plan does not say the shape of its filters {quote(name)}")
    if not all(type(n) is int and 0 < n <= LARGEST for n in (*shape, groups)) or shape[0] % groups:
        raise FormatError(f"the filters {quote(name)} cannot have the shape {quote(str(shape))}")
    if array.dtype not in FLOATS:
        raise FormatError(f"the filters {quote(name)} are of {array.dtype}, not of floats")
    order = Order.of(shape, groups, array.itemsize, register)
    if array.shape != (order.stored(array.itemsize),):
        raise FormatError(
            f"the filters {quote(name)} of shape {tuple(shape)} take "
            f"{order.stored(array.itemsize):,} numbers, and the file has {array.shape}"
        )
    return PackedConstant(tuple(shape), order, aligned(array))


def _check_read_as_filters(packed: Mapping[str, object], steps: Sequence[object]) -> None:
    """Packed numbers are the filters of convolutions and linear maps, and nothing else."""
    for number, step in enumerate(steps, 1):
        match step:
            case [str(op), list(names), *_]:
                filters = 1 if op in ("conv2d", "linear") else -1
                others = {n for k, n in enumerate(names) if k != filters and type(n) is str}
                if others & packed.keys():
                    raise FormatError(
                        f"step {number}, {quote(op)}, reads packed filters as other numbers"
                    )
