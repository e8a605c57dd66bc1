"""Errors through a composition of primitives: what each passes on, and what it adds.

Let x_j be known to within e_j.  Then y = f(x) is known to within

    e = P_f(x, e) + B_f(x'),    x'_j = x_j + sign(x_j) e_j,

P_f being what f makes of the errors of its arguments, and B_f the theorem's bound for the
roundings of f itself, taken at the arguments enlarged by their errors, so that it holds
wherever in the intervals the computed arguments lie.  P_f is no linearization:

    moves and copies      the same move of e
    linear f              f(e) with the absolute values of its coefficients
    bilinear f            f(e_x, |w|) + f(|x|, e_w) + f(e_x, e_w)
    monotone f            max(f(x + e) - f(x), f(x) - f(x - e))
    other curves          e times the largest slope;  where a slope jumps inside the interval,
                          the whole jump

The chain rule is itself written in primitives, so a gradient gets its bound in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from minigrad.errors import GraphError
from minigrad.kernels.tables import FUNCTIONS_OF_ONE
from minigrad.tensor import PRIMITIVES, Array, Primitive, Tensor, evaluate
from minigrad.verify.arithmetic import FORMATS, Arithmetic
from minigrad.verify.bounds import roundings
from minigrad.verify.theorem import Roundings

__all__ = ["Bounded", "Enclosure"]

FLOAT64 = Arithmetic(None, FORMATS["float64"], FORMATS["float64"])


class Enclosure(NamedTuple):
    """What is known of a value.

    Attributes
    ----------
    error : array of float64
        The largest distance between the exact value and a computed one.
    size : array of float64
        The sum of the absolute values of the terms that were added up to it.
    typical : array of float64
        The error if every count of roundings were its square root: a figure, not a bound.
    """

    error: Array
    size: Array
    typical: Array


class Bounded:
    """An interpreter that evaluates in float64 and keeps an Enclosure for every value.

    Parameters
    ----------
    how : Arithmetic
        What the judged program computes in.

    Examples
    --------
    >>> from minigrad import from_numpy, sum
    >>> from minigrad.tensor import interpreting
    >>> from minigrad.verify.arithmetic import arithmetic
    >>> bounded = Bounded(arithmetic("float32"))
    >>> with interpreting(bounded):
    ...     y = sum(from_numpy(np.ones(3)))
    >>> round(float(bounded.of(y.array).error / 2**-24), 3)  # two roundings, of 3 at most
    6.0
    """

    def __init__(self, how: Arithmetic) -> None:
        self.how = how
        self._known: dict[int, tuple[Array, Enclosure]] = {}

    def of(self, array: Array) -> Enclosure:
        """The Enclosure of an array; an array from outside is exact."""
        if id(array) in self._known:
            return self._known[id(array)][1]
        zero = np.zeros(array.shape)
        return Enclosure(zero, np.abs(array), zero)

    def __call__(
        self, op: Primitive, inputs: Sequence[Tensor | None], params: dict[str, object]
    ) -> Tensor:
        y = evaluate(op, inputs, params)
        arrays = [None if x is None else x.array for x in inputs]
        with np.errstate(all="ignore"):
            found = self.enclose(op.name, arrays, params, y.array)
        self._known[id(y.array)] = y.array, found  # the array is kept, so that its id stays its own
        return y

    def enclose(
        self, op: str, inputs: Sequence[Array | None], params: dict[str, object], y: Array
    ) -> Enclosure:
        """The Enclosure of y = op(inputs)."""
        known = [None if x is None else self.of(x) for x in inputs]
        if op in _MOVES:
            fields = ([None if k is None else k[f] for k in known] for f in range(3))
            return Enclosure(*(_move(op, arrays, params) for arrays in fields))
        passed, usual = (
            self._passed(op, inputs, [None if k is None else k[f] for k in known], params, y)
            for f in (0, 2)
        )
        grown = [_grown(x, k and k.error) for x, k in zip(inputs, known, strict=True)]
        if op == "batch_norm_eval":  # it may have been folded into the sum before it
            grown[0] = known[0].size if known[0] else None
        steps = roundings(op, grown, params, y + np.sign(y) * passed)
        return Enclosure(
            passed + self._own(steps, steps, y),
            np.maximum(np.abs(y), steps.magnitude) + passed,
            usual + self._own(steps.typical(), steps, y),
        )

    def _passed(
        self,
        op: str,
        inputs: Sequence[Array | None],
        errors: Sequence[Array | None],
        params: dict[str, object],
        y: Array,
    ) -> Array:
        """What op makes of the errors of its inputs."""
        given, known = ([a for a in arrays if a is not None] for arrays in (inputs, errors))
        if not any(e.any() for e in known):
            return np.zeros(y.shape)
        call = _Call(op, y, given, known, params)
        return np.asarray(np.nan_to_num(_passing(op)(call), nan=np.inf, posinf=np.inf))

    def _own(self, counted: Roundings, steps: Roundings, y: Array) -> Array:
        """The roundings of one primitive; infinite where there are too many for a bound."""
        try:
            return counted.bound_in(self.how, y) + steps.bound_in(FLOAT64, y)
        except ValueError:
            return np.full(y.shape, np.inf)


class _Call(NamedTuple):
    """One evaluation: the inputs that are there, how well each is known, what came out."""

    op: str
    y: Array
    inputs: list[Array]
    errors: list[Array]
    params: dict[str, Any]

    def at(self, *inputs: Array) -> Array:
        """The primitive at other inputs."""
        return _forward(self.op, inputs, self.params)


def _forward(op: str, inputs: Sequence[Array | None], params: dict[str, object]) -> Array:
    result = PRIMITIVES[op].forward(*inputs, **params)
    return np.asarray(result[0] if isinstance(result, tuple) else result)


def _grown(x: Array | None, error: Array | None) -> Array | None:
    return None if x is None or error is None else x + np.sign(x) * error


_MOVES = {
    "absolute", "alias", "broadcast_to", "clone", "concat", "embed", "gather", "getitem",
    "interleave", "mask", "max", "max_pool2d", "maximum", "minimum", "neg", "pad", "reshape",
    "transpose", "where",
}  # fmt: skip


def _move(op: str, arrays: Sequence[Array | None], params: dict[str, object]) -> Array:
    if op == "pad":  # the constant is exact
        params = params | {"value": 0.0}
    return np.abs(_forward(op, arrays, params))


def _added(call: _Call) -> Array:
    return np.asarray(sum(call.errors))


def _linear_in_x(call: _Call) -> Array:
    return call.at(*call.errors)


def _bilinear(call: _Call) -> Array:
    """f(e_x, |w|) + f(|x|, e_w) + f(e_x, e_w), and the error of a bias."""
    x, w, *bias = map(np.abs, call.inputs)
    dx, dw, *_ = call.errors
    passed = call.at(dx, w + dw) + call.at(x, dw)
    if bias:
        passed = passed + call.errors[2].reshape((-1,) + (1,) * (passed.ndim - 2))
    return np.asarray(passed)


def _resampled(call: _Call) -> Array:
    """The weights with their absolute values."""
    params = {
        k: t._replace(weights=tuple(tuple(map(abs, w)) for w in t.weights))
        for k, t in call.params.items()
    }
    return _forward(call.op, call.errors, params)


def _leaked(call: _Call) -> Array:
    """The steeper side, and the error of the slope."""
    (x, slope), (e_x, e_slope) = call.inputs, call.errors
    wide = (-1,) + (1,) * (x.ndim - 2)
    steep, near = np.maximum(np.abs(slope) + e_slope, 1), np.abs(x) + e_x
    return np.asarray(steep.reshape(wide) * e_x + e_slope.reshape(wide) * near)


def _quotient(call: _Call) -> Array:
    da, db = call.errors
    room = np.abs(call.inputs[1]) - db
    return np.where(room > 0, (da + np.abs(call.y) * db) / np.where(room > 0, room, 1), np.inf)


def _monotone(call: _Call) -> Array:
    (x,), (e,) = call.inputs, call.errors
    return np.asarray(np.maximum(call.at(x + e) - call.y, call.y - call.at(x - e)))


def _slope(largest: float) -> Callable[[_Call], Array]:
    """A curve that nowhere rises or falls faster than ``largest``."""
    return lambda call: np.asarray(largest * call.errors[0])


def _powered(call: _Call) -> Array:
    """|c| |x'|^(c - 1) e, x' being the end of the interval where that is larger."""
    (x,), (e,), c = call.inputs, call.errors, call.params["exponent"]
    end = np.abs(x) + (e if c >= 1 else -e)
    return np.where(end > 0, np.abs(c) * np.abs(end) ** (c - 1) * e, np.inf)


def _line(call: _Call) -> Array:
    """A slope that is constant on each side of a kink: the whole jump where a kink is near."""
    (dy, at), (e, near) = call.inputs, call.errors
    low, high = (_forward(call.op, [np.ones_like(dy), at + d], call.params) for d in (-near, near))
    return np.asarray(np.maximum(low, high) * e + np.abs(dy) * np.abs(high - low))


_BENDS: dict[str, Callable[[Array, Array], Array]] = {
    "tanh": lambda y, e: 2 * np.abs(y) * e + e * e,
    "sigmoid": lambda y, e: e,
    "silu": lambda x, e: 0.5 * e,
    "hardswish": lambda x, e: e / 3 + 0.5 * (np.abs(np.abs(x) - 3) <= e),
}


def _curve(call: _Call) -> Array:
    """dy s(at): the slope s is known to within what it bends over the interval."""
    (dy, at), (e_dy, e_at) = call.inputs, call.errors
    slope = np.abs(_forward(call.op, [np.ones_like(dy), at], call.params))
    bend = _BENDS[call.params["of"]](at, e_at)
    return np.asarray((slope + bend) * e_dy + np.abs(dy) * bend)


def _softmax(call: _Call) -> Array:
    """Each e^x, and their sum, are off by a factor of at most e^E, E = max e."""
    largest = call.errors[0].max(axis=-1, keepdims=True)
    return np.asarray(call.y * np.expm1(2 * largest))


def _log_softmax(call: _Call) -> Array:
    return np.asarray(call.errors[0] + call.errors[0].max(axis=-1, keepdims=True))


def _softmax_input_grad(call: _Call) -> Array:
    """p (dy - sum dy p), each factor at the far end of its interval."""
    (dy, p), (e_dy, e_p) = call.inputs, call.errors
    dy, p = np.abs(dy) + e_dy, np.abs(p) + e_p
    along, e_along = (v.sum(axis=-1, keepdims=True) for v in (dy * p, e_dy * p + dy * e_p))
    return np.asarray(e_p * (dy + along) + p * (e_dy + e_along))


def _log_softmax_input_grad(call: _Call) -> Array:
    (dy, z), (e_dy, e_z) = call.inputs, call.errors
    total, e_total = (v.sum(axis=-1, keepdims=True) for v in (np.abs(dy), e_dy))
    return np.asarray(e_dy + np.exp(z) * (np.expm1(e_z) * (total + e_total) + e_total))


def _normalized(call: _Call) -> Array:
    """y = (x - mean) gamma r + beta, r = 1 / sqrt(var + eps) at the low end of var."""
    shape = (-1,) + (1,) * (call.y.ndim - 2)
    x, mean, var, gamma, _ = (a if a.ndim > 1 else a.reshape(shape) for a in call.inputs)
    e_x, e_mean, e_var, e_gamma, e_beta = (
        e if e.ndim > 1 else e.reshape(shape) for e in call.errors
    )
    eps = call.params["eps"]
    r, high = 1 / np.sqrt(var + eps), 1 / np.sqrt(np.maximum(var - e_var, 0) + eps)
    far, near = np.abs(x - mean), e_x + e_mean
    passed = np.abs(gamma) * (high * near + far * (high - r)) + e_gamma * (far + near) * high
    return np.asarray(passed + e_beta)


_PASSED: dict[str, Callable[[_Call], Array]] = {
    **dict.fromkeys(["add", "sub"], _added),
    **dict.fromkeys(
        ["sum", "scatter", "avg_pool2d", "avg_pool2d_input_grad", "global_avg_pool", "astype"],
        _linear_in_x,
    ),
    **dict.fromkeys(
        ["mul", "matmul", "linear", "conv2d", "conv2d_input_grad", "conv2d_weight_grad"], _bilinear
    ),
    **dict.fromkeys(
        [*(f.name for f in FUNCTIONS_OF_ONE if f.monotone), "sqrt", "clamp", "rounded"],
        _monotone,
    ),
    **dict.fromkeys(["resample", "resample_input_grad"], _resampled),
    "prelu": _leaked,
    "div": _quotient,
    "power": _powered,
    "silu": _slope(1.1),
    "hardswish": _slope(1.5),
    "line_slope": _line,
    "curve_slope": _curve,
    "softmax": _softmax,
    "log_softmax": _log_softmax,
    "softmax_input_grad": _softmax_input_grad,
    "log_softmax_input_grad": _log_softmax_input_grad,
    "batch_norm_eval": _normalized,
}


def _passing(op: str) -> Callable[[_Call], Array]:
    if op not in _PASSED:
        raise GraphError(f"{op} has no bound behind other steps: judge it by itself")
    return _PASSED[op]
