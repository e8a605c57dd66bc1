"""The page of conventions names a test for each, and the tests are there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "CONVENTIONS.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", PAGE)))
ROWS = [line for line in PAGE.splitlines() if line.startswith("| ") and "| held by |" not in line]


@pytest.mark.parametrize(("path", "name"), NAMED, ids=lambda v: v.rsplit("/", 1)[-1])
def test_a_named_test_is_there(path: str, name: str) -> None:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("row", ROWS, ids=lambda r: r.split("|")[1].strip())
def test_every_convention_names_its_test(row: str) -> None:
    held_by = row.split("|")[4].strip()
    assert held_by == "the same" or "::test_" in held_by
