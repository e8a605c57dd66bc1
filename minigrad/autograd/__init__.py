"""The chain rule: a walk over what was recorded, and the derivatives made of it.

``walk`` visits the steps of a graph from the youngest to the oldest; ``transforms`` turns a
function into its derivatives.
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
