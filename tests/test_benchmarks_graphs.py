"""The table of real networks: what is compared, and how it is written."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import numpy as np

from benchmarks.graphs import MARKS, Case, Row, cases, difference, operators, table

ROOT = Path(__file__).parents[1]
STORED = zipfile.ZipFile(ROOT / "tests" / "golden" / "exported.zip")


def folder_of(tmp_path, **stored):
    """A folder with a network, and what its own engine said of a photograph."""
    (tmp_path / "net.onnx").write_bytes(STORED.read("others.old.onnx"))
    (tmp_path / "expected").mkdir()
    pixels = np.arange(2 * 2 * 3, dtype=np.uint8).reshape(1, 2, 2, 3)
    words = {"pixels": pixels, "scale": 2.0, "shift": 1.0, "layout": "NCHW", **stored}
    np.savez(tmp_path / "expected" / "net-cat.npz", **words)
    return tmp_path


def test_a_case_is_the_very_input_and_what_was_said(tmp_path):
    (case,) = cases(folder_of(tmp_path, **{"out:y": np.ones(3)}))
    assert (case.path.name, case.photo, case.x.shape) == ("net.onnx", "cat", (1, 3, 2, 2))
    assert case.x[0, 1, 1, 0] == (7 - 1) / 2
    assert [y.tolist() for y in case.outputs] == [[1, 1, 1]]
    assert re.match(r"\d+ of \d+ kinds: \w+ \d+, ", operators(case.path))


def test_pixels_are_the_input_where_there_is_no_scale(tmp_path):
    (case,) = cases(folder_of(tmp_path, scale=0.0, layout="NHWC"))
    assert case.x.dtype == np.uint8
    assert case.x.shape == (1, 2, 2, 3)


def test_differences_are_parts_of_the_largest_or_units():
    floats = Case(Path("a.onnx"), "x", np.ones(1), [np.array([1.0, -4.0], "f4")])
    assert difference([np.array([1.0, -3.0])], floats) == "2.5e-01"
    units = Case(Path("a.tflite"), "x", np.ones(1), [np.array([[7, 9]], "u1")])
    assert difference([np.array([7.0, 10.0])], units) == "1 units"


def test_the_table_has_every_time_and_the_mean_of_the_float_files():
    rows = [
        Row("a.onnx", "3 of 1 kinds: Relu 3", {"cat": "1.0e-06"},
            {1: {"minigrad": 2.0, "P": 3.0, "Q": 8.0}}),
        Row("b.tflite", "1 of 1 kinds: ADD 1", {"cat": "0 units"},
            {1: {"minigrad": 2.0, "P": 1.0}}),
    ]  # fmt: skip
    text = table(rows, [1])
    assert "2.00 / P 3.00, Q 8.00 | 1.50 |" in text
    assert "| 0.50 |" in text
    assert "float files: 1.50 at 1 thread." in text


def test_the_page_has_a_place_for_it():
    page = (ROOT / "docs" / "graphs.md").read_text(encoding="utf-8")
    assert page.index(MARKS[0]) < page.index("| `centerface.onnx`") < page.index(MARKS[1])
