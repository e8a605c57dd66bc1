"""Networks as exporters of others write them: their values and gradients, and those of our own.

tests/golden/exported.zip (``make_exported.py``) has each network from the older exporter of
PyTorch, which traces, and from the newer one, with the output and an input gradient that PyTorch
computed in float64; converted.zip (``make_converted.py``) has Keras' networks from TensorFlow's
converter.  Networks that are ours too have the same weights (``narrow.py``).  The networks of the
real files are held to finite differences where those are.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import weights
from narrow import own

import minigrad as mg

TESTS = Path(__file__).parents[1]
EXPORTED = zipfile.ZipFile(TESTS / "golden" / "exported.zip")
CONVERTED = zipfile.ZipFile(TESTS / "golden" / "converted.zip")
FILES = [name for name in EXPORTED.namelist() if name.endswith(".onnx")]
TFLITE = [name for name in CONVERTED.namelist() if name.endswith(".tflite")]
REAL = TESTS.parent.parent / "shared" / "real"
IMAGES = weights.image(32, 2).astype("f4")


def loaded(archive, name, tmp_path):
    path = tmp_path / name
    path.write_bytes(archive.read(name))
    return mg.load_graph(path)


@pytest.fixture(params=FILES)
def exported(request, tmp_path):
    """(network, output, gradient of the second class' sum)."""
    with np.load(io.BytesIO(EXPORTED.read(request.param.split(".")[0] + ".npz"))) as file:
        return loaded(EXPORTED, request.param, tmp_path), file["y"], file["gradient"]


def slopes(net, x):
    """The gradient of the second class' sum, in float64."""
    return mg.grad(lambda v: net(v)[:, 1].sum())(x.astype("f8")).numpy()


def test_values_are_pytorchs(exported):
    net, y, _ = exported
    assert next(iter(net.inputs.values()))[0] is None
    wide = net.to(np.float64)(mg.from_numpy(IMAGES.astype("f8"))).numpy()
    np.testing.assert_allclose(wide, y, rtol=1e-6, atol=1e-7)


def test_a_plan_for_any_batch_says_the_same(exported):
    net, y, _ = exported
    plan = mg.compile(net)
    np.testing.assert_allclose(plan(IMAGES), y, rtol=1e-4, atol=1e-5 * np.abs(y).max())
    np.testing.assert_allclose(plan(IMAGES[:1]), y[:1], rtol=1e-4, atol=1e-5 * np.abs(y).max())


def test_gradients_are_pytorchs(exported):
    net, _, gradient = exported
    found = slopes(net.to(np.float64), IMAGES)
    np.testing.assert_allclose(found, gradient, rtol=1e-5, atol=1e-6 * np.abs(gradient).max())


# --- beside our own networks under the same weights -----------------------------------------------


def check_alike(file, model, x, scale=1.0):
    """Outputs and input gradients in float64; plans in float32.  ``scale`` x goes to the file.

    The exporters fold batch norms in float32: half an ULP of every weight.
    """
    wide = model.to(np.float64)
    y, meant = wide(mg.from_numpy(x.astype("f8"))).numpy(), slopes(wide, x)
    file = file.to(np.float64)
    made = file(mg.from_numpy(scale * x.astype("f8"))).numpy()
    np.testing.assert_allclose(made, y, rtol=0, atol=2e-6 * np.abs(y).max())
    found = scale * slopes(file, scale * x)
    np.testing.assert_allclose(found, meant, rtol=0, atol=1e-5 * np.abs(meant).max())
    plans = mg.compile(file.to(np.float32))(np.float32(scale) * x), mg.compile(wide.to("f4"))(x)
    np.testing.assert_allclose(*plans, rtol=0, atol=1e-5 * np.abs(y).max())


@pytest.mark.parametrize("name", [name for name in FILES if not name.startswith("others")])
def test_pytorchs_files_are_our_networks(tmp_path, name):
    check_alike(loaded(EXPORTED, name, tmp_path), own(name.split(".")[0], "torchvision"), IMAGES)


@pytest.mark.parametrize("name", [name for name in TFLITE if ".free." in name])
def test_tensorflows_files_are_our_networks(tmp_path, name):
    """Keras' EfficientNet divides its input by 255 itself."""
    network = name.split(".")[0]
    preset, scale = ("slim", 1.0) if "mobilenet" in name else ("tensorflow", 255.0)
    check_alike(loaded(CONVERTED, name, tmp_path), own(network, preset), IMAGES, scale)


@pytest.mark.parametrize("name", TFLITE)
def test_values_are_litert(tmp_path, name):
    y = np.load(io.BytesIO(CONVERTED.read(name.replace(".tflite", ".npy"))))
    net = loaded(CONVERTED, name, tmp_path)
    x = IMAGES[:1] * np.float32(255 if "efficientnet" in name else 1)
    np.testing.assert_allclose(mg.compile(net, x.shape)(x), y, rtol=0, atol=1e-5 * np.abs(y).max())


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
