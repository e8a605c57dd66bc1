"""The blocks equal their formulas, written out with the operations alone."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn, ops
from minigrad.errors import ShapeError
from minigrad.nn.blocks.inverted_residual import make_divisible, squeezed


def ready(block, seed=0):
    """The block in float64 evaluation mode, with running statistics that are not 0 and 1."""
    rng = np.random.default_rng(seed)
    nn.init.initialize(block, "tensorflow", rng)
    block.to(np.float64).eval()
    with mg.no_grad():
        for name, p in [*block.named_parameters(), *block.named_buffers()]:
            if p.ndim == 1:
                low = 0.5 if name.endswith(("weight", "var")) else -0.5
                p.copy_(rng.uniform(low, low + 1, p.shape))
    return block


def tensor(*shape):
    return mg.Tensor(np.random.default_rng(9).standard_normal(shape))


def unit(part, x, stride=1, padding=0, dilation=1, groups=1, eps=1e-5):
    """conv2d and the affine map that BatchNorm is in evaluation."""
    y = ops.conv2d(x, part.conv.weight, part.conv.bias, stride, padding, dilation, groups)
    bn = part.bn
    scale = bn.weight.numpy() / np.sqrt(bn.running_var.numpy() + eps)
    shift = bn.bias.numpy() - bn.running_mean.numpy() * scale
    return y * scale.reshape(1, -1, 1, 1) + shift.reshape(1, -1, 1, 1)


def close(a, b):
    return np.allclose(a.numpy(), b.numpy(), rtol=1e-11, atol=1e-12)


SWITCHES = list(itertools.product((1, 6), (3, 5), (1, 2), (1, 2), (0, 0.25), ("symmetric", "same")))


@pytest.mark.parametrize(("t", "k", "stride", "dilation", "se", "padding"), SWITCHES)
def test_inverted_residual_is_its_formula(t, k, stride, dilation, se, padding):
    block = ready(nn.InvertedResidual(
        4, 4, t, k, stride, dilation, se_ratio=se, activation="silu", padding=padding, bn_eps=1e-3
    ))  # fmt: skip
    x = tensor(2, 4, 14, 15)
    y = x if t == 1 else ops.silu(unit(block.expand, x, eps=1e-3))
    pad = dilation * (k - 1) // 2 if padding == "symmetric" else "same"
    y = ops.silu(unit(block.dw, y, stride, pad, dilation, 4 * t, eps=1e-3))
    if se:
        s = y.mean((2, 3), keepdims=True)
        z = ops.relu(ops.conv2d(s, block.se.reduce.weight, block.se.reduce.bias))
        y = y * ops.sigmoid(ops.conv2d(z, block.se.expand.weight, block.se.expand.bias))
    y = unit(block.project, y, eps=1e-3)
    assert close(block(x), y + x if stride == 1 else y)


def test_the_shortcut_needs_equal_channels_and_stride_one():
    assert nn.InvertedResidual(8, 8).residual
    assert not nn.InvertedResidual(8, 16).residual
    assert not nn.InvertedResidual(8, 8, stride=2).residual
    assert not nn.InvertedResidual(8, 8, residual=False).residual
    with pytest.raises(ValueError, match="residual=True needs stride 1 and equal channels"):
        nn.InvertedResidual(8, 16, residual=True)


def test_the_expansion_is_left_out_only_where_it_does_not_widen():
    assert nn.InvertedResidual(8, 8, 1).expand is None
    assert nn.InvertedResidual(8, 8, 1, expand=True).expand is not None
    assert nn.InvertedResidual(8, 8, expanded=20).dw.conv.weight.shape == (20, 1, 3, 3)


def test_the_projection_is_linear():
    block = ready(nn.InvertedResidual(4, 6))
    assert (block(tensor(1, 4, 6, 6)).numpy() < 0).any()


@pytest.mark.parametrize("t", [1, 4])
def test_fused_block_is_its_formula(t):
    block = ready(nn.FusedMBConv(4, 4, t))
    x = tensor(2, 4, 9, 9)
    y = ops.silu(unit(block.fused, x, padding=1, eps=1e-3))
    y = y if t == 1 else unit(block.project, y, eps=1e-3)
    assert close(block(x), x + y)


def test_stochastic_depth_drops_the_branch_and_keeps_the_shortcut():
    block = nn.InvertedResidual(4, 4, stochastic_depth=0.5).to(np.float64)
    nn.init.initialize(block, rng=np.random.default_rng(3))
    x = tensor(16, 4, 5, 5)
    y = block(x).numpy()
    kept = [not np.array_equal(a, b) for a, b in zip(x.numpy(), y, strict=True)]
    assert 0 < sum(kept) < 16


@pytest.mark.parametrize("order", ["3x1", "1x3"])
@pytest.mark.parametrize("transition", ["parallel", "serial"])
@pytest.mark.parametrize("pre_add_relu", [True, False])
@pytest.mark.parametrize(
    ("cin", "stride", "groups", "project"),
    [(8, 1, 1, "auto"), (8, 2, 1, "auto"), (16, 1, 2, "auto"), (16, 2, 2, "auto"),
     (16, 1, 1, "always")],
)  # fmt: skip
def test_squeezenext_block_is_its_table(
    order, transition, pre_add_relu, cin, stride, groups, project
):
    block = ready(nn.SqueezeNeXtBlock(
        cin, 16, stride, order=order, transition=transition, groups=groups,
        pre_add_relu=pre_add_relu, project=project,
    ))  # fmt: skip
    x = tensor(2, cin, 9, 10)
    last = ops.relu if pre_add_relu else lambda v: v
    projects = stride == 2 or cin == 8 or project == "always"
    shortcut = last(unit(block.shortcut, x, stride)) if projects else x
    serial = projects and transition == "serial"
    pads = [(1, 0), (0, 1)] if order == "3x1" else [(0, 1), (1, 0)]
    first = (shortcut, 1) if serial else (x, stride)
    y = ops.relu(unit(block.reduce1, *first, groups=groups))
    y = ops.relu(unit(block.reduce2, y))
    y = ops.relu(unit(block.spatial1, y, padding=pads[0], groups=groups))
    y = ops.relu(unit(block.spatial2, y, padding=pads[1], groups=groups))
    y = last(unit(block.expand, y))
    assert close(block(x), ops.relu(y + shortcut))
    kernels = [block.spatial1.conv.weight.shape[2:], block.spatial2.conv.weight.shape[2:]]
    assert kernels == ([(3, 1), (1, 3)] if order == "3x1" else [(1, 3), (3, 1)])


@pytest.mark.parametrize("c", [16, 32, 64])
def test_weights_of_an_identity_block(c):
    def convolutions(**switches):
        block = nn.SqueezeNeXtBlock(c, c, **switches)
        return sum(p.size for p in block.parameters() if p.ndim == 4)

    assert convolutions() == 2.25 * c**2
    assert convolutions(groups=2) == 1.4375 * c**2
    assert convolutions(separable="depthwise") == 1.25 * c**2 + 2.25 * c


def test_project_always_projects_where_an_identity_would_fit():
    assert nn.SqueezeNeXtBlock(8, 8).shortcut is None
    assert nn.SqueezeNeXtBlock(8, 8, project="always").shortcut is not None


def test_squeezenext_says_what_it_does_not_know():
    with pytest.raises(ShapeError, match="multiple of 4, got 10"):
        nn.SqueezeNeXtBlock(8, 10)
    with pytest.raises(ValueError, match="order must be one of"):
        nn.SqueezeNeXtBlock(8, 8, order="3x3")


@pytest.mark.parametrize("build", [
    lambda: nn.InvertedResidual(3, 3, 2, activation="hardswish", se_ratio=0.5),
    lambda: nn.FusedMBConv(3, 3, 2),
    lambda: nn.SqueezeNeXtBlock(4, 8, 2),
], ids=["inverted_residual", "fused", "squeezenext"])  # fmt: skip
def test_gradients_of_the_blocks(build):
    block = ready(build())
    cin = next(block.parameters()).shape[1]
    mg.check_grads(block, np.random.default_rng(2).standard_normal((1, cin, 4, 4)), order=1)


def whole(block):
    """The block with whole numbers for weights, its BatchNorms adding one and no more."""
    rng = np.random.default_rng(4)
    with mg.no_grad():
        for p in block.to(np.float64).eval().parameters():
            values = rng.integers(-3, 4, p.shape) if p.ndim > 1 else np.ones(p.shape)
            p.copy_(values.astype(np.float64))
    return block


@pytest.mark.parametrize("backend", ["numpy", "cython", "numba"])
@pytest.mark.parametrize("build", [
    lambda: nn.InvertedResidual(8, 8, 3, stride=1, activation="relu", bn_eps=0),
    lambda: nn.InvertedResidual(8, 8, 3, 5, 2, activation="relu6", padding="same", bn_eps=0),
    lambda: nn.FusedMBConv(4, 4, 2, activation="relu", bn_eps=0),
    lambda: nn.SqueezeNeXtBlock(16, 16, bn_eps=0),
], ids=["inverted_residual", "strided", "fused", "squeezenext"])  # fmt: skip
def test_a_block_of_whole_numbers_equals_the_reference_exactly(build, backend):
    """Sums of whole numbers are exact in any order: not a bit may differ."""
    if reason := mg.kernels.unavailable(backend):
        pytest.skip(reason)
    block = whole(build())
    cin = next(block.parameters()).shape[1]
    x = mg.Tensor(np.random.default_rng(5).integers(-4, 5, (1, cin, 14, 14)).astype(np.float64))
    with mg.backend("reference"), mg.no_grad():
        exact = block(x).numpy()
    with mg.backend(backend), mg.no_grad():
        assert np.array_equal(block(x).numpy(), exact)
    assert np.abs(exact).max() > 6


@pytest.mark.parametrize(("v", "n"), [(18, 24), (22, 24), (3, 8), (11.2, 16), (33.6, 32), (96, 96)])
def test_make_divisible(v, n):
    assert make_divisible(v) == n


def test_without_the_limit_rounding_may_lose_more_than_a_tenth():
    assert make_divisible(19.2) == 24
    assert make_divisible(19.2, limit=0) == 16


def test_squeeze_rules():
    assert squeezed(24, 144, 0.25, "input") == 6
    assert squeezed(2, 12, 0.25, "input") == 1
    assert squeezed(40, 240, 0.25, "expanded") == 64
    with pytest.raises(ValueError, match="se_rule"):
        squeezed(8, 8, 0.25, "both")
