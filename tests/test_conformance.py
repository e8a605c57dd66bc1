"""An outside judge: ONNX's conformance cases through ``load_graph``, from stored files.

tests/golden/onnx_cases.zip has every case of the operators that are read
(``make_onnx_cases.py``).  A case is passed with its own tolerances, or it is refused in a
sentence; how many are refused for which reason is asserted, and printed with ``-s``.
"""

from __future__ import annotations

import io
import json
import re
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest

import minigrad as mg
from minigrad.errors import MinigradError

ARCHIVE = zipfile.ZipFile(Path(__file__).parent / "golden" / "onnx_cases.zip")
CASES = json.loads(ARCHIVE.read("index.json"))["cases"]
PASSED = 782
REFUSED = {
    "windows have 3 axes": 8,
    "x must have 4 axes": 1,  # pixels of three axes
    "the graph has no input": 4,
    "training_mode is 1": 2,
    "depends on values of the input": 6,  # a pad that is computed from an input
    "its output 2 is not read": 2,
    "storage_order is 1": 1,
}
PLANS = [name for name in CASES if re.search(r"resize|conv|pool|pad|norm|softmax", name[0])]


@pytest.fixture
def load(tmp_path):
    def load(stem):
        path = tmp_path / "case.onnx"
        path.write_bytes(ARCHIVE.read(f"{stem}.onnx"))
        return mg.load_graph(path)

    return load


def arrays_of(stem):
    with np.load(io.BytesIO(ARCHIVE.read(f"{stem}.npz"))) as file:
        stored = dict(file)
    return tuple(
        [stored[f"{kind}{k}"] for k in range(sum(name[0] == kind for name in stored))]
        for kind in "xy"
    )


def outputs(made):
    return made if isinstance(made, list) else [made]


def compare(got, expected, rtol, atol):
    assert len(got) == len(expected)
    for y, meant in zip(got, expected, strict=True):
        assert y.shape == meant.shape
        np.testing.assert_allclose(y, meant.astype(np.float64), rtol=rtol, atol=max(atol, 1e-7))


def test_every_case_is_passed_or_refused_with_a_reason(load):
    said: dict[str, list[str]] = {}
    for stem, rtol, atol in CASES:
        xs, ys = arrays_of(stem)
        try:
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)
                net = load(stem).to(np.float64)
                made = outputs(net(*[mg.from_numpy(np.asarray(x, np.float64)) for x in xs]))
        except MinigradError as error:
            reason = next((r for r in REFUSED if r in str(error)), str(error))
            said.setdefault(reason, []).append(stem)
            continue
        compare([y.numpy() for y in made], ys, rtol, atol)
        said.setdefault("passed", []).append(stem)
    print(f"\n{len(said['passed'])} of {len(CASES)} cases pass; refused:")
    for reason, stems in said.items():
        if reason != "passed":
            print(f"{len(stems):4}  {reason}: {', '.join(stems)}")
    assert {reason: len(stems) for reason, stems in said.items()} == {"passed": PASSED, **REFUSED}


@pytest.mark.parametrize(("stem", "rtol", "atol"), PLANS, ids=[name for name, *_ in PLANS])
def test_a_plan_of_a_case_says_the_same(load, stem, rtol, atol):
    """In float32, compiled: what the operators of windows and sizes mean in a plan."""
    xs, ys = arrays_of(stem)
    try:
        net = load(stem).to(np.float32)
    except MinigradError:
        return
    if len(xs) != 1 or 0 in xs[0].shape:
        return
    plan = mg.compile(net, xs[0].shape)
    made = plan.outputs(np.asarray(xs[0], np.float32))
    compare(made, ys, max(rtol, 1e-4), max(atol, 1e-5))
