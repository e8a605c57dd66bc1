"""One plan for many shapes, callers and layouts: the bits of a plan for one, and no second copy."""

from __future__ import annotations

import gc
import pickle
import threading
import tracemalloc
from typing import Any

import numpy as np
import pytest
from needs import needs

import minigrad as mg
from minigrad.errors import ArgumentError, DtypeError, GraphError, ShapeError

pytestmark = needs("cython")
SHAPES = ((1, 3, 32, 32), (3, 3, 32, 32), (9, 3, 32, 32), (2, 3, 40, 33), (0, 3, 32, 32))


def network(name: str = "mobilenet_v2_0_35") -> Any:
    return mg.models.create(name, rng=0, num_classes=5).eval()


def batch(shape: tuple[int, ...], seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("name", ["mobilenet_v2_0_35", "efficientnet_lite0", "mobilenet_v3_small"])
def test_an_open_plan_has_the_bits_of_a_plan_for_each_shape(name: str) -> None:
    model = network(name)
    plan = mg.compile(model)
    for shape in SHAPES:
        x = batch(shape)
        assert np.array_equal(plan(x), mg.compile(model, shape)(x))
        assert np.array_equal(plan(x, threads=3), plan(x, threads=1))


@pytest.mark.parametrize("name", ["mobilenet_v2_0_35", "efficientnet_lite0"])
def test_the_weights_of_all_shapes_are_one_copy(name: str) -> None:
    """Also where padding "same" is another padding for another size."""
    plan = mg.compile(network(name))
    homes = []
    for side in (32, 33, 47):
        one = plan.at((1, 3, side, side))
        one(batch((1, 3, side, side)))
        packed = {key: p.home for key, (_, p) in one._packed.items() if hasattr(p, "home")}
        homes.append({home.__array_interface__["data"][0] for home in packed.values()})
    assert homes[0]
    assert homes[0] == homes[1] == homes[2]
    folded = [
        {
            id(c.array)
            for s in plan.at((1, 3, side, side)).graph.steps.values()
            for c in s.constants()
        }
        for side in (32, 33)
    ]
    assert folded[0] == folded[1]


def test_a_second_shape_adds_its_arena_and_no_weights() -> None:
    """Of 14 MB of weights, copied and packed, nothing is there twice."""
    plan = mg.compile(mg.models.create("mobilenet_v2", rng=0).eval(), threads=1)
    added = []
    for side in (32, 64, 33):
        gc.collect()
        tracemalloc.start()
        try:
            plan(batch((1, 3, side, side)))
            gc.collect()
            added.append(tracemalloc.get_traced_memory()[0])
        finally:
            tracemalloc.stop()
        added[-1] -= plan.at((1, 3, side, side)).arena_bytes
    assert added[0] > 12e6
    assert max(added[1:]) < 1.5e6  # its steps, and its calls


def test_a_few_shapes_are_kept_and_the_oldest_goes() -> None:
    plan = mg.compile(network())
    first = plan.at((1, 3, 32, 32))
    for side in range(33, 50):
        plan.at((1, 3, side, side))
        assert plan.at((1, 3, 32, 32)) is first  # used again and again
    assert len(plan._plans) == 8
    assert "(1, 3, 49, 49)" in str(plan)


@pytest.mark.parametrize("lazily", [False, True])
def test_an_open_plan_keeps_the_values_of_compile_time(lazily: bool) -> None:
    model = network()
    x = batch((1, 3, 32, 32))
    expected = mg.compile(model, x.shape)(x)
    plan = mg.compile(model)
    if not lazily:
        plan(x)
    with mg.no_grad():
        for p in model.parameters():
            p.copy_(p.numpy() * np.float32(2))
    assert np.array_equal(plan(x), expected)
    assert np.array_equal(plan(batch((2, 3, 32, 32)))[:1].shape, (1, 5))


def test_weights_that_are_drawn_late_are_drawn_for_model_and_plan_alike() -> None:
    model = mg.models.create("mobilenet_v2_0_35", num_classes=5).eval()
    plan, x = mg.compile(model), batch((1, 3, 32, 32))
    assert np.array_equal(plan(x), mg.compile(model, x.shape)(x))


def test_a_function_has_an_open_plan_too() -> None:
    w = mg.Tensor(np.ones((4, 3, 1, 1), np.float32))
    plan = mg.compile(lambda x: mg.relu(mg.conv2d(x, w)))
    for shape in ((1, 3, 2, 2), (2, 3, 5, 4)):
        assert np.array_equal(
            plan(np.ones(shape, np.float32)), np.full((shape[0], 4, *shape[2:]), 3)
        )


@pytest.mark.parametrize("x", ["x", None, 3, [[1], [2, 3]], np.zeros((2, 3), np.float32)])
def test_what_is_no_batch_is_refused(x: Any) -> None:
    with pytest.raises((ShapeError, DtypeError, ArgumentError)):
        mg.compile(network())(x)


def test_a_pickled_open_plan_is_the_same() -> None:
    plan, x = mg.compile(network()), batch((2, 3, 32, 32))
    expected = plan(x)
    assert np.array_equal(pickle.loads(pickle.dumps(plan))(x), expected)


def test_64_threads_with_mixed_shapes_have_their_own_answers() -> None:
    model = network()
    plan = mg.compile(model)
    xs = [batch(shape, k) for k, shape in enumerate(SHAPES * 13)][:64]
    expected = {shape: mg.compile(model, shape) for shape in SHAPES}
    wrong: list[int] = []

    def work(k: int) -> None:
        for turn in range(3):
            if not np.array_equal(plan(xs[k], threads=1 + turn), expected[xs[k].shape](xs[k])):
                wrong.append(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(64)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_ten_thousand_calls_with_out_allocate_nothing() -> None:
    """An array of 64 KB a call would show in the peak, an object kept a call in what is left.

    ``tracemalloc`` counts all threads of the process, pytest-xdist's as well, which may take a
    few KB meanwhile: less than a byte a call, and less than an eighth of the array.
    """
    calls = 10_000
    plan, x = mg.compile(mg.nn.Conv2d(3, 8, 3).eval(), (1, 3, 48, 46)), batch((1, 3, 48, 46))
    y = np.empty((1, 8, 46, 44), np.float32)
    expected = plan(x)
    assert plan(x, out=y) is y
    assert np.array_equal(y, expected)
    gc.collect()
    tracemalloc.start()
    try:
        for _ in range(200):
            plan(x, 1, out=y)
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        for _ in range(calls):
            plan(x, 1, out=y)
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < calls
    assert peak - before < y.nbytes // 8


@pytest.mark.parametrize(
    "out",
    [
        np.empty((1, 4), np.float32),
        np.empty((1, 5)),
        np.empty((1, 5), np.float32)[None],
        [np.empty((1, 5), np.float32)] * 2,
        "y",
        [None],
        np.broadcast_to(np.float32(0), (1, 5)),
    ],
    ids=["size", "dtype", "rank", "two of them", "text", "a list of none", "read-only"],
)
def test_a_place_that_does_not_fit_is_refused(out: Any) -> None:
    with pytest.raises((ShapeError, DtypeError)):
        mg.compile(network(), (1, 3, 32, 32))(batch((1, 3, 32, 32)), out=out)


def test_several_outputs_have_several_places() -> None:
    plan = mg.compile(lambda x: [mg.relu(x), x + x], (2, 3))
    x, places = batch((2, 3)), [np.empty((2, 3), np.float32), np.empty((3, 2), np.float32).T]
    made = plan.outputs(x, out=places)
    assert all(a is b for a, b in zip(made, places, strict=True))
    assert np.array_equal(places[1], 2 * x)


@pytest.mark.parametrize("images", [1, 3])
def test_channels_last_in_and_out_has_the_same_bits(images: int) -> None:
    model = mg.nn.Sequential(mg.nn.Conv2d(3, 8, 3), mg.nn.ReLU(), mg.nn.Conv2d(8, 5, 1)).eval()
    x = batch((images, 3, 9, 7))
    expected = mg.compile(model, x.shape)(x)
    last = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    for plan in (mg.compile(model, x.shape, layout="NHWC"), mg.compile(model, layout="NHWC")):
        y = plan(last)
        assert y.flags.c_contiguous
        assert np.array_equal(y.transpose(0, 3, 1, 2), expected)
        place = np.empty_like(y)
        assert plan(last, out=place) is place
        assert np.array_equal(place, y)
        with pytest.raises(ShapeError):
            plan(x)
    plan = mg.compile(model, x.shape)
    assert np.array_equal(plan(last.transpose(0, 3, 1, 2)), expected)
    place = np.empty((images, 7, 5, 5), np.float32).transpose(0, 3, 1, 2)
    assert np.array_equal(plan(x, out=place), expected)


def test_an_unknown_layout_is_refused() -> None:
    with pytest.raises(ArgumentError, match="layout must be"):
        mg.compile(network(), (1, 3, 32, 32), layout="NCWH")


@pytest.mark.parametrize("name", ["mobilenet_v2_0_35", "squeezenext_1_0_23", "mobilenet_v3_small"])
def test_features_are_what_the_classifier_reads(name: str) -> None:
    model = network(name)
    x = batch((2, 3, 64, 64))
    plan = mg.compile(model, x.shape)
    features = plan.features(x)
    assert features.ndim == 2
    last = [s for s in plan.unfused.steps.values() if s.op in ("linear", "conv2d")][-1]
    w = mg.Tensor(last.weights.reshape(len(last.weights), -1))
    with mg.no_grad(), mg.backend("cython"):
        bias = None if last.bias is None else mg.Tensor(last.bias)
        y = mg.linear(mg.Tensor(features), w, bias).numpy()
    assert np.array_equal(y, plan(x))
    assert np.array_equal(mg.compile(model).features(x), features)


def test_a_network_without_a_classifier_has_no_features() -> None:
    plan = mg.compile(mg.nn.Conv2d(3, 8, 3).eval(), (1, 3, 8, 8))
    with pytest.raises(GraphError, match="does not end in a classifier"):
        plan.features(batch((1, 3, 8, 8)))


@pytest.mark.parametrize("name", ["mobilenet_v2_0_35", "squeezenext_1_0_23"])
def test_a_network_without_classes_gives_its_features(name: str) -> None:
    model = mg.models.create(name, rng=0, num_classes=0).eval()
    x = batch((2, 3, 64, 64))
    with mg.no_grad(), mg.backend("cython"):
        expected = model(mg.Tensor(x)).numpy()
    assert np.array_equal(mg.compile(model, x.shape, fold=False)(x), expected)
    whole = mg.models.create(name, rng=0).eval()
    assert mg.compile(whole).features(x).shape == mg.compile(model)(x).shape == expected.shape
