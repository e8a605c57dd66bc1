"""Bugs planted on purpose: each must make the check fail that is there to find it.

A rule of any primitive, off by 1 per cent or dropped, must fail `check_grads` on some case of
its row.  A NumPy convolution or pool with one line wrong must leave the bound of the
reference on one of a few small problems.
"""

from __future__ import annotations

import inspect
import types

import numpy as np
import pytest

import minigrad as mg
from minigrad.geometry import ConvSpec, conv_spec
from minigrad.gradcheck import GradientError
from minigrad.kernels import classify, reference
from minigrad.kernels import numpy as numpy_backend
from minigrad.kernels.contract import PoolWindow
from minigrad.tensor import PRIMITIVES
from minigrad.verify import bounds
from minigrad.verify.cases import CASES, CONVOLUTIONS

pytestmark = pytest.mark.newest

RULES = [(name, argument) for name, op in PRIMITIVES.items() for argument in op.rules]
PLANTED = {
    "1 per cent too much": lambda g: g * 1.01,
    "of the other sign": lambda g: -g,
    "nothing": lambda g: g * 0.0,
}


def plant(monkeypatch, primitive, argument, change):
    """Change what one rule returns; its parameters, and so what is saved for it, stay."""
    rules = PRIMITIVES[primitive].rules
    rule = rules[argument]
    changed = rule._replace(function=lambda *args: change(rule.function(*args)))
    monkeypatch.setitem(rules, argument, changed)


def found(case, order):
    try:
        mg.check_grads(case, *case.arrays(), order=order)
    except GradientError:
        return True
    return False


@pytest.mark.parametrize("change", PLANTED.values(), ids=PLANTED)
@pytest.mark.parametrize(("primitive", "argument"), RULES, ids=".".join)
def test_a_wrong_rule_is_found(monkeypatch, primitive, argument, change):
    plant(monkeypatch, primitive, argument, change)
    assert any(found(case, order=1) or found(case, order=2) for case in CASES[primitive])


@pytest.mark.parametrize("primitive", ["conv2d", "conv2d_input_grad", "conv2d_weight_grad"])
def test_a_wrong_rule_of_a_convolution_is_found_by_every_case_that_uses_it(monkeypatch, primitive):
    for argument in PRIMITIVES[primitive].rules:
        with monkeypatch.context() as patch:
            plant(patch, primitive, argument, PLANTED["1 per cent too much"])
            for case in CASES[primitive]:
                assert found(case, order=1) or (argument == "bias" and len(case.shapes) == 2)


def test_without_a_mutant_nothing_is_found():
    assert not any(found(row[0], order=1) for row in CASES.values())


# --- kernels ----------------------------------------------------------------------------
# (function, the line as it is, the line with the bug)

FILES = (
    numpy_backend, numpy_backend.layout, numpy_backend.reductions, numpy_backend.dense,
    numpy_backend.depthwise, numpy_backend.dense_gradients, numpy_backend.depthwise_gradients,
    numpy_backend.pooling,
)  # fmt: skip
KERNEL_MUTANTS = [
    ("conv2d", "y += bias[:, None, None]", "y += 2 * bias[:, None, None]"),
    ("conv2d", "y += bias[:, None, None]", "pass"),
    ("conv2d", "part += (", "part[...] = ("),
    ("conv2d", "filters[tap.a, tap.b]", "filters[tap.b, tap.a]"),
    ("conv2d", "filters[tap.a, tap.b]", "filters[-1 - tap.a, -1 - tap.b]"),
    ("conv2d", "part = y[:, :,", "part = y[:, :-1,"),
    ("conv2d_input_grad", ".swapaxes(-1, -2)", ""),
    ("conv2d_input_grad", "part += (", "part[...] = ("),
    ("conv2d_input_grad", "filters[tap.a, tap.b]", "filters[0, 0]"),
    ("conv2d_weight_grad", "total(product(left, right), (0,))", "product(left, right).mean(0)"),
    ("conv2d_weight_grad", "total(product(left, right), (0,))", "product(left, right)[0]"),
    ("total", "*kept, *axes", "*axes, *kept"),
    ("conv2d_weight_grad", "dw[:, :, tap.a, tap.b]", "dw[:, :, tap.a, 0]"),
    ("depthwise_conv2d", "w[:, 0, tap.a, tap.b]", "w[:, 0, tap.b, tap.a]"),
    ("depthwise_conv2d", "y += bias[:, None, None]", "pass"),
    ("depthwise_conv2d", "w[:, 0, tap.a, tap.b][:, None, None]", "w[:, 0, tap.a, tap.b][0]"),
    ("depthwise_conv2d_input_grad", "w[:, 0, tap.a, tap.b]", "w[:, 0, 0, tap.b]"),
    ("depthwise_conv2d_weight_grad", "np.float64) * right", "np.float64) * left"),
    ("_slices", "tap * axis.dilation", "tap"),
    ("_slices", "first * axis.stride - axis.before", "first * axis.stride"),
    ("_slices", "first * axis.stride -", "1 + first * axis.stride -"),
    ("_slices", "last - first) * axis.stride, axis.stride", "last - first), 1"),
    ("axes", "spec.padding[i][0]", "spec.padding[i][1]"),
    ("axes", "spec.padding[i][0]", "spec.padding[1 - i][0]"),
    ("axes", "spec.dilation[i]", "spec.dilation[0]"),
    ("axes", "Axis(size[i]", "Axis(size[i] - 1"),
    ("taps", "for tap in range(axis.kernel)", "for tap in range(axis.kernel - 1)"),
    ("taps", "rows.stop > rows.start and", "rows.start < rows.stop - 1 and"),
    ("matrices", "transpose(3, 4, 0, 1, 2)", "transpose(4, 3, 0, 1, 2)"),
    ("matrices", "w.reshape(groups, cout // groups", "w.reshape(cout // groups, groups"),
    ("grouped", "(n, groups, c // groups", "(n, c // groups, groups"),
    ("max_pool2d", "seen > best", "seen >= best"),
    ("max_pool2d", " | (where < 0)", ""),
    ("max_pool2d", "seen > best", "seen < best"),
    ("max_pool2d", " | (np.isnan(seen) & ~np.isnan(best))", ""),
    ("max_pool2d_input_grad", "np.add.at(dx, at.ravel(), g.ravel())", "dx[at.ravel()] = g.ravel()"),
    ("max_pool2d_input_grad", "size * np.arange", "(size - 1) * np.arange"),
    ("avg_pool2d", "divisor(x.shape, window, count_include_pad)",
     "divisor(x.shape, window, not count_include_pad)"),
    ("avg_pool2d_input_grad", "share = g /", "share = g *"),
    ("divisor", "x_shape[2 + i] + after)", "10**6)"),
    ("divisor", "np.maximum(start, 0)", "start"),
]  # fmt: skip


@pytest.fixture
def mutated(monkeypatch):
    """Change one line of a function of the NumPy backend, wherever it is imported."""

    def change(name, line, bug):
        function = next(vars(file)[name] for file in FILES if name in vars(file))
        source = inspect.getsource(function)
        assert line in source, f"{name} has no line {line!r}: the mutant must follow the code"
        namespace = dict(function.__globals__)
        exec(source.replace(line, bug), namespace)
        for file in FILES:
            if vars(file).get(name) is function:
                monkeypatch.setattr(file, name, namespace[name])

    return change


def kernel_of(backend, function, spec, w_shape):
    own = f"{classify(spec, w_shape)}_{function}"
    return getattr(backend, own, None) or getattr(backend, function)


def convolutions_agree(backend):
    """The property of tests/kernels/test_numpy.py, on the convolutions of the case table."""
    rng = np.random.default_rng(0)
    for _, x_shape, w_shape, how in CONVOLUTIONS:
        spec = conv_spec(x_shape, w_shape, **how)
        x, w, bias = (rng.normal(size=s) for s in (x_shape, w_shape, w_shape[:1]))
        g = rng.normal(size=reference.conv2d(x, w, None, spec).shape)
        calls = {
            "conv2d": (x, w, bias, spec),
            "conv2d_input_grad": (g, w, x_shape, spec),
            "conv2d_weight_grad": (g, x, w_shape, spec),
        }
        for function, arguments in calls.items():
            exact = getattr(reference, function)(*arguments)
            allowed = 2 * getattr(bounds, f"{function}_roundings")(*arguments).bound(np.float64)
            got = kernel_of(backend, function, spec, w_shape)(*arguments)
            if not np.all(np.abs(got - exact) <= allowed):
                return False
    return True


WINDOWS = (
    PoolWindow((2, 2), (2, 2)),
    PoolWindow((3, 3), (2, 2), ((1, 1), (1, 1))),
    PoolWindow((3, 2), (3, 1), ((1, 0), (0, 1)), ceil_mode=True),
)


def pools_agree(backend):
    """As in tests/kernels/test_numpy.py: small integers with ties, a NaN, and a map of -inf."""
    rng = np.random.default_rng(0)
    x = rng.integers(-5, 0, (2, 3, 6, 5)).astype(float)
    g_of = {w: rng.integers(-4, 5, w.output_shape(x.shape)).astype(float) for w in WINDOWS}
    flawed = x.copy()
    flawed[0, 0, 1, 1], flawed[1] = np.nan, -np.inf
    for window, g in g_of.items():
        for image in (x, flawed):
            (y, where), (best, at) = (b.max_pool2d(image, window) for b in (backend, reference))
            if not (np.array_equal(y, best, equal_nan=True) and np.array_equal(where, at)):
                return False
        y, where = reference.max_pool2d(x, window)
        if np.vdot(y, g) != np.vdot(x, backend.max_pool2d_input_grad(g, where, x.shape)):
            return False
        for counted in (True, False):
            pooled = reference.avg_pool2d(x, window, counted)
            spread = backend.avg_pool2d_input_grad(g, x.shape, window, counted)
            if not np.allclose(backend.avg_pool2d(x, window, counted), pooled, rtol=1e-12):
                return False
            if not np.isclose(np.vdot(pooled, g), np.vdot(x, spread), rtol=1e-9):
                return False
    return True


def agrees(backend):
    try:
        return convolutions_agree(backend) and pools_agree(backend)
    except (ValueError, IndexError):  # what came out does not even have the shape
        return False


@pytest.mark.parametrize(("function", "line", "bug"), KERNEL_MUTANTS, ids=lambda part: part[:40])
def test_a_wrong_line_in_a_kernel_is_found(mutated, function, line, bug):
    mutated(function, line, bug)
    assert not agrees(numpy_backend)


def test_the_kernels_as_they_are_agree(mutated):
    mutated("conv2d", "conv_output_shape", "conv_output_shape")
    assert agrees(numpy_backend)


def test_swapped_pads_are_found():
    """A spec whose pads are mirrored before every call."""

    def mirrored(function):
        def call(*arguments):
            *rest, spec = arguments
            (top, bottom), (left, right) = spec.padding
            return function(*rest, spec._replace(padding=((bottom, top), (right, left))))

        return call

    mutant = types.ModuleType("mutant")
    mutant.__dict__.update(vars(numpy_backend))
    mutant.conv2d = mirrored(numpy_backend.conv2d)
    assert convolutions_agree(numpy_backend)
    assert not convolutions_agree(mutant)


@pytest.mark.parametrize("name", ["stride", "dilation"])
def test_the_table_has_convolutions_that_need(name):
    """A table without a dilation would find no bug in one."""
    plain = getattr(ConvSpec(), name)
    specs = [conv_spec(x, w, **how) for _, x, w, how in CONVOLUTIONS]
    assert any(getattr(spec, name) != plain for spec in specs)
