"""Every public function with arguments of every wrong kind: sentences, and nothing else.

A call has one right form, and each of its arguments is replaced in turn.  What comes out is a
result (the value was allowed after all) or an error of minigrad's: one sentence, which names
the function or the layer's argument, and never Python's own complaint about an attribute.
"""

from __future__ import annotations

import inspect
import re
import warnings
from contextlib import suppress
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from minigrad import nn
from minigrad.errors import ArgumentError, DtypeError, MinigradError, ShapeError
from minigrad.geometry import ConvSpec


def t(*shape, dtype=np.float32):
    return mg.Tensor(np.linspace(0.5, 1.5, int(np.prod(shape)), dtype=dtype).reshape(shape))


def square(x):
    return (x * x).sum()


X, V, M = t(2, 4, 5, 5), t(4), t(3, 4)

# One right call of every public function; what is not in the table of names is missing.
CALLS = {
    "absolute": (M,), "add": (M, V), "argmax": (M, 1), "argmin": (M, 0),
    "astype": (M, "float64"), "avg_pool2d": (X, 2, 1, 0, False, True),
    "backward": (square(mg.ones(2, requires_grad=True)), None, True, False),
    "batch_norm": (X, V, V, V, V, True, 0.1, 1e-5), "broadcast_to": (V, (3, 4)),
    "conv_transpose2d": (X, t(4, 2, 3, 3), V, 2, 1, 1, 2, 1),
    "non_max_suppression": (t(1, 3, 4), t(1, 2, 3), 2, 0.5, 0.1, True),
    "choose": (M, V, M), "compare": (M, V, "<"), "depth_to_space": (X, 2, "CRD"),
    "dequantize": (M, 0.5, 3.0), "elu": (M, 1.0), "leaky_relu": (M, 0.1),
    "places": (M, 2, 1, False, True), "prelu": (X, V), "quantize": (M, 0.5, 3.0, 0, 15),
    "resize": (X, (7, 8), "linear", "half_pixel", "floor", [1.4, 1.6], -0.5, True, False),
    "rounded": (M, "down"), "space_to_depth": (t(1, 2, 4, 4), 2, "DCR"),
    "take_along": (M, mg.zeros(3, 2), 1), "topk": (M, 2, 1, True),
    "check_grads": (square, [1.0, 2.0]), "clamp": (M, 0.0, 1.0), "clone": (M,),
    "concat": ([M, M], 0), "conv2d": (X, t(4, 2, 3, 3), V, 1, 1, 1, 2),
    "conv2d_input_grad": (t(2, 4, 3, 3), t(4, 4, 3, 3), (2, 4, 5, 5), ConvSpec()),
    "conv2d_weight_grad": (t(2, 4, 3, 3), X, (4, 4, 3, 3), ConvSpec()),
    "cross_entropy": (M, [0, 1, 2], 0.1, [1.0, 2.0, 1.0, 1.0], 7, "mean"), "div": (M, V),
    "dropout": (M, 0.5, True, 0), "embed": (V, (8,), slice(0, 8, 2)), "enable_grad": (),
    "exp": (M,), "flatten": (X, 1, 2), "from_dlpack": (np.ones(2),), "from_numpy": (np.ones(2),),
    "full": ((2, 3), 1.5, "float32", False), "get_default_dtype": (), "getitem": (M, (0, 1)),
    "global_avg_pool": (X,), "grad": (square, 0),
    "gradients": (square(V * 1), [], None, True, False), "hardsigmoid": (M,), "hardswish": (M,),
    "hvp": (square, V, V), "is_grad_enabled": (), "jvp": (square, [V], [V]),
    "linear": (M, t(2, 4), t(2)), "log": (M,), "log_softmax": (M, 0), "mask": (V, np.ones(4, bool)),
    "matmul": (M, t(4, 2)), "max": (M,), "max_pool2d": (X, 2, 1, 0, 1, False), "maximum": (M, V),
    "mean": (M, 1, True), "min": (M,), "minimum": (M, V), "mse_loss": (M, M, "mean"),
    "mul": (M, V), "neg": (M,), "no_grad": (), "ones": (2, 3), "ones_like": (M,),
    "pad": (V, [(1, 2)], 0.5), "permute": (M, 1, 0), "power": (M, 2), "randn": (2, 3),
    "relu": (M,), "relu6": (M,), "reshape": (M, 4, 3), "scope": ("name",),
    "set_default_dtype": ("float32",), "sigmoid": (M,), "silu": (M,), "softmax": (M, 1),
    "sqrt": (M,), "squeeze": (t(1, 3), 0), "stack": ([M, M], 0), "std": (M, 1, False, 1),
    "stochastic_depth": (M, 0.5, True, 0), "sub": (M, V), "sum": (M, (0, 1), False),
    "sum_to": (M, (4,)), "tanh": (M,), "tensor": ([1.0, 2.0], False, "float32"),
    "transpose": (M, 0, 1), "unsqueeze": (M, 0), "value_and_grad": (square, 0),
    "var": (M, 1, False, 1), "vjp": (square, V), "where": (np.ones(4, bool), V, M), "zeros": (2, 3),
    "zeros_like": (M,),
    # Constructors of layers and blocks.
    "nn.Activation": ("relu",), "nn.AvgPool2d": (2, 1, 0, False, True),
    "nn.BatchNorm2d": (4, 1e-5, 0.1), "nn.Buffer": ([1.0],),
    "nn.Conv2d": (4, 4, 3, 1, 1, 1, 2, True),
    "nn.ConvBN": (4, 4, 3, 1, 1, 1, "relu", "symmetric", False, 1e-5, 0.1),
    "nn.CrossEntropyLoss": (None, None, "mean", 0.1), "nn.Dropout": (0.5, 0), "nn.Flatten": (1, -1),
    "nn.FusedMBConv": (4, 4, 4, 3, 1, 1), "nn.GlobalAvgPool": (), "nn.Hardsigmoid": (False,),
    "nn.Hardswish": (False,), "nn.Identity": (), "nn.InvertedResidual": (4, 4, 6, 3, 1, 1),
    "nn.Linear": (4, 3, True), "nn.LogSoftmax": (-1,), "nn.MSELoss": ("mean",),
    "nn.MaxPool2d": (2, 1, 0, 1, False), "nn.Module": (), "nn.Parameter": ([1.0],),
    "nn.ReLU": (False,), "nn.ReLU6": (False,), "nn.Sequential": (nn.Identity(),),
    "nn.SiLU": (False,), "nn.Sigmoid": (False,), "nn.Softmax": (-1,),
    "nn.SqueezeExcite": (4, 2, "relu", "sigmoid"), "nn.SqueezeNeXtBlock": (4, 4, 1),
    "nn.StochasticDepth": (0.5, 0), "nn.Tanh": (False,),
}  # fmt: skip

WRONG = {
    "None": None, "text": "a", "a digit": "3", "bytes": b"3", "True": True, "NaN": float("nan"),
    "inf": float("inf"), "a fraction": 0.5, "-1": -1, "0": 0, "-2**63": -(2**63), "2**31": 2**31,
    "2**63": 2**63, "10**400": 10**400, "complex": 1j, "empty": (), "a pair": (1, 2),
    "three": (1, 2, 3), "floats": (0.5, 0.5), "nested": ((1, 2), (3, 4)),
    "half nested": (1, (2, 3)),
    "ragged": [[1.0], [1.0, 2.0]], "names": ["a", "b"], "a dict": {"a": 1}, "a set": {1},
    "an object": object(), "a class": int, "a function": len, "a slice": slice(None),
    "Ellipsis": ..., "integers": np.arange(3), "bools": np.array([True, False]),
    "objects": np.array([None, 1], object), "strings": np.array(["a"]),
    "NaT": np.datetime64("NaT", "D"),
    "a 0-d array": np.array(2.0), "a 0-d integer": np.array(2), "float16": np.ones(2, np.float16),
    "float32": np.ones((3, 4), np.float32), "float64": np.ones(4), "np.True": np.True_,
    "a fraction of integers": Fraction(1, 3), "a Tensor": t(2, 2), "a 0-d Tensor": mg.tensor(1.0),
    "an empty Tensor": mg.zeros(0, 3), "a double Tensor": mg.Tensor(np.ones(4)),
    "a Parameter": nn.Parameter([1.0]), "a layer": nn.Identity(), "a dtype": np.dtype("int32"),
}  # fmt: skip


def function_of(name):
    return getattr(nn, name[3:]) if name.startswith("nn.") else getattr(mg, name)


def outcome(name, args, kwargs):
    """None, or what is wrong with the error that the call ends in."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # overflow, which IEEE 754 defines
            result = function_of(name)(*args, **kwargs)
            if callable(result) and name in ("grad", "value_and_grad"):
                result(V)
    except MinigradError as error:
        message = str(error)
        if "\n" in message.strip() or not 10 < len(message) < 600:
            return f"not a sentence: {message!r}"
    except MemoryError:
        return None
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    finally:
        mg.set_default_dtype("float32")
    return None


def names_of(function):
    parameters = inspect.signature(function).parameters.values()
    return [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]


CHAPTERS = re.compile(
    r"minigrad\.(ops|tensor|autograd|gradcheck)\b"
)  # others have tests of their own


def test_every_public_function_and_layer_has_its_call():
    public = {n: getattr(mg, n) for n in mg.__all__ if inspect.isfunction(getattr(mg, n))}
    functions = {n for n, f in public.items() if CHAPTERS.match(f.__module__)}
    layers = {f"nn.{n}" for n in nn.__all__ if inspect.isclass(getattr(nn, n))}
    assert {*functions, *layers} - set(CALLS) == set()
    for name, args in CALLS.items():
        if name != "gradients":
            function_of(name)(*args)


@pytest.mark.parametrize("name", CALLS)
def test_a_wrong_argument_is_answered_with_a_sentence(name):
    args = CALLS[name]
    faults = []
    for place in range(len(args)):
        for kind, wrong in WRONG.items():
            given = (*args[:place], wrong, *args[place + 1 :])
            if fault := outcome(name, given, {}):
                faults.append(f"argument {place} is {kind}: {fault}")
    assert faults == []


@pytest.mark.parametrize("name", CALLS)
def test_a_wrong_keyword_argument_is_answered_with_a_sentence(name):
    args = CALLS[name]
    function = function_of(name)
    faults = []
    for keyword in names_of(function)[len(args) :]:
        for kind, wrong in WRONG.items():
            if fault := outcome(name, args, {keyword: wrong}):
                faults.append(f"{keyword}= is {kind}: {fault}")
    assert faults == []


@given(
    st.sampled_from(sorted(CALLS)),
    st.lists(st.tuples(st.integers(0, 6), st.sampled_from(sorted(WRONG))), min_size=2, max_size=3),
)
def test_several_wrong_arguments_are_answered_with_a_sentence(name, changes):
    args = list(CALLS[name])
    for place, kind in changes:
        if args:
            args[place % len(args)] = WRONG[kind]
    assert outcome(name, args, {}) is None


METHODS = [
    (lambda a, b: a + b, "+"), (lambda a, b: b - a, "-"), (lambda a, b: a * b, "*"),
    (lambda a, b: a / b, "/"), (lambda a, b: b @ a, "@"), (lambda a, b: a**b, "**"),
]  # fmt: skip


@pytest.mark.parametrize("operation", METHODS, ids=lambda m: m[1] if isinstance(m, tuple) else m)
@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_operand_is_answered_with_a_sentence(operation, kind):
    wrong = WRONG[kind]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        with suppress(MinigradError):
            operation[0](t(2, 2), wrong)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: M * None, ArgumentError, "mul takes a Tensor, a number, .* not None"),
        (lambda: M - "3", ArgumentError, "sub takes a Tensor, a number, .* not '3'"),
        (lambda: mg.Tensor(None), ArgumentError, "Tensor takes .* not None"),
        (lambda: mg.Tensor([True]), ArgumentError, "not .*True"),
        (lambda: mg.conv2d(X, t(4, 4, 3, 3), stride=2**63), ShapeError, "stride must be an int"),
        (lambda: mg.conv2d(X, t(4, 4, 3, 3), padding=2**31), ShapeError, "padding must be an"),
        (lambda: mg.conv2d(X, t(4, 4, 3, 3), groups="a"), ArgumentError, "groups must be an"),
        (lambda: mg.conv2d(3, 4), DtypeError, "conv2d takes Tensors, not int, as x"),
        (lambda: mg.max_pool2d(X, ()), ShapeError, "kernel_size must be an integer"),
        (lambda: mg.batch_norm(X, None, None, training=True, momentum=None), ArgumentError,
         "momentum must be a number >= 0 and <= 1, not None"),
        (lambda: nn.BatchNorm2d(4, momentum=None), ArgumentError, "momentum must be a number"),
        (lambda: nn.BatchNorm2d(4, eps=-1e-5), ArgumentError, "eps must be a number >= 0"),
        (lambda: mg.batch_norm(t(1, 3), None, None, training=True), ShapeError,
         "at least 2 values a channel"),
        (lambda: mg.cross_entropy(M, [0, 1, 2], 1.5), ArgumentError, "label_smoothing .* <= 1"),
        (lambda: M.var(correction=12), ShapeError, "needs more than 12 elements"),
        (lambda: M.var(axis=0, correction=5), ShapeError, "needs more than 5 elements"),
    ],
)  # fmt: skip
def test_the_sentence_says_what_is_allowed(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("correction", [0, 1, 2])
def test_the_variance_of_nothing_is_nan(correction):
    assert np.isnan(mg.zeros(0).var(correction=correction).item())
    assert np.isnan(mg.zeros(2, 0).std(axis=1, correction=correction).numpy()).all()
    assert np.isnan(mg.zeros(0).mean().item())


@given(st.integers(0, 6), st.integers(0, 6))
def test_a_variance_is_numpys_or_an_error(n, correction):
    x = np.arange(n, dtype=np.float64) ** 2
    if 0 < n <= correction:
        with pytest.raises(ShapeError):
            mg.Tensor(x).var(correction=correction)
    elif n:
        assert mg.Tensor(x).var(correction=correction).item() == pytest.approx(
            np.var(x, ddof=correction)
        )


@pytest.mark.parametrize("mean", [0.0, 1e3, 1e6])
def test_a_variance_survives_a_large_mean(mean):
    x = np.random.default_rng(0).normal(mean, 1, 100_000).astype(np.float32)
    exact = np.var(x.astype(np.float64), ddof=1)
    assert mg.Tensor(x).var().item() == pytest.approx(exact, rel=1e-6)


def test_what_cannot_fit_is_refused_before_any_work():
    one = mg.ones(1)
    for call in (
        lambda: mg.zeros(2**31 - 1, 2**20),
        lambda: mg.full((2**30, 2**30), 1.0),
        lambda: mg.embed(one, (2**31 - 1, 2**31 - 1), (slice(0, 1), 0)),
        lambda: mg.pad(one.reshape(1, 1), [(2**31 - 1, 0), (2**31 - 1, 0)]),
    ):
        with pytest.raises(mg.NotEnoughMemory, match="a tensor of shape .* needs"):
            call()
    with pytest.raises(ShapeError, match="cannot be repeated"):
        one.broadcast_to((2**31 - 1,) * 3)


@pytest.mark.parametrize("wrong", [3.0, np.ones(2), mg.ones(3), mg.Tensor(np.ones(2))])
def test_a_gradient_is_a_tensor_like_its_leaf(wrong):
    x = mg.ones(2)
    with pytest.raises(MinigradError, match="grad must be"):
        x.grad = wrong
    x.grad = mg.zeros(2)
    x.grad = None


def test_the_cross_entropy_of_no_rows_is_nan():
    assert np.isnan(mg.cross_entropy(mg.zeros(0, 3), []).item())
    assert mg.cross_entropy(mg.zeros(0, 3), [], reduction="sum").item() == 0
    assert mg.cross_entropy(mg.zeros(0, 3), [], reduction="none").shape == (0,)
