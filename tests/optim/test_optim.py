"""Optimisers step for step beside PyTorch's, their state, and what is refused."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn, optim
from minigrad.errors import StateDictError

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "optim.npz")
STEPS = 20
OPTIMIZERS = {
    "sgd": lambda p: optim.SGD(p, 0.05),
    "momentum": lambda p: optim.SGD(p, 0.05, 0.9, 0.1, 1e-2),
    "nesterov": lambda p: optim.SGD(p, 0.02, 0.9, weight_decay=1e-2, nesterov=True),
    "rmsprop": lambda p: optim.RMSprop(p, 1e-3, 0.9, 1e-3, 1e-2, 0.9),
    "centered": lambda p: optim.RMSprop(p, 1e-3, 0.9, 1e-3, centered=True),
    "rmsprop_tf": lambda p: optim.RMSpropTF(p, 1e-3, 0.9, 1e-3, 1e-2, 0.9),
    "adam": lambda p: optim.Adam(p, 1e-2, (0.8, 0.95), 1e-6, 1e-2),
    "amsgrad": lambda p: optim.Adam(p, 1e-2, amsgrad=True),
    "adamw": lambda p: optim.AdamW(p, 1e-2, weight_decay=0.1),
}
BLOCKS = {
    "inverted": (6, lambda: nn.InvertedResidual(6, 6, expand_ratio=3, activation="relu6")),
    "squeezenext": (8, lambda: nn.SqueezeNeXtBlock(8, 8, bn_momentum=0.1)),
}


class Classifier(nn.Module):
    def __init__(self, block, channels):
        self.block, self.head = block, nn.Linear(channels, 5)

    def forward(self, x):
        return self.head(self.block(x).mean((2, 3)))


def model_of(name):
    """(model in float64, its parameters in the order of PyTorch's module)."""
    channels, make = BLOCKS[name]
    model = Classifier(make(), channels).to(np.float64).train()
    named = dict(model.named_parameters())
    convs = [p for k, p in named.items() if p.ndim == 4]
    norms = [p for k, p in named.items() if p.ndim == 1 and k.startswith("block")]
    parameters = [*convs, *norms, named["head.weight"], named["head.bias"]]
    for k, p in enumerate(parameters):
        set_(p, GOLDEN[f"{name}/first/{k:02}"])
    return model, parameters


def set_(p, values):
    with mg.no_grad():
        p.copy_(values)


def data(channels):
    rng = np.random.default_rng(3)
    return rng.standard_normal((STEPS, 4, channels, 5, 7)), rng.integers(0, 5, (STEPS, 4))


def run_step(model, optimizer, x, labels):
    optimizer.zero_grad()
    loss = mg.cross_entropy(model(mg.Tensor(x)), labels)
    loss.backward()
    optimizer.step()
    return loss.item()


def relative(got, expected):
    return np.abs(got - expected).max() / np.abs(expected).max()


@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("block", BLOCKS)
def test_twenty_steps_are_pytorchs(block, kind):
    model, parameters = model_of(block)
    optimizer = OPTIMIZERS[kind](parameters)
    x, labels = data(BLOCKS[block][0])
    losses = [run_step(model, optimizer, x[k], labels[k]) for k in range(STEPS)]
    last = np.concatenate([p.numpy().ravel() for p in parameters])
    assert relative(np.array(losses), GOLDEN[f"{block}/{kind}/losses"]) < 1e-8
    assert relative(last, GOLDEN[f"{block}/{kind}/last"]) < 1e-8


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_a_saved_state_goes_on_to_the_same_bits(kind):
    x, labels = data(6)
    whole, parameters = model_of("inverted")
    optimizer = OPTIMIZERS[kind](parameters)
    for k in range(4):
        run_step(whole, optimizer, x[k], labels[k])

    first, parameters = model_of("inverted")
    optimizer = OPTIMIZERS[kind](parameters)
    for k in range(2):
        run_step(first, optimizer, x[k], labels[k])
    weights = {k: v.copy() for k, v in first.state_dict().items()}
    state = optimizer.state_dict()
    run_step(first, optimizer, x[3], labels[3])  # the saved state must not follow

    resumed, parameters = model_of("inverted")
    resumed.load_state_dict(weights)
    optimizer = OPTIMIZERS[kind](parameters)
    optimizer.load_state_dict(state)
    for k in (2, 3):
        run_step(resumed, optimizer, x[k], labels[k])
    for name, value in whole.state_dict().items():
        assert value.tobytes() == resumed.state_dict()[name].tobytes(), name


def one(value=1.0, dtype=np.float64):
    layer = nn.Linear(1, 1, bias=False).to(dtype)
    set_(layer.weight, np.full((1, 1), value, dtype))
    layer.weight.grad = mg.Tensor(np.full((1, 1), 2.0, dtype))
    return layer.weight


def test_maximize_climbs():
    p = one()
    optim.SGD([p], 0.25, maximize=True).step()
    assert p.item() == 1.5


def test_what_has_no_gradient_or_is_frozen_stays():
    p, frozen, without = one(), one(), one()
    frozen.requires_grad, without.grad = False, None
    optim.SGD([p, frozen, without], 0.25).step()
    assert [t.item() for t in (p, frozen, without)] == [0.5, 1.0, 1.0]


def test_gradients_are_forgotten_or_become_zeros():
    p, other = (mg.nn.Parameter(mg.ones(2)) for _ in range(2))
    optimizer = optim.SGD([p, other], 0.1)
    (2 * p).sum().backward()
    optimizer.zero_grad(set_to_none=False)
    assert p.grad.numpy().tolist() == [0.0, 0.0]
    assert other.grad is None
    optimizer.zero_grad()
    assert p.grad is None


def test_groups_have_rates_of_their_own():
    p, q = one(), one()
    optim.SGD([{"params": [p], "lr": 0.25}, {"params": q}], 0.125).step()
    assert (p.item(), q.item()) == (0.5, 0.75)


def test_float32_stays_float32():
    p = one(dtype=np.float32)
    optimizer = optim.Adam([p], 0.1)
    optimizer.step()
    assert p.dtype == np.float32
    assert {a.dtype for a in optimizer.state[0].values() if isinstance(a, np.ndarray)} == {
        np.dtype(np.float32)
    }


def test_the_first_step_of_tensorflows_rmsprop_is_damped_by_its_ones():
    p = one()
    optim.RMSpropTF([p], lr=0.5, alpha=0.75, eps=0.25).step()
    assert p.item() == 1 - 0.5 * 2 / math.sqrt(0.75 + 0.25 * 4 + 0.25)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: optim.SGD([]), "no parameters to train"),
        (lambda: optim.SGD([mg.Tensor([1.0])]), "a Tensor is no Parameter"),
        (lambda: optim.SGD(3), "a int is no Parameter|not iterable"),
        (lambda: optim.SGD([one()], lr=-1), "lr must be a finite number of at least 0, not -1"),
        (lambda: optim.SGD([one()], lr=math.nan), "lr must be a finite number"),
        (lambda: optim.SGD([one()], lr="fast"), "lr must be a finite number"),
        (lambda: optim.SGD([one()], nesterov=True), "nesterov needs a momentum"),
        (lambda: optim.Adam([one()], betas=(1.0, 0.9)), r"betas must lie in \[0, 1\)"),
        (lambda: optim.SGD([{"params": [one()], "rate": 1}]), "has no option rate; it has lr"),
        (lambda: optim.SGD([*[one()] * 2]), "given more than once"),
        (lambda: optim.WeightAverage(nn.Linear(1, 1), 1.0), r"decay must lie in \[0, 1\)"),
        (lambda: optim.clip_grad_norm_([one()], 0), "max_norm must be above 0"),
        (lambda: optim.recipe("mine"), "there is no recipe 'mine'; there are squeezenext"),
    ],
)
def test_what_is_refused_says_why(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("state"), "has the keys"),
        (lambda s: s["param_groups"].append({"params": [0]}), r"groups of \[1, 1\]"),
        (lambda s: s["state"].update({5: {}}), "has a parameter 5, there are 1"),
        (lambda s: s["state"][0].update(momentum_buffer=np.zeros(3)), r"is \(3,\), expected"),
        (lambda s: s["state"][0].update(momentum_buffer="x"), "must be an array or a count"),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(change, message):
    p = one()
    optimizer = optim.SGD([p], 0.25, 0.9)
    optimizer.step()
    before, broken = optimizer.state_dict(), optimizer.state_dict()
    change(broken)
    with pytest.raises(StateDictError, match=message):
        optimizer.load_state_dict(broken)
    after = optimizer.state_dict()
    assert np.array_equal(
        before["state"][0]["momentum_buffer"], after["state"][0]["momentum_buffer"]
    )
    assert before["param_groups"] == after["param_groups"]


# ---------------------------------------------------------------- schedules

# The first values of PyTorch 2.13's schedules of these names, at lr = 0.5.
SCHEDULES = [
    (lambda o: optim.LinearLR(o, 0.25, 1.0, 3), [0.125, 0.25, 0.375, 0.5, 0.5]),
    (lambda o: optim.StepLR(o, 2, 0.5), [0.5, 0.5, 0.25, 0.25, 0.125]),
    (lambda o: optim.ExponentialLR(o, 0.5), [0.5, 0.25, 0.125, 0.0625, 0.03125]),
    (lambda o: optim.CosineAnnealingLR(o, 4, 0.1), [
        0.5, 0.44142135623730954, 0.3, 0.15857864376269052, 0.1]),
    (lambda o: optim.PolynomialLR(o, 4, 2.0), [0.5, 0.28125, 0.125, 0.03125, 0.0]),
    (lambda o: optim.SequentialLR(
        o, [optim.LinearLR(o, 0.5, 1.0, 2), optim.ExponentialLR(o, 0.5)], [2]),
     [0.25, 0.375, 0.5, 0.25, 0.125]),
]  # fmt: skip


@pytest.mark.parametrize(("make", "expected"), SCHEDULES)
def test_schedules_are_pytorchs(make, expected):
    optimizer = optim.SGD([one()], 0.5)
    schedule = make(optimizer)
    rates = []
    for _ in expected:
        rates += schedule.get_last_lr()
        schedule.step()
    assert rates == pytest.approx(expected, rel=1e-12, abs=1e-15)


@pytest.mark.parametrize(("make", "expected"), SCHEDULES)
def test_a_schedule_goes_on_where_it_was(make, expected):
    optimizer = optim.SGD([one()], 0.5)
    schedule = make(optimizer)
    schedule.step()
    schedule.step()
    other = optim.SGD([one()], 0.5)
    resumed = make(other)
    resumed.load_state_dict(schedule.state_dict())
    assert other.rates() == optimizer.rates()


def test_schedules_in_the_wrong_order_are_refused():
    o = optim.SGD([one()], 0.5)
    both = [optim.ExponentialLR(o, 0.5)] * 2
    for milestones in ([], [0], [3, 2]):
        with pytest.raises(ValueError, match="ascending"):
            optim.SequentialLR(o, both, milestones)
    with pytest.raises(ValueError, match="step_size must be at least 1"):
        optim.StepLR(o, 0)


# ---------------------------------------------------------------- the rest


def test_clipping_by_norm_keeps_the_direction_and_says_the_norm():
    p, q = one(), one()
    p.grad, q.grad = mg.Tensor(np.full((1, 1), 3.0)), mg.Tensor(np.full((1, 1), -4.0))
    assert optim.clip_grad_norm_([p, q, one()], 100.0) == pytest.approx(math.sqrt(29))
    q2 = one()
    q2.grad = None
    assert optim.clip_grad_norm_([p, q, q2], 1.0) == 5.0
    assert (p.grad.item(), q.grad.item()) == pytest.approx((0.6, -0.8), rel=1e-6)
    assert optim.clip_grad_norm_([p, q], 1.0, math.inf) == pytest.approx(0.8, rel=1e-6)


def test_clipping_by_value():
    p = one()
    optim.clip_grad_value_([p], 0.5)
    assert p.grad.item() == 0.5


def test_the_average_is_its_formula_and_gives_the_weights_back():
    layer = nn.Linear(1, 1, bias=False).to(np.float64)
    set_(layer.weight, [[1.0]])
    average = optim.WeightAverage(layer, 0.75)
    set_(layer.weight, [[2.0]])
    average.update()  # decay min(0.75, 2/11)
    first = 1 + (1 - 2 / 11) * 1
    with average.in_use() as module:
        assert module.weight.item() == pytest.approx(first, rel=1e-15)
    assert layer.weight.item() == 2.0
    other = optim.WeightAverage(nn.Linear(1, 1, bias=False).to(np.float64), 0.75)
    other.load_state_dict(average.state_dict())
    assert (other.updates, other.values["weight"]) == (1, average.values["weight"])
    with pytest.raises(StateDictError, match="other names or shapes"):
        other.load_state_dict({"values": {"w": np.ones(1)}, "updates": 1})


def test_weights_decay_and_norms_and_biases_do_not():
    block = nn.InvertedResidual(4, 4, expand_ratio=2)
    groups = optim.parameter_groups(block, 0.1, weight_decay=0.5)
    decay = {id(p): g["weight_decay"] for g in groups for p in g["params"]}
    for name, p in block.named_parameters():
        assert decay[id(p)] == (0.5 if p.ndim == 4 else 0.0), name


def test_frozen_parameters_are_in_no_group():
    block = nn.InvertedResidual(4, 4, expand_ratio=2)
    block.expand.requires_grad_(False)
    groups = optim.parameter_groups(block, 0.1)
    trained = {id(p) for g in groups for p in g["params"]}
    assert trained == {id(p) for p in block.parameters() if p.requires_grad}


@pytest.mark.parametrize("name", optim.RECIPES)
def test_a_recipe_warms_up_to_its_rate_and_ends_lower(name):
    recipe = optim.recipe(name)
    model = nn.InvertedResidual(4, 4, expand_ratio=2)
    optimizer = recipe.make_optimizer(model, recipe.batch_size // 2)
    schedule = recipe.make_schedule(optimizer, steps_per_epoch=10, epochs=12)
    rates = []
    for _ in range(120):
        rates.append(optimizer.rates()[0])
        schedule.step()
    warm = round(recipe.warmup_epochs * 10)
    assert max(rates) == pytest.approx(recipe.lr / 2)
    assert rates[0] == pytest.approx(recipe.lr / 2 * (recipe.warmup_factor if warm else 1))
    assert rates[warm] == pytest.approx(recipe.lr / 2)
    assert rates[-1] < max(rates)


def test_a_weight_that_carries_decay_is_told_by_the_group():
    layer = nn.Linear(2, 2)
    optimizer = optim.recipe("mobilenet_v2").make_optimizer(layer, 256)
    assert {g["weight_decay"] for g in optimizer.param_groups} == {4e-5}
    optimizer = optim.recipe("efficientnet").make_optimizer(layer, 256)
    assert {g["weight_decay"] for g in optimizer.param_groups} == {1e-5, 0.0}


def test_what_a_pytorch_user_types_works():
    spec = importlib.util.find_spec("minigrad.optim")
    assert spec is not None
    model = nn.Linear(3, 2)
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    x = mg.Tensor(np.random.default_rng(0).standard_normal((8, 3)).astype(np.float32))
    losses = []
    for _ in range(30):
        loss = mg.cross_entropy(model(x), np.arange(8) % 2)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
