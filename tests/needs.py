"""A mark for tests that a backend must be there for."""

from __future__ import annotations

import pytest

from minigrad.kernels import unavailable


def needs(*backends: str) -> pytest.MarkDecorator:
    """Skip where one of the backends cannot be had, with its own reason."""
    missing = [f"no {name}: {unavailable(name)}" for name in backends if unavailable(name)]
    return pytest.mark.skipif(bool(missing), reason=" and ".join(missing))
