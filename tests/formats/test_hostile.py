"""Files made to hurt: each is refused in one sentence, or read rightly; soon, in little memory."""

from __future__ import annotations

import contextlib
import zipfile

import numpy as np
import pytest
from hostile_files import (
    FLAT,
    HOSTILE,
    LEGACY,
    ONE,
    STRANGE,
    ZIP,
    npy_of,
    one,
    program,
    safetensors,
    with_keys,
)
from measured import AIM, Measured
from weight_files import archive, npy, pickled, zipped

from minigrad.errors import FormatError
from minigrad.formats import load

SECONDS, MEMORY = AIM, 200 << 20


@pytest.fixture(scope="module")
def measured():
    with Measured("fuzz_readers:size") as process:
        yield process


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_soon_and_in_little_memory(name, tmp_path, measured):
    path = tmp_path / "weights.pth"
    path.write_bytes(HOSTILE[name]())
    result = measured.read(path)
    assert result.error == "FormatError", result
    assert result.message.startswith(str(path))
    assert result.message.isprintable()
    assert len(result.message) < len(str(path)) + 300
    assert result.seconds < SECONDS
    assert result.peak < MEMORY


@pytest.mark.parametrize("name", STRANGE)
def test_a_strange_file_is_read_soon_and_in_little_memory(name, tmp_path, measured):
    """As strange as a file may be, and not broken."""
    path = tmp_path / "weights.pth"
    path.write_bytes(STRANGE[name]())
    result = measured.read(path)
    assert result.error is None, result.message
    assert result.seconds < SECONDS
    assert result.peak < MEMORY + result.value


def test_the_corpus_is_large():
    assert len(HOSTILE) + len(STRANGE) >= 150


def test_the_bases_of_the_hostile_files_are_sound(tmp_path):
    """So each is refused for what was changed in it, and not for something else."""
    sound = {
        "zip": ZIP, "legacy": LEGACY, "one": zipped(one()), "keys": with_keys(["0"]),
        "program": program(pickled(ONE)[0]), "safetensors": safetensors(), "npy": npy_of((2,)),
        "two": archive({"a.npy": npy(FLAT), "b.npy": npy(FLAT)}),
    }  # fmt: skip
    for name, content in sound.items():
        path = tmp_path / name
        path.write_bytes(content)
        assert "a" in load(path)


def test_a_folder_and_a_device_are_no_files(tmp_path):
    for path in (tmp_path, "/dev/zero"):
        with pytest.raises(FormatError, match="not a file"):
            load(path)


def test_a_sparse_file_of_a_tebibyte(tmp_path):
    """Its size is no reason to take memory, or to read it."""
    path = tmp_path / "weights.pth"
    with path.open("wb") as file:
        file.write(LEGACY)
        file.truncate(1 << 40)
    np.testing.assert_array_equal(load(path)["a"], FLAT)


def test_a_zip_of_every_field_changed(tmp_path):
    """Each byte of the directory set to 0 and 255: arrays or a FormatError, nothing else."""
    path = tmp_path / "w.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.npy", npy(FLAT))
    content = path.read_bytes()
    for at in range(len(content)):
        for value in (0, 255):
            path.write_bytes(content[:at] + bytes([value]) + content[at + 1 :])
            with contextlib.suppress(FormatError):
                load(path)
