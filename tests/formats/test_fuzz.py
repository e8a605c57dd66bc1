"""Files of weights, damaged at random: refused in a sentence, or read; never anything else."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import pytest
from fuzzing import fuzz
from weight_files import Device, Parameter, Storage, Tensor, legacy, tensor, zipped

from minigrad.formats import save

QUICK, LONG = 2_000, 20_000


def state():
    return OrderedDict(
        a=tensor(np.arange(24, dtype="f4")),
        strided=Tensor(Storage(np.arange(30, dtype="i2")), 2, (2, 3), (1, 4)),
        half=Tensor(Storage(np.arange(6, dtype="u2"), "bfloat16"), 0, (6,), (1,)),
        parameter=Parameter(tensor(np.ones((2, 2)))),
    )


def checkpoint():
    return {"epoch": 3, "device": Device(), "state_dict": state(), "seen": {1, 2}, (1, 2): 0.5}


ARRAYS = {
    "conv.weight": np.arange(54, dtype="f4").reshape(2, 3, 3, 3), "scale": np.float16(2)[None],
    "flags": np.array([True, False]), "none": np.zeros((0, 3), "i8"), "steps": np.array(7),
}  # fmt: skip


def write(folder, kind):
    """Files of one format."""
    paths = [folder / f"{kind}{n}" for n in range(2)]
    if kind == "zip":
        contents = [zipped(state()), zipped(checkpoint(), protocol=4, compression=8)]
    elif kind == "legacy":
        contents = [legacy(state()), legacy(checkpoint(), protocol=4, little_endian=False)]
    elif kind == "npz":
        contents = []
        for path, save_npz in zip(paths, [np.savez, np.savez_compressed], strict=True):
            with path.open("wb") as file:
                save_npz(file, **ARRAYS)
    else:
        contents = []
        for path, metadata in zip(paths, [{}, {"preset": "torchvision"}], strict=True):
            save(path.with_suffix(f".{kind}"), ARRAYS, metadata=metadata)
        return [path.with_suffix(f".{kind}") for path in paths]
    for path, content in zip(paths, contents, strict=False):
        path.write_bytes(content)
    return paths


def check(tmp_path, kind, count, first=0):
    report = fuzz("fuzz_readers:weights", write(tmp_path, kind), count, ["FormatError"], first)
    assert report.faults == []
    assert report.refused + report.read == count
    assert report.refused > count / 2
    if kind in ("zip", "npz", "pth"):  # checksums: what is read is what was written
        assert report.changed == 0
    return report


KINDS = ["zip", "legacy", "npz", "safetensors", "pth"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_is_refused_or_read(tmp_path, kind):
    check(tmp_path, kind, QUICK)


@pytest.mark.full
@pytest.mark.parametrize("kind", KINDS)
def test_many_damaged_files(tmp_path, kind):
    check(tmp_path, kind, LONG, first=QUICK)
