"""Plans read from disk: the format is that of ``files``.

A file is never trusted.  Reading it means to call the public functions that its steps name, on
shapes alone, as a model would: they check every argument.  All else (fusion, blocks, places in
memory) is decided anew from what they record, so no file can make a kernel leave its arrays.
Filters that were packed for this machine's instruction set are used where they lie: their
shape decides how many numbers they must be, and any numbers are filters.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NoReturn

import numpy as np

from minigrad import ops
from minigrad.arguments import LARGEST
from minigrad.engine.build import LAYOUTS, recorded
from minigrad.engine.design import design
from minigrad.engine.files import PLAIN, VERSION
from minigrad.engine.fuse import FOLDS, rewrite
from minigrad.engine.graph import Constant, Graph
from minigrad.engine.loading_moves import MOVES, Inputs, Params, given
from minigrad.engine.packing import REGISTERS, Order, PackedConstant, aligned, register_bytes
from minigrad.engine.plan import Plan
from minigrad.engine.trace import Symbol
from minigrad.errors import FormatError, MinigradError, quote, shown
from minigrad.formats.limits import Budget, default_limit
from minigrad.formats.safetensors import read_safetensors
from minigrad.formats.source import source
from minigrad.formats.state_dict import StateDict
from minigrad.kernels.cython.core import current_level
from minigrad.tensor import FLOATS, Array, Tensor, from_numpy, scope
from minigrad.threads import thread_count

__all__ = ["load_plan"]

MOST_STEPS = 2000
MOST_IMAGES = 1 << 16
MOST_INPUTS = 64  # of a step


def _conv2d(inputs: Inputs, params: Params) -> Tensor:
    stride, padding, dilation, groups = params["spec"]
    x, w, bias = inputs
    return ops.conv2d(given(x), given(w), bias, stride, padding, dilation, groups)


def _max_pool2d(inputs: Inputs, params: Params) -> Tensor:
    return ops.max_pool2d(given(inputs[0]), *params["window"])


def _avg_pool2d(inputs: Inputs, params: Params) -> Tensor:
    kernel, stride, padding, _, ceil_mode = params["window"]
    counts = params["count_include_pad"]
    return ops.avg_pool2d(given(inputs[0]), kernel, stride, padding, ceil_mode, counts)


def _batch_norm(inputs: Inputs, params: Params) -> Tensor:
    x, mean, var, gamma, beta = map(given, inputs)
    return ops.batch_norm(x, mean, var, gamma, beta, eps=params["eps"])


def _plain(name: str) -> Callable[[Inputs, Params], Tensor]:
    """The public function of a primitive without parameters."""

    def call(inputs: Inputs, params: Params) -> Tensor:
        made: Tensor = getattr(ops, name)(*inputs)
        return made

    return call


CALLS: dict[str, Callable[[Inputs, Params], Tensor]] = {
    "conv2d": _conv2d,
    "max_pool2d": _max_pool2d,
    "avg_pool2d": _avg_pool2d,
    "batch_norm_eval": _batch_norm,
    "reshape": lambda inputs, params: ops.reshape(given(inputs[0]), *params["shape"]),
    "broadcast_to": lambda inputs, params: ops.broadcast_to(given(inputs[0]), params["shape"]),
    "transpose": lambda inputs, params: ops.permute(given(inputs[0]), *params["axes"]),
    "sum": lambda inputs, params: ops.sum(given(inputs[0]), params["axes"], params["keepdims"]),
    "concat": lambda inputs, params: ops.concat([*map(given, inputs)], params["axis"]),
    **MOVES,
    **{name: _plain(name) for name in PLAIN},
}


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
        network = _Recorded(state, _parsed(state.metadata.pop("minigrad.steps", "")))
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


class _Recorded:
    """The network that a plan file describes, as a model: call it with a Symbol."""

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
        if not all(text.isprintable() and len(text) <= 200 for text in (name, isa)):
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
        self.known: dict[int, Constant] = {}
        self.constants = self._constants(state, packed)
        self.metadata = state.metadata
        self.last: dict[int, str] = {}  # by the number of the value that a step makes

    def _constants(
        self, state: Mapping[str, Array], packed: dict[str, object]
    ) -> dict[str, Tensor]:
        """What the steps may read beside maps; packed filters are known by shape alone."""
        if (self.register not in REGISTERS and packed) or not packed.keys() <= state.keys():
            raise FormatError("the plan says of tensors that are not there that they are packed")
        _check_read_as_filters(packed, self.steps)
        arrays = {name: array for name, array in state.items() if array.dtype in FLOATS}
        for name, described in packed.items():
            filters = _filters(name, state[name], described, self.register)
            arrays[name] = filters.key
            self.known[id(filters.key)] = filters
        return {name: from_numpy(array) for name, array in arrays.items()}

    def plan(self, threads: int | None) -> Plan:
        """The plan, recorded from the file's steps."""
        try:
            traced = recorded(self, self.shape, np.dtype(self.dtype), self.known)
            graph, notes = rewrite(self._named(traced), FOLDS)
            plan = design(graph, notes, self.name)
            return Plan(plan, threads, self.layout, about=partial(dict[str, str], self.metadata))
        except FormatError:
            raise
        except (MinigradError, TypeError, ValueError, LookupError, OverflowError) as error:
            raise FormatError(f"the plan cannot be run: {quote(str(error), 300)}") from None

    def _named(self, graph: Graph) -> Graph:
        """The recorded steps with the last layer whose work each does."""
        return graph.with_steps(
            {
                number: step._replace(absorbed=(self.last.get(number, step.layer),))
                for number, step in graph.steps.items()
            }
        )

    def __call__(self, x: Tensor) -> Tensor | list[Tensor]:
        values = {**self.constants, "0": x}
        for number, described in enumerate(self.steps, 1):
            y, last = _called(described, values, f"step {number}")
            values[str(number)], self.last[y.value.number] = y, last
        made = [values[name] for name in _names(self.outputs, values, "the outputs")]
        return made[0] if self.returns_one and len(made) == 1 else made


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


def _names(names: Any, values: dict[str, Tensor], place: str) -> Iterator[str]:
    """Names of values that are there."""
    for name in names:
        if not isinstance(name, str) or name not in values:
            raise FormatError(f"{place} reads {quote(name)}, which is not there")
        yield name


def _called(described: object, values: dict[str, Tensor], place: str) -> tuple[Symbol, str]:
    """What a step makes, exactly one primitive, the one that it names; and its last layer."""
    match described:
        case [str(op), list(names), dict(params), str(layer), str(last)] if op in CALLS:
            pass
        case _:
            raise FormatError(f"{place} is not an operation with inputs, parameters and layers")
    if len(names) > MOST_INPUTS:
        raise FormatError(f"{place} reads {len(names)} values, and {MOST_INPUTS} are the most")
    for name in (layer, last):
        if not name.isprintable() or len(name) > 200:
            raise FormatError(f"{place} has the layer {quote(name)}, which is no name")
    read = [name for name in names if name is not None]
    tensors = {name: values[name] for name in _names(read, values, place)}
    inputs = [None if name is None else tensors[name] for name in names]
    with scope(layer):
        y = CALLS[op](inputs, params)
    if not isinstance(y, Symbol) or any(y is x for x in inputs):
        raise FormatError(f"{place}, {op}, does not depend on the input")
    return y, last
