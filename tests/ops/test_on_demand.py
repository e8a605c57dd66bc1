"""Operations are imported when they are first asked for, and are then what they always were."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import minigrad as mg
from minigrad import ops
from minigrad.tensor import OPERATIONS, PRIMITIVES

FILES = {path.stem for path in Path(ops.__file__).parent.glob("*.py")} - {"__init__"}


def test_every_file_has_its_names_and_no_file_has_a_functions_name():
    assert set(ops._NAMES) == FILES
    assert set(ops._FILES) == set(ops.__all__)
    assert FILES & set(ops.__all__) == set()
    for name, file in ops._FILES.items():
        assert getattr(ops, name).__module__ == f"minigrad.ops.{file}"
        assert getattr(mg, name) is getattr(ops, name)


def test_the_type_checker_sees_the_same_names():
    tree = ast.parse(Path(ops.__file__).read_text("utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    seen = {
        alias.name: node.module.rpartition(".")[2]
        for node in imports
        if (node.module or "").startswith("minigrad.ops.")
        for alias in node.names
    }
    assert seen.pop("*") == "activation"
    assert seen == {n: f for n, f in ops._FILES.items() if f != "activation"}


@pytest.mark.parametrize(
    "program",
    [
        "import minigrad as mg; print((mg.ones(2) * 3).sum().item())",
        "from minigrad import relu, Tensor; print(relu(Tensor([6.0])).item())",
        "from minigrad import *; print(max(Tensor([6.0, 1.0])).item())",
        "from minigrad.tensor import PRIMITIVES; import minigrad; "
        "print(float(PRIMITIVES['mul'].forward(2.0, 3.0)))",
    ],
)
def test_an_operation_is_there_however_it_is_asked_for(program, run_python):
    done = run_python("-c", program)
    assert done.stdout.strip() == "6.0", done.stderr


@pytest.mark.parametrize("table", [OPERATIONS, PRIMITIVES])
def test_what_is_not_there_is_a_key_error(table):
    with pytest.raises(KeyError, match="no such"):
        table["no such"]
