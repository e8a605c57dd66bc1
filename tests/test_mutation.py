"""What is changed behind a graph's back: the gradient is the old one, or an error says so."""

from __future__ import annotations

import os
import threading
from contextlib import suppress

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn
from minigrad.errors import ArgumentError, GraphError, ShapeError

pytestmark = pytest.mark.usefixtures("double")


def leaf(*shape):
    return mg.Tensor(np.linspace(-2, 3, int(np.prod(shape))).reshape(shape), requires_grad=True)


# f(x, array): every place where an array of the user's enters a graph.
OPERANDS = {
    "x * c": (lambda x, c: x * c, np.linspace(1, 2, 6).reshape(2, 3)),
    "c * x": (lambda x, c: c * x, np.linspace(1, 2, 6).reshape(2, 3)),
    "x / c": (lambda x, c: x / c, np.linspace(1, 2, 6).reshape(2, 3)),
    "c / x": (lambda x, c: c / (x + 0.5), np.linspace(1, 2, 6).reshape(2, 3)),
    "a row": (lambda x, c: x * c, np.linspace(1, 2, 3)),
    "x @ c": (lambda x, c: x @ c, np.linspace(1, 2, 6).reshape(3, 2)),
    "c @ x": (lambda x, c: c @ x, np.linspace(1, 2, 4).reshape(2, 2)),
    "a stack": (lambda x, c: x @ c, np.linspace(1, 2, 12).reshape(2, 3, 2)),
    "maximum": (lambda x, c: mg.maximum(x, c), np.linspace(-1, 1, 6).reshape(2, 3)),
    "power": (lambda x, c: (x * x + 1) ** c, np.linspace(1, 2, 6).reshape(2, 3)),
    "a base": (lambda x, c: mg.power(c, x), np.linspace(1, 2, 6).reshape(2, 3)),
    "mask": (lambda x, c: mg.mask(x, c), np.eye(2, 3, dtype=bool)),
    "where": (lambda x, c: mg.where(c, x, x * x), np.eye(2, 3, dtype=bool)),
    "where, a value": (lambda x, c: mg.where(x > 0, x * x, c) * x, np.ones((2, 3))),
    "a target": (lambda x, c: mg.mse_loss(x, c), np.linspace(1, 2, 6).reshape(2, 3)),
    "labels": (lambda x, c: mg.cross_entropy(x, c), np.array([0, 2])),
    "class weights": (lambda x, c: mg.cross_entropy(x, [0, 2], weight=c), np.ones(3)),
    "a view of a tensor": (lambda x, c: x * mg.from_numpy(c).clone().numpy(), np.ones((2, 3))),
}


@pytest.mark.parametrize("name", OPERANDS)
@pytest.mark.parametrize("order", [1, 2])
def test_an_array_that_was_an_operand_may_change(name, order):
    f, array = OPERANDS[name]
    slopes = []
    for change in (False, True):
        x, c = leaf(2, 3), array.copy()
        y = (f(x, c) * x.sum()).sum()
        if change:
            c[...] = 1 - c if c.dtype != np.float64 else 100
        (slope,) = mg.gradients(y, [x], create_graph=order == 2)
        if order == 2:
            (slope,) = mg.gradients((slope * slope).sum(), [x])
        slopes.append(slope.numpy())
    assert np.array_equal(*slopes)


def test_a_cotangent_a_tangent_and_a_point_may_change():
    x, g = leaf(3), np.ones(3)
    _, pull = mg.vjp(lambda x: x * x, x)
    first = pull(g)[0]
    g[:] = 100
    point = np.ones(3)
    _, pull = mg.vjp(lambda x: x * x, point)
    point[:] = 100
    assert first.tolist() == (2 * x.numpy()).tolist()
    assert pull(np.ones(3))[0].tolist() == [2, 2, 2]


ACTIVATIONS = ["relu", "relu6", "hardsigmoid", "hardswish", "sigmoid", "silu", "tanh", "softmax"]


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_change_of_the_output_is_found_at_every_order(name):
    f = getattr(mg, name)
    x = leaf(2, 3)
    y = f(x * 1.0)
    (slope,) = mg.gradients(y.sum(), [x], create_graph=True)
    with mg.no_grad():
        y.copy_(np.full(y.shape, 4.0))
    saved = y.node.saved
    if saved is not None and "y" in saved:
        with pytest.raises(GraphError, match="changed in place"):
            mg.gradients(y.sum(), [x])
    with suppress(GraphError):
        (again,) = mg.gradients((slope * slope).sum() + (slope * x).sum(), [x])
        fresh = leaf(2, 3)
        (one,) = mg.gradients(f(fresh * 1.0).sum(), [fresh], create_graph=True)
        (two,) = mg.gradients((one * one).sum() + (one * fresh).sum(), [fresh])
        assert np.array_equal(again.numpy(), two.numpy())


# --- changes in place, as PyTorch has them ---------------------------------------------------


def test_a_step_of_gradient_descent_changes_the_parameter():
    p = mg.Tensor([1.0, 2.0], requires_grad=True)
    alias = p
    (p * p).sum().backward()
    with mg.no_grad():
        p -= 0.1 * p.grad
    assert p is alias
    assert p.requires_grad
    assert p.is_leaf
    assert np.allclose(p.numpy(), [0.8, 1.6])


def test_a_step_on_a_layer_keeps_its_parameter():
    layer = nn.Linear(2, 1)
    before = layer.weight.numpy().copy()
    with mg.no_grad():
        layer.weight -= 0.1
        layer.weight.data *= 2
    assert [name for name, _ in layer.named_parameters()] == ["weight", "bias"]
    assert np.allclose(layer.weight.numpy(), (before - 0.1) * 2)


def test_loaded_weights_are_not_written_to():
    layer, array = nn.Linear(2, 1), np.ones((1, 2))
    layer.load_state_dict({"weight": array, "bias": np.zeros(1)})
    with mg.no_grad():
        layer.weight -= 0.5
        layer.weight.detach().fill_(3.0)
        layer.weight.data = np.full((1, 2), 4.0)
    assert array.tolist() == [[1, 1]]
    assert layer.weight.tolist() == [[4, 4]]


@pytest.mark.parametrize(
    "change",
    [lambda p: p.__isub__(1), lambda p: p.add_(1), lambda p: p.zero_(), lambda p: p.fill_(1),
     lambda p: p.__setitem__(0, 1.0), lambda p: p.mul_(2), lambda p: p.copy_([1.0, 1.0])],
)  # fmt: skip
def test_a_leaf_that_wants_a_gradient_changes_only_under_no_grad(change):
    p = leaf(2)
    with pytest.raises(GraphError, match="no_grad"):
        change(p)
    with mg.no_grad():
        change(p)
    assert p.version.count == 1


def test_a_running_total_is_recorded():
    x, total = leaf(3), mg.zeros(())
    for k in range(3):
        total += (x * k).sum()
    total *= 2
    total.backward()
    assert x.grad.tolist() == [6, 6, 6]


def test_a_recorded_change_of_a_view_is_refused():
    x, base = leaf(2), mg.zeros(2, 2)
    y = base * x
    row = y[0]
    for changed in (row, y):
        with pytest.raises(GraphError, match="view"):
            changed += x
    with mg.no_grad():
        row += 1
    assert y.numpy()[0].tolist() == [1, 1]


def test_a_saved_value_that_was_changed_in_place_is_found():
    x = leaf(2)
    y = x * 2
    z = y * y
    y += 1
    with pytest.raises(GraphError, match="changed in place"):
        z.sum().backward()


def test_what_cannot_be_written_to_says_so():
    with pytest.raises(GraphError, match=r"clone\(\)"):
        mg.zeros(1).broadcast_to((3,)).fill_(1)
    x = mg.zeros(2)
    with pytest.raises(ShapeError, match=r"\(2,\), got \(3, 2\)"):
        x += mg.zeros(3, 2)


def test_a_part_of_a_module_is_not_replaced_by_what_is_none():
    net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm2d(2))
    for name, value in [("weight", mg.zeros(2, 2)), ("weight", 3.0), ("bias", np.zeros(2))]:
        with pytest.raises(TypeError, match=rf"Linear\.{name} is a Parameter"):
            setattr(net[0], name, value)
    with pytest.raises(TypeError, match=r"running_mean is a Buffer"):
        net[1].running_mean = mg.zeros(2)
    with pytest.raises(ArgumentError, match="is a Module"):
        setattr(net, "0", mg.zeros(2))
    net[0].weight = nn.Parameter(mg.ones(2, 2))
    net[0].bias = None
    assert [name for name, _ in net[0].named_parameters()] == ["weight"]


# --- several threads -------------------------------------------------------------------------


def test_every_gradient_of_every_thread_arrives():
    """200 accumulations into one leaf, of values whose sums are exact in any order."""
    w = mg.Tensor(np.zeros(64), requires_grad=True)
    start = threading.Barrier(8)

    def work():
        start.wait()
        for _ in range(25):
            (w * 1.0).sum().backward()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert w.grad.tolist() == [200.0] * 64


def test_threads_that_need_a_parameter_first_see_the_same_values():
    for _ in range(20):
        layer, start, seen = nn.Linear(64, 64), threading.Barrier(4), []

        def look(layer=layer, start=start, seen=seen):
            start.wait()
            seen.append(layer.weight.array)

        threads = [threading.Thread(target=look) for _ in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert all(array is layer.weight.array for array in seen)


def test_a_shared_graph_is_walked_once_or_refused():
    x = leaf(3)
    y = (mg.exp(x) * x).sum()
    outcomes = []

    def work():
        try:
            y.backward()
            outcomes.append("done")
        except GraphError:
            outcomes.append("freed")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(outcomes) == 4
    assert "done" in outcomes


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_accumulates_while_a_thread_held_the_lock():
    from minigrad.autograd import walk

    x = leaf(2)
    held, release = threading.Event(), threading.Event()

    def hold():
        with walk._accumulating:
            held.set()
            release.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    pid = os.fork()
    if pid == 0:  # pragma: no cover
        (x * 2).sum().backward()
        os._exit(0 if x.grad.tolist() == [2, 2] else 1)
    release.set()
    thread.join()
    assert os.waitpid(pid, 0)[1] == 0
