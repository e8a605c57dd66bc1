"""JSON as the start of a process reads it: what ``json`` would say, and no more of it."""

from __future__ import annotations

import json
from typing import Any, NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigrad.formats import json_scanner
from minigrad.formats.json_scanner import parse

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
texts = st.builds(json.dumps, values, indent=st.none() | st.just(1), ensure_ascii=st.booleans())


def refuse(word: str) -> NoReturn:
    raise ValueError(word)


def outcome(read: Any, text: str) -> object:
    """What comes of reading a text; of all that is not JSON the same."""
    try:
        return repr(read(text, parse_constant=refuse))
    except ValueError:
        return ValueError
    except RecursionError:
        return RecursionError


@given(texts)
def test_a_text_means_what_it_means_to_json(text):
    made = outcome(parse, text)
    assert made == outcome(json.loads, text)
    assert made is not ValueError


@given(texts, st.integers(0), st.sampled_from([*'{}[]",:0eE.-+tfnu\\ \n\r\t', "", "NaN"]))
def test_so_does_a_text_with_a_fault(text, place, character):
    place %= len(text)
    faulty = text[:place] + character + text[place + 1 :]
    assert outcome(parse, faulty) == outcome(json.loads, faulty)


@pytest.mark.parametrize(
    "text",
    ["", " ", "[1] x", "{", "[1,]", "NaN", "-Infinity", "\ufeff1", "\xa01", "1" * 5000,
     "[" * 100_000, '"\\ud800"', '"a\nb"'],
)  # fmt: skip
def test_the_edges_of_json_are_where_they_were(text):
    assert outcome(parse, text) == outcome(json.loads, text)


@pytest.mark.parametrize("scanner", [json_scanner.make_scanner, None], ids=["C", "Python"])
def test_what_is_made_of_values_can_be_chosen_with_any_scanner(scanner, monkeypatch):
    monkeypatch.setattr(json_scanner, "make_scanner", scanner)
    hooks = {"parse_int": str, "parse_float": repr, "object_pairs_hook": tuple}
    made = parse(' {"a": 1, "a": [2.5, NaN]} ', parse_constant=len, **hooks)
    assert made == (("a", "1"), ("a", ["'2.5'", 3]))
