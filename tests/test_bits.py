"""The very bits of networks, convolutions and gradients, on whatever CPU with FMA this is.

tests/golden/bits.json has digests; make_bits.py wrote it and says from what.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest
from needs import needs

sys.path.append(str(Path(__file__).with_name("golden")))
make_bits = importlib.import_module("make_bits")
GOLDEN = json.loads(make_bits.FILE.read_text())

pytestmark = [
    needs("cython"),
    pytest.mark.fma,
]


@pytest.mark.parametrize("dtype", make_bits.DTYPES)
@pytest.mark.parametrize("name", make_bits.NETWORKS)
def test_a_plan_has_the_bits_it_has_everywhere(name: str, dtype: str) -> None:
    assert make_bits.network(name, dtype) == GOLDEN[f"{name}, {dtype}"]


@pytest.mark.parametrize("dtype", make_bits.DTYPES)
@pytest.mark.parametrize("name", make_bits.LAYERS)
def test_a_convolution_and_its_gradients_have_the_bits_they_have_everywhere(
    name: str, dtype: str
) -> None:
    assert make_bits.layer(name, dtype) == GOLDEN[f"{name}, {dtype}"]
