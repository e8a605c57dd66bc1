"""``examine``: reports, reductions, scripts that reproduce, formats, layouts, conventions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad.errors import MinigradError
from minigrad.verify import examine
from minigrad.verify.arithmetic import FORMATS, arithmetic
from minigrad.verify.geometries import GEOMETRIES
from minigrad.verify.operations import OPERATIONS
from minigrad.verify.trials import trials


def ours(op: str) -> Any:
    def kernel(*arrays: Any, **words: Any) -> Any:
        with mg.backend("numpy"), mg.no_grad():
            return OPERATIONS[op](*map(mg.Tensor, arrays), **words).numpy()

    return kernel


def gradients(op: str) -> Any:
    def call(dy: Any, *arrays: Any, **words: Any) -> Any:
        with mg.backend("numpy"):
            back = mg.vjp(lambda *a: OPERATIONS[op](*a, **words), *arrays)[1]
            return [g.numpy() for g in back(mg.Tensor(dy))]

    return call


def test_memory_that_is_written_again_is_reported_and_no_failure() -> None:
    buffers: dict[Any, Any] = {}

    def kernel(x: Any, w: Any, bias: Any) -> Any:
        y = buffers.setdefault((len(x), len(w)), np.zeros((len(x), len(w)), x.dtype))
        y[...] = x @ w.T + bias
        return y

    report = examine(kernel, "linear")
    assert report.passed
    assert "the memory of a result is written again by the next call" in report.conventions
    fresh = examine(lambda x, w, b: x @ w.T + b, "linear")
    assert not any("memory" in line for line in fresh.conventions)


def test_what_depends_on_its_inputs_is_not_called_constant() -> None:
    report = examine(lambda a, b: np.clip(a * b, -3, 3), "mul")
    assert report.failures
    assert not any("depend" in o.fault for o in report.failures)


def test_an_exception_is_told_in_one_line() -> None:
    def kernel(x: Any) -> Any:
        raise ValueError("a message\n  of two lines")

    assert examine(kernel, "relu").failures[0].fault == "ValueError: a message of two lines"


@pytest.mark.newest
@pytest.mark.parametrize("op", [op for op in GEOMETRIES if op not in ("conv2d", "batch_norm")])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_our_own_functions_and_gradients_pass(op: str, dtype: str) -> None:
    report = examine(ours(op), op, gradients=gradients(op), dtype=dtype)
    assert report.passed, str(report)
    assert not report.refused


@pytest.mark.parametrize("op", GEOMETRIES)
def test_every_case_has_a_name_of_its_own_and_the_same_values_again(op: str) -> None:
    how = arithmetic("float32")
    names = [t.name for t in trials(op)]
    assert len(set(names)) == len(names)
    for trial in list(trials(op))[:6]:
        first, second = trial.arrays(how), trial.arrays(how)
        assert all(np.array_equal(first[k], second[k]) for k in first)


@pytest.mark.newest
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "tf32"])
def test_exact_cases_are_exact_in_every_format(dtype: str) -> None:
    """Any order of the sum gives the same bits: here backwards, each step rounded."""
    how = arithmetic(dtype)
    for trial in trials("linear"):
        if trial.exact:
            a = trial.arrays(how)
            total = np.tile(a["bias"], (len(a["x"]), 1))
            for k in reversed(range(a["x"].shape[1])):
                term = how.accumulator.round(a["x"][:, k, None] * a["w"][None, :, k])
                total = how.accumulator.round(total + term)
            assert np.array_equal(total, a["x"] @ a["w"].T + a["bias"]), trial.name


def test_the_smallest_form_and_a_script_that_reproduces_it() -> None:
    def without_the_last_tap(x: Any, w: Any, bias: Any, **words: Any) -> Any:
        w = w.copy()
        if w.shape[3] > 1:
            w[..., -1] = 0
        return ours("conv2d")(x, w, bias, **words)

    report = examine(without_the_last_tap, "conv2d", cases=lambda t: "3x3, padding 1" in t.name)
    assert report.smallest is not None
    assert report.smallest.trial.shapes["w"][3] <= 2
    assert report.smallest.trial.words.get("padding", 0) in (0, 1)
    printed: list[Any] = []
    script = report.script.replace("kernel = ...", "kernel = given")
    names = {"given": without_the_last_tap, "print": printed.append}
    exec(script, names)
    (verdict,) = printed
    assert verdict.decision == "wrong"


def test_a_function_that_raises_or_gives_no_array_is_wrong_and_says_why() -> None:
    def broken(x: Any) -> Any:
        raise ZeroDivisionError("oops")

    report = examine(broken, "relu")
    assert "ZeroDivisionError: oops" in str(report)
    assert "the result is a list" in str(examine(lambda x: x.tolist(), "relu"))
    assert "expected shape" in str(examine(lambda x: x[:, :0], "relu"))


def test_refused_cases_are_counted_and_nothing_else_is_no_pass() -> None:
    def refusing(*_: Any, **__: Any) -> Any:
        raise NotImplementedError("no")

    report = examine(refusing, "relu")
    assert (report.passed, report.outcomes) == (False, [])
    assert len(report.refused) == len(list(trials("relu")))


def test_channels_last_images() -> None:
    def kernel(x: Any, **words: Any) -> Any:
        y = ours("max_pool2d")(x.transpose(0, 3, 1, 2), **words)
        return np.ascontiguousarray(y.transpose(0, 2, 3, 1))

    assert examine(kernel, "max_pool2d", layout="NHWC").passed
    assert not examine(ours("max_pool2d"), "max_pool2d", layout="NHWC").passed


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_with_sums_in_float32_passes_and_in_its_own_does_not(dtype: str) -> None:
    form = FORMATS[dtype]

    def rounded(a: Any) -> Any:
        return form.round(a).astype(np.float32)

    def wide_sums(x: Any, w: Any, bias: Any) -> Any:
        return rounded(np.float32(x) @ np.float32(w).T + np.float32(bias))

    def own_sums(x: Any, w: Any, bias: Any) -> Any:
        total = np.zeros((len(x), len(w)), np.float32)
        for k in range(x.shape[1]):
            total = rounded(total + np.float32(x)[:, k, None] * np.float32(w)[None, :, k])
        return rounded(total + np.float32(bias))

    assert examine(wide_sums, "linear", dtype=dtype).passed
    assert not examine(own_sums, "linear", dtype=dtype, first=True).passed


def test_special_numbers_are_reported_by_name() -> None:
    report = examine(lambda x: np.where(x > 0, x, np.float32(0)), "relu")
    assert report.passed
    (line,) = [s for s in report.conventions if s.startswith("NaN")]
    assert "differ, such as 0 for nan" in line


def test_an_operation_without_cases_is_told() -> None:
    with pytest.raises(MinigradError, match="there are no cases for 'transpose'"):
        examine(lambda x: x, "transpose")
    with pytest.raises(MinigradError, match="did you mean 'conv2d'"):
        examine(lambda x: x, "conv2")
