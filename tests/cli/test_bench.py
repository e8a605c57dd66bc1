"""minigrad bench: who is measured, on what, and what is computed from the times."""

from __future__ import annotations

import json

import numpy as np
import pytest

from minigrad import Tensor, no_grad
from minigrad.cli import bench, engines, main, stopwatch
from minigrad.cli.stopwatch import Timing
from minigrad.kernels import unavailable
from minigrad.models import create, summary

NET = ["mobilenet_v2_0_35", "--input", "1x3x32x32", "--seconds", "1e-3"]


class Peer:
    """An engine that reads the ONNX file and answers with zeros but for a 5."""

    def __init__(self, onnx, x, threads):
        self.seen.append((onnx, x, threads))
        self.y = np.zeros((len(x), 1000), np.float32)
        self.y[:, 3] = 5

    def run(self):
        pass

    def output(self):
        return self.y


@pytest.fixture
def quick(monkeypatch):
    """No waiting; engine k of a round takes (k + 1) ms; one peer is installed."""
    monkeypatch.setattr(bench, "settle", lambda: None)
    monkeypatch.setattr(bench, "_peak", lambda threads: 100.0 * threads)
    monkeypatch.setattr(bench, "interleave", lambda calls, seconds: {
        name: Timing(1000.0 * (k + 1), 900.0 * (k + 1), 7) for k, name in enumerate(calls)
    })  # fmt: skip
    monkeypatch.setattr(engines, "installed", lambda: ["openvino"])
    monkeypatch.setitem(engines.ENGINES, "openvino", Peer)
    monkeypatch.setattr(Peer, "seen", [], raising=False)


def run(capsys, *argv):
    code = main(["bench", *argv])
    out, err = capsys.readouterr()
    return code, out, err


OURS = ["eager"] if unavailable("cython") else ["plan", "eager"]


def test_rows_are_made_of_times_macs_and_the_peak(quick, capsys):
    code, out, _ = run(capsys, *NET, "--threads", "1,2", "--batch", "3", "--json")
    rows = json.loads(out)
    assert code == 0
    assert [(r["engine"], r["threads"]) for r in rows] == [
        (engine, threads) for threads in (1, 2) for engine in (*OURS, "openvino")
    ]
    macs = 3 * summary(create("mobilenet_v2_0_35"), (1, 3, 32, 32)).macs
    for place, row in enumerate(rows):
        ms = place % (len(OURS) + 1) + 1
        assert row["shape"] == [3, 3, 32, 32]
        assert row["median_us"] == 1000 * ms
        assert row["images_per_second"] == pytest.approx(3000 / ms)
        assert row["gflops"] == pytest.approx(2 * macs / (ms * 1e-3) / 1e9)
        assert row["percent_of_peak"] == pytest.approx(row["gflops"] / row["threads"])


def test_all_get_the_same_input_and_what_differs_shows(quick, capsys):
    _, out, _ = run(capsys, *NET, "--threads", "1", "--json")
    *ours, peer = json.loads(out)
    ((_, x, threads),) = Peer.seen
    with no_grad():
        y = create("mobilenet_v2_0_35", rng=0).eval()(Tensor(x)).numpy()
    answer = Peer(b"", x, 1).output()
    assert threads == 1
    assert ours[0]["difference"] == 0
    assert peer["difference"] == pytest.approx(np.abs(answer - y).max() / np.abs(y).max(), rel=1e-4)


def test_the_peers_read_what_export_writes(quick, capsys, tmp_path):
    run(capsys, *NET, "--threads", "1", "--json")
    assert main(["export", NET[0], str(tmp_path / "x.onnx"), *NET[1:3]]) == 0
    import onnx

    given, written = onnx.load_from_string(Peer.seen[0][0]), onnx.load(tmp_path / "x.onnx")
    assert [n.op_type for n in given.graph.node] == [n.op_type for n in written.graph.node]
    assert [c.raw_data for c in given.graph.initializer] == [
        c.raw_data for c in written.graph.initializer
    ]


def test_the_table_names_everybody_and_who_is_missing(quick, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = run(capsys, *NET, "--threads", "2")
    assert code == 0
    assert max(map(len, out.splitlines())) <= 80
    assert [line.split()[1] for line in out.splitlines() if line.startswith("      2")] == [
        *OURS, "openvino"
    ]  # fmt: skip
    assert "not installed: onnxruntime" in out


def test_it_runs_as_it_is(capsys, monkeypatch):
    """Nothing is replaced but the waiting for threads to sleep."""
    monkeypatch.setattr(stopwatch, "settle", lambda: None)
    code, out, _ = run(capsys, *NET, "--threads", "1", "--json")
    rows = json.loads(out)
    assert code == 0
    assert [r["engine"] for r in rows[: len(OURS)]] == OURS
    assert all(r["p10_us"] <= r["median_us"] and r["calls"] >= 30 for r in rows)
    assert all(r["difference"] < 1e-3 for r in rows)


@pytest.mark.parametrize("argv", [["--threads", "0"], ["--seconds", "nan"], ["--batch", "x"]])
def test_a_wrong_argument_is_one_sentence(capsys, argv):
    code, out, err = run(capsys, "mobilenet_v2", *argv)
    assert (code, out, err.count("\n")) == (2, "", 1)
