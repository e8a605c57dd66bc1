"""How the weights of a new network are drawn, paper by paper.

For a convolution with weight (Cout, Cin/groups, kh, kw),

    fan_in  = (Cin / groups) kh kw,      fan_out = Cout kh kw,

and for a linear layer (O, I), fan_in = I and fan_out = O.  What the field disagrees on is
the depthwise kernel: TensorFlow's code (and timm) divides fan_out by the groups,
sigma = sqrt(2) / k; torchvision does not, so that its sigma is smaller by sqrt(C).

| scheme                     | convolution                  | linear               |
|----------------------------|------------------------------|----------------------|
| "tensorflow"               | N(0, 2 groups / fan_out)     | U(+-1/sqrt(fan_out)) |
| "torchvision"              | N(0, 2 / fan_out)            | N(0, 0.01^2)         |
| "torchvision_efficientnet" | N(0, 2 / fan_out)            | U(+-1/sqrt(fan_out)) |
| "torchvision_mnasnet"      | N(0, 2 / fan_out)            | U(+-sqrt(3/fan_out)) |
| "slim"                     | N(0, 0.09^2), cut at 2 sigma | the same             |
| "caffe"                    | U(+-sqrt(3/fan_in))          | the same             |
| "pytorchcv"                | U(+-sqrt(6/fan_in))          | the same             |

"tensorflow" is EfficientNet's and MnasNet's own, "slim" the MobileNets', "caffe"
SqueezeNext's, "torchvision" that library's for its MobileNets.

Biases are 0, BatchNorm's scale 1 and shift 0, in all of them.  Sources: He et al.
(2015) for 2/fan, Glorot & Bengio (2010) for the uniform ones, and the code of each library.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from math import prod, sqrt
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from minigrad.arguments import one_of, quoted
from minigrad.errors import ArgumentError
from minigrad.nn.module import AnyModule, Module
from minigrad.nn.parameter import Draw, Parameter
from minigrad.tensor import Array, Shape

if TYPE_CHECKING:
    from numpy.random import Generator  # importing it costs as much as the rest of a start

__all__ = [
    "SCHEMES",
    "Scheme",
    "choose",
    "initialize",
    "normal",
    "ones",
    "truncated_normal",
    "uniform",
    "zeros",
]


def zeros(shape: Shape, seed: int | None = None) -> Array:
    """All 0.

    Parameters
    ----------
    shape : tuple of int
    seed : int, optional
        Not used: every initialiser is called with one.

    Returns
    -------
    ndarray of float64

    Raises
    ------
    ValueError
        If a length is negative.

    Examples
    --------
    >>> zeros((2,))
    array([0., 0.])
    """
    return np.zeros(shape)


def ones(shape: Shape, seed: int | None = None) -> Array:
    """All 1.

    Parameters
    ----------
    shape : tuple of int
    seed : int, optional
        Not used, as for ``zeros``.

    Returns
    -------
    ndarray of float64

    Raises
    ------
    ValueError
        As ``zeros`` does.

    Examples
    --------
    >>> ones((2,))
    array([1., 1.])
    """
    return np.ones(shape)


def normal(shape: Shape, seed: int | None, std: float) -> Array:
    """N(0, std^2).

    Parameters
    ----------
    shape : tuple of int
    seed : int or None
        None draws fresh entropy.
    std : float

    Returns
    -------
    ndarray of float64

    Raises
    ------
    ValueError
        If the seed or a length is negative.

    Examples
    --------
    >>> normal((2,), 0, std=2.0).round(3)
    array([ 0.251, -0.264])
    """
    return np.random.default_rng(seed).standard_normal(shape) * std


def uniform(shape: Shape, seed: int | None, bound: float) -> Array:
    """Uniform on [-bound, bound).

    Parameters
    ----------
    shape : tuple of int
    seed : int or None
        As for ``normal``.
    bound : float

    Returns
    -------
    ndarray of float64

    Raises
    ------
    ValueError
        As ``normal`` does.

    Examples
    --------
    >>> uniform((2,), 0, bound=1.0).round(3)
    array([ 0.274, -0.46 ])
    """
    return np.random.default_rng(seed).uniform(-bound, bound, shape)


def truncated_normal(shape: Shape, seed: int | None, std: float) -> Array:
    """N(0, std^2) given that it lies within 2 std: what lies outside is drawn again.

    Parameters
    ----------
    shape : tuple of int
    seed : int or None
        As for ``normal``.
    std : float

    Returns
    -------
    ndarray of float64

    Raises
    ------
    ValueError
        As ``normal`` does.

    Examples
    --------
    >>> bool(np.abs(truncated_normal((1000,), 0, std=1.0)).max() <= 2)
    True
    """
    rng = np.random.default_rng(seed)
    z = rng.standard_normal(prod(shape))
    outside = np.flatnonzero(np.abs(z) > 2)
    while outside.size:
        again = rng.standard_normal(outside.size)
        z[outside] = again
        outside = outside[np.abs(again) > 2]
    z *= std
    return z.reshape(shape)


def _fan_in(shape: Shape) -> int:
    return max(prod(shape[1:]), 1)


def _fan_out(shape: Shape) -> int:
    return max(shape[0] * prod(shape[2:]), 1)  # a layer without outputs has nothing to draw


def _tensorflow(shape: Shape, groups: int) -> Draw:
    return functools.partial(normal, std=sqrt(2 * groups / _fan_out(shape)))


def _kaiming(shape: Shape, groups: int) -> Draw:
    return functools.partial(normal, std=sqrt(2 / _fan_out(shape)))


def _fan_out_uniform(shape: Shape, groups: int) -> Draw:
    return functools.partial(uniform, bound=1 / sqrt(_fan_out(shape)))


def _fan_out_sigmoid(shape: Shape, groups: int) -> Draw:
    return functools.partial(uniform, bound=sqrt(3 / _fan_out(shape)))


def _narrow(shape: Shape, groups: int) -> Draw:
    return functools.partial(normal, std=0.01)


def _slim(shape: Shape, groups: int) -> Draw:
    return functools.partial(truncated_normal, std=0.09)


def _caffe(shape: Shape, groups: int) -> Draw:
    return functools.partial(uniform, bound=sqrt(3 / _fan_in(shape)))


def _pytorchcv(shape: Shape, groups: int) -> Draw:
    return functools.partial(uniform, bound=sqrt(6 / _fan_in(shape)))


Chooser = Callable[[Shape, int], Draw]


class Scheme(NamedTuple):
    """What draws the weight of a convolution and of a linear layer.

    Attributes
    ----------
    conv, linear : callable
        ``chooser(shape, groups) -> draw``, and ``draw(shape, seed) -> ndarray``.
    """

    conv: Chooser
    linear: Chooser


SCHEMES = {
    "tensorflow": Scheme(_tensorflow, _fan_out_uniform),
    "torchvision": Scheme(_kaiming, _narrow),
    "torchvision_efficientnet": Scheme(_kaiming, _fan_out_uniform),
    "torchvision_mnasnet": Scheme(_kaiming, _fan_out_sigmoid),
    "slim": Scheme(_slim, _slim),
    "caffe": Scheme(_caffe, _caffe),
    "pytorchcv": Scheme(_pytorchcv, _pytorchcv),
}


def initialize(module: AnyModule, scheme: str = "tensorflow", rng: Generator | None = None) -> None:
    """Start every weight below ``module`` anew, and give its dropouts the generator.

    Each weight gets a seed of its own from ``rng``, in the order of the computation, and is
    drawn when it is needed: the order of use does not change the values.

    Parameters
    ----------
    module : Module
    scheme : str
        A name of ``SCHEMES``.
    rng : numpy.random.Generator, optional
        None draws fresh entropy.

    Raises
    ------
    ArgumentError
        If there is no such scheme, ``module`` is no Module, or ``rng`` no generator.

    Examples
    --------
    >>> from minigrad import nn
    >>> one, two = nn.Linear(2, 2), nn.Linear(2, 2)
    >>> for layer in (one, two):
    ...     initialize(layer, "slim", np.random.default_rng(0))
    >>> bool((one.weight == two.weight).all())
    True
    """
    if not isinstance(module, Module):
        raise ArgumentError(f"initialize: module must be a Module, not {quoted(module)}")
    if rng is not None and not isinstance(rng, np.random.Generator):
        raise ArgumentError(f"initialize: rng must be a Generator, not {quoted(rng)}")
    scheme = one_of("initialize", "scheme", scheme, tuple(SCHEMES))
    for part in module.modules():
        if "rng" in part.__dict__:
            part.__dict__["rng"] = rng
        weight = part.__dict__.get("weight")
        if isinstance(weight, Parameter) and weight.ndim > 1:
            groups = part.__dict__.get("groups", 1)
            weight.redraw(choose(weight.shape, groups, scheme), _seed(rng))


def choose(shape: Shape, groups: int = 1, scheme: str = "tensorflow") -> Draw:
    """What draws a weight of this shape.

    Parameters
    ----------
    shape : tuple of int
        (O, I) of a linear layer, or (Cout, Cin/groups, kh, kw) of a convolution.
    groups : int
    scheme : str
        A name of ``SCHEMES``.

    Returns
    -------
    callable
        ``draw(shape, seed) -> ndarray``.

    Raises
    ------
    ArgumentError
        If there is no such scheme.

    Examples
    --------
    >>> choose((8, 4, 3, 3))((8, 4, 3, 3), 0).shape
    (8, 4, 3, 3)
    """
    scheme = one_of("choose", "scheme", scheme, tuple(SCHEMES))
    chooser = SCHEMES[scheme].conv if len(shape) == 4 else SCHEMES[scheme].linear
    return chooser(shape, groups)


def _seed(rng: Generator | None) -> int | None:
    return None if rng is None else int(rng.integers(1 << 63))
