"""A module is a tree: names, state, modes, and values that come late."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn
from minigrad.errors import DtypeError, GraphError, ShapeError, StateDictError


class Pair(nn.Module):
    def __init__(self):
        self.first = nn.Conv2d(3, 4, 3)
        self.rest = nn.Sequential(nn.BatchNorm2d(4), nn.Activation("relu"))

    def forward(self, x):
        return self.rest(self.first(x))


def zeros_like(module):
    return {k: np.zeros(v.shape, np.float32) for k, v in module.state_dict().items()}


def test_the_state_is_named_in_the_order_of_the_computation():
    assert list(Pair().state_dict()) == [
        "first.weight", "first.bias",
        "rest.0.weight", "rest.0.bias", "rest.0.running_mean", "rest.0.running_var",
    ]  # fmt: skip


def test_parameters_and_buffers_are_told_apart():
    pair = Pair()
    assert [k for k, _ in pair.named_buffers()] == ["rest.0.running_mean", "rest.0.running_var"]
    assert len(list(pair.parameters())) == 4
    assert pair.get_submodule("rest.0") is pair.rest[0]


def test_a_list_of_modules_is_refused():
    module = nn.Module()
    with pytest.raises(TypeError, match=r"layers: .* use nn\.Sequential"):
        module.layers = [nn.Identity()]


def test_load_reports_everything_that_does_not_fit_and_changes_nothing():
    pair = Pair()
    before = {k: v.copy() for k, v in pair.state_dict().items()}
    state = zeros_like(pair)
    del state["first.bias"]
    state["extra"] = np.zeros(1, np.float32)
    state["first.weight"] = np.zeros((4, 3, 1, 1), np.float32)
    state["rest.0.bias"] = np.zeros(4)
    with pytest.raises(StateDictError) as caught:
        pair.load_state_dict(state)
    message = str(caught.value)
    for part in (
        "1 missing: first.bias",
        "1 unexpected: extra",
        "first.weight is (4, 3, 1, 1), expected (4, 3, 3, 3)",
        "rest.0.bias is float64, expected float32",
    ):
        assert part in message
    for name, array in pair.state_dict().items():
        assert np.array_equal(array, before[name])


def test_what_is_no_array_is_named():
    state = {"weight": [[1.0]], "bias": np.zeros(1, np.float32)}
    with pytest.raises(StateDictError, match="1 not an array: weight is a list"):
        nn.Linear(1, 1).load_state_dict(state)


def test_a_module_that_is_not_there_is_named():
    with pytest.raises(AttributeError, match=r"Pair has no module 'rest\.7'"):
        Pair().get_submodule("rest.7")


def test_loaded_arrays_are_adopted_and_copied_by_the_first_change():
    linear = nn.Linear(2, 2)
    weight = np.asfortranarray(np.eye(2, dtype=np.float32))
    weight.flags.writeable = False
    linear.load_state_dict({"weight": weight, "bias": np.zeros(2, np.float32)})
    assert np.shares_memory(linear.weight.array, weight)
    with mg.no_grad():
        linear.weight.copy_(np.full((2, 2), 5, np.float32))
    assert np.array_equal(weight, np.eye(2))
    assert np.array_equal(linear.weight.numpy(), np.full((2, 2), 5))


def test_values_are_drawn_when_they_are_needed_and_then_kept():
    linear = nn.Linear(3, 2)
    assert not linear.weight.has_values
    assert linear.weight.shape == (2, 3)
    assert linear.weight.size == 6
    assert not linear.weight.has_values
    assert linear.weight.numpy() is not None
    assert np.array_equal(linear.weight.numpy(), linear.weight.numpy())


def test_the_same_seed_draws_the_same_values_in_any_order_of_use():
    one, two = Pair(), Pair()
    for module in (one, two):
        nn.init.initialize(module, "tensorflow", np.random.default_rng(7))
    two.rest[0].weight.numpy()
    forward = [p.numpy().copy() for p in one.parameters()]
    backward = [p.numpy().copy() for p in reversed(list(two.parameters()))]
    for a, b in zip(forward, reversed(backward), strict=True):
        assert np.array_equal(a, b)


def test_float32_weights_are_the_rounding_of_float64_ones():
    one, two = nn.Linear(5, 4), nn.Linear(5, 4).to(np.float64)
    for module in (one, two):
        nn.init.initialize(module, "caffe", np.random.default_rng(3))
    assert two.weight.dtype == np.float64
    assert np.array_equal(one.weight.numpy(), two.weight.numpy().astype(np.float32))


def test_a_module_computes_in_float32_or_float64_only():
    with pytest.raises(DtypeError, match="not float16"):
        nn.Linear(2, 2).to(np.float16)


def test_modes_reach_every_part():
    pair = Pair().eval()
    assert not any(m.training for m in pair.modules())
    assert all(m.training for m in pair.train().modules())


def test_frozen_parameters_get_no_gradient():
    linear = nn.Linear(3, 1)
    linear.weight.requires_grad = False
    linear(mg.Tensor(np.ones((2, 3), np.float32))).sum().backward()
    assert linear.weight.grad is None
    assert np.array_equal(linear.bias.grad.numpy(), [2])
    linear.zero_grad()
    assert linear.bias.grad is None
    linear.requires_grad_(False)
    with pytest.raises(GraphError):
        linear(mg.Tensor(np.ones((2, 3), np.float32))).sum().backward()


def test_an_error_names_the_layer():
    net = nn.Sequential(nn.Identity(), Pair())
    with pytest.raises(ShapeError, match=r"layer 1\.first"):
        net(mg.Tensor(np.zeros((1, 5, 8, 8), np.float32)))


def test_the_tape_names_the_layer():
    y = nn.Sequential(nn.Identity(), Pair())(mg.Tensor(np.zeros((1, 3, 8, 8), np.float32)))
    assert y.node.scope == "1.rest.1"


def test_a_module_survives_deepcopy_and_pickle():
    pair = Pair()
    nn.init.initialize(pair, "slim", np.random.default_rng(0))
    for twin in (copy.deepcopy(pair), pickle.loads(pickle.dumps(pair))):
        assert list(twin.state_dict()) == list(pair.state_dict())
        with mg.no_grad():
            twin.first.bias.copy_(np.ones(4, np.float32))
        assert not pair.first.bias.numpy().any()
        assert np.array_equal(twin.first.weight.numpy(), pair.first.weight.numpy())


def test_repr_shows_the_tree():
    assert repr(Pair()) == (
        "Pair(\n"
        "  (first): Conv2d(3, 4, kernel_size=(3, 3), stride=(1, 1))\n"
        "  (rest): Sequential(\n"
        "    (0): BatchNorm2d(4, eps=1e-05, momentum=0.1)\n"
        "    (1): Activation(relu)\n"
        "  )\n"
        ")"
    )


def test_names_of_a_file_are_shown_safe_and_few():
    state = {f"\x1b[31m{k}": np.ones(3) for k in range(90_000)}
    with pytest.raises(StateDictError) as caught:
        nn.Linear(2, 3).load_state_dict(state)
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) < 1000
    assert "and 89,995 more" in message
