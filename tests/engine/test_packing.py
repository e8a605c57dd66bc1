"""Filters in the order of the kernels: the definition in NumPy is what the core makes and reads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigrad.engine.packing import PAGE, SLACK, Order, aligned
from minigrad.geometry import ConvSpec
from minigrad.kernels.cython._convolution import adopt, bind_conv2d, pack
from minigrad.kernels.cython.core import core, level, levels

KERNELS = st.sampled_from([1, 2, 3, 5])
SIZES = st.integers(1, 70)


@st.composite
def filters(draw: Any) -> tuple[Any, int]:
    """Filters, and their groups: full, grouped, and a filter for each channel."""
    groups = draw(st.sampled_from([1, 1, 2, 3, 17]))
    cout, cin = groups * draw(st.one_of(SIZES, st.sampled_from([1, 16, 48]))), draw(SIZES)
    if draw(st.booleans()):
        cout = groups = draw(SIZES)
        cin = 1
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    shape = cout, cin, draw(KERNELS), draw(KERNELS)
    numbers = np.random.default_rng(draw(st.integers(0, 9))).normal(size=shape)
    return numbers.astype(dtype), groups


@given(filters(), st.sampled_from([16, 32, 64]))
def test_packing_loses_nothing(given_: tuple[Any, int], register: int) -> None:
    w, groups = given_
    order = Order.of(w.shape, groups, w.itemsize, register)
    flat = order.pack(w)
    assert np.array_equal(order.unpack(flat), w)
    assert flat.nbytes % PAGE == 0
    assert not flat[order.numbers :].any()
    assert len(flat) >= order.numbers + SLACK * order.lanes
    assert np.count_nonzero(flat) == np.count_nonzero(w)


@pytest.mark.parametrize("name", levels())
@given(given_=filters())
def test_the_core_packs_in_the_same_order(name: str, given_: tuple[Any, int]) -> None:
    w, groups = given_
    with level(name):
        order = Order.of(w.shape, groups, w.itemsize, core.REGISTER_BYTES)
        if order.is_depthwise:
            return
        home = np.zeros(core.packed_bytes(w.shape, groups, w.itemsize), np.uint8)
        core.DenseWeights(w, ConvSpec(groups=groups), home)
    start = -home.ctypes.data % 64
    made = home[start : start + order.numbers * w.itemsize].view(w.dtype)
    assert np.array_equal(made, order.pack(w)[: order.numbers])


@pytest.mark.parametrize("name", levels())
@given(given_=filters())
def test_the_core_reads_what_was_packed_before(name: str, given_: tuple[Any, int]) -> None:
    w, groups = given_
    spec = ConvSpec(padding=((1, 1), (1, 1)), groups=groups)
    x = np.random.default_rng(0).normal(size=(1, w.shape[1] * groups, 4, 5)).astype(w.dtype)
    x = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    size = [4 + 2 - w.shape[2] + 1, 5 + 2 - w.shape[3] + 1]
    made = [np.empty((1, *size, w.shape[0]), w.dtype).transpose(0, 3, 1, 2) for _ in range(2)]
    with level(name):
        order = Order.of(w.shape, groups, w.itemsize, core.REGISTER_BYTES)
        flat = aligned(order.pack(w))
        flat.flags.writeable = False
        for packed, y in zip((pack(w, spec), adopt(w, spec, flat)), made, strict=True):
            bind_conv2d(x, packed, y).run(1)
    assert np.array_equal(*made)


def test_what_does_not_begin_with_a_cache_line_is_copied() -> None:
    raw = np.arange(64, dtype=np.float32)
    start = -raw.ctypes.data % 64 // 4
    assert aligned(raw[start:]) is not None
    assert np.shares_memory(aligned(raw[start:]), raw)
    askew = aligned(raw[start + 1 :])
    assert not np.shares_memory(askew, raw)
    assert askew.ctypes.data % 64 == 0
    assert np.array_equal(askew, raw[start + 1 :])
