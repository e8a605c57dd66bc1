"""Digests of exact results: ``python tests/golden/make_bits.py`` writes bits.json.

Weights and inputs are from a formula (``weights.py``), and the order of every sum is fixed,
so the compiled core gives these very bits on every CPU with FMA, x86 and ARM, with any
number of threads.  A change of bits.json is a change of results: say in the changelog why.
"""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import weights

import minigrad as mg
from minigrad.geometry import ConvSpec
from minigrad.tensor import PRIMITIVES

FILE = Path(__file__).with_name("bits.json")
NETWORKS = (
    "squeezenext_1_0_23", "squeezenext_1_0_g_23", "mobilenet_v2", "mobilenet_v3_large",
    "mnasnet_a1", "efficientnet_b0", "efficientnet_lite0", "efficientnet_v2_b0",
)  # fmt: skip
# Cout, Cin, groups, kernel, stride: a layer of each kind.
LAYERS = {
    "pointwise": (40, 24, 1, 1, 1),
    "depthwise": (33, 33, 33, 3, 1),
    "depthwise, stride 2": (33, 33, 33, 5, 2),
    "dense": (24, 16, 1, 3, 2),
    "grouped": (24, 12, 3, 3, 1),
}
DTYPES = ("float32", "float64")


def digest(array: Any) -> str:
    """Of the values in C order, least significant byte first."""
    ordered = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return sha256(ordered.tobytes()).hexdigest()


def network(name: str, dtype: str) -> str:
    model = mg.models.create(name, rng=0, dtype=np.dtype(dtype)).eval()
    keys = [(key, value.shape) for key, value in model.state_dict().items()]
    model.load_state_dict({k: v.astype(dtype) for k, v in weights.state(keys).items()})
    x = weights.image(71, batch=2).astype(dtype)
    return digest(mg.compile(model, x.shape, dtype=np.dtype(dtype))(x))


def layer(name: str, dtype: str) -> dict[str, str]:
    """The convolution and both gradients, of values from the formula."""
    cout, cin, groups, k, stride = LAYERS[name]
    pad = (k // 2, k // 2)
    spec = ConvSpec((stride, stride), (pad, pad), (1, 1), groups)
    x = weights.values(1, "", (2, cin, 19, 23)).astype(dtype)
    w = weights.values(2, "", (cout, cin // groups, k, k)).astype(dtype)
    conv, dx_of, dw_of = (
        PRIMITIVES[f"conv2d{which}"].forward for which in ("", "_input_grad", "_weight_grad")
    )
    with mg.backend("cython", strict=True):
        y = conv(x, w, spec=spec)
        g = weights.values(3, "", y.shape).astype(dtype)
        dx = dx_of(g, w, x_shape=x.shape, spec=spec)
        dw = dw_of(g, x, w_shape=w.shape, spec=spec)
    return {"y": digest(y), "dx": digest(dx), "dw": digest(dw)}


def everything() -> dict[str, Any]:
    return {
        **{f"{name}, {dtype}": network(name, dtype) for name in NETWORKS for dtype in DTYPES},
        **{f"{name}, {dtype}": layer(name, dtype) for name in LAYERS for dtype in DTYPES},
    }


if __name__ == "__main__":
    FILE.write_text(json.dumps(everything(), indent=1) + "\n")
