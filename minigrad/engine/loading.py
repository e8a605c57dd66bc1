"""Plans read from disk: the format is that of ``files``.

A file is never trusted.  Reading it means to record its steps anew from shapes alone: those of
common kinds by arithmetic (``outline``), all others by calling the public functions that they
name, which check every argument (``loading_calls``).  All else (fusion, blocks, places in
memory) is decided anew from what they record, so no file can make a kernel leave its arrays.
Filters that were packed for this machine's instruction set are used where they lie: their
shape decides how many numbers they must be, and any numbers are filters.
"""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING, Any, Literal, NoReturn, overload

from minigrad.engine.outline import VERSION
from minigrad.engine.packing import register_bytes
from minigrad.engine.plan import Plan
from minigrad.engine.saved import Saved
from minigrad.errors import FormatError, quote, shown
from minigrad.formats.json_scanner import parse
from minigrad.formats.limits import Budget, default_limit
from minigrad.formats.safetensors import read_safetensors
from minigrad.formats.source import source
from minigrad.kernels.cython.core import current_level
from minigrad.threads import thread_count

if TYPE_CHECKING:
    from minigrad.engine.build import OpenPlan
    from minigrad.engine.several import JointPlan

__all__ = ["load_plan"]


@overload
def load_plan(
    path: str | os.PathLike[str],
    *,
    threads: int | None = None,
    mmap: bool = False,
    any_shape: Literal[False] = False,
) -> Plan: ...
@overload
def load_plan(
    path: str | os.PathLike[str],
    *,
    threads: int | None = None,
    mmap: bool = False,
    any_shape: Literal[True],
) -> OpenPlan: ...
def load_plan(
    path: str | os.PathLike[str], *, threads: int | None = None, mmap: bool = False,
    any_shape: bool = False,
) -> Plan | OpenPlan | JointPlan:  # fmt: skip
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
    any_shape : bool
        Take any batch, and any size for which the saved steps are the network's (a ShapeError
        says where they are not).  All shapes share the weights of the file.

    Returns
    -------
    Plan, or OpenPlan for any shape
        Of a file that a plan of several inputs wrote, a JointPlan.

    Raises
    ------
    FormatError
        If the file is broken, hostile, or no plan.
    ArgumentError
        If any shape is asked of a plan of several inputs.
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
    >>> mg.load_plan(path, any_shape=True)(np.ones((2, 3, 7, 7), np.float32)).shape
    (2, 8, 5, 5)
    """
    workers = None if threads is None else thread_count(threads)
    name = shown(os.fspath(path), 5000)
    try:
        network = _read(os.fspath(path), mmap)
        plan = network.plan(workers)
    except FormatError as error:
        raise FormatError(f"{name}: {error}") from None
    if network.is_packed and network.register != register_bytes() and (here := current_level()):
        warnings.warn(
            f"{name} was packed for {network.isa}, and this machine runs {here}: "
            f"its weights are packed anew, which a file that is saved on this machine spares",
            stacklevel=2,
        )
    if any_shape:
        from minigrad.engine.loading_shapes import for_any_shape  # here and below: few ask for it

        return for_any_shape(network, name, workers)
    if network.inputs:
        from minigrad.engine.several import JointPlan

        names, shapes = zip(*network.inputs, strict=True)
        return JointPlan(plan, shapes, names if all(names) else ())
    return plan


def _read(path: str, mapped: bool) -> Saved:
    """What a file says, checked."""
    with source(path, mapped=mapped) as file:
        state = read_safetensors(file, Budget(default_limit(file.size)))
    version = state.metadata.pop("minigrad.plan", None)
    if version != VERSION:
        raise FormatError(_other(version))
    return Saved(state, _parsed(state.metadata.pop("minigrad.steps", "")))


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
        return parse(text, parse_constant=refuse)
    except (ValueError, RecursionError):
        raise FormatError("the steps of the plan are not JSON") from None
