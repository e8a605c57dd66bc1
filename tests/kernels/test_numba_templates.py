"""The language of Numba's kernels: what a template becomes, and that its vectors are right."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest

from minigrad.kernels import numba as numba_backend

pytestmark = pytest.mark.skipif(
    numba_backend.UNAVAILABLE is not None, reason=str(numba_backend.UNAVAILABLE)
)

if numba_backend.UNAVAILABLE is None:
    from minigrad.kernels.numba import _vmath
    from minigrad.kernels.numba._launch import Job, kernel_of
    from minigrad.kernels.numba._template import entry, registers, static, template, unroll
    from minigrad.kernels.numba._vectors import BYTES, LANES, SIZE, add, fma, load, store, zero

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
            acc[v] = add(load(x + v * BYTES), load(y + v * BYTES))
        for v in unroll(reversed(range(V))):
            store(y + v * BYTES, acc[v])

    @kernel_of(lanes=4)
    def add_places(job: Table, first: int, last: int, *, V: int, TWICE: bool) -> None:
        for task in range(first, last):
            place = entry(Place, job.places, task)
            plus[V](place.x, place.y)
            if static(TWICE):
                plus[V](place.x, place.y)

    @kernel_of(lanes=2)
    def broken(job: Table, first: int, last: int) -> None:
        store(job.places, fma(zero(), zero(), zero()))
        store(job.places, zero() + 1)


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


def test_an_error_in_a_kernel_names_its_line():
    with pytest.raises(Exception, match=r"test_numba_templates\.py"):
        broken.of(np.dtype(np.float32))


def test_the_words_of_a_kernel_mean_nothing_outside():
    for call in (zero, _vmath.relu, registers, lambda: entry(Place, 0, 0)):
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
