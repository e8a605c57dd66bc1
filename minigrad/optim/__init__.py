"""Optimisers: what a step does to the parameters, given their gradients.

    optimizer   groups of parameters, their state, what every optimiser shares
    sgd, rmsprop, adam    one update each, formula first
    groups      which parameters decay, and at what rate each layer learns
    schedules   how the rate changes from step to step
    clipping    gradients that are too long
    average     the exponential moving average of the weights
    recipes     how the papers and their code trained these networks

Names and numbers are PyTorch's; what TensorFlow computes otherwise has a name of its own
(``RMSpropTF``).

What may be changed: how a step is written, as long as 20 steps are PyTorch's (tests/optim).
"""

from minigrad.optim.adam import Adam, AdamW
from minigrad.optim.average import WeightAverage
from minigrad.optim.clipping import clip_grad_norm_, clip_grad_value_
from minigrad.optim.groups import parameter_groups
from minigrad.optim.optimizer import Group, Optimizer
from minigrad.optim.recipes import RECIPES, Recipe, recipe
from minigrad.optim.rmsprop import RMSprop, RMSpropTF
from minigrad.optim.schedules import (
    CosineAnnealingLR,
    ExponentialLR,
    LinearLR,
    PolynomialLR,
    Schedule,
    SequentialLR,
    StepLR,
)
from minigrad.optim.sgd import SGD

__all__ = [
    "RECIPES",
    "SGD",
    "Adam",
    "AdamW",
    "CosineAnnealingLR",
    "ExponentialLR",
    "Group",
    "LinearLR",
    "Optimizer",
    "PolynomialLR",
    "RMSprop",
    "RMSpropTF",
    "Recipe",
    "Schedule",
    "SequentialLR",
    "StepLR",
    "WeightAverage",
    "clip_grad_norm_",
    "clip_grad_value_",
    "parameter_groups",
    "recipe",
]


def __getattr__(name: str) -> object:
    from minigrad.tensor import hints

    raise hints.missing("minigrad.optim", name, hints.OPTIM, __all__)
