"""Training gives the same bits for any number of threads, any vectors, either compiled backend.

What is compared is everything that two steps leave behind: the losses, the logits, every
gradient, every weight and every running mean.  ``strict=True`` makes a backend serve all of it
itself, forward and backward, so that nothing is equal only because NumPy computed it twice.
"""

from __future__ import annotations

import functools
import hashlib
import sys

import numpy as np
import pytest
from block_networks import BLOCKS, CLASSES
from needs import needs

import minigrad as mg
from minigrad import nn
from minigrad.kernels.cython.core import LEVEL, levels
from minigrad.threads import threads


def sgd_step(network, x, labels, rate):
    """w <- w - rate dL/dw.  What came out on the way, by name."""
    for w in network.parameters():
        w.grad = None
    logits = network(x)
    loss = mg.cross_entropy(logits, labels, label_smoothing=0.1)
    loss.backward()
    gradients = {f"gradient of {name}": w.grad for name, w in network.named_parameters()}
    with mg.no_grad():
        for w in network.parameters():
            w.copy_(w.numpy() - w.dtype.type(rate) * w.grad.numpy())
    tensors = {"logits": logits, "loss": loss, **gradients}
    return {name: t.numpy().copy() for name, t in tensors.items()}


@functools.cache
def trained(build, dtype, backend, workers):
    """Two steps from one seed: everything they left behind, by name."""
    rng = np.random.default_rng(5)
    network = build().to(dtype)
    nn.init.initialize(network, rng=rng)
    left = {}
    with mg.backend(backend, strict=True), threads(workers):
        for step in range(2):
            x = mg.Tensor(rng.standard_normal((3, 3, 45, 39)).astype(dtype))
            found = sgd_step(network, x, rng.integers(0, CLASSES, 3), rate=0.1)
            left |= {f"{name}, step {step}": array for name, array in found.items()}
    left |= {name: array.copy() for name, array in network.state_dict().items()}
    assert all(np.isfinite(array).all() for array in left.values())
    return left


def assert_same_bits(got, expected):
    assert got.keys() == expected.keys()
    different = [name for name in got if got[name].tobytes() != expected[name].tobytes()]
    assert not different


training = pytest.mark.parametrize("build", BLOCKS)
BACKENDS = [pytest.param(np.float32, name, marks=needs(name)) for name in ("cython", "numba")]
BACKENDS += [pytest.param(np.float64, "cython", marks=needs("cython"))]
# Numba compiles all of it once more for float64.
BACKENDS += [pytest.param(np.float64, "numba", marks=[needs("numba"), pytest.mark.full])]


@pytest.mark.newest
@training
@pytest.mark.parametrize("workers", [2, 4])
@pytest.mark.parametrize(("dtype", "name"), BACKENDS)
def test_a_training_step_knows_nothing_of_the_threads(build, dtype, name, workers):
    assert_same_bits(trained(build, dtype, name, workers), trained(build, dtype, name, 1))


@pytest.mark.newest
@needs("cython", "numba")
@training
@pytest.mark.parametrize("dtype", [np.float32, pytest.param(np.float64, marks=pytest.mark.full)])
@pytest.mark.fma
def test_both_compiled_backends_train_to_the_same_bits(build, dtype):
    assert_same_bits(trained(build, dtype, "numba", 2), trained(build, dtype, "cython", 2))


def digest(name):
    """One number for all that training leaves behind on a backend."""
    found = hashlib.sha256()
    for build in BLOCKS:
        for key, array in sorted(trained(build, np.float32, name, 2).items()):
            found.update(key.encode() + array.tobytes())
    return found.hexdigest()


# The baseline of the core has no FMA, and other bits.
OTHERS = [pytest.param("numba", "avx2", marks=needs("numba"))]
OTHERS += [("cython", level) for level in levels() if level not in (LEVEL, "baseline")]


@pytest.mark.newest
@pytest.mark.parametrize(("name", "level"), OTHERS)
@pytest.mark.fma
def test_other_vectors_train_to_the_same_bits(name, level, run_python):
    done = run_python(__file__, name, MINIGRAD_ISA=level)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == digest(name)


if __name__ == "__main__":
    print(digest(sys.argv[1]))
