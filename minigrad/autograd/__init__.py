"""The chain rule: a walk over what was recorded, and the derivatives made of it.

walk          the steps of a graph, visited from the youngest to the oldest
transforms    a function turned into its derivatives: vjp, jvp, grad, hvp

What may be changed: how the graph is walked, as long as gradients of every order stay right
(tests/test_gradcheck.py, tests/test_cases.py) and depth costs no recursion
(tests/test_autograd.py).
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
