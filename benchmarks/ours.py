"""minigrad's own kernels as engines.

Two calls can be timed, on channels-last input as between two layers of a network:

* bound (the default, where the backend offers ``pack`` and ``bind_...``): weights packed,
  buffers given, arguments checked before the clock starts.  It is what a plan runs for each
  layer, and what the peers were asked for.
* eager: the contract's function, which checks its arguments and makes a new output each time;
  with packed weights where the backend offers ``pack``.

Threads are those of ``minigrad.threads.threads``.  Kernels are found with ``strict=True``, so
that no other backend can stand in.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks.work import FUNCTIONS, Work, empty_channels_last
from minigrad import kernels
from minigrad.kernels.contract import Array
from minigrad.threads import num_threads

__all__ = ["Bound", "Eager", "ours"]


def ours(work: Work, backend: str, eager: bool = False) -> Eager | Bound:
    """The engine that ``backend`` has for this work; a BackendError if it has none."""
    kind = kernels.classify(work.spec, work.w.shape)
    with kernels.backend(backend, strict=True):
        kernel = kernels.find(FUNCTIONS[work.direction], kind)
    module = kernels.dispatch.module_of(backend)
    if work.direction != "forward":
        bind = None if eager else getattr(module, f"bind_{work.direction}", None)
        return _gradient(work, bind) if bind else Eager(kernel.call, work.arguments())
    if not hasattr(module, "pack"):
        return Eager(kernel.call, work.arguments())
    packed = module.pack(work.w, work.spec)
    if eager or not hasattr(module, "bind_conv2d"):
        return Eager(kernel.call, (work.x, packed, work.bias, work.spec))
    y = module.empty_channels_last(work.expected.shape, work.x.dtype)
    return Bound(module.bind_conv2d(work.x, packed, y, work.bias), y)


def _gradient(work: Work, bind: Callable[..., Any]) -> Bound:
    """A bound gradient; of an input gradient the weights are packed before the clock starts."""
    cotangent, other, shape, spec = work.arguments()
    gradient = np.empty(shape, cotangent.dtype)
    if len(shape) == 4 and work.direction == "input_grad":
        gradient = empty_channels_last(shape)
    elif kernels.classify(spec, shape) == "depthwise":
        c, _, kh, kw = shape
        gradient = np.empty((kh, kw, c), cotangent.dtype).transpose(2, 0, 1)[:, None]
    return Bound(bind(cotangent, other, gradient, spec), gradient)


class Eager:
    """A function of the contract and its arguments."""

    call, reorders = "eager", False

    def __init__(self, function: Callable[..., Array], arguments: tuple[Any, ...]) -> None:
        self._function = partial(function, *arguments)
        self._output: Any = None

    def run(self) -> None:
        self._output = self._function()

    def output(self) -> Array:
        output: Array = self._output
        return output


class Bound:
    """A bound call, and the array that it writes to."""

    call, reorders = "bound", False

    def __init__(self, bound: Any, y: Array) -> None:
        self._bound, self._y, self._threads = bound, y, num_threads()

    def run(self) -> None:
        self._bound.run(self._threads)

    def output(self) -> Array:
        return self._y
