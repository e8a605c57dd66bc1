"""A compiled training step has the bits of eager mode, whatever happens around it."""

from __future__ import annotations

import functools
import tracemalloc

import numpy as np
import pytest
from block_networks import BLOCKS, CLASSES, inverted_residuals, squeezenexts
from needs import needs

import minigrad as mg
from minigrad import nn, optim
from minigrad.engine.combine import combined
from minigrad.engine.stepping import Interpreted
from minigrad.engine.tape import record_step
from minigrad.errors import ArgumentError, DtypeError, GraphError, ShapeError
from minigrad.sizes import size_text
from minigrad.training.compiled import CompiledTraining, compile_training
from minigrad.training.criterion import bound_loss

SHAPE = (3, 3, 25, 21)
compiled = needs("cython")


def network(build, dtype=np.float32, seed=5):
    model = build().to(dtype)
    nn.init.initialize(model, rng=np.random.default_rng(seed))
    return model


def sgd(model):
    groups = optim.parameter_groups(model, 0.1, weight_decay=1e-2, layer_decay=0.9)
    return optim.SGD(groups, 0.1, momentum=0.9, nesterov=True)


def batches(count, dtype=np.float32, shape=SHAPE):
    rng = np.random.default_rng(1)
    for _ in range(count):
        yield rng.standard_normal(shape).astype(dtype), rng.integers(0, CLASSES, shape[0])


def criterion(z, labels):
    return mg.cross_entropy(z, labels, label_smoothing=0.1)


def eager_step(model, optimizer, x, labels, rng):
    for module in model.modules():
        if "rng" in module.__dict__:
            module.__dict__["rng"] = rng
    optimizer.zero_grad()
    loss = criterion(model(mg.Tensor(x)), labels)
    loss.backward()
    optimizer.step()
    return loss.item()


def left(model, optimizer):
    """Everything that steps leave behind, as bytes by name."""
    found = {name: a.tobytes() for name, a in model.state_dict().items()}
    found |= {f"gradient of {k}": p.grad.numpy().tobytes() for k, p in model.named_parameters()}
    for index, kept in optimizer.state.items():
        arrays = {k: v for k, v in kept.items() if isinstance(v, np.ndarray)}
        found |= {f"{name} {index}": a.tobytes() for name, a in arrays.items()}
    return found


def eagerly(build, make=sgd, dtype=np.float32, steps=3):
    model = network(build, dtype)
    optimizer = make(model)
    losses = [
        eager_step(model, optimizer, x, labels, np.random.default_rng(k))
        for k, (x, labels) in enumerate(batches(steps, dtype))
    ]
    return losses, left(model, optimizer)


def compiledly(build, make=sgd, dtype=np.float32, steps=3, **how):
    model = network(build, dtype)
    optimizer = make(model)
    step = compile_training(model, criterion, optimizer, SHAPE, **how)
    losses = [
        step(x, labels, rng=np.random.default_rng(k))
        for k, (x, labels) in enumerate(batches(steps, dtype))
    ]
    return losses, left(model, optimizer)


def different(one, other):
    assert one.keys() == other.keys()
    return [name for name in one if one[name] != other[name]]


def assert_same(got, expected):
    assert got[0] == expected[0]
    assert different(got[1], expected[1]) == []


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("build", BLOCKS)
def test_a_compiled_step_has_the_bits_of_eager_mode_for_any_number_of_threads(build, dtype):
    expected = eagerly(build, dtype=dtype)
    for workers in (1, 2, 3):
        assert_same(compiledly(build, dtype=dtype, threads=workers), expected)


class Sums(nn.Module):
    """Residuals and what follows them: ReLU of a sum, of one that is read twice, another clamp."""

    def __init__(self, activation=None):
        super().__init__()
        self.stem = nn.ConvBN(3, 9, 3)
        self.blocks = nn.Sequential(*[nn.ConvBN(9, 9, 1, activation=activation) for _ in range(4)])
        self.head = nn.Linear(9, CLASSES)

    def forward(self, x):
        x, (one, two, three, four) = self.stem(x), self.blocks
        x = mg.relu(one(x) + x)
        x = mg.relu(x + two(x))
        x = mg.relu6(three(x) + x)
        total = four(x) + x
        return self.head(mg.mean(mg.relu(total) + total, (2, 3)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("activation", [None, "relu", "hardswish"])
def test_activations_of_sums_have_the_bits_of_eager_mode(activation, dtype):
    build = functools.partial(Sums, activation)
    expected = eagerly(build, dtype=dtype)
    for again in (False, True):
        assert_same(compiledly(build, dtype=dtype, recompute=again), expected)


def test_relu_of_a_sum_that_it_alone_reads_is_part_of_the_batch_norm():
    model = network(Sums)
    leaves = [*model.parameters(), *model.buffers()]
    record = record_step(model, leaves, SHAPE, np.dtype(np.float32))
    ops = [step.op for step in combined(record.graph).steps.values()]
    assert ops.count("relu") == 1  # of the sum that is read twice
    assert ops.count("relu6") == 1


@pytest.mark.parametrize("build", BLOCKS)
def test_recomputed_activations_have_the_same_bits(build):
    assert_same(compiledly(build, recompute=True), eagerly(build))


OPTIMIZERS = {
    "plain": lambda m: optim.SGD(m.parameters(), 0.1),
    "dampened": lambda m: optim.SGD(m.parameters(), 0.1, 0.9, 0.3, maximize=True),
    "RMSpropTF": lambda m: optim.RMSpropTF(m.parameters(), 0.01, momentum=0.9),
    "AdamW": lambda m: optim.AdamW(m.parameters(), 0.01),
}


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_every_optimiser_takes_its_own_step(make):
    assert_same(compiledly(squeezenexts, make), eagerly(squeezenexts, make))


@pytest.mark.parametrize("build", BLOCKS)
def test_the_interpreted_step_is_eager_mode(build):
    """Without the core the recorded primitives run as they are."""
    with mg.backend("numpy"):
        model, twin = network(build), network(build)
        leaves = [*twin.parameters(), *twin.buffers()]
        runner = Interpreted(record_step(twin, leaves, SHAPE, np.float32))
        x, labels = next(batches(1))
        rng = np.random.default_rng(0)
        for module in model.modules():
            if "rng" in module.__dict__:
                module.__dict__["rng"] = rng
        criterion(model(mg.Tensor(x)), labels).backward()
        z = mg.Tensor(runner.forward(x, 1, np.random.default_rng(0)), requires_grad=True)
        criterion(z, labels).backward()
        found = runner.backward(z.grad.numpy(), 1)
    expected = {k: p.grad.numpy().tobytes() for k, p in model.named_parameters()}
    names = {id(p): k for k, p in twin.named_parameters()}
    pairs = zip(runner.recording.gradients, found, strict=True)
    assert {names[id(p)]: g.tobytes() for (p, _), g in pairs} == expected
    assert different(
        {k: v.tobytes() for k, v in twin.state_dict().items()},
        {k: v.tobytes() for k, v in model.state_dict().items()},
    ) == []  # fmt: skip


def test_weights_loaded_between_steps_are_the_ones_that_are_trained():
    model, twin = network(squeezenexts), network(squeezenexts)
    one, other = sgd(model), sgd(twin)
    step = compile_training(model, criterion, one, SHAPE)
    loaded = network(squeezenexts, seed=9).state_dict()
    for k, (x, labels) in enumerate(batches(4)):
        if k == 2:
            model.load_state_dict(loaded)
            twin.load_state_dict(loaded)
        step(x, labels, rng=np.random.default_rng(k))
        eager_step(twin, other, x, labels, np.random.default_rng(k))
    assert different(left(model, one), left(twin, other)) == []
    assert all(np.isfinite(a).all() for a in loaded.values())


def test_rates_clipping_and_accumulation_are_those_of_the_moment():
    model, twin = network(squeezenexts), network(squeezenexts)
    one, other = sgd(model), sgd(twin)
    step = compile_training(model, criterion, one, SHAPE)
    for k, (x, labels) in enumerate(batches(6)):
        for optimizer in (one, other):
            optimizer.param_groups[0]["lr"] = 0.1 / (k + 1)
            optimizer.param_groups[1]["momentum"] = 0.0 if k == 4 else 0.9
        rngs = [np.random.default_rng(k) for _ in range(2)]
        more = k % 2 == 1
        step.gradients(x, lambda z, y=labels: criterion(z, y), rngs[0], accumulate=more)
        for module in twin.modules():
            if "rng" in module.__dict__:
                module.__dict__["rng"] = rngs[1]
        if not more:
            other.zero_grad()
        criterion(twin(mg.Tensor(x)), labels).backward()
        if more:
            optim.clip_grad_norm_(model.parameters(), 0.5)
            optim.clip_grad_norm_(twin.parameters(), 0.5)
            step.update()
            other.step()
    assert different(left(model, one), left(twin, other)) == []


def test_frozen_parts_keep_their_values_and_statistics():
    model, twin = network(inverted_residuals), network(inverted_residuals)
    for each in (model, twin):
        part = each.get_submodule("1").eval()
        for p in part.parameters():
            p.requires_grad_(False)
    one, other = sgd(model), sgd(twin)
    before = {k: v.copy() for k, v in model.get_submodule("1").state_dict().items()}
    step = compile_training(model, criterion, one, SHAPE)
    for k, (x, labels) in enumerate(batches(2)):
        step(x, labels, rng=np.random.default_rng(k))
        eager_step(twin, other, x, labels, np.random.default_rng(k))
    state, expected = model.state_dict(), twin.state_dict()
    assert all(np.array_equal(state[k], expected[k]) for k in expected)
    after = model.get_submodule("1").state_dict()
    assert all(np.array_equal(after[k], before[k]) for k in before)


class Strange(nn.Module):
    """Views of views: what no map of a network of ours is, and a user's may be."""

    def __init__(self):
        self.first, self.second = nn.BatchNorm2d(6), nn.BatchNorm2d(5)
        self.conv, self.head = nn.Conv2d(5, 4, 1), nn.Linear(24, CLASSES)
        self.scale = nn.Parameter(np.linspace(0.5, 2, 24).reshape(4, 6, 1).astype(np.float32))

    def forward(self, x):
        y = mg.relu6(self.first(x.permute(0, 2, 3, 1)))  # (N, 6, 4, 5)
        y = self.second(y.permute(0, 3, 1, 2)) + x
        y = self.conv(y).mean(3)  # (N, 4, 6)
        y = y * self.scale.reshape(1, 4, 6)
        return self.head(y.transpose(1, 2).reshape(y.shape[0], 24))


def test_views_of_views_and_strided_parameters_have_the_bits_of_eager_mode():
    shape = (3, 5, 6, 4)
    model, twin = Strange(), Strange()
    nn.init.initialize(twin, rng=np.random.default_rng(0))
    wide = np.linspace(0.5, 1.5, 12).astype(np.float32)
    for each in (model, twin):
        each.load_state_dict(twin.state_dict() | {"first.weight": wide[::2]})
    one, other = sgd(model), sgd(twin)
    step = compile_training(model, criterion, one, shape)
    for k, (x, labels) in enumerate(batches(3, shape=shape)):
        step(x, labels)
        eager_step(twin, other, x, labels, np.random.default_rng(k))
    assert different(left(model, one), left(twin, other)) == []


@compiled
def test_every_step_uses_the_same_memory():
    model = network(inverted_residuals)
    step = compile_training(model, criterion, sgd(model), SHAPE)
    places = []
    for k, (x, labels) in enumerate(batches(3)):
        step(x, labels, rng=np.random.default_rng(k))
        arrays = [
            *(p.grad.array for p in model.parameters()),
            *(p.array for p in model.parameters()),
        ]
        places.append([a.ctypes.data for a in arrays])
    assert places[0] == places[1] == places[2]


@compiled
@pytest.mark.parametrize("build", BLOCKS)
def test_recomputing_saves_the_memory_that_it_says(build):
    model = network(build)
    steps = [
        compile_training(model, criterion, sgd(model), SHAPE, recompute=again)
        for again in (False, True)
    ]
    sizes = [step.maps for step in steps]
    assert sizes[1] < sizes[0]
    saved = f"recomputing saves {size_text(sizes[0] - sizes[1])} of {size_text(sizes[0])}"
    assert saved in str(steps[1])
    assert "recomputing" not in str(steps[0])


def test_what_cannot_be_compiled_is_refused_in_a_sentence():
    model = network(squeezenexts)
    optimizer = sgd(model)
    with pytest.raises(GraphError, match="takes a Module, a loss and an Optimizer"):
        compile_training(lambda x: x, criterion, optimizer, SHAPE)
    with pytest.raises(ArgumentError, match="shape"):
        compile_training(model, criterion, optimizer, "large")
    step = compile_training(model, criterion, optimizer, SHAPE)
    assert isinstance(step, CompiledTraining)
    with pytest.raises(ShapeError, match="compiled for"):
        step(np.zeros((1, *SHAPE[1:]), np.float32), [0])
    with pytest.raises(DtypeError, match="compiled for float32, got float64"):
        step(np.zeros(SHAPE), [0] * SHAPE[0])
    x, _ = next(batches(1))
    with pytest.raises(GraphError, match="does not depend"):
        step.gradients(x, lambda z: mg.Tensor([1.0], requires_grad=True).sum())

    class Looks(nn.Module):
        def __init__(self):
            self.conv = nn.Conv2d(3, 2, 1)

        def forward(self, x):
            return self.conv(x) if x.numpy().sum() > 0 else x

    with pytest.raises(GraphError, match="looks at the values"):
        compile_training(Looks(), criterion, optimizer, SHAPE)


@pytest.mark.parametrize("build", BLOCKS)
def test_second_derivatives_in_training_mode(build):
    """Through batch statistics, activations, residuals and gates, of a small map."""

    def blocks():
        if build is squeezenexts:
            return nn.SqueezeNeXtBlock(4, 4)
        return nn.InvertedResidual(4, 4, 2, activation="silu", se_ratio=0.5)

    block = blocks().to(np.float64)
    nn.init.initialize(block, rng=np.random.default_rng(3))
    x = np.random.default_rng(2).standard_normal((2, 4, 3, 3))
    mg.check_grads(lambda t: (block(t) ** 2).sum(), mg.Tensor(x, requires_grad=True), order=2)


@compiled
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_loss_that_makes_no_array_has_the_bits_of_the_eager_one(smoothing, dtype):
    how = functools.partial(mg.cross_entropy, label_smoothing=smoothing)
    own = bound_loss(how, (5, CLASSES), dtype)
    rng = np.random.default_rng(0)
    for scale in (1, 1e4, np.inf, np.nan):
        z = (rng.standard_normal((5, CLASSES)) * scale).astype(dtype)
        labels = rng.integers(0, CLASSES, 5)
        leaf = mg.Tensor(z.copy(), requires_grad=True)
        expected = how(leaf, labels)
        expected.backward()
        got = dtype(own(z, labels, 1))
        assert got.tobytes() == expected.numpy().tobytes() or np.isnan(got) == np.isnan(expected)
        assert own.gradient.tobytes() == leaf.grad.numpy().tobytes()
    assert bound_loss(criterion, (5, CLASSES), dtype) is None
    assert bound_loss(functools.partial(how, reduction="sum"), (5, CLASSES), dtype) is None


@compiled
@pytest.mark.parametrize("build", BLOCKS)
def test_a_step_makes_no_array(build):
    """A step of two maps' size: what it makes of Python's objects is smaller than one map."""
    shape = (4, 3, 65, 63)
    model = network(build)
    for module in model.modules():
        if isinstance(module, nn.Dropout | nn.StochasticDepth):
            module.p = 0.0
    step = compile_training(model, mg.cross_entropy, sgd(model), shape)
    several = list(batches(4, shape=shape))
    for x, labels in several[:3]:
        step(x, labels)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        step(*several[3])
        made = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert made < 20_000
