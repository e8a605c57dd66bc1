"""The two blocks.

inverted_residual    widen, look around, narrow, add (MobileNetV2 and its descendants)
squeezenext          squeeze twice, look along rows and columns, expand, add
"""

from minigrad.nn.blocks.inverted_residual import FusedMBConv, InvertedResidual, SqueezeExcite
from minigrad.nn.blocks.squeezenext import SqueezeNeXtBlock

__all__ = ["FusedMBConv", "InvertedResidual", "SqueezeExcite", "SqueezeNeXtBlock"]
