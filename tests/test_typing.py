"""What a user's type checker sees: methods of tensors, layers and derivatives have types."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import minigrad

PROGRAM = """
import numpy as np
import minigrad as mg
from minigrad import nn

x = mg.Tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
reveal_type(x @ x.T)
reveal_type(2 ** x - 1 / x)
reveal_type(x.sum(dim=1).item())
reveal_type(x[0, 1:].relu().transpose(0, -1))
reveal_type(x.argmax(axis=1))
reveal_type(x > 0)
reveal_type(mg.relu(x))
reveal_type(mg.where(x > 0, x, 0.0))
reveal_type(x.grad)
reveal_type(nn.Linear(2, 3)(x))


class Net(nn.Module):
    def __init__(self) -> None:
        self.layer = nn.Linear(2, 3)

    def forward(self, x: mg.Tensor) -> mg.Tensor:
        return self.layer(x).relu()


class Two(nn.Module[tuple[mg.Tensor, mg.Tensor]]):
    def forward(self, x: mg.Tensor) -> tuple[mg.Tensor, mg.Tensor]:
        return x, -x


net = Net().train().to("float32")
reveal_type(net)
reveal_type(net(x))
reveal_type(Two()(x))


@mg.no_grad()
def predict(x: mg.Tensor) -> list[float]:
    y = net(x)
    y -= 0.1 * y
    return [float(v) for v in y.numpy().ravel()]


@mg.no_grad
def again(x: mg.Tensor) -> list[float]:
    return predict(x)


reveal_type(predict(x))
reveal_type(again(x))
loss = nn.CrossEntropyLoss()(net(x), np.array([0, 1]))
loss.backward()
"""

EXPECTED = [
    "minigrad.tensor.tensor.Tensor", "minigrad.tensor.tensor.Tensor", "float",
    "minigrad.tensor.tensor.Tensor", "ndarray", "ndarray", "minigrad.tensor.tensor.Tensor",
    "minigrad.tensor.tensor.Tensor", "minigrad.tensor.tensor.Tensor | None",
    "minigrad.tensor.tensor.Tensor", "Net", "minigrad.tensor.tensor.Tensor",
    "tuple[minigrad.tensor.tensor.Tensor, minigrad.tensor.tensor.Tensor]", "list[float]",
    "list[float]",
]  # fmt: skip


def checked(tmp_path, program):
    path = tmp_path / "program.py"
    path.write_text(program)
    command = [sys.executable, "-m", "mypy", "--strict", "--no-color-output", "--show-traceback"]
    root = Path(minigrad.__file__).parents[1]
    done = subprocess.run(
        [*command, "--cache-dir", str(tmp_path / "cache"), str(path)],
        cwd=tmp_path, env={"MYPYPATH": "", "PYTHONPATH": str(root), "PATH": ""},
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    return done.stdout.splitlines()


@pytest.mark.newest
def test_a_users_program_has_types(tmp_path):
    program = PROGRAM + "\nx.no_such_method()\nmg.relu(3)\n"
    lines = checked(tmp_path, program)
    shown = [line.split('"')[1] for line in lines if "Revealed type" in line]
    assert len(shown) == len(EXPECTED), lines
    for type_, expected in zip(shown, EXPECTED, strict=True):
        assert expected in type_
    errors = [line for line in lines if ": error:" in line]
    assert [("no_such_method" in e, '"relu"' in e) for e in errors] == [
        (True, False),
        (False, True),
    ]
