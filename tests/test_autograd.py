"""The chain rule: deep, shared, repeated, nested, and what it leaves behind."""

from __future__ import annotations

import gc
import threading
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from minigrad.errors import DtypeError, GraphError, ShapeError
from minigrad.tensor import Tensor, evaluate, interpreting

pytestmark = pytest.mark.usefixtures("double")


def leaf(*values):
    return Tensor(values, requires_grad=True)


def cube(x):
    return (x * x * x).sum()


def test_a_chain_of_a_hundred_thousand_operations():
    """No recursion anywhere, also not in dropping a graph that was never walked."""
    x = leaf(1.0)
    y = x
    for _ in range(50_000):
        y = y * 1.0 + 0.0
    y.sum().backward()
    assert x.grad.numpy().tolist() == [1.0]
    y = x
    for _ in range(100_000):
        y = -y
    del y
    gc.collect()


def test_a_diamond_sums_over_its_paths():
    """z = a b with a = x^2, b = 3 x: dz/dx = 9 x^2."""
    x = leaf(2.0)
    ((x * x) * (x * 3)).sum().backward()
    assert x.grad.numpy().tolist() == [36.0]


def test_diamonds_in_a_row_are_walked_once_each():
    """x + x, sixty times, has 2^60 paths and 60 steps."""
    x = leaf(1.0)
    y = x
    for _ in range(60):
        y = y + y
    steps = []

    def count(op, inputs, params):
        steps.append(op.name)
        return evaluate(op, inputs, params)

    with interpreting(count):
        y.sum().backward()
    assert x.grad.numpy().tolist() == [2.0**60]
    assert len(steps) < 200


def test_gradients_accumulate_over_calls():
    x = leaf(3.0)
    for _ in range(3):
        (x * 2).sum().backward()
    assert x.grad.numpy().tolist() == [6.0]


def test_what_is_not_reached_gets_no_gradient():
    x, unused = leaf(1.0), leaf(1.0)
    (x * 2).sum().backward()
    assert unused.grad is None


def test_constants_get_none_and_stop_nothing():
    x, c = leaf(2.0), Tensor([5.0])
    (x * c * x.detach()).sum().backward()
    assert x.grad.numpy().tolist() == [10.0]
    assert c.grad is None


def test_a_leaf_is_its_own_gradient():
    x = leaf(1.0)
    x.backward()
    assert x.grad.numpy().tolist() == [1.0]


def test_a_gradient_owns_its_memory():
    """Neither the caller's cotangent, nor another leaf's gradient, nor a broadcast view."""
    a, b, g = leaf(1.0, 2.0), leaf(3.0, 4.0), np.array([1.0, 1.0])
    (a + b).backward(g)
    g[0] = 100
    a.grad.copy_([7.0, 7.0])
    assert b.grad.numpy().tolist() == [1, 1]
    c = leaf(1.0, 2.0)
    c.sum().backward()
    c.grad.copy_([7.0, 8.0])
    assert c.grad.numpy().tolist() == [7, 8]


def test_a_second_backward_is_refused_unless_the_graph_was_retained():
    x = leaf(2.0)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.numpy().tolist() == [8.0]
    with pytest.raises(GraphError, match=r"freed by an earlier backward: pass retain_graph=True"):
        y.backward()


def test_a_shared_part_is_freed_with_the_first_output():
    x = leaf(2.0)
    shared = x * x
    shared.sum().backward()
    with pytest.raises(GraphError, match="freed"):
        (shared * 3).sum().backward()


def test_a_vector_needs_a_cotangent_that_fits():
    y = leaf(1.0, 2.0) * 2
    with pytest.raises(GraphError, match=r"the output has shape \(2,\): a gradient starts from a"):
        y.backward()
    with pytest.raises(ShapeError, match=r"cotangent must have shape \(2,\), got \(3,\)"):
        y.backward(np.ones(3))
    with pytest.raises(DtypeError, match="cotangent must be float64, got float32"):
        y.backward(np.ones(2, np.float32))
    with pytest.raises(GraphError, match="requires no grad"):
        Tensor([1.0]).backward()


def test_a_cotangent_of_numbers_takes_the_outputs_dtype():
    x = Tensor(np.ones(2, np.float32), requires_grad=True)
    (x * 2).backward([1, 2])
    assert x.grad.dtype == np.float32
    assert x.grad.numpy().tolist() == [2, 4]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gradients_have_the_dtype_of_their_leaf(dtype):
    x = Tensor(np.ones((2, 3), dtype), requires_grad=True)
    (mg.softmax(x * np.float64(2)) / 3 - 1).mean().backward()
    assert x.grad.dtype == dtype


def test_memory_is_freed_by_backward():
    x = Tensor(np.ones(1000), requires_grad=True)
    hidden = mg.exp(x)
    saved = weakref.ref(hidden)
    y = (hidden * hidden).sum()
    del hidden
    assert saved() is not None, "the product's rule needs it"
    gc.disable()
    try:
        y.backward()
        assert saved() is None, "freed at once, without the collector: there is no cycle"
    finally:
        gc.enable()


def test_a_graph_that_is_dropped_is_freed_without_the_collector():
    gc.disable()
    try:
        hidden = mg.sigmoid(leaf(1.0))
        alive = weakref.ref(hidden)
        y = mg.tanh(hidden * hidden)
        del hidden, y
        assert alive() is None
    finally:
        gc.enable()


def test_a_loop_over_grad_does_not_drag_the_past_along():
    w = Tensor([1.0, 2.0])
    for _ in range(3):
        w = w - mg.grad(cube)(w) * 0.01
    assert not w.requires_grad
    y, pull = mg.vjp(cube, w)
    assert not y.requires_grad
    assert not pull()[0].requires_grad
    assert not any(t.requires_grad for t in mg.jvp(cube, (w,), (w,)))


def test_grad_of_several_arguments():
    def f(a, b):
        return (a * a * b).sum()

    a, b = mg.grad(f, argnums=(0, 1))([3.0], [5.0])
    assert (a.item(), b.item()) == (30, 9)
    value, slope = mg.value_and_grad(f, argnums=1)(Tensor([3.0]), [5.0])
    assert (value.item(), slope.item()) == (45, 9)


def test_vjp_is_linear_in_the_cotangent_and_can_be_called_again():
    y, pull = mg.vjp(lambda a, b: a * b, [1.0, 2.0], [3.0, 4.0])
    for scale in (1, 10):
        a, b = pull([scale, 0.0])
        assert a.numpy().tolist() == [3 * scale, 0]
        assert b.numpy().tolist() == [scale, 0]
    assert y.numpy().tolist() == [3, 8]


def test_jvp_is_a_column_of_the_jacobian():
    """f(a, b) = (a b, a + b): J (s, t) = (b s + a t, s + t)."""

    def f(a, b):
        return mg.concat([a * b, a + b])

    y, moved = mg.jvp(f, ([2.0], [3.0]), ([10.0], [100.0]))
    assert y.numpy().tolist() == [6, 5]
    assert moved.numpy().tolist() == [230, 110]


def test_jvp_of_what_does_not_move_is_zero():
    assert mg.jvp(lambda x: Tensor([1.0]), ([2.0],), ([1.0],))[1].numpy().tolist() == [0]


def test_tangents_must_fit():
    with pytest.raises(DtypeError, match="tangent must be float32, got float64"):
        mg.jvp(cube, (np.ones(2, np.float32),), (np.ones(2),))
    with pytest.raises(ShapeError, match=r"tangent must have shape \(2,\), got \(3,\)"):
        mg.hvp(cube, np.ones(2), np.ones(3))


def test_hvp_is_the_hessian_times_v():
    """The Hessian of sum x^3 + x0 x1 is diag(6 x) + [[0, 1], [1, 0]]."""

    def f(x):
        return cube(x) + x[0] * x[1]

    assert mg.hvp(f, [1.0, 2.0], [10.0, 100.0]).numpy().tolist() == [160.0, 1210.0]


def test_third_order():
    third = mg.grad(mg.grad(mg.grad(lambda x: x * x * x * x)))
    assert third(2.0).item() == 48.0
    fourth = mg.grad(third)
    assert fourth(2.0).item() == 24.0
    mg.check_grads(lambda x: mg.tanh(x) * x, [0.3, -0.7], order=3)


def test_create_graph_gives_gradients_that_can_be_differentiated():
    x = leaf(2.0)
    cube(x).backward(create_graph=True)
    first, x.grad = x.grad, None
    first.sum().backward()
    assert first.numpy().tolist() == [12]
    assert x.grad.numpy().tolist() == [12]  # d(3 x^2)/dx = 6 x


def test_perturbations_of_nested_calls_are_not_confused():
    """d/dx [x d/dy (x y)] = d/dx x^2 = 2 x; a confused engine says more."""
    outer = mg.grad(lambda x: x * mg.grad(lambda y: x * y)(1.0))
    assert outer(3.0).item() == 6.0


def test_an_inner_variable_at_the_outer_point_is_its_own():
    """d/dx [d/dy (x y^2) at y = x] = d/dx 2 x^2 = 4 x."""
    outer = mg.grad(lambda x: mg.grad(lambda y: x * y * y)(x))
    assert outer(3.0).item() == 12.0


def test_what_was_computed_from_the_variable_before_is_a_constant_inside():
    """b = x^2 was computed before: d/dy (b y) at y = x is b, not b + x db/dx."""
    x = leaf(3.0)
    b = x * x
    inner = mg.grad(lambda y: (b * y).sum())(x)
    assert inner.numpy().tolist() == [9.0]
    inner.sum().backward()  # but b is still a function of x outside: d(x^2)/dx
    assert x.grad.numpy().tolist() == [6.0]


def test_nested_vjp_and_jvp_agree_with_hvp():
    rng = np.random.default_rng(0)
    x, v = rng.normal(size=(2, 5))

    def f(z):
        return (mg.sigmoid(z) * z * z).sum()

    forward_over_reverse = mg.jvp(mg.grad(f), (x,), (v,))[1]
    reverse_over_forward = mg.grad(lambda z: mg.jvp(f, (z,), (v,))[1])(x)
    reverse_over_reverse = mg.hvp(f, x, v)
    for other in (forward_over_reverse, reverse_over_forward):
        assert np.allclose(other.numpy(), reverse_over_reverse.numpy(), rtol=1e-12)


def test_grad_works_inside_no_grad():
    with mg.no_grad():
        assert mg.grad(mg.grad(cube))([2.0]).numpy().tolist() == [12.0]


def test_a_function_must_return_a_tensor():
    with pytest.raises(GraphError, match="must return a Tensor, not float"):
        mg.grad(lambda x: 1.0)([1.0])


def test_gradients_need_inputs_that_want_them():
    x = leaf(1.0)
    with pytest.raises(GraphError, match="does not require grad"):
        mg.gradients((x * 2).sum(), [Tensor([1.0])])
    unused = leaf(1.0, 2.0)
    assert mg.gradients((x * 2).sum(), [unused])[0].numpy().tolist() == [0, 0]


def test_gradients_of_something_in_the_middle():
    x = leaf(2.0)
    middle = x * x
    y = (middle * middle).sum()
    with_x, with_middle, with_y = mg.gradients(y, [x, middle, y])
    assert (with_x.item(), with_middle.item(), with_y.item()) == (32, 8, 1)


def test_only_wanted_paths_are_walked():
    """The gradient of the last layer does not run the rules of the first."""
    w1, w2 = leaf(1.0), leaf(2.0)
    hidden = mg.exp(w1)
    ran = []

    def record(op, inputs, params):
        ran.append(op.name)
        return evaluate(op, inputs, params)

    y = (hidden * w2).sum()
    with interpreting(record):
        mg.gradients(y, [w2])
    assert ran.count("mul") == 1


def test_threads_differentiate_at_once():
    """Each thread has its own graph and modes; a shared leaf is only read."""
    w = Tensor(np.arange(1.0, 5.0))
    results = {}

    def work(k):
        with mg.no_grad() if k % 2 else mg.enable_grad():
            for _ in range(50):
                results[k] = mg.grad(lambda x: (x * x * k).sum())(w).numpy()

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for k in range(8):
        assert results[k].tolist() == [2.0 * k * v for v in (1, 2, 3, 4)]


# --- random programs --------------------------------------------------------------------

STEPS = {
    "add": lambda a, b: a + b,
    "mul": lambda a, b: a * b,
    "sub a mean": lambda a, b: a - b.mean(axis=0),
    "div": lambda a, b: a / (b * b + 1),
    "matmul": lambda a, b: mg.tanh(a @ b.T) @ a,
    "sigmoid": lambda a, b: mg.sigmoid(a),
    "softmax": lambda a, b: mg.softmax(a, 0),
    "exchange": lambda a, b: mg.concat([a[:, 1:], b[:, :1]], axis=1),
    "reshape": lambda a, b: a.reshape(3, 2).T * b[0],
    "detach": lambda a, b: a * b.detach(),
}
programs = st.lists(
    st.tuples(st.sampled_from(sorted(STEPS)), st.integers(0, 99), st.integers(0, 99)),
    min_size=1,
    max_size=12,
)


def interpreted(program):
    """Each step takes two of the values so far, so they share and join as they may."""

    def f(*xs):
        values = list(xs)
        for name, i, j in program:
            values.append(mg.tanh(STEPS[name](values[i % len(values)], values[j % len(values)])))
        return values[-1] + values[len(values) // 2]

    return f


@given(programs.filter(lambda p: all(name != "detach" for name, _, _ in p)))
def test_random_programs_have_the_gradients_that_differences_show(program):
    xs = np.random.default_rng(0).normal(size=(2, 2, 3))
    mg.check_grads(interpreted(program), *xs, order=1)


@given(programs)
def test_forward_and_reverse_agree_on_random_programs(program):
    """<u, J v> = <J^T u, v>, and H = H^T, detached parts or not."""
    rng = np.random.default_rng(0)
    xs, vs = rng.normal(size=(2, 2, 2, 3))
    f = interpreted(program)
    y, moved = mg.jvp(f, xs, vs)
    u = rng.normal(size=y.shape)
    pulled = mg.vjp(f, *xs)[1](u)
    right = sum(float(np.vdot(g.numpy(), v)) for g, v in zip(pulled, vs, strict=True))
    assert float(np.vdot(moved.numpy(), u)) == pytest.approx(right, rel=1e-11, abs=1e-11)


@given(programs.filter(lambda p: all(name != "detach" for name, _, _ in p)))
def test_hessians_of_random_programs_are_symmetric(program):
    rng = np.random.default_rng(0)
    x, other, v, w = rng.normal(size=(4, 2, 3))

    def f(x):
        return interpreted(program)(x, Tensor(other)).sum()

    left = float(np.vdot(mg.hvp(f, x, v).numpy(), w))
    right = float(np.vdot(mg.hvp(f, x, w).numpy(), v))
    assert left == pytest.approx(right, rel=1e-10, abs=1e-10)


@given(programs, st.integers(0, 11))
def test_accumulation_is_the_sum_of_two_backwards(program, cut):
    """L = f + g in one graph, or f and g one after the other into the same leaves."""
    xs = np.random.default_rng(0).normal(size=(2, 2, 3))
    f, g = interpreted(program), interpreted(program[: cut + 1])
    together = [Tensor(x, requires_grad=True) for x in xs]
    (f(*together).sum() + g(*together).sum()).backward()
    apart = [Tensor(x, requires_grad=True) for x in xs]
    for part in (f, g):
        part(*apart).sum().backward()
    for a, b in zip(together, apart, strict=True):
        assert (a.grad is None) == (b.grad is None)
        if a.grad is not None:
            assert np.allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-12, atol=1e-12)
