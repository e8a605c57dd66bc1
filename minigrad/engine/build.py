"""From a model to a plan: record, rewrite, decide."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Any, Protocol, cast, overload

import numpy as np

from minigrad.arguments import index, one_of, quoted
from minigrad.engine.batches import LAYOUTS
from minigrad.engine.design import design
from minigrad.engine.fuse import FOLDS, rewrite
from minigrad.engine.graph import Constant, Graph
from minigrad.engine.plan import About, Plan
from minigrad.engine.scaling import Prepares, Scaling, scaling_of
from minigrad.engine.several import Joint, JointPlan, Shapes, input_names, shapes_of
from minigrad.engine.trace import trace
from minigrad.engine.weights import Weights
from minigrad.errors import ArgumentError, DtypeError, GraphError, ShapeError
from minigrad.resources import check_memory
from minigrad.tensor import FLOATS, Array, Shape, Tensor
from minigrad.threads import thread_count

if TYPE_CHECKING:
    import numpy.typing as npt

    from minigrad.engine.describe import Profile

__all__ = ["OpenPlan", "compile", "recorded"]

SHAPES = 8  # that an open plan keeps programs for

Model = Callable[[Tensor], Any]


class Recipe:
    """How a model becomes a plan for a shape, and the weights that all its plans share.

    ``owned`` says that nobody else has the model's arrays, so that they need not be copied.
    """

    def __init__(
        self,
        model: Model,
        threads: int | None,
        fold: bool,
        dtype: np.dtype[np.generic],
        layout: str,
        owned: bool = False,
        scaling: Scaling | None = None,
    ) -> None:
        self.model, self.threads, self.dtype, self.layout = model, threads, dtype, layout
        self.owned, self.scaling = owned, scaling
        self.left_out = () if fold else FOLDS
        self.name = getattr(model, "name", "") or type(model).__name__
        self.about: About | None = getattr(model, "minigrad_about", None)
        self.weights = Weights()

    def plan(self, shape: Shape) -> Plan:
        """The plan for an input of this shape (N, C, H, W)."""
        self._check_scaling(shape)
        traced = recorded(self.model, shape, self.dtype)
        graph, notes = rewrite(traced, self.left_out, self.weights.fold, self.weights.cut)
        own = graph if self.owned else self.weights.keep(graph, traced)
        plan = design(own, notes, self.name)
        shared = self.weights.packed
        return Plan(plan, self.threads, self.layout, shared, self.about, self.scaling)

    def _check_scaling(self, shape: Shape) -> None:
        """Refuse an input whose bytes the preparation cannot scale."""
        if self.scaling is None:
            return
        if self.dtype != np.float32:
            raise DtypeError(f"compile: a preparation makes float32, and the plan is {self.dtype}")
        if len(shape) != 4 or shape[1] != len(self.scaling.mean):
            raise ShapeError(
                f"compile: the preparation is for photographs of {len(self.scaling.mean)} "
                f"channels, and the input is {shape}"
            )

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "weights": Weights()}


def recorded(
    model: Model,
    shape: Shape,
    dtype: np.dtype[np.generic],
    known: Mapping[int, Constant] | None = None,
) -> Graph:
    """``trace`` for an input, and an output, that fit in memory."""
    check_memory(math.prod(shape) * dtype.itemsize, f"an input of shape {shape}")
    traced = trace(model, shape, dtype, known)
    size = sum(value.nbytes for value in traced.outputs)
    check_memory(size, f"the output for an input of shape {shape}")
    return traced


class Plans(Protocol):
    """What makes the plan for a shape: a ``Recipe``, or a file."""

    name: str
    layout: str

    def plan(self, shape: Shape) -> Plan:
        """The plan for an input of this shape."""


class OpenPlan:
    """A network compiled for whatever shape comes; call it with a batch.

    Built by ``compile`` without a shape.  For each shape that it meets it makes a ``Plan``, of
    which it keeps the eight that were used last.  They share one copy of the packed weights.
    Everything that is said of a Plan holds for it: threads, fork, pickling.  The weights are
    those of the moment when it was made.  (Of a function, rather than a Module, an array is
    read when a shape is first met.)

    Parameters
    ----------
    recipe : Plans
        How the model becomes a plan.

    Examples
    --------
    >>> import minigrad as mg, numpy as np
    >>> plan = mg.compile(mg.nn.Conv2d(3, 8, 1).eval())
    >>> [plan(np.zeros((n, 3, 4, 4), np.float32)).shape for n in (1, 2)]
    [(1, 8, 4, 4), (2, 8, 4, 4)]
    """

    def __init__(self, recipe: Plans) -> None:
        self._recipe = recipe
        self._plans: dict[Shape, Plan] = {}
        self._used: dict[Shape, int] = {}
        self._clock = itertools.count()

    def at(self, shape: Sequence[int]) -> Plan:
        """The plan for an input of this shape, which is (N, C, H, W) in any layout.

        Parameters
        ----------
        shape : sequence of int

        Returns
        -------
        Plan

        Raises
        ------
        ShapeError
            If the network cannot take it.
        """
        sizes = _sizes(shape)
        plan = self._plans.get(sizes)
        if plan is None:
            plan = self._recipe.plan(sizes)
            kept = sorted(self._plans, key=lambda s: -self._used.get(s, 0))[: SHAPES - 1]
            self._plans = {sizes: plan, **{s: p for s in kept if (p := self._plans.get(s))}}
        self._used[sizes] = next(self._clock)
        return plan

    def _of(self, x: npt.ArrayLike | Tensor) -> Plan:
        try:
            shape = np.shape(x.array if isinstance(x, Tensor) else cast(Array, x))
        except ValueError:
            raise ShapeError(
                f"this plan takes a batch, got what is no array: {quoted(x)}"
            ) from None
        if self._recipe.layout == "NHWC" and len(shape) == 4:
            shape = shape[0], shape[3], shape[1], shape[2]
        if not shape:
            raise ShapeError(f"this plan takes a batch, got {quoted(x)}")
        return self.at(shape)

    def __call__(
        self,
        x: npt.ArrayLike | Tensor,
        threads: int | None = None,
        out: Array | Sequence[Array] | None = None,
    ) -> Array:
        """The output for a batch; see ``Plan.__call__``."""
        return self._of(x)(x, threads, out)

    def outputs(
        self,
        x: npt.ArrayLike | Tensor,
        threads: int | None = None,
        out: Sequence[Array] | None = None,
    ) -> list[Array]:
        """The outputs for a batch as a list; see ``Plan.outputs``."""
        return self._of(x).outputs(x, threads, out)

    def features(self, x: npt.ArrayLike | Tensor, threads: int | None = None) -> Array:
        """What the classifier reads; see ``Plan.features``."""
        return self._of(x).features(x, threads)

    def intermediates(
        self, x: npt.ArrayLike | Tensor, names: str | Iterable[str] | None = None
    ) -> dict[str, Array]:
        """The output of each layer; see ``Plan.intermediates``."""
        return self._of(x).intermediates(x, names)

    def profile(self, x: npt.ArrayLike | Tensor, repeats: int = 20) -> Profile:
        """Microseconds of every step; see ``Plan.profile``."""
        return self._of(x).profile(x, repeats)

    def __repr__(self) -> str:
        return f"<{self}>"

    def __str__(self) -> str:
        shapes = ", ".join(map(str, self._plans)) or "none yet"
        return f"{self._recipe.name} for any shape; programs are kept for: {shapes}"

    def __getstate__(self) -> dict[str, object]:
        return {"_recipe": self._recipe}

    def __setstate__(self, state: dict[str, Plans]) -> None:
        self.__init__(state["_recipe"])  # type: ignore[misc]


@overload
def compile(
    model: Model,
    shape: Sequence[int],
    *,
    threads: int | None = None,
    fold: bool = True,
    dtype: npt.DTypeLike = np.float32,
    layout: str = "NCHW",
    preparation: Prepares | None = None,
) -> Plan: ...
@overload
def compile(
    model: Model,
    shape: None = None,
    *,
    threads: int | None = None,
    fold: bool = True,
    dtype: npt.DTypeLike = np.float32,
    layout: str = "NCHW",
    preparation: Prepares | None = None,
) -> OpenPlan: ...
@overload
def compile(
    model: Callable[..., object],
    shape: Shapes,
    *,
    threads: int | None = None,
    fold: bool = True,
    dtype: npt.DTypeLike = np.float32,
    layout: str = "NCHW",
) -> JointPlan: ...
def compile(
    model: Callable[..., object],
    shape: Sequence[int] | Shapes | None = None,
    *,
    threads: int | None = None,
    fold: bool = True,
    dtype: npt.DTypeLike = np.float32,
    layout: str = "NCHW",
    preparation: Prepares | None = None,
) -> Plan | OpenPlan | JointPlan:
    """Record, simplify and bind a model, for one input shape or for whatever comes.

    Parameters
    ----------
    model : Module or callable
        Tensor to Tensor (or a list of them); a Module must be in evaluation mode.
    shape : (N, C, H, W), optional
        Without it the plan takes any batch and any size that the model takes.  Of a model with
        several inputs a list of their shapes, or a mapping by the names that a file has for them.
    threads : int, optional
        How many threads the plan uses; by default what ``num_threads`` says at each call.
    fold : bool
        Fold batch norms into the convolutions before them.  Without it the plan has the
        bits of eager evaluation on the same backend.
    dtype : float32 or float64
        Of the input, and of the model's weights.
    layout : str
        "NHWC" if maps come in and go out with their channels last; ``shape`` is in the order
        (N, C, H, W) all the same.
    preparation : Preparation, optional
        How photographs are scaled, such as ``minigrad.vision.preparation_for("mobilenet_v2")``.
        The plan then takes uint8 pixels too, red, green and blue, which have the network's size
        already.  The answer has the bits of the plan for what ``vision.preprocess`` makes of them.

    Returns
    -------
    Plan, OpenPlan without a shape, or JointPlan for several inputs

    Raises
    ------
    GraphError
        If the model is in training mode, looks at values, or has weights of another dtype.
    ShapeError, DtypeError, ArgumentError
        If an argument is not what is said above.
    NotEnoughMemory
        If the input or the output cannot fit in memory.

    Examples
    --------
    >>> import minigrad as mg, numpy as np
    >>> plan = mg.compile(mg.nn.Conv2d(3, 8, 3).eval())
    >>> plan(np.zeros((2, 3, 9, 9), np.float32)).shape
    (2, 8, 7, 7)
    """
    number = _dtype(dtype)
    workers = None if threads is None else thread_count(threads)
    one_of("compile", "layout", layout, LAYOUTS)
    scaling = None if preparation is None else scaling_of(preparation)
    if not callable(model):
        raise GraphError(f"compile takes a Module or a function, got {quoted(model)}")
    _check_evaluates(model)
    if (several := shapes_of(model, shape)) is not None:
        one_of("compile of several inputs", "layout", layout, LAYOUTS[:1])
        if scaling is not None:
            raise ArgumentError("compile: a preparation is for a network of one input")
        joint = Joint(model, [_sizes(one) for one in several])
        plan = Recipe(joint, workers, fold, number, "NCHW").plan((joint.size,))
        return JointPlan(plan, joint.shapes, input_names(model))
    sizes = None if shape is None else _sizes(cast("Sequence[int]", shape))
    if sizes is None:
        own = _snapshot(model)
        owned = own is not model
        return OpenPlan(Recipe(own, workers, fold, number, layout, owned, scaling))
    return Recipe(model, workers, fold, number, layout, scaling=scaling).plan(sizes)


def _check_evaluates(model: Model) -> None:
    """Refuse a model in training mode."""
    named_modules = getattr(model, "named_modules", None)
    for name, module in named_modules() if named_modules else ():
        if module.training:
            where = f"its layer {name!r}" if name else "the model"
            raise GraphError(f"{where} is in training mode: call model.eval() before compile")


def _snapshot(model: Model) -> Model:
    """A module with the values that it has now; a function as it is."""
    state_dict = getattr(model, "state_dict", None)
    if state_dict is None:
        return model
    state_dict()  # values that are drawn late are drawn now, for the model and its copy
    return deepcopy(model)


def _sizes(shape: Sequence[int]) -> Shape:
    """The shape as a tuple of int."""
    try:
        sizes = tuple(index(n) for n in shape)
    except TypeError:
        sizes = (-1,)
    if any(n < 0 for n in sizes):
        raise ShapeError(
            f"compile: shape must be the sizes of the input, such as (1, 3, 224, 224), "
            f"not {quoted(shape)}"
        )
    return sizes


def _dtype(dtype: npt.DTypeLike) -> np.dtype[np.generic]:
    try:
        if dtype is not None and (number := np.dtype(dtype)) in FLOATS:
            return number
    except TypeError:
        pass
    raise DtypeError(f"compile: dtype must be float32 or float64, not {quoted(dtype)}")
