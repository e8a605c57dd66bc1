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

from minigrad.arguments import integers, quoted
from minigrad.errors import ArgumentError, ShapeError
from minigrad.geometry import ConvSpec, Padding, conv_output_shape, conv_spec
from minigrad.kernels import classify, find
from minigrad.tensor import Array, Shape, Tensor, expect_tensor, primitive

__all__ = ["conv2d", "conv2d_input_grad", "conv2d_weight_grad"]


@primitive(images=("x",))
def _conv2d(x: Array, w: Array, bias: Array | None = None, *, spec: ConvSpec) -> Array:
    """y[n,o,p,q] = bias[o] + sum_{i,a,b} w[o,i,a,b] x[n,c,h,v]."""
    y: Array = find("conv2d", classify(spec, w.shape)).call(x, w, bias, spec)
    return y


@_conv2d.shape
def _conv2d_shape(x: Shape, w: Shape, bias: Shape | None = None, *, spec: ConvSpec) -> Shape:
    return conv_output_shape(x, w, spec)


@_conv2d.vjp("x", "x̄[n,c,h,v] = Σ ȳ[n,o,p,q] w[o,i,a,b]")
def _conv2d_x(g: Tensor, w: Tensor, x_shape: Shape, spec: ConvSpec) -> Tensor:
    return _conv2d_input_grad(g, w, x_shape=x_shape, spec=spec)


@_conv2d.vjp("w", "w̄[o,i,a,b] = Σ ȳ[n,o,p,q] x[n,c,h,v]")
def _conv2d_w(g: Tensor, x: Tensor, w_shape: Shape, spec: ConvSpec) -> Tensor:
    return _conv2d_weight_grad(g, x, w_shape=w_shape, spec=spec)


@_conv2d.vjp("bias", "bias̄[o] = Σ ȳ[n,o,p,q]")
def _conv2d_bias(g: Tensor) -> Tensor:
    return g.sum(axis=(0, 2, 3))


@primitive(images=("dy",))
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
    return _conv2d_weight_grad(dy, g, w_shape=w_shape, spec=spec)


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
    return _conv2d_input_grad(dy, g, x_shape=x_shape, spec=spec)


def conv2d(
    x: Tensor,
    w: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: Padding = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor:
    """The convolution of maps with filters (a correlation: the filter is not flipped).

        y[n,o,p,q] = bias[o] + sum_{i,a,b} w[o,i,a,b] x[n, c, p s - P + a d, q s' - P' + b d']

    n counts images, o output channels, (p, q) output pixels and (a, b) the taps of a filter;
    s, P and d are the vertical stride, the pad above and the vertical dilation, s', P' and d'
    the horizontal ones.  i counts the input channels of o's group, and c = floor(o G / Cout)
    Cin / G + i is such a channel among all, G being the number of groups.  Terms outside x
    are left out, so that 0 times an infinite weight is 0 too.

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
    Tensor, (N, Cout, Ho, Wo)
        Ho = floor((H + top + bottom - d (kh - 1) - 1) / s) + 1, and Wo likewise.

    Raises
    ------
    ShapeError
        If shapes, groups or the window do not fit.
    DtypeError
        If x, w and bias are not all Tensors of float32, or all of float64.
    ArgumentError
        If a number is none of those above.

    Examples
    --------
    >>> import minigrad as mg
    >>> x, w = mg.Tensor([[[[1.0, 2.0, 3.0]]]]), mg.Tensor([[[[1.0, -1.0]]]])
    >>> mg.conv2d(x, w).numpy()
    array([[[[-1., -1.]]]], dtype=float32)
    """
    expect_tensor("conv2d", "x", x)
    expect_tensor("conv2d", "w", w)
    spec = conv_spec(x.shape, w.shape, stride, padding, dilation, groups)
    if bias is not None and expect_tensor("conv2d", "bias", bias).shape != w.shape[:1]:
        raise ShapeError(f"conv2d: bias must be ({w.shape[0]},), got {bias.shape}")
    return _conv2d(x, w, bias, spec=spec)


def _checked(function: str, shape: object, spec: object, **tensors: Tensor) -> Shape:
    """The given shape as four integers, after a look at everything else."""
    for name, x in tensors.items():
        if expect_tensor(function, name, x).ndim != 4:
            raise ShapeError(f"{function}: {name} must have four axes, got {x.shape}")
    if not isinstance(spec, ConvSpec):
        raise ArgumentError(f"{function}: spec must be a ConvSpec, not {quoted(spec)}")
    lengths = integers(function, "shape", shape)
    if len(lengths) != 4 or min(lengths) < 0:
        raise ShapeError(f"{function}: the shape must have four axes, got {quoted(shape)}")
    return lengths


def conv2d_input_grad(dy: Tensor, w: Tensor, x_shape: Shape, spec: ConvSpec) -> Tensor:
    """The transpose of x -> conv2d(x, w), also called the transposed convolution of dy with w.

        y[n,c,h,v] = the sum of dy[n,o,p,q] w[o,i,a,b] over the terms that read x[n,c,h,v]

    Parameters
    ----------
    dy : Tensor, (N, Cout, Ho, Wo)
        The cotangent of the convolution's output.
    w : Tensor, (Cout, Cin/groups, kh, kw)
    x_shape : (N, Cin, H, W)
    spec : ConvSpec
        As ``minigrad.geometry.conv_spec`` gives it for x and w.

    Returns
    -------
    Tensor, (N, Cin, H, W)

    Raises
    ------
    ShapeError
        If the shapes are not those of such a convolution.
    DtypeError, ArgumentError
        If dy and w are not Tensors of one dtype, or ``spec`` is no ConvSpec.

    Examples
    --------
    >>> import minigrad as mg
    >>> from minigrad.geometry import ConvSpec
    >>> dy, w = mg.Tensor([[[[1.0, 2.0]]]]), mg.Tensor([[[[1.0, 10.0]]]])
    >>> mg.conv2d_input_grad(dy, w, (1, 1, 1, 3), ConvSpec()).numpy()
    array([[[[ 1., 12., 20.]]]], dtype=float32)
    """
    shape = _checked("conv2d_input_grad", x_shape, spec, dy=dy, w=w)
    return _conv2d_input_grad(dy, w, x_shape=shape, spec=spec)


def conv2d_weight_grad(dy: Tensor, x: Tensor, w_shape: Shape, spec: ConvSpec) -> Tensor:
    """The transpose of w -> conv2d(x, w).

        y[o,i,a,b] = the sum of dy[n,o,p,q] x[n,c,h,v] over the terms that use w[o,i,a,b]

    Parameters
    ----------
    dy : Tensor, (N, Cout, Ho, Wo)
        The cotangent of the convolution's output.
    x : Tensor, (N, Cin, H, W)
    w_shape : (Cout, Cin/groups, kh, kw)
    spec : ConvSpec
        As ``minigrad.geometry.conv_spec`` gives it for x and w.

    Returns
    -------
    Tensor, (Cout, Cin/groups, kh, kw)

    Raises
    ------
    ShapeError
        If the shapes are not those of such a convolution.
    DtypeError, ArgumentError
        If dy and x are not Tensors of one dtype, or ``spec`` is no ConvSpec.

    Examples
    --------
    >>> import minigrad as mg
    >>> from minigrad.geometry import ConvSpec
    >>> dy, x = mg.Tensor([[[[1.0, 1.0]]]]), mg.Tensor([[[[1.0, 2.0, 3.0]]]])
    >>> mg.conv2d_weight_grad(dy, x, (1, 1, 1, 2), ConvSpec()).numpy()
    array([[[[3., 5.]]]], dtype=float32)
    """
    shape = _checked("conv2d_weight_grad", w_shape, spec, dy=dy, x=x)
    return _conv2d_weight_grad(dy, x, w_shape=shape, spec=spec)
