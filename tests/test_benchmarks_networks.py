"""Benchmarks of networks: every engine gets the same steps, and a wrong answer is no time.

The peers are not installed here, so the files written for them are read back by small
interpreters of the formats: what LiteRT's operators and ncnn's layers mean, in NumPy.
"""

from __future__ import annotations

import json
import struct
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from needs import needs

from minigrad import Tensor, kernels, no_grad
from minigrad.cli import stopwatch
from minigrad.engine import interpret
from minigrad.geometry import conv_spec
from minigrad.models import create, detection
from minigrad.nn.blocks import InvertedResidual, SqueezeNeXtBlock

sys.path.append(str(Path(__file__).parents[1]))  # after the installed minigrad
from benchmarks import blocks, formats, networks, recorded, whole
from benchmarks import network_peers as peers
from benchmarks.ncnn_graph import ncnn_network
from benchmarks.tflite_graph import tflite_network

ROW_KEYS = [
    *("name", "backend", "threads", "batch", "direction", "median_us", "p10_us", "gflops"),
    *("percent_of_peak", "best_peer", "ratio_to_best_peer"),
]
SMALL = [
    ("mobilenet_v2_0_35", "torchvision", 65),
    ("mobilenet_v3_small", "torchvision", 64),
    ("efficientnet_b0", None, 64),
    ("efficientnet_lite0", None, 65),
    ("squeezenext_1_0_23", "pytorchcv", 64),
    ("squeezenext_1_0_23v5", "caffe", 67),
    ("mnasnet_a1", None, 64),
]
SIXTH = 1e-5  # a network's answer where 1/6 is a float32, or written in nine digits
EXTREMES = {"NONE": (-np.inf, np.inf), "RELU": (0, np.inf), "RELU6": (0, 6)}


@pytest.fixture(scope="module", params=SMALL, ids=lambda case: f"{case[0]}-{case[1]}")
def job(request):
    name, preset, size = request.param
    model = networks.prepared(create(name, preset=preset, rng=0), (4, 3, size, size))
    return recorded.Job.make(name, model, (1, 3, size, size))


# ---------------------------------------------------------------- what everybody gets


def test_the_recorded_steps_compute_the_model(job):
    with kernels.backend("numpy"), no_grad():
        y = job.model(Tensor(job.x)).numpy()
    assert job.difference(y) < 1e-4
    assert not any(step.op == "batch_norm_eval" for step in job.graph.steps.values())


def test_no_layers_values_are_near_the_ends_of_float32(job):
    seen = {}
    with kernels.backend("numpy"):
        interpret(job.graph, job.x, lambda step, value: seen.setdefault(step.number, value))
    maps = [v for v in seen.values() if v.ndim == 4 and v.shape[2] > 2]
    assert all(1e-10 < np.abs(v).max() < 1e10 for v in maps)


def test_the_difference_sees_one_wrong_output(job):
    y = job.expected.copy()
    assert job.difference(y) == 0
    y[0, 5] += 0.5 * np.abs(y).max()
    assert job.difference(y) == pytest.approx(0.5)
    assert job.difference(y[:, :-1]) == np.inf
    y[0, 0] = np.nan
    assert job.difference(y) == np.inf


def test_the_steps_cost_what_the_summary_says():
    model = create("mobilenet_v2", rng=0).eval()
    made = recorded.Job.make("m", model, (2, 3, 224, 224))
    assert (made.macs, made.flops) == (2 * 300_774_272, 4 * 300_774_272)


# ---------------------------------------------------------------- LiteRT


class Schema:
    """Stands for LiteRT's generated classes: each is an object with what it was given."""

    NUMBERS = ("TensorType", "BuiltinOperator", "BuiltinOptions", "Padding",
               "ActivationFunctionType")  # fmt: skip

    def __getattr__(self, name):
        if name in self.NUMBERS:
            return Names()
        if name == "OperatorCodeT":
            return lambda code, **more: code
        if name == "SubGraphT":
            return lambda tensors, x, y, operators, n: SimpleNamespace(
                tensors=tensors, inputs=x, outputs=y, operators=operators
            )
        if name == "ModelT":
            return lambda version, codes, graphs, about, buffers: Model(codes, graphs, buffers)
        return lambda **given: SimpleNamespace(**given)


class Names:
    """An enumeration whose members are their names."""

    def __getattr__(self, name):
        return name


class Model(SimpleNamespace):
    """A flatbuffer that was never packed; the last one made is kept."""

    def __init__(self, codes, graphs, buffers):
        super().__init__(codes=codes, graph=graphs[0], buffers=buffers)
        type(self).last = self

    def Pack(self, builder):  # noqa: N802, its name in flatbuffers
        return 0


@pytest.fixture
def tflite(monkeypatch):
    builder = SimpleNamespace(Finish=lambda *args: None, Output=lambda: b"")
    modules = {"flatbuffers": SimpleNamespace(Builder=lambda size: builder)}
    monkeypatch.setattr(formats, "load", lambda module, _: modules.get(module, Schema()))


def run_tflite(model, x):
    """What TFLite's operators mean, on NHWC arrays in float64."""
    graph, values = model.graph, {}
    for number, tensor in enumerate(graph.tensors):
        if tensor.buffer:
            dtype = np.int32 if tensor.type == "INT32" else np.float32
            data = model.buffers[tensor.buffer].data.view(dtype).reshape(tensor.shape)
            values[number] = data if dtype == np.int32 else data.astype(np.float64)
    values[graph.inputs[0]] = x.transpose(0, 2, 3, 1).astype(np.float64)
    for op in graph.operators:
        given = [values[i] for i in op.inputs]
        y = OPERATORS[model.codes[op.opcodeIndex]](op.builtinOptions, *given)
        assert list(y.shape) == list(graph.tensors[op.outputs[0]].shape)
        values[op.outputs[0]] = y
    return values[graph.outputs[0]]


def sigmoid(x):
    return 0.5 + 0.5 * np.tanh(0.5 * x)


def clipped(options, y):
    return np.clip(y, *EXTREMES[getattr(options, "fusedActivationFunction", "NONE")])


def tflite_conv(options, x, w, b, groups=1):
    nchw, oihw = x.transpose(0, 3, 1, 2), w.transpose(3, 0, 1, 2) if groups > 1 else None
    weights = oihw if groups > 1 else w.transpose(0, 3, 1, 2)
    stride = options.strideH, options.strideW
    dilation = options.dilationHFactor, options.dilationWFactor
    padding = {"SAME": "same", "VALID": "valid"}[options.padding]
    spec = conv_spec(nchw.shape, weights.shape, stride, padding, dilation, groups)
    with kernels.backend("numpy"):
        kernel = kernels.find("conv2d", kernels.classify(spec, weights.shape))
        return clipped(options, kernel.call(nchw, weights, b, spec).transpose(0, 2, 3, 1))


def tflite_pool(options, x):
    k, s, size = options.filterHeight, options.strideH, x.shape[1]
    out = -(-size // s) if options.padding == "SAME" else (size - k) // s + 1
    over = max((out - 1) * s + k - size, 0)
    pads = over // 2, over - over // 2
    x = np.pad(x, ((0, 0), pads, pads, (0, 0)), constant_values=-np.inf)
    end = s * out
    taps = [
        x[:, i : i + end : s, j : j + end : s][:, :out, :out] for i in range(k) for j in range(k)
    ]
    return np.max(taps, axis=0)


OPERATORS = {
    "PAD": lambda o, x, amounts: np.pad(x, amounts),
    "CONV_2D": tflite_conv,
    "DEPTHWISE_CONV_2D": lambda o, x, w, b: tflite_conv(o, x, w, b, x.shape[3]),
    "MUL": lambda o, a, b: clipped(o, a * b),
    "ADD": lambda o, a, b: clipped(o, a + b),
    "LOGISTIC": lambda o, x: sigmoid(x),
    "HARD_SWISH": lambda o, x: x * np.clip(x + 3, 0, 6) / 6,
    "RELU": lambda o, x: np.maximum(x, 0),
    "RELU6": lambda o, x: np.clip(x, 0, 6),
    "MEAN": lambda o, x, axes: x.mean(tuple(axes), keepdims=o.keepDims),
    "RESHAPE": lambda o, x, shape: x.reshape(shape),
    "CONCATENATION": lambda o, *several: np.concatenate(several, o.axis),
    "FULLY_CONNECTED": lambda o, x, w, b: x @ w.T + b,
    "MAX_POOL_2D": tflite_pool,
}


def test_the_tflite_graph_computes_the_network(job, tflite):
    tflite_network(job.graph)
    y = run_tflite(Model.last, job.x)
    assert job.difference(y) < (SIXTH if "v3" in job.name else 1e-11)


def test_the_heads_of_a_detector_are_rows_of_its_maps_in_tflite_too(tflite):
    shape, name = (1, 3, 96, 96), "ssdlite320_mobilenet_v3_large"
    model = recorded.ordinary(detection.create(name, num_classes=5, rng=0), (2, *shape[1:]))
    job = recorded.Job.make(name, model, shape)
    tflite_network(job.graph)
    assert {"RESHAPE", "CONCATENATION"} <= set(Model.last.codes)
    assert job.difference(run_tflite(Model.last, job.x)) < SIXTH


def test_relu_is_inside_the_convolutions_as_a_converter_writes_it(tflite):
    model = create("mobilenet_v2_0_35", rng=0).eval()
    tflite_network(recorded.recorded(model, (1, 3, 32, 32)))
    assert not {"RELU", "RELU6"} & set(Model.last.codes)
    assert "PAD" not in Model.last.codes  # slim's padding is TensorFlow's own


# ---------------------------------------------------------------- ncnn


def run_ncnn(param, weights, x):
    """What ncnn's layers mean, in float64; every blob is made once and read once."""
    magic, counts, *lines = param.splitlines()
    assert magic == "7767517"
    blobs, made, data = {"in": x[0].astype(np.float64)}, ["in"], memoryview(weights)
    for line in lines[1:]:
        kind, _, n_in, n_out, *rest = line.split()
        names, how = rest[: int(n_in) + int(n_out)], ncnn_keys(rest[int(n_in) + int(n_out) :])
        given = [blobs.pop(name) for name in names[: int(n_in)]]
        if kind in ("Convolution", "ConvolutionDepthWise", "InnerProduct"):
            size = how[2 if kind == "InnerProduct" else 6]
            assert struct.unpack_from("<I", data)[0] == 0
            w = np.frombuffer(data[4:], np.float32, int(size))
            b = np.frombuffer(data[4 + 4 * int(size) :], np.float32, int(how[0]))
            data = data[4 + 4 * int(size + how[0]) :]
            given += [w.astype(np.float64), b.astype(np.float64)]
        y = LAYERS[kind](how, *given)
        for name in names[int(n_in) :]:
            blobs[name] = y
            made.append(name)
    assert len(data) == 0
    assert list(blobs) == ["out"]
    assert len(set(made)) == len(made)
    assert counts.split() == [str(len(lines)), str(len(made))]
    return blobs["out"]


def ncnn_keys(words):
    keys = {}
    for word in words:
        key, _, value = word.partition("=")
        numbers = [float(v) for v in value.split(",")]
        keys[int(key)] = numbers[0] if int(key) > 0 or len(numbers) == 1 else numbers[1:]
    return keys


def ncnn_activated(how, y):
    kind, arguments = how.get(9, 0), how.get(-23310, [])
    return {
        0: lambda: y,
        1: lambda: np.maximum(y, 0),
        3: lambda: np.clip(y, *arguments),
        4: lambda: sigmoid(y),
        6: lambda: y * np.clip(arguments[0] * y + arguments[1], 0, 1),
    }[kind]()


def ncnn_conv(how, x, w, b):
    groups = int(how.get(7, 1))
    shape = int(how[0]), len(x) // groups, int(how[11]), int(how[1])
    pads = (int(how[14]), int(how[16])), (int(how[4]), int(how[15]))
    stride, dilation = (int(how[13]), int(how[3])), (int(how[12]), int(how[2]))
    weights, batch = w.reshape(shape), x[None]
    spec = conv_spec(batch.shape, shape, stride, pads, dilation, groups)
    with kernels.backend("numpy"):
        kernel = kernels.find("conv2d", kernels.classify(spec, shape))
        return ncnn_activated(how, kernel.call(batch, weights, b, spec)[0])


def ncnn_pool(how, x):
    if how.get(4):
        return x.mean((1, 2))
    assert how[5] == 0, "rounded up, as SqueezeNext pools"
    options = SimpleNamespace(filterHeight=int(how[1]), strideH=int(how[2]), padding="VALID")
    k, s = options.filterHeight, options.strideH
    out = -(-(x.shape[1] - k) // s) + 1
    over = (out - 1) * s + k - x.shape[1]
    padded = np.pad(x, ((0, 0), (0, over), (0, over)), constant_values=-np.inf)
    return tflite_pool(options, padded.transpose(1, 2, 0)[None])[0].transpose(2, 0, 1)


def ncnn_binary(how, a, b):
    b = b[:, None, None] if (a.ndim, b.ndim) == (3, 1) else b
    return {0: a + b, 2: a * b}[int(how[0])]


LAYERS = {
    "Split": lambda how, x: x,
    "Convolution": ncnn_conv,
    "ConvolutionDepthWise": ncnn_conv,
    "InnerProduct": lambda how, x, w, b: ncnn_activated(how, w.reshape(-1, x.size) @ x.ravel() + b),
    "Pooling": ncnn_pool,
    "BinaryOp": ncnn_binary,
    "ReLU": lambda how, x: np.maximum(x, 0),
    "Clip": lambda how, x: np.clip(x, how[0], how[1]),
    "Sigmoid": lambda how, x: sigmoid(x),
    "Swish": lambda how, x: x * sigmoid(x),
    "HardSwish": lambda how, x: x * np.clip(how[0] * x + how[1], 0, 1),
    "HardSigmoid": lambda how, x: np.clip(how[0] * x + how[1], 0, 1),
}


def test_the_ncnn_files_compute_the_network(job):
    y = run_ncnn(*ncnn_network(job.graph), job.x)
    assert job.difference(y[None]) < (SIXTH if "v3" in job.name else 1e-11)


# ---------------------------------------------------------------- the run


class Right:
    """A peer that answers rightly."""

    factor = 1.0

    def __init__(self, job, threads):
        self.job = job

    def run(self):
        pass

    def output(self):
        return (self.job.expected * self.factor).astype(np.float32)


class Wrong(Right):
    factor = 1.03


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(stopwatch, "settle", lambda: None)
    monkeypatch.setattr(whole, "settle", lambda: None)
    monkeypatch.setattr(networks, "SIZE", 64)
    return ["--models", "mobilenet_v2", "--threads", "1", "--seconds", "1e-3"]


def use(monkeypatch, **builds):
    """Let these be the peers; a name with bf16 in it is not counted, ncnn takes no batch."""
    made = {
        name.replace("_", "-"): peers.Peer(build, "numpy", "bf16" not in name, name != "ncnn")
        for name, build in builds.items()
    }
    monkeypatch.setattr(whole, "PEERS", made)
    return ",".join(made)


@needs("cython")
def test_the_command_writes_the_rows_it_prints(small, monkeypatch, tmp_path, capsys):
    names = use(monkeypatch, litert=Right, ncnn=Right, openvino_bf16=Wrong)
    file = tmp_path / "rows.json"
    assert networks.main([*small, "--batch", "1,2", "--peers", names, "--json", str(file)]) == 0
    rows = json.loads(file.read_text())
    assert [(r["name"], r["batch"]) for r in rows] == [("mobilenet_v2", 1), ("mobilenet_v2", 2)]
    assert all(list(r)[: len(ROW_KEYS)] == ROW_KEYS for r in rows)
    assert [list(r["peers"]) for r in rows] == [
        ["litert", "ncnn", "openvino-bf16"], ["litert", "openvino-bf16"]
    ]  # fmt: skip
    out = capsys.readouterr().out
    assert out.count("\nmobilenet_v2 ") == 2
    assert "1 thread, batch 1: " in out


@needs("cython")
def test_bfloat16_is_shown_and_never_the_best_peer(small, monkeypatch, tmp_path):
    names = use(monkeypatch, openvino_bf16=Wrong)
    file = tmp_path / "rows.json"
    assert networks.main([*small, "--peers", names, "--json", str(file)]) == 0
    (row,) = json.loads(file.read_text())
    assert (row["best_peer"], row["p10_ratio"]) == (None, None)
    assert row["peers"]["openvino-bf16"]["difference"] == pytest.approx(0.03, rel=0.01)


@needs("cython")
def test_a_counted_peer_that_is_wrong_fails_the_run_and_gets_no_time(
    small, monkeypatch, tmp_path, capsys
):
    names = use(monkeypatch, torch=Wrong, litert=Right)
    file = tmp_path / "rows.json"
    assert networks.main([*small, "--peers", names, "--json", str(file)]) == 1
    (row,) = json.loads(file.read_text())
    assert list(row["peers"]) == ["litert"]
    told = capsys.readouterr().out
    assert "FAILED mobilenet_v2, forward, 1 thread, batch 1, torch: wrong by 3.0e-02" in told


@needs("cython")
def test_our_own_wrong_plan_fails_the_run(small, monkeypatch, capsys):
    monkeypatch.setattr(whole, "Plan", Wrong)
    assert networks.main([*small, "--peers", ""]) == 1
    assert "plan: wrong by" in capsys.readouterr().out


def test_the_figures_are_those_asked_for_and_need_both_ratios():
    assert set(networks.FIGURES) <= set(networks.MODELS)
    assert all(set(f) == {(1, 1), (2, 1), (1, 8), (2, 8)} for f in networks.FIGURES.values())
    row = {"name": "mobilenet_v2", "ratio_to_best_peer": 1.2, "p10_ratio": 1.05, "best_peer": "x"}
    case = whole.Case("forward", 1, 1)
    for change, verdict in (({}, "yes"), ({"p10_ratio": 1.04}, "NO"),
                            ({"ratio_to_best_peer": 1.19}, "NO")):  # fmt: skip
        (_, line) = whole._summary([{**row, **change}], case, networks.FIGURES)
        assert f": {verdict};" in line


def test_the_p10_ratio_is_that_of_the_fastest_peer():
    ours, a, b = (stopwatch.Timing(t, t, 9) for t in (10.0, 14.0, 12.0))
    assert whole._p10_ratio(ours, [a, b]) == 1.2
    assert whole._p10_ratio(ours, []) is None


@pytest.mark.parametrize("name", list(blocks.BLOCKS))
def test_a_blocks_name_says_what_it_is(name):
    channels, size, build = blocks.BLOCKS[name]
    block = build()
    widths, _, rest = name.removeprefix("squeezenext ").partition("@")
    assert rest.split()[0] == str(size)
    stride = 2 if "s2" in rest else 1
    if isinstance(block, SqueezeNeXtBlock):
        out = block.expand.conv.weight.shape[0]
        assert widths == (f"{channels}" if out == channels else f"{channels}-{out}")
        assert block.reduce1.conv.stride == (stride, stride)
    else:
        assert isinstance(block, InvertedResidual)
        e, out = block.dw.conv.weight.shape[0], block.project.conv.weight.shape[0]
        assert widths == f"{channels}-{e}-{out}"
        assert block.dw.conv.stride == (stride, stride)
        assert ("SE" in rest) == (block.se is not None)
        assert ("5x5" in rest) == (block.dw.conv.weight.shape[2] == 5)


@pytest.mark.parametrize(
    ("main", "arguments", "sentence"),
    [
        (networks.main, ["--models", "resnet"], "none of mobilenet_v2"),
        (networks.main, ["--peers", "tensorflow"], "none of onnxruntime"),
        (networks.main, ["--batch", "0"], "at least 1"),
        (blocks.main, ["--blocks", "1-2-3"], "none of 16-96-24@112 s2"),
    ],
)
def test_a_wrong_argument_is_one_sentence_and_exit_2(main, arguments, sentence, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert sentence in capsys.readouterr().err.splitlines()[-1]
