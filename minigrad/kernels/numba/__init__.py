"""Every function of the contract in Numba: vector instructions, compiled when first used.

A second engine, independent of the Cython core: another compiler, other tiles, the same sums
in the same order, hence the same bits.  Its kernels are Numba's Python, in the words of the
core's templates of the same names (``ext/``).  Read in this order:

    _segments    which taps a position has, and where they read: plain Python
    _vectors     a vector as a type, and what can be done with one: the only LLVM here
    _template    kernels as templates: small loops become registers
    _expansion, _compiler    how: the syntax tree written out, and what Numba does with it
    _cache       compiled kernels on disk, held to a checksum
    _launch      compiling a kernel, and running a job on several threads
    layout       putting channels last, and packing weights
    dense        T(x, w, g) of all channels, and any window: forward and input gradient
    _strips      which columns a strip of a small depthwise window reads
    depthwise    T(x, w, g) of one channel each: forward and input gradient
    _blocks      sums over the pixels of a batch, block by block
    dense_gradients, depthwise_gradients    the weight gradients
    _convolution    all of these on arrays
    _vmath       exp, log and what is made of them
    elementwise, reductions, normalisation, pooling    the other functions

Of the three arguments of T a kernel fixes the place of one and sums over what the other two
have in common.  ``depthwise`` and ``dense`` sum over taps, for the place of y or, with the
same code, of x; the gradients sum over pixels, for the place of w.

The templates of ``ext/`` are not shared.  It can be done: the task of ``elementwise.pyx.tp``
becomes a kernel of this package by seven substitutions (types and casts go, addresses count
bytes, names lose their element).  But the others return registers through pointers, choose
functions from tables, fetch ahead and go around faults of one C compiler.  They would need a
translator as long as ``_expansion``, and ``ext/`` with Cython's Tempita on the user's machine.
What both engines read are ``kernels/tables`` and ``kernels/polynomials``; both have their sums
over axes from ``kernels/sums``, and batch normalisation from ``kernels/batch_norm``.  Softmax
(``kernels/softmax``) and the formulas without an exponential (``kernels/formulas``) are NumPy's.

Plain loops, in which LLVM finds the vectors, would be no shorter and, where sums stay in
registers, slower (benchmarks/README.md).

Importing this package does not import Numba: a function's file is imported when it is asked
for.

What may be changed: tiles, templates and tasks; not the order of a sum, which gives the
bits of the compiled core (tests/kernels/test_numba_order.py).
"""

from __future__ import annotations

import importlib.util

from minigrad.demand import on_demand
from minigrad.kernels.tables import FUNCTIONS_OF_ONE

UNAVAILABLE: str | None = (
    None
    if importlib.util.find_spec("numba")
    else "the backend 'numba' needs the package numba: pip install 'minigrad-cpu[numba]'"
)

on_demand(
    __name__,
    {
        f"{__name__}._convolution": "conv2d conv2d_input_grad conv2d_weight_grad linear",
        f"{__name__}.elementwise": " ".join(
            name for f in FUNCTIONS_OF_ONE for name in (f.name, f.input_grad if f.slope else "")
        ),
        f"{__name__}.normalisation": (
            "batch_norm batch_norm_input_grad batch_norm_statistics batch_norm_sums"
        ),
        f"{__name__}.pooling": (
            "avg_pool2d avg_pool2d_input_grad global_avg_pool max_pool2d max_pool2d_gather "
            "max_pool2d_input_grad"
        ),
        f"{__name__}.reductions": (
            "log_softmax log_softmax_input_grad softmax softmax_input_grad sum"
        ),
    },
)
