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

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias, cast

import numpy as np

from minigrad.arguments import integer
from minigrad.arrays import Array
from minigrad.engine.batches import Batches
from minigrad.engine.bind import PackedWeights
from minigrad.engine.design import Design, classifier_input, design
from minigrad.engine.execute import Execution
from minigrad.engine.graph import Graph, Value, needed
from minigrad.engine.schedule import Schedule
from minigrad.errors import BackendError, GraphError, listing
from minigrad.kernels.cython.core import REASON, current_level
from minigrad.threads import num_threads, thread_count
from minigrad.threads import threads as use_threads

if TYPE_CHECKING:
    import numpy.typing as npt

    from minigrad.engine.describe import Profile
    from minigrad.engine.graph import Note
    from minigrad.engine.scaling import Scaling
    from minigrad.tensor import Tensor

__all__ = ["About", "Plan"]

About: TypeAlias = "Callable[[], dict[str, str]]"


class Plan:
    """A network compiled for one input shape; call it with a batch.

    Built by ``compile``.  The weights are copied: training the model further does not
    change the plan.  A plan may be called from several Python threads at the same time, each
    call in memory of its own, be pickled, and be used after fork.

    Parameters
    ----------
    plan : Design
        See ``design.design``.
    threads : int, optional
    layout : str
    packed : dict, optional
        Packed weights that it shares with other plans.
    about : callable, optional
        What gives ``metadata``.
    scaling : Scaling, optional
        How bytes become numbers, if the plan takes photographs of bytes.

    Attributes
    ----------
    design : Design
        All that was decided: steps, notes, schedule, and where each value lies.
    threads : int or None
        How many threads it uses; None means as many as ``num_threads`` says at each call.
    layout : str
        "NCHW", or "NHWC" if maps come in and go out with their channels last.
    scaling : Scaling or None
    batches : Batches
        The arrays that go in and out.

    Notes
    -----
    Concurrent callers.  A call takes a free arena, or makes one, and leaves it for later calls;
    as many are kept as there are CPUs.  No call waits for another.  All share one pool of
    threads: during each step it works for the first caller that asks for it, and the others do
    that step alone.  So with as many callers as CPUs, let each use one thread (``threads=1``,
    here, in ``compile``, or with ``minigrad.set_threads`` in each worker: a
    ``ThreadPoolExecutor`` does not inherit ``with minigrad.threads(1)``).  The answer is
    the same to the bit for any number of threads, callers and images.

    Arrays.  Maps may lie in any memory order.  Channels-last ones, which are NCHW views of NHWC
    memory or come with ``layout="NHWC"``, are read and written where they are.  Others are copied,
    an image at a time.  float16 is read as float32, and written as float16 if x was float16.

    Examples
    --------
    >>> import minigrad as mg, numpy as np
    >>> plan = mg.compile(mg.nn.Conv2d(3, 8, 1).eval(), (1, 3, 4, 4))
    >>> plan(np.zeros((1, 3, 4, 4), np.float32)).shape
    (1, 8, 4, 4)
    """

    def __init__(
        self,
        plan: Design,
        threads: int | None = None,
        layout: str = "NCHW",
        packed: PackedWeights | None = None,
        about: About | None = None,
        scaling: Scaling | None = None,
    ) -> None:
        self.design, self.threads, self.layout, self.scaling = plan, threads, layout, scaling
        self.batches = Batches(plan.graph, layout, scaling)
        self._packed: PackedWeights = {} if packed is None else packed
        self._execution: Execution | None = None
        self._features: Plan | None = None
        self._watching: Plan | None = None
        self._about = about

    @property
    def name(self) -> str:
        """Of the network."""
        return self.design.name

    @property
    def metadata(self) -> dict[str, str]:
        """What the network says of itself, as text by name.

        Of a network of ``minigrad.models`` its name, the names of the classes and how photographs
        are prepared, where they are known; ``minigrad.models.Description.of`` reads them.  They
        are saved with the plan.
        """
        return {} if self._about is None else self._about()

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

    def __call__(
        self,
        x: npt.ArrayLike | Tensor,
        threads: int | None = None,
        out: Array | Sequence[Array] | None = None,
    ) -> Array:
        """The output for a batch.

        Without the compiled core the plan is interpreted, on the backend that is current.

        Parameters
        ----------
        x : array_like or Tensor
            Of the plan's shape and dtype, in any memory order.  Channels-last memory is the
            cheapest: it is read where it is.  Beside float32 it may be float16, and uint8 if the
            plan was compiled with a ``preparation``.
        threads : int, optional
            For this call; by default the plan's own number.
        out : ndarray, optional
            Where the output is written, instead of a new array; of a model that returns a
            list, a list of arrays.  Of the output's dtype, or float16 for float32.  Such a call
            allocates no memory for arrays, unless x and ``out`` overlap.

        Returns
        -------
        ndarray
            ``out``, or a new array, whose maps lie channels-last in memory if those of x do.
            Of a model that returns a list, a list of arrays (see ``outputs``).

        Raises
        ------
        ShapeError, DtypeError
            If x or ``out`` has another shape or dtype.
        ArgumentError
            If ``threads`` is no integer, or below 1.
        """
        places = [out] if isinstance(out, np.ndarray) else out
        made = self.outputs(x, threads, places)
        return made[0] if self.graph.returns_one else cast(Array, made)

    def outputs(
        self,
        x: npt.ArrayLike | Tensor,
        threads: int | None = None,
        out: Sequence[Array] | None = None,
    ) -> list[Array]:
        """The outputs for a batch, as a list also where there is one; see ``__call__``."""
        array, workers = self.batches.given(x), self._workers(threads)
        places = self.batches.new(array) if out is None else self.batches.places(out)
        if current_level() is None:
            from minigrad.engine.interpret import interpret

            with use_threads(workers):
                made = interpret(self.unfused, self.batches.numbers(array))
            for place, y in zip(places, made, strict=True):
                np.copyto(place, y, casting="same_kind")
        else:
            self._bound()(array, workers, places)
        return list(map(self.batches.facing, places)) if out is None else list(out)

    def features(self, x: npt.ArrayLike | Tensor, threads: int | None = None) -> Array:
        """What the classifier reads: one vector for each image.

        Parameters
        ----------
        x, threads
            As for a call.

        Returns
        -------
        ndarray
            (N, C), the input of the last linear or pointwise step before the output.

        Raises
        ------
        GraphError
            If the network does not end in a classifier of vectors.
        """
        if self._features is None:
            graph = classifier_input(self.unfused)
            plan = design(graph, self.notes, f"the features of {self.name}")
            made = Plan(plan, self.threads, self.layout, self._packed, scaling=self.scaling)
            self._features = made
        (y,) = self._features.outputs(x, threads)
        return y.reshape(y.shape[0], y.size // max(y.shape[0], 1))

    def _workers(self, threads: int | None) -> int:
        """The number of threads of a call: its own, the plan's, or the context's."""
        if threads is not None:
            return thread_count(threads)
        return num_threads() if self.threads is None else self.threads

    def _bound(self) -> Execution:
        """The bound steps; of two threads that come first one's work is thrown away."""
        if self._execution is None:
            table = None if self.scaling is None else self.scaling.table()
            made = Execution(self.schedule, self._packed, table)
            self._execution = self._execution or made
        return self._execution

    def intermediates(
        self, x: npt.ArrayLike | Tensor, names: str | Iterable[str] | None = None
    ) -> dict[str, Array]:
        """The output of each layer (of ``names``, or all), channels second, in one compiled run.

        A layer whose work was fused into another's has no value of its own; the fused
        value stands under the name of the last of them.
        """
        array = self.batches.numbers(self.batches.given(x))
        made = {step.last_layer: step.output for step in self.unfused.steps.values()}
        chosen = set(made) if names is None else {names} if isinstance(names, str) else set(names)
        if unknown := sorted(map(str, chosen - set(made))):
            raise GraphError(
                f"the plan has no step of the name {listing(unknown)}; its steps are "
                f"{listing(made, 6)}"
            )
        values = {name: value for name, value in made.items() if name in chosen}
        if not values:
            return {}
        outputs = self._watched(tuple(values.values())).outputs(array)
        return dict(zip(values, outputs, strict=True))

    def _watched(self, values: tuple[Value, ...]) -> Plan:
        """The plan that gives these values; that of the last time is kept."""
        kept = self._watching
        if kept is None or kept.graph.outputs != values:
            graph = Graph(self.graph.input, needed(self.unfused.steps, values), values, False)
            plan = design(graph, (), f"values of {self.name}")
            self._watching = kept = Plan(plan, self.threads, packed=self._packed)
        return kept

    def profile(self, x: npt.ArrayLike | Tensor, repeats: int = 20) -> Profile:
        """Microseconds of every step, the median of ``repeats`` runs with batch x.

        Raises
        ------
        BackendError
            Without the compiled core, whose clocks these are.
        """
        if current_level() is None:
            raise BackendError(f"profile: {REASON}")
        repeats = integer("profile", "repeats", repeats, least=1)
        array, threads = self.batches.given(x), self._workers(None)
        execution = self._bound()
        times = execution.times(array, repeats, threads, self.batches.new(array))
        from minigrad.engine.describe import Profile

        return Profile(self.graph, times, execution.peak(threads))

    def save(self, path: str | os.PathLike[str], metadata: Mapping[str, str] | None = None) -> None:
        """Write the plan to a file that ``load_plan`` reads.

        The file is a safetensors container: the folded weights as tensors, those of convolutions
        in the order in which the kernels of this machine read them, and as metadata the steps as
        JSON and what ``metadata`` says.

        Parameters
        ----------
        path : path
            Such as "net.plan".
        metadata : mapping of str to str, optional
            Text that travels with the plan, by default ``plan.metadata``.

        Raises
        ------
        GraphError
            If a step cannot be written: one whose parameters are no plain values.
        OSError
            If the file cannot be written.
        """
        from minigrad.engine.files import save_plan  # only a plan that is saved has use for it

        about = self.metadata if metadata is None else metadata
        save_plan(self.design, self.layout, about, path, self.scaling)

    def __repr__(self) -> str:
        from minigrad.engine.describe import line

        return f"<{line(self.design)}>"

    def __str__(self) -> str:
        from minigrad.engine.describe import table  # a plan that only runs has no use for it

        return table(self.design)

    def __getstate__(self) -> dict[str, object]:
        made = dict.fromkeys(("_execution", "_features", "_watching"))
        return {**self.__dict__, **made, "_packed": {}}
