"""int8: every kernel with exact sums passes, and the known ways to be wrong are named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad.cli import main
from minigrad.errors import DtypeError, MinigradError
from minigrad.geometry import conv_spec
from minigrad.kernels.contract import Array
from minigrad.verify import examine
from minigrad.verify.files import FORMATS, read_arrays, write_arrays
from minigrad.verify.integers import FACTORS
from minigrad.verify.operations import OPERATIONS
from minigrad.verify.testing import cases

Kernel = Callable[..., Array]


def exact(op: str) -> Kernel:
    """Sums in float64, which are exact, as int32."""

    def kernel(*arrays: Array, **words: Any) -> Array:
        wide = (mg.Tensor(a.astype(np.float64)) for a in arrays)
        return OPERATIONS[op](*wide, **words).numpy().astype(np.int32)

    return kernel


def paired(order: str) -> Kernel:
    """A convolution in loops that adds the products of two neighbours with saturation."""

    def kernel(x: Array, w: Array, bias: Array, **words: Any) -> Array:
        s = conv_spec(x.shape, w.shape, **words)
        big = np.pad(x, ((0, 0), (0, 0), *s.padding)).astype(np.int32)
        y = exact("conv2d")(x, w, bias, **words)
        each, per = len(w) // s.groups, w.shape[1]
        for n, o, p, q in np.ndindex(y.shape):
            first, (a, b) = o // each * per, (p * s.stride[0], q * s.stride[1])
            seen = big[n, first : first + per, a:, b:][:, :: s.dilation[0], :: s.dilation[1]]
            terms = seen[:, : w.shape[2], : w.shape[3]] * w[o].astype(np.int32)
            if order != "channels, taps":
                terms = terms.transpose(1, 2, 0)
            rows = terms.reshape(-1, per) if order == "channels" else terms.reshape(1, -1)
            pairs = np.pad(rows, ((0, 0), (0, rows.shape[1] % 2))).reshape(-1, 2).sum(axis=1)
            y[n, o, p, q] = np.clip(pairs, -(2**15), 2**15 - 1).sum() + bias[o]
        return y

    return kernel


def channels_last(kernel: Kernel) -> Kernel:
    def turned(x: Array, *rest: Array, **words: Any) -> Array:
        return kernel(x.transpose(0, 3, 1, 2), *rest, **words).transpose(0, 2, 3, 1)

    return turned


EXACT = [
    *((op, "NCHW", exact(op)) for op in FACTORS),
    *((op, "NHWC", channels_last(exact(op))) for op in ("conv2d", "depthwise_conv2d")),
]


@pytest.mark.parametrize(("op", "layout", "kernel"), EXACT, ids=lambda a: str(a)[:16])
def test_exact_sums_pass(op: str, layout: str, kernel: Kernel) -> None:
    report = examine(kernel, op, dtype="int8", layout=layout)
    assert report.passed, str(report)
    assert "int8, sums exact" in str(report)
    assert {o.trial.fill for o in report.outcomes} == {
        "u8 x s8", "largest u8 x s8", "s8 x s8", "largest s8 x s8",
    }  # fmt: skip


@pytest.mark.newest
@pytest.mark.parametrize("order", ["channels", "taps, channels", "channels, taps"])
def test_saturation_of_pairs_is_named_in_every_order_of_the_terms(order: str) -> None:
    few = ("3x3, padding 1", "1x1, prime channels", "2 groups", "dilation 2")
    report = examine(paired(order), "conv2d", dtype="int8", cases=lambda t: t.geometry.name in few)
    assert report.failures
    for outcome in report.failures:
        assert outcome.verdict is not None
        assert outcome.verdict.pattern.endswith("saturation of 16-bit pairs"), outcome.name


def narrow(how: Callable[[Array], Array]) -> Kernel:
    def kernel(x: Array, w: Array, bias: Array) -> Array:
        return how(x.astype(np.int32) @ w.astype(np.int32).T) + bias

    return kernel


def other_sign(x: Array, w: Array, bias: Array) -> Array:
    return exact("linear")(x.view(np.int8 if x.dtype == np.uint8 else np.uint8), w, bias)


BUGS: dict[str, Kernel] = {
    "sums wrap in 16 bits": narrow(lambda y: y.astype(np.int16)),
    "sums saturate in 16 bits": narrow(lambda y: np.clip(y, -(2**15), 2**15 - 1)),
    "x: u8 read as s8": other_sign,
    "x: s8 read as u8": other_sign,
}


@pytest.mark.parametrize("name", BUGS)
def test_what_is_wrong_in_a_known_way_has_a_name(name: str) -> None:
    report = examine(BUGS[name], "linear", dtype="int8")
    told = [o.verdict.pattern for o in report.failures if o.verdict is not None]
    assert any(pattern.endswith(name) for pattern in told), told
    assert report.script.count("'int8'")


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_sums_in_floating_point_are_caught_where_they_are_too_long(dtype: type) -> None:
    def kernel(x: Array, w: Array, bias: Array) -> Array:
        with np.errstate(over="ignore"):
            return x.astype(dtype) @ w.astype(dtype).T + bias.astype(dtype)

    report = examine(kernel, "linear", dtype="int8", first=True)
    assert report.failures


def test_a_kernel_of_one_kind_of_data_refuses_the_other() -> None:
    def kernel(x: Array, w: Array, bias: Array) -> Array:
        if x.dtype != np.uint8:
            raise NotImplementedError("u8 x s8 only")
        return exact("linear")(x, w, bias)

    report = examine(kernel, "linear", dtype="int8")
    assert report.passed
    assert len(report.refused) == len(report.outcomes)


def test_cheats_with_integers_are_named() -> None:
    kept: list[Array] = []

    def cached(x: Array, w: Array, bias: Array) -> Array:
        if not kept or kept[0].shape != (len(x), len(w)):
            kept[:] = [exact("linear")(x, w, bias)]
        return kept[0]

    report = examine(cached, "linear", dtype="int8")
    assert "the output is the one of an earlier call" in {o.fault for o in report.failures}


def test_cases_for_suites_are_integers_too() -> None:
    found = cases("matmul", dtype="int8")
    assert {c.inputs[0].dtype.name for c in found} == {"int8", "uint8"}
    assert not [c for c in found if c.judge(exact("matmul")(*c.inputs))]
    assert "no error is allowed" in found[-5].judge(exact("matmul")(*found[-5].inputs) + 1)


@pytest.mark.parametrize("form", FORMATS)
def test_vectors_of_integers(tmp_path: Path, form: str, capsys: pytest.CaptureFixture[str]) -> None:
    v, r = tmp_path / "v", tmp_path / "r"
    args = ["vectors", str(v), "--dtype", "int8", "--operation", "linear", "--format", form]
    assert main(args) == 0
    r.mkdir()
    for entry in json.loads((v / "manifest.json").read_text())["cases"]:
        given = read_arrays(v, entry["case"], "int64")
        first = "uint8" if "u8" in entry["title"] else "int8"
        assert [entry["dtypes"][k] for k in entry["inputs"]] == [first, "int8", "int32"]
        y = exact("linear")(*(given[k] for k in entry["inputs"]))
        assert np.array_equal(y, given["exact"])
        write_arrays(r, entry["case"], {"y": y}, form)
    assert main(["judge", str(v), str(r)]) == 0
    assert "20 arrays judged: 0 wrong" in capsys.readouterr().out
    write_arrays(r, "linear-0007", {"y": np.zeros((3, 13), np.int32)}, form)
    assert main(["judge", str(v), str(r)]) == 1


def test_what_integers_do_not_have_is_refused() -> None:
    kernel = exact("linear")
    with pytest.raises(MinigradError, match="softmax has no sums of products of int8"):
        examine(kernel, "softmax", dtype="int8")
    with pytest.raises(MinigradError, match="int8 has neither gradients= nor algorithm="):
        examine(kernel, "linear", dtype="int8", gradients=kernel)
    with pytest.raises(DtypeError, match="kept in int32, not in 'float32'"):
        examine(kernel, "linear", dtype="int8", accumulator="float32")
