"""Forward, backward and update of a run: compiled for one shape of batch, or in eager mode."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from minigrad.tensor import Array, Tensor
from minigrad.training.compiled import CompiledTraining
from minigrad.training.run import Run

__all__ = ["Passes"]


class Passes:
    """How a run's steps are made.

    Parameters
    ----------
    run : Run
    compiles : bool
        Record the step for the shape of the first batch.  Other shapes take the eager way.
    recompute : bool
        Of ``compile_training``.

    Attributes
    ----------
    step : CompiledTraining or None
        The compiled step, once there was a batch.
    """

    def __init__(self, run: Run, compiles: bool = False, recompute: bool = False) -> None:
        self.run, self.compiles, self.recompute = run, compiles, recompute
        self.step: CompiledTraining | None = None

    def __call__(
        self,
        images: npt.NDArray[np.floating],
        loss: Callable[[Tensor], Tensor],
        rng: np.random.Generator,
        accumulate: bool,
    ) -> Array:
        """The model's output for a batch; every gradient is set, or added to.

        Parameters
        ----------
        images : ndarray, (N, C, H, W)
        loss : callable
            ``loss(output)``, a Tensor of one number.
        rng : numpy.random.Generator
            Of the noise in dropout.
        accumulate : bool
            Add to the gradients that are there.
        """
        model = self.run.model
        if self.compiles and self.step is None:
            self.step = CompiledTraining(
                model, loss, self.run.optimizer, images.shape, None, self.recompute
            )
        if self.step is not None and images.shape == self.step.shape:
            return self.step.gradients(images, loss, rng, accumulate)[1]
        z = model(Tensor(images))
        loss(z).backward()
        return z.numpy()

    def update(self) -> None:
        """Update the parameters by their gradients."""
        if self.step is None:
            self.run.optimizer.step()
        else:
            self.step.update()
