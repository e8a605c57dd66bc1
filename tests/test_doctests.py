"""The examples in the docstrings print what they say."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import minigrad

MODULES = [
    name
    for _, name, _ in pkgutil.walk_packages(minigrad.__path__, "minigrad.")
    if not name.endswith("__main__") and "._ext." not in name  # compiled for other CPUs too
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_are_true(name):
    options = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    assert doctest.testmod(importlib.import_module(name), optionflags=options).failed == 0
