"""Random calls of the operations on every backend, forward and backward, against float64.

    python -m tests.differential --count 20000 --seed 1

Convolutions with asymmetric parameters, pools, normalisations, losses, linear layers,
reductions and activations are drawn with zero sizes, hard magnitudes and odd memory
(``minigrad.verify.strategies``).  Every primitive that a call reaches, forward and backward, is
computed again in float64 from the very inputs that it had, by the loops of the reference (or
by NumPy where they would take too long), and must lie within its own bound
(``minigrad.verify.bounds``).  A call that is refused must be refused by every backend, in the
same words.  What fails is reduced by hypothesis to a small case, which is printed.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

import minigrad as mg
from minigrad.errors import MinigradError
from minigrad.kernels import BACKENDS, find, unavailable
from minigrad.tensor import evaluate, interpreting
from minigrad.threads import threads
from minigrad.verify.bounds import gamma, step_bound
from minigrad.verify.own import own_bound
from minigrad.verify.strategies import (
    DTYPES,
    LAYOUTS,
    TILES,
    VALUES,
    conv_problems,
    filled,
    laid_out,
    pool_windows,
)

AVAILABLE = [name for name in BACKENDS if not unavailable(name)]
BOUNDS = {"numba": own_bound, "cython": own_bound}  # of blocked sums; others add in any order
TAME = ("normal", "cancelling", "sparse")  # the exponential of the others is 0 or infinite


class Call(NamedTuple):
    """A function of tensors, the arrays it is called with, and how many threads may run it."""

    name: str
    f: Callable[..., mg.Tensor]
    arrays: list[np.ndarray]
    threads: int

    @property
    def short(self) -> bool:
        """Whether the loops of the reference can follow."""
        return sum(a.size for a in self.arrays) < 1500

    def __repr__(self) -> str:
        shapes = ", ".join(f"{a.dtype.name} {a.shape} strides {a.strides}" for a in self.arrays)
        return f"{self.name} of {shapes}; {self.threads} threads"


# --- what is drawn ----------------------------------------------------------------------


class Drawn:
    """Arrays of one dtype, each of its own magnitude and place in memory."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.dtype = draw(st.sampled_from(DTYPES))
        self.rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))

    def array(self, shape: tuple[int, ...], values: tuple[str, ...] = VALUES) -> np.ndarray:
        x = filled(self.rng, shape, self.dtype, self.draw(st.sampled_from(values)))
        return laid_out(x, self.draw(st.sampled_from(LAYOUTS)))

    def call(self, name: str, f: Callable[..., mg.Tensor], *arrays: np.ndarray) -> Call:
        return Call(name, f, list(arrays), self.draw(st.integers(1, 3)))


SIZES = st.one_of(st.integers(1, 5), st.sampled_from([0, 1, 2, *TILES]))


@st.composite
def convolutions(draw: st.DrawFn) -> Call:
    problem = draw(conv_problems(max_terms=2000))
    x, w, bias, _ = (laid_out(a, draw(st.sampled_from(LAYOUTS))) for a in problem.arrays())
    stride, padding, dilation, groups = problem.spec
    f = partial(mg.conv2d, stride=stride, padding=padding, dilation=dilation, groups=groups)
    given = (x, w, bias) if draw(st.booleans()) else (x, w)
    return Call(f"conv2d {problem.spec}", f, list(given), draw(st.integers(1, 3)))


@st.composite
def pools(draw: st.DrawFn) -> Call:
    how = Drawn(draw)
    largest = draw(st.booleans())
    shape, window = draw(pool_windows(dilated=largest))
    options = {"stride": window.stride, "padding": window.padding, "ceil_mode": window.ceil_mode}
    if largest:
        f = partial(mg.max_pool2d, dilation=window.dilation, **options)
    else:
        f = partial(mg.avg_pool2d, count_include_pad=draw(st.booleans()), **options)
    name = f"{f.func.__name__} {window}"
    return how.call(name, partial(f, kernel_size=window.kernel), how.array(shape))


@st.composite
def means_of_maps(draw: st.DrawFn) -> Call:
    how = Drawn(draw)
    shape = (draw(st.integers(0, 2)), draw(SIZES), draw(SIZES), draw(SIZES))
    return how.call("global_avg_pool", mg.global_avg_pool, how.array(shape))


@st.composite
def batch_norms(draw: st.DrawFn) -> Call:
    how, training = Drawn(draw), draw(st.booleans())
    tail = draw(st.sampled_from([(), (1, 1), (3, 5), (17, 2), (1, 33), (0, 2), (181, 97)]))
    shape = (draw(st.sampled_from([1, 2, 3, 0])), draw(st.sampled_from([1, 3, 17, 0])), *tail)
    if len(tail) == 2 and tail[0] > 100:
        shape = (shape[0], min(shape[1], 2), *tail)
    x = how.array(shape)
    if draw(st.booleans()):
        x = (x + x.dtype.type(1000)).astype(x.dtype)  # a mean far above the deviation
    mean, var, gamma, beta = (how.array(shape[1:2], ("normal", "spread")) for _ in range(4))
    eps = draw(st.sampled_from([1e-5, 1e-3]))
    if training:

        def f(x, gamma, beta):
            return mg.batch_norm(x, None, None, gamma, beta, training=True, eps=eps)

        return how.call("batch_norm in training", f, x, gamma, beta)
    f = partial(mg.batch_norm, eps=eps)
    return how.call("batch_norm", f, x, mean, np.abs(var), gamma, beta)


@st.composite
def losses(draw: st.DrawFn) -> Call:
    how = Drawn(draw)
    rows, classes = draw(SIZES), draw(st.sampled_from([1, 2, 3, 16, 17, 1000]))
    labels = how.rng.integers(0, classes, rows)
    weight = how.rng.uniform(0.5, 2, classes) if draw(st.booleans()) else None
    ignored = int(labels[0]) if rows and draw(st.booleans()) else None
    smoothing = draw(st.sampled_from([0.0, 0.1, 1.0]))
    f = partial(mg.cross_entropy, labels=labels, label_smoothing=smoothing,
                weight=weight, ignore_index=ignored)  # fmt: skip
    return how.call(f"cross_entropy {f.keywords}", f, how.array((rows, classes), TAME))


@st.composite
def products(draw: st.DrawFn) -> Call:
    how = Drawn(draw)
    inner = draw(st.one_of(SIZES, st.sampled_from([255, 257, 4096, 4097, 9001])))
    rows, outer = (draw(SIZES) if inner < 100 else draw(st.integers(0, 3)) for _ in (0, 1))
    x, w = how.array((rows, inner)), how.array((outer, inner))
    kind = draw(st.sampled_from(["linear", "linear with bias", "matmul"]))
    if kind == "matmul":
        return how.call(kind, lambda a, b: mg.matmul(a, mg.transpose(b, 0, 1)), x, w)
    bias = (how.array((outer,)),) if kind == "linear with bias" else ()
    return how.call(kind, mg.linear, x, w, *bias)


@st.composite
def reductions(draw: st.DrawFn) -> Call:
    how = Drawn(draw)
    shape = tuple(draw(st.lists(SIZES, max_size=3)))
    if draw(st.integers(0, 7)) == 0:
        shape = draw(st.sampled_from([(20_001,), (9_001, 2), (2, 9_001), (1, 2, 130, 70)]))
    axes = tuple(k for k in range(len(shape)) if draw(st.booleans()))
    function = draw(st.sampled_from([mg.sum, mg.mean, mg.max]))
    f = partial(function, axis=axes, keepdims=draw(st.booleans()))
    return how.call(f"{function.__name__} {f.keywords}", f, how.array(shape))


@st.composite
def softmaxes(draw: st.DrawFn) -> Call:
    how = Drawn(draw)
    shape = tuple(draw(st.lists(SIZES, min_size=1, max_size=3)))
    axis = draw(st.integers(0, len(shape) - 1))
    function = draw(st.sampled_from([mg.softmax, mg.log_softmax]))
    f = partial(function, axis=axis)
    return how.call(f"{function.__name__} axis {axis}", f, how.array(shape, TAME))


ACTIVATIONS = (
    mg.relu, mg.relu6, mg.hardsigmoid, mg.hardswish, mg.sigmoid, mg.silu, mg.tanh, mg.exp,
)  # fmt: skip


@st.composite
def activations(draw: st.DrawFn) -> Call:
    how, function = Drawn(draw), draw(st.sampled_from(ACTIVATIONS))
    shape = tuple(draw(st.lists(SIZES, max_size=4)))
    shape = shape if np.prod(shape) < 20_000 else shape[:2]
    values = ("normal", "cancelling") if function is mg.exp else VALUES
    return how.call(function.__name__, function, how.array(shape, values))


calls = st.one_of(
    convolutions(), convolutions(), convolutions(), pools(), pools(), means_of_maps(),
    batch_norms(), losses(), products(), reductions(), softmaxes(), activations(),
)  # fmt: skip


# --- what must hold ---------------------------------------------------------------------


def widened(value: Any) -> Any:
    """A float array in float64 and C order; everything else as it is."""
    is_float = isinstance(value, np.ndarray) and value.dtype.kind == "f"
    return np.array(value, np.float64, order="C") if is_float else value


def misfits(op, inputs, params, y, definition, bound) -> Iterator[str]:
    """What is wrong with y, the result of one primitive that ``definition`` runs in float64."""
    arrays = [None if x is None else x.array for x in inputs]
    dtype = y.array.dtype
    with mg.backend(definition), np.errstate(all="ignore"):
        exact = op.forward(*map(widened, arrays), **{k: widened(v) for k, v in params.items()})
        exact = np.asarray(exact[0] if isinstance(exact, tuple) else exact)
        if (exact.shape, arrays[0].dtype) != (y.array.shape, dtype):
            yield f"{op.name} gives {dtype} {y.array.shape}, not {exact.shape}"
            return
        allowed = bound(op.name, arrays, params, exact, dtype)
        error = np.abs(y.array - exact)
        same = (y.array == exact) | (np.isnan(y.array) & np.isnan(exact)) | (error <= allowed)
    if not same.all():
        at = np.unravel_index(int(np.argmin(same)), same.shape)
        at = tuple(int(k) for k in at)
        yield f"{op.name} at {at}: {y.array[at]!r}, exactly {exact[at]!r}, bound {allowed[at]:.3g}"


def statistics(x: np.ndarray) -> Iterator[str]:
    """Mean and variance of each channel, which are no primitives, to a rounding or two."""
    with np.errstate(all="ignore"):
        axes, wide = (0, *range(2, x.ndim)), widened(x)
        count = x.size // max(x.shape[1], 1)
        mean, var = find("batch_norm_statistics").call(x)
        for name, got, exact, size in (
            ("mean", mean, wide.mean(axes), np.abs(wide).mean(axes)),
            ("var", var, wide.var(axes), wide.var(axes)),
        ):
            info = np.finfo(x.dtype)
            allowed = info.eps * np.abs(exact) + 2 * gamma(count + 9, np.float64) * size
            wrong = ~(np.abs(got - exact) <= allowed + info.smallest_subnormal)
            if np.any(wrong & ~(np.isnan(got) & np.isnan(exact))):
                yield f"{name} of x {x.shape}: {got[wrong][0]!r}, exactly {exact[wrong][0]!r}"


def attempt(call: Call, name: str) -> tuple[list[str], str | None]:
    """What is wrong with a call on one backend, and the words in which it is refused."""
    found: list[str] = []
    definition = "reference" if call.short else "numpy"
    bound = BOUNDS.get(name, step_bound)

    def interpreter(op, inputs, params):
        y = evaluate(op, inputs, params)
        found.extend(misfits(op, inputs, params, y, definition, bound))
        return y

    with mg.backend(name), threads(call.threads):
        try:
            with interpreting(interpreter):
                y = call.f(*(mg.Tensor(a, requires_grad=True) for a in call.arrays))
                y.backward(np.linspace(-1, 1, y.size, dtype=y.dtype).reshape(y.shape))
            if call.name == "batch_norm in training":
                found += statistics(call.arrays[0])
        except MinigradError as error:
            return found, f"{type(error).__name__}: {error}"
    return found, None


def differences(call: Call) -> Iterator[str]:
    """Everything that is wrong with a call on any backend, as sentences."""
    before = [a.tobytes() for a in call.arrays]
    refusals = {}
    for name in AVAILABLE:
        if call.short or name != "reference":
            found, refusals[name] = attempt(call, name)
            yield from (f"{name}: {sentence}" for sentence in found)
    if len(set(refusals.values())) > 1:
        yield f"not refused alike: {refusals}"
    if [a.tobytes() for a in call.arrays] != before:
        yield "an input was written to"


def run(count: int, start: int, piece: int = 1000) -> Counter[str]:
    """Try ``count`` calls, and say how many of each operation there were."""
    tried: Counter[str] = Counter()
    for first in range(0, count, piece):

        @seed(start * 1_000_003 + first)
        @settings(
            max_examples=min(piece, count - first), database=None, deadline=None,
            derandomize=False, phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(calls)
        def check(call: Call) -> None:
            tried[call.name.split()[0]] += 1
            found = list(differences(call))
            assert not found, "\n".join([repr(call), *found])

        check()
        print(f"{min(first + piece, count)} of {count}", file=sys.stderr)
    return tried


def main() -> None:
    """The command: exit 1 and the reduced case at the first difference."""
    parser = argparse.ArgumentParser(description="Random calls on every backend against float64.")
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    tried = run(options.count, options.seed)
    for name, number in tried.most_common():
        print(f"{number:7} {name}")
    print(f"{tried.total():7} calls on {', '.join(AVAILABLE)}: no difference")


if __name__ == "__main__":
    main()
