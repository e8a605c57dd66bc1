"""Modules, layers, the two blocks, and how their weights start."""

from minigrad.nn import init
from minigrad.nn.blocks import FusedMBConv, InvertedResidual, SqueezeExcite, SqueezeNeXtBlock
from minigrad.nn.layers import (
    Activation,
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    ConvBN,
    Dropout,
    Flatten,
    GlobalAvgPool,
    Identity,
    Linear,
    MaxPool2d,
    Sequential,
    StochasticDepth,
)
from minigrad.nn.module import Module
from minigrad.nn.parameter import Buffer, Parameter

__all__ = [
    "Module",
    "Parameter",
    "Buffer",
    "Sequential",
    "Identity",
    "Conv2d",
    "Linear",
    "BatchNorm2d",
    "ConvBN",
    "Activation",
    "MaxPool2d",
    "AvgPool2d",
    "GlobalAvgPool",
    "Flatten",
    "Dropout",
    "StochasticDepth",
    "InvertedResidual",
    "FusedMBConv",
    "SqueezeExcite",
    "SqueezeNeXtBlock",
    "init",
]
