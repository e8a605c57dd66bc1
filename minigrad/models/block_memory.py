"""How much memory the maps of an inverted residual block take, whole and split.

The expanded map inside a block is its largest, and nothing outside needs it.  As expansion
and depthwise act channel by channel and the projection is linear, a block is a sum over t
groups of expanded channels,

    block(x) = sum_{i=1..t} P_i D_i E_i x,

exact but for the order of the additions, and only one group's maps need be there at once.
Squeeze and excitation breaks this: its gate needs the mean of every channel first, hence two
passes.

Source: Sandler et al., "MobileNetV2" (2018), section 5.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from minigrad.models.costs import Layer, summary
from minigrad.models.network import Network
from minigrad.nn.blocks.inverted_residual import FusedMBConv, InvertedResidual

__all__ = ["BlockMemory", "memory"]


class BlockMemory(NamedTuple):
    """The activation memory of one inverted residual block, in bytes, for one image.

    With x the block's input, y its output, E the expanded map and D the map behind the
    depthwise convolution, ``peak`` is the most that is alive at once if each of its
    convolutions writes a whole map: its input, its output, and x where the shortcut will need
    it.  Split into t groups of expanded channels it is at most

        split(t) = |x| + |y| + (|E| + |D|) / t.

    The paper bounds the inner part by its larger map; here both are counted.
    """

    name: str
    x: int
    y: int
    expanded: int
    depthwise: int
    channels: int
    peak: int

    def split(self, t: int | None = None) -> float:
        """The bound for t groups; one channel at a time without t."""
        return self.x + self.y + (self.expanded + self.depthwise) / (t or self.channels)


def memory(model: Network, input_shape: Sequence[int] = (1, 3, 224, 224)) -> list[BlockMemory]:
    """The activation memory of each inverted residual block of ``model``, for one image.

    A block with squeeze and excitation is listed too: its split is that of two passes.

    Parameters
    ----------
    model : Network
    input_shape : (N, C, H, W)
        N is not counted.

    Returns
    -------
    list of BlockMemory

    Raises
    ------
    ShapeError
        If the shape is not that of images, or too small for the network.

    Examples
    --------
    >>> import minigrad as mg
    >>> max(block.peak for block in memory(mg.models.create("mobilenet_v2"))) // 1024
    5880
    """
    sizes = {layer.name: layer for layer in summary(model, input_shape).layers}
    found = []
    x = sizes["stem.conv"].activation_bytes
    for name, block in model.blocks.named_modules("blocks"):
        if isinstance(block, InvertedResidual):
            found.append(_block_memory(name, block, x, sizes))
        if isinstance(block, (InvertedResidual, FusedMBConv)):
            last = f"{name}.fused" if getattr(block, "project", None) is None else f"{name}.project"
            x = sizes[f"{last}.conv"].activation_bytes
    return found


def _block_memory(
    name: str, block: InvertedResidual, x: int, sizes: dict[str, Layer]
) -> BlockMemory:
    d, y = (sizes[f"{name}.{unit}.conv"].activation_bytes for unit in ("dw", "project"))
    e = sizes[f"{name}.expand.conv"].activation_bytes if block.expand else x
    kept = x if block.residual else 0
    stages = [e + d + kept * bool(block.expand), d + y + kept]
    peak = max([x + e, *stages] if block.expand else stages)
    channels = block.dw.conv.weight.shape[0]
    return BlockMemory(name, x, y, e, d, channels, peak)
