"""Sections of a docstring that several functions or classes share, written once."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from typing import TypeVar

__all__ = ["of_one_tensor", "of_two_operands", "with_sections"]

Documented = TypeVar("Documented", bound="Callable[..., object]")


def with_sections(sections: str) -> Callable[[Documented], Documented]:
    """A decorator that puts ``sections`` before the Examples of a docstring.

    >>> @with_sections("Returns\\n-------\\nTensor\\n")
    ... def f(x):
    ...     '''y = x.
    ...
    ...     Examples
    ...     --------
    ...     '''
    >>> f.__doc__.split()
    ['y', '=', 'x.', 'Returns', '-------', 'Tensor', 'Examples', '--------']
    """

    def complete(documented: Documented) -> Documented:
        text = documented.__doc__
        if text is not None:  # python -OO leaves none
            before, _, examples = text.partition("Examples\n")
            margin = before.rpartition("\n")[2]
            inserted = textwrap.indent(sections, margin).removeprefix(margin)
            documented.__doc__ = f"{before}{inserted}\n{margin}Examples\n{examples}"
        return documented

    return complete


of_one_tensor = with_sections(
    """Parameters
----------
x : Tensor

Returns
-------
Tensor
    Of x's shape and dtype.

Raises
------
DtypeError
    If x is no Tensor.
"""
)

of_two_operands = with_sections(
    """Parameters
----------
a, b : Tensor, number or array
    Shapes that broadcast.  A number takes the other operand's dtype; an array is copied.

Returns
-------
Tensor
    In the operands' dtype; NaN where an operand is NaN.

Raises
------
ShapeError, DtypeError
    If shapes or dtypes of the operands do not fit.
ArgumentError
    If an operand holds no numbers.
"""
)
