"""Opening a photograph: which files are read, how large they may be, and which way is up.

A file is opened if it is a regular file of a format in `FORMATS`, whatever it is called.  Its
pixels are counted before they are decoded: a photograph has at most `MAX_PIXELS`, so that a
camera of 108 million pixels is admitted and a bomb is not.  Decoding takes up to 16 bytes a
pixel (WebP), mostly 4 to 8.
"""

from __future__ import annotations

import io
import logging
import os
import stat
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import IO, TYPE_CHECKING, NamedTuple, TypeGuard, cast

import numpy as np
import numpy.typing as npt

from minigrad.errors import FormatError, MissingExtra, ShapeError
from minigrad.vision.containers import Container, examine, exif_orientation, sniff, xmp_orientation
from minigrad.vision.pixels import Levels, to_rgb

if TYPE_CHECKING:
    from typing import TypeAlias

    from PIL import Image

    Source: TypeAlias = (
        str | os.PathLike[str] | bytes | IO[bytes] | Image.Image | npt.NDArray[np.generic]
    )

__all__ = ["MAX_PIXELS", "SUFFIXES", "Photo", "open_photo", "read_photo"]

# The endings by which a folder is searched for photographs.
SUFFIXES = (".bmp", ".gif", ".jfif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff",
            ".webp")  # fmt: skip
MAX_PIXELS = 128_000_000
RUN_LENGTH_PIXELS = 4_000_000  # of a compressed BMP, which Pillow decodes in Python
MODULES = {"JPEG": "Jpeg", "PNG": "Png", "GIF": "Gif", "WebP": "WebP", "TIFF": "Tiff",
           "BMP": "Bmp", "Netpbm": "Ppm"}  # fmt: skip
# EXIF's orientation: the transposition that puts the picture upright.
UPRIGHT = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE",
           6: "ROTATE_270", 7: "TRANSVERSE", 8: "ROTATE_90"}  # fmt: skip

Box = tuple[int, int, int, int]


class Photo(NamedTuple):
    """A photograph that is open; its pixels are as they are stored until they are asked for."""

    image: Image.Image
    orientation: int = 1
    levels: Levels = Levels()

    @property
    def size(self) -> tuple[int, int]:
        """Width and height when it stands upright."""
        w, h = self.image.size
        return (h, w) if self.orientation >= 5 else (w, h)

    def rgb(self, box: Box | None = None) -> Image.Image:
        """Upright, in RGB; only the pixels of ``box`` (left, top, right, bottom) if given."""
        from PIL import Image

        part = self.image if box is None else self.image.crop(self._stored(box))
        rgb = to_rgb(part, self.levels)
        if self.orientation not in UPRIGHT:
            return rgb
        return rgb.transpose(Image.Transpose[UPRIGHT[self.orientation]])

    def _stored(self, box: Box) -> Box:
        """Where the file has what stands in ``box`` when the picture is upright."""
        (left, top, right, bottom), (w, h) = box, self.image.size
        if self.orientation >= 5:
            left, top, right, bottom = top, left, bottom, right
        if self.orientation in (2, 3, 7, 8):
            left, right = w - right, w - left
        if self.orientation in (3, 4, 6, 7):
            top, bottom = h - bottom, h - top
        return left, top, right, bottom


def read_photo(photo: Source, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """The first frame of a photograph as the eye sees it: upright, RGB, 8 bits.

    * The camera's orientation (EXIF, XMP) is undone.
    * Grey becomes three equal channels; of more than 8 bits, its own white becomes 255.
    * What is transparent is laid over white, as on a page.
    * Colours under a profile (ICC) become sRGB.

    Parameters
    ----------
    photo : path, bytes, file object, Pillow image or array
        See `minigrad.vision.preprocess`.
    max_pixels : int
        A picture of more is refused before it is decoded.

    Returns
    -------
    PIL.Image.Image

    Raises
    ------
    FormatError, ShapeError, OSError, MissingExtra
        See `minigrad.vision.preprocess`.

    Examples
    --------
    >>> import numpy as np
    >>> read_photo(np.zeros((4, 6, 3), np.uint8)).size
    (6, 4)
    """
    with open_photo(photo, max_pixels) as opened:
        rgb = opened.rgb()
        upright = rgb.copy() if rgb is opened.image else rgb
    upright.info = {}  # its orientation and profile are no longer those of the pixels
    return upright


@contextmanager
def open_photo(source: Source, max_pixels: int = MAX_PIXELS) -> Iterator[Photo]:
    """The photograph, and errors from inside the block as one sentence with its name."""
    _pillow()
    if isinstance(source, np.ndarray):
        yield Photo(_from_array(source))
        return
    if _is_image(source):
        _check_pixels(source.size, max_pixels)
        yield Photo(source, _told_orientation(source, exif=True), _levels(source))
        return
    name, data = _bytes(cast("str | os.PathLike[str] | bytes | IO[bytes]", source), max_pixels)
    where = f"{name}: " if name else ""
    with _quiet():
        try:
            with _decoder(examine(data), max_pixels) as photo:
                yield photo
        except FormatError as error:
            raise FormatError(f"{where}{error}") from None
        except MissingExtra:
            raise
        except MemoryError:
            raise FormatError(f"{where}there is not enough memory for the picture") from None
        except Exception as error:  # a broken file can make a decoder stumble over anything
            raise FormatError(f"{where}the image is broken ({_reason(error)})") from error


def _is_image(source: Source) -> TypeGuard[Image.Image]:
    return isinstance(source, _pillow().Image)


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())[:100]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _pillow() -> ModuleType:
    try:
        from PIL import Image
    except ImportError:
        raise MissingExtra("pillow", "images", "reading a photograph") from None
    logger = logging.getLogger("PIL")
    if not logger.handlers:  # what it logs of a broken file is in our error already
        logger.addHandler(logging.NullHandler())
    return Image


def _bytes(source: str | os.PathLike[str] | bytes | IO[bytes], limit: int) -> tuple[str, bytes]:
    """(name, contents), of at most 8 bytes for each pixel that is allowed."""
    most = 8 * limit + (1 << 20)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return "", bytes(source)
    if hasattr(source, "read"):
        data = source.read(most + 1)
        if not isinstance(data, bytes):
            raise FormatError("the file object gives text: open it with mode 'rb'")
        return "", _checked_length(data, most, "the file")
    name = os.fspath(source)
    try:
        with _regular(name) as file:
            sniff(file.read(32))
            file.seek(0)
            size = os.fstat(file.fileno()).st_size  # read() makes room for all that it may read
            return name, _checked_length(file.read(min(size, most) + 1), most, name)
    except ValueError as error:
        if isinstance(error, FormatError):
            raise FormatError(f"{name}: {error}") from None
        raise FormatError(f"{name!r} is no name of a file ({error})") from None


def _checked_length(data: bytes, most: int, name: str) -> bytes:
    if len(data) > most:
        raise FormatError(f"{name} has more than {most:,} bytes, too many for a photograph")
    return data


def _regular(name: str) -> IO[bytes]:
    """The file, open; what is no regular file would block, or never end."""
    if not stat.S_ISREG(os.stat(name).st_mode):
        raise FormatError("this is not a file")
    nonblocking = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    file = os.fdopen(os.open(name, os.O_RDONLY | nonblocking), "rb")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise FormatError("this is not a file")
    return file


@contextmanager
def _decoder(container: Container, max_pixels: int) -> Iterator[Photo]:
    """The one decoder of this format; Pillow's own choice would try all that it has."""
    if container.size is not None:
        _check_pixels(container.size, max_pixels)
    prefix = MODULES[container.format]
    plugin = import_module(f"PIL.{prefix}ImagePlugin")
    with getattr(plugin, f"{prefix}ImageFile")(io.BytesIO(container.data)) as image:
        _check_pixels(image.size, max_pixels)
        if container.format == "BMP" and image.info.get("compression") in (1, 2):
            _check_pixels(image.size, min(max_pixels, RUN_LENGTH_PIXELS))
        told = 1 if container.format in ("JPEG", "TIFF") else _told_orientation(image)
        levels = _levels(image, container)
        image.load()
        yield Photo(image, max(container.orientation, told), levels)


def _check_pixels(size: tuple[int, int], most: int) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise FormatError(f"the picture has no pixels: it is {width} x {height}")
    if width * height > most:
        raise FormatError(
            f"too large to be unpacked safely: {width} x {height} is {width * height:,} pixels, "
            f"and max_pixels is {most:,}"
        )


def _told_orientation(image: Image.Image, exif: bool = False) -> int:
    """What EXIF or XMP beside the pixels say."""
    blocks = [image.info.get(key) for key in ("exif", "xmp", "XML:com.adobe.xmp")]
    told = [
        exif_orientation(b) if key == 0 else xmp_orientation(b)
        for key, b in enumerate(x.encode() if isinstance(x, str) else x for x in blocks)
        if isinstance(b, bytes)
    ]
    if exif:
        value = image.getexif().get(274, 1)
        told.insert(0, value if isinstance(value, int) and 1 <= value <= 8 else 1)
    return next((o for o in told if o > 1), 1)


def _levels(image: Image.Image, container: Container | None = None) -> Levels:
    """What the file says beyond the mode; its key of transparency is taken out of the image."""
    deep = image.mode.startswith("I")
    bits = container.bits if container else 0
    white, inverted = 65535, False
    if deep and container is not None and container.format == "TIFF":
        white, inverted = (1 << bits) - 1, container.inverted
    key = image.info.get("transparency")
    numbers = key if isinstance(key, tuple) else (key,)
    keyed = deep or image.mode in ("1", "L", "RGB")
    if not keyed or not all(isinstance(n, int) for n in numbers):
        return Levels(white, inverted)
    del image.info["transparency"]
    return Levels(white, inverted, numbers if deep else tuple(_8_bits(n, bits) for n in numbers))


def _8_bits(n: int, bits: int) -> int:
    """PNG's key has the file's bits; the decoded pixels have 8, the upper ones of 16."""
    return n >> 8 if bits == 16 else n * 255 // ((1 << (bits or 8)) - 1)


def _from_array(array: npt.NDArray[np.generic]) -> Image.Image:
    """(H, W), (H, W, 1), (H, W, 3) or (H, W, 4) of uint8, or grey of uint16."""
    image: Image.Image
    channels = array.shape[2] if array.ndim == 3 else 1
    fits = array.ndim in (2, 3) and 0 not in array.shape and channels in (1, 3, 4)
    deep = array.dtype == np.uint16 and channels == 1
    if not fits or not (array.dtype == np.uint8 or deep):
        raise ShapeError(
            "an array must be one photograph, (H, W) or (H, W, 3) of uint8 with 0..255, "
            f"not {array.shape} of {array.dtype}"
        )
    image = _pillow().fromarray(
        np.ascontiguousarray(array[..., 0] if array.ndim == 3 and channels == 1 else array)
    )
    return image


_lock = threading.Lock()
_quiet_depth = 0
_filters = warnings.catch_warnings()


@contextmanager
def _quiet() -> Iterator[None]:
    """No warning about odd metadata; in any number of threads, the first in and the last out
    change the process's filters."""
    global _quiet_depth, _filters
    with _lock:
        _quiet_depth += 1
        if _quiet_depth == 1:
            _filters = warnings.catch_warnings()
            _filters.__enter__()
            warnings.simplefilter("ignore")
    try:
        yield
    finally:
        with _lock:
            _quiet_depth -= 1
            if _quiet_depth == 0:
                _filters.__exit__(None, None, None)
