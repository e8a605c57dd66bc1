"""Single blocks against the peers: ``python -m benchmarks.blocks --help``.

The inverted residual blocks of MobileNetV2, some with squeeze and excitation or a 5x5
window as later networks have them, and SqueezeNeXt blocks.  A name says input, expanded and
output channels @ the side of the map, and the stride.

Layouts at the ends: ONNX Runtime, OpenVINO and ncnn take and give NCHW, LiteRT's maps are NHWC
and PyTorch's channels-last.  A plan does either: without ``--channels-last`` it changes NCHW
inside the call, which a network does once and a block each time.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from benchmarks import whole
from benchmarks.recorded import Job, ordinary
from minigrad.nn.blocks import InvertedResidual, SqueezeNeXtBlock
from minigrad.nn.module import Module

__all__ = ["BLOCKS", "main"]


def _inverted(cin: int, cout: int, size: int, stride: int = 1, **how: Any) -> Any:
    return cin, size, partial(InvertedResidual, cin, cout, 6, stride=stride, **how)


def _squeezenext(channels: int, size: int, stride: int = 1, cin: int | None = None) -> Any:
    source = cin or channels
    return source, size, partial(SqueezeNeXtBlock, source, channels, stride)


EFFICIENT: dict[str, Any] = {"se_ratio": 0.25, "activation": "silu", "se_activation": "silu"}
BLOCKS: dict[str, tuple[int, int, Callable[[], Module]]] = {
    "16-96-24@112 s2": _inverted(16, 24, 112, 2),
    "24-144-24@56": _inverted(24, 24, 56),
    "24-144-32@56 s2": _inverted(24, 32, 56, 2),
    "32-192-32@28": _inverted(32, 32, 28),
    "64-384-64@14": _inverted(64, 64, 14),
    "96-576-96@14": _inverted(96, 96, 14),
    "160-960-160@7": _inverted(160, 160, 7),
    "40-240-40@28 5x5 SE silu": _inverted(40, 40, 28, kernel_size=5, **EFFICIENT),
    "80-480-80@14 SE silu": _inverted(80, 80, 14, **EFFICIENT),
    "192-1152-192@7 5x5 SE silu": _inverted(192, 192, 7, kernel_size=5, **EFFICIENT),
    "squeezenext 32@56": _squeezenext(32, 56),
    "squeezenext 64@56": _squeezenext(64, 56),
    "squeezenext 64@28": _squeezenext(64, 28),
    "squeezenext 32-64@56 s2": _squeezenext(64, 56, 2, cin=32),
    "squeezenext 128@14": _squeezenext(128, 14),
}


def make(name: str, batch: int) -> Job:
    """The block by itself, its batch norms knowing what comes."""
    channels, size, build = BLOCKS[name]
    model = ordinary(build(), (1, channels, size, size))
    return Job.make(name, model, (batch, channels, size, size))


def main(argv: Sequence[str] | None = None) -> int:
    """See ``whole.main``."""
    return whole.main(argv, tuple(BLOCKS), make, {}, "blocks")


if __name__ == "__main__":
    sys.exit(main())
