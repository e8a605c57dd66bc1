"""Tensor: what it holds, what it refuses, and when it sees a change in place."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import minigrad as mg
from minigrad.errors import DtypeError, GraphError, ShapeError
from minigrad.tensor import PRIMITIVES, Primitive, Tensor, current_scope


@pytest.mark.parametrize(
    ("data", "dtype"),
    [
        (1, np.float32),
        ([1, 2], np.float32),
        (np.float32(1), np.float32),
        (np.ones(2, np.float32), np.float32),
        (np.ones(2), np.float64),
    ],
)
def test_numbers_become_float32_and_arrays_keep_their_dtype(data, dtype):
    assert Tensor(data).dtype == dtype


@pytest.mark.parametrize("dtype", [np.int64, np.float16, bool, np.complex128, ">f4"])
def test_other_dtypes_are_refused(dtype):
    with pytest.raises(DtypeError, match="float32 or float64, not"):
        Tensor(np.ones(2, dtype))


def test_tensor_copies_and_from_numpy_shares():
    array = np.ones(2)
    copied, shared = Tensor(array), mg.from_numpy(array)
    array[0] = 5
    assert copied.numpy()[0] == 1
    assert shared.numpy()[0] == 5


SCALARS = [2, 2.0, np.float64(2), np.float32(2), np.int64(2), np.array(2.0), np.array(2)]


@pytest.mark.parametrize(
    "scalar", SCALARS, ids=lambda s: f"{type(s).__name__}-{np.asarray(s).dtype}"
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(), (3,)])
def test_a_scalar_takes_the_tensors_dtype_on_either_side(scalar, dtype, shape):
    t = Tensor(np.full(shape, 3, dtype))
    results = {
        5: (t + scalar, scalar + t),
        6: (t * scalar, scalar * t),
        1: (t - scalar, -(scalar - t)),
        1.5: (t / scalar, 1 / (scalar / t)),
        3: (mg.maximum(t, scalar), mg.maximum(scalar, t)),
        2: (mg.minimum(t, scalar), mg.minimum(scalar, t)),
    }
    for value, pair in results.items():
        for result in pair:
            assert isinstance(result, Tensor)
            assert result.dtype == dtype
            assert np.allclose(result.numpy(), value)


def test_arrays_keep_their_dtype_and_must_agree():
    t = Tensor(np.ones(3, np.float32))
    assert (np.ones(3, np.float32) * t).dtype == np.float32
    for mixed in (lambda: np.ones(3) * t, lambda: t + np.ones((2, 3)), lambda: t @ np.ones((3, 1))):
        with pytest.raises(DtypeError, match="never casts"):
            mixed()
    with pytest.raises(DtypeError, match="float32 or float64, not int64"):
        t * np.ones(3, np.int64)


def test_what_is_no_tensor_is_named():
    with pytest.raises(DtypeError, match="relu takes Tensors, not ndarray"):
        mg.relu(np.ones(3))


def test_numpy_is_a_read_only_view():
    t = Tensor([1.0, 2.0])
    view = t.numpy()
    with pytest.raises(ValueError, match="read-only"):
        view[0] = 5
    assert np.shares_memory(view, t.array)
    assert not np.asarray(t).flags.writeable
    assert np.array(t).flags.writeable
    assert np.array(t, np.float32).dtype == np.float32


def test_dlpack_shares_the_memory():
    t = Tensor([1.0, 2.0], requires_grad=True)
    assert np.shares_memory(np.from_dlpack(t), t.array)


def test_a_tensor_iterates_over_its_first_axis():
    rows = list(Tensor([[1.0, 2.0], [3.0, 4.0]]))
    assert [row.numpy().tolist() for row in rows] == [[1, 2], [3, 4]]
    with pytest.raises(TypeError, match="0-d"):
        list(Tensor(1.0))


def test_copy_counts_and_wants_no_grad():
    t = Tensor(np.array([1.0, 2.0]), requires_grad=True)
    with pytest.raises(GraphError, match="no_grad"):
        t.copy_([5.0, 6.0])
    with mg.no_grad():
        t.copy_(np.array([5.0, 6.0]))
        with pytest.raises(ShapeError, match=r"expected shape \(2,\), got \(3,\)"):
            t.copy_(np.ones(3))
        with pytest.raises(DtypeError, match="expected float64, got float32"):
            t.copy_(np.ones(2, np.float32))
    assert t.numpy().tolist() == [5, 6]
    assert t.version.count == 1


VIEWS = {
    "reshape": lambda t: t.reshape(4),
    "transpose": lambda t: t.transpose(0, 1),
    "slice": lambda t: t[:, 1:],
    "row": lambda t: t[0],
    "element": lambda t: t[0, 1],
    "detach": lambda t: t.detach(),
    "view of a view": lambda t: t.T[1].reshape(2, 1),
}


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_a_view_shares_memory_and_version(view):
    base = Tensor(np.ones((2, 2)))
    part = view(base)
    assert np.shares_memory(part.array, base.array)
    part.copy_(np.full(part.shape, 7.0))
    assert np.any(base.numpy() == 7)
    assert base.version.count == 1


def changed(x, change):
    with mg.no_grad():
        change(x).copy_(np.full(change(x).shape, 9.0))


@pytest.mark.parametrize("view", [lambda t: t, *VIEWS.values()], ids=["itself", *VIEWS])
def test_a_change_of_a_saved_input_is_found(view):
    x = Tensor(np.ones((2, 2)), requires_grad=True)
    y = (x * x).sum()
    changed(x, view)
    with pytest.raises(GraphError, match=r"mul.*'b' is needed .* changed in place"):
        y.backward()


@pytest.mark.parametrize("view", [lambda t: t, *VIEWS.values()], ids=["itself", *VIEWS])
def test_a_change_of_a_saved_output_is_found(view):
    y = mg.exp(Tensor(np.ones((2, 2)), requires_grad=True))
    total = y.sum()
    changed(y, view)
    with pytest.raises(GraphError, match=r"exp.*'y' is needed .* changed in place"):
        total.backward()


def test_a_change_of_what_no_rule_needs_is_none():
    x = Tensor(np.ones(3), requires_grad=True)
    y = (x + 1).sum()
    changed(x, lambda t: t)
    y.backward()
    assert x.grad.numpy().tolist() == [1, 1, 1]


def test_a_change_before_use_is_none():
    x = Tensor(np.ones(3), requires_grad=True)
    changed(x, lambda t: t)
    (x * x).sum().backward()
    assert x.grad.numpy().tolist() == [18, 18, 18]


def test_scopes_nest_and_name_the_layer_in_errors():
    with mg.scope("blocks"), mg.scope("3"):
        assert current_scope() == "blocks.3"
        y = mg.relu(Tensor([1.0], requires_grad=True))
        with pytest.raises(DtypeError, match=r"^layer blocks\.3: add"):
            mg.add(Tensor([1.0]), Tensor(np.ones(1)))
    assert y.node.scope == "blocks.3"
    assert current_scope() == ""


def test_no_grad_records_nothing_and_enable_grad_records_again():
    x = Tensor([1.0], requires_grad=True)
    with mg.no_grad():
        assert not (x * 2).requires_grad
        with mg.enable_grad():
            assert (x * 2).requires_grad
        assert not mg.is_grad_enabled()
    assert mg.is_grad_enabled()

    @mg.no_grad()
    def silent():
        return x * 2

    assert silent().node is None
    with pytest.raises(ZeroDivisionError), mg.no_grad():
        1 / 0  # noqa: B018
    assert mg.is_grad_enabled()


def test_a_thread_has_its_own_modes():
    seen = {}

    def look():
        seen["recording"], seen["scope"] = mg.is_grad_enabled(), current_scope()

    with mg.no_grad(), mg.scope("outer"):
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
    assert seen == {"recording": True, "scope": ""}


def test_what_wants_no_gradient_leaves_no_trace():
    assert (Tensor([1.0]) * Tensor([2.0])).node is None


def test_a_primitive_can_be_declared_outside():
    def cube(x):
        return x * x * x

    cube = Primitive(cube, register=False)

    @cube.vjp("x", "x̄ = 3 x² ȳ")
    def cube_x(g, x):
        return g * x * x * 3

    mg.check_grads(cube, [0.5, -1.0], order=3)
    assert "cube" not in PRIMITIVES
    with pytest.raises(ValueError, match="no argument 'z'"):
        cube.vjp("z", "")


def test_a_missing_rule_is_named():
    def floor(x):
        return np.floor(x)

    floor = Primitive(floor, register=False)
    with pytest.raises(GraphError, match="floor is not differentiable in its argument 'x'"):
        floor(Tensor([1.5], requires_grad=True)).sum().backward()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda t: t.reshape(4), r"\(2, 3\) has 6 elements and cannot become \(4,\)"),
        (lambda t: t.reshape(-1, -1), "cannot become"),
        (lambda t: t.permute(0, 0), "no permutation"),
        (lambda t: t.transpose(2, 0), "no axis 2"),
        (lambda t: mg.concat([t, t], 5), "no axis 5"),
        (lambda t: mg.concat([t, t.T], 0), "do not fit"),
        (lambda t: mg.concat([], 0), "at least one"),
        (lambda t: t.squeeze(0), "length 2, not 1"),
        (lambda t: t.flatten(3), "no axis 3"),
        (lambda t: t.broadcast_to((3, 3)), r"\(2, 3\) cannot be repeated to \(3, 3\)"),
        (lambda t: mg.sum_to(t, (4,)), "cannot be summed"),
        (lambda t: t + Tensor(np.ones(2)), r"\(2, 3\) and \(2,\) do not broadcast"),
        (lambda t: t @ t, r"matmul: \(2, 3\) and \(2, 3\) do not fit"),
        (lambda t: mg.linear(t, t.T), r"linear: x \(..., I\) = \(2, 3\)"),
        (lambda t: mg.linear(t, t, t), r"bias must be \(2,\)"),
        (lambda t: t[5], r"index 5 of a tensor of shape \(2, 3\)"),
        (lambda t: t[np.array([0, 1])], "integers and slices"),
        (lambda t: t.sum(axis=2), r"axis 2 is out of range for shape \(2, 3\)"),
        (lambda t: t.sum(axis=(0, -2)), "names an axis .* twice"),
        (lambda t: t[:0].max(), "no elements"),
        (lambda t: t.softmax(2), "no axis 2"),
        (lambda t: mg.pad(t, [(1, 1)]), "expected 2 pairs"),
        (lambda t: mg.mask(t, np.ones(3, bool)), "keep must have x's shape"),
    ],
)
def test_what_does_not_fit_says_why(call, message):
    with pytest.raises(ShapeError, match=message):
        call(Tensor(np.ones((2, 3))))


def test_any_integer_is_an_integer():
    t = Tensor(np.arange(6.0).reshape(2, 3))
    two, one = np.int64(2), np.int32(1)
    assert t.reshape(np.int64(6)).shape == (6,)
    assert t.permute(one, np.int64(0)).shape == (3, 2)
    assert t.sum(axis=one).shape == (2,)
    image = t.reshape(1, 1, two, 3)
    assert mg.max_pool2d(image, (two, 3), stride=one).shape == (1, 1, 1, 1)


@pytest.mark.parametrize("shape", [(10,), (1, 1, 5), (3, 0), (2**29, 2**30 - 1)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_repeated_number_lies_in_memory_as_numpy_has_it(shape, dtype):
    strided = np.arange(8, dtype=dtype)[3:4]
    for number in (np.array(2.5, dtype), strided, np.broadcast_to(strided, (1,))):
        found = mg.broadcast_to(mg.from_numpy(number), shape).array
        expected = np.broadcast_to(number, shape)
        assert (found.shape, found.dtype, found.strides) == (shape, dtype, expected.strides)
        assert not found.flags.writeable
        assert np.may_share_memory(found, number) or not found.size
        assert np.array_equal(found[:2].T[:2], expected[:2].T[:2])
