"""Whole networks against the peers: ``python -m benchmarks.networks --help``.

Untrained: what a network takes does not depend on its weights, as long as no value is
denormal, which ``prepared`` sees to.  224 x 224.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from benchmarks import whole
from benchmarks.recorded import Job, ordinary
from minigrad.models import Network, create
from minigrad.nn.module import Module

__all__ = ["FIGURES", "main"]

SIZE = 224
# The best peer's median over ours that is to be reached, by (threads, batch).
FIGURES = {
    "mobilenet_v2": {(1, 1): 1.2, (2, 1): 1.3, (1, 8): 1.3, (2, 8): 1.3},
    "efficientnet_lite0": {(1, 1): 1.25, (2, 1): 1.3, (1, 8): 1.2, (2, 8): 1.3},
    "squeezenext_1_0_23": {(1, 1): 1.1, (2, 1): 1.3, (1, 8): 1.05, (2, 8): 1.1},
    "squeezenext_1_0_23v5": {(1, 1): 1.1, (2, 1): 1.3, (1, 8): 1.05, (2, 8): 1.1},
    "efficientnet_b0": {(1, 1): 1.4, (2, 1): 1.6, (1, 8): 1.35, (2, 8): 1.4},
    "mobilenet_v3_large": {(1, 1): 1.4, (2, 1): 1.6, (1, 8): 1.35, (2, 8): 1.4},
}
MODELS = (*FIGURES, "mnasnet_b1", "mnasnet_a1", "mobilenet_v3_small", "efficientnet_v2_b0")
PRESETS = {"mobilenet_v2": "torchvision", "mobilenet_v3_large": "torchvision",
           "efficientnet_b0": "torchvision", "squeezenext_1_0_23": "pytorchcv",
           "squeezenext_1_0_23v5": "pytorchcv"}  # fmt: skip


def prepared(model: Network, shape: Sequence[int]) -> Module:
    """The network with values far from both ends of float32 everywhere.

    SqueezeNext's own first weights see to it; normalised as well, its hundred layers of
    ReLU would let a rounding grow a thousandfold.
    """
    return model.eval() if model.name.startswith("squeezenext") else ordinary(model, shape)


def make(name: str, batch: int) -> Job:
    """The network, as the library most people take it from pads and normalises."""
    model = prepared(create(name, preset=PRESETS.get(name), rng=0), (1, 3, SIZE, SIZE))
    return Job.make(name, model, (batch, 3, SIZE, SIZE))


def main(argv: Sequence[str] | None = None) -> int:
    """See ``whole.main``."""
    return whole.main(argv, MODELS, make, FIGURES, "networks")


if __name__ == "__main__":
    sys.exit(main())
