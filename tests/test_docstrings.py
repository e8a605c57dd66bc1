"""help() of anything public stands by itself: numpydoc's sections, in its order.

A function has Parameters if it takes any, Returns if it gives something, Raises if it takes
something that can be wrong, and Examples.  A class has Parameters (or Attributes, if it is a
record that is only read) and Examples.  ``docstring_gaps.txt`` lists what is still missing.
"""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path

import pytest

import minigrad as mg

PACKAGES = (
    "minigrad", "minigrad.nn", "minigrad.nn.init", "minigrad.optim", "minigrad.data",
    "minigrad.engine", "minigrad.formats", "minigrad.models", "minigrad.verify", "minigrad.vision",
)  # fmt: skip
ORDER = (
    "Parameters", "Attributes", "Returns", "Yields", "Raises", "Warns", "See Also", "Notes",
    "References", "Examples",
)  # fmt: skip
GAPS = Path(__file__).with_name("docstring_gaps.txt")


def public():
    """{dotted name: object} of every public function and class, each once."""
    found, seen = {}, set()
    for package in PACKAGES:
        module = importlib.import_module(package)
        for name in getattr(module, "__all__", ()):
            value = getattr(module, name)
            if inspect.ismodule(value) or not callable(value) or id(value) in seen:
                continue
            seen.add(id(value))
            found[f"{package}.{name}"] = value
    return found


def sections(text):
    """{section: its lines} of a docstring."""
    lines = inspect.cleandoc(text or "").splitlines()
    found, current = {}, None
    for line, under in zip(lines, [*lines[1:], ""], strict=True):
        if line and re.fullmatch(r"-+", under) and line in ORDER:
            current = found.setdefault(line, [])
        elif current is not None:
            current.append(line)
    return found


def is_record(value):
    return issubclass(value, tuple) or hasattr(value, "__dataclass_fields__")


def missing(value):
    """The sections that the docstring of a public function or class should have."""
    has = sections(value.__doc__)
    wanted = []
    if inspect.isclass(value):
        if issubclass(value, Exception):
            return []
        takes = [p for p in inspect.signature(value).parameters if p not in ("args", "kwargs")]
        record = is_record(value) and {"Attributes", "Parameters"} & set(has)
        if takes and not record:
            wanted.append("Parameters")
        if not is_record(value):
            wanted.append("Examples")
    else:
        signature = inspect.signature(value)
        if signature.parameters:
            wanted += ["Parameters", "Raises"]
        if signature.return_annotation not in (None, "None", inspect.Signature.empty):
            wanted.append("Yields" if "Yields" in has else "Returns")
        wanted.append("Examples")
    return [name for name in wanted if name not in has]


def undescribed(value):
    """Parameters that the section does not name."""
    told = " ".join(sections(value.__doc__).get("Parameters", ()))
    names = inspect.signature(value).parameters
    return [n for n in names if not re.search(rf"(?<![\w]){re.escape(n)}(?![\w])", told)]


NAMES = public()
LISTED = {line.split(":")[0]: line for line in GAPS.read_text("utf-8").split("\n") if line.strip()}


def gap_of(name):
    """What the docstring lacks, as a line of the list; "" if nothing."""
    value = NAMES[name]
    absent = missing(value)
    if "Parameters" in sections(value.__doc__):
        absent += [f"the parameter {n}" for n in undescribed(value)]
    return f"{name}: {', '.join(absent)}" if absent else ""


@pytest.mark.parametrize("name", NAMES)
def test_a_public_docstring_has_its_sections(name):
    absent = gap_of(name).partition(": ")[2].split(", ")
    listed = LISTED.get(name, "").partition(": ")[2].split(", ")
    assert set(absent) - {""} <= set(listed)


def test_every_listed_gap_is_of_something_public():
    assert set(LISTED) - set(NAMES) == set()


@pytest.mark.parametrize("name", NAMES)
def test_sections_stand_in_numpydocs_order(name):
    found = list(sections(NAMES[name].__doc__))
    assert found == sorted(found, key=ORDER.index)


@pytest.mark.parametrize("name", NAMES)
def test_a_docstring_begins_with_one_sentence(name):
    first = inspect.cleandoc(NAMES[name].__doc__ or "").split("\n\n")[0]
    assert first
    assert first.rstrip().endswith((".", ":", "]", ")")), first


def test_help_shows_a_signature_and_no_primitive():
    for name in mg.ops.__all__:
        function = getattr(mg, name)
        assert inspect.isfunction(function), name
        assert all(
            p.annotation is not p.empty for p in inspect.signature(function).parameters.values()
        )


def test_every_method_of_a_tensor_says_what_it_does():
    silent = [
        name
        for name, value in inspect.getmembers(mg.Tensor)
        if not name.startswith("_") and not inspect.isdatadescriptor(value) and not value.__doc__
    ]
    assert silent == []
