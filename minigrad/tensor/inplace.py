"""Changes of a tensor's values in place, each of which is counted.

A rule that needs a value as it was compares the count, so that a gradient is right or
refused.  A change may itself be recorded (``x += y``): x then is what was computed, unless
x has views, whose gradients would be lost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minigrad.arguments import flag, quoted
from minigrad.errors import DtypeError, GraphError, ShapeError
from minigrad.tensor.convert import Array, as_array, numbers
from minigrad.tensor.modes import is_grad_enabled
from minigrad.tensor.values import Values

if TYPE_CHECKING:
    import numpy.typing as npt
    from typing_extensions import Self

__all__ = ["Changing"]


class Changing(Values):
    """Values that can be changed in place: the base of ``Tensor``."""

    __slots__ = ()

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Say whether gradients of this leaf are wanted, and return it."""
        if self.node is not None:
            raise GraphError("requires_grad_ is for leaves: use detach() first")
        self.requires_grad = flag("requires_grad_", "requires_grad", requires_grad)
        return self

    def copy_(self, values: npt.ArrayLike | Values) -> Self:
        """Overwrite the values in place, and count it.

        Raises
        ------
        GraphError
            If the tensor requires a gradient and recording is on: an overwritten value
            has no derivative.  Say ``with no_grad():``.
        ShapeError, DtypeError
            If the new values do not have this tensor's shape and dtype.
        """
        self._check_silent()
        self._write("copy_", values)
        return self

    def zero_(self) -> Self:
        """Overwrite every value with 0, as ``copy_`` does."""
        return self.fill_(0.0)

    def fill_(self, value: float) -> Self:
        """Overwrite every value with a number, as ``copy_`` does."""
        self._check_silent()
        self._writable()[...] = numbers("fill_", value, self.dtype)
        self.version.count += 1
        return self

    def __setitem__(self, index: Any, values: npt.ArrayLike | Values) -> None:
        self._check_silent()
        if isinstance(values, Values) and values.requires_grad and is_grad_enabled():
            raise GraphError(
                "x[index] = y has no gradient in y: use mg.where, mg.concat, or mg.no_grad()"
            )
        new = self._given("x[index] = y", values)
        try:
            self._writable()[index] = new
        except (IndexError, ValueError) as error:
            raise ShapeError(f"x[{quoted(index)}] of shape {self.shape}: {error}") from None
        self.version.count += 1

    def _check_silent(self) -> None:
        if self.requires_grad and is_grad_enabled():
            raise GraphError("in-place change of a tensor that requires grad: use mg.no_grad()")

    def _write(self, name: str, values: object) -> None:
        new = self._given(name, values)
        if new.shape != self.shape:
            raise ShapeError(f"{name}: expected shape {self.shape}, got {new.shape}")
        self._writable()[...] = new
        self.version.count += 1

    def _given(self, name: str, values: object) -> Array:
        """The new values as an array of this tensor's dtype."""
        new = values.array if isinstance(values, Values) else as_array(values, self.dtype, name)
        if new.dtype != self.dtype:
            raise DtypeError(f"{name}: expected {self.dtype}, got {new.dtype}")
        return new

    def _writable(self) -> Array:
        """The memory to write to."""
        if not self.array.flags.writeable:
            raise GraphError("this memory is read-only or repeated: write to a clone()")
        return self.array

    def _become(self, new: Values) -> Self:
        """Take the values of ``new``, which was computed from this tensor, in place."""
        if self.is_leaf:
            self._check_silent()
        if new.requires_grad and self.version.shared:
            raise GraphError(
                "an in-place change of a view, or of a tensor that has views, cannot be recorded: "
                "write x = x + y, or use mg.no_grad()"
            )
        self._write("in-place change", new)
        if new.requires_grad:
            self.node, self.requires_grad = new.node, True
        return self
