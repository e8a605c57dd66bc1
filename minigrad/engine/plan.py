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
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad.engine.bind import has_kernel
from minigrad.engine.blocks import recognise, scratch_bytes
from minigrad.engine.execute import Execution
from minigrad.engine.fuse import Note, rewrite
from minigrad.engine.interpret import interpret
from minigrad.engine.memory import arena
from minigrad.engine.schedule import schedule, with_batch
from minigrad.engine.trace import Graph, Step, trace
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
    graph : Graph
        The steps that run, after rewriting, whole blocks among them.
    unfused : Graph
        The same with the parts of each block as steps of their own: the same bits.
    notes : list of Note
        What each rewrite did or did not do, and why.
    schedule : Schedule
        Which steps see one image of a batch at a time, and which several.
    arena_bytes : int
        Memory of all activations together, with one thread.  Further threads that work on
        images of their own have ``head_bytes`` each.
    scratch_bytes : int
        Memory that each thread needs besides, for the rows of streamed blocks.
    """

    def __init__(self, graph: Graph, notes: list[Note], name: str, threads: int | None) -> None:
        self.unfused, self.name, self.threads = graph, name, threads
        self.graph, found = _with_blocks(graph)
        self.notes = [*notes, *found]
        self.scratch_bytes = scratch_bytes(self.graph)
        self.schedule = schedule(self.graph, has_kernel)
        self._head = arena(self.schedule.head)
        self._tails = {size: arena(tail) for size, tail in self.schedule.tails.items()}
        self._execution: Execution | None = None

    @property
    def live_bytes(self) -> int:
        """The largest sum of activations needed at one step of each part of the schedule."""
        return self._head.live + max(tail.live for tail in self._tails.values())

    @property
    def one_image(self) -> Graph:
        """The unfused steps for one image; for the batch, if its images cannot be parted."""
        one = with_batch(self.unfused, 1) if len(self.unfused.shape) > 0 else None
        return one or self.unfused

    def offset(self, number: int) -> int:
        """Where a value lies in the arena, or in the arena of its image."""
        for place in (self._head, *self._tails.values()):
            if number in place.offsets:
                return place.offsets[number]
        raise KeyError(number)

    @property
    def head_bytes(self) -> int:
        """Memory of the activations of one image, up to where a batch goes on together."""
        return self._head.size

    @property
    def arena_bytes(self) -> int:
        """Memory of all activations together, with one thread."""
        return self._head.size + max(tail.size for tail in self._tails.values())

    def __call__(self, x: npt.ArrayLike | Tensor, threads: int | None = None) -> Any:
        """The outputs for a batch x of the plan's shape and dtype.

        Without the compiled core the plan is interpreted, on the backend that is current.

        Raises
        ------
        ShapeError, DtypeError
            If x is of another shape or dtype.
        """
        array, workers = self._checked(x), self._workers(threads)
        if unavailable("cython"):
            with use_threads(workers):
                outputs = interpret(self.unfused, array)
        else:
            outputs = self._bound()(array, workers)
        return outputs[0] if self.graph.returns_one else outputs

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

        def watch(number: int, value: Array) -> None:
            layer = self.layer(self.unfused.steps[number])
            if wanted is None or layer in wanted:
                found[layer] = value.copy()

        interpret(self.unfused, array, watch)
        unknown = sorted(map(str, (wanted or set()) - set(found)))
        if unknown:
            known = dict.fromkeys(self.layer(step) for step in self.unfused.steps.values())
            raise GraphError(
                f"the plan has no step of the name {_listed(unknown)}; its steps are "
                f"{_listed(list(known))}"
            )
        return found

    @staticmethod
    def layer(step: Step) -> str:
        """The name of the last layer whose work a step does."""
        return step.absorbed[-1] if step.absorbed else step.layer

    def profile(self, x: npt.ArrayLike | Tensor, repeats: int = 20) -> Profile:
        """Microseconds of every step, the median of ``repeats`` runs with batch x.

        Raises
        ------
        BackendError
            Without the compiled core, whose clocks these are.
        """
        from minigrad.engine.describe import Profile  # a plan that only runs has no use for it

        if reason := unavailable("cython"):
            raise BackendError(f"profile: {reason}")
        if isinstance(repeats, bool) or not isinstance(repeats, int) or repeats < 1:
            raise ArgumentError(
                f"profile: repeats must be an integer of at least 1, not {repeats!r}"
            )
        array, threads = self._checked(x), self._workers(None)
        execution = self._bound()
        times = execution.times(array, repeats, threads)
        return Profile(self.graph, times, execution.peak(threads))

    def __str__(self) -> str:
        from minigrad.engine.describe import table

        return table(self)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_execution": None}


def _with_blocks(graph: Graph) -> tuple[Graph, list[Note]]:
    """Whole blocks as steps; which, is decided for one image, so that no batch differs."""
    one = with_batch(graph, 1) if graph.shape and graph.shape[0] > 1 else None
    if one is None:
        return recognise(graph)
    blocks, found = recognise(one)
    whole = with_batch(blocks, graph.shape[0])
    assert whole is not None
    return whole, found


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
    size = sum(math.prod(traced.shape_of(k)) for k in traced.outputs) * number.itemsize
    check_memory(size, f"the output for an input of shape {sizes}")
    graph, notes = rewrite(traced, () if fold else ("fold batch norm",))
    graph = _own(graph, traced)
    return Plan(graph, notes, getattr(model, "name", "") or type(model).__name__, workers)


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
    shared = {id(r) for step in traced.steps.values() for r in step.inputs}
    shared.update(id(v) for step in traced.steps.values() for v in step.params.values())
    copies: dict[int, Array] = {}

    def mine(ref: Any) -> Any:
        if not isinstance(ref, np.ndarray) or id(ref) not in shared:
            return ref
        if id(ref) not in copies:
            copies[id(ref)] = ref.copy()
        return copies[id(ref)]

    def own(step: Step) -> Step:
        params = {name: mine(value) for name, value in step.params.items()}
        return replace(step, inputs=tuple(mine(r) for r in step.inputs), params=params)

    return replace(graph, steps={k: own(step) for k, step in graph.steps.items()})
