"""The benchmarks' own logic: what is counted, what is a row, what is an error.  Never a time."""

from __future__ import annotations

import gc
import importlib
import itertools
import json
import math
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

import minigrad as mg
from minigrad import formats as weight_files
from minigrad import kernels
from minigrad.cli import stopwatch
from minigrad.errors import BackendError

sys.path.append(str(Path(__file__).parents[1]))  # after the installed minigrad
formats, layers, machine, ours, report, startup, timing, work, worst = (
    importlib.import_module(f"benchmarks.{name}")
    for name in (
        *("formats", "layers", "machine", "ours", "report", "startup", "timing", "work", "worst"),
    )
)

ROW_KEYS = [
    *("name", "backend", "threads", "batch", "direction", "median_us", "p10_us", "gflops"),
    *("percent_of_peak", "best_peer", "ratio_to_best_peer"),
]
SMALL = (
    work.pointwise(5, 3, 4),
    work.depthwise(3, 5, 7, 2),
    work.dense((3, 1), 2, 3, 5),
    work.stem(3, 4, 9, padding=1),
)


# ---------------------------------------------------------------- what is counted


@pytest.mark.parametrize("layer", SMALL, ids=lambda layer: layer.name)
def test_flops_are_two_for_every_tap_of_every_output_padding_counted(layer):
    n, cout, ho, wo = layer.y_shape(2)
    taps = itertools.product(
        range(n), range(cout), range(ho), range(wo), *(range(d) for d in layer.w_shape[1:])
    )
    assert layer.flops(2) == 2 * sum(1 for _ in taps)


def test_flops_of_known_layers():
    assert work.dense((3, 3), 64, 64, 56).flops() == 2 * 115_605_504  # ResNet's first stage
    assert work.stem(3, 32, 224, padding=1).flops() == 2 * 10_838_016  # MobileNetV2's stem
    assert work.depthwise(3, 96, 112, 2).flops(8) == 8 * 2 * 96 * 56 * 56 * 9


def test_bytes_touch_each_array_once():
    assert work.pointwise(2, 3, 4).bytes(5) == 4 * (5 * 2 * 16 + 6 + 5 * 3 * 16)


def test_every_layer_has_its_own_name_and_the_kind_its_group_says():
    names = [layer.name for layer in layers.LAYERS]
    assert len(set(names)) == len(names) == 27
    for layer in layers.LAYERS:
        kind = kernels.classify(layer.spec, layer.w_shape)
        assert kind == {"stem": "dense"}.get(layer.group.split()[0], layer.group.split()[0])


def test_names_say_window_channels_map_and_stride():
    assert [layer.name for layer in SMALL] == [
        "pointwise 5->3@4",
        "depthwise 3x3 5@7 s2",
        "dense 3x1 2->3@5",
        "stem 3x3 3->4@9 s2",
    ]


def test_every_forward_group_has_a_figure():
    assert {layer.group for layer in layers.LAYERS} == set(layers.FIGURES["forward"])


# ---------------------------------------------------------------- what is right


def _answer(w, cast=lambda a: a):
    kind = kernels.classify(w.spec, w.w.shape)
    with kernels.backend("numpy"):
        call = kernels.find(work.FUNCTIONS[w.direction], kind).call
    return call(*(cast(a) if isinstance(a, np.ndarray) else a for a in w.arguments()))


def _bfloat16(a):
    bits = np.ascontiguousarray(a).view(np.uint32)
    return ((bits + 0x8000) & 0xFFFF0000).astype(np.uint32).view(np.float32)


@pytest.mark.parametrize("direction", list(work.FUNCTIONS))
@pytest.mark.parametrize("layer", SMALL, ids=lambda layer: layer.name)
def test_float32_is_within_the_bound_and_bfloat16_is_not(layer, direction):
    w = work.Work.make(layer, 2, direction)
    assert w.excess(_answer(w)) <= 1
    assert w.excess(_answer(w, _bfloat16)) > 1


def test_nan_and_wrong_shapes_are_infinitely_wrong():
    w = work.Work.make(SMALL[0], 1, "forward")
    y = _answer(w)
    assert w.excess(y[:, 1:]) == math.inf
    y[0, 0, 0, 0] = np.nan
    assert w.excess(y) == math.inf


def test_one_element_out_of_all_counts():
    w = work.Work.make(SMALL[2], 2, "forward")
    y = _answer(w)
    y.flat[7] += 4 * w.bound.flat[7]
    assert w.excess(y) > 1


@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.parametrize("direction", list(work.FUNCTIONS))
def test_our_engine_computes_the_work_and_only_with_the_backend_asked_for(
    direction, eager, monkeypatch
):
    w = work.Work.make(SMALL[1], 2, direction)
    engine = ours.ours(w, "numpy", eager)
    engine.run()
    assert w.excess(engine.output()) <= 1
    numpy_backend = importlib.import_module("minigrad.kernels.numpy")
    monkeypatch.delattr(numpy_backend, work.FUNCTIONS[direction])
    monkeypatch.delattr(numpy_backend, f"depthwise_{work.FUNCTIONS[direction]}")
    kernels.dispatch._find.cache_clear()
    with pytest.raises(BackendError, match="numpy"):
        ours.ours(w, "numpy", eager)


@pytest.mark.parametrize("backend", [b for b in ("cython", "numpy") if not kernels.unavailable(b)])
@pytest.mark.parametrize("layer", SMALL, ids=lambda layer: layer.name)
def test_the_bound_call_gives_the_bits_of_the_eager_one(layer, backend):
    w = work.Work.make(layer, 2, "forward")
    engines = [ours.ours(w, backend, eager) for eager in (False, True)]
    assert [engine.call for engine in engines] == [
        "bound" if backend == "cython" else "eager",
        "eager",
    ]
    for engine in engines:
        engine.run()
    assert np.array_equal(*(engine.output() for engine in engines))


@pytest.mark.parametrize("layer", SMALL, ids=lambda layer: layer.name)
def test_the_onnx_model_is_the_same_layer(layer):
    from onnx import load_from_string
    from onnx.reference import ReferenceEvaluator

    w = work.Work.make(layer, 2, "forward")
    model = load_from_string(formats.onnx_model(w))
    (y,) = ReferenceEvaluator(model).run(None, {"x": np.ascontiguousarray(w.x)})
    assert w.excess(y) <= 1


# ---------------------------------------------------------------- statistics


def test_median_and_tenth_percentile_in_microseconds():
    assert timing.Timing.of([1000 * i for i in range(101)]) == (50.0, 10.0, 101)


def test_geometric_mean_is_symmetric_in_wins_and_losses():
    assert timing.geometric_mean([4.0, 0.25]) == pytest.approx(1.0)
    assert math.isnan(timing.geometric_mean([]))


def test_engines_take_turns_and_each_is_first_equally_often(monkeypatch):
    bursts = []
    monkeypatch.setattr(stopwatch, "_burst", lambda call, *_: bursts.append(call()) or [1000])
    stopwatch.interleave({"a": lambda: "a", "b": lambda: "b"}, 1.0)
    rounds = ["".join(bursts[i : i + 2]) for i in range(0, len(bursts), 2)]
    assert rounds == ["ab", "ba"] * (stopwatch.ROUNDS // 2)


def test_a_burst_times_neither_its_warm_up_nor_too_few_calls(monkeypatch):
    monkeypatch.setattr(stopwatch, "settle", lambda: None)
    monkeypatch.setattr(stopwatch, "WARM_SECONDS", 0.0)
    calls = []
    assert len(stopwatch._burst(lambda: calls.append(1), 0.0, 3)) == 3
    assert len(calls) == 6  # the untimed ones first


def test_the_collector_is_back_after_a_failing_call(monkeypatch):
    monkeypatch.setattr(stopwatch, "settle", lambda: None)
    with pytest.raises(ZeroDivisionError):
        stopwatch.interleave({"a": lambda: 1 // 0}, 0.01)
    assert gc.isenabled()


def test_memory_is_the_limit_only_below_twelve_flops_a_byte(monkeypatch):
    monkeypatch.setattr(machine, "bandwidth", lambda threads, touched: 10.0)
    assert machine.limit(100.0, 12.0, 1 << 20, 1) == 100.0
    assert machine.limit(100.0, 11.9, 1 << 20, 1) == 100.0
    assert machine.limit(100.0, 2.0, 1 << 20, 1) == 20.0


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone tells it")
def test_memory_is_that_of_a_process_and_not_of_the_one_that_made_it():
    held = np.ones(500 << 20, np.uint8)  # 500 MB, touched
    code = f"import runpy; print(runpy.run_path({machine.__file__!r})['most_memory']())"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert 10 < float(done.stdout) < held.nbytes / 2e6


def test_neighbours_are_all_busy_time_but_our_own(monkeypatch, tmp_path):
    stat = tmp_path / "stat"
    monkeypatch.setattr(machine.Neighbours, "_STAT", stat)
    monkeypatch.setattr(machine.os, "sysconf", lambda name: 100)
    clock = iter((10.0, 20.0))
    own = iter((1.0, 4.0))
    monkeypatch.setattr(machine.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(machine.time, "process_time", lambda: next(own))
    stat.write_text("cpu 100 0 100 5000 30 0 0 0 0 0\ncpu0 1 2\n")
    neighbours = machine.Neighbours()
    stat.write_text("cpu 500 0 200 6000 90 0 0 0 0 0\ncpu0 1 2\n")
    assert neighbours.cpus() == pytest.approx((5.0 - 3.0) / 10.0)


def test_where_there_is_no_proc_stat_neighbours_are_unknown(monkeypatch, tmp_path):
    monkeypatch.setattr(machine.Neighbours, "_STAT", tmp_path / "none")
    assert machine.Neighbours().cpus() is None


# ---------------------------------------------------------------- rows and tables

CASE = report.Case("forward", 2, 8)


def _timing(us):
    return timing.Timing(us, us * 0.9, 10)


def _row(name="x", us=10.0, peers=None, peak=100.0, group="pointwise", case=CASE):
    times = {p: _timing(t) for p, t in (peers or {}).items()}
    details = {p: {**t._asdict(), "reorders": True} for p, t in times.items()}
    row = report.make_row(name, "cython", case, 800_000, _timing(us), times, peak)
    row |= {"peak_gflops": peak}
    return row | {"group": group, "percent_of_limit": None, "peers": details}


def test_a_row_has_the_keys_of_all_benchmarks_in_their_order():
    row = report.make_row("x", "numpy", CASE, 10, _timing(1.0), {}, None)
    assert list(row) == ROW_KEYS


def test_the_best_peer_is_the_one_with_the_smallest_median_and_above_one_we_win():
    row = _row(us=10.0, peers={"openvino": 12.0, "litert": 11.0})
    assert (row["best_peer"], row["ratio_to_best_peer"]) == ("litert", pytest.approx(1.1))
    assert (row["gflops"], row["percent_of_peak"]) == (pytest.approx(80), pytest.approx(80))


def test_without_peers_or_peak_a_row_says_none_rather_than_a_number():
    row = _row(peak=None)
    assert row["best_peer"] is row["ratio_to_best_peer"] is row["percent_of_peak"] is None


def test_tables_fit_100_columns_with_the_longest_name_and_slowest_peer():
    peers = dict.fromkeys(("onnxruntime", "openvino", "litert", "torch"), 9999.9)
    longest = max((layer.name for layer in layers.LAYERS), key=len)
    row = _row(longest, 9999.9, peers) | {"percent_of_limit": 100.0}
    line = report.line(row, peers)
    assert len(line) == len(report.header(peers)) <= 100


def test_the_summary_holds_median_and_least_of_a_group_against_its_figure():
    case = report.Case("forward", 1, 1)
    figures = {"pointwise": report.Figure(80, 70), "dense": report.Figure(79, 70)}
    rows = [
        _row("a", 10.0, {"litert": 20.0}, case=case),
        _row("b", 10.0, {"litert": 5.0}, case=case),
        _row("c", 20.0, {"litert": 20.0}, group="dense", case=case),
        _row("d", 10.0, {"litert": 20.0}, group="dense", case=case),
        _row("e", 10.0, {"litert": 20.0}, group="dense", case=case),
    ]
    lines = report.summary(case, rows, figures, 1.35)
    assert lines[0] == ("cython: forward, 1 thread, batch 1; FMA peak 100 to 100 GFLOP/s")
    assert lines[1].endswith("yes)")  # 80 and 80 against 80
    assert lines[2].endswith("NO)")  # the median is 80, but the least is 40, below 0.8 x 79
    assert "1.32x (figure 1.35x); worst 0.50x (b, litert)" in lines[3]


# ---------------------------------------------------------------- the command


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--threads", "0"], "at least 1"),
        (["--batch", "1,x"], "at least 1"),
        (["--direction", "backward"], "none of forward, input_grad, weight_grad"),
        (["--backend", "cuda"], "none of cython, numba, numpy"),
        (["--peers", "tensorflow"], "none of onnxruntime"),
        (["--layers", "("], "not a regular expression"),
        (["--layers", "9x9"], "no layer matches"),
        (["--seconds", "-1"], "seconds above 0"),
        (["--seconds", "nan"], "seconds above 0"),
    ],
)
def test_a_wrong_argument_is_one_sentence_and_exit_2(arguments, sentence, capsys):
    with pytest.raises(SystemExit) as stop:
        layers.parse([*arguments])
    assert stop.value.code == 2
    assert sentence in capsys.readouterr().err.splitlines()[-1]


class _Peer:
    """A peer that answers rightly, or 1 % off."""

    package, directions, reorders, factor = "numpy", ("forward",), False, 1.0

    def __init__(self, job, threads):
        self.job = job

    def run(self):
        pass

    def output(self):
        return (self.job.expected * self.factor).astype(np.float32)


class _WrongPeer(_Peer):
    factor = 1.01


@pytest.fixture
def one_layer(monkeypatch):
    monkeypatch.setattr(layers, "LAYERS", SMALL[:1])
    monkeypatch.setattr(stopwatch, "settle", lambda: None)
    monkeypatch.setattr(layers, "settle", lambda: None)
    return ["--backend", "numpy", "--threads", "1", "--seconds", "1e-3"]


def test_the_command_writes_the_rows_it_prints(one_layer, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(layers, "PEERS", {"litert": _Peer})
    file = tmp_path / "rows.json"
    arguments = [*one_layer, "--batch", "1,2", "--peers", "litert", "--json", str(file)]
    assert layers.main(arguments) == 0
    rows = json.loads(file.read_text())
    assert [(r["name"], r["batch"]) for r in rows] == [(SMALL[0].name, 1), (SMALL[0].name, 2)]
    assert all(list(r)[: len(ROW_KEYS)] == ROW_KEYS and r["best_peer"] == "litert" for r in rows)
    assert capsys.readouterr().out.count(SMALL[0].name) >= 2


def test_a_peer_whose_answer_is_wrong_fails_the_run_and_is_no_best_peer(
    one_layer, monkeypatch, tmp_path, capsys
):
    monkeypatch.setattr(layers, "PEERS", {"torch": _WrongPeer, "litert": _Peer})
    file = tmp_path / "rows.json"
    assert layers.main([*one_layer, "--peers", "torch,litert", "--json", str(file)]) == 1
    (row,) = json.loads(file.read_text())
    assert list(row["peers"]) == ["litert"]
    assert "FAILED pointwise 5->3@4, forward, torch: wrong by" in capsys.readouterr().out


def test_our_own_missing_kernel_fails_the_run_instead_of_another_standing_in(
    one_layer, monkeypatch, capsys
):
    def missing(*args):
        raise BackendError("there is none")

    monkeypatch.setattr(layers, "ours", missing)
    assert layers.main([*one_layer, "--peers", ""]) == 1
    assert "numpy: there is none" in capsys.readouterr().out


# ---------------------------------------------------------------- startup


def test_startup_rows_are_held_against_numpy_alone():
    runs = {
        "import numpy": [startup.Run(100.0, 30.0), startup.Run(102.0, 31.0)],
        "import minigrad": [startup.Run(110.0, 35.0), startup.Run(112.0, 34.0)],
    }
    base, ours = startup.rows_of(runs)
    assert (base["over_numpy_ms"], ours["over_numpy_ms"]) == (0.0, 10.0)
    assert ours["median_ms"] == 111.0
    assert ours["p10_ms"] == pytest.approx(110.2)
    assert (ours["peak_rss_mb"], ours["runs"]) == (35.0, 2)
    assert len(startup.table([base, ours]).splitlines()) == 3


def _in_small_parent(code):
    """Run ``code`` where ``startup`` is all that was imported, as when it measures."""
    path = f"import sys; sys.path.insert(0, {str(Path(startup.__file__).parents[1])!r})"
    command = [sys.executable, "-c", f"{path}\nimport benchmarks.startup as startup\n{code}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_a_child_is_measured_by_its_own_memory():
    small, large = json.loads(
        _in_small_parent(
            "codes = 'pass', 'b = bytearray(200_000_000); b[::4096] = b[::4096]'\n"
            "print([startup.run_child(code).peak_rss_mb for code in codes])"
        )
    )
    assert small < 50
    assert 185 < large - small < 215


def test_a_child_hands_over_its_last_line():
    assert startup.run_child("print(1); print('two')").answer == "two"


def test_engines_must_name_the_same_class_in_every_run():
    def runs(*answers):
        return [startup.Run(1.0, 1.0, a) for a in answers]

    startup.check_answers({"a": runs("3", "3"), "b": runs("3")})
    for other in ({"a": runs("3"), "b": runs("4")}, {"a": runs("3", "4"), "b": runs("3", "4")}):
        with pytest.raises(startup.ChildError, match="do not agree"):
            startup.check_answers(other)


@pytest.mark.parametrize("name", startup.OURS)
def test_our_first_prediction_is_eager_s_class(tmp_path, name):
    model = mg.models.create("mobilenet_v2", rng=0).eval()
    if name == "minigrad":
        weight_files.save(tmp_path / "mobilenet_v2.pth", model.state_dict())
    else:
        mg.compile(model, (1, 3, 224, 224)).save(tmp_path / "mobilenet_v2.plan")
    code = startup.first_predictions([])[f"MobileNetV2, {name}"]
    x = np.linspace(-2, 2, 3 * 224 * 224, dtype=np.float32).reshape(1, 3, 224, 224)
    with mg.no_grad():
        expected = model(mg.Tensor(x)).numpy().argmax()
    assert startup.run_child(code, "", str(tmp_path)).answer == str(expected)


def test_what_is_installed_is_counted_with_what_it_requires():
    assert 1 < startup.installed_mb("minigrad") < 20
    alone = sum(
        f.locate().stat().st_size for f in metadata.files("hypothesis") if "dist-info" not in str(f)
    )
    assert startup.installed_mb("hypothesis") > alone / 1e6


def test_a_failing_child_tells_its_last_line():
    with pytest.raises(startup.ChildError, match="no such thing"):
        startup.run_child("raise SystemExit('no such thing')")


def test_the_parent_of_the_measured_processes_imports_the_standard_library_alone():
    loaded = _in_small_parent("print([m for m in ('numpy', 'minigrad') if m in sys.modules])")
    assert loaded.strip() == "[]"


# ---------------------------------------------------------------- several runs


def _of_run(name, ratio, threads=1, us=10.0):
    return {
        **dict(zip(ROW_KEYS, (name, "cython", threads, 1, "forward", us, us, 5.0), strict=False)),
        "percent_of_peak": 50.0,
        "best_peer": "torch",
        "ratio_to_best_peer": ratio,
        "group": "dense",
        "limit_gflops": 5.0,
        "peak_gflops": 9.0,
        "percent_of_limit": 90.0,
    }


def test_of_several_runs_the_worst_ratio_is_shown():
    first, second = (
        [_of_run("a", 1.2), _of_run("b", 0.9)],
        [_of_run("b", 1.1), _of_run("a", 1.1, us=12.0)],
    )
    found = {row["name"]: row for row in worst.worst([first, second])}
    assert (found["a"]["ratio_to_best_peer"], found["a"]["median_us"]) == (1.1, 12.0)
    assert found["b"]["ratio_to_best_peer"] == 0.9
    (text,) = worst.tables(list(found.values()))
    assert "| a | 12.0 | 50 | 90 | torch | 1.10 |" in text
    assert "| geometric mean of the ratios | 0.99 |" in text


def test_without_peers_the_slowest_run_is_shown():
    (row,) = worst.worst([[_of_run("a", None, us=9.0)], [_of_run("a", None, us=11.0)]])
    assert row["median_us"] == 11.0


def test_runs_of_other_rows_do_not_belong_together(capsys, tmp_path):
    for name in "ab":
        (tmp_path / name).write_text(json.dumps([_of_run(name, 1.0)]))
    assert worst.main([str(tmp_path / "a"), str(tmp_path / "b")]) == 1
    assert "not of the same rows" in capsys.readouterr().err
