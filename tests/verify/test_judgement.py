"""``judge`` takes the words of the public function, and arrays of any library and format."""

from __future__ import annotations

import re
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import minigrad as mg
from minigrad.errors import DtypeError, MinigradError, ShapeError
from minigrad.verify import examine, judge
from minigrad.verify.arithmetic import FORMATS, arithmetic
from minigrad.verify.normwise import winograd_matrices
from minigrad.verify.patterns import pattern
from minigrad.verify.testing import cases

RNG = np.random.default_rng(0)


def draw(*shape: int) -> Any:
    return RNG.normal(size=shape).astype(np.float32)


X, W, B = draw(2, 8, 7, 9), draw(16, 4, 3, 3), draw(16)
WORDS = {"stride": 2, "padding": 1, "groups": 2}


def conv(*arrays: Any, **words: Any) -> Any:
    return mg.conv2d(*map(mg.Tensor, arrays), **words).numpy()


def test_a_convolution_in_its_own_words() -> None:
    verdict = judge("conv2d", conv(X, W, B, **WORDS), X, W, B, **WORDS)
    assert (verdict.decision, verdict.failing, verdict.total) == ("right", 0, 2 * 16 * 4 * 5)
    assert not judge(
        "conv2d", conv(X, W, B, **WORDS), X, W, B, **WORDS | {"padding": 1}, dilation=1
    ).failing


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"strides": 2}, "conv2d has no argument 'strides'; did you mean 'stride'?"),
        ({"colour": 2}, "conv2d has no argument 'colour'; it has x, w, bias, stride"),
        ({"layout": "CHWN"}, "layout must be 'NCHW' or 'NHWC', not 'CHWN'"),
        ({"dtype": "float8"}, "expected one of float64, float32, .* got 'float8'"),
        ({"wrt": "y"}, "wrt must be one of x, w, not 'y'"),
        ({"wrt": "x"}, "judged with its cotangent="),
        ({"algorithm": "karatsuba"}, "algorithm must be one of winograd, fft, strassen"),
        ({"algorithm": "strassen"}, "strassen is for linear and matmul, not conv2d"),
        ({"dtype": "bfloat16"}, "x has values that are no bfloat16: pass what the kernel read"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence(words: dict[str, Any], message: str) -> None:
    with pytest.raises(MinigradError, match=message):
        judge("conv2d", conv(X, W, groups=2), X, W, groups=2, **words)


def test_an_unknown_operation_is_answered_with_the_near_names() -> None:
    with pytest.raises(
        MinigradError, match="no operation 'conv3d' to judge; did you mean 'conv2d'"
    ):
        judge("conv3d", X, X)


def test_a_list_is_no_array() -> None:
    with pytest.raises(DtypeError, match="conv2d: x is a list: pass an array"):
        judge("conv2d", X, [X, W])
    with pytest.raises(DtypeError, match="relu: y is a list"):
        judge("relu", [1.0], X)


def test_dtypes_and_shapes_that_do_not_fit() -> None:
    with pytest.raises(DtypeError, match="y is float64, but x is float32"):
        judge("relu", np.zeros(X.shape), X)
    with pytest.raises(
        DtypeError, match="expected floating-point numbers or integers, got complex"
    ):
        judge("relu", X, X.astype(complex))
    with pytest.raises(ShapeError, match="gives an array of shape .* got"):
        judge("relu", X[1:], X)


def test_channels_last() -> None:
    y = conv(X, W, B, **WORDS).transpose(0, 2, 3, 1).copy()
    nhwc = X.transpose(0, 2, 3, 1)
    assert judge("conv2d", y, nhwc, W, B, layout="NHWC", **WORDS)
    y[1, 2, 3, 5] += 1
    verdict = judge("conv2d", y, nhwc, W, B, layout="NHWC", **WORDS)
    assert (verdict.where, verdict.pattern) == ((1, 2, 3, 5), "image 1, channel 5, row 2, column 3")
    with pytest.raises(MinigradError, match="linear has no images"):
        judge("linear", draw(2, 3), draw(2, 4), draw(3, 4), layout="NHWC")


def test_arrays_of_other_libraries() -> None:
    class ByDLPack:
        def __init__(self, array: Any) -> None:
            self.array = array

        def __dlpack__(self, **how: Any) -> Any:
            return self.array.__dlpack__(**how)

        def __dlpack_device__(self) -> tuple[int, int]:
            return self.array.__dlpack_device__()

    class ByArray:
        def __init__(self, array: Any) -> None:
            self.array = array

        def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
            return self.array

    y = np.maximum(X, 0)
    for wrapped in (ByDLPack, ByArray, mg.Tensor):
        assert judge("relu", wrapped(y), wrapped(X))

    class Hidden:
        def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
            raise RuntimeError("it requires grad: use detach()")

    with pytest.raises(DtypeError, match="relu: x cannot be read as an array: it requires grad"):
        judge("relu", y, Hidden())


@pytest.mark.parametrize("wrt", ["x", "w", "bias"])
def test_gradients(wrt: str) -> None:
    y, back = mg.vjp(lambda *a: mg.conv2d(*a, **WORDS), X, W, B)
    dy = draw(*y.shape)
    grads = dict(zip(("x", "w", "bias"), back(mg.Tensor(dy)), strict=True))
    assert judge("conv2d", grads[wrt], X, W, B, wrt=wrt, cotangent=dy, **WORDS)
    wrong = np.array(grads[wrt]) * np.float32(1.001)
    verdict = judge("conv2d", wrong, X, W, B, wrt=wrt, cotangent=dy, **WORDS)
    assert verdict.decision == "wrong"
    assert verdict.pattern.endswith("every element, off by the factor 1.001")


def test_a_composition_has_a_bound() -> None:
    z, labels = draw(5, 7), np.array([0, 3, 6, 1, 1])
    loss = mg.cross_entropy(mg.Tensor(z), labels).numpy()
    assert judge("cross_entropy", loss, z, labels)
    assert judge("cross_entropy", loss * np.float32(1.00001), z, labels).decision == "wrong"
    spread = mg.var(mg.Tensor(z), axis=1).numpy()
    assert judge("var", spread, z, axis=1)
    assert not judge("var", z.var(axis=1, ddof=0), z, axis=1)


# --- formats ----------------------------------------------------------------------------


def rounded(a: Any, name: str) -> Any:
    return FORMATS[name].round(a).astype(np.float32)


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_half_precision_data_with_sums_in_float32(name: str) -> None:
    x, w = rounded(X, name), rounded(W, name)
    y = rounded(conv(x, w, groups=2), name)
    assert judge("conv2d", y, x, w, groups=2, dtype=name).within
    assert judge("conv2d", conv(x, w, groups=2), x, w, groups=2, dtype=name).within
    off = y + np.float32(2) * np.abs(y) * np.float32(FORMATS[name].u) * 2
    assert judge("conv2d", rounded(off, name), x, w, groups=2, dtype=name).decision == "wrong"


def test_float16_sums_need_float16_said() -> None:
    x, w = rounded(draw(1, 40, 4, 4), "float16"), rounded(draw(8, 40, 1, 1), "float16")
    y = np.zeros((1, 8, 4, 4), np.float16)
    for k in range(40):
        y = (y + np.float16(x[:, k : k + 1] * w[:, k, 0, 0][:, None, None])).astype(np.float16)
    assert judge("conv2d", y, x, w, dtype="float16").decision == "wrong"
    assert judge("conv2d", y, x, w, dtype="float16", accumulator="float16").within


def test_tf32_products_need_tf32_said() -> None:
    y = conv(rounded(X, "tf32"), rounded(W, "tf32"), groups=2)
    assert judge("conv2d", y, X, W, groups=2).decision == "wrong"
    assert judge("conv2d", y, X, W, groups=2, dtype="tf32").within


@given(st.floats(width=64, allow_nan=False), st.sampled_from(["float16", "float32"]))
@example(65504.0, "float16")
@example(-3.4028234663852886e38, "float32")
def test_a_format_rounds_as_numpy_does(x: float, name: str) -> None:
    with np.errstate(over="ignore"):
        expected = np.dtype(name).type(x)
    assert FORMATS[name].round(np.array([x]))[0] == np.float64(expected)
    if np.isfinite(expected):
        size = np.abs(expected)
        if size == np.finfo(name).max:  # beyond it NumPy sees infinity: its neighbour's spacing
            size = np.nextafter(size, expected.dtype.type(0))
        assert FORMATS[name].spacing(np.array([np.float64(expected)]))[0] == np.spacing(size)


def test_too_many_roundings_are_uninformative_and_never_passed() -> None:
    x, w = np.ones((1, 3000), np.float16), np.ones((1, 3000), np.float16)
    y = np.full((1, 1), 2048, np.float16)  # a sum of ones in float16 stops there
    verdict = judge("linear", y, x, w, accumulator="float16")
    assert (verdict.decision, bool(verdict)) == ("uninformative", False)
    assert judge("linear", y, x, w).decision == "wrong"
    assert "judge exact integers instead" in str(verdict)


# --- what makes no sense ----------------------------------------------------------------

ONES = np.ones((1, 1), np.float32)
NONSENSE: list[tuple[str, Any]] = [
    ("conv2d needs w too: pass x, w, bias", lambda: judge("conv2d", ONES, X)),
    ("dtype='int8' is for arrays of integers",
     lambda: judge("conv2d", ONES, X, W, groups=2, dtype="int8")),
    ("x is int8: pass floating-point", lambda: judge("softmax", ONES, ONES.astype(np.int8))),
    ("x is int8: pass floating-point",
     lambda: judge("linear", ONES, ONES.astype(np.int8), ONES, dtype="float32")),
    ("algorithm must be one of winograd, fft", lambda: examine(len, "linear", algorithm="fast")),
    ("fft is for conv2d and depthwise_conv2d, not relu",
     lambda: examine(len, "relu", algorithm="fft")),
    ("layout must be 'NCHW' or 'NHWC', not 'NWHC'", lambda: examine(len, "conv2d", layout="NWHC")),
    ("relu has no images", lambda: examine(len, "relu", layout="NHWC")),
    ("relu has no images", lambda: cases("relu", layout="NHWC")),
    ("examine takes a function of relu's arrays, not int", lambda: examine(cast(Any, 1), "relu")),
]  # fmt: skip


@pytest.mark.parametrize(("message", "call"), NONSENSE, ids=[m for m, _ in NONSENSE])
def test_a_call_that_makes_no_sense_gets_a_sentence(message: str, call: Any) -> None:
    with pytest.raises(MinigradError, match=re.escape(message)):
        call()


def test_sums_of_integers_may_come_as_floats() -> None:
    x = RNG.integers(-128, 128, (3, 5)).astype(np.int8)
    y = (x.astype(np.int32) @ x.T.astype(np.int32)).astype(np.float32)
    assert judge("linear", y, x, x)
    assert not judge("linear", y + 1, x, x)


# --- integers ---------------------------------------------------------------------------


def saturating(x: Any, w: Any) -> Any:
    """u8 x s8 through vpmaddubsw: neighbouring channels in 16 bits, saturated."""
    pairs = x[:, None].astype(np.int64) * w[None]
    pairs = np.clip(pairs[..., 0::2] + pairs[..., 1::2], -(2**15), 2**15 - 1)
    return pairs.sum(axis=-1).astype(np.int32)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
def test_integers_are_exact_or_wrong(dtype: Any) -> None:
    info = np.iinfo(dtype)
    x = RNG.integers(info.min, info.max + 1, (5, 64)).astype(dtype)
    w = RNG.integers(-128, 128, (7, 64)).astype(np.int8)
    y = x.astype(np.int32) @ w.T.astype(np.int32)
    assert judge("linear", y, x, w)
    y[2, 3] += 1
    verdict = judge("linear", y, x, w)
    assert (verdict.decision, verdict.where, verdict.failing) == ("wrong", (2, 3), 1)
    assert "saturation" not in verdict.pattern


def test_saturation_of_pairs_is_named() -> None:
    x = RNG.integers(200, 256, (5, 64)).astype(np.uint8)
    w = RNG.integers(100, 128, (7, 64)).astype(np.int8)
    verdict = judge("linear", saturating(x, w), x, w)
    assert verdict.pattern.endswith("saturation of 16-bit pairs")
    assert verdict.decision == "wrong"


def test_integers_of_what_has_no_products_are_refused() -> None:
    with pytest.raises(MinigradError, match="integers are judged for conv2d"):
        judge("relu", np.zeros(3, np.int32), np.zeros(3, np.int32))


# --- normwise ---------------------------------------------------------------------------


@pytest.mark.parametrize("m", [2, 4, 6])
def test_winograds_matrices_are_those_of_a_correlation(m: int) -> None:
    at, g, bt = winograd_matrices(m, 3)
    w, x = RNG.normal(size=3), RNG.normal(size=m + 2)
    expected = np.correlate(x, w, "valid")
    assert np.allclose(at @ ((g @ w) * (bt @ x)), expected, rtol=1e-10)


def test_the_normwise_bound_is_wider_and_still_a_bound() -> None:
    w = draw(16, 8, 3, 3)
    y = np.array(conv(X, w, padding=1))
    tight, wide = (judge("conv2d", y, X, w, padding=1, algorithm=a) for a in (None, "winograd"))
    assert wide.within
    assert wide.bound > tight.bound
    y[0, 0, 0, 0] += 0.5
    assert judge("conv2d", y, X, w, padding=1, algorithm="fft").decision == "wrong"
    with pytest.raises(MinigradError, match="stride 1 and dilation 1"):
        judge("conv2d", y, X, w, padding=1, algorithm="fft", stride=2)


# --- patterns ---------------------------------------------------------------------------

PLACES = [
    (np.s_[:, :, 0], "the first row"),
    (np.s_[..., -2:], "the last 2 columns"),
    (np.s_[:, 3], "channel 3"),
    (np.s_[:, 4:8], "group 1 (channels 4 to 7)"),
    (np.s_[:, 2:5], "channels 2 to 4"),
    (np.s_[1:], "image 1"),
    (np.s_[..., 1::3], "every 3th column from 1"),
    (np.s_[:, [0, 5, 7]], "channels 0, 5, 7"),
    (np.s_[0, 1, 2, 3], "image 0, channel 1, row 2, column 3"),
]


@pytest.mark.parametrize(("place", "words"), PLACES, ids=[w for _, w in PLACES])
def test_the_pattern_of_what_is_wrong(place: Any, words: str) -> None:
    exact = RNG.normal(size=(2, 8, 5, 9))
    y = exact.copy()
    y[place] += RNG.normal(size=y[place].shape)
    assert pattern(y, exact, y != exact, groups=2) == words


def test_the_border_and_everything() -> None:
    exact = RNG.normal(size=(2, 3, 5, 6))
    y = exact + RNG.normal(size=exact.shape)
    assert pattern(y, exact, y != exact) == "every element"
    y[:, :, 1:-1, 1:-1] = exact[:, :, 1:-1, 1:-1]
    assert pattern(y, exact, y != exact) == (
        "the border (first row, last row, first column, last column)"
    )
    assert pattern(exact + 1, exact, exact < 9) == "every element, off by 1"
    assert pattern(0 * exact, exact, exact < 9) == "every element, zero"
    assert pattern(exact, exact, exact > 9) == ""


def test_a_verdict_is_text_and_json() -> None:
    verdict = judge("relu", np.abs(X), X)
    text = str(verdict)
    assert "wrong as float32" in text
    assert "ULP" in text
    assert verdict.as_dict()["failing"] == (X < 0).sum()
    assert str(arithmetic("float16")) == "float16, sums in float32"
