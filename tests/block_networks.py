"""Two small classifiers made of the blocks, for tests of training."""

from __future__ import annotations

from minigrad import nn

CLASSES = 11


def head(channels):
    return nn.GlobalAvgPool(), nn.Flatten(), nn.Dropout(0.3), nn.Linear(channels, CLASSES)


def inverted_residuals():
    """Both strides and kernels, squeeze and excitation, every kind of slope, noise of two kinds."""
    how = {"stochastic_depth": 0.3, "se_ratio": 0.25}
    return nn.Sequential(
        nn.ConvBN(3, 20, 3, 2, activation="hardswish"),
        nn.InvertedResidual(20, 20, 4, 3, activation="silu", se_activation="silu", **how),
        nn.InvertedResidual(20, 12, 3, 5, 2, activation="relu6", se_gate="hardsigmoid", **how),
        nn.InvertedResidual(12, 12, 2, 3, activation="sigmoid"),
        nn.InvertedResidual(12, 12, 2, 3, activation="tanh"),
        *head(12),
    )


def squeezenexts():
    """An identity block with groups, projecting blocks of either transition, both kinds of pool."""
    return nn.Sequential(
        nn.ConvBN(3, 16, 5, 2),
        nn.MaxPool2d(3, 2, ceil_mode=True),
        nn.SqueezeNeXtBlock(16, 16, groups=2),
        nn.SqueezeNeXtBlock(16, 24, order="1x3", bias=True),
        nn.AvgPool2d(3, 2, padding=1),
        nn.SqueezeNeXtBlock(24, 24, 2, transition="serial"),
        *head(24),
    )


BLOCKS = [inverted_residuals, squeezenexts]
