"""What happens to a file after it was loaded changes nothing; unless it was mapped."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from weight_files import legacy, tensor

from minigrad.errors import FormatError
from minigrad.formats import load, save
from minigrad.formats.source import Snapshot, source

kinds = pytest.mark.parametrize("suffix", [".npz", ".pth", ".safetensors", ".legacy"])
NUMBERS = np.arange(100_000.0)


@pytest.fixture
def file(tmp_path, suffix):
    path = tmp_path / f"w{suffix}"
    if suffix == ".legacy":
        path.write_bytes(legacy({"a": tensor(NUMBERS)}))
    else:
        save(path, {"a": NUMBERS})
    return path


@kinds
def test_arrays_outlive_what_happens_to_their_file(file):
    array = load(file)["a"]
    with file.open("r+b") as stream:
        stream.write(b"\xff" * file.stat().st_size)
        stream.truncate(10)
    np.testing.assert_array_equal(array, NUMBERS)


@kinds
@pytest.mark.parametrize("mmap", [False, True])
def test_writing_to_an_array_leaves_the_file(file, mmap):
    content = file.read_bytes()
    array = load(file, mmap=mmap)["a"]
    array[:] = 0
    assert file.read_bytes() == content


@kinds
def test_a_mapped_array_reads_the_file_when_it_is_used(file):
    array = load(file, mmap=True)["a"]
    assert not array.flags.owndata
    np.testing.assert_array_equal(array, NUMBERS)


@pytest.mark.parametrize("suffix", [".npz"])
def test_a_file_that_is_cut_while_it_is_read_is_refused(file, monkeypatch):
    read = Snapshot.read

    def cut(self, start, nbytes):
        if nbytes > 10_000:
            os.truncate(file, start + 100)
        return read(self, start, nbytes)

    monkeypatch.setattr(Snapshot, "read", cut)
    with pytest.raises(FormatError, match="became shorter while it was read"):
        load(file)


@pytest.mark.parametrize("suffix", [".safetensors"])
def test_a_file_that_is_changed_while_it_is_read_is_refused(file, monkeypatch):
    read = Snapshot.read

    def change(self, start, nbytes):
        if nbytes > 10_000:
            os.utime(file, ns=(1, 1))
        return read(self, start, nbytes)

    monkeypatch.setattr(Snapshot, "read", change)
    with pytest.raises(FormatError, match="was changed while it was read"):
        load(file)


def test_reading_beyond_the_end_is_refused(tmp_path):
    (tmp_path / "file").write_bytes(b"12345678")
    for mapped in (False, True):
        with source(str(tmp_path / "file"), mapped=mapped) as opened:
            assert bytes(opened.read(2, 6)) == b"345678"
            for start, nbytes in ((0, 9), (9, 0), (-1, 1), (0, -1), (8, 1 << 62)):
                with pytest.raises(FormatError):
                    opened.read(start, nbytes)


@pytest.mark.parametrize("suffix", [".legacy"])
def test_a_shared_file_is_not_locked_or_kept_open(file):
    code = "import os, sys; from minigrad.formats import load; load(sys.argv[1]); "
    code += "print(len(os.listdir('/proc/self/fd')), end='')"
    path = os.pathsep.join(p for p in sys.path if p)
    run = subprocess.run([sys.executable, "-c", code, file], capture_output=True, text=True,
                         env={**os.environ, "PYTHONPATH": path}, check=True)  # fmt: skip
    assert int(run.stdout) <= 4
