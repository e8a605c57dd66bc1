"""The language of Numba's kernels: what a template becomes, and that its vectors are right."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
from needs import needs

from minigrad.kernels import numba as numba_backend

pytestmark = needs("numba")

if numba_backend.UNAVAILABLE is None:
    from minigrad.kernels.numba import _vmath
    from minigrad.kernels.numba._launch import Job, kernel_of
    from minigrad.kernels.numba._template import entry, registers, template, unroll

    from minigrad.kernels.numba._vectors import (  # isort: skip
        BYTES, LANES, SIZE, Vec, fma, load, splat, store, where, widen,
    )  # fmt: skip

    class Place(NamedTuple):
        """Where two vectors lie."""

        x: int
        y: int

    class Table(NamedTuple):
        """The words of the job below."""

        places: Any
        count: int

    @template
    def plus(x: int, y: int, *, V: int) -> None:
        acc = registers()
        for v in unroll(range(V)):
            acc[v] = load(x + v * BYTES) + load(y + v * BYTES)
        for v in unroll(reversed(range(V))):
            store(y + v * BYTES, acc[v])

    @kernel_of(lanes=4)
    def add_places(job: Table, first: int, last: int, *, V: int, TWICE: bool) -> None:
        for task in range(first, last):
            place = entry(Place, job.places, task)
            plus[V](place.x, place.y)
            if TWICE:
                plus[V](place.x, place.y)

    @kernel_of(lanes=2)
    def broken(job: Table, first: int, last: int) -> None:
        store(job.places, fma(splat(0), 1, 2))
        store(job.places, splat(0) + widen(splat(0)))

    @template
    def signs(x: Vec, y: Vec) -> Vec:
        """Every operator of a vector in one number: what NumPy has for the same formula."""
        small = where((x < y) & ~(x == 2) | (y <= -3), -x, 2.5 - x * y / 4)
        return where((x > 1) | (x >= y), max(small, y), min(3, small)) + 1

    @kernel_of(lanes=4)
    def all_signs(job: Table, first: int, last: int) -> None:
        for k in range(first * LANES, job.count, LANES):
            place = entry(Place, job.places, 0)
            left = job.count - k
            x, y = load(place.x + k * SIZE, left), load(place.y + k * SIZE, left)
            store(place.y + k * SIZE, signs(x, y), left)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("twice", [False, True])
def test_a_template_is_written_out_for_its_constants(dtype, twice):
    x, y = np.arange(24, dtype=dtype).reshape(3, 8), np.ones((3, 8), dtype)
    places = np.array([[a.ctypes.data, b.ctypes.data] for a, b in zip(x, y, strict=True)])
    job = Job(add_places.of(np.dtype(dtype), 2, twice), Table(places, 3), 3)
    job.run(1)
    np.testing.assert_array_equal(y, 1 + (2 if twice else 1) * x)
    job.run(2)
    np.testing.assert_array_equal(y, 1 + (4 if twice else 2) * x)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("count", [1, 4, 7, 36])
def test_operators_mean_what_they_mean_to_numpy(dtype, count):
    x, y = (a.ravel()[:count].astype(dtype) for a in np.mgrid[-3:3:6j, -3:3:6j] + 0.125)
    small = np.where((x < y) & ~(x == 2) | (y <= -3), -x, dtype(2.5) - x * y / 4)
    small, largest = np.minimum(dtype(3), small), np.maximum(small, y)
    expected = np.where((x > 1) | (x >= y), largest, small) + 1
    places = np.array([[x.ctypes.data, y.ctypes.data]])
    Job(all_signs.of(np.dtype(dtype)), Table(places, count), 1).run(1)
    np.testing.assert_array_equal(y, expected)


def test_an_error_in_a_kernel_names_its_line():
    with pytest.raises(Exception, match=r"test_numba_templates\.py"):
        broken.of(np.dtype(np.float32))


def test_the_words_of_a_kernel_mean_nothing_outside():
    for call in (splat, _vmath.polynomial, registers, lambda: entry(Place, 0, 0)):
        with pytest.raises(TypeError, match="inside a kernel only"):
            call()
    assert (SIZE, LANES) == (0, 0)


def test_a_job_keeps_the_arrays_that_it_has_addresses_of():
    """The memory of a temporary is not given to another array while the job may read it."""
    places = np.zeros((1, 2), np.int64)
    x, y = np.ones((2, 8))
    places[:] = x.ctypes.data, y.ctypes.data
    job = Job(add_places.of(np.dtype(np.float64), 2, False), Table(places, 1), 1).on(places.copy())
    places[:] = 0
    taken = [np.full(2, -1) for _ in range(1000)]
    job.run(1)
    np.testing.assert_array_equal(y, 2)
    assert len(taken) == 1000
