"""BiFPN: maps of five sizes that tell each other what they show, down to the finest and back.

Tan, Pang & Le, "EfficientDet: Scalable and Efficient Object Detection" (2020), section 3 and
figure 2.  P3 has an eighth of the sides of the photograph, each level half of the one before.
A cell makes eight maps of five, in this order:

    P6td = f(P6in, P7in)                      P3out = f(P3in, P4td)
    P5td = f(P5in, P6td)                      P4out = f(P4in, P4td, P3out)
    P4td = f(P4in, P5td)                      P5out = f(P5in, P5td, P4out)
                                              P6out = f(P6in, P6td, P5out)
                                              P7out = f(P7in, P6out)

    f(x_1, ..., x_n) = (P D a(sum_i s_i r(x_i)))'
    s_i = relu(w_i) / (sum_j relu(w_j) + 1e-4)        fast attention, or s_i = 1

D: depthwise 3x3, P: 1x1 with bias, ' a BatchNorm, a: SiLU or ReLU6.  r doubles a coarser map
(the nearest pixel), halves a finer one (the maximum of 3x3, stride 2), and in the first cell
brings a backbone's map to the width of the others: 1x1 with bias and a BatchNorm.  The first
cell's P6in is made so of the backbone's last map and halved, and P7in is P6in halved.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from minigrad import ops
from minigrad.models.network import Style
from minigrad.nn.activations import activate
from minigrad.nn.functions import Identity
from minigrad.nn.layers import Conv2d, ConvBN, Sequential
from minigrad.nn.module import Module
from minigrad.nn.parameter import Parameter
from minigrad.tensor import Tensor

__all__ = ["LEVELS", "NODES", "BiFPN", "Cell", "Node", "fused"]

LEVELS = (3, 4, 5, 6, 7)
NODES = (
    # made     of
    ("P6td",  ("P6in", "P7in")),
    ("P5td",  ("P5in", "P6td")),
    ("P4td",  ("P4in", "P5td")),
    ("P3out", ("P3in", "P4td")),
    ("P4out", ("P4in", "P4td", "P3out")),
    ("P5out", ("P5in", "P5td", "P4out")),
    ("P6out", ("P6in", "P6td", "P5out")),
    ("P7out", ("P7in", "P6out")),
)  # fmt: skip
EPS = 1e-4  # under a fraction


def _level(name: str) -> int:
    return int(name[1])


def _halved(x: Tensor) -> Tensor:
    return ops.max_pool2d(x, 3, 2, "same")


def _resized(x: Tensor, steps: int, like: Tensor) -> Tensor:
    """r: a map of a level that is coarser by -1, 0 or 1 steps, at the level of ``like``."""
    if steps < 0:
        return _halved(x)
    if steps == 0 or x.shape[2:] == like.shape[2:]:
        return x
    return ops.resize(x, like.shape[2:], coordinates="asymmetric", rounding="floor")


def fused(maps: Sequence[Tensor], weights: Tensor | None) -> Tensor:
    """sum_i s_i x_i, i ascending, with the s_i of the weights w_i, or 1.

    >>> from minigrad import Tensor
    >>> fused([Tensor([1.0]), Tensor([3.0])], Tensor([-1.0, 1.0])).numpy().round(3)
    array([3.], dtype=float32)
    """
    if weights is not None:
        positive = ops.relu(weights)
        shares = positive / (positive.sum() + EPS)
        maps = [x * shares[i] for i, x in enumerate(maps)]
    y = maps[0]
    for x in maps[1:]:
        y = y + x
    return y


class Node(Module):
    """f of maps that ``r`` has brought to one size.

    Parameters
    ----------
    channels : sequence of int
        Of the maps.
    width : int
        Of what is made.
    style : Style
    activation : str
    attention : bool
        Whether the maps are weighed.

    Examples
    --------
    >>> from minigrad import zeros
    >>> node = Node((8, 16), 8, Style("same"), "silu", True)
    >>> node([zeros(1, 8, 4, 4), zeros(1, 16, 4, 4)]).shape
    (1, 8, 4, 4)
    """

    def __init__(
        self, channels: Sequence[int], width: int, style: Style, activation: str, attention: bool
    ) -> None:
        self.edge_weights = Parameter(np.ones(len(channels), np.float32)) if attention else None
        self.laterals = Sequential(*(
            Identity() if c == width else style.unit(c, width, bias=True, activation=None)
            for c in channels
        ))  # fmt: skip
        self.activation = activation
        self.dw = Conv2d(width, width, 3, padding=style.padding, groups=width, bias=False)
        self.pw: ConvBN = style.unit(width, width, bias=True, activation=None)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        alike = [lateral(x) for lateral, x in zip(self.laterals, maps, strict=True)]
        y = activate(fused(alike, self.edge_weights), self.activation)
        return self.pw(self.dw(y))


class Cell(Module["list[Tensor]"]):
    """The eight nodes: five maps, finest first, to five maps of the same sizes.

    Parameters
    ----------
    channels : sequence of int
        Of the five maps.
    width, style, activation, attention
        See `Node`.

    Examples
    --------
    >>> from minigrad import zeros
    >>> cell = Cell((8,) * 5, 8, Style("same"), "relu6", False).eval()
    >>> [y.shape[2] for y in cell([zeros(1, 8, n, n) for n in (9, 5, 3, 2, 1)])]
    [9, 5, 3, 2, 1]
    """

    def __init__(
        self, channels: Sequence[int], width: int, style: Style, activation: str, attention: bool
    ) -> None:
        known = {f"P{level}in": c for level, c in zip(LEVELS, channels, strict=True)}
        self.nodes = Sequential(*(
            Node([known.get(name, width) for name in names], width, style, activation, attention)
            for _, names in NODES
        ))  # fmt: skip

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        known = {f"P{level}in": x for level, x in zip(LEVELS, maps, strict=True)}
        for (made, names), node in zip(NODES, self.nodes, strict=True):
            like = known[f"P{_level(made)}in"]
            known[made] = node([
                _resized(known[name], _level(name) - _level(made), like) for name in names
            ])  # fmt: skip
        return [known[f"P{level}out"] for level in LEVELS]


class BiFPN(Module["list[Tensor]"]):
    """The two coarsest maps, and cells that follow each other.

    Parameters
    ----------
    channels : sequence of int
        Of the backbone's maps P3, P4 and P5.
    width : int
        Of all maps that are made.
    cells : int
    style, activation, attention
        See `Node`.

    Examples
    --------
    >>> from minigrad import zeros
    >>> fpn = BiFPN((8, 16, 32), 8, 2, Style("same"), "silu", True).eval()
    >>> [y.shape for y in fpn([zeros(1, 8, 8, 8), zeros(1, 16, 4, 4), zeros(1, 32, 2, 2)])][3:]
    [(1, 8, 1, 1), (1, 8, 1, 1)]
    """

    def __init__(
        self,
        channels: Sequence[int],
        width: int,
        cells: int,
        style: Style,
        activation: str,
        attention: bool,
    ) -> None:
        self.coarser: ConvBN = style.unit(channels[-1], width, bias=True, activation=None)
        first, others = (*channels, width, width), (width,) * len(LEVELS)
        self.cells = Sequential(*(
            Cell(others if i else first, width, style, activation, attention) for i in range(cells)
        ))  # fmt: skip

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        p6 = _halved(self.coarser(maps[-1]))
        known = [*maps, p6, _halved(p6)]
        for cell in self.cells:
            known = cell(known)
        return known
