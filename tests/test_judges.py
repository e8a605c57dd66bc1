"""An outside judge: PyTorch's own operator samples, with its outputs and gradients.

They are stored (see golden/make_opinfo.py).  An adapter translates a call; where it cannot, it
raises Unsupported with the reason, and how many samples have which reason is asserted too:
nothing is left out in silence.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from needs import needs

import minigrad as mg
from minigrad.kernels import BACKENDS, unavailable
from minigrad.verify.theorem import gamma
from tests.torch_calls import TORCH, Unsupported

FILE = Path(__file__).parent / "golden" / "opinfo.npz"


def read_samples():
    with np.load(FILE) as stored:
        numbers, index = stored["numbers"], json.loads(bytes(stored["index"]))
    return numbers, index["samples"], index["refused"]


def unpack(value, numbers, wanting):
    """The JSON of a sample as Tensors, arrays and plain values; notes what wants a gradient."""
    if isinstance(value, list):
        return [unpack(v, numbers, wanting) for v in value]
    if not isinstance(value, dict):
        return value
    if not value.keys() & {"tensor", "array", "integers"}:
        return {k: unpack(v, numbers, wanting) for k, v in value.items()}
    ((kind, (start, shape)),) = value.items()
    if kind == "integers":
        return np.array(start, np.int64).reshape(shape)
    array = numbers[start : start + int(np.prod(shape))].reshape(shape)
    if kind == "array":
        return array
    wanting.append(mg.Tensor(array, requires_grad=True))
    return wanting[-1]


def close(got, expected, dtype=np.float64):
    """Both sides computed in ``dtype``, by paths of under 10,000 roundings or 4 in float32."""
    count = 10_000 if dtype == np.float64 else 4
    allowed = gamma(count, dtype) * max(1, np.abs(expected).max(initial=0))
    return got.shape == expected.shape and bool(np.all(np.abs(got - expected) <= allowed))


# PyTorch's hardsigmoid multiplies its gradient by 1/6 rounded to float32, also in float64.
SLOPE_IN = {"nn.functional.hardsigmoid": np.float32}


def judge_sample(sample, numbers):
    wanting = []
    args = unpack(sample["args"], numbers, wanting)
    kwargs = unpack(sample["kwargs"], numbers, wanting)
    outputs, cotangents, grads = (
        unpack(sample[name], numbers, []) for name in ("outputs", "cotangents", "grads")
    )
    y = TORCH[sample["op"]](*args, **kwargs)
    assert close(y.numpy(), outputs[0]), "forward"
    y.backward(cotangents[0].copy())
    for x, expected in zip(wanting, grads, strict=True):
        if expected is not None:
            assert close(x.grad.numpy(), expected, SLOPE_IN.get(sample["op"], np.float64)), (
                "gradient"
            )


REFUSED = {
    "native_batch_norm: a momentum outside [0, 1]": 3,
    "nn.functional.batch_norm: a momentum outside [0, 1]": 3,
    "nn.functional.batch_norm: a vector": 2,
}
AVAILABLE = [name for name in BACKENDS if not unavailable(name)]


def verdicts(samples, numbers):
    """How many samples of each operator pass, how many are refused why, and all failures."""
    passed, refused, failed = Counter(), Counter(), []
    for sample in samples:
        try:
            judge_sample(sample, numbers)
            passed[sample["op"]] += 1
        except Unsupported as reason:
            refused[f"{sample['op']}: {reason}"] += 1
        except Exception as error:  # all of them, to be told at once
            failed.append(f"{sample['op']} {sample['k']}: {error!r}")
    return passed, dict(refused), failed


@pytest.mark.newest
@pytest.mark.parametrize("backend", [name for name in AVAILABLE if name != "numba"])
def test_pytorchs_operator_samples(backend):
    numbers, samples, _ = read_samples()
    with mg.backend(backend):
        passed, refused, failed = verdicts(samples, numbers)
    assert failed == []
    assert set(passed) == set(TORCH)
    assert refused == REFUSED
    assert passed.total() == 2236


@pytest.mark.newest
@needs("numba")
@pytest.mark.parametrize("every", [9, pytest.param(1, marks=pytest.mark.full)])
def test_pytorchs_operator_samples_on_numba(every):
    """It compiles for each kind of call first."""
    numbers, samples, _ = read_samples()
    with mg.backend("numba"):
        passed, _, failed = verdicts(samples[::every], numbers)
    assert failed == []
    assert passed.total() > 0.9 * len(samples[::every])


def ones(value):
    """The arguments of a call that is refused: of tensors only shapes and dtypes are stored."""
    if isinstance(value, dict) and "ones" in value:
        return mg.Tensor(np.ones(*value["ones"]))
    if isinstance(value, dict):
        return {k: ones(v) for k, v in value.items()}
    return [ones(v) for v in value] if isinstance(value, list) else value


# The others are of functions that minigrad has not: their adapters are compositions.
OURS = {f"nn.functional.{name}" for name in ("conv1d", "conv2d", "max_pool2d", "avg_pool2d")}


def test_what_pytorch_refuses_is_refused_in_a_sentence():
    refusals = [
        r for r in read_samples()[2] if r["op"] in OURS and "divisor_override" not in r["kwargs"]
    ]
    for r in refusals:
        with pytest.raises(mg.MinigradError) as caught:
            TORCH[r["op"]](*ones(r["args"]), **ones(r["kwargs"]))
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) > 30
    assert len(refusals) == 31
