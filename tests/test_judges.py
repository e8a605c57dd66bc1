"""An outside judge: PyTorch's own operator samples, with its outputs and gradients.

They are stored (see golden/make_opinfo.py).  An adapter translates a call; where it cannot, it
raises Unsupported with the reason, and how many samples have which reason is asserted too:
nothing is left out in silence.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import numpy as np

import minigrad as mg
from minigrad.geometry import ConvSpec
from minigrad.verify.bounds import gamma


class Unsupported(Exception):
    """minigrad does not have this, on purpose or not yet."""


def refuse(reason, when=True):
    if when:
        raise Unsupported(reason)


# Another file, as of `make_opinfo.py --all`, may be judged instead.
OPINFO = Path(os.environ.get("OPINFO", Path(__file__).parent / "golden" / "opinfo.npz"))
SAME_NAME = "relu relu6 hardswish hardsigmoid silu linear"


def read_samples():
    with np.load(OPINFO) as stored:
        numbers, index = stored["numbers"], json.loads(bytes(stored["index"]))
    return numbers, index["samples"]


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


def batched(x):
    """PyTorch takes an image without a batch, too."""
    return x if x.ndim == 4 else x.reshape(1, *x.shape)


def like_input(y, x):
    return y if x.ndim == 4 else y.reshape(*y.shape[1:])


def two(value):
    """An integer, [a] or [a, b] as a pair."""
    if isinstance(value, str):
        return value
    value = [value] if isinstance(value, int) else value
    return tuple(value) * (2 // len(value))


def conv2d(x, w, bias=None, stride=1, padding=0, dilation=1, groups=1):
    how = {"stride": two(stride), "padding": two(padding), "dilation": two(dilation)}
    return like_input(mg.conv2d(batched(x), w, bias, **how, groups=groups), x)


def conv1d(x, w, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """A map of one row."""
    wide, filters = (t.reshape(*t.shape[:-1], 1, t.shape[-1]) for t in (x, w))
    wide = wide if wide.ndim == 4 else wide.reshape(1, *wide.shape)
    how = {"stride": (1, *one(stride)), "dilation": (1, *one(dilation)), "groups": groups}
    pads = padding if isinstance(padding, str) else (0, *one(padding))
    y = mg.conv2d(wide, filters, bias, padding=pads, **how)
    return y.reshape(*(y.shape[1:2] if x.ndim == 2 else y.shape[:2]), y.shape[3])


def one(value):
    return (value,) if isinstance(value, int) else tuple(value)


def conv_transpose2d(x, w, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
    """The adjoint of a convolution from the larger map to the smaller.

    ``output_padding`` takes back some of the cut at the end; what goes beyond that is zeros.
    """
    x4, s, d = batched(x), two(stride), two(dilation)
    before, extra = two(padding), two(output_padding)
    after = [p - e for p, e in zip(before, extra, strict=True)]
    pads = tuple((p, max(e, 0)) for p, e in zip(before, after, strict=True))
    size = (
        (n - 1) * s[i] - sum(pads[i]) + d[i] * (w.shape[2 + i] - 1) + 1
        for i, n in enumerate(x4.shape[2:])
    )
    shape = (x4.shape[0], w.shape[1] * groups, *size)
    y = mg.conv2d_input_grad(x4, w, shape, ConvSpec(s, pads, d, groups))
    y = mg.pad(y, [(0, 0), (0, 0), *((0, max(-e, 0)) for e in after)])
    return like_input(y if bias is None else y + bias.reshape(1, -1, 1, 1), x)


def max_pool2d(
    x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False
):
    how = {"padding": two(padding), "dilation": two(dilation), "ceil_mode": ceil_mode}
    stride = two(stride) if stride else None
    return like_input(mg.max_pool2d(batched(x), two(kernel_size), stride, **how), x)


def avg_pool2d(
    x, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor=None
):
    refuse("a divisor of one's own", divisor is not None)
    stride = two(stride) if stride else None
    how = {"ceil_mode": ceil_mode, "count_include_pad": count_include_pad}
    return like_input(mg.avg_pool2d(batched(x), two(kernel_size), stride, two(padding), **how), x)


def batch_norm(x, mean, var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5):
    refuse("a vector", x.ndim < 2)
    refuse("a momentum outside [0, 1]", not 0 <= momentum <= 1)
    mean, var = (None if v is None else mg.Tensor(v) for v in (mean, var))
    return mg.batch_norm(x, mean, var, weight, bias, training, momentum, eps)


def cross_entropy(x, target, weight=None, ignore_index=-100, reduction="mean", label_smoothing=0.0):
    refuse("labels that are probabilities", not isinstance(target, np.ndarray))
    refuse("labels that are probabilities", target.dtype.kind == "f")
    if x.ndim == 1:
        x, target = x.reshape(1, -1), target.reshape(1)
    rows = x.permute(0, *range(2, x.ndim), 1).reshape(-1, x.shape[1])
    labels = target.reshape(-1)
    return mg.cross_entropy(rows, labels, label_smoothing, weight, ignore_index, reduction)


def mse_loss(x, y, reduction="mean"):
    loss = (x - y) ** 2
    return {"mean": loss.mean, "sum": loss.sum, "none": lambda: loss}[reduction]()


def pad(x, pads, mode="constant", value=None):
    """From the last axis on; a negative pad cuts."""
    pairs = [(0, 0)] * (x.ndim - len(pads) // 2)
    pairs += [tuple(pads[i : i + 2]) for i in range(len(pads) - 2, -1, -2)]
    cut = tuple(
        slice(max(-before, 0), n - max(-after, 0))
        for n, (before, after) in zip(x.shape, pairs, strict=True)
    )
    positive = [(max(before, 0), max(after, 0)) for before, after in pairs]
    return mg.pad(x[cut], positive, 0.0 if value is None else value)


def softmax(function):
    def along(x, dim):
        refuse("a softmax of one number", x.ndim == 0)
        return function(x, dim)

    return along


TORCH = {
    **{f"nn.functional.{name}": getattr(mg, name) for name in SAME_NAME.split()},
    "nn.functional.conv1d": conv1d,
    "nn.functional.conv2d": conv2d,
    "nn.functional.conv_transpose2d": conv_transpose2d,
    "nn.functional.max_pool2d": max_pool2d,
    "nn.functional.avg_pool2d": avg_pool2d,
    "nn.functional.batch_norm": batch_norm,
    "nn.functional.cross_entropy": cross_entropy,
    "nn.functional.mse_loss": mse_loss,
    "nn.functional.hardtanh": lambda x, min_val=-1.0, max_val=1.0: mg.clamp(x, min_val, max_val),
    "nn.functional.pad.constant": pad,
    "nn.functional.softmin": softmax(lambda x, dim: mg.softmax(-x, dim)),
    "softmax": softmax(mg.softmax),
    "log_softmax": softmax(mg.log_softmax),
    "sigmoid": mg.sigmoid,
    "tanh": mg.tanh,
    "matmul": mg.matmul,
    "mm": mg.matmul,
    "bmm": mg.matmul,
    "addmm": lambda x, a, b, beta=1, alpha=1: x * beta + mg.matmul(a, b) * alpha,
}


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
    "nn.functional.avg_pool2d: a divisor of one's own": 5,
    "nn.functional.batch_norm: a momentum outside [0, 1]": 3,
    "nn.functional.batch_norm: a vector": 2,
    "nn.functional.cross_entropy: labels that are probabilities": 10,
    "nn.functional.softmin: a softmax of one number": 1,
    "log_softmax: a softmax of one number": 1,
    "softmax: a softmax of one number": 1,
}


def test_pytorchs_operator_samples():
    numbers, samples = read_samples()
    passed, refused, failed = Counter(), Counter(), []
    for sample in samples:
        try:
            judge_sample(sample, numbers)
            passed[sample["op"]] += 1
        except Unsupported as reason:
            refused[f"{sample['op']}: {reason}"] += 1
        except Exception as error:  # all of them, to be told at once
            failed.append(f"{sample['op']} {sample['k']}: {error!r}")
    assert "\n".join(failed) == ""
    assert set(passed) == set(TORCH)
    if "OPINFO" not in os.environ:
        assert dict(refused) == REFUSED
        assert sum(passed.values()) == 300
