"""The arithmetic of windows.

Along one axis an output position p and a kernel tap a (dilation d, stride s, pad P
before) read the input position

    h = p s - P + a d,        0 <= p < out,

with

    out = floor((H + P + P' - d (k - 1) - 1) / s) + 1,

P' being the pad after.  Everything in this file is that one formula, solved for one
of its letters: for ``out``, for the pads that give a wanted ``out`` (TensorFlow's SAME),
or for the range of p whose h lies inside the input, which is what lets a kernel run
without a bounds test.

Source: Dumoulin & Visin, "A guide to convolution arithmetic for deep learning" (2016).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from minigrad.arguments import LARGEST, index, integer, quoted
from minigrad.errors import ShapeError
from minigrad.records import NamedTuple

__all__ = [
    "KINDS",
    "Axis",
    "ConvSpec",
    "Pads",
    "PoolWindow",
    "axes",
    "classify",
    "conv_output_shape",
    "conv_spec",
    "output_size",
    "pair",
    "resolve_padding",
    "same_padding",
    "span",
    "valid_range",
]

Pair = tuple[int, int]
Pads = tuple[Pair, Pair]
Padding = int | Sequence[int] | Sequence[Sequence[int]] | str


KINDS = ("pointwise", "depthwise", "dense", "general")


class ConvSpec(NamedTuple):
    """How a window moves: everything about a convolution but its arrays.

    Attributes
    ----------
    stride, dilation : (int, int)
        Vertical, horizontal.
    padding : ((int, int), (int, int))
        ((top, bottom), (left, right)), always explicit: ``"same"`` is resolved before.
    groups : int
        Input and output channels are cut into this many independent parts.
    """

    stride: Pair = (1, 1)
    padding: Pads = ((0, 0), (0, 0))
    dilation: Pair = (1, 1)
    groups: int = 1


def classify(spec: ConvSpec, w_shape: Sequence[int]) -> str:
    """The kind of a convolution: which loops of T fall away.

    >>> classify(ConvSpec(), (96, 16, 1, 1)), classify(ConvSpec(groups=96), (96, 1, 3, 3))
    ('pointwise', 'depthwise')
    >>> classify(ConvSpec(), (32, 16, 3, 1)), classify(ConvSpec(groups=2), (32, 8, 3, 3))
    ('dense', 'general')
    """
    cout, cin_per_group, kh, kw = w_shape
    if spec.groups == 1:
        unpadded = spec.padding == ((0, 0), (0, 0))
        return "pointwise" if (kh, kw) == (1, 1) and unpadded else "dense"
    if spec.groups == cout and cin_per_group == 1:
        return "depthwise"
    return "general"


def pair(value: object, name: str, least: int = 1) -> Pair:
    """``value`` as (vertical, horizontal), both between ``least`` and ``LARGEST``.

    >>> pair(2, "stride")
    (2, 2)
    """
    if type(value) is int and least <= value <= LARGEST:  # nearly always
        return value, value
    if isinstance(value, (tuple, list)) and len(value) == 2:
        v, h = value
        if type(v) is type(h) is int and least <= min(v, h) and max(v, h) <= LARGEST:
            return v, h
    try:
        two: Any = value if _is_sequence(value) else (value, value)
        first, second = two
        found = index(first), index(second)
    except (TypeError, ValueError):
        found = least - 1, least - 1
    if min(found) < least or max(found) > LARGEST:
        limits = f">= {least}" if max(found) <= LARGEST else f"<= {LARGEST}"
        raise ShapeError(f"{name} must be an integer {limits} or two of them, not {quoted(value)}")
    return found


def _is_sequence(value: object) -> bool:
    sized = hasattr(value, "__len__") and getattr(value, "ndim", 1) != 0
    return sized and not isinstance(value, (str, bytes, dict))


def span(kernel: int, dilation: int) -> int:
    """How many input positions a dilated window covers: d (k - 1) + 1."""
    return dilation * (kernel - 1) + 1


def output_size(
    size: int, kernel: int, stride: int, pads: Pair, dilation: int = 1, ceil_mode: bool = False
) -> int:
    """Number of window positions along one axis.

    With ``ceil_mode`` the division rounds up, and a last window that would begin in the
    pad after the input is dropped (PyTorch's rule): a window that is larger than the padded
    input by less than a stride still counts.  An empty input gives an empty output.

    >>> output_size(112, 3, 2, (0, 0)), output_size(112, 3, 2, (0, 0), ceil_mode=True)
    (55, 56)
    >>> output_size(2, 3, 2, (0, 0), ceil_mode=True)
    1
    """
    free = size + pads[0] + pads[1] - span(kernel, dilation)
    out = (-(-free // stride) if ceil_mode else free // stride) + 1
    if ceil_mode and (out - 1) * stride >= size + pads[0]:
        out -= 1
    if out > 0:
        return out
    if size == 0:
        return 0
    raise ShapeError(
        f"a window of {span(kernel, dilation)} (kernel {kernel}, dilation {dilation}) does not "
        f"fit an input of {size} with pads {pads}"
    )


def same_padding(size: int, kernel: int, stride: int, dilation: int = 1) -> Pair:
    """TensorFlow's SAME: out = ceil(size / stride), the odd pixel after.

    >>> same_padding(224, 3, 2), same_padding(225, 3, 2)
    ((0, 1), (1, 1))
    """
    out = -(-size // stride)
    total = max((out - 1) * stride + span(kernel, dilation) - size, 0)
    return total // 2, total - total // 2


def resolve_padding(
    padding: Padding, size: Pair, kernel: Pair, stride: Pair, dilation: Pair = (1, 1)
) -> Pads:
    """Any accepted form of ``padding`` as ((top, bottom), (left, right)).

    Accepted: an integer; (vertical, horizontal); ((top, bottom), (left, right));
    ``"valid"``; ``"same"``, which is TensorFlow's and depends on ``size``.

    >>> resolve_padding("same", (224, 224), (3, 3), (2, 2))
    ((0, 1), (0, 1))
    """
    if isinstance(padding, str):
        if padding == "valid":
            return (0, 0), (0, 0)
        if padding == "same":
            top, left = (
                same_padding(*args) for args in zip(size, kernel, stride, dilation, strict=True)
            )
            return top, left
        raise ShapeError(f"padding must be 'same', 'valid' or numbers, not {quoted(padding)}")
    given: Any = padding
    if _is_sequence(given) and len(given) == 2 and any(map(_is_sequence, given)):
        return pair(given[0], "padding", 0), pair(given[1], "padding", 0)
    v, h = pair(given, "padding", 0)
    return (v, v), (h, h)


def conv_spec(
    x_shape: Sequence[int],
    w_shape: Sequence[int],
    stride: int | Sequence[int] = 1,
    padding: Padding = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> ConvSpec:
    """The ConvSpec of one call, after every check that shapes alone allow.

    Raises
    ------
    ShapeError
        If x is not (N, Cin, H, W), w not (Cout, Cin/groups, kh, kw), or they do not fit.
    """
    known = type(x_shape) is type(w_shape) is tuple and _plain((stride, padding, dilation, groups))
    make = _known_spec if known else _conv_spec
    return make(x_shape, w_shape, stride, padding, dilation, groups)


def _plain(value: object) -> bool:
    """Whether ``value`` is text, an int or a tuple of such: what is equal to it means the same.

    1.0 and True are equal to 1 too, and refused.
    """
    if type(value) is not tuple:
        return type(value) is int or type(value) is str
    for part in value:  # noqa: SIM110  a third of the time that all() takes
        if type(part) is not int and not _plain(part):
            return False
    return True


def _conv_spec(
    x_shape: Sequence[int],
    w_shape: Sequence[int],
    stride: int | Sequence[int],
    padding: Padding,
    dilation: int | Sequence[int],
    groups: int,
) -> ConvSpec:
    groups = integer("conv2d", "groups", groups)
    _check_shapes(x_shape, w_shape, groups)
    s, d = pair(stride, "stride"), pair(dilation, "dilation")
    size, kernel = (x_shape[2], x_shape[3]), (w_shape[2], w_shape[3])
    return ConvSpec(s, resolve_padding(padding, size, kernel, s, d), d, groups)


_known_spec = lru_cache(maxsize=4096)(_conv_spec)


def _check_shapes(x_shape: Sequence[int], w_shape: Sequence[int], groups: int) -> None:
    if len(x_shape) != 4:
        raise ShapeError(f"conv2d: x must be (N, C, H, W), got shape {tuple(x_shape)}")
    if len(w_shape) != 4 or min(w_shape[2:]) < 1:
        raise ShapeError(f"conv2d: w must be (Cout, Cin/groups, kh, kw), got {tuple(w_shape)}")
    if groups < 1 or x_shape[1] % groups or w_shape[0] % groups:
        raise ShapeError(
            f"conv2d: groups={groups} must divide both Cin={x_shape[1]} and Cout={w_shape[0]}"
        )
    if x_shape[1] != w_shape[1] * groups:
        raise ShapeError(
            f"conv2d: w of shape {tuple(w_shape)} with groups={groups} takes "
            f"{w_shape[1] * groups} input channels, but x has shape {tuple(x_shape)}"
        )


def conv_output_shape(
    x_shape: Sequence[int], w_shape: Sequence[int], spec: ConvSpec
) -> tuple[int, int, int, int]:
    """(N, Cout, Ho, Wo).

    >>> conv_output_shape((1, 3, 224, 224), (32, 3, 3, 3), ConvSpec((2, 2), ((0, 1), (0, 1))))
    (1, 32, 112, 112)
    """
    return _output_shape(tuple(x_shape), tuple(w_shape), spec)


@lru_cache(maxsize=4096)
def _output_shape(x: Sequence[int], w: Sequence[int], spec: ConvSpec) -> tuple[int, int, int, int]:
    axes = zip(x[2:], w[2:], spec.stride, spec.padding, spec.dilation, strict=True)
    ho, wo = (output_size(*axis) for axis in axes)
    return x[0], w[0], ho, wo


def valid_range(size: int, out: int, tap: int, stride: int, before: int, dilation: int) -> Pair:
    """The half-open range of p whose tap lies inside the input.

    0 <= p s - P + a d < H  solved for p, cut to 0 <= p < out.

    >>> valid_range(size=5, out=5, tap=0, stride=1, before=1, dilation=1)
    (1, 5)
    """
    offset = tap * dilation - before
    first = max(0, -(offset // stride))
    last = min(out, (size - 1 - offset) // stride + 1)
    return first, max(first, last)


class Axis(NamedTuple):
    """One axis of a window: h = p s - P + a d couples an input h, an output p and a tap a."""

    size: int
    out: int
    kernel: int
    stride: int
    before: int
    dilation: int

    def valid(self, tap: int) -> Pair:
        """``valid_range`` of a tap."""
        return valid_range(self.size, self.out, tap, self.stride, self.before, self.dilation)

    def reads(self, p: int) -> list[Pair]:
        """The taps of an output, with the inputs that they read: (a, h), in ascending order.

        >>> Axis(size=5, out=5, kernel=3, stride=1, before=1, dilation=1).reads(4)
        [(0, 3), (1, 4)]
        """
        start = p * self.stride - self.before
        reads = [(a, start + a * self.dilation) for a in range(self.kernel)]
        return [(a, h) for a, h in reads if 0 <= h < self.size]

    def readers(self, h: int) -> list[Pair]:
        """The taps that reach an input, with the outputs that have them: (a, p), ascending in a.

        >>> Axis(size=5, out=3, kernel=3, stride=2, before=1, dilation=1).readers(3)
        [(0, 2), (2, 1)]
        """
        steps = [(a, h + self.before - a * self.dilation) for a in range(self.kernel)]
        places = [(a, step // self.stride) for a, step in steps if step % self.stride == 0]
        return [(a, p) for a, p in places if 0 <= p < self.out]


class PoolWindow(NamedTuple):
    """The window of a pool: a ConvSpec without channels, and how sizes are rounded."""

    kernel: Pair
    stride: Pair
    padding: Pads = ((0, 0), (0, 0))
    dilation: Pair = (1, 1)
    ceil_mode: bool = False

    def output_shape(self, x_shape: Sequence[int]) -> tuple[int, int, int, int]:
        """(N, C, Ho, Wo) of the pooled map."""
        return _pooled_shape(tuple(x_shape), self)


def axes(
    size: Sequence[int], out: Sequence[int], kernel: Sequence[int], spec: ConvSpec | PoolWindow
) -> tuple[Axis, Axis]:
    """Both axes of a window, of the heights and widths of its input, its output and itself."""
    rows, cols = (
        Axis(size[i], out[i], kernel[i], spec.stride[i], spec.padding[i][0], spec.dilation[i])
        for i in (0, 1)
    )
    return rows, cols


@lru_cache(maxsize=4096)
def _pooled_shape(x_shape: Sequence[int], window: PoolWindow) -> tuple[int, int, int, int]:
    if len(x_shape) != 4:
        raise ShapeError(f"pool2d: x must be (N, C, H, W), got shape {x_shape}")
    kernel, stride, padding, dilation, ceil_mode = window
    axes = zip(x_shape[2:], kernel, stride, padding, dilation, strict=True)
    ho, wo = (output_size(*axis, ceil_mode) for axis in axes)
    return x_shape[0], x_shape[1], ho, wo
