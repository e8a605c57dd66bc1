"""The chain rule: a walk over what was recorded, and the derivatives made of it.

walk          the steps of a graph, visited from the youngest to the oldest
transforms    a function turned into its derivatives: vjp, jvp, grad, hvp
"""

from __future__ import annotations

from minigrad.autograd.transforms import grad, hvp, jvp, value_and_grad, variable, vjp
from minigrad.autograd.walk import Step, ancestors, backward, gradients, steps

__all__ = [
    "Step",
    "ancestors",
    "backward",
    "grad",
    "gradients",
    "hvp",
    "jvp",
    "steps",
    "value_and_grad",
    "variable",
    "vjp",
]
