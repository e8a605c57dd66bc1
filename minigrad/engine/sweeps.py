"""A compiled call, or several, for each kind of step of a training step.

A binder takes a step, a function that gives the array behind a reference, and the place of the
result.  It gives the calls in order, or None where the core has none for such arrays.
"""

from __future__ import annotations

import numpy as np

from minigrad.arrays import Array
from minigrad.engine.graph import Step
from minigrad.engine.unfused import UNFUSED, Binder, Calls, Get, arrays, maps, turned
from minigrad.geometry import ConvSpec, classify
from minigrad.kernels.cython import training
from minigrad.kernels.cython.core import BoundCall
from minigrad.kernels.cython.elementwise import bind_elementwise
from minigrad.kernels.cython.layout import empty_channels_last, regular
from minigrad.kernels.cython.pooling import bind_avg_pool2d, bind_global_avg_pool
from minigrad.kernels.cython.program import bind_weight_grad
from minigrad.kernels.tables import FUNCTIONS_OF_ONE

__all__ = ["BINDERS"]


def _alike(*several: Array) -> bool:
    """Whether all lie in one order, without gaps."""
    in_order = all(x.flags.c_contiguous and x.flags.aligned for x in several)
    return (in_order or maps(*several)) and all(
        x.shape == several[0].shape and x.dtype == several[0].dtype for x in several
    )


def _ready(*arrays: Array) -> tuple[list[BoundCall], list[Array]]:
    """Arrays that a sweep can read, and the calls that make copies of those that it cannot."""
    calls: list[BoundCall] = []
    fit: list[Array] = []
    for x in arrays:
        if maps(x) or (x.ndim != 4 and x.flags.aligned and x.flags.c_contiguous):
            fit.append(x)
            continue
        copy = empty_channels_last(x.shape, x.dtype) if x.ndim == 4 else np.empty(x.shape, x.dtype)
        calls.append(turned(x, copy))
        fit.append(copy)
    return calls, fit


def _forward(step: Step, get: Get, y: Array) -> Calls:
    x, w = arrays(step, get)[:2]
    bias = get(step.inputs[2]) if len(step.inputs) > 2 else None
    dense = bias is None or (bias.flags.c_contiguous and bias.flags.aligned)
    if not (maps(x, y) and regular(w) and dense):
        return None
    return training.bind_forward(x, w, bias, y, step.params["spec"])


def _input_grad(step: Step, get: Get, y: Array) -> Calls:
    g, w = arrays(step, get)
    if not (maps(g, y) and regular(w)):
        return None
    return training.bind_input_grad_anew(g, w, y, step.params["spec"])


def _weight_grad(step: Step, get: Get, y: Array) -> Calls:
    g, x = arrays(step, get)
    spec: ConvSpec = step.params["spec"]
    if not maps(g, x):
        return None
    if classify(spec, y.shape) != "depthwise":
        return [bind_weight_grad(g, x, y, spec)]
    c, _, kh, kw = y.shape
    sums = np.empty((kh, kw, c), y.dtype).transpose(2, 0, 1)[:, None]
    return [bind_weight_grad(g, x, sums, spec), turned(sums, y)]


def _begin(step: Step, get: Get, y: Array) -> Calls:
    calls, (x, gamma) = _ready(*arrays(step, get))
    return [*calls, training.bind_batch_norm_begin(x, gamma, y, step.params["eps"])]


def _apply(step: Step, get: Get, y: Array) -> Calls:
    how = step.epilogue
    added = get(how.residual)
    calls, (x, stats, beta, *rest) = _ready(*arrays(step, get), *([] if added is None else [added]))
    residual = rest[0] if rest else None
    f, rectifies = how.activation, how.clamp is not None
    return [*calls, training.bind_batch_norm_apply(x, stats, beta, residual, y, f, rectifies)]


def _sums(step: Step, get: Get, y: Array) -> Calls:
    eps, f = step.params["eps"], step.epilogue.activation
    calls, (g, x, stats, beta) = _ready(*arrays(step, get))
    return [*calls, training.bind_batch_norm_sums(g, x, stats, beta, y, eps, f)]


def _gradient(step: Step, get: Get, y: Array) -> Calls:
    calls, (g, x, stats, beta, sums) = _ready(*arrays(step, get))
    f = step.epilogue.activation
    return [*calls, training.bind_batch_norm_gradient(g, x, stats, beta, sums, y, f)]


def _running(step: Step, get: Get, y: Array) -> Calls:
    kept, batch = arrays(step, get)
    if kept is not y or not (y.flags.c_contiguous and y.flags.aligned):
        return None
    return [training.bind_running(y, batch, step.params["momentum"], step.params["factor"])]


def _map(step: Step, get: Get, y: Array) -> Calls:
    (x,) = arrays(step, get)
    return [bind_elementwise(step.op, x, y)] if _alike(y, x) else None


def _slope(step: Step, get: Get, y: Array) -> Calls:
    g, at = arrays(step, get)
    name = f"{step.params['of']}_input_grad"
    return [training.bind_slope(name, g, at, y)] if _alike(y, g, at) else None


def _mean(step: Step, get: Get, y: Array) -> Calls:
    (x,) = arrays(step, get)
    return [bind_global_avg_pool(x, y)] if maps(x, y) else None


def _avg_pool(step: Step, get: Get, y: Array) -> Calls:
    (x,) = arrays(step, get)
    params = step.params
    if not maps(x, y):
        return None
    return [bind_avg_pool2d(x, params["window"], y, params["count_include_pad"])]


BINDERS: dict[str, Binder] = {
    **UNFUSED,
    "conv2d": _forward,
    "conv2d_input_grad": _input_grad,
    "conv2d_weight_grad": _weight_grad,
    "batch_norm_begin": _begin,
    "batch_norm_apply": _apply,
    "batch_norm_sums": _sums,
    "batch_norm_gradient": _gradient,
    "running": _running,
    "line_slope": _slope,
    "curve_slope": _slope,
    "global_avg_pool": _mean,
    "avg_pool2d": _avg_pool,
    **{f.name: _map for f in FUNCTIONS_OF_ONE},
}
