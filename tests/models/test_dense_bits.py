"""Networks of every head: the same bits for any batch and number of threads, each step in bound."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from golden_dense import weights
from judged_steps import judged
from needs import needs

import minigrad as mg
from minigrad.models import detection, segmentation

SIDES = {
    "ssdlite320_mobilenet_v3_large": 48,
    "tf_efficientdet_lite0": 48,
    "lraspp_mobilenet_v3_large": 32,
    "deeplabv3_mobilenet_v2": 17,
}


@cache
def made(name):
    """The network and two images."""
    family = detection if name in detection.names() else segmentation
    model = family.create(name, rng=0).eval()
    return model, weights.image(SIDES[name], 2).astype(np.float32)


def expect_bits(got, expected):
    """The bits on backends that promise them, on others the numbers."""
    if mg.current_backend() in ("cython", "numba"):
        assert got.tobytes() == expected.tobytes()
    else:
        assert np.abs(got - expected).max() <= 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize("name", SIDES)
def test_an_image_has_the_same_bits_in_any_batch_and_on_any_number_of_threads(name):
    model, x = made(name)
    with mg.no_grad(), mg.threads(1):
        both = model(mg.Tensor(x)).numpy()
        apart = [model(mg.Tensor(x[k : k + 1])).numpy() for k in (0, 1)]
    expect_bits(np.concatenate(apart), both)
    with mg.no_grad(), mg.threads(3):
        expect_bits(model(mg.Tensor(x)).numpy(), both)
    if mg.current_backend() == "cython":
        plan, single = (mg.compile(model, y.shape, fold=False) for y in (x, x[:1]))
        for threads in (1, 3):
            expect_bits(plan(x, threads=threads), both)
            expect_bits(single(x[1:], threads=threads), apart[1])


COMPILED = ("cython", "numba")


@pytest.mark.newest
@pytest.mark.fma
@needs(*COMPILED)
@pytest.mark.parametrize("name", SIDES)
def test_both_compiled_backends_have_the_same_bits(name):
    model, x = made(name)
    bits = []
    for backend in COMPILED:
        with mg.backend(backend, strict=True), mg.no_grad():
            bits.append(model(mg.Tensor(x)).numpy().tobytes())
    assert bits[0] == bits[1]


# EfficientDet's stand in test_efficientdet.py.
@pytest.mark.parametrize("name", [name for name in SIDES if "efficientdet" not in name])
def test_every_step_is_within_its_bound(name):
    model, x = made(name)
    assert {"conv2d", "batch_norm_eval"} <= set(judged(model, x[:1]))
