"""Photographs that were made to do harm, each small: name to bytes.

Run as a script it reads them all (``python tests/vision/hostile_photos.py``) and prints, for
each, what became of it, the CPU time, and the most memory that the process has had.
"""

from __future__ import annotations

import io
import json
import struct
import sys
import time
import zlib
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2]))

import numpy as np
from PIL import Image

from minigrad.errors import FormatError
from minigrad.vision import preprocess

BUDGET = 16_000_000  # pixels, for these files


def encoded(kind, size=(24, 16), mode="RGB", **options):
    y, x = np.mgrid[: size[1], : size[0]]
    rgb = np.stack([x * 9, y * 13, x + y], -1).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(rgb).convert(mode).save(out, kind, **options)
    return out.getvalue()


def png_chunks(*chunks):
    parts = [b"\x89PNG\r\n\x1a\n"]
    for kind, data in chunks:
        crc = zlib.crc32(kind + data)
        parts.append(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc))
    return b"".join(parts)


def png(w, h, colour=0, bits=8, extra=(), data=b""):
    head = struct.pack(">IIBBBBB", w, h, bits, colour, 0, 0, 0)
    return png_chunks((b"IHDR", head), *extra, (b"IDAT", data), (b"IEND", b""))


def deflated(size):
    """``size`` zeros, deflated without ever holding them."""
    press = zlib.compressobj(9)
    block = bytes(1 << 20)
    parts = [press.compress(block) for _ in range(size >> 20)]
    return b"".join([*parts, press.compress(bytes(size & 0xFFFFF)), press.flush()])


def many_tags(payload=60_000, order="<", first=0x9000):
    """A TIFF directory of as many tags as fit, each of which reads all the bytes again."""
    count = payload // 12 - 2
    entries = b"".join(struct.pack(f"{order}HHII", first + n, 7, payload, 8) for n in range(count))
    return (
        (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, count) + entries
    ).ljust(payload + 8, b"\0")


def jpeg_with(*segments):
    data = encoded("JPEG")
    made = b"".join(b"\xff" + bytes([m]) + struct.pack(">H", len(s) + 2) + s for m, s in segments)
    return data[:2] + made + data[2:]


def scans(count, size=(64, 64)):
    """A progressive JPEG whose last scan is there many times."""
    data = encoded("JPEG", size, progressive=True)
    last = data.rfind(b"\xff\xda")
    return data[:last] + data[last:-2] * count + b"\xff\xd9"


def tiff_with(tags, pixels=b"\0" * 64):
    base = {256: 8, 257: 8, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 8, 279: 64} | tags
    entries = b"".join(struct.pack("<HHII", n, 4, 1, v) for n, v in sorted(base.items()))
    at = 8 + len(pixels)
    return (
        b"II*\0"
        + struct.pack("<I", at)
        + pixels
        + struct.pack("<H", len(base))
        + entries
        + (bytes(4))
    )


def bmp_rle(w, h, codes):
    head = struct.pack("<IiiHHIIiiII", 40, w, h, 1, 8, 1, len(codes), 2835, 2835, 256, 0)
    start = 14 + 40 + 1024
    return (
        b"BM" + struct.pack("<IHHI", start + len(codes), 0, 0, start) + head + bytes(1024) + codes
    )


def webp_canvas(w, h):
    data = encoded("WEBP", lossless=True)
    chunk = data[12:]
    extended = (
        b"VP8X"
        + struct.pack("<I", 10)
        + b"\0\0\0\0"
        + ((w - 1).to_bytes(3, "little") + (h - 1).to_bytes(3, "little"))
    )
    body = b"WEBP" + extended + chunk
    return b"RIFF" + struct.pack("<I", len(body)) + body


def gif_frame(w, h):
    """A small screen with a frame that is larger than it."""
    data = bytearray(encoded("GIF", mode="P"))
    at = data.index(b",", 13 + 3 * (2 << (data[10] & 7)))
    data[at + 5 : at + 9] = struct.pack("<HH", w, h)
    return bytes(data)


def corpus():
    """Every hostile file, and the plain ones they were made from."""
    files = {
        "png-bomb": png(60_000, 60_000, data=deflated(1 << 20)),
        "png-bomb-whole": png(26_000, 26_000, data=deflated(26_001 * 26_000)),
        "png-16-bit-rgba-bomb": png(30_000, 30_000, 6, 16, data=deflated(1 << 22)),
        "png-within-budget": png(4000, 4000, data=deflated(4001 * 4000)),
        "png-text-bomb": png(4, 4, extra=[(b"zTXt", b"a\0\0" + deflated(1 << 27))]),
        "png-profile-bomb": png(4, 4, extra=[(b"iCCP", b"a\0\0" + deflated(1 << 27))]),
        "png-many-texts": png(4, 4, extra=[(b"zTXt", b"a\0\0" + deflated(1 << 20))] * 200),
        "png-exif-tags": png(4, 4, extra=[(b"eXIf", many_tags())], data=deflated(20)),
        "png-palette-none": png(4, 4, 3, data=deflated(20)),
        "png-trns-alone": png(4, 4, 3, extra=[(b"tRNS", b"\1" * 300)], data=deflated(20)),
        "png-wide": png(2**31 - 1, 1, data=deflated(1 << 20)),
        "png-interlaced-short": png_chunks(
            (b"IHDR", struct.pack(">IIBBBBB", 4000, 4000, 8, 6, 0, 0, 1)),
            (b"IDAT", deflated(64)), (b"IEND", b"")),
        "jpeg-exif-tags": jpeg_with((0xE1, b"Exif\0\0" + many_tags())),
        "jpeg-exif-many-blocks": jpeg_with(*[(0xE1, b"Exif\0\0" + many_tags())] * 40),
        "jpeg-mpo-tags": jpeg_with((0xE2, b"MPF\0" + many_tags())),
        "jpeg-photoshop": jpeg_with(*[(0xED, b"Photoshop 3.0\0" + b"8BIM" * 16000)] * 20),
        "jpeg-profile-parts": jpeg_with(
            *[(0xE2, b"ICC_PROFILE\0\x01\xff" + bytes(65000))] * 250),
        "jpeg-scans": scans(2000),
        "jpeg-large": encoded("JPEG")[:2] + b"\xff\xc2\0\x11\x08\xff\xff\xff\xff\x03"
        b"\1\x22\0\2\x11\1\3\x11\1" + b"\xff\xda\0\x0c\3\1\0\2\0\3\0\0\0\0" * 500,
        "jpeg-zero-length-segment": b"\xff\xd8" + b"\xff\xe1\0\0" * 1000,
        "jpeg-fill": b"\xff\xd8" + b"\xff" * 1_000_000,
        "tiff-tags": many_tags(first=256),
        "tiff-tags-long": many_tags(780_000, first=254),
        "tiff-overlapping-strips": many_tags(60_000, ">", first=256),
        "tiff-tile": tiff_with({322: 1 << 15, 323: 1 << 15, 324: 8, 325: 64}),
        "tiff-tile-deflated": tiff_with({259: 8, 322: 1 << 15, 323: 1 << 15, 324: 8, 325: 64}),
        "tiff-large": tiff_with({256: 100_000, 257: 100_000}),
        "tiff-no-size": tiff_with({256: 0, 257: 0}),
        "tiff-samples": tiff_with({277: 65535}),
        "tiff-loop": b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHII", 34665, 4, 1, 8)
        + b"\x08\0\0\0",
        "tiff-rows": tiff_with({278: 2**32 - 1, 279: 2**32 - 1}),
        "bigtiff": b"II\x2b\0\x08\0\0\0" + bytes(64),
        "bmp-lines": bmp_rle(60_000, 250, b"\0\0" * 10_000),
        "bmp-run-length-bomb": bmp_rle(1 << 15, 1 << 15, b"\xff\0" * 1000),
        "bmp-large": encoded("BMP")[:18] + struct.pack("<ii", 60_000, 60_000) + encoded("BMP")[26:],
        "bmp-negative": encoded("BMP")[:18] + struct.pack("<ii", -60_000, -9) + encoded("BMP")[26:],
        "webp-canvas": webp_canvas(16384, 16384),
        "webp-canvas-larger": webp_canvas(1 << 24, 1 << 24),
        "gif-frame": gif_frame(65535, 65535),
        "gif-screen": encoded("GIF", mode="P")[:6] + b"\xff\xff\xff\xff" + (
            encoded("GIF", mode="P")[10:]),
        "ppm-large": b"P6 60000 60000 255\n" + bytes(100),
        "ppm-digits": b"P6 " + b"9" * 1_000_000 + b" 1 255\n",
        "ppm-plain-short": b"P3 4000 4000 255\n" + b"1 " * 1000,
        "ppm-comment": b"P6\n#" + b"x" * 1_000_000,
        "pgm-white-of-0": b"P5 4 4 0\n" + bytes(16),
    }  # fmt: skip
    return files | strangers()


def strangers():
    """Formats that Pillow knows and nobody wants here, under any name."""
    files = {
        "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n(%pipe%touch x) run\n",
        "eps-in-dos": b"\xc5\xd0\xd3\xc6" + struct.pack("<II", 32, 100) + bytes(200),
        "psd": b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, 30000, 30000, 8, 3) + bytes(99),
        "svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        "wmf": b"\xd7\xcd\xc6\x9a" + bytes(60),
        "fits": b"SIMPLE  =                    T" + b" " * 2850,
        "xpm": b"/* XPM */\nstatic char * a[] = {\n",
        "html": b"<!doctype html><img src=x>",
        "zip": b"PK\3\4" + bytes(100),
    }
    for kind in ("ICO", "PCX", "TGA", "SGI", "MSP", "JPEG2000", "DDS", "ICNS", "PDF"):
        try:
            files[kind.lower()] = encoded(kind, (32, 32), "1" if kind == "MSP" else "RGB")
        except (OSError, KeyError):  # a Pillow that was built without it
            continue
    return files


def outcome(data):
    try:
        x = preprocess(data, "efficientnet_lite0", max_pixels=BUDGET)
    except FormatError as error:
        return f"refused: {error}"
    return f"read: {x.shape}"


def most_memory():
    """MiB that this process has had; ru_maxrss would count those of the process that made it."""
    status = Path("/proc/self/status")
    if status.exists():
        return next(int(line.split()[1]) for line in status.read_text().splitlines()
                    if line.startswith("VmHWM")) // 1024  # fmt: skip
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 20


def main():
    outcome(encoded("JPEG"))
    for name, data in corpus().items():
        before = time.process_time()
        text = outcome(data)
        cpu = time.process_time() - before
        print(json.dumps([name, text, round(cpu, 3), most_memory()]), flush=True)


if __name__ == "__main__":
    main()
