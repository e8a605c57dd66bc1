"""The two blocks."""

from minigrad.nn.blocks.inverted_residual import FusedMBConv, InvertedResidual, SqueezeExcite
from minigrad.nn.blocks.squeezenext import SqueezeNeXtBlock

__all__ = ["FusedMBConv", "InvertedResidual", "SqueezeExcite", "SqueezeNeXtBlock"]
