"""The network, optimiser and schedule that ``minigrad train`` was asked for."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from minigrad.cli.arguments import weights_file
from minigrad.cli.terminal import printable
from minigrad.cli.training_data import Parts
from minigrad.errors import MinigradError
from minigrad.models import Network, Preparation, create, entry, resolve
from minigrad.nn.layers import BatchNorm2d, Linear
from minigrad.optim import (
    RECIPES,
    SGD,
    Adam,
    AdamW,
    CosineAnnealingLR,
    LinearLR,
    Optimizer,
    Recipe,
    RMSpropTF,
    Schedule,
    SequentialLR,
    WeightAverage,
    parameter_groups,
)
from minigrad.training import Run

__all__ = ["OPTIMIZERS", "WARMUP", "WEIGHT_DECAY", "frozen_parts", "make_network", "make_run"]

Groups = list[dict[str, object]]
OPTIMIZERS: dict[str, Callable[[Groups, float], Optimizer]] = {
    "sgd": lambda groups, lr: SGD(groups, lr, momentum=0.9, nesterov=True),
    "rmsprop": lambda groups, lr: RMSpropTF(groups, lr, momentum=0.9, eps=1e-3),
    "adam": lambda groups, lr: Adam(groups, lr),
    "adamw": lambda groups, lr: AdamW(groups, lr),
}
WEIGHT_DECAY, WARMUP = 4e-5, 0.5  # unless they are given; warm-up in epochs
RATES = {"sgd": 0.05, "rmsprop": 0.002, "adam": 0.001, "adamw": 0.001}  # for a batch of 64
PRETRAINED = 0.4  # of these: larger steps lose what was learned before


def make_network(options: argparse.Namespace, parts: Parts) -> Network:
    """The network with a classifier for the classes, on given weights if there are any."""
    name, preset = resolve(options.model)
    classes = parts.training.classes
    if not options.weights:
        network = create(name, num_classes=len(classes), preset=preset, rng=options.seed)
        network.preparation = _sized(entry(name).preparation(preset), options, parts)
    else:
        pretrained = create(name, weights=weights_file(Path(options.weights)), preset=preset)
        network = _with_head(pretrained, classes, options.seed)
        assert network.preparation is not None
        network.preparation = _sized(network.preparation, options, parts)
    if network.preparation.order != "RGB":
        raise MinigradError(
            f"{name}: weights that read {network.preparation.order} are not trained on; give "
            "--model with another preset"
        )
    network.labels = classes
    for part in frozen_parts(network, options.freeze):
        network.get_submodule(part).requires_grad_(False)
    if not any(p.requires_grad for p in network.parameters()):
        raise MinigradError("--freeze leaves nothing to train: leave the classifier out")
    return network


def _with_head(pretrained: Network, classes: tuple[str, ...], seed: int) -> Network:
    """The same network, with a new classifier unless it knows these very classes."""
    if pretrained.labels == classes:
        return pretrained
    switches: dict[str, Any] = dict(pretrained.switches)
    network = create(
        pretrained.name, preset=pretrained.preset, num_classes=len(classes), rng=seed,
        **switches,
    )  # fmt: skip
    kept = {k: v for k, v in pretrained.state_dict().items() if not k.startswith("classifier.")}
    own = {k: v for k, v in network.state_dict().items() if k.startswith("classifier.")}
    network.load_state_dict({**kept, **own})
    network.preparation = pretrained.preparation
    return network


def _sized(preparation: Preparation, options: argparse.Namespace, parts: Parts) -> Preparation:
    """The preparation in the size asked for; small pictures are not enlarged to a margin."""
    size = options.size or min(preparation.size, min(parts.training[0].shape[:2]))
    if size == preparation.size:
        return preparation
    margin = round(preparation.margin * size / preparation.size)
    return preparation._replace(size=size, margin=margin, crop_first=False, squash=False)


def frozen_parts(network: Network, asked: list[str]) -> list[str]:
    """The modules that ``--freeze`` names."""
    parts = [name for name, _ in network.named_children()]
    modules = {name for name, _ in network.named_modules()} - {""}
    found: list[str] = []
    for name in asked:
        if name == "features":
            found += [part for part in parts if part != "classifier"]
        elif name == "norms":
            found += [key for key, m in network.named_modules() if isinstance(m, BatchNorm2d)]
        elif name in modules:
            found.append(name)
        else:
            raise MinigradError(
                f"--freeze {printable(name)}: {network.name} has no such part; it has features, "
                f"norms, {', '.join(parts)}"
            )
    return found


def make_run(network: Network, options: argparse.Namespace, steps: int) -> Run:
    """The network with its optimiser, schedule and average."""
    if not isinstance(network.classifier, Linear):
        raise MinigradError(f"{network.name} has no classifier to train")
    total = max(1, options.epochs * -(-steps // options.accumulate))
    optimizer: Optimizer
    schedule: Schedule
    if options.recipe:
        recipe = _recipe(options)
        optimizer = recipe.make_optimizer(network, options.batch * options.accumulate)
        schedule = recipe.make_schedule(optimizer, max(1, total // options.epochs), options.epochs)
    else:
        usual = RATES[options.optimizer] * options.batch * options.accumulate / 64
        usual *= PRETRAINED if options.weights else 1.0
        lr = usual if options.learning_rate is None else options.learning_rate
        groups = parameter_groups(network, lr, options.weight_decay, options.layer_decay)
        optimizer = OPTIMIZERS[options.optimizer](groups, lr)
        schedule = _warm_cosine(optimizer, total, round(options.warmup * total / options.epochs))
    average = WeightAverage(network, options.average) if options.average else None
    return Run(network, optimizer, schedule, average, options.seed)


def _recipe(options: argparse.Namespace) -> Recipe:
    """The recipe that was asked for, beside nothing that it says itself."""
    usual = {"optimizer": "sgd", "learning_rate": None, "weight_decay": WEIGHT_DECAY,
             "layer_decay": 1.0, "warmup": WARMUP}  # fmt: skip
    for name, value in usual.items():
        if getattr(options, name) != value:
            raise MinigradError(
                f"--recipe {options.recipe} sets the optimiser and its rates itself: leave out "
                f"--{name.replace('_', '-')}"
            )
    return RECIPES[options.recipe]


def _warm_cosine(optimizer: Optimizer, total: int, warm: int) -> Schedule:
    warm = min(warm, total - 1)
    cosine = CosineAnnealingLR(optimizer, total - warm)
    if not warm:
        return cosine
    return SequentialLR(optimizer, [LinearLR(optimizer, 0.05, total_iters=warm), cosine], [warm])
