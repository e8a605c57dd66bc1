"""What golden/dense.json.gz holds; golden/make_dense.py made it."""

from __future__ import annotations

import gzip
import importlib.util
import json
from pathlib import Path

import numpy as np

GOLDEN = Path(__file__).with_name("golden")
CASES = {
    case["name"]: case
    for case in json.loads(gzip.decompress((GOLDEN / "dense.json.gz").read_bytes()))["cases"]
}
spec = importlib.util.spec_from_file_location("golden_weights", GOLDEN / "weights.py")
weights = importlib.util.module_from_spec(spec)
spec.loader.exec_module(weights)


def expect_output(y, told):
    """An output equals what the library computed, to 1e-10 of its norm."""
    assert list(y.shape) == told["shape"]
    flat = y.ravel()
    assert abs(np.linalg.norm(flat) - told["norm"]) <= 1e-10 * told["norm"]
    assert abs(flat.sum() - told["sum"]) <= 1e-9 * told["norm"]
    some = flat[:: max(1, flat.size // 32)][:32]
    assert np.abs(some - told["some"]).max() <= 1e-10 * told["norm"]


def expect_gradients(model, case, share=1e-7):
    """The gradient of every parameter has the norm and the first number of the library's.

    PyTorch's slope of the hard sigmoid is a sixth in float32, also for float64: 3e-8 off.
    """
    theirs = model.key_map()
    largest = max(norm for norm, _ in case["gradients"].values())
    for name, p in model.named_parameters():
        norm, first = case["gradients"][theirs[name]]
        got = p.grad.numpy()
        assert abs(np.linalg.norm(got) - norm) <= share * norm + 1e-4 * share * largest, name
        assert abs(got.ravel()[0] - first) <= share * norm + 1e-4 * share * largest, name
