"""Convolution: one trilinear form, and the three functions that it is made of.

    T(x, w, g) = sum_{n,o,p,q} g[n,o,p,q] sum_{i,a,b} w[o,i,a,b] x[n, ch(o,i), h, v]

    h = p s - P + a d,   v = q s' - P' + b d',   ch(o,i) = floor(o G / Cout) Cin/G + i

T is linear in each argument, so its partial derivatives are the other functions:

    conv2d(x, w)            = dT/dg    x̄ = conv2d_input_grad(ȳ, w)   w̄ = conv2d_weight_grad(ȳ, x)
    conv2d_input_grad(g, w) = dT/dx    ḡ = conv2d(ȳ, w)              w̄ = conv2d_weight_grad(g, ȳ)
    conv2d_weight_grad(g,x) = dT/dw    ḡ = conv2d(x, ȳ)              x̄ = conv2d_input_grad(g, ȳ)

The table is closed: it gives derivatives of every order, for every kind of convolution.
A depthwise, a pointwise or a dense kernel is only a faster way to evaluate the same T,
chosen in ``minigrad.kernels``.
"""

from __future__ import annotations

from collections.abc import Sequence

from minigrad.geometry import ConvSpec, Padding, conv_output_shape, conv_spec
from minigrad.kernels import classify, find
from minigrad.tensor import Array, Shape, Tensor, primitive

__all__ = ["conv2d", "conv2d_input_grad", "conv2d_weight_grad"]


@primitive
def _conv2d(x: Array, w: Array, bias: Array | None = None, *, spec: ConvSpec) -> Array:
    """y[n,o,p,q] = bias[o] + sum_{i,a,b} w[o,i,a,b] x[n,c,h,v]."""
    y: Array = find("conv2d", classify(spec, w.shape)).call(x, w, bias, spec)
    return y


@_conv2d.shape
def _conv2d_shape(x: Shape, w: Shape, bias: Shape | None = None, *, spec: ConvSpec) -> Shape:
    return conv_output_shape(x, w, spec)


@_conv2d.vjp("x", "x̄[n,c,h,v] = Σ ȳ[n,o,p,q] w[o,i,a,b]")
def _conv2d_x(g: Tensor, w: Tensor, x_shape: Shape, spec: ConvSpec) -> Tensor:
    return conv2d_input_grad(g, w, x_shape, spec)


@_conv2d.vjp("w", "w̄[o,i,a,b] = Σ ȳ[n,o,p,q] x[n,c,h,v]")
def _conv2d_w(g: Tensor, x: Tensor, w_shape: Shape, spec: ConvSpec) -> Tensor:
    return conv2d_weight_grad(g, x, w_shape, spec)


@_conv2d.vjp("bias", "bias̄[o] = Σ ȳ[n,o,p,q]")
def _conv2d_bias(g: Tensor) -> Tensor:
    return g.sum(axis=(0, 2, 3))


@primitive
def _conv2d_input_grad(dy: Array, w: Array, *, x_shape: Shape, spec: ConvSpec) -> Array:
    """y[n,c,h,v] = the sum of dy[n,o,p,q] w[o,i,a,b] over the terms that read x[n,c,h,v]."""
    kernel = find("conv2d_input_grad", classify(spec, w.shape))
    y: Array = kernel.call(dy, w, x_shape, spec)
    return y


@_conv2d_input_grad.shape
def _input_grad_shape(dy: Shape, w: Shape, *, x_shape: Shape, spec: ConvSpec) -> Shape:
    return x_shape


@_conv2d_input_grad.vjp("dy", "d̄y[n,o,p,q] = Σ w[o,i,a,b] ȳ[n,c,h,v]")
def _input_grad_dy(g: Tensor, w: Tensor, spec: ConvSpec) -> Tensor:
    return _conv2d(g, w, None, spec=spec)


@_conv2d_input_grad.vjp("w", "w̄[o,i,a,b] = Σ dy[n,o,p,q] ȳ[n,c,h,v]")
def _input_grad_w(g: Tensor, dy: Tensor, w_shape: Shape, spec: ConvSpec) -> Tensor:
    return conv2d_weight_grad(dy, g, w_shape, spec)


@primitive
def _conv2d_weight_grad(dy: Array, x: Array, *, w_shape: Shape, spec: ConvSpec) -> Array:
    """y[o,i,a,b] = the sum of dy[n,o,p,q] x[n,c,h,v] over the terms that use w[o,i,a,b]."""
    kernel = find("conv2d_weight_grad", classify(spec, w_shape))
    y: Array = kernel.call(dy, x, w_shape, spec)
    return y


@_conv2d_weight_grad.shape
def _weight_grad_shape(dy: Shape, x: Shape, *, w_shape: Shape, spec: ConvSpec) -> Shape:
    return w_shape


@_conv2d_weight_grad.vjp("dy", "d̄y[n,o,p,q] = Σ ȳ[o,i,a,b] x[n,c,h,v]")
def _weight_grad_dy(g: Tensor, x: Tensor, spec: ConvSpec) -> Tensor:
    return _conv2d(x, g, None, spec=spec)


@_conv2d_weight_grad.vjp("x", "x̄[n,c,h,v] = Σ dy[n,o,p,q] ȳ[o,i,a,b]")
def _weight_grad_x(g: Tensor, dy: Tensor, x_shape: Shape, spec: ConvSpec) -> Tensor:
    return conv2d_input_grad(dy, g, x_shape, spec)


def conv2d(
    x: Tensor,
    w: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: Padding = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor:
    """y[n,o,p,q] = bias[o] + sum_{i,a,b} w[o,i,a,b] x[n, ch(o,i), p s - P + a d, q s' - P' + b d'].

    Terms outside x are 0 (they are left out, so that 0 times an infinite weight is 0 too).

    Parameters
    ----------
    x : Tensor, (N, Cin, H, W)
    w : Tensor, (Cout, Cin/groups, kh, kw)
    bias : Tensor, (Cout,), optional
    stride, dilation : int or (vertical, horizontal)
    padding : int, (vertical, horizontal), ((top, bottom), (left, right)), "same" or "valid"
        ``"same"`` is TensorFlow's: out = ceil(size / stride), the odd pixel after.
    groups : int
        1 for a full convolution, Cin for a depthwise one.

    Returns
    -------
    Tensor, (N, Cout, Ho, Wo), with
        Ho = floor((H + top + bottom - d (kh - 1) - 1) / s) + 1.

    Raises
    ------
    ShapeError
        If shapes, groups or the window do not fit.
    DtypeError
        If x, w and bias are not all float32 or all float64.

    Examples
    --------
    >>> import minigrad as mg
    >>> x, w = mg.Tensor([[[[1.0, 2.0, 3.0]]]]), mg.Tensor([[[[1.0, -1.0]]]])
    >>> mg.conv2d(x, w).numpy()
    array([[[[-1., -1.]]]])
    """
    spec = conv_spec(x.shape, w.shape, stride, padding, dilation, groups)
    return _conv2d(x, w, bias, spec=spec)


def conv2d_input_grad(dy: Tensor, w: Tensor, x_shape: Shape, spec: ConvSpec) -> Tensor:
    """dT/dx at (w, dy): the transpose of x -> conv2d(x, w), of shape ``x_shape``.

    This is also the transposed convolution of dy with w.
    """
    return _conv2d_input_grad(dy, w, x_shape=x_shape, spec=spec)


def conv2d_weight_grad(dy: Tensor, x: Tensor, w_shape: Shape, spec: ConvSpec) -> Tensor:
    """dT/dw at (x, dy): the transpose of w -> conv2d(x, w), of shape ``w_shape``."""
    return _conv2d_weight_grad(dy, x, w_shape=w_shape, spec=spec)
