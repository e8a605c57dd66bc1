"""Plans read from disk: the format is that of ``files``.

A file is never trusted.  Reading it means to call the public functions that its steps name, on
shapes alone, as a model would: they check every argument.  All else (fusion, blocks, places in
memory, packing for this machine's instruction set) is decided anew from what they record, so no
file can make a kernel leave its arrays.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import numpy as np

from minigrad import ops
from minigrad.arguments import LARGEST
from minigrad.engine.build import LAYOUTS, Recipe
from minigrad.engine.files import PLAIN, VERSION
from minigrad.engine.loading_moves import MOVES, Inputs, Params, given
from minigrad.engine.plan import Plan
from minigrad.engine.trace import Symbol
from minigrad.errors import FormatError, MinigradError, quote, shown
from minigrad.formats.limits import Budget, default_limit
from minigrad.formats.safetensors import read_safetensors
from minigrad.formats.source import source
from minigrad.tensor import FLOATS, Array, Tensor, from_numpy, scope
from minigrad.threads import thread_count

__all__ = ["load_plan"]

MOST_STEPS = 2000
MOST_IMAGES = 1 << 16


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
    one from anywhere, and its weights are packed for the instruction set of this machine.

    Parameters
    ----------
    path : path
    threads : int, optional
        How many threads the plan uses; by default what ``num_threads`` says at each call.
    mmap : bool
        Map the file instead of reading it.  Its weights are read when they are packed.  A file
        that is cut while the plan is in use can end the process.

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
        if state.metadata.get("minigrad.plan") != VERSION:
            raise FormatError("the file is no plan of this version of minigrad")
        return _Recorded(state, _parsed(state.metadata.get("minigrad.steps", ""))).plan(workers)
    except FormatError as error:
        raise FormatError(f"{shown(name, 5000)}: {error}") from None


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

    def __init__(self, arrays: dict[str, Array], described: object) -> None:
        self.constants = {
            name: from_numpy(array) for name, array in arrays.items() if array.dtype in FLOATS
        }
        match described:
            case {
                "input": list(shape), "dtype": "float32" | "float64" as dtype,
                "layout": str(layout), "name": str(name), "steps": list(steps),
                "outputs": list(outputs), "returns_one": bool(returns_one),
            }:  # fmt: skip
                pass
            case _:
                raise FormatError("the plan does not say its input, steps and outputs")
        if not name.isprintable() or len(name) > 200:
            raise FormatError(f"{quote(name)} is no name of a network")
        if layout not in LAYOUTS or not 0 < len(steps) <= MOST_STEPS or len(outputs) > len(steps):
            raise FormatError(f"a plan has 1 to {MOST_STEPS} steps, a layout, and fewer outputs")
        if not all(type(n) is int and 0 <= n <= LARGEST for n in shape) or len(shape) > 8:
            raise FormatError(f"the input's shape {quote(str(shape))} is none")
        if shape and shape[0] > MOST_IMAGES:
            raise FormatError(f"a plan in a file takes at most {MOST_IMAGES:,} images")
        self.shape, self.dtype, self.layout, self.name = tuple(shape), dtype, layout, name
        self.steps, self.outputs, self.returns_one = steps, outputs, returns_one

    def plan(self, threads: int | None) -> Plan:
        """The plan, recorded from the file's steps."""
        recipe = Recipe(self, threads, False, np.dtype(self.dtype), self.layout, owned=True)
        try:
            return recipe.plan(self.shape)
        except FormatError:
            raise
        except (MinigradError, TypeError, ValueError, LookupError, OverflowError) as error:
            raise FormatError(f"the plan cannot be run: {quote(str(error), 300)}") from None

    def __call__(self, x: Tensor) -> Tensor | list[Tensor]:
        values = {**self.constants, "0": x}
        for number, described in enumerate(self.steps, 1):
            values[str(number)] = _called(described, values, f"step {number}")
        made = [values[name] for name in _names(self.outputs, values, "the outputs")]
        return made[0] if self.returns_one and len(made) == 1 else made


def _names(names: Any, values: dict[str, Tensor], place: str) -> Iterator[str]:
    """Names of values that are there."""
    for name in names:
        if not isinstance(name, str) or name not in values:
            raise FormatError(f"{place} reads {quote(name)}, which is not there")
        yield name


def _called(described: object, values: dict[str, Tensor], place: str) -> Tensor:
    """What a step makes: exactly one primitive, the one that it names."""
    match described:
        case [str(op), list(names), dict(params), str(layer)] if op in CALLS and len(names) <= 64:
            pass
        case _:
            raise FormatError(f"{place} is not an operation with inputs, parameters and a layer")
    if not layer.isprintable() or len(layer) > 200:
        raise FormatError(f"{place} has the layer {quote(layer)}, which is no name")
    read = [name for name in names if name is not None]
    tensors = {name: values[name] for name in _names(read, values, place)}
    inputs = [None if name is None else tensors[name] for name in names]
    with scope(layer):
        y = CALLS[op](inputs, params)
    if not isinstance(y, Symbol) or any(y is x for x in inputs):
        raise FormatError(f"{place}, {op}, does not depend on the input")
    return y
