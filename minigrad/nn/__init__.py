"""Modules, layers, the two blocks, and how their weights start.

module       a function with parameters
parameter    tensors that belong to a module
layers       convolution, linear, batch norm
activations, functions, pools, losses    layers without weights
blocks       the two blocks
functional   PyTorch's name for the functions of minigrad
init         how the weights of a new network are drawn

What may be changed: how a layer is written, as long as its names, defaults and state are
PyTorch's (tests/nn, tests/test_habits.py).
"""

from __future__ import annotations

from minigrad.nn import init
from minigrad.nn.activations import (
    Activation,
    Hardsigmoid,
    Hardswish,
    LogSoftmax,
    ReLU,
    ReLU6,
    Sigmoid,
    SiLU,
    Softmax,
    Tanh,
)
from minigrad.nn.blocks import FusedMBConv, InvertedResidual, SqueezeExcite, SqueezeNeXtBlock
from minigrad.nn.functions import Dropout, Flatten, GlobalAvgPool, Identity, StochasticDepth
from minigrad.nn.layers import BatchNorm2d, Conv2d, ConvBN, Linear, Sequential
from minigrad.nn.losses import CrossEntropyLoss, MSELoss
from minigrad.nn.module import Module
from minigrad.nn.parameter import Buffer, Parameter
from minigrad.nn.pools import AvgPool2d, MaxPool2d

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
    "ReLU",
    "ReLU6",
    "Hardsigmoid",
    "Hardswish",
    "Sigmoid",
    "SiLU",
    "Tanh",
    "Softmax",
    "LogSoftmax",
    "MaxPool2d",
    "AvgPool2d",
    "GlobalAvgPool",
    "Flatten",
    "Dropout",
    "StochasticDepth",
    "CrossEntropyLoss",
    "MSELoss",
    "InvertedResidual",
    "FusedMBConv",
    "SqueezeExcite",
    "SqueezeNeXtBlock",
    "init",
]


def __getattr__(name: str) -> object:
    if name == "functional":  # with it come all operations
        from importlib import import_module

        return import_module("minigrad.nn.functional")
    from minigrad.tensor import hints

    raise hints.missing("minigrad.nn", name, hints.LAYERS, __all__)
