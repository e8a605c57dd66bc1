"""Files made to hurt: what each does is its name.  They are made here, and never stored."""

from __future__ import annotations

import functools
import json
import pickle
import struct
import zlib

import numpy as np
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


@functools.cache
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


# --- the ends of zip archives ---------------------------------------------------------------

TWO = archive({"a.npy": npy(FLAT), "b.npy": npy(FLAT)})
END_SIZE, ENTRY_SIZE = 22, 51


def end_field(content, field, value, size=2):
    """The archive with one field of its end record changed."""
    at = len(content) - END_SIZE + field
    return content[:at] + value.to_bytes(size, "little") + content[at + size :]


def with_zip64(content, **lies):
    """The archive with the records of zip64 before its end record, some fields of them false."""
    end = content[-END_SIZE:]
    count, size, start = struct.unpack_from("<H2L", end, 10)
    true = {"magic": b"PK\6\6", "length": 44, "made": 45, "needed": 45, "disk": 0, "first": 0,
            "here": count, "count": count, "size": size, "start": start}  # fmt: skip
    at = lies.pop("at", len(content) - END_SIZE)
    end64 = struct.pack("<4sQ2H2L4Q", *(true | lies).values())
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, at, 1)
    return content[:-END_SIZE] + end64 + locator + end


def with_comment(content, comment):
    return content[:-2] + struct.pack("<H", len(comment)) + comment


def all_long(content):
    """The archive with the sizes and places of its first record in the field of zip64."""
    at = content.index(b"PK\1\2")
    (size,) = struct.unpack_from("<L", content, len(content) - END_SIZE + 12)
    packed, nbytes, name = struct.unpack_from("<2LH", content, at + 20)
    (offset,) = struct.unpack_from("<L", content, at + 42)
    extra = struct.pack("<2H3Q", 1, 24, nbytes, packed, offset)
    entry = bytearray(content[at : at + 46 + name])
    entry[20:28], entry[42:46] = b"\xff" * 8, b"\xff" * 4
    entry[30:32] = struct.pack("<H", len(extra))
    longer = content[:at] + bytes(entry) + extra + content[at + 46 + name :]
    return end_field(longer, 12, size + len(extra), 4)


def crc_of(content, name, crc):
    return directory_entry(content, name, 16, crc)


def changed_storage(content):
    """One bit of the first number after 0 changed, in the storage itself."""
    return patched(content, FLAT.tobytes(), b"\0\0\0\0\1" + FLAT.tobytes()[5:])


# --- work and memory ------------------------------------------------------------------------


def wide_tensors(axes, count):
    """Many tensors of many axes under short names, made of memoised parts."""
    body = pickled({"a": Tensor(Storage(FLAT), 0, (1,) * axes, (1,) * axes)})[0]
    call = body[body.index(b"ctorch._utils") : body.rindex(b"R")]
    arguments = call + b"q\xf0"  # the tuple of arguments, kept
    function = b"ctorch._utils\n_rebuild_tensor_v2\nq\xf1"
    each = b"".join(b"U\x06%06dh\xf1h\xf0R" % k for k in range(count))
    return b"\x80\x02}" + arguments + b"00" + function + b"0(" + each + b"u."


def short_wide_texts(count):
    """Texts of one character that takes four bytes, each in an object of its own."""
    return b"\x80\x02(" + text("\U0001f600") * count


def three_pickles(each):
    """A legacy file each of whose pickles takes much."""
    system = b"\x80\x02}(" + b"".join(b"U\x06%06d]" % k for k in range(each)) + b"u."
    head = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2)
    return head + system + system + system


def safetensors_of(text, data=b""):
    return header(text.encode("utf-8", "surrogatepass"), data)


TWICE = '{"dtype":"F32","shape":[1],"data_offsets":[%d,%d]}'


HOSTILE = {
    # containers
    "nothing": lambda: b"",
    "one byte": lambda: b"\x80",
    "text": lambda: b"version https://git-lfs.github.com/spec/v1\n",
    "another pickle": lambda: pickle.dumps({"a": 1}, 2),
    "zip cut in half": lambda: ZIP[: len(ZIP) // 2],
    "zip without its last byte": lambda: ZIP[:-1],
    "legacy cut in half": lambda: LEGACY[: len(LEGACY) // 2],
    "legacy without its last byte": lambda: LEGACY[:-1],
    "legacy of another version": lambda: patched(LEGACY, b"M\xe9\x03", b"M\xea\x03"),
    # records of the zip
    "zip without its storage": lambda: archive([("w/data.pkl", pickled(ONE)[0]), BYTEORDER]),
    "zip with two pickles": lambda: archive([("a/data.pkl", b"}."), ("b/data.pkl", b"}.")]),
    "zip with a record twice": lambda: directory_entry(
        archive([("a.npy", npy(FLAT)), ("b.npy", npy(FLAT))]), "b.npy", 46, ord("a"), 1),
    "zip with overlapping records": lambda: overlapping(),
    "zip with a record in a record": lambda: quoted(),
    "zip with a record elsewhere": lambda: directory_entry(
        archive({"a.npy": npy(FLAT), "b.npy": npy(FLAT)}), "b.npy", 42, 0),
    "zip with an entry outside": lambda: directory_entry(ZIP, "w", 42, 1 << 30),
    "zip with a larger size": lambda: directory_entry(directory_entry(
        ZIP, "weights/data/0", 20, 1 << 31), "weights/data/0", 24, 1 << 31),
    "zip with two sizes": lambda: directory_entry(ZIP, "weights/data/0", 24, 1 << 31),
    "zip encrypted": lambda: directory_entry(ZIP, "weights/data/0", 8, 1, 2),
    "zip packed by another method": lambda: directory_entry(ZIP, "weights/data/0", 10, 12, 2),
    "zip of 65535 entries": lambda: ZIP[:-12] + b"\xff\xff" + ZIP[-10:],
    "zip of another byte order": lambda: archive(
        [("w/data.pkl", b"}."), ("w/byteorder", b"middle")]),
    "zip with a text inside": lambda: archive({"readme.txt": b"hello"}),
    "zip bomb in an .npz": lambda: bomb("a.npy", 1 << 30),
    "zip bomb that gives its size as small": lambda: bomb("a.npy", 1 << 10),
    "zip bomb for a pickle": lambda: bomb("w/data.pkl", 1 << 30),
    "zip bomb for a pickle that gives its size as small": lambda: bomb("w/data.pkl", 1 << 20),
    # storages
    "storage shorter than its tensor": lambda: zipped(one(numel=1 << 40, shape=(1 << 40,))),
    "storage of fewer elements": lambda: zipped(one(numel=23, shape=(23,))),
    "storage of another dtype": lambda: zipped(one(dtype="float64")),
    "storage of a negative size": lambda: zipped(one(numel=-24)),
    "legacy storage of a huge size": lambda: legacy(one(numel=1 << 60)),
    "legacy storage with another count": lambda: patched(LEGACY, NUMEL, struct.pack("<q", 23)),
    "legacy storage with a negative count": lambda: patched(LEGACY, NUMEL, struct.pack("<q", -1)),
    "legacy storage missing from the list": lambda: with_keys([]),
    "legacy storage listed twice": lambda: with_keys(["0", "0"]),
    "legacy storage under another name": lambda: with_keys(["1"]),
    "legacy list of numbers": lambda: with_keys([0]),
    "legacy list that is a dict": lambda: with_keys({"0": 1}),
    "legacy storage of two sizes": lambda: legacy({
        "a": Tensor(Storage(FLAT, key="0"), 0, (1,), (1,)),
        "b": Tensor(Storage(FLAT[:9], key="0"), 0, (1,), (1,))}),
    "bools that are neither": lambda: zipped(
        {"a": Tensor(Storage(np.full(24, 2, "u1"), "bool"), 0, (24,), (1,))}),
    # tensors
    "tensor of a negative stride": lambda: zipped(one(offset=23, strides=(-1,))),
    "tensor that reaches outside": lambda: zipped(one(strides=(2,))),
    "tensor that begins outside": lambda: zipped(one(offset=24, shape=(1,))),
    "tensor of a negative offset": lambda: zipped(one(offset=-1)),
    "tensor of a negative size": lambda: zipped(one(shape=(-1,))),
    "tensor of a stride that overflows": lambda: zipped(one(shape=(2,), strides=(1 << 63,))),
    "tensor of a huge offset": lambda: zipped(one(offset=1 << 200)),
    "tensor with a stride missing": lambda: zipped(one(shape=(2, 3))),
    "tensor of a size that is text": lambda: zipped(one(shape=("24",))),
    "tensor of a size that is a float": lambda: zipped(one(shape=(24.0,))),
    "tensor of 10^12 elements in one": lambda: zipped(one(shape=(10**6, 10**6), strides=(0, 0))),
    "tensor of 2^2000 elements": lambda: zipped(one(shape=(1 << 63,) * 32, strides=(0,) * 32)),
    "tensor of no elements, but too many": lambda: zipped(one(shape=(0, 1 << 62, 1 << 62),
                                                      strides=(0, 0, 0))),
    "tensor of 100 axes": lambda: zipped(one(shape=(1,) * 100, strides=(1,) * 100)),
    "tensor without a name": lambda: zipped({0: tensor(FLAT)}),
    "tensor twice": lambda: duplicate_key(),
    # programs
    "100,000 marks": lambda: program(b"\x80\x02" + b"(" * 100_000 + b"t" * 100_000 + b"."),
    "lists 100,000 deep": lambda: program(nested_lists(100_000)),
    "tuples 100,000 deep": lambda: program(b"\x80\x02)" + b"\x85" * 100_000 + b"."),
    "tuples 100,000 deep for a key": lambda: program(b"\x80\x02})" + b"\x85" * 100_000 + b"Ns."),
    "endless dicts": lambda: program(many_values(3_000_000)),
    "endless memo": lambda: program(b"\x80\x04" + b"]\x94" * 1_500_000),
    "endless sets of one": lambda: program(b"\x80\x02" + b"}K\x01Ns" * 800_000),
    "endless doubling": lambda: program(doubling(80_000)),
    "rebuilding 50,000 deep": lambda: program(rebuild_in_rebuild(50_000)),
    "a large dict, again and again": lambda: program(called_again(
        b"collections\nOrderedDict", b"](" + b"".join(
            b"](U\x05%05dNe" % k for k in range(40_000)) + b"e\x85", 150_000)),
    "a call of many arguments": lambda: program(called_again(
        b"collections\ndefaultdict", b"(" + b"N" * 100_000 + b"t")),
    "a tensor of many arguments": lambda: program(called_again(
        b"torch._utils\n_rebuild_tensor_v2", b"(" + b"N" * 100_000 + b"t")),
    "a size of many axes": lambda: program(called_again(
        b"torch\nSize", b"(" + b"K\x01" * 100_000 + b"t\x85", 200_000)),
    "300,000 tensors": lambda: archive(
        [("w/data.pkl", many_tensors(300_000)), BYTEORDER, ("w/data/0", b"")]),
    "strings of 4 GiB": lambda: program(b"\x80\x02X\xff\xff\xff\xff."),
    "bytes of 2^63": lambda: program(b"\x80\x04\x8e" + struct.pack("<Q", 1 << 63) + b"."),
    "an integer of 10^6 digits": lambda: program(b"L" + b"9" * 1_000_000 + b"L\n."),
    "a wide string": lambda: program(b"\x80\x02" + 200 * text("\U0001f600" + "a" * 60_000) + b"."),
    "keys that collide": lambda: program(b"\x80\x02}(" + b"".join(
        b"\x8a\x0c" + (k * (2**61 - 1)).to_bytes(12, "little") + b"N"
        for k in range(1, 100_000)) + b"u."),
    "a call of os.system": lambda: program(b"\x80\x02cos\nsystem\n" + text("true") + b"\x85R."),
    "a call of eval": lambda: legacy_file(b"\x80\x02cbuiltins\neval\n" + text("1") + b"\x85R.", {}),
    # .npy headers
    "npz of huge counts": lambda: npy_of((10**6, 10**6, 10**6)),
    "npz of a negative size": lambda: npy_of((-1, -2)),
    "npz of a size that overflows": lambda: npy_of((1 << 63, 2)),
    "npz of fewer bytes": lambda: npy_of((3,)),
    "npz of more bytes": lambda: npy_of((1,)),
    "npz of objects": lambda: npy_of((1,), "|O"),
    "npz of an unknown dtype": lambda: npy_of((1,), "<q9"),
    "npz of a dtype that some machines lack": lambda: npy_of((1,), "<f16", bytes(16)),
    "npz with a deep header": lambda: archive({"a.npy": npy_header("(" * 9000)}),
    "npz with a header that calls": lambda: archive(
        {"a.npy": npy_header("__import__('os').getcwd()")}),
    "npz with a long header": lambda: archive({"a.npy": npy_header("{" + " " * 60_000 + "}")}),
    "npz without a header": lambda: archive({"a.npy": b""}),
    # safetensors
    "safetensors of a huge header": lambda: struct.pack("<Q", 1 << 40) + b"{}",
    "safetensors of a long header": lambda: struct.pack("<Q", 9 << 20) + b"{" + b" " * (9 << 20),
    "safetensors cut off": lambda: safetensors()[:-1],
    "safetensors with bytes left": lambda: safetensors() + b"more",
    "safetensors outside the file": lambda: safetensors(data_offsets=[0, 1 << 40], shape=[1 << 38]),
    "safetensors of another size": lambda: safetensors(shape=[3]),
    "safetensors of a huge shape": lambda: safetensors(shape=[1 << 62, 1 << 62]),
    "safetensors of an unknown dtype": lambda: safetensors(dtype="F99"),
    "safetensors of float8": lambda: header(json.dumps({"a": {
        "dtype": "F8_E4M3", "shape": [8], "data_offsets": [0, 8]}}).encode(), bytes(8)),
    "safetensors of nested lists": lambda: header(b'{"a":' + b"[" * 1_000_000),
    # the ends of archives
    "zip with fewer entries than counted": lambda: end_field(end_field(TWO, 8, 3), 10, 3),
    "zip with more entries than counted": lambda: end_field(end_field(TWO, 8, 1), 10, 1),
    "zip with no entries counted": lambda: end_field(end_field(TWO, 8, 0), 10, 0),
    "zip with an empty directory": lambda: end_field(end_field(end_field(end_field(
        TWO, 8, 0), 10, 0), 12, 0, 4), 16, 0, 4),
    "zip with an empty directory at its end": lambda: end_field(end_field(end_field(end_field(
        TWO, 8, 0), 10, 0), 12, 0, 4), 16, len(TWO) - END_SIZE, 4),
    "zip with its first record left out": lambda: end_field(end_field(end_field(end_field(
        TWO, 8, 1), 10, 1), 12, ENTRY_SIZE, 4), 16, len(TWO) - END_SIZE - ENTRY_SIZE, 4),
    "zip with two counts": lambda: end_field(TWO, 8, 1),
    "zip of several disks": lambda: end_field(TWO, 4, 1),
    "zip with a directory of another size": lambda: end_field(TWO, 12, 10, 4),
    "zip with a directory elsewhere": lambda: end_field(TWO, 16, 0, 4),
    "zip with a directory outside": lambda: end_field(TWO, 16, 1 << 31, 4),
    "zip with a longer comment": lambda: TWO[:-2] + b"\x05\x00",
    "zip with bytes after its end": lambda: TWO + b"more",
    "zip with bytes before its beginning": lambda: b"PK\3\4" + bytes(60) + TWO,
    "zip twice": lambda: TWO + TWO,
    "zip64 of another magic": lambda: with_zip64(TWO, magic=b"PK\6\0"),
    "zip64 with another count": lambda: with_zip64(TWO, count=1, here=1),
    "zip64 with two counts": lambda: with_zip64(TWO, here=1),
    "zip64 with another start": lambda: with_zip64(TWO, start=0),
    "zip64 with another size": lambda: with_zip64(TWO, size=1),
    "zip64 of several disks": lambda: with_zip64(TWO, disk=1),
    "zip64 of another length": lambda: with_zip64(TWO, length=1 << 62),
    "zip64 outside": lambda: with_zip64(TWO, at=1 << 62),
    "zip64 at the beginning": lambda: with_zip64(TWO, at=0),
    "zip64 of 2^63 entries": lambda: end_field(end_field(with_zip64(
        TWO, count=1 << 63, here=1 << 63), 8, 0xFFFF), 10, 0xFFFF),
    "zip64 without a record's size": lambda: directory_entry(TWO, "a.npy", 20, 0xFFFFFFFF),
    "zip64 with a record outside": lambda: patched(
        all_long(TWO), struct.pack("<2Q", 224, 224), struct.pack("<2Q", 1 << 62, 1 << 62)),
    "zip of 65,000 records": lambda: archive({f"{k}.npy": b"" for k in range(65_000)}),
    "zip of 60,000 arrays": lambda: archive({f"{k}.npy": npy(FLAT[:1]) for k in range(60_000)}),
    "zip of a name that is not UTF-8": lambda: patched(TWO, b"a.npy", b"\xff.npy"),
    # checksums
    "pth with a changed storage": lambda: changed_storage(ZIP),
    "pth with another checksum": lambda: crc_of(ZIP, "weights/data/0", 1),
    "pth with a changed pickle": lambda: patched(ZIP, b"\x89", b"\x88"),
    "npz with a checksum of 0": lambda: crc_of(TWO, "a.npy", 0),
    "npz packed, cut": lambda: archive({"a.npy": npy(FLAT)}, 8).replace(b"\x4b", b"\x4a"),
    # work and memory
    "10,000 tensors of 32 axes": lambda: archive(
        [("w/data.pkl", wide_tensors(32, 10_000)), BYTEORDER, ("w/data/0", FLAT.tobytes())]),
    "10,000 tensors of 32 axes, packed": lambda: archive(
        [("w/data.pkl", wide_tensors(32, 10_000)), BYTEORDER, ("w/data/0", FLAT.tobytes())], 8),
    "short wide texts": lambda: program(short_wide_texts(200_000)),
    "short wide texts, packed": lambda: archive([
        ("w/data.pkl", short_wide_texts(600_000)), BYTEORDER], 8),
    "three pickles of 100,000 lists": lambda: three_pickles(100_000),
    "a pickle of 16 MiB of bytes": lambda: program(
        b"\x80\x04" + 60 * (b"B" + struct.pack("<I", 1 << 18) + bytes(1 << 18))),
    "a pickle of 17 MiB": lambda: program(bytes(17 << 20)),
    "many texts of a wide character": lambda: archive([("w/data.pkl", b"\x80\x02(" + 250 * text(
        "\U0001f600" + "a" * 60_000)), BYTEORDER], 8),
    "many names": lambda: program(b"\x80\x02(" + b"c" + b"m" * 200 + b"\nn\n" * 1 + b"".join(
        b"c" + b"m" * 200 + b"\n" + b"n" * 200 + b"\n" for _ in range(30_000))),
    "many keys that are not hashed": lambda: program(b"\x80\x02}(" + b")N" * 300_000 + b"u."),
    "long integers for keys": lambda: program(b"\x80\x02}(" + (
        b"\x8a\x20" + b"\x7f" * 32 + b"N") * 150_000 + b"u."),
    "pairs, again and again": lambda: program(called_again(
        b"collections\nOrderedDict", b"](" + b"".join(
            b"U\x05%05dN\x86" % k for k in range(40_000)) + b"e\x85", 150_000)),
    "pairs with a key twice": lambda: legacy_file(
        b"\x80\x02ccollections\nOrderedDict\n](U\x01aN\x86U\x01aN\x86e\x85R.", {}),
    "64 bits of bfloat16 for each 16": lambda: zipped({str(k): Tensor(Storage(
        np.zeros(1 << 20, "u2"), "bfloat16", key=str(k)), 0, (1 << 24,), (0,)) for k in range(9)}),
    "a large integer for a size": lambda: zipped(one(shape=(1 << 250,))),
    "a large number of elements": lambda: zipped(one(numel=1 << 250)),
    # names and metadata
    "a name of 28 MB": lambda: archive({"x" * 60_000 + str(k): b"" for k in range(400)}),
    "a name with escapes": lambda: archive({"\x1b[31mred\x07": b""}),
    "a tensor whose name has escapes": lambda: zipped(
        {"\x1b]0;title\x07\n" * 9: Tensor(Storage(FLAT), 0, (1 << 40,), (0,))}),
    "a storage whose name has escapes": lambda: patched(
        ZIP, b"X\x01\x00\x00\x000", b"X\x01\x00\x00\x00\x1b"),
    "90,000 names": lambda: legacy({f"\x1b{k}": 1 for k in range(90_000)}),
    "a lone surrogate for a name": lambda: zipped(
        {"\ud800": Tensor(Storage(FLAT), 0, (1 << 40,), (0,))}),
    "a global whose name has escapes": lambda: program(
        b"\x80\x04" + text("\x1b[31m") + text("\u202e" * 100) + b"\x93)R."),
    "metadata of numbers": lambda: archive({"__metadata__.npy": npy(FLAT)}),
    "metadata of 2 MB": lambda: archive({"__metadata__.npy": npy(np.full(1 << 21, 32, "u1"))}),
    "metadata that are a list": lambda: archive(
        {"__metadata__.npy": npy(np.frombuffer(b'["a"]', "u1"))}),
    "metadata, nested deep": lambda: archive(
        {"__metadata__.npy": npy(np.frombuffer(b"[" * 100_000, "u1"))}),
    # more of safetensors
    "safetensors with a name twice": lambda: safetensors_of(
        f'{{"a":{TWICE % (0, 4)},"a":{TWICE % (4, 8)}}}', bytes(8)),
    "safetensors with a field twice": lambda: safetensors_of(
        '{"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}}', bytes(4)),
    "safetensors with metadata twice": lambda: safetensors_of(
        '{"__metadata__":{"a":"b","a":"c"}}'),
    "safetensors with overlapping tensors": lambda: safetensors_of(
        f'{{"a":{TWICE % (0, 4)},"b":{TWICE % (0, 4)}}}', bytes(4)),
    "safetensors with a gap": lambda: safetensors_of(f'{{"a":{TWICE % (4, 8)}}}', bytes(8)),
    "safetensors with a gap between": lambda: safetensors_of(
        f'{{"a":{TWICE % (0, 4)},"b":{TWICE % (8, 12)}}}', bytes(12)),
    "safetensors backwards": lambda: safetensors(data_offsets=[8, 0]),
    "safetensors before the data": lambda: safetensors(data_offsets=[-8, 0]),
    "safetensors with a negative size": lambda: safetensors(shape=[-2]),
    "safetensors with a size in quotes": lambda: safetensors(shape=["2"]),
    "safetensors with a fraction": lambda: safetensors(shape=[2.0]),
    "safetensors with a size of true": lambda: safetensors(shape=[True, 2]),
    "safetensors with a large number": lambda: safetensors_of(
        '{"a":{"dtype":"F32","shape":[' + "9" * 5000 + '],"data_offsets":[0,4]}}', bytes(4)),
    "safetensors with NaN": lambda: safetensors_of('{"a":NaN}'),
    "safetensors that are a list": lambda: safetensors_of('{"a":[]}'),
    "safetensors with a tensor that is a number": lambda: safetensors_of('{"a":1}'),
    "safetensors without a shape": lambda: safetensors_of(
        '{"a":{"dtype":"F32","data_offsets":[0,4]}}', bytes(4)),
    "safetensors with metadata that are numbers": lambda: safetensors_of(
        '{"__metadata__":{"a":1}}'),
    "safetensors with metadata that are text": lambda: safetensors_of('{"__metadata__":"a"}'),
    "safetensors that are not UTF-8": lambda: header(b'{"\xff":1}'),
    "safetensors of 300,000 objects": lambda: safetensors_of(
        '{"a":[' + "{}," * 300_000 + "{}]}"),
    "safetensors of 700,000 lists": lambda: safetensors_of('{"a":[' + "[]," * 690_000 + "[]]}"),
    "safetensors of wide names": lambda: safetensors_of("{" + ",".join(
        f'"\U0001f600{k}":{{}}' for k in range(60_000)) + "}"),
    "safetensors of 30,000 tensors": lambda: safetensors_of("{" + ",".join(
        f'"{k}":{{"dtype":"U8","shape":[],"data_offsets":[{k},{k + 1}]}}'
        for k in range(30_000)) + "}", bytes(30_000)),
    "safetensors of 33 axes": lambda: safetensors(shape=[1] * 32 + [2]),
    "safetensors with bools that are neither": lambda: safetensors(dtype="BOOL", shape=[8])[:-1]
    + b"\2",
    "safetensors with less than a length": lambda: b"\1\0\0{",
}  # fmt: skip


def length_like(magic):
    """A safetensors file, the length of whose header has the bytes of another format's sign."""
    length = int.from_bytes(magic, "little")
    text = json.dumps({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}})
    return safetensors_of(text + " " * (length - len(text)), bytes(8))


# As strange as a file may be, and not broken.
STRANGE = {
    "safetensors that begins as a pickle": lambda: length_like(b"\x80\x02"),
    "safetensors that begins as a newer pickle": lambda: length_like(b"\x80\x04"),
    "safetensors that begins as a zip": lambda: length_like(b"PK"),
    "safetensors that begins as a pickle of protocol 1": lambda: length_like(b"L1"),
    "safetensors of nothing": lambda: header(b"{}"),
    "safetensors with metadata alone": lambda: safetensors_of(
        '{"__metadata__":{"a":"\U0001f600"}}'),
    "zip with a comment": lambda: with_comment(TWO, b"a comment"),
    "zip with an end record in its comment": lambda: with_comment(TWO, b"PK\5\6" + bytes(30)),
    "zip of nothing": lambda: archive({}),
    "zip64": lambda: with_zip64(TWO),
    "zip64 with all in the long record": lambda: end_field(end_field(end_field(end_field(
        with_zip64(TWO), 8, 0xFFFF), 10, 0xFFFF), 12, 0xFFFFFFFF, 4), 16, 0xFFFFFFFF, 4),
    "zip64 with a record in the long field": lambda: all_long(TWO),
    "pth without checksums": lambda: crc_of(ZIP, "weights/data/0", 0),
    "pth with a call of os.system beside": lambda: legacy_file(patched(
        pickled(ONE)[0], b"}q\0" + text("a"), b"}q\0" + text("x") + b"cos\nsystem\n" + text(
            "true") + b"\x85Rs" + text("a")), pickled(ONE)[1]),
    "legacy with bytes after its end": lambda: LEGACY + bytes(1 << 20),
    "tensors of 32 axes": lambda: archive(
        [("w/data.pkl", wide_tensors(32, 1000)), BYTEORDER, ("w/data/0", FLAT.tobytes())]),
    "expanded tensors": lambda: zipped(one(shape=(1000, 1000), strides=(0, 0))),
    "60 MiB of packed zeros": lambda: archive({"a.npy": npy(np.zeros(60 << 20, "u1"))}, 8),
    "bfloat16": lambda: zipped({"a": Tensor(Storage(
        np.zeros(20 << 20, "u2"), "bfloat16"), 0, (20 << 20,), (1,))}),
    "3,000 tensors": lambda: zipped({f"layer.{k}": tensor(FLAT) for k in range(3000)}),
}  # fmt: skip
