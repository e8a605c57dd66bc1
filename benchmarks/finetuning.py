"""Pretrained MobileNetV2 fine-tuned on photographs, ours beside PyTorch, the same recipe.

    python -m benchmarks.finetuning DATA WEIGHTS --engine minigrad --seeds 0,1,2
    python -m benchmarks.finetuning DATA WEIGHTS --time

DATA has the folders train, validation and test with a folder for each class, WEIGHTS is
torchvision's file.  The recipe is that of ``minigrad train --model mobilenet_v2 --weights
WEIGHTS --size 128 --batch 32 --epochs 2 --learning-rate 0.01``: both engines get the same
pictures in the same order, changed in the same way, the same first classifier, the same rates,
and train every layer; only the noise of dropout differs.  The share that is right is counted on
``test``, which nobody looks at before, with the weights of the last epoch.
``pip install torch==2.13.0``.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.timing import interleave
from minigrad.cli import train
from minigrad.cli.training_data import evaluated, read_parts, shift_at, varied
from minigrad.cli.training_setup import make_network, make_run
from minigrad.data import Batch, ImageFolder, Loader
from minigrad.models import Network
from minigrad.threads import threads as use_threads
from minigrad.training import Run, Settings, evaluate, fit
from minigrad.training.loop import train_step
from minigrad.training.passes import Passes

__all__ = ["Task", "main"]

Images = np.ndarray[Any, np.dtype[np.float32]]


class Task:
    """Data, network and run of one seed."""

    def __init__(self, args: argparse.Namespace, seed: int) -> None:
        typed = ("--model", "mobilenet_v2", "--weights", str(args.weights), "--seed", str(seed),
                 "--size", str(args.size), "--batch", str(args.batch),
                 "--epochs", str(args.epochs),
                 "--learning-rate", str(args.learning_rate))  # fmt: skip
        parser = argparse.ArgumentParser()
        train.configure(parser)
        options = parser.parse_args(typed)
        options.weights = str(options.weights)
        self.parts = read_parts(args.data)
        self.network: Network = make_network(options, self.parts)
        preparation = self.network.preparation
        assert preparation is not None
        self.loader = Loader(
            self.parts.training, args.batch, varied(preparation, shift_at(preparation.size)),
            shuffle=True, seed=seed, workers=1, drop_last=True,
        )  # fmt: skip
        tested = ImageFolder(args.data / "test", self.parts.training.classes)
        self.test = Loader(tested, args.batch, evaluated(preparation), workers=1)
        self.run: Run = make_run(self.network, options, len(self.loader))
        self.epochs, self.seed = args.epochs, seed

    def share(self, network: Network | Callable[[Images], Images]) -> float:
        """The share of the test pictures that a network is right about."""
        return evaluate(network, self.test.batches(0), len(self.test.dataset.classes)).top1


def ours(task: Task) -> float:
    """The share that is right after training with minigrad."""
    fit(task.run, task.loader, Settings(epochs=task.epochs, compile=True))
    return task.share(task.network)


def theirs(task: Task, path: Path, threads: int) -> float:
    """The share that is right after training with PyTorch."""
    torch, network, step = torch_step(task, path, threads)
    for epoch in range(task.epochs):
        network.train()
        for batch in task.loader.batches(epoch):
            step(batch)
    network.eval()

    def logits(images: Images) -> Images:
        with torch.no_grad():
            found: Images = network(torch.from_numpy(images)).numpy()
        return found

    return task.share(logits)


def torch_step(task: Task, path: Path, threads: int) -> tuple[Any, Any, Callable[[Batch], None]]:
    """PyTorch, its network in training mode, and a step with the rates of our schedule."""
    import torch

    from benchmarks.torch_mobilenet import torch_mobilenet

    torch.set_num_threads(threads)
    torch.manual_seed(task.seed)
    first = task.network.classifier
    assert first is not None
    weight, bias = (p.numpy() for p in first.parameters())
    network = torch_mobilenet(torch, str(path), weight, bias).train()
    groups = [{"params": [p for p in network.parameters() if (p.ndim > 1) == weighty]}
              for weighty in (True, False)]  # fmt: skip
    own = task.run.optimizer.param_groups[0]
    groups[0]["weight_decay"] = max(g["weight_decay"] for g in task.run.optimizer.param_groups)
    optimizer = torch.optim.SGD(groups, own["lr"], own["momentum"], nesterov=True)
    done = 0

    def step(batch: Batch) -> None:
        nonlocal done
        schedule = task.run.schedule
        assert schedule is not None
        for group in optimizer.param_groups:
            group["lr"] = schedule.rate(schedule.base_lrs[0], done)
        images = torch.from_numpy(batch.images).to(memory_format=torch.channels_last)
        optimizer.zero_grad()
        logits = network(images)
        torch.nn.functional.cross_entropy(logits, torch.from_numpy(batch.labels)).backward()
        optimizer.step()
        done += 1

    return torch, network, step


def timed(args: argparse.Namespace) -> dict[str, object]:
    """Milliseconds of a step with the next batch, the engines in turn."""
    task, other = Task(args, 0), Task(args, 0)
    passes = Passes(task.run, compiles=True)
    step = torch_step(other, args.weights, args.threads)[2]
    task.network.train()
    our_batches, their_batches = (forever(t.loader) for t in (task, other))
    with use_threads(args.threads):
        times = interleave({
            "minigrad": lambda: train_step(task.run, next(our_batches), Settings(), passes=passes),
            "torch": lambda: step(next(their_batches)),
        }, args.seconds)  # fmt: skip
    found: dict[str, object] = {name: t.median_us / 1e3 for name, t in times.items()}
    return {"threads": args.threads, "steps": len(task.loader) * args.epochs, **found}


def forever(loader: Loader) -> Iterator[Batch]:
    """Epoch after epoch."""
    while True:
        yield from loader


def trained(args: argparse.Namespace, seed: int) -> dict[str, object]:
    """One row: the share that is right after training from a seed."""
    task, start = Task(args, seed), time.perf_counter()
    with use_threads(args.threads):
        share = ours(task) if args.engine == "minigrad" else theirs(
            task, args.weights, args.threads)  # fmt: skip
    return {"engine": args.engine, "seed": seed, "epochs": args.epochs,
            "learning_rate": args.learning_rate, "size": args.size, "batch": args.batch,
            "right": share, "of": len(task.test.dataset),
            "seconds": round(time.perf_counter() - start)}  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.finetuning")
    add = parser.add_argument
    add("data", type=Path, metavar="DATA")
    add("weights", type=Path, metavar="WEIGHTS")
    add("--engine", choices=("minigrad", "torch"), default="minigrad")
    add("--seeds", type=lambda text: [int(s) for s in text.split(",")], default=[0])
    add("--epochs", type=int, default=2)
    add("--learning-rate", type=float, default=0.01)
    add("--size", type=int, default=128)
    add("--batch", type=int, default=32)
    add("--threads", type=int, default=1)
    add("--time", action="store_true", help="time steps instead, the engines in turn")
    add("--seconds", type=float, default=20.0, help="of measuring with --time")
    add("--json", type=Path, metavar="FILE", help="append the rows to this file, a line each")
    args = parser.parse_args()
    rows = [timed(args)] if args.time else (trained(args, seed) for seed in args.seeds)
    for row in rows:
        print(json.dumps(row), flush=True)
        if args.json:
            with args.json.open("a") as file:
                file.write(json.dumps(row) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
