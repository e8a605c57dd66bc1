"""Why to believe a gradient: it is held against differences of the function itself.

For a direction v in the inputs and a direction u in the outputs,

    <u, J v>  =  d/dt <u, f(x + t v)> at t = 0      measured by differences,
    <J^T u, v>                                      told by the rules,

and the two must agree.  The same is then asked of x, u -> J^T u itself, which checks the
derivative of the derivative, and so on to the wanted order.

The measured side is Ridders' extrapolation of central differences,

    D(h) = (F(h) - F(-h)) / 2h = F'(0) + c2 h^2 + c4 h^4 + ...,

over h, h/2, h/4, ...: the tableau removes one power of h^2 a column, and neighbouring
entries give its error.  So the tolerance is measured with the value, not tuned.  Where
the error stays large the function has a kink nearby, and the check says so instead of
passing.  At a kink itself the central differences agree with each other; but the gap

    (F(h) - 2 F(0) + F(-h)) / h  ->  (slope after) - (slope before),

which halves with h where F is smooth, stays.

Source: C. Ridders, Advances in Engineering Software 4 (1982), 75-76.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from minigrad.arguments import integer, number, quoted
from minigrad.autograd import gradients, variable, vjp
from minigrad.errors import ArgumentError, DtypeError, MinigradError
from minigrad.tensor import Array, Tensor, as_tensor, enable_grad, no_grad

__all__ = ["GradientError", "check_grads", "ridders"]

STEPS = 7
SAFETY = 10.0  # the estimate of an error is itself only an estimate
CONCLUSIVE = 2e-4  # a measured slope whose error is a larger share proves nothing


class GradientError(MinigradError, AssertionError):
    """A rule and the differences disagree, or the differences prove nothing."""


class Measured(NamedTuple):
    """A slope, how far it may be off, and by how much it jumps there."""

    value: float
    error: float
    jump: float = 0.0


def ridders(f: Callable[[float], float], h: float) -> Measured:
    """f'(0) by extrapolated central differences, with an error.

    Truncation is estimated from the tableau; rounding is u |F| / h at the smallest h used.

    Parameters
    ----------
    f : callable
        A number to a number.
    h : float
        The largest step.

    Returns
    -------
    Measured
        The slope, its error, and the jump of the slope at 0 where there is one.

    Examples
    --------
    >>> bool(abs(ridders(math.exp, 0.1).value - 1) < 1e-11)
    True
    """
    centre = f(0.0)
    scale = abs(centre)
    gaps: list[float] = []
    table: list[list[float]] = []
    best = Measured(np.nan, np.inf)
    for k in range(STEPS):
        step = h / 2**k
        above, below = f(step), f(-step)
        scale = max(scale, abs(above), abs(below))
        rounding = 4 * np.finfo(np.float64).eps * scale / step
        gaps.append((above - 2 * centre + below) / step)
        row = [(above - below) / (2 * step)]
        for j, left in enumerate(table[-1] if table else []):
            row.append(row[j] + (row[j] - left) / (4.0 ** (j + 1) - 1))
        if table:
            change = max(abs(row[-1] - row[-2]), abs(row[-1] - table[-1][-1]))
            if change + rounding < best.error:
                best = Measured(row[-1], change + rounding)
        table.append(row)
    return best._replace(jump=_jump(gaps, CONCLUSIVE * max(abs(best.value), 1e-3) + rounding))


def _jump(gaps: Sequence[float], least: float) -> float:
    """What the gaps tend to: 0 unless they stay, and are more than rounding makes them.

    Where F is smooth they halve from one to the next, and what rounding adds to them doubles.
    """
    earlier, before, last = map(abs, gaps[-3:])
    stays = 0.75 * before < last < 1.4 * before and 0.75 * earlier < before < 1.4 * earlier
    return gaps[-1] if stays and last > least else 0.0


def check_grads(
    f: Callable[..., Tensor],
    *xs: Any,
    order: int = 2,
    step: float = 1e-2,
    rng: np.random.Generator | None = None,
) -> None:
    """Check the derivatives of f at xs, up to ``order``, against differences.

    Parameters
    ----------
    f : callable
        Tensors to one Tensor.
    *xs : array_like
        Numbers, or arrays of float64; the point must not lie within ``step`` of a kink of f.
    order : int
        How many times f is differentiated.
    step : float
        The largest step of the differences, in units of each input.
    rng : numpy.random.Generator, optional
        Where the directions come from; the same ones each time by default.

    Raises
    ------
    GradientError
        If a rule is wrong, if the function has a kink at the point, or if the differences
        are too uncertain to tell, as near a kink.
    DtypeError
        If an input is not float64: differences in float32 prove nothing.
    ArgumentError
        If f is no function, or another argument has a wrong type.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.check_grads(lambda x: mg.exp(x) * x, [0.5, 1.0])
    """
    if not callable(f):
        raise ArgumentError(f"check_grads takes a function of Tensors, not {quoted(f)}")
    order = integer("check_grads", "order", order, least=1)
    step = number("check_grads", "step", step, above=0, below=math.inf)
    if rng is not None and not isinstance(rng, np.random.Generator):
        raise ArgumentError(f"check_grads: rng must be a Generator, not {quoted(rng)}")
    rng = rng or np.random.default_rng(0)
    points = [as_tensor(x, np.float64, "check_grads").array.copy() for x in xs]
    for point in points:
        if point.dtype != np.float64:
            raise DtypeError(f"check_grads works in float64, got {point.dtype}")
    _check(f, points, order, step, rng, "")


def _check(
    f: Callable[..., Tensor],
    points: Sequence[Array],
    order: int,
    step: float,
    rng: np.random.Generator,
    where: str,
) -> None:
    """Order 1 for f, then the same for its vjp as a function of inputs and cotangent."""
    y = f(*(Tensor(p) for p in points))
    if not isinstance(y, Tensor):
        raise ArgumentError(f"check_grads: the function must return a Tensor, not {quoted(y)}")
    u = _direction(y.shape, rng)
    vs = [_direction(p.shape, rng) for p in points]
    _compare(f, points, u, vs, step, where)
    if order > 1:
        for k in range(len(points)):
            _check(_pulled(f, k), [*points, u], order - 1, step, rng, f"{where}x̄[{k}] of ")


def _direction(shape: Sequence[int], rng: np.random.Generator) -> Array:
    """Entries of size 1/2 to 1 and random sign: none is small enough to hide an error."""
    y: Array = rng.uniform(0.5, 1, shape) * rng.choice([-1.0, 1.0], shape)
    return y


def _pulled(f: Callable[..., Tensor], k: int) -> Callable[..., Tensor]:
    """(x_1, ..., x_n, u) -> J_k^T u, recorded, so that it can be checked like any function."""

    def cotangent_of_k(*args: Tensor) -> Tensor:
        *xs, u = args
        with enable_grad():
            variables = [variable(x) for x in xs]
            y = f(*variables)
            return gradients(y, [variables[k]], u, create_graph=True)[0]

    return cotangent_of_k


def _compare(
    f: Callable[..., Tensor],
    points: Sequence[Array],
    u: Array,
    vs: Sequence[Array],
    step: float,
    where: str,
) -> None:
    _, pull = vjp(f, *points)
    told = [g.numpy() for g in pull(u)]
    for k, v in enumerate(vs):
        _agree(_measure(f, points, u, k, v, step), float(np.sum(told[k] * v)), where, k)
    for k, index in _single_entries(points):
        basis = np.zeros(points[k].shape)
        basis[index] = 1.0
        _agree(_measure(f, points, u, k, basis, step), float(told[k][index]), where, k, index)


def _single_entries(points: Sequence[Array]) -> list[tuple[int, tuple[int, ...]]]:
    """The first, middle and last entry of each input, checked one at a time.

    A direction over all entries sees any wrong sum; single entries say where it is.
    """
    return [
        (k, tuple(int(i) for i in np.unravel_index(flat, p.shape)))
        for k, p in enumerate(points)
        for flat in sorted({0, p.size // 2, p.size - 1})
        if p.size
    ]


def _measure(
    f: Callable[..., Tensor], points: Sequence[Array], u: Array, k: int, v: Array, step: float
) -> Measured:
    def along(t: float) -> float:
        moved = [p + t * v if i == k else p for i, p in enumerate(points)]
        with no_grad():
            return math.fsum((u * f(*(Tensor(m) for m in moved)).numpy()).ravel())

    return ridders(along, step)


def _agree(
    measured: Measured, told: float, where: str, k: int, index: tuple[int, ...] | None = None
) -> None:
    entry = f"entry {index} of " if index is not None else ""
    size = max(abs(measured.value), abs(told))
    tolerance = SAFETY * measured.error
    if measured.jump:
        before, after = (measured.value + sign * measured.jump / 2 for sign in (-1, 1))
        raise GradientError(
            f"{where}{entry}input {k}: the function has a kink at this point, where its slope goes "
            f"from {before:.6g} to {after:.6g} (the rules say {told:.6g}): check it elsewhere"
        )
    if (
        not np.isfinite(told)
        or not np.isfinite(measured.value)
        or abs(told - measured.value) > (tolerance)
    ):
        raise GradientError(
            f"{where}{entry}input {k}: the rules say {told:.12g}, "
            f"differences {measured.value:.12g} +- {measured.error:.1g}"
        )
    if tolerance > CONCLUSIVE * max(size, 1e-3):
        raise GradientError(
            f"{where}{entry}input {k}: differences give {measured.value:.6g} +- "
            f"{measured.error:.1g}, too uncertain to tell; is there a kink within the step?"
        )
