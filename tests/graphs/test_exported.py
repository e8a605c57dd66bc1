"""Networks as PyTorch's exporters write them: its values, and its gradients, to the last digits.

tests/golden/exported.zip (``make_exported.py``) has each network from the older exporter, which
traces, and from the newer one, with the output and an input gradient that PyTorch computed in
float64.  The networks of the real files are held to finite differences where those are.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

import minigrad as mg

STORED = zipfile.ZipFile(Path(__file__).parents[1] / "golden" / "exported.zip")
FILES = [name for name in STORED.namelist() if name.endswith(".onnx")]
REAL = Path(__file__).parents[2].parent / "shared" / "real"


@pytest.fixture(params=FILES)
def exported(request, tmp_path):
    """(network, input, output, gradient of the second class' sum)."""
    path = tmp_path / request.param
    path.write_bytes(STORED.read(request.param))
    with np.load(io.BytesIO(STORED.read(request.param.split(".")[0] + ".npz"))) as file:
        stored = dict(file)
    return mg.load_graph(path), stored["x"], stored["y"], stored["gradient"]


def test_values_are_pytorchs(exported):
    net, x, y, _ = exported
    assert next(iter(net.inputs.values()))[0] is None
    wide = net.to(np.float64)(mg.from_numpy(x.astype("f8"))).numpy()
    np.testing.assert_allclose(wide, y, rtol=1e-6, atol=1e-7)


def test_a_plan_for_any_batch_says_the_same(exported):
    net, x, y, _ = exported
    plan = mg.compile(net)
    np.testing.assert_allclose(plan(x), y, rtol=1e-4, atol=1e-5 * np.abs(y).max())
    np.testing.assert_allclose(plan(x[:1]), y[:1], rtol=1e-4, atol=1e-5 * np.abs(y).max())


def test_gradients_are_pytorchs(exported):
    net, x, _, gradient = exported
    net = net.to(np.float64)
    found = mg.grad(lambda v: net(v)[:, 1].sum())(x.astype("f8")).numpy()
    np.testing.assert_allclose(found, gradient, rtol=1e-5, atol=1e-7 * np.abs(gradient).max())


REAL_GRADIENTS = {
    "ch_ppocr_mobile_v2.0_cls_infer.onnx": ((1, 3, 48, 192), lambda made: mg.log(made)[0, 1]),
    "centerface.onnx": ((1, 3, 64, 64), lambda made: made[0].sum()),
}


@pytest.mark.skipif(not REAL.is_dir(), reason="the real files are not here")
@pytest.mark.parametrize("name", REAL_GRADIENTS)
def test_input_gradients_of_real_networks_are_slopes(name):
    """Along random directions, by differences in float64."""
    shape, f = REAL_GRADIENTS[name]
    net = mg.load_graph(REAL / name, shape=shape).to(np.float64)
    rng = np.random.default_rng(4)
    x = rng.normal(size=shape) + (100 if "center" in name else 0)
    (gradient,) = mg.vjp(lambda v: f(net(v)), x)[1](1.0)
    for _ in range(3):
        direction = rng.normal(size=shape)
        h = 1e-7  # few kinks lie as near as that

        def at(t, direction=direction):
            return float(f(net(mg.from_numpy(x + t * direction))).numpy())

        slope = (at(h) - at(-h)) / (2 * h)
        expected = float((gradient.numpy() * direction).sum())
        assert slope == pytest.approx(expected, rel=1e-4, abs=1e-9)
