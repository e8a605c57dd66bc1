"""Plans: the bits of the definition, whatever the threads, the batch and the process."""

from __future__ import annotations

import pickle
import threading
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad.engine import interpret
from minigrad.errors import BackendError, DtypeError, GraphError, ShapeError

NAMES = (
    "mobilenet_v2",
    "efficientnet_lite0",
    "squeezenext_1_0_23",
    "squeezenext_1_0_23v5",
    "efficientnet_b0",
    "mobilenet_v3_large",
    "mnasnet_a1",
)
SIDE = 65

pytestmark = pytest.mark.usefixtures("compiled")


@pytest.fixture(scope="module")
def compiled() -> None:
    reason = mg.kernels.unavailable("cython")
    if reason:
        pytest.skip(f"no compiled core: {reason}")


def batch(n: int = 1, side: int = SIDE) -> Any:
    return np.random.default_rng(n).normal(size=(n, 3, side, side)).astype(np.float32)


@pytest.fixture(scope="module", params=NAMES)
def model(request: pytest.FixtureRequest) -> Any:
    return mg.models.create(request.param, rng=0).eval()


def eager(model: Any, x: Any) -> Any:
    with mg.backend("cython"), mg.no_grad():
        return model(mg.Tensor(x)).numpy()


def test_without_folding_a_plan_has_the_bits_of_eager(model: Any) -> None:
    plan = mg.compile(model, (2, 3, SIDE, SIDE), fold=False)
    assert np.array_equal(plan(batch(2)), eager(model, batch(2)))


def test_both_interpreters_agree_to_the_bit(model: Any) -> None:
    plan = mg.compile(model, (2, 3, SIDE, SIDE))
    with mg.backend("cython"):
        assert np.array_equal(plan(batch(2)), interpret(plan.graph, batch(2))[0])


def test_threads_and_place_in_the_batch_do_not_matter(model: Any) -> None:
    x = batch(3)
    together = mg.compile(model, x.shape)(x, threads=2)
    alone = mg.compile(model, (1, *x.shape[1:]))
    for n in range(3):
        assert np.array_equal(alone(x[n : n + 1], threads=1)[0], together[n])


def test_folding_stays_near_eager(model: Any) -> None:
    """Folding is another rounding, not another function: float64 shows it."""
    double = mg.models.create(model.name, rng=0, dtype=np.float64).eval()
    x = batch(1).astype(np.float64)
    with mg.no_grad():
        y = double(mg.Tensor(x)).numpy()
    got = mg.compile(double, x.shape, dtype=np.float64)(x)
    assert np.abs(got - y).max() < 1e-10 * np.abs(y).max()


@pytest.fixture(scope="module")
def small() -> Any:
    return mg.models.create("mobilenet_v2", rng=0, num_classes=5).eval()


def test_training_the_model_further_does_not_change_the_plan(small: Any) -> None:
    model = mg.models.create("mobilenet_v2", rng=1, num_classes=5).eval()
    plan = mg.compile(model, (1, 3, 32, 32), fold=False)
    x = batch(1, 32)
    before = plan(x).copy()
    with mg.no_grad():
        for p in model.parameters():
            p.copy_(p.numpy() * np.float32(2))
    assert np.array_equal(plan(x), before)


def test_a_plan_survives_pickling(small: Any) -> None:
    plan = mg.compile(small, (1, 3, 32, 32))
    x = batch(1, 32)
    y = plan(x)
    assert np.array_equal(pickle.loads(pickle.dumps(plan))(x), y)


def test_two_plans_in_two_threads(small: Any) -> None:
    x = batch(1, 32)
    plans = [mg.compile(small, x.shape) for _ in range(2)]
    expected = plans[0](x)
    wrong: list[int] = []

    def work(k: int) -> None:
        for _ in range(50):
            if not np.array_equal(plans[k](x), expected):
                wrong.append(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(2)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_one_plan_in_two_threads(small: Any) -> None:
    plan = mg.compile(small, (1, 3, 32, 32))
    xs = [batch(1, 32), -batch(1, 32)]
    expected = [plan(x) for x in xs]
    wrong: list[int] = []

    def work(k: int) -> None:
        for _ in range(50):
            if not np.array_equal(plan(xs[k]), expected[k]):
                wrong.append(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(2)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_wrong_input_is_refused(small: Any) -> None:
    plan = mg.compile(small, (1, 3, 32, 32))
    with pytest.raises(ShapeError, match=r"\(1, 3, 32, 32\), got \(2, 3, 32, 32\)"):
        plan(batch(2, 32))
    with pytest.raises(DtypeError, match="takes float32, got float64"):
        plan(batch(1, 32).astype(np.float64))


def test_a_model_in_training_mode_is_refused() -> None:
    with pytest.raises(GraphError, match="training mode"):
        mg.compile(mg.models.create("mobilenet_v2", rng=0), (1, 3, 32, 32))


def test_intermediates_are_the_values_of_the_layers(small: Any) -> None:
    plan = mg.compile(small, (1, 3, 32, 32))
    x = batch(1, 32)
    found = plan.intermediates(x)
    assert np.array_equal(list(found.values())[-1], plan(x))
    with pytest.raises(GraphError, match="no step of the name 'nowhere'"):
        plan.intermediates(x, ["nowhere"])


def test_the_table_names_every_layer(small: Any) -> None:
    text = str(mg.compile(small, (1, 3, 32, 32)))
    assert "blocks.6.0.project" in text
    assert "fold batch norm 52" in text


@pytest.mark.parametrize("side", [1, 2, 3, 5])
@pytest.mark.parametrize("channels", [8, 33])
def test_a_block_of_the_smallest_maps_has_its_own_bits(side: int, channels: int) -> None:
    block = mg.nn.InvertedResidual(channels, channels, expand_ratio=6).eval()
    x = np.random.default_rng(0).normal(size=(2, channels, side, side)).astype(np.float32)
    plan = mg.compile(block, x.shape)
    with mg.backend("cython"):
        assert np.array_equal(plan(x), interpret(plan.graph, x)[0])


def test_without_the_core_a_plan_is_interpreted(small: Any, monkeypatch: Any) -> None:
    plan, x = mg.compile(small, (1, 3, 32, 32)), batch(1, 32)
    monkeypatch.setattr("minigrad.engine.plan.current_level", lambda: None)
    monkeypatch.setattr("minigrad.engine.plan.REASON", "it is not built")
    with mg.backend("numpy"):
        assert np.array_equal(plan(x), interpret(plan.graph, x)[0])
    with pytest.raises(BackendError, match="profile: it is not built"):
        plan.profile(x)
