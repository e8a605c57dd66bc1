"""Photographs become the batch of the formula, whatever file they come in."""

from __future__ import annotations

import io
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from minigrad import vision
from minigrad.errors import FormatError, MissingExtra, ShapeError, UnknownNameError
from minigrad.models import entry, names
from minigrad.vision import Preparation, preparation_for, preprocess, read_photo

COFFEE = Path(vision.__file__).parents[1] / "data" / "coffee.png"
LITE0 = preparation_for("efficientnet_lite0")


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def gradient(w=96, h=64):
    """A picture in which every direction can be told from every other."""
    y, x = np.mgrid[:h, :w]
    rgb = np.stack([x * 255 // (w - 1), y * 255 // (h - 1), 255 - x * 255 // (w - 1)], -1)
    return Image.fromarray(rgb.astype(np.uint8))


def saved(path, image, **options):
    image.save(path, **options)
    return path


def pixels(image):
    return np.asarray(image).astype(int)


def test_lite_preprocessing_is_the_formula_pixel_by_pixel():
    image = Image.open(COFFEE)
    w, h = image.size
    c = int(224 / 256 * min(h, w))
    top, left = (h - c + 1) // 2, (w - c + 1) // 2
    cut = Image.fromarray(np.asarray(image)[top : top + c, left : left + c])
    square = np.asarray(cut.resize((224, 224), Image.Resampling.BICUBIC)).astype(np.float64)
    x = preprocess([COFFEE], LITE0)
    assert x.shape == (1, 3, 224, 224)
    assert x.dtype == np.float32
    assert x.flags.c_contiguous
    np.testing.assert_array_equal(x[0], ((square - 127) / 128).transpose(2, 0, 1))


@pytest.mark.parametrize("wh", [(300, 200), (201, 333), (256, 256), (257, 1000), (40, 31)])
def test_torchvision_preprocessing_is_scale_then_crop(wh):
    image = gradient(*wh)
    short = min(wh)
    w, h = (256 * side // short for side in wh)
    left, top = round((w - 224) / 2), round((h - 224) / 2)
    whole = image.resize((w, h), Image.Resampling.BILINEAR)
    square = pixels(whole.crop((left, top, left + 224, top + 224)))
    preparation = Preparation(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    np.testing.assert_array_equal(preprocess([image], preparation)[0], square.transpose(2, 0, 1))


def test_mean_and_std_belong_to_red_green_blue_in_this_order():
    preparation = Preparation(size=8, margin=0, mean=(1.0, 2.0, 3.0), std=(2.0, 4.0, 8.0))
    x = preprocess([Image.new("RGB", (8, 8), (5, 10, 19))], preparation)
    np.testing.assert_array_equal(x[0, :, 0, 0], [2, 2, 2])


@pytest.mark.parametrize("name", ["imagenet", "signed", "efficientnet_b1", "mnasnet_b1"])
@pytest.mark.parametrize("wh", [(1, 1), (2, 1), (1, 100), (5000, 60), (223, 224)])
def test_any_photo_gives_the_networks_square(name, wh):
    size = preparation_for(name).size
    x = preprocess([Image.new("RGB", wh, "red")], preparation_for(name))
    assert x.shape == (1, 3, size, size)
    assert np.ptp(x, axis=(2, 3)).max() == 0, "one colour stays one colour"


def test_a_strip_that_would_fill_the_memory_is_refused():
    with pytest.raises(FormatError, match="5000 x 3 is too long and thin"):
        preprocess([Image.new("RGB", (5000, 3))], preparation_for("imagenet"))


def test_a_batch_is_its_photos_one_by_one():
    photos = [COFFEE, gradient(), gradient(50, 200)]
    one_by_one = [preprocess([photo], LITE0) for photo in photos]
    np.testing.assert_array_equal(preprocess(photos, LITE0), np.concatenate(one_by_one))
    assert preprocess([], LITE0).shape == (0, 3, 224, 224)


@pytest.mark.parametrize("name", names())
def test_every_preset_of_every_network_says_how_photographs_were_prepared(name):
    for preset in entry(name).presets:
        preparation = preparation_for(name, preset)
        assert preparation.size > 0 <= preparation.margin
        assert len(preparation.mean) == len(preparation.std) == 3
        assert min(preparation.std) > 0
        assert preparation.resample in ("bilinear", "bicubic")
        assert preparation.order in ("RGB", "BGR")


def test_a_librarys_name_of_a_network_means_its_preparation():
    assert preparation_for("mobilenetv2_100") == preparation_for("mobilenet_v2", "timm")
    assert preparation_for("mobilenetv2_100") != preparation_for("mobilenet_v2")


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean mobilenet_v2"):
        preparation_for("mobilenetv2")
    with pytest.raises(UnknownNameError, match="presets are slim, .* not 'keras'"):
        preparation_for("mobilenet_v2", "keras")


def test_blue_comes_first_where_the_order_is_bgr():
    photo = Image.new("RGB", (300, 300), (10, 20, 30))
    x = preprocess(photo, Preparation(mean=(1.0, 2.0, 3.0), std=(1.0,) * 3, order="BGR"))
    np.testing.assert_array_equal(x[0, :, 0, 0], [29, 18, 7])


@pytest.mark.parametrize("many", [False, True])
def test_a_photograph_comes_in_every_form(tmp_path, many):
    """One or a list of: path, text, bytes, file object, Pillow image, array."""
    path = saved(tmp_path / "a.png", gradient(300, 260))
    expected = preprocess([path], LITE0)
    with path.open("rb") as file:
        forms = [path, str(path), path.read_bytes(), file, Image.open(path), pixels8(path)]
        for form in forms:
            x = preprocess([form] if many else form, LITE0)
            np.testing.assert_array_equal(x, expected)
    batch = np.stack([pixels8(path)] * 2)
    assert preprocess(batch, "efficientnet_lite0").shape == (2, 3, 224, 224)


def pixels8(path):
    return np.asarray(Image.open(path))


@pytest.mark.parametrize(
    "array",
    [np.zeros((4, 4, 3)), np.zeros((4, 4, 2), np.uint8), np.zeros((0, 4, 3), np.uint8),
     np.zeros((4,), np.uint8), np.zeros((3, 4, 5), np.uint8), np.zeros((4, 4, 3), np.uint16)],
)  # fmt: skip
def test_an_array_that_is_no_photograph_is_refused(array):
    with pytest.raises(ShapeError, match="an array must be one photograph"):
        preprocess(array, LITE0)


def test_a_file_object_of_text_is_refused(tmp_path):
    (tmp_path / "a.txt").write_text("text")
    with (tmp_path / "a.txt").open() as file, pytest.raises(FormatError, match="mode 'rb'"):
        preprocess(file, LITE0)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp"])
def test_the_square_of_a_turned_photograph_is_that_of_the_upright_one(
    tmp_path, orientation, suffix
):
    """Cutting out before turning gives the same pixels as turning first."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path / f"a.{suffix}", gradient(301, 260), exif=exif)
    upright = read_photo(path)
    assert (upright.size == (260, 301)) == (orientation >= 5)
    np.testing.assert_array_equal(preprocess(path, LITE0), preprocess(upright, LITE0))


# What a file can hold.


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone(tmp_path, orientation):
    upright = np.asarray(gradient())
    # How a camera held in each of the eight ways stores the same scene (EXIF, tag 0x0112).
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path / "a.png", Image.fromarray(np.ascontiguousarray(stored)), exif=exif)
    np.testing.assert_array_equal(pixels(read_photo(path)), upright)


def test_grey_becomes_three_equal_channels(tmp_path):
    grey = gradient().convert("L")
    rgb = pixels(read_photo(saved(tmp_path / "a.png", grey)))
    np.testing.assert_array_equal(rgb, np.repeat(pixels(grey)[..., None], 3, -1))


def test_black_and_white_is_0_and_255(tmp_path):
    bits = gradient().convert("1")
    rgb = pixels(read_photo(saved(tmp_path / "a.png", bits)))
    np.testing.assert_array_equal(rgb[..., 1], np.asarray(bits) * 255)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_is_laid_over_white(tmp_path, mode):
    image = gradient().convert("L").convert(mode)
    alpha = np.linspace(0, 255, 64).astype(np.uint8)[:, None].repeat(96, 1)
    image.putalpha(Image.fromarray(alpha))
    rgb = pixels(read_photo(saved(tmp_path / "a.png", image)))
    grey, a = pixels(gradient().convert("L")), alpha / 255
    over = grey * a + 255 * (1 - a)
    assert np.abs(rgb - over[..., None]).max() <= 1
    assert (rgb[0] == 255).all(), "where alpha is 0 the page shows"
    np.testing.assert_array_equal(rgb[-1], grey[-1][:, None].repeat(3, 1))


def test_a_palette_is_looked_up_and_its_transparent_colour_is_white(tmp_path):
    image = Image.new("P", (4, 1))
    image.putpalette([10, 20, 30, 200, 100, 50, 1, 2, 3])
    image.putdata([0, 1, 2, 1])
    plain = pixels(read_photo(saved(tmp_path / "a.png", image)))
    assert plain[0, :3].tolist() == [[10, 20, 30], [200, 100, 50], [1, 2, 3]]
    clear = pixels(read_photo(saved(tmp_path / "b.gif", image, transparency=1)))
    assert clear[0].tolist() == [[10, 20, 30], [255] * 3, [1, 2, 3], [255] * 3]


def test_cmyk_is_ink_on_white(tmp_path):
    path = saved(tmp_path / "a.tif", Image.new("CMYK", (8, 8), (0, 255, 255, 0)))
    np.testing.assert_array_equal(pixels(read_photo(path))[0, 0], [255, 0, 0])
    path = saved(tmp_path / "a.jpg", Image.new("CMYK", (8, 8), (0, 0, 0, 0)), quality=95)
    assert pixels(read_photo(path)).min() >= 250, "no ink is white, also in a JPEG"


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_16_bit_grey_is_rounded_not_clipped(tmp_path, suffix):
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    if suffix == "pgm":
        path = tmp_path / "a.pgm"
        path.write_bytes(b"P5 256 256 65535\n" + values.astype(">u2").tobytes())
    else:
        path = saved(tmp_path / f"a.{suffix}", Image.fromarray(values))
    rgb = pixels(read_photo(path))
    np.testing.assert_array_equal(rgb[..., 0], np.rint(values / 257))
    assert (rgb == rgb[..., :1]).all()


def tiff(v, bits, photometric=1, order="<"):
    """A TIFF of grey values with so many bits: 12 packed as the format says, 16 as they are."""
    h, w = v.shape
    data = v.astype(f"{order}u2").tobytes()
    if bits == 12:
        a, b = v.reshape(-1, 2).astype(int).T
        packed = np.stack([a >> 4, (a & 15) << 4 | b >> 8, b & 255], 1)
        data = packed.astype(np.uint8).tobytes()
    tags = [(256, 3, w), (257, 3, h), (258, 3, bits), (259, 3, 1), (262, 3, photometric),
            (273, 4, 8), (277, 3, 1), (278, 3, h), (279, 4, len(data))]  # fmt: skip
    short = {"<": "<HHIHH", ">": ">HHIHH"}[order]
    entries = b"".join(
        struct.pack(short, n, t, 1, x, 0) if t == 3 else struct.pack(f"{order}HHII", n, t, 1, x)
        for n, t, x in tags
    )
    start = 8 + len(data) + len(data) % 2
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, start)
    return (
        head + data + bytes(len(data) % 2)
        + struct.pack(f"{order}H", len(tags)) + entries + bytes(4)
    )  # fmt: skip


@pytest.mark.parametrize(("bits", "photometric", "order"),
                         [(16, 1, "<"), (16, 0, "<"), (16, 1, ">"), (12, 1, "<")])  # fmt: skip
def test_grey_of_more_than_8_bits_has_its_own_white(bits, photometric, order):
    white = (1 << bits) - 1
    v = np.linspace(0, white, 64).astype(int).reshape(8, 8)
    rgb = pixels(read_photo(tiff(v, bits, photometric, order)))
    shown = white - v if photometric == 0 else v
    np.testing.assert_array_equal(rgb[..., 0], np.rint(shown * 255 / white))


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_the_transparent_grey_of_a_png_is_white_whatever_its_bits(bits):
    key = 1 << (bits - 1)
    v = np.zeros((4, 16), int)
    v[1] = key
    if bits == 16:
        rows = v.astype(">u2").view(np.uint8).reshape(4, -1)
    else:
        on = (v[..., None] >> np.arange(bits)[::-1]) & 1
        rows = np.packbits(on.reshape(4, -1), axis=1)
    data = b"".join(b"\0" + row.tobytes() for row in rows)
    head = (b"IHDR", struct.pack(">IIBBBBB", 16, 4, bits, 0, 0, 0, 0))
    file = png(head, (b"tRNS", struct.pack(">H", key)), (b"IDAT", zlib.compress(data)),
               (b"IEND", b""))  # fmt: skip
    rgb = pixels(read_photo(file))
    assert (rgb[1] == 255).all()
    assert (rgb[[0, 2, 3]] == 0).all()


@pytest.mark.parametrize("bits", [8, 16])
def test_the_transparent_colour_of_a_png_is_white(bits):
    key, size = (10, 20, 30), bits // 8
    rgb = np.zeros((4, 4, 3), np.uint8)
    rgb[2] = key
    wide = rgb if size == 1 else np.repeat(rgb, 2, -1)  # v becomes 257 v
    data = b"".join(b"\0" + row.tobytes() for row in wide)
    trns = struct.pack(">HHH", *(k if size == 1 else 257 * k for k in key))
    head = (b"IHDR", struct.pack(">IIBBBBB", 4, 4, bits, 2, 0, 0, 0))
    file = png(head, (b"tRNS", trns), (b"IDAT", zlib.compress(data)), (b"IEND", b""))
    out = pixels(read_photo(file))
    assert (out[2] == 255).all()
    assert (out[[0, 1, 3]] == 0).all()


def profile(kind="sRGB"):
    from PIL import ImageCms

    return ImageCms.ImageCmsProfile(ImageCms.createProfile(kind)).tobytes()


def swapped():
    """An ICC profile like sRGB's in which red and green have changed places."""
    data = bytearray(profile())
    data = data.replace(b"rXYZ", b"????").replace(b"gXYZ", b"rXYZ").replace(b"????", b"gXYZ")
    i = data.find(b"s\0R\0G\0B")
    return bytes(data[:i] + b"t" + data[i + 1 :]) if i >= 0 else bytes(data)


def test_a_profiles_colours_become_srgb(tmp_path):
    red = Image.new("RGB", (8, 8), (255, 0, 0))
    path = saved(tmp_path / "a.png", red, icc_profile=swapped())
    out = pixels(read_photo(path))[0, 0]
    assert out[1] > 200 > 100 > out[0], "this profile's red is green"
    same = saved(tmp_path / "b.png", red, icc_profile=profile())
    np.testing.assert_array_equal(pixels(read_photo(same))[0, 0], [255, 0, 0])


@pytest.mark.parametrize("data", [b"no profile" * 20, bytes(200), b"x"])
def test_a_profile_that_is_none_is_left_out(tmp_path, data):
    path = saved(tmp_path / "a.png", Image.new("RGB", (4, 4), "red"), icc_profile=data)
    assert pixels(read_photo(path))[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("mode", ["RGBA", "P", "L", "CMYK"])
def test_a_large_picture_is_converted_in_bands_to_the_same_pixels(tmp_path, mode, monkeypatch):
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 256, (61, 47, 4), np.uint8))
    image = noise.convert("RGB").convert(mode) if mode != "RGBA" else noise
    path = saved(tmp_path / "a.tif", image)
    whole = pixels(read_photo(path))
    monkeypatch.setattr("minigrad.vision.pixels.BAND", 500)
    np.testing.assert_array_equal(pixels(read_photo(path)), whole)


def test_pixels_without_an_agreed_white_are_refused(tmp_path):
    wide = Image.fromarray(np.array([[0, 1 << 20]], np.int32))
    with pytest.raises(FormatError, match=r"a\.tif: 32-bit pixels"):
        read_photo(saved(tmp_path / "a.tif", wide))
    with pytest.raises(FormatError, match=r"b\.tif: floating-point pixels"):
        read_photo(saved(tmp_path / "b.tif", Image.new("F", (2, 2), 0.5)))


@pytest.mark.parametrize("suffix", ["gif", "png", "webp"])
def test_of_an_animation_the_first_frame_is_taken(tmp_path, suffix):
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue", "lime")]
    options = {"lossless": True} if suffix == "webp" else {}
    path = tmp_path / f"a.{suffix}"
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=50, **options)
    assert pixels(read_photo(path))[3, 3].tolist() == [255, 0, 0]


# What can be wrong with one.


def png(*chunks):
    parts = [b"\x89PNG\r\n\x1a\n"]
    for kind, data in chunks:
        crc = zlib.crc32(kind + data)
        parts.append(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc))
    return b"".join(parts)


def header(w, h):
    return b"IHDR", struct.pack(">IIBBBBB", w, h, 8, 2, 0, 0, 0)


def jpeg():
    out = io.BytesIO()
    gradient(256, 256).save(out, "JPEG")
    return out.getvalue()


BROKEN = {
    "empty": b"",
    "text": b"this is a letter, not a photograph",
    "signature alone": b"\x89PNG\r\n\x1a\n",
    "truncated png": COFFEE.read_bytes()[:100_000],
    "truncated jpeg": jpeg()[:1000],
    "no pixels": png(header(4, 4), (b"IEND", b"")),
    "too few pixels": png(header(64, 64), (b"IDAT", zlib.compress(b"\0" * 99)), (b"IEND", b"")),
    "not deflated": png(header(4, 4), (b"IDAT", b"x" * 40), (b"IEND", b"")),
    "0 x 4": png(header(0, 4), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")),
    "bomb of pixels": png(header(60_000, 60_000), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")),
    "bomb of text": png(
        header(4, 4), (b"zTXt", b"a\0\0" + zlib.compress(bytes(1 << 26))), (b"IEND", b"")
    ),
    "gif without frames": b"GIF89a\x04\x00\x04\x00\x00\x00\x00;",
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN)
def test_a_broken_file_is_one_sentence_with_its_name(tmp_path, data):
    path = tmp_path / "holiday.png"
    path.write_bytes(data)
    with pytest.raises(FormatError, match=r"holiday\.png: ") as caught:
        preprocess([path], LITE0)
    assert "\n" not in str(caught.value)


def test_every_truncation_of_a_small_photo_is_refused_or_the_whole(tmp_path):
    whole = saved(tmp_path / "a.gif", gradient(8, 8)).read_bytes()
    wanted = pixels(read_photo(tmp_path / "a.gif"))
    path = tmp_path / "cut.gif"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        try:
            got = pixels(read_photo(path))
        except FormatError:
            continue
        np.testing.assert_array_equal(got, wanted)


def test_a_file_that_is_not_there_is_the_systems_own_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_photo(tmp_path / "nowhere.png")


def test_without_pillow_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingExtra, match=r"pip install 'minigrad-cpu\[images\]'"):
        read_photo(COFFEE)
