"""The pickle machine: reads what the standard library writes, and never calls anything."""

from __future__ import annotations

import contextlib
import io
import pickle
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigrad.errors import FormatError
from minigrad.formats.pickle_reader import MAX_MARKS, MAX_OPCODES, read_pickle
from minigrad.formats.tensors import ALLOWED

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


def read(program, allowed=ALLOWED):
    return read_pickle(memoryview(program), 0, allowed)[0]


@given(values, st.sampled_from([2, 3, 4, 5]))
def test_reads_what_the_standard_library_writes(value, protocol):
    names = {"_codecs.encode": lambda arguments: arguments[0].encode(arguments[1])}
    if protocol == 2:  # which has no opcode for bytes, and calls bytes() when they are empty
        names |= {"__builtin__.bytes": lambda arguments: b""}
    program = pickle.dumps(value, protocol)
    found, end = read_pickle(memoryview(program + b"more"), 0, names)
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
    sentinel = tmp_path / "it_ran"
    program = gadgets(f"touch {sentinel}")[name]
    with pytest.raises(FormatError) as caught:
        read(program)
    assert not sentinel.exists()
    assert "\n" not in str(caught.value)


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
    with pytest.raises(FormatError, match="antigravity"):
        read(b"\x80\x02cantigravity\nfly\n.")


def test_no_state_reaches_an_object():
    found = read(b"\x80\x02ccollections\nOrderedDict\n)R}" + text("popitem") + b"K\x01sb.")
    assert type(found) is dict
    assert found == {}


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
        (b"N0" * (MAX_OPCODES // 2) + b"N.", "opcodes"),
        (b"X\xff\xff\xff\xff.", "string of 4,294,967,295 bytes"),
        (b"B\xff\xff\xff\xff.", "truncated"),
        (b"\x8e" + b"\xff" * 8 + b".", "truncated"),
        (b"\x8b\xff\xff\xff\x7f.", "integer of"),
        (b"L" + b"9" * 5000 + b"L\n.", "line"),
        (b"L" + b"9" * 200 + b"L\n.", "integer"),
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
        (b"}]Ns.", "key that is a list"),
        (b"}N\x85Ns.", "key that is a tuple"),
        (b"}\x8a\x08" + struct.pack("<q", 2**61 - 1) + b"Ns.", "key that is a int"),
        (b"}K\x01NsK\x01Ns.", "twice"),
        (b"NNa.", "appends to a NoneType"),
        (b"X\x01\x00\x00\x00\xff.", "UTF-8"),
        (b"S'text'\n.", "STRING"),
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
    modules = {build.__module__ for build in ALLOWED.values() if build is not None}
    assert modules == {"minigrad.formats.tensors"}
