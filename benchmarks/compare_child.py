"""One side of ``benchmarks.compare``: a process that times what it is asked to, call by call.

It speaks JSON, a line each way, on stdin and stdout: the name of a case and a number of
seconds in, microseconds of each call out.  Between two lines it waits, so that the other
side has the machine to itself.  It uses public names of minigrad alone, those that every
commit has.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np

import minigrad as mg

__all__ = ["CASES", "Case", "main"]

Call: TypeAlias = Callable[[], object]
NETWORKS = (
    "mobilenet_v2",
    "efficientnet_lite0",
    "squeezenext_1_0_23",
    "squeezenext_1_0_23v5",
    "efficientnet_b0",
    "mobilenet_v3_large",
)
# name: channels in, channels out, kernel, size of the map, stride, padding, groups
LAYERS = {
    "pointwise 16->96@112": (16, 96, (1, 1), 112, 1, 0, 1),
    "pointwise 144->32@28": (144, 32, (1, 1), 28, 1, 0, 1),
    "pointwise 384->64@14": (384, 64, (1, 1), 14, 1, 0, 1),
    "pointwise 960->160@7": (960, 160, (1, 1), 7, 1, 0, 1),
    "depthwise 3x3 32@112": (32, 32, (3, 3), 112, 1, 1, 32),
    "depthwise 3x3 144@56": (144, 144, (3, 3), 56, 1, 1, 144),
    "depthwise 3x3 144@56 s2": (144, 144, (3, 3), 56, 2, 1, 144),
    "depthwise 3x3 960@7": (960, 960, (3, 3), 7, 1, 1, 960),
    "depthwise 5x5 240@28": (240, 240, (5, 5), 28, 1, 2, 240),
    "stem 3x3 3->32@224": (3, 32, (3, 3), 224, 2, 1, 1),
    "dense 3x3 64->64@56": (64, 64, (3, 3), 56, 1, 1, 1),
    "dense 3x1 32->32@28": (32, 32, (3, 1), 28, 1, (1, 0), 1),
}


class Case(NamedTuple):
    """Work that one side repeats.

    ``prepare`` makes the call that is timed, anew where ``once`` is true: a backward pass
    consumes the graph of its forward pass, which is not timed.
    """

    prepare: Callable[[], Call]
    once: bool = False


def _values(*shape: int) -> mg.Tensor:
    """General values of a shape, the channels of a map side by side in memory."""
    x = np.random.default_rng(0).standard_normal(shape, np.float32)
    if x.ndim == 4:
        x = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    return mg.Tensor(x)


def _network(name: str, threads: int) -> Case:
    def prepare() -> Call:
        plan = mg.compile(mg.models.create(name).eval(), (1, 3, 224, 224), threads=threads)
        x = np.random.default_rng(0).standard_normal((1, 3, 224, 224), np.float32)
        return lambda: plan(x)

    return Case(prepare)


def _operands(name: str, batch: int) -> tuple[mg.Tensor, mg.Tensor, dict[str, object]]:
    cin, cout, kernel, size, stride, padding, groups = LAYERS[name]
    x, w = _values(batch, cin, size, size), _values(cout, cin // groups, *kernel)
    return x, w, {"stride": stride, "padding": padding, "groups": groups}


def _layer(name: str) -> Case:
    def prepare() -> Call:
        x, w, how = _operands(name, 1)

        def call() -> None:
            with mg.no_grad():
                mg.conv2d(x, w, **how)

        return call

    return Case(prepare)


def _gradient(name: str, argument: str) -> Case:
    def prepare() -> Call:
        x, w, how = _operands(name, 2)
        (x if argument == "input" else w).requires_grad = True
        y = mg.conv2d(x, w, **how)
        cotangent = mg.Tensor(np.ones_like(y.numpy()))
        return lambda: y.backward(cotangent)

    return Case(prepare, once=True)


def _batch_norm() -> Case:
    def prepare() -> Call:
        norm = mg.nn.BatchNorm2d(96).train()
        x = _values(4, 96, 56, 56)
        x.requires_grad = True
        y = norm(x)
        cotangent = mg.Tensor(np.ones_like(y.numpy()))
        return lambda: y.backward(cotangent)

    return Case(prepare, once=True)


CASES: dict[str, dict[str, Case]] = {
    "networks": {
        f"{name}, {threads} thread{'s' * (threads > 1)}": _network(name, threads)
        for name in NETWORKS
        for threads in (1, 2)
    },
    "layers": {name: _layer(name) for name in LAYERS},
    "gradients": {
        **{f"{name}, {a}": _gradient(name, a) for name in LAYERS for a in ("input", "weight")},
        "batch norm 96@56": _batch_norm(),
    },
}


def _time(case: Case, call: Call, seconds: float) -> list[float]:
    """Microseconds of calls, one after another, for about so many seconds."""
    times: list[float] = []
    end = time.perf_counter() + seconds
    while not times or time.perf_counter() < end:
        if case.once:
            call = case.prepare()
        start = time.perf_counter()
        call()
        times.append((time.perf_counter() - start) * 1e6)
    return times


def main() -> None:
    """Answer each line until the input ends."""
    prepared: tuple[str, Case, Call] | None = None
    for line in sys.stdin:
        group, name, seconds = json.loads(line)
        if prepared is None or prepared[0] != name:
            case = CASES[group][name]
            prepared = name, case, case.prepare()
        print(json.dumps(_time(*prepared[1:], seconds)), flush=True)


if __name__ == "__main__":
    main()
