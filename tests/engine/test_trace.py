"""Recording: by shape alone, constants folded, and nothing that looks at values."""

from __future__ import annotations

import numpy as np
import pytest

import minigrad as mg
from minigrad.engine.trace import trace
from minigrad.errors import GraphError


def test_what_does_not_depend_on_the_input_becomes_a_constant() -> None:
    a = mg.Tensor(np.arange(3.0))
    graph = trace(lambda x: x * (a + a).exp(), (2, 3), np.float64)
    [constant] = [c.array for s in graph.steps.values() for c in s.constants()]
    assert np.array_equal(np.broadcast_to(constant, (2, 3))[0], np.exp(2 * np.arange(3.0)))
    assert [s.op for s in graph.steps.values()] == ["mul"]


def test_what_no_output_needs_is_left_out() -> None:
    def model(x: mg.Tensor) -> mg.Tensor:
        x.exp()
        return x + x

    assert [s.op for s in trace(model, (2,), np.float64).steps.values()] == ["add"]


def test_shapes_are_those_of_the_evaluation() -> None:
    model = mg.models.create("efficientnet_b0", rng=0, num_classes=7).eval()
    graph = trace(model, (2, 3, 65, 33), np.float32)
    with mg.no_grad():
        y = model(mg.Tensor(np.zeros((2, 3, 65, 33), np.float32)))
    assert graph.outputs[0].shape == y.shape == (2, 7)
    assert all(s.layer for s in graph.steps.values() if s.op == "conv2d")


def test_a_model_that_looks_at_values_is_refused() -> None:
    with pytest.raises(GraphError, match="looks at the values"):
        trace(lambda x: x * float(x.array.max()), (2,), np.float64)


def test_a_traceback_can_show_a_tensor_without_values() -> None:
    shown: list[str] = []

    def model(x: mg.Tensor) -> mg.Tensor:
        shown.extend([repr(x), repr(x.relu())])
        return x + x

    trace(model, (2, 3), np.float64)
    assert shown == ["Symbol(shape=(2, 3), dtype=float64)"] * 2


def test_a_constant_model_is_refused() -> None:
    with pytest.raises(GraphError, match="does not depend on its input"):
        trace(lambda x: mg.Tensor([1.0]), (2,), np.float64)


def test_a_model_of_another_dtype_is_refused_by_layer() -> None:
    model = mg.models.create("mobilenet_v2", rng=0).eval()
    with pytest.raises(GraphError, match=r"stem\.conv.*float64.*weight is float32"):
        trace(model, (1, 3, 32, 32), np.float64)
