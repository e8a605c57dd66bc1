"""ONNX operators that minigrad has no operation for, composed of those that it has.

Each takes its inputs and its attributes, as the operators of ``test_judges_onnx`` do.
"""

from __future__ import annotations

import numpy as np

import minigrad as mg
from minigrad.kernels import find
from minigrad.kernels.contract import PoolWindow
from tests.torch_calls import elementwise, kernels
from tests.torch_calls.losses import nll_loss
from tests.torch_calls.unsupported import refuse


def unary(f):
    return lambda inputs, attributes: f(*inputs)


def axes_of(inputs, attributes):
    axes = attributes.get("axes", inputs[1] if len(inputs) > 1 else None)
    return None if axes is None else tuple(int(a) for a in np.ravel(axes))


def reduced(before, after=lambda y: y):
    def reduce(inputs, attributes):
        x, axes = inputs[0], axes_of(inputs, attributes)
        if not axes and attributes.get("noop_with_empty_axes"):
            return after(before(x))
        keep = attributes.get("keepdims", 1) > 0
        return after(mg.sum(before(x), axis=axes or None, keepdims=keep))

    return reduce


def log_sum_exp(inputs, attributes):
    x, axes = inputs[0], axes_of(inputs, attributes)
    refuse("the maximum of nothing", 0 in x.shape)
    if not axes and attributes.get("noop_with_empty_axes"):
        return x
    keep = attributes.get("keepdims", 1) > 0
    return elementwise.logsumexp(x, axes or (), keep)


def prelu(inputs, attributes):
    """Older graphs have a slope for each channel of axis 1."""
    x, slope = inputs
    if slope.ndim == 1 and x.ndim > 2 and slope.shape[0] not in (1, x.shape[-1]):
        slope = slope.reshape(-1, *(1,) * (x.ndim - 2))
    return mg.relu(x) - mg.relu(-x) * slope


def celu(inputs, attributes):
    alpha = attributes.get("alpha", 1.0)
    return elementwise.elu(inputs[0] / alpha) * alpha


def selu(inputs, attributes):
    alpha, gamma = attributes.get("alpha", 1.6732632), attributes.get("gamma", 1.0507009)
    return elementwise.elu(inputs[0], alpha) * gamma


def thresholded(inputs, attributes):
    x = inputs[0]
    return mg.mask(x, x.numpy() > attributes.get("alpha", 1.0))


def shrink(inputs, attributes):
    x, bias, knee = inputs[0], attributes.get("bias", 0.0), attributes.get("lambd", 0.5)
    above, below = x.numpy() > knee, x.numpy() < -knee
    return mg.mask(x - bias, above) + mg.mask(x + bias, below)


def normalization(centred):
    """Over all axes from ``axis`` on; LayerNormalization also gives its mean and 1 / deviation."""

    def normalize(inputs, attributes):
        x, scale, shift = [*inputs, None][:3]
        axis = attributes.get("axis", -1) % x.ndim
        axes = tuple(range(axis, x.ndim))
        mean = x.mean(axis=axes, keepdims=True)
        z = x - mean if centred else x
        r = 1 / mg.sqrt((z * z).mean(axis=axes, keepdims=True) + attributes.get("epsilon", 1e-5))
        y = z * r * scale
        y = y if shift is None else y + shift
        return (y, mean, r) if centred else y

    return normalize


def instance_norm(inputs, attributes):
    x, scale, shift = inputs
    return kernels.instance_norm(x, None, None, scale, shift, eps=attributes.get("epsilon", 1e-5))


def group_norm(inputs, attributes):
    x, scale, shift = inputs
    refuse("scales of groups", scale.shape[0] != x.shape[1])
    return kernels.group_norm(
        x, attributes["num_groups"], scale, shift, attributes.get("epsilon", 1e-5)
    )


def response_norm(inputs, attributes):
    how = (attributes.get("alpha", 1e-4), attributes.get("beta", 0.75), attributes.get("bias", 1.0))
    x, size = inputs[0], attributes["size"]
    before, channels = (size - 1) // 2, x.shape[1]
    squares = mg.pad(x * x, [(0, 0), (before, size // 2), *[(0, 0)] * (x.ndim - 2)])
    total = squares[:, :channels]
    for shift in range(1, size):
        total = total + squares[:, shift : shift + channels]
    return x / (total * (how[0] / size) + how[2]) ** how[1]


def lp_normalization(inputs, attributes):
    x, p, axis = inputs[0], attributes.get("p", 2), attributes.get("axis", -1)
    size = (mg.absolute(x) ** p).sum(axis=axis, keepdims=True) ** (1 / p)
    zero = size.numpy() == 0  # ONNX divides 0 by 0 and means 0
    return x / mg.where(np.broadcast_to(zero, size.shape), 1.0, size)


def space_to_depth(inputs, attributes):
    x, r = inputs[0], attributes["blocksize"]
    n, c, h, w = x.shape
    if attributes.get("mode", b"DCR") == b"CRD":
        return elementwise.pixel_unshuffle(x, r)
    split = x.reshape(n, c, h // r, r, w // r, r).permute(0, 3, 5, 1, 2, 4)
    return split.reshape(n, c * r * r, h // r, w // r)


def depth_to_space(inputs, attributes):
    x, r = inputs[0], attributes["blocksize"]
    if attributes.get("mode", b"DCR") == b"CRD":
        return elementwise.pixel_shuffle(x, r)
    n, c, h, w = x.shape
    split = x.reshape(n, r, r, c // (r * r), h, w).permute(0, 3, 4, 1, 5, 2)
    return split.reshape(n, c // (r * r), h * r, w * r)


def tile(inputs, attributes):
    x, repeats = inputs
    for axis, n in enumerate(repeats.tolist()):
        x = mg.concat([x] * n, axis)
    return x


def gelu(inputs, attributes):
    return elementwise.gelu(inputs[0], attributes.get("approximate", b"none").decode())


def global_max_pool(inputs, attributes):
    x = inputs[0]
    return mg.max(x, axis=tuple(range(2, x.ndim)), keepdims=True)


def negative_log_likelihood(inputs, attributes):
    x, labels, weight = [*inputs, None][:3]
    weight = None if weight is None else weight.numpy()
    ignored = attributes.get("ignore_index", -(2**40))
    return nll_loss(x, labels, weight, ignored, attributes.get("reduction", b"mean").decode())


def max_pool_places(image, kernel, how, dilation, column_major):
    """Where each maximum lies, in the whole of the tensor."""
    pads = tuple(map(tuple, how["padding"]))
    window = PoolWindow(kernel, how["stride"], pads, dilation, how["ceil_mode"])
    _, places = find("max_pool2d").call(image.numpy(), window)
    n, c, h, w = image.shape
    if column_major:
        places = places % w * h + places // w
    return places + np.arange(n * c).reshape(n, c, 1, 1) * (h * w)


def dilated_average(image, kernel, how, dilation, counted):
    """A depthwise convolution with ones, divided by how many positions a window counts."""
    channels = image.shape[1]
    ones = mg.Tensor(np.ones((channels, 1, *kernel), image.dtype))
    window = {"stride": how["stride"], "dilation": dilation, "groups": channels}
    total = mg.conv2d(image, ones, None, padding=how["padding"], **window)
    inside = mg.Tensor(np.ones(image.shape, image.dtype))
    if counted:
        inside = mg.pad(inside, [(0, 0), (0, 0), *how["padding"]], 1.0)
        return total / mg.conv2d(inside, ones, None, **window)
    return total / mg.conv2d(inside, ones, None, padding=how["padding"], **window)


COMPOSED = {
    "Celu": celu,
    "DepthToSpace": depth_to_space,
    "Elu": lambda inputs, attributes: elementwise.elu(inputs[0], attributes.get("alpha", 1.0)),
    "Gelu": gelu,
    "GlobalMaxPool": global_max_pool,
    "GroupNormalization": group_norm,
    "InstanceNormalization": instance_norm,
    "LRN": response_norm,
    "LayerNormalization": normalization(centred=True),
    "LeakyRelu": lambda inputs, attributes: elementwise.leaky_relu(
        inputs[0], attributes.get("alpha", 0.01)
    ),
    "LpNormalization": lp_normalization,
    "Mish": unary(lambda x: x * mg.tanh(elementwise.softplus(x))),
    "NegativeLogLikelihoodLoss": negative_log_likelihood,
    "PRelu": prelu,
    "RMSNormalization": normalization(centred=False),
    "ReduceL1": reduced(mg.absolute),
    "ReduceLogSum": reduced(lambda x: x, mg.log),
    "ReduceLogSumExp": log_sum_exp,
    "ReduceSumSquare": reduced(lambda x: x * x),
    "Selu": selu,
    "Shrink": shrink,
    "Softplus": unary(elementwise.softplus),
    "Softsign": unary(lambda x: x / (1 + mg.absolute(x))),
    "SpaceToDepth": space_to_depth,
    "ThresholdedRelu": thresholded,
    "Tile": tile,
}
