"""The pickle machine: reads what the standard library writes, and never calls anything."""

from __future__ import annotations

import argparse
import contextlib
import datetime
import decimal
import enum
import fractions
import functools
import io
import pathlib
import pickle
import random
import struct
import uuid
from collections import Counter, OrderedDict, defaultdict, deque

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigrad.errors import FormatError
from minigrad.formats.limits import MAX_STEPS, Budget
from minigrad.formats.pickle_machine import MAX_MARKS, Global, Opaque, Ordered
from minigrad.formats.pickle_reader import read_pickle
from minigrad.formats.tensors import BUILDERS

keys = st.text() | st.integers(-(2**59), 2**59) | st.none()
scalars = (
    st.none() | st.booleans() | st.integers(-(2**127), 2**127) | st.floats(allow_nan=False)
    | st.text() | st.binary()
)  # fmt: skip
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(keys, inner),
    max_leaves=40,
)


def read(program, globals_=BUILDERS):
    return read_pickle(memoryview(program), 0, globals_, Budget(1 << 20))[0]


@given(values, st.sampled_from([2, 3, 4, 5]))
def test_reads_what_the_standard_library_writes(value, protocol):
    names = {"_codecs.encode": lambda arguments, budget: arguments[0].encode(arguments[1])}
    if protocol == 2:  # which has no opcode for bytes, and calls bytes() when they are empty
        names |= {"__builtin__.bytes": lambda arguments, budget: b""}
    program = pickle.dumps(value, protocol)
    found, end = read_pickle(memoryview(program + b"more"), 0, names, Budget(0))
    assert repr(found) == repr(value)
    assert end == len(program)


@given(st.recursive(st.booleans() | st.integers() | st.floats(allow_nan=False), st.lists))
def test_reads_protocol_1(value):
    text = pickle.dumps(value, 1)
    if all(len(line) < 30 for line in text.split(b"\n")):
        assert read(text) == value


def test_shared_and_cyclic_values_stay_shared_and_cyclic():
    shared = [1]
    cycle = [shared, shared]
    cycle.append(cycle)
    found = read(pickle.dumps(cycle, 2))
    assert found[0] is found[1]
    assert found[2] is found


def test_a_set_is_read_as_a_list():
    assert sorted(read(pickle.dumps({3, 1, 2}, 4))) == [1, 2, 3]
    assert sorted(read(pickle.dumps(frozenset([3, 1, 2]), 4))) == [1, 2, 3]


def test_python_2_strings_are_text():
    assert read(b"\x80\x02U\x03abcT\x02\x00\x00\x00de\x86.") == ("abc", "de")


# --- programs that try to run something ----------------------------------------------------


def text(value):
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def gadgets(command):
    """Ways to make Python's unpickler run ``command``, by name."""
    run, argument = b"cos\nsystem\n", text(command)
    from_type = b"ctorch._tensor\n_rebuild_from_type_v2\n"
    base = b"c__builtin__\nobject\n"
    evil = text("os") + text("system") + b"\x93"
    python = text(f"__import__('os').system({command!r})")
    return {
        "REDUCE": b"\x80\x02" + run + b"(" + argument + b"tR.",
        "REDUCE posix": b"\x80\x02cposix\nsystem\n(" + argument + b"tR.",
        "REDUCE eval": b"\x80\x02cbuiltins\neval\n(" + python + b"tR.",
        "REDUCE eval, Python 2": b"\x80\x02c__builtin__\neval\n(" + python + b"tR.",
        "REDUCE exec": b"\x80\x02cbuiltins\nexec\n(" + python + b"tR.",
        "REDUCE subprocess": b"\x80\x02csubprocess\ncall\n(](" + argument + b"etR.",
        "REDUCE getattr": b"\x80\x02cbuiltins\ngetattr\n(cos\nsystem\n" + argument + b"tR.",
        "STACK_GLOBAL": b"\x80\x04" + evil + argument + b"\x85R.",
        "STACK_GLOBAL dotted": b"\x80\x04" + text("collections") + text(
            "OrderedDict.__init__.__globals__") + b"\x93.",
        "STACK_GLOBAL split elsewhere": b"\x80\x04" + text("torch._utils") + text(
            "_rebuild_tensor_v2.__globals__") + b"\x93.",
        "INST": b"(" + argument + b"ios\nsystem\n.",
        "OBJ": b"(" + run + argument + b"o.",
        "NEWOBJ": b"\x80\x02" + run + argument + b"\x85\x81.",
        "NEWOBJ_EX": b"\x80\x04" + evil + argument + b"\x85}\x92.",
        "BUILD __setstate__": b"\x80\x02ccollections\nOrderedDict\n)R}" + text(
            "__setstate__") + run + b"sb" + argument + b"b.",
        "BUILD __reduce__": b"\x80\x02cargparse\nNamespace\n)\x81}" + text(
            "__class__") + run + b"sb.",
        "EXT1": b"\x80\x02\x82\x01" + argument + b"\x85R.",
        "EXT2": b"\x80\x02\x83\x01\x00" + argument + b"\x85R.",
        "EXT4": b"\x80\x02\x84\x01\x00\x00\x00" + argument + b"\x85R.",
        "PERSID": b"Pos.system\n.",
        "BINPERSID": b"\x80\x02" + text("storage") + run + argument + b"\x87Q.",
        "call of a string": b"\x80\x02" + text("os.system") + argument + b"\x85R.",
        "call of a storage type": b"\x80\x02ctorch\nFloatStorage\n" + argument + b"\x85R.",
        "call through _rebuild_from_type_v2":
            b"\x80\x02" + from_type + b"(" + run + run + argument + b"\x85NtR.",
        "reconstruct": b"\x80\x02ccopy_reg\n_reconstructor\n(" + run + base + b"NtR.",
        "runpy": b"\x80\x02crunpy\nrun_path\n" + argument + b"\x85R.",
        "torch.load": b"\x80\x02ctorch\nload\n" + argument + b"\x85R.",
        "numpy.load": b"\x80\x02cnumpy\nload\n" + argument + b"\x85R.",
        "defaultdict": b"\x80\x02ccollections\ndefaultdict\n" + run + b"\x85R" + argument + b"Ns.",
        "path with a newline": b"\x80\x04" + text("os\nsystem") + text("x") + b"\x93.",
    }  # fmt: skip


@pytest.mark.parametrize("name", gadgets(""))
def test_a_program_that_calls_runs_nothing(name, tmp_path):
    """It gives a value that is not read, or is refused; what it names is never called."""
    sentinel = tmp_path / "it_ran"
    program = gadgets(f"touch {sentinel}")[name]
    with contextlib.suppress(FormatError):
        assert type(read(program)) in (Opaque, Global, Ordered, dict)
    assert not sentinel.exists()


@pytest.mark.parametrize("name", ["REDUCE", "REDUCE eval", "INST", "OBJ", "STACK_GLOBAL", "NEWOBJ"])
def test_the_sentinel_would_see_a_call(name, tmp_path):
    """The proof above is worth something: Python's own unpickler does run these."""
    sentinel = tmp_path / "it_ran"
    try:
        pickle.Unpickler(io.BytesIO(gadgets(f"touch {sentinel}")[name])).load()
    except (TypeError, pickle.UnpicklingError):
        assert name == "NEWOBJ"  # os.system is no class; it is refused before the call
        return
    assert sentinel.exists()


def test_nothing_named_in_a_file_is_imported(monkeypatch):
    monkeypatch.setattr("builtins.__import__", None)
    found = read(b"\x80\x02cantigravity\nfly\n)R.")
    assert type(found) is Opaque
    assert found.name == "antigravity.fly"


def test_the_state_of_a_dict_is_data_beside_it():
    found = read(b"\x80\x02ccollections\nOrderedDict\n)R}" + text("popitem") + b"K\x01sb.")
    assert found == {}
    assert found.attributes == {"popitem": 1}


def test_what_is_not_read_takes_items_and_states_and_drops_them():
    made = b"\x80\x02cmine\nThing\n)\x81"
    items = b"K\x01K\x02s(K\x01K\x02u" + b"Na(NNe" + b"}" + text("x") + b"Nsb"
    found = read(made + items + b".")
    assert type(found) is Opaque
    assert found.name == "mine.Thing"


class Enum(enum.Enum):
    ONE = 1


OBJECTS = {
    "numpy array": np.arange(3.0), "numpy scalar": np.float64(0.5), "numpy text": np.str_("x"),
    "numpy generator": np.random.default_rng(0), "numpy old generator": np.random.RandomState(0),
    "python generator": random.getstate(), "date": datetime.datetime(2020, 1, 2),
    "delta": datetime.timedelta(1), "posix path": pathlib.PurePosixPath("a/b"),
    "windows path": pathlib.PureWindowsPath("c:/b"), "enum": Enum.ONE, "deque": deque([1, 2], 3),
    "counter": Counter("aab"), "set": {1, (2, 3)}, "frozen set": frozenset([1]), "complex": 1 + 2j,
    "decimal": decimal.Decimal("1.5"), "fraction": fractions.Fraction(1, 3), "range": range(5),
    "slice": slice(1, 2), "bytearray": bytearray(b"abc"), "long text": "x" * 1_000_000,
    "wide text": "\U0001f600" * 100_000, "long integer": 1 << 5000, "class": OrderedDict,
    "tuple keys": {(1, 2): 3, (1, (2, 3)): 4}, "number keys": {0.5: 1, 1 << 70: 2, -3: 4},
    "bytes keys": {b"a": 1}, "namespace": argparse.Namespace(lr=0.1), "exception": ValueError("x"),
    "uuid": uuid.UUID(int=5), "partial": functools.partial(print, 1),
    "default dict": defaultdict(list, a=[1]), "lone surrogate": "\ud800", "nan": float("nan"),
}  # fmt: skip


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("name", OBJECTS)
def test_what_stands_beside_the_tensors_never_stands_in_the_way(name, protocol):
    value = {"before": [1, OBJECTS[name]], "object": OBJECTS[name], "after": "sound"}
    found = read(pickle.dumps(value, protocol))
    assert list(found) == ["before", "object", "after"]
    assert found["after"] == "sound"


def test_arrays_and_scalars_of_python_2():
    """As Python 2 wrote numpy.float64(0.5) and an array of bytes 0 to 255 in protocol 2."""
    state = b"(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    dtype = b"cnumpy\ndtype\n(U\x02f8K\x00K\x01tR" + state
    scalar = b"cnumpy.core.multiarray\nscalar\n(" + dtype + b"U\x08\x00\x00\x00\x00\x00\x00\xe0?tR"
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR(K\x01(K\x20t"
        + dtype + b"\x89T\x00\x01\x00\x00" + bytes(range(256)) + b"tb"
    )  # fmt: skip
    found = read(b"\x80\x02}(U\x01a" + scalar + b"U\x01b" + array + b"U\x01cI01\nu.")
    assert [type(value) for value in found.values()] == [Opaque, Opaque, bool]


# --- limits --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (b"", "ends early"),
        (b"\x80\x02", "ends early"),
        (b"\x80\x09N.", "protocol 9"),
        (b".", "other than one value"),
        (b"NN.", "other than one value"),
        (b"(N.", "other than one value"),
        (b"(" * (MAX_MARKS + 1), "nested"),
        (b"N0" * (MAX_STEPS // 2) + b"N.", "steps"),
        (b"X\xff\xff\xff\xff.", "truncated"),
        (b"B\xff\xff\xff\xff.", "truncated"),
        (b"\x8e" + b"\xff" * 8 + b".", "truncated"),
        (b"\x8b\xff\xff\xff\x7f.", "truncated"),
        (b"L" + b"9" * 5000 + b"L\n.", "line"),
        (b"Iabc\n.", "integer"),
        (b"\x95" + b"\xff" * 8 + b"N.", "frame"),
        (b"h\x00.", "never stored"),
        (b"j\xff\xff\xff\xff.", "never stored"),
        (b"q\x00.", "ends early"),
        (b"R.", "ends early"),
        (b"t.", "ends early"),
        (b"K\x01\x86.", "ends early"),
        (b"b.", "ends early"),
        (b"}(K\x01u.", "keys and values"),
        (b"}K\x01NsK\x01Ns.", "twice"),
        (b"NNa.", "appends to a NoneType"),
        (b"X\x01\x00\x00\x00\xff.", "UTF-8"),
        (b"S'text'\n.", "STRING"),
        (b"K\x01)R.", "calls an int"),
        (b"cos\nsystem\nK\x01R.", "which cannot be called"),
        (b"cos\nsystem\n)K\x01\x92.", "keywords"),
        (b"(o.", "calls a NoneType"),
        (b"\xff.", "0xff"),
    ],
)
def test_a_broken_program_is_refused(program, message):
    with pytest.raises(FormatError, match=message):
        read(program)


@given(st.binary(max_size=60))
def test_any_bytes_give_a_value_or_a_format_error(program):
    with contextlib.suppress(FormatError):
        read(program)


def test_every_truncation_is_refused():
    program = pickle.dumps({"a": [1, 2.5, ("x", b"y", 2**80)], "b": {"c": None}}, 4)
    for end in range(len(program)):
        with pytest.raises(FormatError):
            read(program[:end])


def test_every_name_on_the_list_stands_for_a_function_of_ours():
    assert {build.__module__ for build in BUILDERS.values()} == {"minigrad.formats.tensors"}
