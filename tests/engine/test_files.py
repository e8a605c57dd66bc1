"""Plans on disk: the same bits when read again; damaged and hostile files are refused."""

from __future__ import annotations

import itertools
import json
import os
import pickle
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hostile_plans import CONV, fused, plan_file, step

import minigrad as mg
from minigrad.engine import outline
from minigrad.engine import saved as saving
from minigrad.engine.files import OPERATIONS
from minigrad.engine.graph import Epilogue
from minigrad.engine.loading_calls import CALLS
from minigrad.engine.packing import PAGE, PackedConstant
from minigrad.errors import FormatError, GraphError, MinigradError
from minigrad.formats.limits import Budget
from minigrad.formats.safetensors import read_safetensors, write_safetensors
from minigrad.formats.source import source
from minigrad.kernels.cython.core import level, levels

FAMILIES = (
    "mobilenet_v2_0_35", "mobilenet_v3_small", "mnasnet_small", "efficientnet_lite0",
    "efficientnet_b0", "efficientnet_v2_b0", "squeezenext_1_0_23", "squeezenext_1_0_23v5",
)  # fmt: skip


def plan_of(name: str, shape: tuple[int, ...] = (2, 3, 64, 64), **options: Any) -> Any:
    model = mg.models.create(name, rng=0, num_classes=7).eval()
    return mg.compile(model, shape, **options)


def batch(shape: tuple[int, ...]) -> Any:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("mmap", [False, True])
def test_a_plan_from_disk_has_the_bits_of_the_plan(name: str, mmap: bool, tmp_path: Path) -> None:
    plan, path = plan_of(name), tmp_path / "net.plan"
    plan.save(path)
    again = mg.load_plan(path, mmap=mmap)
    x = batch((2, 3, 64, 64))
    assert np.array_equal(again(x), plan(x))
    assert np.array_equal(again.features(x), plan.features(x))
    assert again.name == plan.name
    assert layers(again) == layers(plan)


def layers(plan: Any) -> list[str]:
    """The layers of the steps that are more than a name of the same shape for the same numbers."""
    steps = plan.graph.steps.values()
    return [s.layer for s in steps if s.op != "reshape" or s.shape != s.source.shape]


@pytest.mark.parametrize("fold", [False, True])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_what_a_plan_was_told_is_kept(fold: bool, layout: str, tmp_path: Path) -> None:
    plan = plan_of("mobilenet_v2_0_35", (1, 3, 32, 32), fold=fold, layout=layout)
    plan.save(tmp_path / "a.plan")
    again = mg.load_plan(tmp_path / "a.plan", threads=2)
    x = batch((1, 3, 32, 32)) if layout == "NCHW" else batch((1, 32, 32, 3))
    assert again.threads == 2
    assert np.array_equal(again(x), plan(x))
    again.save(tmp_path / "b.plan")
    assert (tmp_path / "b.plan").read_bytes() == (tmp_path / "a.plan").read_bytes()


def described(path: Path) -> tuple[dict[str, Any], dict[str, Any], int]:
    """The header of a plan file, what its steps' JSON says, and where its tensors begin."""
    raw = path.read_bytes()
    start = 8 + int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8:start])
    return header, json.loads(header["__metadata__"]["minigrad.steps"]), start


def filters_of(plan: Any) -> list[Any]:
    return [s.filters for s in plan.unfused.steps.values() if s.op in ("conv2d", "linear")]


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("name", FAMILIES[:5])
def test_filters_begin_with_a_page_and_are_read_where_they_lie(
    name: str, mmap: bool, tmp_path: Path
) -> None:
    path = tmp_path / "net.plan"
    plan_of(name).save(path)
    header, steps, start = described(path)
    assert start % PAGE == 0
    assert all((start + header[n]["data_offsets"][0]) % PAGE == 0 for n in steps["packed"])
    plan = mg.load_plan(path, mmap=mmap)
    plan(batch((2, 3, 64, 64)))
    constants = filters_of(plan)
    assert len(constants) == len(steps["packed"])
    homes = [p.home if hasattr(p, "home") else p.ready for _, p in plan._packed.values()]
    assert {id(home) for home in homes} == {id(c._packed) for c in constants}
    assert all(c._unpacked is None for c in constants), "the plan was run without unpacking"


def test_filters_are_unpacked_for_whoever_looks_at_them(tmp_path: Path) -> None:
    plan, path = plan_of("mobilenet_v3_small"), tmp_path / "net.plan"
    plan.save(path)
    again, x = mg.load_plan(path), batch((2, 3, 64, 64))
    assert all(isinstance(c, PackedConstant) for c in filters_of(again))
    assert all(
        np.array_equal(a.array, b.array)
        for a, b in zip(filters_of(again), filters_of(plan), strict=True)
    )
    named, expected = again.intermediates(x), plan.intermediates(x)
    assert list(named) == list(expected)
    assert all(np.array_equal(named[k], expected[k]) for k in expected)
    assert np.array_equal(pickle.loads(pickle.dumps(again))(x), plan(x))


@pytest.mark.parametrize("wrote", levels())
@pytest.mark.parametrize("reads", levels())
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_another_instruction_set_packs_anew_and_says_so(
    wrote: str, reads: str, dtype: type, tmp_path: Path
) -> None:
    path, x = tmp_path / "net.plan", batch((2, 3, 32, 32)).astype(dtype)
    model = mg.models.create("mobilenet_v2_0_35", rng=0, num_classes=7).eval().to(dtype)
    with level(wrote):
        mg.compile(model, x.shape, dtype=dtype).save(path)
    with level(reads), warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        again = mg.load_plan(path)
        y = again(x)
        assert np.array_equal(y, mg.compile(model, x.shape, dtype=dtype)(x))
    expected = [] if wrote == reads else [f"was packed for {wrote}, and this machine runs {reads}"]
    assert len(told) == len(expected)
    assert all(words in str(w.message) for words, w in zip(expected, told, strict=True))


def in_a_process(folder: Path, code: str, *arguments: str, isa: str | None = None) -> str:
    """What a Python prints that sees the minigrad that is tested, started in a folder."""
    environment = {k: v for k, v in os.environ.items() if k != "MINIGRAD_ISA"}
    environment["PYTHONPATH"] = os.pathsep.join(p for p in sys.path if p)
    environment |= {} if isa is None else {"MINIGRAD_ISA": isa}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(
        command, env=environment, cwd=folder, check=True, capture_output=True, text=True,
        timeout=300,
    ).stdout  # fmt: skip


LOADED = """
import json, sys
before = set(sys.modules)
import numpy as np, minigrad as mg
plan = mg.load_plan(sys.argv[1])
np.save(sys.argv[2], plan(np.load(sys.argv[3])))
others = {name.partition(".")[0] for name in set(sys.modules) - before} - {"minigrad", "numpy"}
ours = {name.split(".")[1] for name in sys.modules if name.startswith("minigrad.")}
others = {name for name in others - set(sys.stdlib_module_names) if "cython" not in name}
print(json.dumps([sorted(others), sorted(ours)]))
"""


def test_loading_and_running_imports_numpy_and_the_core_alone(tmp_path: Path) -> None:
    x = batch((1, 3, 64, 64))
    plan = plan_of("efficientnet_lite0", x.shape)
    plan.save(tmp_path / "net.plan")
    np.save(tmp_path / "x.npy", x)
    paths = [str(tmp_path / name) for name in ("net.plan", "y.npy", "x.npy")]
    told = in_a_process(tmp_path, LOADED, *paths)
    others, ours = json.loads(told)
    assert others == []
    assert not {"nn", "models", "optim", "graphs", "verify", "vision", "cli"} & set(ours)
    assert not {"tensor", "autograd"} & set(ours), "it was recorded by arithmetic alone"
    assert np.array_equal(np.load(tmp_path / "y.npy"), plan(x))


STARTED = """
import sys
import numpy as np
before = set(sys.modules)
import minigrad as mg
plan = mg.load_plan(sys.argv[1], mmap="mmap" in sys.argv)
plan(np.zeros(plan.graph.shape, np.float32))
print(*sorted(set(sys.modules) - before))
"""
UNUSED = {  # by a plan that is read, checked and run; each takes time that a start would feel
    "contextlib", "dataclasses", "errno", "inspect", "json", "pathlib", "re", "threading",
    "minigrad.engine.loading_calls", "minigrad.engine.moves", "minigrad.formats.files",
    "minigrad.kernels.contract", "minigrad.kernels.cython.pairs", "minigrad.ops.conv",
    "minigrad.version",
}  # fmt: skip


@pytest.mark.parametrize("how", ["read", "mmap"])
def test_a_start_from_a_plan_imports_nothing_that_it_does_not_use(how: str, tmp_path: Path) -> None:
    plan_of("mobilenet_v2_0_35", (1, 3, 32, 32)).save(tmp_path / "net.plan")
    imported = set(in_a_process(tmp_path, STARTED, str(tmp_path / "net.plan"), how).split())
    assert "minigrad.engine.loading" in imported
    assert imported & UNUSED == set()
    assert ("mmap" in imported) == (how == "mmap")


def test_without_the_core_a_plan_is_interpreted(tmp_path: Path) -> None:
    x, plan = batch((1, 3, 32, 32)), plan_of("mobilenet_v2_0_35", (1, 3, 32, 32))
    plan.save(tmp_path / "net.plan")
    np.save(tmp_path / "x.npy", x)
    paths = [str(tmp_path / name) for name in ("net.plan", "y.npy", "x.npy")]
    in_a_process(tmp_path, LOADED, *paths, isa="none")
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), plan(x), rtol=1e-3, atol=1e-5)


def test_what_the_network_says_of_itself_is_kept(tmp_path: Path) -> None:
    model = mg.models.create("mobilenet_v2_0_35", rng=0, num_classes=2).eval()
    model.labels = ("cat", "\x1b[31m")
    plan = mg.compile(model, (1, 3, 32, 32))
    plan.save(tmp_path / "a.plan")
    plan.save(tmp_path / "b.plan", {"trained on": "pets"})
    stated = mg.models.Description.of(mg.load_plan(tmp_path / "a.plan").metadata)
    assert (stated.network, stated.labels) == ("mobilenet_v2_0_35", model.labels)
    assert mg.load_plan(tmp_path / "b.plan").metadata == {"trained on": "pets"}
    assert mg.compile(lambda x: x + 1, (2,)).metadata == {}


def test_a_plan_of_another_version_says_which(tmp_path: Path) -> None:
    path = tmp_path / "net.plan"
    with path.open("wb") as file:
        write_safetensors(file, {"w0": np.zeros(1, np.float32)}, {"minigrad.plan": "1"})
    with pytest.raises(FormatError, match="plan of version '1', and this .* reads version '4'"):
        mg.load_plan(path)


def test_other_steps_and_several_outputs_are_kept(tmp_path: Path) -> None:
    w = mg.Tensor(np.random.default_rng(0).normal(size=(6, 4, 3, 3)))

    def model(x: mg.Tensor) -> list[mg.Tensor]:
        y = mg.conv2d(x, w, stride=(2, 1), padding=((1, 0), (0, 2)), dilation=2)
        y = mg.max_pool2d(mg.silu(y), 2, 1, 1, ceil_mode=True)
        z = mg.concat([y, mg.avg_pool2d(y, 3, 1, 1)], axis=1)
        return [
            mg.softmax(z.sum(axis=(2, 3))),
            mg.permute(z - y.mean(axis=(1,), keepdims=True), 0, 2, 3, 1),
        ]

    plan = mg.compile(model, (2, 4, 11, 9), dtype=np.float64)
    plan.save(tmp_path / "net.plan")
    x = np.random.default_rng(1).normal(size=(2, 4, 11, 9))
    again = mg.load_plan(tmp_path / "net.plan").outputs(x)
    assert all(np.array_equal(a, b) for a, b in zip(again, plan.outputs(x), strict=True))


def test_a_step_that_no_file_holds_is_told(tmp_path: Path) -> None:
    plan = mg.compile(lambda x: mg.embed(x, (4, 3), slice(0, 2)), (2, 3))
    with pytest.raises(GraphError, match="save: the step .* which no plan file can hold"):
        plan.save(tmp_path / "net.plan")
    assert not list(tmp_path.iterdir())


def test_more_outputs_than_a_file_may_have_are_not_written(tmp_path: Path) -> None:
    plan = mg.compile(lambda x: [mg.relu(x)] * 1001, (1, 2, 3, 3))
    with pytest.raises(GraphError, match="at most 1,500 steps and 1,000 outputs, not 1 and 1001"):
        plan.save(tmp_path / "net.plan")
    assert not list(tmp_path.iterdir())


def test_a_file_of_weights_is_no_plan(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    mg.formats.save(path, {"w": np.ones(3, np.float32)})
    with pytest.raises(FormatError, match="no plan of minigrad"):
        mg.load_plan(path)


class Saved:
    """A small plan's file in its parts, to be changed."""

    def __init__(self, folder: Path, model: Any = None) -> None:
        model = model or mg.nn.Sequential(
            mg.nn.Conv2d(3, 8, 3, padding=1), mg.nn.BatchNorm2d(8), mg.nn.ReLU6(),
            mg.nn.InvertedResidual(8, 8, expand_ratio=2), mg.nn.Conv2d(8, 4, 1, groups=2),
        ).eval()  # fmt: skip
        self.folder, self.x = folder, batch((2, 3, 7, 7))
        self.path = folder / "net.plan"
        plan = mg.compile(model, self.x.shape)
        plan.save(self.path)
        self.expected = plan(self.x)
        with source(str(self.path)) as file:
            state = read_safetensors(file, Budget(1 << 24))
        self.arrays, self.metadata = dict(state), state.metadata
        self.steps = json.loads(state.metadata["minigrad.steps"])

    def load(self, described: Any, arrays: Any = None) -> Any:
        path = self.folder / "changed.plan"
        text = described if isinstance(described, str) else json.dumps(described)
        with path.open("wb") as file:
            metadata = {**self.metadata, "minigrad.steps": text}
            write_safetensors(file, self.arrays if arrays is None else arrays, metadata)
        return mg.load_plan(path)


def gated(x: mg.Tensor) -> mg.Tensor:
    """A pool, a gate, a sum and a classifier: the other steps that are known by arithmetic."""
    rng = np.random.default_rng(3)
    w, v, u = (mg.from_numpy(rng.normal(size=s).astype(np.float32))
               for s in ((4, 3, 3, 3), (4, 4, 1, 1), (5, 4)))  # fmt: skip
    y = mg.max_pool2d(mg.relu(mg.conv2d(x, w, padding=1)), 3, 2, 1)
    gate = mg.sigmoid(mg.conv2d(mg.global_avg_pool(y), v))
    z = mg.conv2d(y * gate, v) + y
    return mg.linear(mg.global_avg_pool(mg.hardswish(z)).reshape(2, 4), u)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: Any) -> Saved:
    return Saved(tmp_path_factory.mktemp("plans"))


def tried(load: Any, x: Any) -> bool:
    """Whether a file can be loaded and run; any failure is a sentence of ours."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that it was packed for another machine
            plan = load()
        if isinstance(plan, mg.engine.JointPlan):
            plan([np.zeros(shape, plan.plan.graph.dtype) for shape in plan.shapes])
        elif plan.graph.shape == x.shape and plan.layout == "NCHW" and plan.graph.dtype == x.dtype:
            plan(x, threads=2)
    except MinigradError as error:
        told = str(error)
    else:
        return True
    assert len(told) < 1000
    assert told.isprintable()
    return False


VALUES = (None, True, -1, 0, 1, 2, 3, 7, 8, 2**31, 2**63, 10**30, 1.5, -1e300, "", "0", "1", "w0",
          "w1", "w99", "relu", "conv2d", "add", "\x1b[31m", [], {}, [1, 1], [[0, 0], [0, 0]],
          ["0"], {"spec": 3}, {"shape": [1]})  # fmt: skip


def mutated(value: Any, rng: Any) -> Any:
    """The JSON with one place changed, taken away, doubled, or exchanged with another."""
    places = [((), value)]
    for path, inner in places:
        keys = inner if isinstance(inner, dict) else range(len(inner) if type(inner) is list else 0)
        places.extend(((*path, key), inner[key]) for key in keys)
    path, _ = places[rng.integers(1, len(places))]
    copy = json.loads(json.dumps(value))
    parent = copy
    for key in path[:-1]:
        parent = parent[key]
    how = rng.integers(5)
    if how == 0:
        del parent[path[-1]]
    elif how == 1 and isinstance(parent, list):
        parent.insert(path[-1], parent[path[-1]])
    elif how == 2:
        parent[path[-1]] = places[rng.integers(len(places))][1]
    elif how == 3 and type(parent[path[-1]]) is int:
        parent[path[-1]] += int(rng.integers(-3, 4))
    else:
        parent[path[-1]] = VALUES[rng.integers(len(VALUES))]
    return copy


def swept(saved: Saved, count: int, seed: int) -> int:
    rng, accepted = np.random.default_rng(seed), 0
    for _ in range(count):
        steps = saved.steps
        for _ in range(rng.integers(1, 4)):
            steps = mutated(steps, rng)
        accepted += tried(lambda steps=steps: saved.load(steps), saved.x)
    return accepted


def test_mutated_steps_are_refused_or_run_within_their_arrays(saved: Saved) -> None:
    assert np.array_equal(saved.load(saved.steps)(saved.x), saved.expected)
    assert 0 < swept(saved, 700, 0) < 600


def test_mutated_gates_and_pools_are_refused_or_run_within_their_arrays(tmp_path: Path) -> None:
    saved = Saved(tmp_path, gated)
    assert np.array_equal(saved.load(saved.steps)(saved.x), saved.expected)
    assert 0 < swept(saved, 300, 1) < 280


@pytest.mark.parametrize("seed", range(2))
def test_steps_known_by_arithmetic_are_what_the_public_functions_record(
    seed: int, tmp_path: Path, monkeypatch: Any
) -> None:
    saved, rng = Saved(tmp_path, gated if seed else None), np.random.default_rng(seed)
    found: list[bool] = []
    both: list[bool] = []

    def quick(*given: Any) -> Any:
        made = outline.outlined(*given)
        found.append(made is not None)
        return made

    def read(steps: Any, record: Any) -> bytes:
        monkeypatch.setattr(saving, "outlined", record)
        saved.load(steps).save(tmp_path / "again.plan")
        return (tmp_path / "again.plan").read_bytes()

    for k in range(150):
        steps = saved.steps
        for _ in range(rng.integers(0, 2) if k else 0):
            steps = {**steps, "steps": mutated(steps["steps"], rng)}
        try:
            one = read(steps, quick)
        except MinigradError:
            continue
        if found[-1]:
            both.append(one == read(steps, lambda *given: None))
    assert both[0]
    assert all(both)
    assert len(both) > 50


@pytest.mark.parametrize("name", ["mobilenet_v2_0_35", "mobilenet_v3_small", "squeezenext_small"])
def test_one_file_serves_any_batch_and_size(name: str, tmp_path: Path) -> None:
    model = mg.models.create(name, rng=0, num_classes=7).eval()
    mg.compile(model, (2, 3, 64, 64)).save(tmp_path / "net.plan")
    plan = mg.load_plan(tmp_path / "net.plan", mmap=True, any_shape=True)
    for shape in ((1, 3, 64, 64), (2, 3, 64, 64), (3, 3, 96, 64), (1, 3, 128, 128)):
        x = batch(shape)
        assert np.array_equal(plan(x), mg.compile(model, shape)(x))
    one, other = plan.at((1, 3, 64, 64)), plan.at((3, 3, 96, 64))
    assert one._packed is other._packed, "the weights are there once"
    x = batch((1, 3, 64, 64))
    assert np.array_equal(pickle.loads(pickle.dumps(plan))(x), plan(x))


def same(x: mg.Tensor) -> mg.Tensor:
    w = mg.from_numpy(np.ones((3, 3, 3, 3), np.float32))
    return mg.conv2d(x, w, stride=2, padding="same")


def cut(x: mg.Tensor) -> mg.Tensor:
    return x[:, :, : x.shape[2] // 2]


def flat(x: mg.Tensor) -> mg.Tensor:
    return x.reshape(x.shape[0], 3 * x.shape[2] // 2, 2 * x.shape[3])


def mixed(x: mg.Tensor) -> mg.Tensor:
    return x.reshape(x.shape[0] // 2, 6, *x.shape[2:])


def test_another_shape_is_refused_where_the_saved_steps_may_not_be_the_networks(
    tmp_path: Path,
) -> None:
    refused = {same: (2, 3, 7, 7), cut: (2, 3, 6, 6), flat: (2, 3, 4, 16), mixed: (4, 3, 8, 8)}
    for model, shape in refused.items():
        mg.compile(model, (2, 3, 8, 8)).save(tmp_path / "net.plan")
        plan = mg.load_plan(tmp_path / "net.plan", any_shape=True)
        assert np.array_equal(plan(batch((2, 3, 8, 8))), mg.load_plan(tmp_path / "net.plan")(
            batch((2, 3, 8, 8))))  # fmt: skip
        with pytest.raises(mg.ShapeError, match=r"was saved for \(2, 3, 8, 8\) and cannot take"):
            plan.at(shape)
        with pytest.raises(mg.ShapeError, match="it has 3 axes"):
            plan.at((2, 3, 8))


@pytest.mark.parametrize("names", [(), ("left", "right")])
def test_a_plan_of_several_inputs_and_outputs_is_saved(names: Any, tmp_path: Path) -> None:
    def model(a: mg.Tensor, b: mg.Tensor) -> list[mg.Tensor]:
        return [mg.relu(a) + b, a * b]

    if names:
        model.inputs = dict.fromkeys(names)  # type: ignore[attr-defined]
    plan = mg.compile(model, [(2, 3), (2, 3)])
    plan.save(tmp_path / "net.plan", {"note": "two"})
    again: Any = mg.load_plan(tmp_path / "net.plan")
    a, b = batch((2, 3)), batch((2, 3)) + 1
    given = dict(zip(names, (a, b), strict=True)) if names else [a, b]
    for one, other in zip(again(given), plan(given), strict=True):
        assert np.array_equal(one, other)
    assert (again.names, again.shapes) == (plan.names, plan.shapes)
    assert again.plan.metadata == {"note": "two"}


INPUTS = (
    [["", [2, 3, 7]]], [["", [294]], ["", [0]]], [["a", [147]], ["a", [147]]],
    [["a", [147]], ["", [147]]], [["a", [-294]]], [["a", [294.0]]], [["a"]], ["a"], [1],
)  # fmt: skip
PREPARATIONS = (
    [], [[0.0] * 3, [1.0] * 3], [[0.0] * 2, [1.0] * 3, "RGB"], [[0.0] * 3, [0.0] * 3, "RGB"],
    [[0.0] * 3, [1.0] * 3, "GBR"], [["a"] * 3, [1.0] * 3, "RGB"], [[1e400] * 3, [1.0] * 3, "RGB"],
    [[0.0] * 2, [1.0] * 2, "RGB"], "RGB", {"mean": 1},
)  # fmt: skip


@pytest.mark.parametrize("key", ["inputs", "preparation"])
def test_inputs_and_preparations_that_are_none_are_refused(key: str, saved: Saved) -> None:
    for value in INPUTS if key == "inputs" else PREPARATIONS:
        with pytest.raises(FormatError):
            saved.load({**saved.steps, key: value})


@pytest.mark.full
def test_many_mutated_steps(saved: Saved) -> None:
    for seed in range(1, 21):
        swept(saved, 1000, seed)


def test_tensors_of_other_shapes_are_refused_or_run_within_their_arrays(saved: Saved) -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        arrays = dict(saved.arrays)
        name = list(arrays)[rng.integers(len(arrays))]
        shape = tuple(int(n) for n in rng.integers(0, 5, rng.integers(0, 6)))
        other = np.zeros(shape, [np.float32, np.float64, np.int32, np.float16][rng.integers(4)])
        if rng.integers(4) == 0:
            del arrays[name]
        else:
            arrays[name] = other
        tried(lambda arrays=arrays: saved.load(saved.steps, arrays), saved.x)


@pytest.mark.parametrize("whole", [False, True])
def test_damaged_bytes_are_refused_or_run_within_their_arrays(whole: bool, saved: Saved) -> None:
    rng, raw = np.random.default_rng(0), saved.path.read_bytes()
    path = saved.folder / "damaged.plan"
    for _ in range(300):
        data = bytearray(raw)
        for _ in range(rng.integers(1, 4)):
            data[rng.integers(len(data) if whole else 3000)] = rng.integers(256)
        path.write_bytes(data[: rng.integers(len(data))] if rng.integers(8) == 0 else data)
        tried(lambda: mg.load_plan(path), saved.x)


PACKINGS = (
    [], [[8, 3, 3, 3]], [[8, 3, 3, 3], 0], [[8, 3, 3, 3], 3], [[8, 3, 3, 3], -1], [[8, 3, 3], 1],
    [[8, 3, 3, 0], 1], [[16, 3, 3, 3], 1], [[2**31 - 1] * 4, 1], [[8, 27], 1],
    [[8, 3, 3, 3], True], [[8, 3, 3, 3.0], 1], [[-8, -3, 3, 3], 1],
    [[10**30, 1], 1], {"shape": [8, 3, 3, 3]},
)  # fmt: skip


@pytest.mark.parametrize("register", [16, 32, 64])
def test_filters_of_another_shape_or_register_are_refused(register: int, saved: Saved) -> None:
    for packing in PACKINGS:
        packed = {**saved.steps["packed"], "w0": packing}
        with pytest.raises(FormatError):
            saved.load({**saved.steps, "packed": packed, "register": register})


@pytest.mark.parametrize("register", [0, 1, 8, 63, 128, -64, 2**70, True])
def test_no_register_has_any_number_of_bytes(register: int, saved: Saved) -> None:
    with pytest.raises(FormatError, match="packed|filters"):
        saved.load({**saved.steps, "register": register})


def test_packed_numbers_are_filters_and_nothing_else(saved: Saved) -> None:
    steps = [*saved.steps["steps"], ["add", ["1", "w0"], {}, ""]]
    with pytest.raises(FormatError, match="reads packed filters as other numbers"):
        saved.load({**saved.steps, "steps": steps})
    with pytest.raises(FormatError, match="not there"):
        saved.load({**saved.steps, "packed": {"w99": [[1, 1], 1]}})


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", "[" * 100_000, '{"input": NaN}', '{"input": 1e999}', "9" * 5000, "\ud800"],
    ids=range(8),
)
def test_what_is_no_json_of_steps_is_refused(text: str, saved: Saved) -> None:
    if text == "\ud800":
        text = '"\\ud800"'
    with pytest.raises(FormatError):
        saved.load(text)


def test_a_plan_of_huge_maps_is_refused_at_once(saved: Saved) -> None:
    for shape in ([2, 3, 2**31 - 1, 2**31 - 1], [65_536, 3, 2**20, 2**20], [2**30, 3, 1, 1]):
        with pytest.raises(MinigradError):
            saved.load({**saved.steps, "input": shape})


FUSED = (
    ("activation", (None, "relu", "silu")), ("residual", (None, "1")), ("gate", (None, "2")),
    ("last", (False, True)), ("clamp", (None, "relu6")),
)  # fmt: skip


def test_what_is_fused_into_a_step_means_the_steps_that_it_stands_for(tmp_path: Path) -> None:
    path, x = tmp_path / "net.plan", np.random.default_rng(0).normal(size=(9, 4, 8, 8))
    before = [step("relu", "0"), step("global_avg_pool", "0")]

    def outcome(*steps: Any) -> Any:
        path.write_bytes(plan_file([*before, *steps]))
        plan = mg.load_plan(path)
        return plan(x.astype(np.float32)), len(plan.unfused.steps)

    few = 0
    for values in itertools.product(*(values for _, values in FUSED)):
        words = dict(zip((name for name, _ in FUSED), values, strict=True))
        epilogue = Epilogue(**words)
        scaled = [step("broadcast_to", "2", "0"), step("mul", "0", "3")] if epilogue.gate else []
        parts = [*scaled, step("conv2d", "4" if scaled else "0", "w0", None, **CONV)]
        for op, others in epilogue.after():
            parts.append(step(op, str(len(before) + len(parts)), *others))
        y, count = outcome(fused("0", **words))
        assert np.array_equal(y, outcome(*parts)[0]), words
        few += count <= 3
    assert few > 10, "they were not taken apart"


NOTHING_FUSED = (
    {"activation": "nothing"}, {"activation": 3}, {"activation": ["relu"]}, {"activation": []},
    {"residual": "99"}, {"residual": "3"}, {"residual": 0}, {"gate": "w0"}, {"gate": "\x1b[31m"},
    {"clamp": "add"}, {"clamp": {}}, {"last": 0}, {"tangent": None}, {"": "relu"}, [], "relu",
)  # fmt: skip


def test_what_cannot_be_fused_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.plan"
    before = [step("relu", "0"), step("global_avg_pool", "0")]
    for words in NOTHING_FUSED:
        path.write_bytes(plan_file([*before, [*fused("0")[:5], words]]))
        with pytest.raises(FormatError) as told:
            mg.load_plan(path)
        assert str(told.value).isprintable()


def test_what_can_be_written_can_be_read() -> None:
    assert set(CALLS) == OPERATIONS
