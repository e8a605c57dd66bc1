"""A training step recorded once and run again and again: ``compile_training``.

    z = f(x; w),   L = loss(z),   w <- update(w, dL/dw)

The passes over maps, forward and backward, are recorded, combined and bound (``engine.tape``,
``combine``, ``reuse``, ``stepping``).  The loss is a function of (N, K) numbers, for which eager
mode is fast enough; so it may be any function.  ``cross_entropy`` has memory of its own
(``criterion``), and a step with it and SGD makes no new array.  The update is one sweep for SGD,
and the optimiser's own ``step`` for the others.  All of it has the bits of eager mode.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from minigrad.arguments import flag, integers, quoted
from minigrad.engine.stepping import Compiled, Interpreted
from minigrad.engine.tape import record_step
from minigrad.errors import DtypeError, GraphError, ShapeError
from minigrad.kernels.cython import UNAVAILABLE
from minigrad.kernels.cython.training import UpdateCall, bind_sgd
from minigrad.nn.module import Module
from minigrad.optim import SGD, Group, Optimizer
from minigrad.sizes import size_text
from minigrad.tensor import Array, Shape, Tensor, from_numpy
from minigrad.threads import num_threads, thread_count
from minigrad.training.criterion import bound_loss

__all__ = ["CompiledTraining", "compile_training"]

Loss: TypeAlias = "Callable[..., Tensor]"


class CompiledTraining:
    """A training step for batches of one shape; built by ``compile_training``.

    It works in the memory of the model's parameters and buffers, which may be read, saved and
    loaded between steps.  The modes of the layers (``train``, ``eval``) and which parameters
    require a gradient are those of the moment when it was made.

    Parameters
    ----------
    model : Module
    loss : callable
        ``loss(output, *targets)``, a Tensor of one number.
    optimizer : Optimizer
        Of the model's parameters.
    shape : tuple of int
        Of the input.
    threads : int or None
    recompute : bool

    Attributes
    ----------
    is_compiled : bool
        Whether the steps are bound to the compiled core; otherwise they are interpreted.
    """

    def __init__(
        self,
        model: Module,
        loss: Loss,
        optimizer: Optimizer,
        shape: Shape,
        threads: int | None,
        recompute: bool,
    ) -> None:
        self.model, self.loss, self.optimizer = model, loss, optimizer
        self.shape, self.threads, self.recompute = shape, threads, recompute
        self.is_compiled = UNAVAILABLE is None
        leaves = [*model.parameters(), *model.buffers()]
        dtype = next((t.dtype for t in model.parameters()), np.dtype(np.float32))
        self.recording = record_step(model, leaves, shape, dtype)
        self._runner = (
            Compiled(self.recording, recompute) if self.is_compiled else Interpreted(self.recording)
        )
        self._sweep: _Sweep | None = None
        self._tensors: list[Tensor] = []
        z = self.recording.output
        self._criterion = bound_loss(loss, z.shape, z.dtype) if self.is_compiled else None

    def __call__(
        self, x: npt.ArrayLike | Tensor, *targets: object, rng: np.random.Generator | None = None
    ) -> float:
        """One step: forward, loss, backward, update.

        Parameters
        ----------
        x : array_like or Tensor
            A batch of the compiled shape.
        *targets
            What the loss is told beside the model's output.
        rng : numpy.random.Generator, optional
            Draws the noise of dropout in the place of the layers' own generators.

        Returns
        -------
        float
            The loss before the update.

        Raises
        ------
        ShapeError, DtypeError
            If x has another shape or dtype.
        """
        workers = self._workers()
        z = self._runner.forward(self._checked(x), workers, rng)
        if self._criterion is not None and len(targets) == 1:
            value = self._criterion(z, targets[0], workers)
            cotangent = self._criterion.gradient
        else:
            value, cotangent = _eager_loss(z, lambda z: self.loss(z, *targets))
        self._set_gradients(self._runner.backward(cotangent, workers))
        self.update()
        return value

    def _checked(self, x: npt.ArrayLike | Tensor) -> Array:
        """The batch as an array of the compiled shape and dtype."""
        batch = x.array if isinstance(x, Tensor) else np.asarray(x)
        if batch.shape != self.shape:
            raise ShapeError(f"this step was compiled for {self.shape}, got {batch.shape}")
        dtype = self.recording.graph.dtype
        if batch.dtype != dtype:
            raise DtypeError(f"this step was compiled for {dtype}, got {batch.dtype}")
        return batch

    def _workers(self) -> int:
        return num_threads() if self.threads is None else self.threads

    def _set_gradients(self, found: Sequence[Array]) -> None:
        """Every ``p.grad``: the same Tensors again where their memory is the same."""
        if not all(t.array is g for t, g in zip(self._tensors, found, strict=False)):
            self._tensors = []
        self._tensors = self._tensors or [from_numpy(g) for g in found]
        for (parameter, _), tensor in zip(self.recording.gradients, self._tensors, strict=True):
            parameter.grad = tensor

    def gradients(
        self,
        x: npt.ArrayLike | Tensor,
        loss: Callable[[Tensor], Tensor],
        rng: np.random.Generator | None = None,
        accumulate: bool = False,
    ) -> tuple[float, Array]:
        """Forward, loss and backward: every ``p.grad`` is set, and no parameter changes.

        Parameters
        ----------
        x : array_like or Tensor
            A batch of the compiled shape.
        loss : callable
            ``loss(output)``, a Tensor of one number.
        rng : numpy.random.Generator, optional
            As above.
        accumulate : bool
            Add to the gradients that are there, as ``backward`` does, instead of replacing them.

        Returns
        -------
        loss : float
        output : ndarray
            What the model made.  It and the gradients lie in memory that the next call writes to.

        Raises
        ------
        ShapeError, DtypeError
            If x has another shape or dtype.
        """
        workers, batch = self._workers(), self._checked(x)
        before = self._copied_gradients() if accumulate else {}
        z = self._runner.forward(batch, workers, rng)
        value, cotangent = _eager_loss(z, loss)
        found = self._runner.backward(cotangent, workers)
        self._set_gradients(found)
        for (parameter, _), g in zip(self.recording.gradients, found, strict=True):
            if id(parameter) in before:
                parameter.grad = from_numpy(before[id(parameter)] + g)
        return value, z

    def _copied_gradients(self) -> dict[int, Array]:
        """The present gradients, out of the way of the next pass."""
        several = [p for p, _ in self.recording.gradients]
        return {id(p): p.grad.array.copy(order="K") for p in several if p.grad is not None}

    def update(self) -> None:
        """Update the parameters by their gradients, as ``optimizer.step()`` does."""
        if self._sweep is None or not self._sweep.fits():
            self._sweep = _sweep_of(self.optimizer) if self.is_compiled else None
        if self._sweep is None:
            self.optimizer.step()
        else:
            self._sweep.run(self._workers())

    @property
    def maps(self) -> int:
        """Bytes of the memory in which all values of a step lie; 0 for an interpreted one."""
        return self._runner.layout.size if isinstance(self._runner, Compiled) else 0

    def __str__(self) -> str:
        steps = len(self.recording.graph.steps)
        if not isinstance(self._runner, Compiled):
            return f"{steps} steps, interpreted: {UNAVAILABLE}"
        size = self.maps
        text = f"{len(self._runner.graph.steps)} steps (recorded: {steps}), maps {size_text(size)}"
        if self.recompute:
            whole = Compiled.size_of(self.recording)
            text += f"; recomputing saves {size_text(whole - size)} of {size_text(whole)}"
        return text


def _eager_loss(z: Array, loss: Callable[[Tensor], Tensor]) -> tuple[float, Array]:
    """The loss, and its gradient by the model's output."""
    leaf = from_numpy(z).requires_grad_()
    value = loss(leaf)
    value.backward()
    if leaf.grad is None:
        raise GraphError("the loss does not depend on the model's output")
    return value.item(), leaf.grad.numpy()


class _Sweep:
    """SGD's update as one call for each group, as long as no array is replaced by another."""

    def __init__(self, optimizer: SGD) -> None:
        self.optimizer = optimizer
        self.arrays = list(_arrays(optimizer))
        self.calls: list[tuple[UpdateCall, Group]] = []
        for group in optimizer.param_groups:
            own = [(p, g, b) for p, g, b, its in self.arrays if its is group]
            self.calls.append((bind_sgd(own), group))

    def fits(self) -> bool:
        """Whether parameters, gradients and buffers still lie where they did."""
        now = list(_arrays(self.optimizer))
        return len(now) == len(self.arrays) and all(
            a is b for one, other in zip(now, self.arrays, strict=True)
            for a, b in zip(one, other, strict=True)
        )  # fmt: skip

    def run(self, threads: int) -> None:
        """The update, by the present numbers of the groups."""
        for call, group in self.calls:
            call.set(*(group[name] for name in SGD_NUMBERS))
            call.run(threads)
        for p, _, _ in self.optimizer.members():
            p.version.count += 1


SGD_NUMBERS = ("lr", "momentum", "dampening", "weight_decay", "nesterov", "maximize")


def _arrays(optimizer: SGD) -> Iterator[tuple[Array, Array, Array | None, Group]]:
    """(p, g, buffer, group) of each parameter that a step changes."""
    for p, state, group in optimizer.members():
        b = state.get("momentum_buffer") if group["momentum"] else None
        if p.grad is not None and p.requires_grad:
            yield p.array, p.grad.array, b if isinstance(b, np.ndarray) else None, group


def _sweep_of(optimizer: Optimizer) -> _Sweep | None:
    """The sweep for an optimiser; None if its own ``step`` has to do it."""
    if type(optimizer) is not SGD:
        return None
    for p, g, b, group in _arrays(optimizer):
        several = [p, g] if b is None else [p, g, b]
        if (b is None and group["momentum"]) or not _lie_alike(several):
            return None
    return _Sweep(optimizer)


def _lie_alike(arrays: Sequence[Array]) -> bool:
    """Whether arrays lie in C order, of one dtype, and the first and the third can be written."""
    return all(
        a.flags.c_contiguous and a.flags.aligned and a.dtype == arrays[0].dtype for a in arrays
    ) and all(a.flags.writeable for a in arrays[::2])


def compile_training(
    model: Module,
    loss: Loss,
    optimizer: Optimizer,
    shape: Sequence[int],
    *,
    threads: int | None = None,
    recompute: bool = False,
) -> CompiledTraining:
    """Record a training step of a model once, and run it as bound calls of the compiled core.

        z = model(x),   L = loss(z, *targets),   p <- update(p, dL/dp)

    It has the bits of eager mode: of ``optimizer.zero_grad()``, the loss's ``backward()`` and
    ``optimizer.step()``.  Without the compiled core it is interpreted, and says so when printed.

    Parameters
    ----------
    model : Module
        In the mode, and with the ``requires_grad``, in which it is to be trained.
    loss : callable
        ``loss(output, *targets)``, a Tensor of one number.
    optimizer : Optimizer
        Of the model's parameters; SGD is updated in one sweep.
    shape : (N, C, H, W)
        Of every batch.
    threads : int, optional
        By default what ``num_threads`` says at each step.
    recompute : bool
        Keep the maps before batch norms alone, and make the rest again: less memory, more time.

    Returns
    -------
    CompiledTraining

    Raises
    ------
    GraphError
        If the model looks at values, gives several outputs, or has nothing to train.
    ArgumentError
        If an argument has a type that is not taken.
    NotEnoughMemory
        If the maps cannot fit in memory.

    Examples
    --------
    >>> import minigrad as mg, numpy as np
    >>> model = mg.nn.Sequential(mg.nn.ConvBN(3, 8), mg.nn.GlobalAvgPool(), mg.nn.Flatten())
    >>> optimizer = mg.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    >>> step = mg.compile_training(model, mg.cross_entropy, optimizer, (4, 3, 9, 9))
    >>> images = np.random.default_rng(0).standard_normal((4, 3, 9, 9), np.float32)
    >>> losses = [step(images, [0, 1, 2, 3]) for _ in range(5)]
    >>> losses[-1] < losses[0]
    True
    """
    _check_parts(model, loss, optimizer)
    sizes = integers("compile_training", "shape", shape)
    workers = None if threads is None else thread_count(threads)
    again = flag("compile_training", "recompute", recompute)
    return CompiledTraining(model, loss, optimizer, sizes, workers, again)


def _check_parts(model: object, loss: object, optimizer: object) -> None:
    if not isinstance(model, Module) or not callable(loss) or not isinstance(optimizer, Optimizer):
        raise GraphError(
            "compile_training takes a Module, a loss and an Optimizer, got "
            f"{quoted(model)}, {quoted(loss)} and {quoted(optimizer)}"
        )
