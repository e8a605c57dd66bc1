"""``minigrad compare`` names the layer of a planted bug, and none where there is none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad.cli import main
from minigrad.engine.export import to_onnx
from minigrad.engine.graph import Value
from minigrad.engine.trace import trace
from minigrad.tensor import PRIMITIVES
from minigrad.verify.alignment import align
from minigrad.verify.comparison import compare_dump, compare_onnx
from minigrad.verify.networks import layer_outputs
from minigrad.verify.onnx_runs import run_onnx

pytestmark = pytest.mark.newest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
NETWORKS = ("mobilenet_v2", "efficientnet_b0", "squeezenext_1_0_23")
SIDE = 33


class Exported:
    """A network as training might have left it, its file, and an input."""

    def __init__(self, name: str, folder: Path) -> None:
        rng = np.random.default_rng(1)
        self.name, self.folder = name, folder
        model = mg.models.create(name, rng=0, num_classes=10)
        state = {k: _lived_in(k, v, rng) for k, v in model.state_dict().items()}
        model.load_state_dict(state)
        self.model = model.eval()
        self.x = rng.normal(size=(1, 3, SIDE, SIDE)).astype(np.float32)
        self.graph = trace(self.model, self.x.shape, np.float32)
        self.proto = to_onnx(self.model, self.x.shape)
        path = folder / f"{name}.onnx"
        path.write_bytes(self.proto.SerializeToString())
        self.run = run_onnx(path, self.x)
        self.steps = {o.output: n for n, o in align(self.graph, self.run).items()}

    def compare(self, proto: Any) -> Any:
        path = self.folder / f"{self.name}-changed.onnx"
        path.write_bytes(proto.SerializeToString())
        return compare_onnx(self.graph, self.x, run_onnx(path, self.x))

    def layer(self, output: str) -> str:
        return self.graph.steps[self.steps[output]].layer


def _lived_in(key: str, array: Any, rng: Any) -> Any:
    if key.endswith(("running_var", "bn.weight", "norm.weight")):
        return rng.uniform(0.5, 1.5, array.shape).astype(array.dtype)
    if key.endswith(("running_mean", "bias")):
        return (rng.normal(size=array.shape) / 4).astype(array.dtype)
    return array


@pytest.fixture(scope="module", params=NETWORKS)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return Exported(request.param, tmp_path_factory.mktemp(request.param))


def copy(proto: Any) -> Any:
    other = onnx.ModelProto()
    other.CopyFrom(proto)
    return other


def convolutions(proto: Any, padded: bool = False) -> list[Any]:
    """The convolutions of a file, or those with padding."""
    found = [n for n in proto.graph.node if n.op_type == "Conv"]
    pads = [next(a.ints for a in n.attribute if a.name == "pads") for n in found]
    return [n for n, p in zip(found, pads, strict=True) if not padded or any(p)]


def activations(proto: Any) -> list[Any]:
    return [n for n in proto.graph.node
            if n.op_type in ("Clip", "Relu", "Mul") and n.output[0].endswith("_f")]  # fmt: skip


def near(found: list[Any], place: float) -> Any:
    return found[int(place * (len(found) - 1))]


def weight_changed(proto: Any, place: float) -> str:
    node = near(convolutions(proto), place)
    (tensor,) = [t for t in proto.graph.initializer if t.name == node.input[1]]
    w = onnx.numpy_helper.to_array(tensor).copy()
    w.flat[w.size // 2] *= np.float32(1.001)
    tensor.CopyFrom(onnx.numpy_helper.from_array(w, tensor.name))
    return str(node.output[0])


def padding_changed(proto: Any, place: float) -> str:
    """Moved by one, so that the shape stays."""
    node = near(convolutions(proto, padded=True), place)
    (pads,) = [a for a in node.attribute if a.name == "pads"]
    values = list(pads.ints)
    before, after = sorted((k, (k + 2) % 4) for k in range(4) if values[k])[0]
    values[before] -= 1
    values[after] += 1
    del pads.ints[:]
    pads.ints.extend(values)
    return str(node.output[0])


def activation_dropped(proto: Any, place: float) -> str:
    node = near(activations(proto), place)
    source = node.input[0]
    for other in proto.graph.node:
        for k, name in enumerate(other.input):
            if name == node.output[0]:
                other.input[k] = source
    proto.graph.node.remove(node)
    return str(node.output[0])


def in_float16(proto: Any, place: float) -> str:
    """The layer's weights, sums and result in float16, between casts."""
    from onnx import TensorProto, helper

    node = near(convolutions(proto), place)
    at = list(proto.graph.node).index(node)
    out, added = node.output[0], []
    for n, name in enumerate(list(node.input)):
        added.append(helper.make_node("Cast", [name], [f"{out}_half{n}"], to=TensorProto.FLOAT16))
        node.input[n] = f"{out}_half{n}"
    node.output[0] = f"{out}_half"
    back = helper.make_node("Cast", [f"{out}_half"], [out], to=TensorProto.FLOAT)
    proto.graph.node.insert(at + 1, back)
    for cast in reversed(added):
        proto.graph.node.insert(at, cast)
    return str(out)


PLANTED = {
    "weight": weight_changed, "padding": padding_changed, "activation": activation_dropped,
    "float16": in_float16,
}  # fmt: skip


def test_none_is_named_in_an_unharmed_network(exported: Exported) -> None:
    found = compare_onnx(exported.graph, exported.x, exported.run)
    assert found.first is None
    assert len(found.layers) > 90
    assert 0 < found.end_to_end["share"] < 1


@pytest.mark.parametrize("exported", ["mobilenet_v2"], indirect=True)
def test_batch_norms_may_be_kept(exported: Exported) -> None:
    assert exported.compare(to_onnx(exported.model, exported.x.shape, fold=False)).first is None


@pytest.mark.parametrize("kind", PLANTED)
@pytest.mark.parametrize(
    "place", [0.5, *(pytest.param(p, marks=pytest.mark.full) for p in (0.1, 0.3, 0.7, 0.9))]
)
def test_the_layer_of_a_planted_bug_is_named(exported: Exported, kind: str, place: float) -> None:
    proto = copy(exported.proto)
    changed = PLANTED[kind](proto, place)
    found = exported.compare(proto)
    assert found.first is not None
    assert found.first.name == exported.layer(changed)


def dump_of(exported: Exported, names: Any = None) -> dict[str, Any]:
    """What PyTorch's hooks would give: the output of every layer."""
    values: dict[int, Any] = {0: exported.x}
    for number, step in exported.graph.steps.items():
        inputs = [values[r.number] if isinstance(r, Value) else r and r.array for r in step.inputs]
        result = PRIMITIVES[step.op].forward(*inputs, **step.params)
        values[number] = result[0] if isinstance(result, tuple) else result
    named = layer_outputs(exported.graph)
    return {name: values[n] for name, n in named.items() if names is None or name in names}


def test_a_dump_by_layer_names_is_right(exported: Exported) -> None:
    dump = dump_of(exported)
    found = compare_dump(exported.graph, exported.x, dump)
    assert found.first is None
    assert found.unknown == []


def test_a_wrong_value_in_a_dump_is_the_first_that_is_wrong_and_not_those_behind(
    exported: Exported,
) -> None:
    dump = dump_of(exported)
    names = [n for n in dump if n.endswith(".conv")]
    name = names[len(names) // 2]
    dump[name] = dump[name].copy()
    dump[name][..., 0] *= np.float32(1.01)
    found = compare_dump(exported.graph, exported.x, dump | {"nobody": exported.x})
    assert found.first is not None
    assert found.first.name == name
    assert found.first.verdict.pattern.startswith("the first column")
    assert found.unknown == ["nobody"]


def test_a_folded_network_may_give_the_sum_of_both_under_the_name_of_the_convolution(
    exported: Exported,
) -> None:
    named = layer_outputs(exported.graph)
    dump = dump_of(exported, {n for n in named if not n.endswith((".conv", ".bn", ".norm"))})
    convs = {n: named[n] for n in named if n.endswith(".conv")}
    folded = dump_of(exported)
    uses = exported.graph.uses()
    by_number = {v: folded[k] for k, v in named.items()}
    for name, number in convs.items():
        (norm,) = uses[number]
        if norm in by_number:
            dump[name] = by_number[norm]
    assert compare_dump(exported.graph, exported.x, dump).first is None


# --- the command ------------------------------------------------------------------------


def test_the_command_and_its_exit_codes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x, dump, file = tmp_path / "x.npy", tmp_path / "dump", tmp_path / "net.onnx"
    np.save(x, np.random.default_rng(0).normal(size=(1, 3, 33, 33)).astype(np.float32))
    command = ["compare", "mobilenet_v2_0_35", "--input", str(x)]
    assert main(["export", "mobilenet_v2_0_35", str(file), "--input", "1x3x33x33"]) == 0
    assert main([*command, "--onnx", str(file)]) == 0
    assert "0 wrong" in capsys.readouterr().out
    dump.mkdir()
    np.save(dump / "stem.conv.npy", np.zeros((1, 16, 17, 17), np.float32))
    assert main([*command, str(dump), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["decision"], told["first"]) == ("wrong", "stem.conv")
    assert main([*command, str(dump)]) == 1
    assert "the first layer that is wrong: stem.conv" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "either DUMP or --onnx FILE"),
        (["d", "--onnx", "f"], "either DUMP or --onnx FILE"),
        (["x.npy"], "must be an .npz file or a folder"),
        (["empty"], "no name of the run is one of a layer"),
        (["--onnx", "x.npy"], "cannot be run in ONNX Runtime"),
        (["--onnx", "nowhere.onnx"], "no such file"),
    ],
)
def test_a_users_error_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    arguments: list[str], message: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", np.zeros((1, 3, 33, 33), np.float32))
    Path("empty").mkdir()
    assert main(["compare", "mobilenet_v2_0_35", "--input", "x.npy", *arguments]) == 2
    assert message in capsys.readouterr().err
