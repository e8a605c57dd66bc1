"""The two blocks.

inverted_residual    widen, look around, narrow, add (MobileNetV2 and its descendants)
squeezenext          squeeze twice, look along rows and columns, expand, add

What may be changed: how a block is put together, as long as its parameters keep their names
and plans recognise it (tests/nn/test_blocks.py, tests/engine/test_blocks.py).
"""

from minigrad.nn.blocks.inverted_residual import FusedMBConv, InvertedResidual, SqueezeExcite
from minigrad.nn.blocks.squeezenext import SqueezeNeXtBlock

__all__ = ["FusedMBConv", "InvertedResidual", "SqueezeExcite", "SqueezeNeXtBlock"]
