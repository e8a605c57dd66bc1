"""Training runs: reproducible to the bit, resumable at any step, and stopped by bad numbers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import minigrad as mg
from minigrad import nn, optim, training
from minigrad.data import ArrayDataset, Compose, HorizontalFlip, Loader, Normalize, RandomCrop
from minigrad.errors import FormatError, StateDictError
from minigrad.training import DivergedError, EpochRecord, Run, Settings, evaluate, fit
from minigrad.training.evaluation import cross_entropies
from minigrad.training.watch import bad_gradient, bad_layer

NORMALIZE = Normalize((127.5,), (127.5,))


class Net(nn.Module):
    """A block between a stem and a head, with noise in both of the places that have it."""

    def __init__(self, kind):
        self.stem = nn.Conv2d(1, 8, 3, 2, padding=1)
        self.block = (
            nn.InvertedResidual(8, 8, expand_ratio=2, stochastic_depth=0.2)
            if kind == "inverted residual"
            else nn.SqueezeNeXtBlock(8, 8, bn_momentum=0.1)
        )
        self.drop = nn.Dropout(0.2)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.drop(self.block(self.stem(x)).mean((2, 3))))


KINDS = ("inverted residual", "SqueezeNeXt")


def dataset(n=30):
    """Three classes: bright above, bright below, neither."""
    rng = np.random.default_rng(0)
    labels = np.arange(n) % 3
    images = rng.integers(0, 100, (n, 9, 9), np.uint8)
    images[labels == 0, :4] += 140
    images[labels == 1, 5:] += 140
    return ArrayDataset(images, labels, ("above", "below", "neither"))


def a_run(kind=KINDS[0], seed=3, average=True):
    model = Net(kind)
    nn.init.initialize(model, rng=np.random.default_rng(seed))
    optimizer = optim.SGD(optim.parameter_groups(model, 0.1, 1e-3), 0.1, 0.9, nesterov=True)
    schedule = optim.CosineAnnealingLR(optimizer, 40)
    return Run(
        model, optimizer, schedule, optim.WeightAverage(model, 0.9) if average else None, seed
    )


def a_loader(batch_size=8):
    change = Compose([RandomCrop(9, 1), HorizontalFlip(), NORMALIZE])
    return Loader(dataset(), batch_size, change, shuffle=True, seed=1)


def bits(run):
    states = [*run.model.state_dict().values(), *run.average.values.values()]
    return [a.tobytes() for a in states]


SETTINGS = Settings(epochs=2, label_smoothing=0.1, clip=5.0, accumulate=2)


@pytest.fixture(scope="module")
def unbroken():
    runs = {}
    for kind in KINDS:
        run = a_run(kind)
        fit(run, a_loader(), SETTINGS)
        runs[kind] = bits(run), run.history
    return runs


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_bits_for_any_number_of_threads(unbroken, kind, threads):
    run, loader = a_run(kind), a_loader()
    loader.workers = threads
    with mg.threads(threads):
        fit(run, loader, SETTINGS)
    assert (bits(run), run.history) == unbroken[kind]


@pytest.mark.parametrize("stop", range(1, 8))
@pytest.mark.parametrize("kind", KINDS)
def test_a_run_stopped_after_any_step_goes_on_to_the_same_bits(unbroken, tmp_path, kind, stop):
    file, steps = tmp_path / "run.safetensors", iter(range(1, 100))

    def stop_there(progress):
        if next(steps) == stop:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(training.Interrupted):
        fit(a_run(kind), a_loader(), SETTINGS, save=lambda r: r.save(file), on_step=stop_there)
    resumed = a_run(kind, seed=9)
    resumed.load(file)
    fit(resumed, a_loader(), SETTINGS)
    assert (bits(resumed), resumed.history) == unbroken[kind]


def test_accumulated_batches_make_one_update():
    run = a_run()
    before = bits(run)
    batches = list(a_loader().batches(0))
    training.loop.train_step(run, batches[0], SETTINGS)
    assert run.optimizer.state == {}
    training.loop.train_step(run, batches[1], SETTINGS)
    assert run.optimizer.state != {}
    assert bits(run) != before


def test_accumulation_is_the_mean_of_the_gradients():
    def gradients(settings, batches):
        run = a_run()
        run.model.eval()  # no noise, no batch statistics: the loss is a mean over pictures
        run.optimizer.step = lambda: None
        for batch in batches:
            training.loop.train_step(run, batch, settings)
        return np.concatenate([p.grad.numpy().ravel() for p in run.model.parameters()])

    whole = list(Loader(dataset(8), 8, NORMALIZE).batches(0))
    halves = list(Loader(dataset(8), 4, NORMALIZE).batches(0))
    one, two = gradients(Settings(), whole), gradients(Settings(accumulate=2), halves)
    np.testing.assert_allclose(two, one, rtol=1e-4, atol=1e-6)


def test_frozen_modules_keep_their_statistics():
    run = a_run()
    settings = Settings(frozen=("block",))
    before = {k: v.copy() for k, v in run.model.state_dict().items() if "running" in k}
    fit(run, a_loader(), settings)
    after = run.model.state_dict()
    assert before
    assert all(np.array_equal(v, after[k]) for k, v in before.items())


def test_it_learns():
    run = a_run(average=False)
    loader = a_loader()
    fit(run, loader, Settings(epochs=12), validation=Loader(dataset(), 8, NORMALIZE))
    assert run.history[-1].val_accuracy > 0.9
    assert run.history[-1].loss < run.history[0].loss


def test_mixup_trains_on_both_labels():
    run = a_run()
    fit(run, a_loader(), Settings(mixup=0.4))
    assert np.isfinite(run.history[0].loss)


# ---------------------------------------------------------------- what goes wrong


def test_a_loss_that_is_no_number_names_the_step_and_the_layer():
    run = a_run()
    with mg.no_grad():
        run.model.block.project.conv.weight.copy_(
            np.full_like(run.model.block.project.conv.weight.numpy(), 3e38)
        )
    with pytest.raises(DivergedError, match=r"epoch 1, step 1: .* began in block\.project\.conv"):
        fit(run, a_loader(), Settings())


def test_a_parameter_that_is_no_number_is_named():
    run = a_run()
    with mg.no_grad():
        run.model.head.bias.copy_(np.array([0, np.nan, 0], np.float32))
    assert bad_layer(run.model, np.zeros((1, 1, 9, 9), np.float32)) == "head.bias"
    assert bad_layer(a_run().model, np.zeros((2, 1, 9, 9), np.float32)) is None


def test_the_watch_leaves_the_model_as_it_was():
    model = a_run().model
    before = [module.__dict__.keys() for module in model.modules()]
    bad_layer(model, np.full((1, 1, 9, 9), np.inf, np.float32))
    assert [module.__dict__.keys() for module in model.modules()] == before


def test_the_gradient_nearest_to_the_loss_is_named():
    model = a_run().model
    for p in model.parameters():
        p.grad = mg.Tensor(np.full(p.shape, np.nan, np.float32))
    model.head.bias.grad = mg.Tensor(np.zeros(3, np.float32))
    assert bad_gradient(model) == "head.weight"


def test_a_loss_without_bound_stops_the_run():
    run = a_run()
    with mg.no_grad():
        run.model.head.bias.copy_(np.array([0, 1e6, 0], np.float32))
    with pytest.raises(DivergedError, match="100 times that of guessing"):
        fit(run, a_loader(), Settings())


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"version": 1}'])
def test_a_file_that_is_no_run_is_refused(tmp_path, text):
    file = tmp_path / "x.safetensors"
    mg.formats.save(file, {"a": np.zeros(1)}, metadata={"minigrad.training": text})
    with pytest.raises(FormatError, match="not a training run"):
        a_run().load(file)


def test_a_run_of_another_model_or_optimiser_is_refused(tmp_path):
    file = tmp_path / "run.safetensors"
    run = a_run()
    run.save(file)
    with pytest.raises(StateDictError):
        a_run(KINDS[1]).load(file)
    other = a_run()
    other.optimizer = optim.Adam(other.model.parameters())
    with pytest.raises(FormatError, match="the run is of 'SGD', not of Adam"):
        other.load(file)


KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[2])
import numpy as np
from test_training import SETTINGS, a_loader, a_run, fit

def killed_after(seconds, file):
    child = os.fork()
    if child == 0:
        signal.setitimer(signal.ITIMER_PROF, seconds)  # SIGPROF ends a process where it is
        fit(a_run(sys.argv[3]), a_loader(), SETTINGS, save=lambda r: r.save(file))
        os._exit(0)
    status, used = os.wait4(child, 0)[1:]
    assert status in (0, signal.SIGPROF), status
    return used.ru_utime + used.ru_stime

whole = killed_after(1000, sys.argv[1] + "/whole.safetensors")
rng = np.random.default_rng()
for n in range(20):
    killed_after(max(rng.uniform(0, whole), 1e-6), f"{sys.argv[1]}/{n}.safetensors")
"""


@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_run_loses_at_most_the_running_epoch(unbroken, tmp_path, kind):
    """At 20 random moments of its CPU time; what is on the disk is always whole, and goes on."""
    command = [sys.executable, "-c", KILLED, str(tmp_path), str(Path(__file__).parent), kind]
    home = {"PYTHONPATH": str(Path(mg.__file__).parents[1])}
    subprocess.run(command, env={**os.environ, **home}, cwd=tmp_path, check=True)
    for moment in range(20):
        run, file = a_run(kind), tmp_path / f"{moment}.safetensors"
        if file.exists():
            run.load(file)
            assert run.step == 0
        fit(run, a_loader(), SETTINGS)
        assert bits(run) == unbroken[kind][0]


# ---------------------------------------------------------------- evaluation and curves


def test_evaluation_by_hand():
    z = np.array([[3.0, 1, 2], [0, 5, 1], [9, 8, 7]], np.float32)
    labels = np.array([0, 2, 1])
    found = evaluate(lambda images: z, [training.loop.Batch(z, labels)], 3)
    assert (found.images, found.top1, found.top5) == (3, 1 / 3, 1.0)
    assert found.confusion.tolist() == [[1, 0, 0], [1, 0, 0], [0, 1, 0]]
    p = np.exp(z.astype(np.float64))
    p /= p.sum(axis=1, keepdims=True)
    assert found.loss == pytest.approx(-np.log(p[np.arange(3), labels]).mean(), rel=1e-12)
    assert cross_entropies(z, labels).dtype == np.float64


def test_top5_counts_labels_among_the_five_largest():
    z = np.arange(8, dtype=np.float32)[None].repeat(2, axis=0)
    found = evaluate(lambda images: z, [training.loop.Batch(z, np.array([3, 2]))], 8)
    assert (found.top1, found.top5) == (0.0, 0.5)


def test_evaluation_gives_each_module_its_mode_back():
    model = a_run().model.train()
    model.block.eval()
    before = [module.training for module in model.modules()]
    evaluate(model, Loader(dataset(), 8, NORMALIZE), 3)
    assert [module.training for module in model.modules()] == before


def test_nothing_to_evaluate_is_no_number():
    found = evaluate(a_run().model, [], 3)
    assert found.images == 0
    assert np.isnan([found.loss, found.top1, found.top5]).all()


HISTORY = [EpochRecord(k, 0.1, 3 / k, 1 - 1 / k, 4 / k, 1 - 2 / k) for k in range(2, 9)]


@pytest.mark.parametrize(
    ("history", "count"),
    [(HISTORY, 4), (HISTORY[:1], 4), ([], 0), ([EpochRecord(1, 0.1, float("nan"), 0.5)], 1)],
)
def test_curves_are_pictures(history, count):
    root = ET.fromstring(training.curves_svg(history))
    curves = [e for e in root.iter() if e.get("stroke-width") == "2"]
    assert len(curves) == count
    with Image.open(BytesIO(training.curves_png(history))) as image:
        colors = {color for _, color in image.getcolors(1 << 16)}
        assert image.size == (760, 260)
    assert ((0, 114, 178) in colors) == bool(history)


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_compiled_run_has_the_bits_of_an_eager_one(unbroken, kind, recompute):
    """With noise, clipping, accumulation, and a last batch of another shape."""
    run = a_run(kind)
    fit(run, a_loader(), replace(SETTINGS, compile=True, recompute=recompute))
    assert (bits(run), run.history) == unbroken[kind]


@pytest.mark.parametrize("average", [False, True])
def test_a_compiled_run_is_validated_to_the_same_bits(average):
    """By a plan: the last batch is smaller, and the model goes on in training mode."""
    runs = [a_run(average=average), a_run(average=average)]
    for run, compiles in zip(runs, (False, True), strict=True):
        settings = replace(SETTINGS, epochs=2, compile=compiles)
        fit(run, a_loader(), settings, validation=a_loader(batch_size=7))
    assert runs[0].history == runs[1].history
    assert all(record.val_loss is not None for record in runs[0].history)


def test_a_compiled_run_goes_on_from_a_file_to_the_same_bits(unbroken, tmp_path):
    settings = replace(SETTINGS, compile=True)
    run = a_run()
    fit(run, a_loader(), replace(settings, epochs=1))
    run.save(tmp_path / "run.safetensors")
    resumed = a_run(seed=9)
    resumed.load(tmp_path / "run.safetensors")
    fit(resumed, a_loader(), settings)
    assert (bits(resumed), resumed.history) == unbroken[KINDS[0]]


def test_mixup_and_a_diverging_loss_are_seen_in_a_compiled_run():
    settings = Settings(epochs=1, mixup=0.3)
    runs = [a_run(), a_run()]
    for run, compiles in zip(runs, (False, True), strict=True):
        fit(run, a_loader(), replace(settings, compile=compiles))
    assert bits(runs[0]) == bits(runs[1])
    broken = a_run()
    with mg.no_grad():
        broken.model.head.weight.fill_(np.nan)
    with pytest.raises(DivergedError, match=r"head"):
        fit(broken, a_loader(), replace(settings, compile=True))
