"""Safetensors, held against the library of that name, and with bfloat16, which NumPy lacks."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest

from minigrad.errors import FormatError
from minigrad.formats import load, save


def write(path, entries, data):
    header = json.dumps(entries).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + data)


def test_bfloat16_beside_float32(tmp_path):
    entries = {
        "half": {"dtype": "BF16", "shape": [2, 1], "data_offsets": [0, 4]},
        "full": {"dtype": "F32", "shape": [], "data_offsets": [4, 8]},
        "none": {"dtype": "BF16", "shape": [0, 3], "data_offsets": [8, 8]},
    }
    path = tmp_path / "w.safetensors"
    write(path, entries, struct.pack("<HHf", 0x3F80, 0xC000, 3.0))
    found = load(path)
    np.testing.assert_array_equal(found["half"], np.array([[1], [-2]], "f4"))
    np.testing.assert_array_equal(found["full"], np.float32(3))
    assert found["half"].dtype == found["none"].dtype == np.float32
    assert found["none"].shape == (0, 3)


def test_the_budget(tmp_path):
    path = tmp_path / "w.safetensors"
    save(path, {"a": np.zeros(10), "b": np.zeros(10)})
    assert len(load(path, budget=160)) == 2
    with pytest.raises(FormatError, match="needs 80 bytes, more than the budget of 159"):
        load(path, budget=159)
