"""Safetensors through the library, with bfloat16, which the library cannot give to NumPy."""

from __future__ import annotations

import json
import struct
import sys

import numpy as np
import pytest

from minigrad.errors import FormatError, MissingExtra
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


def test_without_the_library(tmp_path, monkeypatch):
    path = tmp_path / "w.safetensors"
    save(path, {"a": np.zeros(2)})
    monkeypatch.setitem(sys.modules, "safetensors", None)
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    for use in (lambda: load(path), lambda: save(path, {"a": np.zeros(2)})):
        with pytest.raises(MissingExtra, match=r"pip install 'minigrad-cpu\[safetensors\]'"):
            use()
