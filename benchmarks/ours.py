"""minigrad's own kernels as engines.

The timed call is the contract's function itself, found with ``strict=True`` so that no
other backend can stand in.  Input is channels-last, as between two layers of a network;
the output is a new array in every call.  Where the backend offers ``pack(w, spec)`` the
forward pass takes weights packed before the clock starts, as the peers do.
"""

from __future__ import annotations

import importlib
from functools import partial
from typing import Any

from benchmarks.work import FUNCTIONS, Work
from minigrad import kernels
from minigrad.kernels.contract import Array

__all__ = ["Ours"]


class Ours:
    """One function of one backend; threads are those of ``minigrad.threads.threads``."""

    reorders = False

    def __init__(self, work: Work, backend: str) -> None:
        kind = kernels.classify(work.spec, work.w.shape)
        with kernels.backend(backend, strict=True):
            kernel = kernels.find(FUNCTIONS[work.direction], kind)
        arguments = work.arguments()
        pack = getattr(importlib.import_module(f"minigrad.kernels.{backend}_backend"), "pack", None)
        if pack and work.direction == "forward":
            x, w, bias, spec = arguments
            arguments = x, pack(w, spec), bias, spec
        self._call = partial(kernel.call, *arguments)
        self._output: Any = None

    def run(self) -> None:
        self._output = self._call()

    def output(self) -> Array:
        output: Array = self._output
        return output
