"""Every step of EfficientNet-Lite0 with real weights, on a real photograph, is within its bound."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from judged_steps import judged

import minigrad as mg
from minigrad import vision
from minigrad.cli.packages import installed_weights
from minigrad.kernels import unavailable
from minigrad.nn import InvertedResidual

COFFEE = Path(mg.__file__).parent / "data" / "coffee.png"


def coffee() -> Any:
    return vision.preprocess([COFFEE], vision.preparation_for("efficientnet_lite0"))


@pytest.fixture(scope="module")
def lite0() -> Any:
    return mg.models.create(
        "efficientnet_lite0", weights=installed_weights("efficientnet_lite0")
    ).eval()


@pytest.mark.newest
@pytest.mark.parametrize("backend", ["numpy", "numba", "cython"])
def test_every_step_of_lite0_is_within_its_bound(lite0: Any, backend: str) -> None:
    reason = unavailable(backend)
    if reason:
        pytest.skip(f"{backend}: {reason}")
    with mg.backend(backend):
        steps = judged(lite0, coffee())
    assert steps["conv2d"] == steps["batch_norm_eval"] == 49
    assert steps["relu6"] == 33


def test_an_error_of_a_thousandth_in_one_step_is_seen(lite0: Any) -> None:
    with mg.backend("numpy"), pytest.raises(AssertionError, match="conv2d: .* of its bound"):
        judged(lite0, coffee(), spoil=1e-3)


def test_the_reference_agrees_with_numpy_on_one_block() -> None:
    block = InvertedResidual(8, 8, expand_ratio=2).eval()
    for parameter in block.parameters():
        parameter.array  # noqa: B018  drawn once, for both backends
    x = mg.Tensor(np.random.default_rng(0).normal(size=(1, 8, 14, 14)))
    block.to(np.float64)
    with mg.no_grad(), mg.backend("reference"):
        slow = block(x).numpy()
    with mg.backend("numpy"):
        steps = judged(block, x.array)
        with mg.no_grad():
            fast = block(x).numpy()
    assert steps["conv2d"] == 3
    scale = np.abs(slow).max()
    assert np.abs(fast - slow).max() <= 1e-13 * scale
