"""Primitives: what is recorded when a function is evaluated, and the rules it has.

A program is a chain of primitives y = f(x_1, ..., x_n).  Evaluating one does two things:
its ``forward`` computes the array, and, if some input wants a gradient, a Node
remembers which primitive ran, on what, and the values that its rules will need.  That
is all the recording there is; ``autograd`` walks the nodes afterwards.

A primitive is declared where a formula sheet would print it:

>>> from minigrad.tensor import Primitive, Tensor
>>> def cube(x): return x * x * x
>>> cube = Primitive(cube, register=False)
>>> @cube.vjp("x", "x̄ = 3 x² ȳ")
... def cube_x(g, x): return g * x * x * 3

The names of a rule's parameters say what it needs, and only that is kept: ``g`` is the
cotangent ȳ = dL/dy, ``y`` the output, any argument or keyword of the forward stands for
itself, ``x_shape`` for the shape of argument ``x``.  A rule computes with Tensors, so it
can be differentiated again; that is why gradients of every order are there.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias, cast, overload

from minigrad.errors import DtypeError, MinigradError, ShapeError
from minigrad.kernels.contract import ieee
from minigrad.tensor.convert import Array, Shape
from minigrad.tensor.modes import current_scope, interpreter, is_grad_enabled
from minigrad.tensor.registry import Registry
from minigrad.tensor.tensor import Tensor, wrap

__all__ = [
    "PRIMITIVES",
    "Interpreter",
    "Node",
    "Primitive",
    "Recorder",
    "Rule",
    "apply",
    "evaluate",
    "primitive",
    "record",
    "recorder",
    "source",
    "under_scope",
]

_births = itertools.count()
Forward: TypeAlias = "Callable[..., Any]"  # arrays to an array, or to (array, {name: array})
Params: TypeAlias = "dict[str, Any]"  # the static parameters of a call, of any kind
Saved: TypeAlias = "dict[str, Any]"  # by name: shapes, arrays, and (Tensor, version)


class Rule(NamedTuple):
    """How the cotangent of one argument follows from the cotangent of the output."""

    function: Callable[..., Tensor]
    needs: tuple[str, ...]
    formula: str


def _positional(function: Forward) -> tuple[tuple[str, ...], bool]:
    """The names of the positional parameters, and whether they are one ``*name``.

    Read off the code object: ``inspect`` would take longer than all of minigrad's import.
    """
    code = function.__code__
    if code.co_flags & 0x04:  # *args follow the keyword-only names
        return (code.co_varnames[code.co_argcount + code.co_kwonlyargcount],), True
    return code.co_varnames[: code.co_argcount], False


class Node:
    """One recorded step: which primitive, on what, under which layer's name.

    ``sources`` holds, per argument, where its cotangent goes: the Node that computed it,
    the leaf Tensor itself, or None.  ``saved`` holds the values the rules named, with
    the version each had.  ``given`` tells a constant from an optional argument left out.
    ``birth`` grows with time: a node is younger than its inputs.
    """

    __slots__ = (
        "birth", "dtype", "given", "params", "primitive", "saved", "scope", "shape", "sources",
    )  # fmt: skip

    def __init__(
        self, op: Primitive, inputs: Sequence[Tensor | None], params: Params, y: Tensor
    ) -> None:
        self.birth = next(_births)
        self.primitive, self.params = op, params
        self.scope, self.shape, self.dtype = current_scope(), y.shape, y.dtype
        self.sources = tuple(map(source, op.without_flat(inputs)))
        self.given = tuple([x is not None for x in inputs])
        self.saved: Saved | None = {}

    @property
    def name(self) -> str:
        """The primitive's name."""
        return self.primitive.name

    def __repr__(self) -> str:
        where = f" in {self.scope}" if self.scope else ""
        return f"<{self.name}{where}, output {self.shape}>"


def source(x: Tensor | None) -> Node | Tensor | None:
    """Where the cotangent of x goes: its node, itself if a leaf, nowhere if not wanted."""
    if x is None or not x.requires_grad:
        return None
    return x if x.node is None else cast("Node", x.node)


PRIMITIVES: Registry[Primitive] = Registry("minigrad.ops", "load_all")
Interpreter: TypeAlias = "Callable[[Primitive, Sequence[Tensor | None], Params], Tensor]"


class Primitive:
    """One function with its shape rule and its VJP rules.

    Parameters
    ----------
    forward : callable
        ``forward(*arrays, **params) -> array``, or ``(array, {name: array})`` where the
        named arrays are kept for the rules (the indices of a max pool).  Positional
        parameters are the arguments (None is allowed where the default is None);
        keyword-only parameters are static.  ``*xs`` takes any number of arguments.
    view : bool
        The output shares the memory of its first argument.
    images : tuple of str
        The arguments whose first axis counts images, where image n of the output depends on
        image n of these alone, and on nothing of the other images.  Empty for a primitive
        that may mix images.  ``mixing`` declares exceptions.
    flat : tuple of str
        Arguments whose cotangent is 0 wherever there is one: no gradient is sought there.
    arithmetic : bool
        ``forward`` computes with NumPy itself, not by a kernel: in silence where it overflows.
    register : bool
        List the primitive in ``PRIMITIVES``.

    The default shape rule is that of an elementwise function: all shapes equal.
    """

    def __init__(
        self,
        forward: Forward,
        view: bool = False,
        images: tuple[str, ...] = (),
        flat: tuple[str, ...] = (),
        arithmetic: bool = False,
        register: bool = True,
    ) -> None:
        self.forward: Forward = ieee(forward) if arithmetic else forward
        self.view, self.images, self.flat = view, images, flat
        self.name = forward.__name__.lstrip("_")
        self.__doc__ = forward.__doc__
        self.arguments, self.variadic = _positional(forward)
        self.required = len(self.arguments) - len(forward.__defaults__ or ())
        self.rules: dict[str, Rule] = {}
        self.shape_rule: Callable[..., Shape] = _same_shape
        self.mixing_rule: Callable[..., bool] | None = None
        self.saves: frozenset[str] = frozenset()
        if not {*images, *flat} <= set(self.arguments):
            raise ValueError(f"{self.name} has only the arguments {self.arguments}")
        if register:
            PRIMITIVES[self.name] = self

    def __call__(self, *inputs: Tensor | None, **params: object) -> Tensor:
        return apply(self, inputs, params)

    def shape(self, rule: Callable[..., Shape]) -> Callable[..., Shape]:
        """Declare the shape rule: ``rule(*shapes, **params) -> shape``."""
        self.shape_rule = rule
        return rule

    def mixing(self, rule: Callable[..., bool]) -> Callable[..., bool]:
        """Declare when images are mixed after all: ``rule(*shapes, **params) -> bool``."""
        self.mixing_rule = rule
        return rule

    def works_by_image(self, shapes: Sequence[Shape | None], params: Params) -> bool:
        """Whether image n of the output of such a call depends on image n of ``images`` alone."""
        if not self.images:
            return False
        return self.mixing_rule is None or not self.mixing_rule(*shapes, **params)

    def without_flat(self, inputs: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
        """The inputs, with None for those of ``flat``."""
        if not self.flat:
            return inputs
        named = zip(self.arguments, inputs, strict=True)
        return [None if name in self.flat else x for name, x in named]

    def vjp(
        self, argument: str, formula: str
    ) -> Callable[[Callable[..., Tensor]], Callable[..., Tensor]]:
        """Declare the rule of one argument; ``formula`` is what ``explain`` prints."""
        if argument not in self.arguments:
            raise ValueError(f"{self.name} has no argument {argument!r}")

        def declare(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
            needs, _ = _positional(function)
            self.rules[argument] = Rule(function, needs, formula)
            self.saves |= frozenset(needs)
            return function

        return declare


@overload
def primitive(forward: Forward) -> Primitive: ...
@overload
def primitive(
    *,
    view: bool = False,
    images: tuple[str, ...] = (),
    flat: tuple[str, ...] = (),
    arithmetic: bool = False,
) -> Callable[[Forward], Primitive]: ...
def primitive(
    forward: Forward | None = None,
    *,
    view: bool = False,
    images: tuple[str, ...] = (),
    flat: tuple[str, ...] = (),
    arithmetic: bool = False,
) -> Primitive | Callable[[Forward], Primitive]:
    """Decorator form of :class:`Primitive`."""
    if forward:
        return Primitive(forward)
    return lambda f: Primitive(f, view, images, flat, arithmetic)


class Recorder:
    """An interpreter that records a training step, for which it is asked more than primitives.

    A training step does what no primitive does: it takes statistics that have no gradient of
    their own, moves running values, and draws noise.  ``recorder`` says whether one listens.
    """

    def __call__(self, op: Primitive, inputs: Sequence[Tensor | None], params: Params) -> Tensor:
        """Record a primitive."""
        raise NotImplementedError

    def statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Stand-ins for the mean and the variance of each channel of x."""
        raise NotImplementedError

    def running(self, kept: Tensor, batch: Tensor, momentum: float, factor: float) -> None:
        """Record that ``kept`` moves towards ``batch * factor``."""
        raise NotImplementedError

    def noise(self, shape: Shape, rate: float, rng: object, like: Tensor) -> Tensor:
        """A stand-in for a mask of dropout, drawn anew in every step."""
        raise NotImplementedError


def recorder() -> Recorder | None:
    """Who records a training step now."""
    other = interpreter()
    return other if isinstance(other, Recorder) else None


def apply(op: Primitive, inputs: Sequence[Tensor | None], params: Params) -> Tensor:
    """Evaluate a primitive and, if some input wants a gradient, record it.

    Raises
    ------
    DtypeError
        If the inputs do not share one dtype: minigrad never casts in silence.
    """
    other = interpreter()
    if other is not None:
        return cast("Tensor", other(op, inputs, params))
    return evaluate(op, inputs, params)


def evaluate(op: Primitive, inputs: Sequence[Tensor | None], params: Params) -> Tensor:
    """What ``apply`` does where no other interpreter stands in between."""
    try:
        _one_dtype(op, inputs)
        result = op.forward(*[None if x is None else x.array for x in inputs], **params)
    except MinigradError as error:
        raise under_scope(error) from None
    array, extra = result if type(result) is tuple else (result, None)
    base = inputs[0].version if op.view and inputs[0] is not None else None
    y = wrap(array, base)
    if record(op, inputs, params, y, extra) and base is not None:
        base.shared = True
    return y


def record(
    op: Primitive,
    inputs: Sequence[Tensor | None],
    params: Params,
    y: Tensor,
    extra: dict[str, Array] | None = None,
) -> bool:
    """Put y on the tape, if recording is on and a gradient is sought in some input."""
    if not (is_grad_enabled() and _is_wanted(op, inputs)):
        return False
    y.requires_grad = True
    y.node = node = Node(op, inputs, params, y)
    node.saved = _kept(op, inputs, y, extra)
    return True


def _is_wanted(op: Primitive, inputs: Sequence[Tensor | None]) -> bool:
    """Whether a gradient is sought in some input."""
    several = op.without_flat(inputs) if op.flat else inputs
    return True in [x is not None and x.requires_grad for x in several]


def _kept(
    op: Primitive, inputs: Sequence[Tensor | None], y: Tensor, extra: dict[str, Array] | None
) -> Saved:
    """The values that the rules of ``op`` name, each Tensor with its present version."""
    kept: Saved = {}
    if op.variadic:
        kept[op.arguments[0] + "_shapes"] = tuple(x.shape for x in inputs if x is not None)
    for name, x in zip(op.arguments, inputs, strict=False):
        if name + "_shape" in op.saves and x is not None:
            kept[name + "_shape"] = x.shape
        if name in op.saves:
            kept[name] = x if x is None else (x, x.version.count)
    if "y" in op.saves:
        kept["y"] = (y.detach(), y.version.count)
    return kept | extra if extra else kept


def _one_dtype(op: Primitive, inputs: Sequence[Tensor | None]) -> None:
    first = None
    for k, x in enumerate(inputs):
        if not isinstance(x, Tensor):
            if x is None and k >= op.required:
                continue
            raise DtypeError(f"{op.name} takes Tensors, not {type(x).__name__}: use mg.Tensor(...)")
        dtype = x.array.dtype
        if first is None:
            first = dtype
        elif dtype is not first and dtype != first:
            raise DtypeError(
                f"{op.name}: the inputs are of {first} and {dtype}; "
                "minigrad never casts in silence: use astype"
            )


def under_scope(error: MinigradError) -> MinigradError:
    """The error with the name of the running layer in front, once."""
    where = current_scope()
    if where and not getattr(error, "layer", None):
        error.args = (f"layer {where}: {error}",)
        error.layer = where  # type: ignore[attr-defined]
    return error


def _same_shape(*shapes: Shape, **_: object) -> Shape:
    if any(s != shapes[0] for s in shapes):
        raise ShapeError(f"expected equal shapes, got {', '.join(map(str, shapes))}")
    return shapes[0]
