"""Where a number stopped being one.

A loss that is NaN or infinite says nothing about its origin.  The forward pass is made once
more, layer by layer, and the first layer whose output is not finite is named; if every
output is finite, the gradients are looked at from the loss backwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import numpy.typing as npt

from minigrad.errors import MinigradError
from minigrad.nn.module import Module
from minigrad.tensor import Tensor, no_grad

__all__ = ["DivergedError", "bad_gradient", "bad_layer"]


class DivergedError(MinigradError, ArithmeticError):
    """Training met a number that is not finite, or a loss that grew without bound."""


class _FoundError(Exception):
    """Leaves the forward pass at the layer that was found."""


def bad_layer(model: Module, images: npt.NDArray[np.floating]) -> str | None:
    """The first layer, in the order of the computation, that gives a NaN or an infinity.

    Parameters
    ----------
    model : Module
    images : ndarray, (N, C, H, W)

    Returns
    -------
    str or None
        The dotted name of the layer, or of a parameter that is not finite itself; None if
        every output is finite.
    """
    for name, value in model.named_parameters():  # running means follow the bad outputs
        if not np.isfinite(value.numpy()).all():
            return name
    with ExitStack() as stack:
        for name, module in model.named_modules():
            if not any(True for _ in module.named_children()):
                stack.enter_context(_watched(name, module))
        try:
            with no_grad():
                model(Tensor(images))
        except _FoundError as found:
            return str(found)
    return None


def bad_gradient(model: Module) -> str | None:
    """The parameter nearest to the loss whose gradient is not finite.

    Parameters
    ----------
    model : Module

    Returns
    -------
    str or None
        Its dotted name; None if all gradients are finite.
    """
    for name, p in reversed(list(model.named_parameters())):
        if p.grad is not None and not np.isfinite(p.grad.numpy()).all():
            return name
    return None


@contextmanager
def _watched(name: str, module: Module) -> Iterator[None]:
    forward: Callable[..., Tensor] = module.forward

    def checked(*args: Tensor) -> Tensor:
        y = forward(*args)
        if not np.isfinite(y.numpy()).all():
            raise _FoundError(name)
        return y

    module.__dict__["forward"] = checked
    try:
        yield
    finally:
        del module.__dict__["forward"]
