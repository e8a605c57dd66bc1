"""What people type who know PyTorch: it means the same, or the error names ours."""

from __future__ import annotations

import asyncio
import copy
import pickle
import threading
from collections import OrderedDict

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn
from minigrad.errors import ArgumentError, DtypeError, GraphError, MinigradError, ShapeError
from minigrad.tensor.hints import FUNCTIONS, LAYERS, METHODS, MODULES

X = [[1.0, -2.0, 3.0], [4.0, 5.0, -6.0]]


def x():
    return mg.tensor(X)


# --- one default dtype ------------------------------------------------------------------------


def test_numbers_and_layers_have_one_dtype():
    y = nn.Linear(2, 1)(mg.Tensor([[1.0, 2.0]]))
    assert y.dtype == mg.zeros(1).dtype == mg.tensor(1).dtype == mg.get_default_dtype()
    (mg.grad(lambda v: nn.Linear(2, 1)(v).sum())([[1.0, 2.0]])).numpy()


def test_the_default_dtype_can_be_chosen():
    try:
        mg.set_default_dtype(np.float64)
        assert nn.Linear(2, 1)(mg.randn(1, 2)).dtype == np.float64
        assert mg.Tensor(np.ones(2, np.float32)).dtype == np.float32
    finally:
        mg.set_default_dtype("float32")
    with pytest.raises(DtypeError, match="float16"):
        mg.set_default_dtype(np.float16)


class Foreign:
    """Another library's tensor: a dtype, and its memory by DLPack."""

    def __init__(self, array):
        self.array, self.dtype = array, f"foreign.{array.dtype}"

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_another_librarys_tensor_keeps_its_dtype(dtype):
    array = np.ones(3, dtype)
    theirs = Foreign(array)
    assert mg.Tensor(theirs).dtype == mg.from_dlpack(theirs).dtype == dtype
    assert not np.shares_memory(mg.Tensor(theirs).array, array)
    assert np.shares_memory(mg.from_dlpack(theirs).array, array)
    assert (mg.Tensor(array) + theirs).tolist() == [2, 2, 2]
    with pytest.raises(DtypeError, match="int64"):
        mg.from_dlpack(Foreign(np.arange(3)))
    with pytest.raises(ArgumentError, match="__dlpack__"):
        mg.from_dlpack([1.0])


def test_a_tensor_goes_to_others_by_dlpack_and_is_no_namespace():
    assert np.from_dlpack(x()).tolist() == X
    assert not hasattr(x(), "__array_namespace__")


# --- comparisons, truth, numbers --------------------------------------------------------------


def test_comparisons_are_element_by_element():
    t = x()
    for given, expected in [
        (t == 1, np.array(X) == 1), (t != 1, np.array(X) != 1), (t < 1, np.array(X) < 1),
        (t > np.float32(1), np.array(X) > 1), (t >= 1, np.array(X) >= 1), (t >= t, np.ones((2, 3))),
        (np.array(X, np.float32) == t, np.ones((2, 3))),
    ]:  # fmt: skip
        assert isinstance(given, np.ndarray)
        assert given.dtype == bool
        assert np.array_equal(given, expected)
    assert (t == None) is False  # noqa: E711  as PyTorch answers
    assert (t == "1") is False
    with pytest.raises(ShapeError, match="do not broadcast"):
        t == mg.zeros(4)  # noqa: B015
    with pytest.raises(TypeError):
        t < "1"  # noqa: B015


def test_a_tensor_is_itself_as_a_key():
    a, b = mg.ones(2), mg.ones(2)
    assert {a: 1, b: 2}[b] == 2
    assert len({a, b, a}) == 2


def test_truth_is_that_of_one_number():
    assert not mg.tensor([0.0])
    assert mg.tensor(0.5)
    for t in (x(), mg.zeros(0)):
        with pytest.raises(ValueError, match="ambiguous"):
            bool(t)
    assert 3.0 in x()
    assert 7.0 not in x()


def test_one_number_is_a_number():
    t = mg.tensor([1.25])
    assert (float(t), int(t), t.item(), f"{t:.3f}", f"{t:8.1e}") == (
        1.25,
        1,
        1.25,
        "1.250",
        " 1.2e+00",
    )
    assert f"{x()}" == str(x())
    for convert in (float, int, lambda v: v.item(), lambda v: f"{v:.3f}"):
        with pytest.raises(ArgumentError, match=r"shape \(2, 3\) is not one number"):
            convert(x())


def test_a_number_to_the_power_of_a_tensor():
    t = mg.tensor([0.0, 1.0, 3.0], requires_grad=True)
    y = 2**t
    assert y.tolist() == [1, 2, 8]
    y.sum().backward()
    assert np.allclose(t.grad.numpy(), np.log(2) * y.numpy())


# --- functions and methods --------------------------------------------------------------------


def test_the_reductions_take_dim_and_keepdim():
    a = np.array(X, np.float32)
    for name in ("sum", "mean", "var", "std"):
        numpys = getattr(np, name)
        extra = {"ddof": 1} if name in ("var", "std") else {}
        for given in ({"dim": 1}, {"axis": 1}, {"dim": (0, 1), "keepdim": True}):
            axis = given.get("dim", given.get("axis"))
            expected = numpys(a, axis=axis, keepdims=given.get("keepdim", False), **extra)
            for result in (getattr(x(), name)(**given), getattr(mg, name)(x(), **given)):
                assert result.shape == expected.shape
                assert np.allclose(result.numpy(), expected)
    with pytest.raises(ArgumentError, match="axis=0 and dim=1 are one thing"):
        x().sum(0, dim=1)
    assert np.allclose(x().softmax(dim=0).numpy(), x().softmax(0).numpy())
    with pytest.raises(TypeError):
        x().max(1)  # in PyTorch a pair of values and indices
    assert (x().max(axis=1).tolist(), x().min(axis=0).tolist()) == ([3, 5], [1, -2, -6])
    assert (x().argmax(), x().argmax(dim=1).tolist(), x().argmin(1).tolist()) == (4, [2, 1], [1, 2])


def test_shapes_are_moved_as_in_pytorch():
    t = mg.randn(2, 3, 4, rng=0)
    a = t.numpy()
    assert np.array_equal(t.transpose(0, 1).numpy(), np.swapaxes(a, 0, 1))
    assert np.array_equal(t.permute(2, 0, 1).numpy(), a.transpose(2, 0, 1))
    assert np.array_equal(t.permute((2, 0, 1)).numpy(), a.transpose(2, 0, 1))
    assert (t.T.shape, t.view(6, -1).shape, t.flatten(1).shape) == ((4, 3, 2), (6, 4), (2, 12))
    assert (t.size(), t.size(1), t.size(-1), t.size, t.numel(), t.dim()) == (
        (2, 3, 4),
        3,
        4,
        24,
        24,
        3,
    )
    assert (t.unsqueeze(dim=0).shape, t[:1].squeeze().shape) == ((1, 2, 3, 4), (3, 4))
    with pytest.raises(TypeError):
        t.transpose(2, 0, 1)
    with pytest.raises(ShapeError, match="no axis 5"):
        t.size(5)


def test_new_tensors():
    assert mg.zeros(2, 3).tolist() == mg.zeros((2, 3)).tolist() == [[0] * 3] * 2
    assert mg.ones(2, dtype="float64", requires_grad=True).requires_grad
    assert mg.full((2,), 7).tolist() == [7, 7]
    assert mg.zeros_like(mg.ones(2, dtype=np.float64)).dtype == np.float64
    one, two = mg.randn(5, rng=3), mg.randn(5, rng=np.random.default_rng(3))
    assert one.tolist() == two.tolist() != mg.randn(5).tolist()
    assert mg.stack([x(), x()], dim=1).shape == (2, 2, 3)
    assert mg.where(x() > 0, x(), 0.0).tolist() == [[1, 0, 3], [4, 5, 0]]
    assert mg.mse_loss(x(), x() + 2).item() == 4
    assert x().clamp(min=0).tolist() == mg.relu(x()).tolist()
    assert x().to(np.float64).dtype == x().double().dtype == np.float64


def test_a_clone_has_memory_of_its_own_and_passes_gradients():
    t = mg.tensor([1.0, 2.0], requires_grad=True)
    c = t.clone()
    (c * c).sum().backward()
    assert t.grad.tolist() == [2, 4]
    assert not np.shares_memory(c.array, t.array)
    d = t.data
    assert not d.requires_grad
    d.fill_(0)
    assert t.tolist() == [0, 0]


LAYERS_AND_FUNCTIONS = [
    (nn.ReLU, mg.relu), (nn.ReLU6, mg.relu6), (nn.Sigmoid, mg.sigmoid), (nn.SiLU, mg.silu),
    (nn.Tanh, mg.tanh), (nn.Hardswish, mg.hardswish), (nn.Hardsigmoid, mg.hardsigmoid),
    (nn.Softmax, mg.softmax), (nn.LogSoftmax, mg.log_softmax),
]  # fmt: skip


@pytest.mark.parametrize(("layer", "function"), LAYERS_AND_FUNCTIONS)
def test_layers_have_pytorchs_names(layer, function):
    assert layer()(x()).tolist() == function(x()).tolist()


def test_losses_have_pytorchs_names():
    labels = [2, 0]
    for reduction in ("mean", "sum", "none"):
        loss = nn.CrossEntropyLoss(reduction=reduction, label_smoothing=0.1, ignore_index=0)
        expected = mg.cross_entropy(x(), labels, 0.1, None, 0, reduction)
        assert loss(x(), labels).tolist() == expected.tolist()
    assert nn.MSELoss(reduction="sum")(x(), x()).item() == 0
    rows = mg.cross_entropy(x(), labels, reduction="none")
    assert rows.mean().item() == pytest.approx(mg.cross_entropy(x(), labels).item())


@pytest.mark.parametrize(
    ("owner", "hints"),
    [(x(), METHODS), (mg, FUNCTIONS), (nn, LAYERS), (nn.Module(), MODULES)],
    ids=["Tensor", "minigrad", "nn", "Module"],
)
def test_a_name_that_is_not_there_names_ours(owner, hints):
    for name in hints:
        with pytest.raises(AttributeError, match=rf"no attribute '{name}'[;:] ") as caught:
            getattr(owner, name)
        assert len(str(caught.value)) < 200
    with pytest.raises(AttributeError, match="no attribute 'nothing_like_it'$"):
        owner.nothing_like_it  # noqa: B018


# --- modes -----------------------------------------------------------------------------------


def test_no_grad_can_be_used_again_and_inside_itself():
    quiet = mg.no_grad()
    for _ in range(3):
        with quiet, quiet:
            assert not mg.is_grad_enabled()
            with mg.enable_grad(), quiet:
                assert not mg.is_grad_enabled()
        assert mg.is_grad_enabled()


@pytest.mark.parametrize("decorate", [mg.no_grad(), mg.no_grad], ids=["no_grad()", "no_grad"])
def test_a_decorated_generator_records_nothing_and_its_caller_does(decorate):
    log = []

    @decorate
    def steps(n):
        try:
            for k in range(n):
                got = yield mg.is_grad_enabled(), k
                log.append((got, mg.is_grad_enabled()))
        except ZeroDivisionError:
            yield mg.is_grad_enabled(), "caught"
        finally:
            log.append(("closed", mg.is_grad_enabled()))
        return "done"

    assert mg.is_grad_enabled()
    inner = steps(2)
    assert next(inner) == (False, 0)
    assert mg.is_grad_enabled()
    assert inner.send("a") == (False, 1)
    assert inner.throw(ZeroDivisionError()) == (False, "caught")
    with pytest.raises(StopIteration) as stop:
        next(inner)
    assert stop.value.value == "done"
    other = steps(3)
    next(other)
    other.close()
    assert log == [("a", False), ("closed", False), ("closed", False)]
    assert mg.is_grad_enabled()
    assert list(steps(2)) == [(False, 0), (False, 1)]


def test_interleaved_blocks_restore_what_was_before_them():
    def inside(setting):
        with setting:
            yield mg.is_grad_enabled()

    first, second = inside(mg.no_grad()), inside(mg.enable_grad())
    assert (next(first), next(second)) == (False, True)
    list(first)
    assert mg.is_grad_enabled(), "what entered last still holds"
    list(second)
    assert mg.is_grad_enabled()


def test_one_setting_serves_threads_and_tasks_at_once():
    quiet, seen, start = mg.no_grad(), [], threading.Barrier(4)

    def work(k):
        start.wait()
        for _ in range(200):
            with quiet:
                seen.append(mg.is_grad_enabled())
            seen.append(not mg.is_grad_enabled())

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not any(seen)

    async def task():
        with quiet:
            await asyncio.sleep(0)
            return mg.is_grad_enabled()

    async def together():
        return await asyncio.gather(*(task() for _ in range(3)))

    assert asyncio.run(together()) == [False] * 3
    assert mg.is_grad_enabled()


def test_a_coroutine_is_not_decorated_in_vain():
    with pytest.raises(ArgumentError, match="with block inside"):

        @mg.no_grad()
        async def forward():
            pass

    with pytest.raises(ArgumentError, match="decorates a function"):
        mg.no_grad(3)


def test_a_decorated_function_keeps_its_name_and_signature():
    @mg.no_grad()
    def predict(a, b=2):
        """Predict."""
        return a, b

    assert (predict.__name__, predict.__doc__, predict(1)) == ("predict", "Predict.", (1, 2))


# --- copies and pickles ------------------------------------------------------------------------

COPIES = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda t: pickle.loads(pickle.dumps(t)),
}


@pytest.mark.parametrize("how", COPIES)
def test_leaves_are_copied_with_their_gradients(how):
    t = mg.tensor([1.0, 2.0], requires_grad=True)
    (t * t).sum().backward()
    again = COPIES[how](t)
    assert (again.tolist(), again.requires_grad, again.grad.tolist()) == ([1, 2], True, [2, 4])
    assert (again.array is t.array) == (how == "copy")


@pytest.mark.parametrize("how", COPIES)
def test_a_computed_tensor_is_not_copied_with_its_graph(how):
    y = mg.tensor(1.0, requires_grad=True)
    for _ in range(20_000):
        y = y * 1.0
    with pytest.raises(GraphError, match=r"computed by mul .* detach\(\)"):
        COPIES[how](y)
    assert COPIES[how](y.detach()).item() == 1


def test_every_error_is_one_of_minigrads():
    for error in (ArgumentError, DtypeError, GraphError, ShapeError):
        assert issubclass(error, MinigradError)


# --- more of what people type --------------------------------------------------------------------


def test_where_every_tensor_and_module_is_may_be_said():
    t, layer = x(), nn.Linear(3, 2)
    assert t.cpu() is t.to("cpu") is t.contiguous() is t
    assert layer.cpu() is layer.to("cpu") is layer
    with pytest.raises(DtypeError, match="not 'cuda'"):
        t.to("cuda")
    for there in (t, layer):
        with pytest.raises(AttributeError, match="computes on the CPU"):
            there.cuda()


@pytest.mark.parametrize("which", ["max", "min"])
def test_a_maximum_over_an_axis_is_no_pair(which):
    for call in (getattr(mg, which), getattr(mg.Tensor, which)):
        for wrong in (lambda call=call: call(x(), 1), lambda call=call: call(x(), dim=1)):
            with pytest.raises(ArgumentError, match=rf"mg\.{which}\(x, axis=.*mg\.arg{which}"):
                wrong()
        assert call(x(), axis=1).shape == (2,)


def test_the_parts_of_a_sequential_may_have_names():
    parts = {"first": nn.Linear(3, 4), "act": nn.ReLU(), "last": nn.Linear(4, 2)}
    named, plain = nn.Sequential(OrderedDict(parts)), nn.Sequential(*parts.values())
    assert named.first is named[0] is parts["first"]
    assert list(named.state_dict()) == ["first.weight", "first.bias", "last.weight", "last.bias"]
    assert named(x()).tolist() == plain(x()).tolist()
    assert list(named[1:].state_dict()) == ["last.weight", "last.bias"]
    assert [*named[::2]] == [named.first, named.last]
    assert len(plain.append(nn.ReLU())) == 4
    for name in ("forward", "a.b", "", 3):
        with pytest.raises(ArgumentError, match="a part cannot be called"):
            nn.Sequential({name: nn.ReLU()})
    with pytest.raises(ArgumentError, match="takes modules, not a list"):
        nn.Sequential([nn.ReLU()])


def test_functional_is_another_name_for_the_functions():
    import minigrad.nn.functional as F  # noqa: N812  as everybody writes it

    assert all(getattr(F, name) is getattr(mg, name) for name in F.__all__)
    with pytest.raises(AttributeError, match="use mg.global_avg_pool"):
        F.adaptive_avg_pool2d  # noqa: B018


@pytest.mark.parametrize(
    ("owner", "name", "told"),
    [
        (mg, "summry", "did you mean summary"), (mg, "cumprod", "use np.cumprod on x.numpy"),
        (nn, "Linaer", "did you mean Linear"), (mg.optim, "lr_scheduler", "mg.optim.StepLR"),
        (mg.optim, "Adm", "did you mean Adam"), (mg.data, "DataLoader", "mg.data.Loader"),
        (mg.models, "mobilenet_v2", r"mg.models.create\('mobilenet_v2'\)"),
        (mg.models, "list_models", "names()"), (mg.zeros(1), "sort", "use np.sort"),
        (mg.zeros(1), "sigmiod", "did you mean sigmoid"), (mg.zeros(1), "exp_", "new tensor"),
        (nn.Linear(1, 1), "paramters", "did you mean parameters"),
    ],
)  # fmt: skip
def test_a_name_that_is_not_there_is_told_with_the_nearest(owner, name, told):
    with pytest.raises(AttributeError, match=told):
        getattr(owner, name)
    assert not hasattr(owner, "__nothing__")


def test_a_gradient_of_a_tensor_names_the_function_for_it():
    y = x().sum()
    for wrong in (mg.grad, mg.value_and_grad):
        with pytest.raises(ArgumentError, match=rf"{wrong.__name__} takes .*mg\.gradients"):
            wrong(y)


def test_a_plan_in_a_repl_is_one_line():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU()).eval()
    told = repr(mg.compile(model, (1, 3, 4, 4)))
    assert told.startswith("<Sequential for (1, 3, 4, 4) float32: 1 steps, 192 MACs")
    assert "\n" not in told
    assert repr(mg.compile(model)).startswith("<Sequential for any shape")
