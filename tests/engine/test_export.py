"""The exported file in another engine: ONNX Runtime computes each step within our bound.

All values of the graph are made outputs, and each is judged at the inputs that ONNX Runtime
itself gave it.  So a wrong pad, a lost bias or a swapped operand shows at its step, and the
tolerance is the theorem's, whatever the order in which ONNX Runtime sums.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

import minigrad as mg
from minigrad import nn
from minigrad.engine.export import _Writer, to_onnx
from minigrad.engine.fuse import rewrite
from minigrad.engine.graph import Constant, Value
from minigrad.engine.trace import trace

FAMILIES = (
    "mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_small_minimalistic", "mnasnet_a1",
    "mnasnet_small", "efficientnet_b0", "efficientnet_lite0", "efficientnet_v2_b0",
    "squeezenext_1_0_23", "squeezenext_1_0_23v5", "squeezenext_1_0_g_23",
)  # fmt: skip


class Outside:
    """A network's graph, and all its values as ONNX Runtime computes them."""

    def __init__(self, name: str, side: int, fold: bool) -> None:
        model = mg.models.create(name, rng=0, num_classes=7).eval()
        x = np.random.default_rng(1).normal(size=(2, 3, side, side)).astype(np.float32)
        rules = () if fold else ("fold batch norm",)
        self.graph, _ = rewrite(trace(model, x.shape, np.float32), rules)
        writer = _Writer(self.graph)
        proto = writer.model(name)
        names = [out for node in proto.graph.node for out in node.output if out != "output"]
        proto.graph.output.extend(onnx.ValueInfoProto(name=n) for n in names)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(
            proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        values = session.run(["output", *names], {"input": x})
        self.values = dict(zip(("output", *names), values, strict=True)) | {"input": x}
        self.names, self.bare = writer.names, writer.bare
        with mg.no_grad(), mg.backend("numpy"):
            self.eager = model(mg.Tensor(x)).numpy()

    def get(self, ref: Any) -> Any:
        if isinstance(ref, Value):
            return self.values[self.names[ref.number]]
        return ref.array if isinstance(ref, Constant) else ref

    def judge(self, op: str, inputs: list[Any], params: dict[str, Any], name: str) -> Any:
        y = self.values[name]
        # ONNX Runtime computes the logistic function from tanh
        verdict = mg.verify.judge_step(op, y, inputs, params, functions="absolute")
        assert verdict, f"{name}, {op}: {verdict.worst} of its bound"
        return y

    def check(self) -> int:
        for number, step in self.graph.steps.items():
            name, inputs = self.bare[number], [self.get(ref) for ref in step.inputs]
            epilogue = step.epilogue
            if epilogue.gate:
                gate = self.get(epilogue.gate)
                inputs[0] = self.judge("mul", [inputs[0], gate], {}, f"{name}_x")
            y = self.judge(step.op, inputs, dict(step.params), name)
            end = "f"
            for op, others in epilogue.after():
                inputs = [y, *map(self.get, others)]
                y = self.judge(op, inputs, {}, f"{name}_{'r' if op == 'add' else end}")
                end = "a" if op == "add" else end
        return len(self.graph.steps)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_step_of_the_exported_network_is_within_its_bound(name: str) -> None:
    outside = Outside(name, 65, fold=True)
    assert outside.check() > 20
    assert outside.values["output"].shape == outside.eager.shape == (2, 7)


def test_a_network_with_its_batch_norms_too() -> None:
    assert Outside("mobilenet_v2_0_35", 33, fold=False).check() > 100


BLOCKS = {
    "a ReLU before the sum and one after it": nn.SqueezeNeXtBlock(32, 32),
    "a projection": nn.SqueezeNeXtBlock(32, 64, stride=2),
    "a linear bottleneck": nn.InvertedResidual(32, 32, expand_ratio=2),
}


@pytest.mark.parametrize("block", BLOCKS.values(), ids=BLOCKS)
def test_a_block_by_itself_is_exported_and_read_back_to_its_bits(block: Any, tmp_path: Any) -> None:
    block.eval()
    x = np.random.default_rng(2).normal(size=(1, 32, 8, 8)).astype(np.float32)
    onnx.save(to_onnx(block, x.shape), tmp_path / "block.onnx")
    again = mg.compile(mg.load_graph(tmp_path / "block.onnx"), x.shape)
    np.testing.assert_array_equal(again(x), mg.compile(block, x.shape)(x))


def test_a_changed_weight_is_seen() -> None:
    outside = Outside("mobilenet_v2_0_35", 33, fold=True)
    step = next(iter(outside.graph.steps.values()))
    step.weights[0, 0, 0, 0] += 1e-3
    with pytest.raises(AssertionError, match="conv2d"):
        outside.check()
