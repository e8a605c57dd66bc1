"""What goes in and out of a plan: memory orders, float16 and bytes, with the bits of a copy."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from needs import needs

import minigrad as mg
from minigrad.engine import interpret
from minigrad.engine.scaling import Scaling
from minigrad.errors import ArgumentError, DtypeError, ShapeError
from minigrad.models import Preparation
from minigrad.nn.blocks import InvertedResidual, SqueezeNeXtBlock

needs_core = needs("cython")
RNG = np.random.default_rng(0)


def weights(*shape: int) -> mg.Tensor:
    return mg.Tensor(RNG.normal(size=shape).astype(np.float32))


def last(x: Any) -> Any:
    """The same maps with their channels last in memory."""
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


def apart(x: Any) -> Any:
    """The same maps with gaps between rows and channels."""
    wide = np.full((x.shape[0], 2 * x.shape[1], x.shape[2], x.shape[3] + 1), 99, x.dtype)
    wide[:, ::2, :, :-1] = x
    return wide[:, ::2, :, :-1]


def unaligned(x: Any) -> Any:
    """The same numbers, none at a multiple of its size."""
    return np.frombuffer(b"." + x.tobytes(), np.uint8)[1:].view(x.dtype).reshape(x.shape)


ORDERS: dict[str, Callable[[Any], Any]] = {
    "NCHW": np.ascontiguousarray,
    "channels last": last,
    "gaps": apart,
    "backwards": lambda x: np.ascontiguousarray(x[:, ::-1, ::-1])[:, ::-1, ::-1],
    "channels last, gaps": lambda x: last(np.concatenate([x, x], 1))[:, : x.shape[1]],
    "unaligned": unaligned,
}


def network(kind: str, c: int) -> Callable[[mg.Tensor], Any]:
    """Networks whose input and outputs meet every kind of neighbour."""
    point, square, deep = weights(c, c, 1, 1), weights(c, c, 3, 3), weights(c, 1, 3, 3)

    def conv(x: mg.Tensor) -> mg.Tensor:
        return mg.relu(mg.conv2d(x, point))

    def window(x: mg.Tensor) -> mg.Tensor:
        return mg.conv2d(x, square, padding=1)

    networks: dict[str, Callable[[mg.Tensor], Any]] = {
        "pointwise": conv,
        "sum": lambda x: mg.relu(mg.conv2d(x, point) + x),
        "depthwise sum": lambda x: mg.relu6(mg.conv2d(x, deep, padding=1, groups=c) + x),
        "two": lambda x: [conv(x), window(conv(x))],
        "twice": lambda x: [y := conv(x), y, y.reshape(x.shape[0], -1)],
        "input too": lambda x: [x, window(x)],
        "flat": lambda x: conv(window(x)).reshape(x.shape[0], -1),
        "activation": lambda x: mg.silu(x),
        "pool": lambda x: mg.max_pool2d(conv(x), 3, 1, padding=1),
        "concat": lambda x: mg.concat([conv(x), window(x), x], 1),
        "mean": lambda x: mg.global_avg_pool(window(x)),
        "python": lambda x: mg.minimum(conv(x), window(x)).sum(axis=(1,)),
        "mixes": lambda x: conv(x) - conv(x).mean(axis=(0,), keepdims=True),
    }
    return networks[kind]


KINDS = ("pointwise", "sum", "depthwise sum", "two", "twice", "input too", "flat", "activation",
         "pool", "concat", "mean", "python", "mixes")  # fmt: skip
SIZES = st.sampled_from([1, 1, 2, 3, 7, 16, 17, 33])


@needs_core
@given(
    st.sampled_from(KINDS), st.sampled_from(sorted(ORDERS)), st.sampled_from(sorted(ORDERS)),
    st.sampled_from([1, 2, 3, 9]), SIZES, SIZES, SIZES,
)  # fmt: skip
@example("input too", "channels last", "channels last", 3, 17, 7, 3)
@example("twice", "channels last", "channels last", 9, 16, 2, 2)
def test_any_memory_order_in_and_out_has_the_same_bits(
    kind: str, given_order: str, order: str, n: int, c: int, h: int, w: int
) -> None:
    model = network(kind, c)
    x = RNG.normal(size=(n, c, h, w)).astype(np.float32)
    plan = mg.compile(model, x.shape)
    with mg.backend("cython"):
        expected = interpret(plan.unfused, x)
    given = ORDERS[given_order](x)
    for threads in (1, 3, 2):
        out = [
            ORDERS[order](np.full_like(y, 7)) if y.ndim == 4 and order != "unaligned"
            else np.full_like(y, 7)
            for y in expected
        ]  # fmt: skip
        for made in (plan.outputs(given, threads=threads), plan.outputs(given, threads, out)):
            for y, z in zip(made, expected, strict=True):
                assert np.array_equal(y, z)


@needs_core
@pytest.mark.parametrize("n", [1, 9])
def test_an_output_may_lie_over_the_input(n: int) -> None:
    plan = mg.compile(network("sum", 8), (n, 8, 5, 5))
    x = RNG.normal(size=(n, 8, 5, 5)).astype(np.float32)
    expected = plan(x)
    for order in (np.array, last):
        for place in (lambda memory: memory[1:], lambda memory: memory[:-1]):
            memory = order(np.concatenate([x, x]))[: n + 1]
            memory[:-1] = x
            assert np.array_equal(plan(memory[:-1], out=place(memory)), expected)


@needs_core
def test_channels_last_maps_are_read_and_written_where_they_are() -> None:
    """A plan turned to two arrays in turn: what it reads is what is there at the call."""
    model = SqueezeNeXtBlock(16, 16, 1).eval()
    x, y = last(RNG.normal(size=(2, 16, 9, 9)).astype(np.float32)), None
    plan = mg.compile(model, x.shape)
    for _ in range(3):
        x[...] = RNG.normal(size=x.shape)
        expected = plan(np.ascontiguousarray(x))
        y = plan(x)
        assert y.transpose(0, 2, 3, 1).flags.c_contiguous
        place = last(np.zeros_like(y))
        assert plan(x, out=place) is place
        assert np.array_equal(place, expected)
        assert np.array_equal(y, expected)


@needs_core
def test_maps_of_a_caller_take_no_memory() -> None:
    model = InvertedResidual(16, 16, 6).eval()
    x = last(RNG.normal(size=(2, 16, 28, 28)).astype(np.float32))
    for order in (last, np.ascontiguousarray):
        given, y = order(x), order(np.zeros_like(x))
        plan = mg.compile(model, x.shape)
        plan(given, 2, y)
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            tracemalloc.reset_peak()
            for _ in range(20):
                plan(given, 2, y)
            after, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak - before < y.nbytes // 8
        assert after - before < y.nbytes // 8


# float16 ------------------------------------------------------------------------------------


@needs_core
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_every_number_of_16_bits_comes_in_and_goes_out() -> None:
    x = np.arange(65536, dtype=np.uint16).view(np.float16).reshape(1, 16, 64, 64)
    y = mg.compile(lambda x: x + 0, x.shape)(x, out=np.empty(x.shape, np.float32))
    assert np.array_equal(y, x.astype(np.float32), equal_nan=True)
    between = (y.ravel()[1:] + y.ravel()[:-1]) / 2
    numbers = np.concatenate([y.ravel(), between, np.nextafter(between, np.float32(0))])
    numbers = np.resize(numbers, (1, 34, 170, 34))
    z = mg.compile(lambda x: x + 0, numbers.shape)(numbers, out=np.empty(numbers.shape, np.float16))
    assert np.array_equal(z, numbers.astype(np.float16), equal_nan=True)


@given(
    st.sampled_from(["pointwise", "sum", "two", "flat", "mean", "python"]),
    st.sampled_from(sorted(ORDERS)), st.sampled_from([1, 2, 9]), SIZES, SIZES,
)  # fmt: skip
def test_float16_is_float32_rounded_at_the_end(
    kind: str, order: str, n: int, c: int, side: int
) -> None:
    x = RNG.normal(size=(n, c, side, side)).astype(np.float16)
    plan = mg.compile(network(kind, c), x.shape)
    expected = plan.outputs(x.astype(np.float32))
    for y, z in zip(plan.outputs(ORDERS[order](x)), expected, strict=True):
        assert y.dtype == np.float16
        assert np.array_equal(y, z.astype(np.float16))
    wide = [np.empty(y.shape, np.float32) for y in expected]
    for y, z in zip(plan.outputs(x, out=wide), expected, strict=True):
        assert np.array_equal(y, z)


def test_float16_is_not_taken_for_float64() -> None:
    plan = mg.compile(network("activation", 3), (1, 3, 2, 2), dtype=np.float64)
    with pytest.raises(DtypeError, match="this plan takes float64, got float16"):
        plan(np.zeros((1, 3, 2, 2), np.float16))
    with pytest.raises(DtypeError, match="this plan gives float64, got float16"):
        plan(np.zeros((1, 3, 2, 2)), out=np.zeros((1, 3, 2, 2), np.float16))


# Bytes --------------------------------------------------------------------------------------

PREPARATIONS = (
    Preparation(size=33, margin=0),
    Preparation(size=33, margin=0, order="BGR", mean=(1.5, 2.25, 200.1), std=(0.1, 3.0, 70.0)),
    Preparation(size=33, margin=0, mean=(127.5,) * 3, std=(127.5,) * 3),
)


def padded() -> Any:
    """A network whose first windows lie over the edge."""
    layers = (mg.nn.Conv2d(3, 9, 3, stride=2, padding=1), mg.nn.ReLU(), mg.nn.Conv2d(9, 5, 15))
    return mg.nn.Sequential(*layers, mg.nn.Flatten(), mg.nn.Linear(45, 4)).eval()


NETWORKS = (padded, lambda: mg.models.create("mobilenet_v2_0_35", rng=0, num_classes=5).eval())


@pytest.mark.parametrize("preparation", PREPARATIONS, ids=["RGB", "BGR", "signed"])
@pytest.mark.parametrize("make", NETWORKS, ids=["padded", "mobilenet"])
def test_bytes_have_the_bits_of_preprocess_and_the_plan(
    preparation: Preparation, make: Callable[[], Any]
) -> None:
    pytest.importorskip("PIL")
    model = make()
    photos = RNG.integers(0, 256, size=(2, 33, 33, 3), dtype=np.uint8)
    x = mg.vision.preprocess(list(photos), preparation)
    plain = mg.compile(model, x.shape)
    expected = plain(x)
    planes = photos.transpose(0, 3, 1, 2)
    for layout, pixels in (("NHWC", photos), ("NCHW", planes), ("NCHW", planes.copy("C"))):
        for shape in (x.shape, None):
            plan = mg.compile(model, shape, layout=layout, preparation=preparation)
            assert np.array_equal(plan(pixels), expected)
            floats = x if layout == "NCHW" else np.ascontiguousarray(x.transpose(0, 2, 3, 1))
            assert np.array_equal(plan(floats), expected)
    assert np.array_equal(plan.features(pixels), plain.features(x))
    made, meant = plan.intermediates(pixels), plain.intermediates(x)
    assert all(np.array_equal(made[name], y) for name, y in meant.items())


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_every_byte_of_every_channel_is_scaled(channels: int) -> None:
    mean, std = tuple(RNG.normal(size=channels) * 100), tuple(RNG.normal(size=channels) * 50)
    scaling = Scaling(mean, std)
    pixels = RNG.permuted(np.arange(256, dtype=np.uint8).repeat(channels))
    pixels = pixels.reshape(1, channels, 8, 32)
    expected = (pixels - np.float32(mean)[:, None, None]) / np.float32(std)[:, None, None]
    plan = mg.compile(lambda x: x + 0, pixels.shape, preparation=scaling)
    assert np.array_equal(plan(pixels), expected)
    assert np.array_equal(scaling(pixels), expected)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("preparation", PREPARATIONS, ids=["RGB", "BGR", "signed"])
def test_a_plan_that_takes_bytes_takes_them_from_disk(
    preparation: Preparation, layout: str, tmp_path: Any
) -> None:
    shape = (2, 3, 2, 2)
    plan = mg.compile(network("pointwise", 3), shape, layout=layout, preparation=preparation)
    plan.save(tmp_path / "net.plan")
    again = mg.load_plan(tmp_path / "net.plan")
    x = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    x = x if layout == "NCHW" else np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    assert np.array_equal(again(x), plan(x))
    assert np.array_equal(again(x.astype(np.float32)), plan(x.astype(np.float32)))
    again.save(tmp_path / "again.plan")
    assert (tmp_path / "again.plan").read_bytes() == (tmp_path / "net.plan").read_bytes()


def test_bytes_without_a_preparation_are_refused() -> None:
    with pytest.raises(DtypeError, match="this plan takes float32, got uint8"):
        mg.compile(network("activation", 3), (1, 3, 2, 2))(np.zeros((1, 3, 2, 2), np.uint8))


@pytest.mark.parametrize(
    "preparation",
    [
        "imagenet", 3, Scaling((1.0,), (0.0,)), Scaling((1.0, 2.0), (1.0,)),
        Scaling((np.nan,), (1.0,)), Scaling((0.0,), (1.0,), "GRB"), Scaling(("a",), (1.0,)),  # type: ignore[arg-type]
    ],
    ids=str,
)  # fmt: skip
def test_what_is_no_preparation_is_refused(preparation: Any) -> None:
    with pytest.raises(ArgumentError, match="compile: .* must be|compile: preparation must have"):
        mg.compile(network("activation", 1), (1, 1, 2, 2), preparation=preparation)


def test_a_preparation_of_other_channels_or_for_float64_is_refused() -> None:
    scaling = Scaling((1.0,) * 3, (1.0,) * 3)
    for shape in ((1, 4, 2, 2), (1, 3)):
        with pytest.raises(ShapeError, match="the preparation is for photographs of 3 channels"):
            mg.compile(network("activation", 1), shape, preparation=scaling)
    with pytest.raises(ArgumentError, match="a preparation is for a network of one input"):
        mg.compile(lambda x, y: x + y, [(1, 3, 2, 2)] * 2, preparation=scaling)  # type: ignore[call-overload]
    with pytest.raises(DtypeError, match="a preparation makes float32, and the plan is float64"):
        mg.compile(network("activation", 3), (1, 3, 2, 2), dtype=np.float64, preparation=scaling)
