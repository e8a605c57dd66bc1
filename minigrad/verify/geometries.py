"""The sizes and words that the cases of each operation have: small, and each for a reason.

A size has a letter: n images, c channels (i of each group, o out, m per input channel), h rows,
w columns, kh and kw taps; f features in, k out or classes.  ``LETTERS`` says which array has which.
"""

from __future__ import annotations

from typing import Any, NamedTuple

__all__ = ["GEOMETRIES", "LETTERS", "Geometry", "Words"]

Words = dict[str, Any]


class Geometry(NamedTuple):
    """Sizes by their letters, and the words of the call."""

    name: str
    sizes: dict[str, int]
    words: Words


# The letters of every array of an operation, in the order of its parameters.  "c" of a
# convolution is i times the groups, "cm" c times m.
LETTERS: dict[str, dict[str, tuple[str, ...]]] = {
    "conv2d": {"x": ("n", "c", "h", "w"), "w": ("o", "i", "kh", "kw"), "bias": ("o",)},
    "depthwise_conv2d": {"x": ("n", "c", "h", "w"), "w": ("cm", "1", "kh", "kw"), "bias": ("cm",)},
    "linear": {"x": ("n", "f"), "w": ("k", "f"), "bias": ("k",)},
    "matmul": {"a": ("n", "f"), "b": ("f", "k")},
    "sum": {"x": ("n", "c", "h", "w")},
    "mean": {"x": ("n", "c", "h", "w")},
    "max_pool2d": {"x": ("n", "c", "h", "w")},
    "avg_pool2d": {"x": ("n", "c", "h", "w")},
    "global_avg_pool": {"x": ("n", "c", "h", "w")},
    "softmax": {"x": ("n", "k")},
    "log_softmax": {"x": ("n", "k")},
    "add": {"a": ("n", "f"), "b": ("n", "f")},
    "mul": {"a": ("n", "f"), "b": ("n", "f")},
    "batch_norm": {
        "x": ("n", "c", "h", "w"), "running_mean": ("c",), "running_var": ("c",),
        "weight": ("c",), "bias": ("c",),
    },
    "inverted_residual": {
        "x": ("n", "c", "h", "w"), "expand_w": ("m", "c", "1", "1"), "expand_bias": ("m",),
        "depthwise_w": ("m", "1", "kh", "kw"), "depthwise_bias": ("m",),
        "project_w": ("o", "m", "1", "1"), "project_bias": ("o",),
    },
    "squeezenext_block": {
        "x": ("n", "c", "h", "w"), "reduce_w": ("m", "c", "1", "1"), "reduce_bias": ("m",),
        "squeeze_w": ("k", "m", "1", "1"), "squeeze_bias": ("k",),
        "vertical_w": ("m", "k", "3", "1"), "vertical_bias": ("m",),
        "horizontal_w": ("m", "m", "1", "3"), "horizontal_bias": ("m",),
        "expand_w": ("o", "m", "1", "1"), "expand_bias": ("o",),
        "shortcut_w": ("o", "c", "1", "1"), "shortcut_bias": ("o",),
    },
    **{
        name: {"x": ("n", "f")}
        for name in (
            "absolute", "exp", "hardsigmoid", "hardswish", "neg", "relu", "relu6", "sigmoid",
            "silu", "tanh",
        )
    },
}  # fmt: skip


def _conv(
    name: str, x: tuple[int, int, int, int], o: int, kernel: tuple[int, int], **words: object
) -> Geometry:
    """x is (n, i, h, w): with groups there are i times as many channels."""
    sizes = dict(zip("nihw", x, strict=True)) | {"o": o, "kh": kernel[0], "kw": kernel[1]}
    return Geometry(name, sizes, words)


CONVOLUTIONS = (
    _conv("one pixel", (1, 1, 1, 1), 1, (1, 1)),
    _conv("1x1", (2, 8, 5, 4), 16, (1, 1)),
    _conv("1x1, prime channels", (1, 7, 3, 5), 13, (1, 1)),
    _conv("1x1, stride 2", (2, 5, 5, 6), 4, (1, 1), stride=2),
    _conv("3x3, padding 1", (2, 3, 5, 7), 4, (3, 3), padding=1),
    _conv("3x3, stride 2, padding 1", (1, 4, 7, 8), 5, (3, 3), stride=2, padding=1),
    _conv("3x3, stride 2, SAME", (1, 3, 6, 8), 4, (3, 3), stride=2, padding="same"),
    _conv("3x3, stride 2, SAME, odd sizes", (1, 3, 7, 5), 4, (3, 3), stride=2, padding="same"),
    _conv("3x2, stride 3, SAME, dilation 2", (1, 2, 8, 10), 3, (3, 2), stride=3, padding="same",
          dilation=2),
    _conv("one-sided padding", (1, 3, 4, 5), 4, (2, 2), padding=((0, 1), (1, 0))),
    _conv("pads 3, 0, 1, 2", (1, 2, 4, 4), 3, (3, 2), padding=((3, 0), (1, 2))),
    _conv("window larger than the input", (1, 3, 3, 2), 4, (5, 5), padding=2),
    _conv("stride larger than the window", (1, 3, 8, 9), 4, (2, 2), stride=3),
    _conv("dilation 2", (1, 3, 7, 8), 4, (3, 3), dilation=2, padding=2),
    _conv("strides 2 and 1, dilations 1 and 2", (1, 2, 6, 9), 3, (2, 3), stride=(2, 1),
          dilation=(1, 2)),
    _conv("3x1", (1, 4, 6, 3), 4, (3, 1), padding=(1, 0)),
    _conv("1x3", (1, 4, 3, 6), 4, (1, 3), padding=(0, 1)),
    _conv("7x7, stride 2", (1, 3, 11, 9), 4, (7, 7), stride=2, padding=3),
    _conv("2 groups", (2, 3, 4, 5), 6, (3, 3), groups=2, padding=1),
    _conv("3 groups, 1x1", (1, 5, 3, 4), 12, (1, 1), groups=3),
    _conv("depthwise", (2, 1, 5, 6), 5, (3, 3), groups=5, padding=1),
    _conv("depthwise, multiplier 2", (1, 1, 5, 4), 6, (3, 3), groups=3, padding=1),
    _conv("a map of width 1", (2, 3, 9, 1), 4, (3, 3), padding=1),
    _conv("a map of height 1", (1, 3, 1, 9), 4, (3, 3), padding=1),
    _conv("15 channels, 7 columns", (1, 15, 2, 7), 15, (1, 1)),
    _conv("16 channels, 8 columns", (1, 16, 2, 8), 16, (1, 1)),
    _conv("17 channels, 9 columns", (1, 17, 2, 9), 17, (1, 1)),
    _conv("33 columns", (1, 2, 3, 33), 3, (3, 3), padding=1),
    _conv("wide, 1x1", (1, 1031, 2, 2), 3, (1, 1)),
    _conv("wide, 3x3", (1, 577, 3, 3), 2, (3, 3), padding=1),
    _conv("empty batch", (0, 3, 4, 4), 4, (3, 3), padding=1),
)  # fmt: skip


def _depthwise(
    name: str, x: tuple[int, int, int, int], kernel: tuple[int, int], m: int = 1, **words: object
) -> Geometry:
    sizes = dict(zip("nchw", x, strict=True)) | {"m": m, "kh": kernel[0], "kw": kernel[1]}
    return Geometry(name, sizes, words)


DEPTHWISE = (
    _depthwise("one pixel", (1, 1, 1, 1), (1, 1)),
    _depthwise("3x3, padding 1", (2, 5, 5, 6), (3, 3), padding=1),
    _depthwise("3x3, stride 2, padding 1", (1, 16, 7, 8), (3, 3), stride=2, padding=1),
    _depthwise("3x3, stride 2, SAME", (1, 8, 6, 8), (3, 3), stride=2, padding="same"),
    _depthwise("5x5, stride 2, SAME", (1, 7, 9, 10), (5, 5), stride=2, padding="same"),
    _depthwise("one-sided padding", (1, 3, 4, 5), (2, 3), padding=((0, 1), (2, 0))),
    _depthwise("dilation 2", (1, 3, 7, 6), (3, 3), dilation=2, padding=2),
    _depthwise("window larger than the input", (1, 4, 2, 3), (5, 5), padding=2),
    _depthwise("stride larger than the window", (1, 4, 7, 8), (2, 2), stride=3),
    _depthwise("multiplier 3", (2, 5, 4, 5), (3, 3), m=3, padding=1),
    _depthwise("a map of width 1", (1, 4, 9, 1), (3, 3), padding=1),
    _depthwise("17 channels, 9 columns", (1, 17, 3, 9), (3, 3), padding=1),
    _depthwise("global, 9x9", (1, 6, 9, 9), (9, 9)),
    _depthwise("empty batch", (0, 3, 4, 4), (3, 3), padding=1),
)


def _maps(name: str, n: int, c: int, h: int, w: int, **words: object) -> Geometry:
    return Geometry(name, {"n": n, "c": c, "h": h, "w": w}, words)


def _rows(name: str, **sizes: int) -> Geometry:
    return Geometry(name, sizes, {})


POOLS = (
    _maps("2x2", 2, 3, 4, 6, kernel_size=2),
    _maps("3x3, stride 2, padding 1", 1, 4, 5, 6, kernel_size=3, stride=2, padding=1),
    _maps("3x3, stride 2, ceil", 1, 2, 6, 5, kernel_size=3, stride=2, ceil_mode=True),
    _maps("2x3, one-sided padding", 1, 3, 4, 4, kernel_size=(2, 3), stride=1,
          padding=((0, 1), (1, 0))),
    _maps("stride larger than the window", 1, 17, 8, 7, kernel_size=2, stride=3),
    _maps("a map of width 1", 1, 3, 7, 1, kernel_size=(3, 1), stride=1, padding=(1, 0)),
)  # fmt: skip
MAPS = (
    _maps("one pixel", 1, 1, 1, 1),
    _maps("odd sizes", 2, 5, 7, 3),
    _maps("17 channels", 1, 17, 4, 4),
    _maps("a long map", 1, 2, 61, 67),
)
ROWS = (_rows("one", n=1, f=1), _rows("prime", n=3, f=17), _rows("around a tile", n=2, f=33))
CLASSES = (
    _rows("one class", n=2, k=1),
    _rows("ten classes", n=3, k=10),
    _rows("wide", n=2, k=1000),
)
PRODUCTS = (
    _rows("one number", n=1, f=1, k=1),
    _rows("prime sizes", n=3, f=7, k=13),
    _rows("around a tile", n=2, f=17, k=33),
    _rows("wide", n=2, f=4099, k=3),
    _rows("empty batch", n=0, f=5, k=4),
)
NORMS = (
    _maps("evaluation", 2, 5, 3, 4),
    _maps("evaluation, eps 1e-3", 1, 17, 2, 3, eps=1e-3),
    _maps("training", 3, 5, 4, 3, training=True),
    _maps("training, one image", 1, 3, 5, 5, training=True, eps=1e-3),
)


def _residual(name: str, c: int, m: int, o: int, k: int, size: int, **words: object) -> Geometry:
    sizes = {"n": 2, "c": c, "h": size, "w": size + 1, "m": m, "o": o, "kh": k, "kw": k}
    return Geometry(name, sizes, words)


BLOCKS = {
    "inverted_residual": (
        _residual("residual", 5, 13, 5, 3, 5),
        _residual("stride 2, 5x5", 4, 17, 7, 5, 6, stride=2, padding=2),
        _residual("hardswish", 3, 8, 3, 3, 4, activation="hardswish"),
    ),
    "squeezenext_block": (
        Geometry("stride 1", {"n": 2, "c": 6, "h": 4, "w": 5, "m": 4, "k": 3, "o": 6}, {}),
        Geometry("stride 2", {"n": 1, "c": 5, "h": 5, "w": 4, "m": 4, "k": 2, "o": 9},
                 {"stride": 2}),
    ),
}  # fmt: skip

GEOMETRIES: dict[str, tuple[Geometry, ...]] = {
    "conv2d": CONVOLUTIONS,
    "depthwise_conv2d": DEPTHWISE,
    **dict.fromkeys(["linear", "matmul"], PRODUCTS),
    "max_pool2d": POOLS,
    "avg_pool2d": (
        *POOLS,
        _maps("3x3, padding 1, no pad counted", 1, 2, 4, 5, kernel_size=3, stride=2, padding=1,
              count_include_pad=False),
    ),
    "global_avg_pool": MAPS,
    **dict.fromkeys(["softmax", "log_softmax"], CLASSES),
    "batch_norm": NORMS,
    **BLOCKS,
    **{
        name: tuple(g._replace(name=f"{g.name}, {label}", words=words)
                    for g in MAPS for label, words in (("all", {}), ("axis 1", {"axis": 1}),
                                                       ("axes 2 and 3", {"axis": (2, 3)})))
        for name in ("sum", "mean")
    },
    **{name: ROWS for name, arrays in LETTERS.items() if "f" in arrays.get("x", arrays.get("a", ()))
       and name not in ("linear", "matmul")},
}  # fmt: skip
