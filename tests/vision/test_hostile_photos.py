"""No file that is called a photograph runs anything, hangs, or takes more than its budget."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest

from minigrad.errors import FormatError
from minigrad.vision import preprocess, read_photo
from minigrad.vision.containers import FORMATS, sniff

spec = importlib.util.spec_from_file_location(
    "hostile_photos", Path(__file__).with_name("hostile_photos.py")
)
hostile = importlib.util.module_from_spec(spec)
spec.loader.exec_module(hostile)

SECONDS, MEBIBYTES = 2.0, 200  # safety limits for each file, of CPU time and of all memory
KINDS = {
    "JPEG": {}, "PNG": {}, "GIF": {"mode": "P"}, "WEBP": {}, "BMP": {}, "PPM": {},
    "TIFF": {"compression": "tiff_lzw"},
}  # fmt: skip


@pytest.fixture(scope="module")
def outcomes():
    """{name: (what became of it, CPU seconds, MiB)}, in one process for all."""
    home = {**os.environ, "PYTHONPATH": str(Path(preprocess.__code__.co_filename).parents[2])}
    done = subprocess.run(
        [sys.executable, hostile.__file__], env=home, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    return {name: rest for name, *rest in map(json.loads, done.stdout.splitlines())}


def test_every_hostile_file_is_refused_or_read_within_its_budget(outcomes):
    assert len(outcomes) > 60
    for name, (text, cpu, peak) in outcomes.items():
        assert text.startswith(("refused: ", "read: (1, 3, 224, 224)")), name
        assert len(text) < 300, name
        assert cpu < SECONDS, name
        assert peak < MEBIBYTES, name
    refused = [name for name, (text, *_) in outcomes.items() if text.startswith("refused")]
    assert len(refused) > 40


@pytest.mark.parametrize("name", hostile.strangers())
def test_only_the_formats_that_are_wanted_are_opened(tmp_path, monkeypatch, name):
    def started(*args, **kwargs):
        raise AssertionError("a program was started")

    monkeypatch.setattr(subprocess, "Popen", started)
    monkeypatch.setattr(os, "system", started)
    path = tmp_path / "holiday.jpg"
    path.write_bytes(hostile.strangers()[name])
    with pytest.raises(FormatError, match=r"holiday\.jpg: the file is no photograph"):
        read_photo(path)


@pytest.mark.parametrize("kind", KINDS)
def test_the_content_decides_and_not_the_name(tmp_path, kind):
    data = hostile.encoded(kind, **KINDS[kind])
    path = tmp_path / "holiday.eps"
    path.write_bytes(data)
    assert read_photo(path).size == (24, 16)
    assert sniff(data).upper() in {f.upper() for f in FORMATS}


def test_the_budget_of_pixels_is_stated_and_can_be_changed(tmp_path):
    data = hostile.encoded("PNG")
    with pytest.raises(FormatError, match=r"24 x 16 is 384 pixels, and max_pixels is 383"):
        read_photo(data, max_pixels=383)
    assert read_photo(data, max_pixels=384).size == (24, 16)
    image = read_photo(data)
    with pytest.raises(FormatError, match="max_pixels is 100"):
        preprocess(image, "imagenet", max_pixels=100)


def test_what_is_no_regular_file_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "fifo.jpg")
    for path in (tmp_path / "fifo.jpg", tmp_path, Path("/dev/zero"), Path("/dev/stdin")):
        with pytest.raises((FormatError, OSError)) as caught:
            read_photo(path)
        assert "this is not a file" in str(caught.value) or isinstance(caught.value, OSError)


@pytest.mark.parametrize("name", ["a\0b.png", "\ud800.png", "", "x" * 5000])
def test_a_name_that_no_file_can_have_is_a_sentence(name):
    with pytest.raises((FormatError, OSError)):
        read_photo(name)


def mutants(data, rng, count):
    """Bytes changed, taken out, doubled, or given a number at the edge."""
    edges = [0, 1, 0x7F, 0x80, 0xFF]
    for _ in range(count):
        mutant = bytearray(data)
        for _ in range(int(rng.integers(1, 5))):
            at = int(rng.integers(len(mutant)))
            # The head holds the sizes, so half of all changes are there.
            at = at % 64 if rng.random() < 0.5 else at
            at = min(at, len(mutant) - 1)
            kind = rng.integers(5)
            if kind == 0:
                mutant[at] ^= 1 << int(rng.integers(8))
            elif kind == 1:
                mutant[at] = edges[int(rng.integers(len(edges)))]
            elif kind == 2:
                mutant[at : at + 4] = bytes([edges[int(rng.integers(len(edges)))]] * 4)
            elif kind == 3:
                del mutant[at : at + int(rng.integers(1, 30))]
            else:
                mutant[at:at] = mutant[at : at + int(rng.integers(1, 30))]
            if not mutant:
                mutant = bytearray(data)
        yield bytes(mutant)


def read(data):
    """(why it was refused, what was read)."""
    try:
        return "", preprocess(data, "imagenet", max_pixels=250_000)
    except FormatError as error:
        return str(error), None


def fuzz(kind, count, seed):
    """Read mutants; give what was neither refused in a sentence nor a photograph."""
    rng = np.random.default_rng(seed)
    options = KINDS[kind]
    seeds = [hostile.encoded(kind, **options)]
    if kind == "JPEG":
        exif = hostile.many_tags(400)
        seeds += [hostile.encoded(kind, progressive=True), hostile.encoded(kind, exif=exif)]
    if kind == "TIFF":
        seeds += [hostile.encoded(kind), hostile.encoded(kind, mode="L", compression="jpeg")]
    if kind == "PNG":
        seeds += [hostile.encoded(kind, mode="P"), hostile.encoded(kind, mode="I;16")]
    for n, data in enumerate(seeds):
        for mutant in mutants(data, rng, count // len(seeds)):
            message, x = read(mutant)
            assert "\n" not in message
            assert len(message) < 400
            assert message or x.shape == (1, 3, 224, 224), n
            assert message or np.isfinite(x).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_mutant_is_refused_in_a_sentence_or_read(kind):
    fuzz(kind, 1500, 0)


@pytest.mark.full
@pytest.mark.parametrize("kind", KINDS)
def test_many_more_mutants_of_new_kinds_each_time(kind):
    fuzz(kind, 30_000, int.from_bytes(os.urandom(4), "big"))


def test_photographs_read_by_several_threads_leave_the_warnings_as_they_were():
    before = list(warnings.filters)
    data = [hostile.encoded(kind, **KINDS[kind]) for kind in KINDS] * 5
    seen = [None] * len(data)

    def take(i):
        seen[i] = read_photo(data[i]).size

    threads = [threading.Thread(target=take, args=(i,)) for i in range(len(data))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [(24, 16)] * len(data)
    assert warnings.filters == before
