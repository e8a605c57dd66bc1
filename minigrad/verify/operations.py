"""A call of a public operation on anybody's arrays: read, checked, evaluated with its bound.

Arrays may come from any library: NumPy's own, anything with DLPack (PyTorch, JAX, CuPy) or with
``__array__``.  The words are those of the public function, such as stride=2 of ``conv2d``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, NamedTuple

import numpy as np

from minigrad import kernels, ops
from minigrad.autograd import vjp
from minigrad.errors import DtypeError, MinigradError, ShapeError
from minigrad.tensor import Array, Primitive, Tensor, from_numpy, interpreting
from minigrad.verify import definitions
from minigrad.verify.arithmetic import Arithmetic, Format
from minigrad.verify.propagation import Bounded, Enclosure

__all__ = ["IMAGES", "OPERATIONS", "Call", "Judged", "as_array", "bind", "to_nchw", "to_nhwc"]

_RANDOM = {"dropout", "stochastic_depth"}
OPERATIONS: dict[str, Callable[..., Tensor]] = {
    **{name: getattr(ops, name) for name in ops.__all__ if name not in _RANDOM},
    **{name: getattr(definitions, name) for name in definitions.__all__},
}

# The arguments that are images, where ``layout`` means something, and whether the result is one.
IMAGES: dict[str, tuple[tuple[str, ...], bool]] = {
    **dict.fromkeys(
        ["avg_pool2d", "batch_norm", "conv2d", "depthwise_conv2d", "global_avg_pool",
         "inverted_residual", "max_pool2d", "squeezenext_block"],
        (("x",), True),
    ),
    "conv2d_input_grad": (("dy",), True),
    "conv2d_weight_grad": (("dy", "x"), False),
}  # fmt: skip


class Judged(NamedTuple):
    """A value in float64, and how far a computed one may be from it.

    Attributes
    ----------
    exact, bound, size : array of float64
        The value, the theorem's bound, the sum of the absolute values of its terms.
    typical : array of float64
        What errors are like; no theorem.
    """

    exact: Array
    bound: Array
    size: Array
    typical: Array

    def rounded(self, form: Format) -> Judged:
        """The exact value rounded to a format, with a bound of 0."""
        zero = np.zeros(self.exact.shape)
        return Judged(form.round(self.exact), zero, self.size, zero)


class Call(NamedTuple):
    """One call of an operation.

    Attributes
    ----------
    op : str
    arguments : dict
        By the names of the parameters: arrays (float64, or integers as they are), lists of
        arrays for ``*xs`` and ``concat``, and the words.
    dtypes : dict
        What the arrays came in.
    """

    op: str
    arguments: dict[str, Any]
    dtypes: dict[str, str]

    @property
    def differentiable(self) -> list[str]:
        """The names of the arguments that a gradient may be asked for."""
        return [k for k, v in self.arguments.items() if k in self.dtypes and _is_float(v)]

    def evaluate(
        self, how: Arithmetic, wrt: str | None = None, cotangent: Array | None = None
    ) -> Judged:
        """The result, or the gradient of <cotangent, result> in one argument, with its bounds."""
        with kernels.backend("numpy"), np.errstate(all="ignore"):
            exact, known = self._run(Bounded(how), wrt, cotangent)
        return Judged(exact, known.error, known.size, known.typical)

    def _run(
        self, bounded: Bounded, wrt: str | None, cotangent: Array | None
    ) -> tuple[Array, Enclosure]:
        with interpreting(bounded):
            if wrt is None:
                y = self._apply(self.arguments)
            else:
                dy = np.asarray(cotangent, np.float64)
                y = self._pullback(wrt)(from_numpy(dy))[0]
        return y.array, bounded.of(y.array)

    def _pullback(self, wrt: str) -> Callable[[Tensor], tuple[Tensor, ...]]:
        return vjp(lambda v: self._apply(self.arguments | {wrt: v}), self.arguments[wrt])[1]

    def _apply(self, arguments: Mapping[str, Any]) -> Tensor:
        return _invoke(self.op, {k: _as_tensor(v, k in self.dtypes) for k, v in arguments.items()})


def _is_float(value: object) -> bool:
    return isinstance(value, np.ndarray) and value.dtype == np.float64


def _as_tensor(value: Any, given: bool) -> Any:
    if given and isinstance(value, list):
        return [from_numpy(v) for v in value]
    return from_numpy(value) if given and _is_float(value) else value


def _invoke(op: str, arguments: Mapping[str, Any]) -> Tensor:
    """Call by position as far as no argument is left out, by name from there on."""
    positional: list[Any] = []
    named: dict[str, object] = {}
    by_name = False
    for name, kind in parameters(op).items():
        if name not in arguments:
            by_name = True
        elif kind is inspect.Parameter.VAR_POSITIONAL:
            positional.extend(arguments[name])
        elif by_name or kind is inspect.Parameter.KEYWORD_ONLY:
            named[name] = arguments[name]
        else:
            positional.append(arguments[name])
    return OPERATIONS[op](*positional, **named)


def parameters(op: str) -> dict[str, object]:
    """{name: kind} of the parameters of an operation, in order."""
    function = OPERATIONS[op]
    if isinstance(function, Primitive):
        return dict.fromkeys(function.arguments, inspect.Parameter.POSITIONAL_ONLY)
    return {p.name: p.kind for p in inspect.signature(function).parameters.values()}


def bind(op: str, inputs: Sequence[Any], words: Mapping[str, object], layout: str = "NCHW") -> Call:
    """A Call from arrays by position and words by name.

    Raises
    ------
    MinigradError
        If there is no such operation, or it has no such word.
    DtypeError
        If an input is no array.
    """
    check_operation(op)
    turned = images(op, layout)
    given: dict[str, Any] = {}
    dtypes: dict[str, str] = {}
    for name, value in {**_by_position(op, inputs), **_checked_words(op, words)}.items():
        where = f"{op}: {name}"
        if isinstance(value, (list, tuple)) and name in _tensors(op):
            as_array(value, where)  # which says that it is none
        elif isinstance(value, (list, tuple)) and value and _arrays(value):
            arrays = [as_array(v, where) for v in value]
            given[name], dtypes[name] = [_wide(a) for a in arrays], arrays[0].dtype.name
        elif _is_array(value):
            array = as_array(value, where)
            wide = _wide(array)
            given[name] = to_nchw(wide, where) if name in turned else wide
            dtypes[name] = array.dtype.name
        else:
            given[name] = value
    missing = [name for name in _needed(op) if name not in given]
    if missing:
        raise MinigradError(
            f"{op} needs {missing[0]} too: pass {', '.join(parameters(op))} in order"
        )
    return Call(op, given, dtypes)


def _needed(op: str) -> list[str]:
    """The parameters without a default."""
    function = OPERATIONS[op]
    if isinstance(function, Primitive):
        return list(function.arguments)
    listed = inspect.signature(function).parameters.values()
    return [p.name for p in listed if p.default is p.empty
            and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]  # fmt: skip


def check_floats(call: Call) -> None:
    """Raise if an argument that must be a tensor holds integers."""
    for name in sorted(_tensors(call.op) & set(call.dtypes)):
        if not _is_float(call.arguments[name]) and not isinstance(call.arguments[name], list):
            raise DtypeError(
                f"{call.op}: {name} is {call.dtypes[name]}: pass floating-point numbers"
            )


def _tensors(op: str) -> set[str]:
    """The parameters that must be arrays."""
    function = OPERATIONS[op]
    if isinstance(function, Primitive):
        return set(function.arguments)
    listed = inspect.signature(function).parameters.values()
    return {p.name for p in listed if str(p.annotation).startswith("Tensor")}


def check_operation(op: str) -> None:
    """Raise if ``op`` is not the name of an operation."""
    if not isinstance(op, str) or op not in OPERATIONS:
        near = get_close_matches(str(op), OPERATIONS, 3)
        hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
        raise MinigradError(f"there is no operation {str(op)[:40]!r} to judge{hint}")


def images(op: str, layout: str) -> tuple[str, ...]:
    """The arguments to turn from ``layout``; an operation without images takes "NCHW" only."""
    if layout not in ("NCHW", "NHWC"):
        raise MinigradError(f"layout must be 'NCHW' or 'NHWC', not {str(layout)[:40]!r}")
    if layout == "NCHW":
        return ()
    if op not in IMAGES:
        raise MinigradError(f"{op} has no images: layout='NHWC' means nothing there")
    return IMAGES[op][0]


def _by_position(op: str, inputs: Sequence[Any]) -> dict[str, Any]:
    kinds = parameters(op)
    named: dict[str, object] = {}
    rest = list(inputs)
    for name, kind in kinds.items():
        if rest and kind is inspect.Parameter.VAR_POSITIONAL:
            named[name], rest = rest, []
        elif rest and kind is not inspect.Parameter.KEYWORD_ONLY:
            named[name] = rest.pop(0)
    if rest:
        raise MinigradError(f"{op} takes at most {len(kinds)} arguments, got {len(inputs)}")
    return named


def _checked_words(op: str, words: Mapping[str, object]) -> Mapping[str, Any]:
    known = list(parameters(op))
    for word in words:
        if word not in known:
            near = get_close_matches(word, known, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(known)}"
            raise MinigradError(f"{op} has no argument {word!r}; {hint}")
    return words


def _is_array(value: object) -> bool:
    return hasattr(value, "__array__") or hasattr(value, "__dlpack__")


def _arrays(values: Sequence[object]) -> bool:
    return all(_is_array(v) for v in values)


def as_array(value: Any, name: str) -> Array:
    """A NumPy array of what came, shared where it can be.

    Raises
    ------
    DtypeError
        If it is no array, or its library does not give it away.
    """
    if isinstance(value, np.ndarray):
        return value
    if isinstance(value, (list, tuple)) or not _is_array(value):
        kind = type(value).__name__
        raise DtypeError(
            f"{name} is a {kind}: pass an array, NumPy's or any with DLPack or __array__"
        )
    if "bfloat16" in str(getattr(value, "dtype", "")) and hasattr(value, "float"):
        value = value.float()  # PyTorch's, which NumPy cannot read; every value is a float32
    problems = []
    for read in (np.asarray, np.from_dlpack):
        try:
            array = np.asarray(read(value))
        except (AttributeError, BufferError, RuntimeError, TypeError, ValueError) as error:
            problems.append(str(error).partition("\n")[0])
        else:
            if array.dtype != object:
                return array
    raise DtypeError(f"{name} cannot be read as an array: {'; '.join(problems)[:200]}")


def _wide(array: Array) -> Array:
    """float64 of floats (bfloat16 too, which NumPy knows from outside); integers as they are."""
    if array.dtype.kind in "iub":
        return array
    if array.dtype.kind == "f" or array.dtype.name == "bfloat16":
        return array.astype(np.float64)
    raise DtypeError(f"expected floating-point numbers or integers, got {array.dtype}")


def to_nchw(array: Array, name: str) -> Array:
    """(N, H, W, C) as (N, C, H, W)."""
    if array.ndim != 4:
        raise ShapeError(f"{name} must be (N, H, W, C), got shape {array.shape}")
    return np.asarray(array.transpose(0, 3, 1, 2))


def to_nhwc(array: Array) -> Array:
    """(N, C, H, W) as (N, H, W, C), in that order in memory."""
    return np.ascontiguousarray(array.transpose(0, 2, 3, 1))
