"""How exact long sums are: ours, NumPy's and PyTorch's, each against float64 or better.

    python -m benchmarks.accuracy [--backend cython]

Hard cases in float32: constant maps, maps with a large mean, long maps after ReLU, and ordinary
ones; the mean, the variance, the output of BatchNorm in training, and the gradients of weights
and biases.  An entry is the largest error of the result's elements over their largest
magnitude (for a constant map's variance and output, which are 0, the error itself).  PyTorch,
where it is installed (``pip install torch==2.13.0``), has its columns.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

import minigrad as mg
from minigrad.geometry import ConvSpec
from minigrad.kernels import classify, find

__all__ = ["CASES", "Case", "error", "exact", "main", "rows"]

Array = NDArray[np.floating]
Results = dict[str, Array]
EPS = 1e-5


class Case(NamedTuple):
    """A map (N, C, H, W), from a generator of random numbers."""

    name: str
    make: Callable[[np.random.Generator], Array]


CASES = (
    Case("255 everywhere, 1000x1000", lambda r: np.full((1, 1, 1000, 1000), 255.0)),
    Case("N(1000, 1), 1024x1024", lambda r: r.normal(1000, 1, (1, 1, 1024, 1024))),
    Case("after ReLU, 32x8x112x112", lambda r: np.maximum(r.normal(size=(32, 8, 112, 112)), 0)),
    Case("ones, 64x2x512x512", lambda r: np.ones((64, 2, 512, 512))),
    Case("N(0, 1), 8x32x28x28", lambda r: r.normal(size=(8, 32, 28, 28))),
)


def exact(x: Array, g: Array) -> Results:
    """All results, in extended precision where NumPy has it."""
    wide, g_wide = x.astype(np.longdouble), g.astype(np.longdouble)
    axes = (0, 2, 3)
    mean, var = wide.mean(axis=axes), wide.var(axis=axes)
    centred = wide - mean[:, None, None]
    return {
        "mean": mean,
        "var": var,
        "batch_norm": centred / np.sqrt(var + EPS)[:, None, None],
        "weight grad": np.einsum("nchw,nchw->c", g_wide, wide),
        "bias grad": g_wide.sum(axis=axes),
    }


def ours(x: Array, g: Array) -> Results:
    """Of the current backend; the weights are those of a depthwise 1x1 convolution."""
    channels = x.shape[1]
    mean, var = find("batch_norm_statistics").call(x)
    one, zero = np.ones(channels, x.dtype), np.zeros(channels, x.dtype)
    spec, w_shape = ConvSpec(groups=channels), (channels, 1, 1, 1)
    weight_grad = find("conv2d_weight_grad", classify(spec, w_shape)).call
    return {
        "mean": mean,
        "var": var,
        "batch_norm": find("batch_norm").call(x, mean, var, one, zero, EPS),
        "weight grad": weight_grad(g, x, w_shape, spec)[:, 0, 0, 0],
        "bias grad": find("sum").call(g, (0, 2, 3), False),
    }


def numpys(x: Array, g: Array) -> Results:
    """As one would write it in NumPy, in the array's dtype."""
    axes = (0, 2, 3)
    mean, var = x.mean(axis=axes), x.var(axis=axes)
    scale = np.sqrt(var + x.dtype.type(EPS))[:, None, None]
    return {
        "mean": mean,
        "var": var,
        "batch_norm": (x - mean[:, None, None]) / scale,
        "weight grad": np.einsum("nchw,nchw->c", g, x),
        "bias grad": g.sum(axis=axes),
    }


def pytorchs(x: Array, g: Array) -> Results:
    """PyTorch's own kernels."""
    torch = importlib.import_module("torch")
    channels = x.shape[1]
    tensor, cotangent = torch.from_numpy(x), torch.from_numpy(g)
    w = torch.ones(channels, 1, 1, 1, requires_grad=True)
    bias = torch.zeros(channels, requires_grad=True)
    torch.nn.functional.conv2d(tensor, w, bias, groups=channels).backward(cotangent)
    var, mean = torch.var_mean(tensor, dim=(0, 2, 3), correction=0)
    y = torch.nn.functional.batch_norm(tensor, None, None, training=True, eps=EPS)
    return {
        "mean": mean.numpy(),
        "var": var.numpy(),
        "batch_norm": y.numpy(),
        "weight grad": w.grad[:, 0, 0, 0].numpy(),
        "bias grad": bias.grad.numpy(),
    }


def error(got: Array, expected: Array) -> float:
    """The largest error over the largest magnitude; the error itself where all are 0."""
    size = float(np.abs(expected).max())
    return float(np.abs(got - expected).max()) / (size or 1.0)


def rows() -> Iterator[tuple[str, str, dict[str, float]]]:
    """(case, result, {engine: error})."""
    engines: dict[str, Callable[[Array, Array], Results]] = {"minigrad": ours, "NumPy": numpys}
    if importlib.util.find_spec("torch"):
        engines["PyTorch"] = pytorchs
    for case in CASES:
        rng = np.random.default_rng(0)
        x = case.make(rng).astype(np.float32)
        g = np.ones_like(x) if case.name.startswith("ones") else np.abs(rng.normal(size=x.shape))
        g = g.astype(np.float32)
        expected = exact(x, g)
        found = {name: engine(x, g) for name, engine in engines.items()}
        for result, value in expected.items():
            yield case.name, result, {k: error(f[result], value) for k, f in found.items()}


def main(argv: list[str] | None = None) -> None:
    """Print the table, in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--backend", default=mg.current_backend())
    args = parser.parse_args(argv)
    with mg.backend(args.backend):
        table = list(rows())
    engines = list(table[0][2])
    print("| map, float32 | result | " + " | ".join(engines) + " |")
    print("|---|---|" + "---|" * len(engines))
    for case, result, errors in table:
        print(f"| {case} | {result} | " + " | ".join(f"{errors[k]:.1e}" for k in engines) + " |")


if __name__ == "__main__":
    main(sys.argv[1:])
