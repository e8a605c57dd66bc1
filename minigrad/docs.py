"""Sections of a docstring that several functions or classes share, written once."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from typing import TypeVar

__all__ = ["with_sections"]

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
