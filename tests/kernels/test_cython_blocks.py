"""Streamed blocks: the bits of their stages run one after the other, however they are cut."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from needs import needs

from minigrad.geometry import ConvSpec, conv_output_shape
from minigrad.kernels.cython import blocks
from minigrad.kernels.cython._convolution import bind_conv2d, pack
from minigrad.kernels.cython.blocks import Stage, bind_block, block_bytes
from minigrad.kernels.cython.layout import empty_channels_last
from minigrad.kernels.cython.program import new_scratch

pytestmark = needs("cython")
NETWORKS = ((24, 144, 24, 56, 3, 1), (16, 96, 24, 57, 3, 2), (40, 240, 40, 28, 5, 1),
            (160, 960, 160, 7, 3, 1))  # fmt: skip
ACTIVATIONS = (None, "relu", "relu6", "hardswish", "silu")


def channels_last(rng: np.random.Generator, shape: Any, dtype: Any) -> Any:
    x = empty_channels_last(shape, dtype)
    x[...] = rng.normal(size=shape)
    return x


def one_by_one(stages: list[Stage]) -> list[Any]:
    """The definition: every stage a call of its own, every map written out."""
    maps: list[Any] = []
    for stage in stages:
        x = maps[stage.x] if isinstance(stage.x, int) else stage.x
        if stage.spec is None:
            maps.append(x * stage.w[:, :, None, None])
            continue
        residual = maps[stage.residual] if isinstance(stage.residual, int) else stage.residual
        y = empty_channels_last(conv_output_shape(x.shape, stage.w.shape, stage.spec), x.dtype)
        packed = pack(stage.w, stage.spec)
        bind_conv2d(
            x, packed, y, stage.bias, residual, stage.activation
        ).run(1)  # fmt: skip
        maps.append(y)
    return maps


def check(stages: list[Stage], threads: tuple[int, ...] = (1, 2, 3)) -> None:
    """A block has the bits of its stages, and leaves the memory around its output alone."""
    expected = one_by_one(stages)[-1]
    call, n = None, expected.size
    around = np.full(n + 64, 7, expected.dtype)
    shape = expected.transpose(0, 2, 3, 1).shape
    y = around[32 : 32 + n].reshape(shape).transpose(0, 3, 1, 2)
    call = bind_block(stages, y, new_scratch())
    for t in threads:
        y[...] = np.nan
        call.run(t)
        assert np.array_equal(y, expected, equal_nan=True), f"{t} threads"
    assert (around[:32] == 7).all()
    assert (around[32 + n :] == 7).all()
    assert call.lane_bytes == block_bytes(stages, expected.dtype)


class Weights:
    """Weights and biases on demand."""

    def __init__(self, rng: np.random.Generator, dtype: Any) -> None:
        self.rng, self.dtype = rng, dtype

    def __call__(self, *shape: int) -> Any:
        return self.rng.normal(size=shape).astype(self.dtype)


@st.composite
def inverted_residuals(draw: st.DrawFn) -> list[Stage]:
    dtype = draw(st.sampled_from((np.float32, np.float64)))
    weights = Weights(np.random.default_rng(draw(st.integers(0, 2**32))), dtype)
    n, h, w = draw(st.integers(0, 3)), draw(st.integers(1, 13)), draw(st.integers(1, 13))
    cin, e = draw(st.integers(1, 20)), draw(st.integers(1, 70))
    act = draw(st.sampled_from(ACTIVATIONS))
    k, s, d = draw(st.sampled_from((1, 3, 5))), draw(st.integers(1, 3)), draw(st.integers(1, 2))
    reach = (k - 1) * d + 1
    pads = tuple(
        (low, max(draw(st.integers(0, reach - 1)), reach - size - low))
        for size in (h, w)
        for low in (draw(st.integers(0, reach - 1)),)
    )
    x = channels_last(weights.rng, (n, cin, h, w), dtype)
    stages = []
    first = draw(st.sampled_from(("expand", "stem", "gate", "none")))
    if first == "none":
        e = cin
    elif first == "gate":
        e = cin
        stages.append(Stage(x, weights(n, cin), None))
    else:
        kernel, pad = (1, 0) if first == "expand" else (3, 1)
        spec = ConvSpec(padding=((pad, pad), (pad, pad)))
        stages.append(Stage(x, weights(e, cin, kernel, kernel), spec, weights(e), None, act))
    spec = ConvSpec((s, s), pads, (d, d), e)
    bias = draw(st.sampled_from((None, weights(e))))
    stages.append(Stage(0 if stages else x, weights(e, 1, k, k), spec, bias, None, act))
    out = [m.shape for m in one_by_one(stages)][-1]
    cout = cin if out[2:] == x.shape[2:] else draw(st.integers(1, 40))
    residual = x if cout == cin and out[2:] == x.shape[2:] else None
    last = draw(st.sampled_from(ACTIVATIONS))
    stages.append(
        Stage(len(stages) - 1, weights(cout, e, 1, 1), ConvSpec(), weights(cout), residual, last)
    )
    return stages


@given(inverted_residuals(), st.sampled_from((1, 3000, 10**6)), st.sampled_from((0, 5000, 10**6)))
def test_an_inverted_residual_has_the_bits_of_its_stages(
    stages: list[Stage], chunk: int, spare: int
) -> None:
    """However few rows are made at a time, and however often a buffer is moved."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "CHUNK_BYTES", chunk)
        patch.setattr(blocks, "SPARE_BYTES", spare)
        check(stages)


@given(inverted_residuals(), st.sampled_from((1, 3000, 10**6)))
def test_an_expansion_and_its_depthwise_stage_have_their_bits(
    stages: list[Stage], chunk: int
) -> None:
    """Cut by rows or by channels: what comes before a squeeze."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "CHUNK_BYTES", chunk)
        check(stages[:-1], (1, 2, 3, 5))


def squeezenext(
    weights: Weights, shape: Any, c: int, stride: int, transition: str, first: Any, groups: int
) -> list[Stage]:
    x = channels_last(weights.rng, shape, weights.dtype)
    one, down = ConvSpec(), ConvSpec((stride, stride))
    stages: list[Stage] = []

    def add(
        source: Any, cin: int, cout: int, spec: ConvSpec, k: Any = (1, 1), z: Any = None
    ) -> int:
        spec = ConvSpec(spec.stride, ((k[0] // 2,) * 2, (k[1] // 2,) * 2), (1, 1), spec.groups)
        w = weights(cout, cin // spec.groups, *k)
        stages.append(Stage(source, w, spec, weights(cout), z, "relu"))
        return len(stages) - 1

    residual: Any = x
    if transition != "identity":
        residual = add(x, shape[1], c, down)
    serial = transition == "serial"
    source, cin = (residual, c) if serial else (x, shape[1])
    two = ConvSpec(groups=groups)
    y = add(source, cin, c // 2, ConvSpec(groups=groups) if serial else down)
    y = add(y, c // 2, c // 4, one)
    y = add(y, c // 4, c // 2, two, first)
    y = add(y, c // 2, c // 2, two, first[::-1])
    add(y, c // 2, c, one, z=residual)
    return stages


@given(
    st.sampled_from(("identity", "parallel", "serial")),
    st.tuples(st.integers(1, 3), st.sampled_from((8, 24)), st.integers(1, 12), st.integers(1, 12)),
    st.sampled_from(((3, 1), (1, 3), (3, 3))),
    st.sampled_from((1, 2)),
    st.sampled_from((1, 3000, 10**6)),
    st.sampled_from((0, 2000, 10**6)),
)
def test_a_squeezenext_block_has_the_bits_of_its_stages(
    transition: str, shape: Any, first: Any, stride: int, chunk: int, spare: int
) -> None:
    weights = Weights(np.random.default_rng(sum(shape)), np.float32)
    c, stride = (shape[1], 1) if transition == "identity" else (40, stride)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "CHUNK_BYTES", chunk)
        patch.setattr(blocks, "SPARE_BYTES", spare)
        check(squeezenext(weights, shape, c, stride, transition, first, 1 + (chunk == 1)))


def test_wide_blocks_of_the_networks_have_the_bits_of_their_stages() -> None:
    """Sizes at which weights go by panels and buffers really move."""
    weights = Weights(np.random.default_rng(0), np.float32)
    for cin, e, cout, side, k, s in NETWORKS:
        x = channels_last(weights.rng, (1, cin, side, side), np.float32)
        p = k // 2
        window = ConvSpec((s, s), ((p, p), (p, p)), (1, 1), e)
        same = cin == cout and s == 1
        check(
            [
                Stage(x, weights(e, cin, 1, 1), ConvSpec(), weights(e), None, "relu6"),
                Stage(0, weights(e, 1, k, k), window, weights(e), None, "relu6"),
                Stage(1, weights(cout, e, 1, 1), ConvSpec(), weights(cout), x if same else None),
            ]
        )


@pytest.mark.parametrize("cin", [20, 960, 3000])
@pytest.mark.parametrize("side", [1, 7, 14])
def test_a_convolution_behind_a_gate_has_its_bits(cin: int, side: int) -> None:
    """By rows, or by channels where the gated map fits its buffer: not that of 3000 channels."""
    weights = Weights(np.random.default_rng(0), np.float32)
    x = channels_last(weights.rng, (2, cin, side, side), np.float32)
    residual = channels_last(weights.rng, (2, 160, side, side), np.float32)
    conv = Stage(0, weights(160, cin, 1, 1), ConvSpec(), weights(160), residual, "hardswish")
    check([Stage(x, weights(2, cin), None), conv], (1, 2, 3, 4, 5))


@pytest.mark.parametrize(
    ("cin", "side", "batch"), [(20, 2, 3), (70, 9, 2), (960, 7, 1), (20, 45, 2), (90, 50, 1)]
)
def test_a_gate_that_may_write_over_its_map_has_the_same_bits(
    cin: int, side: int, batch: int
) -> None:
    """Each row is scaled once, whoever does it, or none where every lane needs them all."""
    weights = Weights(np.random.default_rng(0), np.float32)
    x = channels_last(weights.rng, (batch, cin, side, side), np.float32)
    gate, spent = weights(batch, cin), x.copy("K")
    conv = Stage(0, weights(160, cin, 1, 1), ConvSpec(), weights(160), None, "relu")
    expected = one_by_one([Stage(x, gate, None), conv])[-1]
    y = empty_channels_last(expected.shape, np.float32)
    call = bind_block([Stage(spent, gate, None, spends=True), conv], y, new_scratch())
    for threads in (1, 2, 3, 4, 7):
        spent[...], y[...] = x, np.nan
        call.run(threads)
        assert np.array_equal(y, expected), f"{threads} threads"
        left = np.array_equal(spent, x) and threads > 1
        assert left or np.array_equal(spent, x * gate[:, :, None, None])


def test_a_gate_leaves_a_map_with_gaps_alone() -> None:
    weights = Weights(np.random.default_rng(0), np.float32)
    wide = channels_last(weights.rng, (1, 40, 14, 14), np.float32)
    x, before, gate = wide[:, 4:36], wide.copy("K"), weights(1, 32)
    conv = Stage(0, weights(24, 32, 1, 1), ConvSpec())
    y = empty_channels_last((1, 24, 14, 14), np.float32)
    bind_block([Stage(x, gate, None, spends=True), conv], y, new_scratch()).run(2)
    assert np.array_equal(y, one_by_one([Stage(x, gate, None), conv])[-1])
    assert np.array_equal(wide, before)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("e", "side", "k", "s"), [(70, 14, 5, 1), (200, 9, 5, 2), (100, 28, 5, 1)])
def test_bands_of_channels_have_the_bits_of_rows(
    e: int, side: int, k: int, s: int, dtype: Any
) -> None:
    """Panel by panel through a narrow buffer, the last of them a part of a register."""
    weights = Weights(np.random.default_rng(0), dtype)
    x = channels_last(weights.rng, (2, 24, side, side), dtype)
    window = ConvSpec((s, s), ((k // 2, k // 2), (k // 2, k // 2)), (1, 1), e)
    stages = [
        Stage(x, weights(e, 24, 1, 1), ConvSpec(), weights(e), None, "silu"),
        Stage(0, weights(e, 1, k, k), window, weights(e), None, "silu"),
    ]
    check(stages, (1, 4, 6, 8))


def test_lanes_that_take_from_one_another_leave_no_row_out() -> None:
    """More lanes than CPUs, and callers that disturb them: who makes a row does not show in it."""
    weights = Weights(np.random.default_rng(0), np.float32)
    x = channels_last(weights.rng, (1, 16, 56, 56), np.float32)
    window = ConvSpec((1, 1), ((2, 2), (2, 2)), (1, 1), 96)
    stages = [
        Stage(x, weights(96, 16, 1, 1), ConvSpec(), weights(96), None, "relu"),
        Stage(0, weights(96, 1, 5, 5), window, weights(96), None, "relu"),
        Stage(1, weights(16, 96, 1, 1), ConvSpec(), weights(16), x),
    ]
    made = [(some, one_by_one(some)[-1]) for some in (stages, stages[:2])]

    def same(turn: int) -> bool:
        some, expected = made[turn % 2]
        y = empty_channels_last(expected.shape, np.float32)
        call = bind_block(some, y, new_scratch())
        for threads in range(2, 10):
            y[...] = np.nan
            call.run(threads)
            if not np.array_equal(y, expected):
                return False
        return True

    with ThreadPoolExecutor(3) as callers:
        assert all(callers.map(same, range(12)))


def test_nan_goes_where_its_windows_reach_and_nowhere_else() -> None:
    weights = Weights(np.random.default_rng(0), np.float32)
    x = channels_last(weights.rng, (1, 4, 20, 5), np.float32)
    x[0, 0, 10, 2] = np.nan
    window = ConvSpec((1, 1), ((1, 1), (1, 1)), (1, 1), 16)
    stages = [
        Stage(x, weights(16, 4, 1, 1), ConvSpec(), None, None, "relu6"),
        Stage(0, weights(16, 1, 3, 3), window, None, None, "relu6"),
        Stage(1, weights(4, 16, 1, 1), ConvSpec()),
    ]
    y = empty_channels_last((1, 4, 20, 5), np.float32)
    bind_block(stages, y, new_scratch()).run(2)
    reached = np.zeros((20, 5), bool)
    reached[9:12, 1:4] = True
    assert np.array_equal(np.isnan(y[0]).all(0), reached)
    assert np.array_equal(np.isnan(y[0]).any(0), reached)


def test_one_scratch_serves_blocks_of_any_size_one_after_the_other() -> None:
    weights = Weights(np.random.default_rng(0), np.float32)
    scratch, made = new_scratch(), []
    for e in (8, 64, 16):
        x = channels_last(weights.rng, (2, 4, 9, 9), np.float32)
        window = ConvSpec((1, 1), ((1, 1), (1, 1)), (1, 1), e)
        stages = [
            Stage(x, weights(e, 4, 1, 1), ConvSpec(), None, None, "relu"),
            Stage(0, weights(e, 1, 3, 3), window, None, None, "relu"),
        ]
        y = empty_channels_last((2, e, 9, 9), np.float32)
        made.append((bind_block(stages, y, scratch), y, one_by_one(stages)[-1]))
    for threads in (1, 3, 2):
        for call, y, expected in made:
            y[...] = 0
            call.run(threads)
            assert np.array_equal(y, expected)
    assert scratch.lanes == 3
    assert scratch.lane_bytes == max(call.lane_bytes for call, *_ in made)
