"""The same sums in loops, NumPy, Numba and Cython: ndarray in, ndarray out.

contract     what every function means: the table of all
checks       what a call must fulfil
tables       constants, element types, functions of one number, which ext/ reads too
dispatch     which backend's function runs
reference    the definition, in plain loops
layout       how arrays lie in memory
formulas     activations and slopes, for NumPy and Numba
polynomials  what exp, log and the sigmoid are made of, which ext/ reads too
sums, softmax, batch_norm    the same functions, of a backend's sums, exp and log
numpy, numba, cython    the others, in files of the same names (that of cython calls ext/)

What may be changed: ``contract`` and ``tables`` say what results are: a change there is a
change of bits, and goes with a new tests/golden/bits.json. ``dispatch`` may choose as it
likes, and ``checks`` may refuse more or say it better (tests/kernels/test_dispatch.py).
"""

from typing import TYPE_CHECKING

from minigrad.demand import on_demand

if TYPE_CHECKING:
    from minigrad.geometry import classify
    from minigrad.kernels.dispatch import (
        BACKENDS,
        CHAINS,
        Kernel,
        backend,
        backends,
        current_backend,
        find,
        run,
        unavailable,
    )

__all__ = [
    "BACKENDS",
    "CHAINS",
    "Kernel",
    "backend",
    "backends",
    "classify",
    "current_backend",
    "find",
    "run",
    "unavailable",
]

on_demand(
    __name__,
    {
        "minigrad.geometry": "classify",
        "minigrad.kernels.dispatch": "BACKENDS CHAINS Kernel backend backends current_backend "
        "find run unavailable",
    },
)
