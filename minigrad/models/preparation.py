"""How the photographs were prepared that a network was trained on: plain data.

A network keeps the accuracy of its paper only with the preparation it was trained with, and
gets quietly worse with another.  It depends on the weights as well as on the network:
torchvision's MobileNetV2 was trained otherwise than TensorFlow's.  Each family states one
preparation for each of its presets; ``minigrad.vision`` carries it out.

They were read in the libraries' own files; each family says which beside its table.  Where a
library has several weights under one name (torchvision's V1 and V2, timm's tags), it is the
preparation of the first, or of the one that timm takes by default, at the size that it is
tested at.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["IMAGENET", "SIGNED", "Framing", "Preparation"]

Triple = tuple[float, float, float]


class Preparation(NamedTuple):
    """From a photograph to the numbers that a network reads.

    Of an upright photograph of h x w pixels the network sees a square of S x S.  With
    ``crop_first`` (TensorFlow) the centre square of side ``floor(S / (S + m) min(h, w))`` is
    cut out and scaled to S.  Otherwise (torchvision) the short side is scaled to ``S + m`` and
    the centre square of side S is cut out.  With ``squash`` the two sides are scaled apart, and
    a long photograph becomes a square: of each side the middle ``S / (S + m)`` is kept, cut out
    before it is scaled to S or after it is scaled to ``S + m``.  Then, for each channel c,

        x[c, i, j] = (pixel[i, j, c] - mean[c]) / std[c],        pixel in 0..255.

    Attributes
    ----------
    size : int
        S, the side of the square.
    margin : int
        m, in pixels of the scaled photograph.
    crop_first : bool
        Cut out and then scale, or scale and then cut out.
    resample : {"bilinear", "bicubic"}
        Pillow's filter of that name, which widens with the scale, so nothing aliases.
    mean, std : (float, float, float)
        Of the three channels, on the scale 0..255.
    order : {"RGB", "BGR"}
        The order of the channels, also in ``mean`` and ``std``.
    squash : bool
        Scale height and width apart, instead of cutting off what is outside of a square.

    Examples
    --------
    >>> IMAGENET._replace(size=240).size
    240
    """

    size: int = 224
    margin: int = 32
    crop_first: bool = False
    resample: str = "bilinear"
    mean: Triple = (123.675, 116.28, 103.53)
    std: Triple = (58.395, 57.12, 57.375)
    order: str = "RGB"
    squash: bool = False


class Framing(NamedTuple):
    """From a photograph to the numbers of a network that says something of all of its places.

    Nothing is cut off.  A photograph of h x w pixels is scaled to H x W pixels, which is what
    the network sees:

    * ``"squash"``: S x S, the two sides apart;
    * ``"short"``: the short side becomes S, the shape is kept;
    * ``"letterbox"``: the long side becomes S, the shape is kept; right of it and below it the
      mean colour fills an S x S square.

    Then mean and std are applied as a `Preparation` does.

    Attributes
    ----------
    size : int
        S.
    fit : {"squash", "short", "letterbox"}
    mean, std, order
        As a `Preparation` has them.
    antialias : bool
        Whether the bilinear filter widens where the photograph is made smaller (Pillow), or
        reads four pixels whatever the scale (PyTorch's ``interpolate``, TensorFlow).

    Examples
    --------
    >>> Framing(320, "squash").antialias
    True
    """

    size: int = 520
    fit: str = "short"
    mean: Triple = (123.675, 116.28, 103.53)
    std: Triple = (58.395, 57.12, 57.375)
    order: str = "RGB"
    antialias: bool = True


IMAGENET = Preparation()
"""torchvision's for most networks: bilinear, 256 to 224, the mean and deviation of ImageNet."""
SIGNED = Preparation(crop_first=True, squash=True, mean=(127.5,) * 3, std=(127.5,) * 3)
"""TensorFlow slim's: seven eighths of each side, scaled apart, on the scale -1..1."""
