"""Files made to hurt: each is refused in one sentence, soon, and without taking memory.

Each file is loaded in a process of its own, whose peak memory is read when it is done; the
process is killed only if it hangs.
"""

from __future__ import annotations

import contextlib
import json
import pickle
import struct
import subprocess
import sys
import zipfile
import zlib

import numpy as np
import pytest
from weight_files import (
    Storage,
    Tensor,
    archive,
    legacy,
    legacy_file,
    npy,
    pickled,
    tensor,
    zipped,
)

MEMORY = 200 << 20
HANG = 60  # seconds after which a load is taken for a hang; the aim is under 2

FLAT = np.arange(24, dtype="f4")
ONE = {"a": tensor(FLAT)}
BYTEORDER = ("w/byteorder", b"little")


def one(offset=0, shape=(24,), strides=(1,), **lies):
    """A state dict of one tensor with the given places in a storage of 24."""
    return {"a": Tensor(Storage(FLAT, **lies), offset, shape, strides)}


def program(body):
    """A zip .pth whose pickle is ``body``."""
    return archive([("w/data.pkl", body), BYTEORDER, ("w/data/0", FLAT.tobytes())])


def text(value):
    raw = value.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def patched(content, old, new, count=-1):
    assert old in content
    return content.replace(old, new, count)


def directory_entry(content, name, field, value, size=4):
    """The archive with one field of the central directory's entry of ``name`` changed."""
    start = content.rindex(b"PK\1\2", 0, content.rindex(name.encode()))
    at = start + field
    return content[:at] + value.to_bytes(size, "little") + content[at + size :]


def header(text, data=b""):
    return struct.pack("<Q", len(text)) + text + data


def safetensors(**entry):
    fields = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], **entry}
    return header(json.dumps({"a": fields}).encode(), bytes(8))


def npy_header(description):
    body = description.encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(body)) + body


def npy_of(shape, descr="<f4", data=bytes(8)):
    return archive({"a.npy": npy_header(f"{{'descr': {descr!r}, 'fortran_order': False, "
                                        f"'shape': {shape}, }}\n") + data})  # fmt: skip


def deflated_zeros(nbytes):
    """Raw deflate of many zeros, made piece by piece."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    piece = bytes(1 << 20)
    parts = [packer.compress(piece) for _ in range(nbytes >> 20)]
    return b"".join(parts) + packer.flush()


def bomb(name, stated):
    """An archive of one record of 1 GiB of zeros, in 1 MB; its size is given as ``stated``."""
    packed = deflated_zeros(1 << 30)
    raw, encoded = (8, 0, 0, 0, len(packed), stated), name.encode()
    local = struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0, *raw, len(encoded), 0) + encoded
    entry = struct.pack("<4s6H3L5H2L", b"PK\1\2", 20, 20, 0, *raw, len(encoded), *[0] * 6)
    body, central = local + packed, entry + encoded
    return body + central + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, len(central),
                                        len(body), 0)  # fmt: skip


def overlapping():
    """Two records of an .npz, of which the first reaches into the second."""
    content = archive({"a.npy": npy(FLAT), "b.npy": npy(FLAT)})
    longer = len(npy(FLAT)) + 1
    return directory_entry(directory_entry(content, "a.npy", 20, longer), "a.npy", 24, longer)


def quoted():
    """An .npz with a record that lies within another."""
    inner = archive({"b.npy": npy(FLAT)})
    content = archive({"a.npy": inner, "b.npy": npy(FLAT)})
    return directory_entry(content, "b.npy", 42, content.index(inner))


def nested_lists(depth):
    return b"\x80\x02" + b"]" * depth + b"a" * (depth - 1) + b"."


def doubling(depth):
    """A list of four times the list before: few values, 4^depth ways through them."""
    return b"\x80\x02]q\x00" + b"0](h\x00h\x00h\x00h\x00eq\x00" * depth + b"."


def rebuild_in_rebuild(depth):
    """_rebuild_from_type_v2 for its own function, again and again."""
    call = b"ctorch._tensor\n_rebuild_from_type_v2\nq\x000ctorch\nTensor\nq\x010"
    arguments = b")" + b"q\x020h\x00h\x01h\x02\x87" * depth
    return b"\x80\x02" + call + b"h\x00" + arguments + b"R."


def called_again(name, argument, times=200_000):
    """One call, with one large argument, over and over."""
    start = b"\x80\x02c" + name + b"\nq\x000" + argument + b"q\x010"
    return start + b"h\x00h\x01R0" * times + b"N."


def many_tensors(count):
    """A state dict with a tensor of no elements under each of many names."""
    body = pickled({"a": tensor(np.zeros(0, "f4"))})[0]
    first = body[body.index(b"ctorch") : body.rindex(b"R") + 1]
    names = b"".join(b"U\x08%08dh\xff" % k for k in range(count))
    return b"\x80\x02}" + first + b"q\xff0(" + names + b"u."


def many_values(opcodes):
    """As many values as the limit on opcodes lets stand, each as large as can be."""
    return b"\x80\x02(" + b"}" * opcodes


def duplicate_key():
    body, storages = pickled({"a": tensor(FLAT), "b": tensor(FLAT)})
    return legacy_file(patched(body, text("b"), text("a")), storages)


def with_keys(keys):
    body, storages = pickled(ONE)
    return legacy_file(body, storages, keys=keys)


ZIP, LEGACY = zipped(ONE), legacy(ONE)
NUMEL = struct.pack("<q", 24)

HOSTILE = {
    # containers
    "nothing": b"",
    "one byte": b"\x80",
    "text": b"version https://git-lfs.github.com/spec/v1\n",
    "another pickle": pickle.dumps({"a": 1}, 2),
    "zip cut in half": ZIP[: len(ZIP) // 2],
    "zip without its last byte": ZIP[:-1],
    "legacy cut in half": LEGACY[: len(LEGACY) // 2],
    "legacy without its last byte": LEGACY[:-1],
    "legacy of another version": patched(LEGACY, b"M\xe9\x03", b"M\xea\x03"),
    # records of the zip
    "zip without its storage": archive([("w/data.pkl", pickled(ONE)[0]), BYTEORDER]),
    "zip with two pickles": archive([("a/data.pkl", b"}."), ("b/data.pkl", b"}.")]),
    "zip with a record twice": directory_entry(
        archive([("a.npy", npy(FLAT)), ("b.npy", npy(FLAT))]), "b.npy", 46, ord("a"), 1),
    "zip with overlapping records": overlapping(),
    "zip with a record in a record": quoted(),
    "zip with a record elsewhere": directory_entry(
        archive({"a.npy": npy(FLAT), "b.npy": npy(FLAT)}), "b.npy", 42, 0),
    "zip with an entry outside": directory_entry(ZIP, "w", 42, 1 << 30),
    "zip with a larger size": directory_entry(directory_entry(
        ZIP, "weights/data/0", 20, 1 << 31), "weights/data/0", 24, 1 << 31),
    "zip with two sizes": directory_entry(ZIP, "weights/data/0", 24, 1 << 31),
    "zip encrypted": directory_entry(ZIP, "weights/data/0", 8, 1, 2),
    "zip packed by another method": directory_entry(ZIP, "weights/data/0", 10, 12, 2),
    "zip of 65535 entries": ZIP[:-12] + b"\xff\xff" + ZIP[-10:],
    "zip of another byte order": archive([("w/data.pkl", b"}."), ("w/byteorder", b"middle")]),
    "zip with a text inside": archive({"readme.txt": b"hello"}),
    "zip bomb in an .npz": bomb("a.npy", 1 << 30),
    "zip bomb that gives its size as small": bomb("a.npy", 1 << 10),
    "zip bomb for a pickle": bomb("w/data.pkl", 1 << 30),
    "zip bomb for a pickle that gives its size as small": bomb("w/data.pkl", 1 << 20),
    # storages
    "storage shorter than its tensor": zipped(one(numel=1 << 40, shape=(1 << 40,))),
    "storage of fewer elements": zipped(one(numel=23, shape=(23,))),
    "storage of another dtype": zipped(one(dtype="float64")),
    "storage of a negative size": zipped(one(numel=-24)),
    "legacy storage of a huge size": legacy(one(numel=1 << 60)),
    "legacy storage with another count": patched(LEGACY, NUMEL, struct.pack("<q", 23)),
    "legacy storage with a negative count": patched(LEGACY, NUMEL, struct.pack("<q", -1)),
    "legacy storage missing from the list": with_keys([]),
    "legacy storage listed twice": with_keys(["0", "0"]),
    "legacy storage under another name": with_keys(["1"]),
    "legacy list of numbers": with_keys([0]),
    "legacy list that is a dict": with_keys({"0": 1}),
    "legacy storage of two sizes": legacy({"a": Tensor(Storage(FLAT, key="0"), 0, (1,), (1,)),
                                           "b": Tensor(Storage(FLAT[:9], key="0"), 0, (1,), (1,))}),
    "bools that are neither": zipped(
        {"a": Tensor(Storage(np.full(24, 2, "u1"), "bool"), 0, (24,), (1,))}),
    # tensors
    "tensor of a negative stride": zipped(one(offset=23, strides=(-1,))),
    "tensor that reaches outside": zipped(one(strides=(2,))),
    "tensor that begins outside": zipped(one(offset=24, shape=(1,))),
    "tensor of a negative offset": zipped(one(offset=-1)),
    "tensor of a negative size": zipped(one(shape=(-1,))),
    "tensor of a stride that overflows": zipped(one(shape=(2,), strides=(1 << 63,))),
    "tensor of a huge offset": zipped(one(offset=1 << 200)),
    "tensor with a stride missing": zipped(one(shape=(2, 3))),
    "tensor of a size that is text": zipped(one(shape=("24",))),
    "tensor of a size that is a float": zipped(one(shape=(24.0,))),
    "tensor of 10^12 elements in one": zipped(one(shape=(10**6, 10**6), strides=(0, 0))),
    "tensor of 2^2000 elements": zipped(one(shape=(1 << 63,) * 32, strides=(0,) * 32)),
    "tensor of no elements, but too many": zipped(one(shape=(0, 1 << 62, 1 << 62),
                                                      strides=(0, 0, 0))),
    "tensor of 100 axes": zipped(one(shape=(1,) * 100, strides=(1,) * 100)),
    "tensor without a name": zipped({0: tensor(FLAT)}),
    "tensor twice": duplicate_key(),
    # programs
    "100,000 marks": program(b"\x80\x02" + b"(" * 100_000 + b"t" * 100_000 + b"."),
    "lists 100,000 deep": program(nested_lists(100_000)),
    "tuples 100,000 deep": program(b"\x80\x02)" + b"\x85" * 100_000 + b"."),
    "tuples 100,000 deep for a key": program(b"\x80\x02})" + b"\x85" * 100_000 + b"Ns."),
    "endless dicts": program(many_values(3_000_000)),
    "endless memo": program(b"\x80\x04" + b"]\x94" * 1_500_000),
    "endless sets of one": program(b"\x80\x02" + b"}K\x01Ns" * 800_000),
    "endless doubling": program(doubling(80_000)),
    "rebuilding 50,000 deep": program(rebuild_in_rebuild(50_000)),
    "a large dict, again and again": program(called_again(
        b"collections\nOrderedDict", b"](" + b"".join(
            b"](U\x05%05dNe" % k for k in range(40_000)) + b"e\x85", 150_000)),
    "a call of many arguments": program(called_again(
        b"collections\ndefaultdict", b"(" + b"N" * 100_000 + b"t")),
    "a tensor of many arguments": program(called_again(
        b"torch._utils\n_rebuild_tensor_v2", b"(" + b"N" * 100_000 + b"t")),
    "a size of many axes": program(called_again(
        b"torch\nSize", b"(" + b"K\x01" * 100_000 + b"t\x85", 200_000)),
    "300,000 tensors": archive(
        [("w/data.pkl", many_tensors(300_000)), BYTEORDER, ("w/data/0", b"")]),
    "strings of 4 GiB": program(b"\x80\x02X\xff\xff\xff\xff."),
    "bytes of 2^63": program(b"\x80\x04\x8e" + struct.pack("<Q", 1 << 63) + b"."),
    "an integer of 10^6 digits": program(b"L" + b"9" * 1_000_000 + b"L\n."),
    "a wide string": program(b"\x80\x02" + 200 * text("\U0001f600" + "a" * 60_000) + b"."),
    "keys that collide": program(b"\x80\x02}(" + b"".join(
        b"\x8a\x0c" + (k * (2**61 - 1)).to_bytes(12, "little") + b"N"
        for k in range(1, 100_000)) + b"u."),
    "a call of os.system": program(b"\x80\x02cos\nsystem\n" + text("true") + b"\x85R."),
    "a call of eval": legacy_file(b"\x80\x02cbuiltins\neval\n" + text("1") + b"\x85R.", {}),
    # .npy headers
    "npz of huge counts": npy_of((10**6, 10**6, 10**6)),
    "npz of a negative size": npy_of((-1, -2)),
    "npz of a size that overflows": npy_of((1 << 63, 2)),
    "npz of fewer bytes": npy_of((3,)),
    "npz of more bytes": npy_of((1,)),
    "npz of objects": npy_of((1,), "|O"),
    "npz of an unknown dtype": npy_of((1,), "<q9"),
    "npz of a dtype that some machines lack": npy_of((1,), "<f16", bytes(16)),
    "npz with a deep header": archive({"a.npy": npy_header("(" * 9000)}),
    "npz with a header that calls": archive({"a.npy": npy_header("__import__('os').getcwd()")}),
    "npz with a long header": archive({"a.npy": npy_header("{" + " " * 60_000 + "}")}),
    "npz without a header": archive({"a.npy": b""}),
    # safetensors
    "safetensors of a huge header": struct.pack("<Q", 1 << 40) + b"{}",
    "safetensors of a long header": struct.pack("<Q", 9 << 20) + b"{" + b" " * (9 << 20),
    "safetensors cut off": safetensors()[:-1],
    "safetensors with bytes left": safetensors() + b"more",
    "safetensors outside the file": safetensors(data_offsets=[0, 1 << 40], shape=[1 << 38]),
    "safetensors of another size": safetensors(shape=[3]),
    "safetensors of a huge shape": safetensors(shape=[1 << 62, 1 << 62]),
    "safetensors of an unknown dtype": safetensors(dtype="F99"),
    "safetensors of float8": header(json.dumps({"a": {
        "dtype": "F8_E4M3", "shape": [8], "data_offsets": [0, 8]}}).encode(), bytes(8)),
    "safetensors of nested lists": header(b'{"a":' + b"[" * 1_000_000),
}  # fmt: skip

CHILD = """
import json, resource, sys
from minigrad.errors import FormatError
from minigrad.formats import load

def peak():
    try:  # of this program alone; ru_maxrss also counts the process that started it
        with open("/proc/self/status") as status:
            return 1024 * next(int(l.split()[1]) for l in status if l.startswith("VmHWM"))
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

try:
    load(sys.argv[1])
    message = None
except FormatError as error:
    message = str(error)
json.dump([message, peak()], sys.stdout)
"""


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_soon_and_in_little_memory(name, tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(HOSTILE[name])
    child = subprocess.run(
        [sys.executable, "-c", CHILD, str(path)], capture_output=True, timeout=HANG, check=False
    )
    assert child.returncode == 0, child.stderr.decode()
    message, peak = json.loads(child.stdout)
    assert message is not None, "it was read"
    assert message.startswith(str(path))
    assert "\n" not in message
    assert len(message) < len(str(path)) + 300
    assert peak < MEMORY


def test_the_bases_of_the_hostile_files_are_sound(tmp_path):
    """So each is refused for what was changed in it, and not for something else."""
    from minigrad.formats import load

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
    from minigrad.errors import FormatError
    from minigrad.formats import load

    for path in (tmp_path, "/dev/zero"):
        with pytest.raises(FormatError, match="not a file"):
            load(path)


def test_a_sparse_file_of_a_tebibyte(tmp_path):
    """Its size is no reason to take memory, or to read it."""
    path = tmp_path / "weights.pth"
    with path.open("wb") as file:
        file.write(LEGACY)
        file.truncate(1 << 40)
    from minigrad.formats import load

    np.testing.assert_array_equal(load(path)["a"], FLAT)


def test_a_zip_of_every_field_changed(tmp_path):
    """Each byte of the directory set to 0 and 255: arrays or a FormatError, nothing else."""
    from minigrad.errors import FormatError
    from minigrad.formats import load

    path = tmp_path / "w.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.npy", npy(FLAT))
    content = path.read_bytes()
    for at in range(len(content)):
        for value in (0, 255):
            path.write_bytes(content[:at] + bytes([value]) + content[at + 1 :])
            with contextlib.suppress(FormatError):
                load(path)
