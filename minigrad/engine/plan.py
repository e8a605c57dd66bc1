"""A plan: a network recorded once, simplified, and run with nothing of Python between kernels.

    plan = compile(model, shape)      record, rewrite, place, pack, bind
    y = plan(x)                       run the bound calls, one after the other

A plan is data, the steps of a Graph, with two interpreters.  ``interpret`` is their
definition: each step its primitive, and around it what was fused into it, on whatever
backend is current.  ``execute`` binds the steps to compiled kernels in one arena, a batch
image by image where that keeps its maps in cache (``schedule``).  The two agree to the bit
on the compiled backend.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from minigrad.engine.design import Design, design
from minigrad.engine.execute import Execution
from minigrad.engine.fuse import Note, rewrite
from minigrad.engine.graph import Constant, Graph, Step
from minigrad.engine.interpret import interpret
from minigrad.engine.schedule import Schedule
from minigrad.engine.trace import trace
from minigrad.errors import ArgumentError, BackendError, DtypeError, GraphError, ShapeError
from minigrad.kernels import unavailable
from minigrad.resources import check_memory
from minigrad.tensor import FLOATS, Array, Shape, Tensor
from minigrad.threads import num_threads, thread_count
from minigrad.threads import threads as use_threads

if TYPE_CHECKING:
    import numpy.typing as npt

    from minigrad.engine.describe import Profile

__all__ = ["Plan", "compile", "interpret"]


class Plan:
    """A network compiled for one input shape; call it with a batch.

    Built by ``compile``.  The weights are copied: training the model further does not
    change the plan.  A plan may be called from several Python threads at the same time, each
    call in memory of its own, be pickled, and be used after fork.

    Attributes
    ----------
    design : Design
        All that was decided: steps, notes, schedule, and where each value lies.
    threads : int or None
        How many threads it uses; None means as many as ``num_threads`` says at each call.
    """

    def __init__(self, plan: Design, threads: int | None = None) -> None:
        self.design, self.threads = plan, threads
        self._execution: Execution | None = None

    @property
    def name(self) -> str:
        """Of the network."""
        return self.design.name

    @property
    def graph(self) -> Graph:
        """The steps that run, after rewriting, whole blocks among them."""
        return self.design.graph

    @property
    def unfused(self) -> Graph:
        """The same with the parts of each block as steps of their own: the same bits."""
        return self.design.unfused

    @property
    def notes(self) -> Sequence[Note]:
        """What each rewrite did or did not do, and why."""
        return self.design.notes

    @property
    def schedule(self) -> Schedule:
        """Which steps see one image of a batch at a time, and which several."""
        return self.design.schedule

    @property
    def arena_bytes(self) -> int:
        """Memory of all activations together, with one thread.

        Further threads that work on images of their own have ``schedule.head_bytes`` each.
        """
        return self.schedule.arena_bytes

    @property
    def scratch_bytes(self) -> int:
        """Memory that each thread needs besides, for the rows of streamed blocks."""
        return self.design.scratch_bytes

    def __call__(self, x: npt.ArrayLike | Tensor, threads: int | None = None) -> Array:
        """The output for a batch.

        Without the compiled core the plan is interpreted, on the backend that is current.

        Parameters
        ----------
        x : array_like or Tensor
            Of the plan's shape and dtype, in any memory order.
        threads : int, optional
            For this call; by default the plan's own number.

        Returns
        -------
        ndarray
            A new array.  Of a model that returns a list, a list of arrays (see ``outputs``).

        Raises
        ------
        ShapeError, DtypeError
            If x has another shape or dtype.
        ArgumentError
            If ``threads`` is no integer, or below 1.
        """
        made = self.outputs(x, threads)
        return made[0] if self.graph.returns_one else cast(Array, made)

    def outputs(self, x: npt.ArrayLike | Tensor, threads: int | None = None) -> list[Array]:
        """The outputs for a batch, as a list also where there is one; see ``__call__``."""
        array, workers = self._checked(x), self._workers(threads)
        if unavailable("cython"):
            with use_threads(workers):
                return interpret(self.unfused, array)
        return self._bound()(array, workers)

    def _workers(self, threads: int | None) -> int:
        """The number of threads of a call: its own, the plan's, or the context's."""
        if threads is not None:
            return thread_count(threads)
        return num_threads() if self.threads is None else self.threads

    def _bound(self) -> Execution:
        """The bound steps; of two threads that come first one's work is thrown away."""
        if self._execution is None:
            made = Execution(self.schedule)
            self._execution = self._execution or made
        return self._execution

    def _checked(self, x: npt.ArrayLike | Tensor) -> Array:
        """The batch as an array of the plan's shape and dtype."""
        try:
            array = x.array if isinstance(x, Tensor) else np.asarray(x)
        except (TypeError, ValueError):
            raise ShapeError(
                f"this plan takes a batch of shape {self.graph.shape}, got what is no array: "
                f"{_quoted(x)}"
            ) from None
        if array.dtype != self.graph.dtype:
            got = f"{_quoted(x)}, of dtype {array.dtype}" if array.ndim == 0 else array.dtype
            raise DtypeError(f"this plan takes {self.graph.dtype}, got {got}")
        if array.shape != self.graph.shape:
            raise ShapeError(
                f"this plan takes a batch of shape {self.graph.shape}, got {array.shape}"
            )
        return array

    def intermediates(
        self, x: npt.ArrayLike | Tensor, names: str | Iterable[str] | None = None
    ) -> dict[str, Array]:
        """The output of each layer (of ``names``, or all), step by step.

        A layer whose work was fused into another's has no value of its own; the fused
        value stands under the name of the last of them.
        """
        array = self._checked(x)
        wanted = None if names is None else {names} if isinstance(names, str) else set(names)
        found: dict[str, Array] = {}

        def watch(step: Step, value: Array) -> None:
            if wanted is None or step.last_layer in wanted:
                found[step.last_layer] = value.copy()

        interpret(self.unfused, array, watch)
        unknown = sorted(map(str, (wanted or set()) - set(found)))
        if unknown:
            known = dict.fromkeys(step.last_layer for step in self.unfused.steps.values())
            raise GraphError(
                f"the plan has no step of the name {_listed(unknown)}; its steps are "
                f"{_listed(list(known))}"
            )
        return found

    def profile(self, x: npt.ArrayLike | Tensor, repeats: int = 20) -> Profile:
        """Microseconds of every step, the median of ``repeats`` runs with batch x.

        Raises
        ------
        BackendError
            Without the compiled core, whose clocks these are.
        """
        if reason := unavailable("cython"):
            raise BackendError(f"profile: {reason}")
        if isinstance(repeats, bool) or not isinstance(repeats, int) or repeats < 1:
            raise ArgumentError(
                f"profile: repeats must be an integer of at least 1, not {repeats!r}"
            )
        array, threads = self._checked(x), self._workers(None)
        execution = self._bound()
        times = execution.times(array, repeats, threads)
        from minigrad.engine.describe import Profile

        return Profile(self.graph, times, execution.peak(threads))

    def __str__(self) -> str:
        from minigrad.engine.describe import table  # a plan that only runs has no use for it

        return table(self.design)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_execution": None}


def compile(
    model: Callable[[Tensor], Any],
    shape: Sequence[int],
    *,
    threads: int | None = None,
    fold: bool = True,
    dtype: npt.DTypeLike = np.float32,
) -> Plan:
    """Record, simplify and bind a model for one input shape.

    Parameters
    ----------
    model : Module or callable
        Tensor to Tensor (or a list of them); a Module must be in evaluation mode.
    shape : (N, C, H, W)
    threads : int, optional
        How many threads the plan uses; by default what ``num_threads`` says at each call.
    fold : bool
        Fold batch norms into the convolutions before them.  Without it the plan has the
        bits of eager evaluation on the same backend.
    dtype : float32 or float64
        Of the input, and of the model's weights.

    Raises
    ------
    GraphError
        If the model is in training mode, looks at values, or has weights of another dtype.
    """
    sizes, number = _input_shape(shape), _dtype(dtype)
    workers = None if threads is None else thread_count(threads)
    if not callable(model):
        raise GraphError(f"compile takes a Module or a function, got {_quoted(model)}")
    check_memory(math.prod(sizes) * number.itemsize, f"an input of shape {sizes}")
    named_modules = getattr(model, "named_modules", None)
    for name, module in named_modules() if named_modules else ():
        if module.training:
            where = f"its layer {name!r}" if name else "the model"
            raise GraphError(f"{where} is in training mode: call model.eval() before compile")
    traced = trace(model, sizes, number)
    size = sum(value.nbytes for value in traced.outputs)
    check_memory(size, f"the output for an input of shape {sizes}")
    graph, notes = rewrite(traced, () if fold else ("fold batch norm",))
    name = getattr(model, "name", "") or type(model).__name__
    return Plan(design(_own(graph, traced), notes, name), workers)


def _input_shape(shape: Sequence[int]) -> Shape:
    """The shape as a tuple of int."""
    try:
        sizes = tuple(operator.index(n) for n in shape)
    except TypeError:
        sizes = (-1,)
    if any(n < 0 for n in sizes):
        raise ShapeError(
            f"compile: shape must be the sizes of the input, such as (1, 3, 224, 224), "
            f"not {_quoted(shape)}"
        )
    return sizes


def _dtype(dtype: npt.DTypeLike) -> np.dtype[Any]:
    try:
        if dtype is not None and (number := np.dtype(dtype)) in FLOATS:
            return number
    except TypeError:
        pass
    raise DtypeError(f"compile: dtype must be float32 or float64, not {_quoted(dtype)}")


def _listed(names: Sequence[str], most: int = 6) -> str:
    """Names with commas between them, not too many."""
    rest = len(names) - most
    return ", ".join(map(_quoted, names[:most])) + (f" and {rest} more" if rest > 0 else "")


def _quoted(value: Any) -> str:
    """A value for a message, cut to a readable length."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."


def _own(graph: Graph, traced: Graph) -> Graph:
    """The graph with copies of the constants it shares with the model, which may change them.

    What folding made is the plan's own already.
    """
    steps = traced.steps.values()
    shared = {id(constant.array) for step in steps for constant in step.constants()}
    shared.update(id(value) for step in steps for value in step.params.values())
    copies: dict[int, Array] = {}

    def mine(array: Array) -> Array:
        if id(array) not in shared:
            return array
        if id(array) not in copies:
            copies[id(array)] = array.copy()
        return copies[id(array)]

    def own(step: Step) -> Step:
        inputs = tuple(
            Constant(mine(r.array)) if isinstance(r, Constant) else r for r in step.inputs
        )
        params = {k: mine(v) if isinstance(v, np.ndarray) else v for k, v in step.params.items()}
        return replace(step, inputs=inputs, params=params)

    return graph.with_steps({k: own(step) for k, step in graph.steps.items()})
