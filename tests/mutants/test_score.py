"""The judge is judged: every planted bug is caught, and every correct variant passes.

``pytest tests/mutants -s`` prints the score.
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
import types
from pathlib import Path

import numpy as np
import pytest

import minigrad as mg
from minigrad.verify import examine
from minigrad.verify.examine import evidence
from minigrad.verify.normwise import winograd_matrices
from minigrad.verify.verdict import RATE, USUAL

pytestmark = pytest.mark.newest

HERE = Path(__file__).parent


def load(name):
    spec = importlib.util.spec_from_file_location(f"minigrad_tests_{name}", HERE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where inspect looks for the source of a class
    spec.loader.exec_module(module)
    return module


victim, bugs, variants = load("victim"), load("bugs"), load("variants")
others = load("others")
SOURCE = inspect.getsource(victim)
SCORE = {"caught": 0, "passed": 0, "arrays": 0, "usual": 0.0}


def count(report):
    """The arrays of a correct implementation that the bound decided, and their figure."""
    SCORE["arrays"] += sum(evidence(o.trial) == "the bound" for o in report.outcomes)
    SCORE["usual"] = max(SCORE["usual"], report.usual)


def mutated(function, line, bug):
    """The victim, compiled again with one line changed."""
    old = inspect.getsource(getattr(victim, function))
    assert line in old, f"{function} has no line {line!r}: the mutant must follow the code"
    module = types.ModuleType("mutant")
    exec(SOURCE.replace(old, old.replace(line, bug)), module.__dict__)
    return module


def label(value):
    """A function by its name: its address would be another one in each worker."""
    return str(getattr(value, "__name__", value))[:30]


def examined(module, op, kernel=None):
    gradients = getattr(module, f"{op}_gradients", None)
    return examine(kernel or getattr(module, op), op, gradients=gradients, first=True)


@pytest.mark.parametrize("op", sorted({op for op, *_ in bugs.LINES}))
def test_the_victim_is_right(op):
    report = examined(victim, op)
    assert report.passed, str(report)


@pytest.mark.parametrize(("op", "function", "line", "bug"), bugs.LINES, ids=label)
def test_a_planted_line_is_caught(op, function, line, bug):
    assert examined(mutated(function, line, bug), op).failures
    SCORE["caught"] += 1


@pytest.mark.parametrize(("op", "name", "wrap"), bugs.WRAPPED, ids=label)
def test_a_planted_trick_is_caught(op, name, wrap):
    assert examined(victim, op, wrap(getattr(victim, op))).failures
    SCORE["caught"] += 1


@pytest.mark.parametrize(("op", "name", "kernel", "how"), others.BUGS, ids=label)
def test_a_bug_in_another_operation_is_caught(op, name, kernel, how):
    assert examine(kernel, op, first=True, **how).failures
    SCORE["caught"] += 1


@pytest.mark.parametrize(("op", "name", "kernel", "how"), others.RIGHT, ids=label)
def test_a_correct_variant_of_another_operation_passes(op, name, kernel, how):
    report = examine(kernel, op, first=True, **how)
    assert report.passed, str(report)
    SCORE["passed"] += 1


@pytest.mark.parametrize("levels", [1, 2])
@pytest.mark.parametrize("op", ["linear", "matmul"])
def test_strassens_algorithm_passes_under_its_own_bound(op, levels):
    def kernel(a, b, bias=None):
        y = others.strassen(a, b.T if op == "linear" else b, levels)
        return y if bias is None else y + bias

    report = examine(kernel, op, algorithm="strassen", first=True)
    assert report.passed, str(report)
    assert not examine(kernel, op, first=True).passed
    off = examine(lambda a, b, *c: kernel(a * np.float32(1.01), b, *c), op, algorithm="strassen",
                  first=True)  # fmt: skip
    assert off.failures
    SCORE["passed"] += 1


CHEATS = {
    "cached output": "the output is the one of an earlier call",
    "output cached by address": "the arrays before they were changed in place",
    "input changed": "argument 0 was changed by the call",
    "a constant": "the output does not depend on the inputs",
    "last column unwritten": "elements are never written: the last column",
}


@pytest.mark.parametrize("name", CHEATS)
def test_a_cheat_is_named(name):
    (wrap,) = [w for op, n, w in bugs.WRAPPED if n == name and op == "conv2d"]
    report = examine(wrap(victim.conv2d), "conv2d", cases=lambda t: "33 columns" in t.name)
    first = report.failures[0]
    assert CHEATS[name] in first.fault
    assert CHEATS[name] in str(report)


VARIANTS = variants.conv_variants(victim, winograd_matrices)


@pytest.mark.parametrize(("name", "kernel", "algorithm"), VARIANTS, ids=label)
def test_a_correct_variant_passes(name, kernel, algorithm):
    report = examine(kernel, "conv2d", algorithm=algorithm, first=True)
    assert report.passed, str(report)
    if algorithm is None:
        count(report)
        for seed in (1,):
            more = examine(kernel, "conv2d", seed=seed, cases=lambda t: not t.exact)
            assert more.passed, str(more)
            count(more)
    SCORE["passed"] += 1


@pytest.mark.parametrize("name", ["Winograd F(4, 3)", "FFT"])
def test_a_fast_algorithm_is_not_held_to_the_integers_but_to_its_own_bound(name):
    (kernel,) = [k for n, k, _ in VARIANTS if n == name]
    assert not examine(kernel, "conv2d", first=True).passed
    ((_, broken),) = [(n, k) for n, k, _ in VARIANTS if n == name]
    off = examine(lambda x, w, *a, **k: broken(x, w * np.float32(1.01), *a, **k), "conv2d",
                  algorithm="winograd" if "Win" in name else "fft", first=True)  # fmt: skip
    assert off.failures


@pytest.mark.parametrize("backend", ["numpy", "numba", "cython"])
@pytest.mark.parametrize("op", ["conv2d", "linear", "batch_norm", "softmax", "avg_pool2d"])
def test_our_backends_pass(op, backend):
    reason = mg.kernels.unavailable(backend)
    if reason:
        pytest.skip(f"{backend}: {reason}")

    def kernel(*arrays, **words):
        if words.get("training"):
            arrays = arrays[0], None, None, *arrays[3:]
        tensors = [None if a is None else mg.Tensor(a) for a in arrays]
        with mg.backend(backend):
            return getattr(mg, op)(*tensors, **words).numpy()

    report = examine(kernel, op, first=True)
    assert report.passed, str(report)
    count(report)
    SCORE["passed"] += 1


def test_the_score():
    """At least 80 bugs, all caught; at least 20 correct variants, all passed."""
    planted = len(bugs.LINES) + len(bugs.WRAPPED) + len(others.BUGS)
    right = len(VARIANTS) + len(others.RIGHT) + 4  # Strassen's
    print(
        f"\n{planted} bugs planted, {SCORE['caught']} caught; {right} correct variants and 15 of "
        f"our own, {SCORE['passed']} passed; statistical figure of {SCORE['arrays']} correct "
        f"arrays: at most {SCORE['usual']:.2f}, the limit is {USUAL:g}"
    )
    assert planted >= 80
    assert right >= 20
    if SCORE["passed"] == right + 15:  # the whole file ran, in one process
        assert SCORE["arrays"] >= 3 / RATE
        assert SCORE["usual"] < USUAL / 2
