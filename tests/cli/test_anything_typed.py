"""Whatever is typed, and whatever the files hold: an answer or one sentence, never a traceback.

Commands and options are taken from the parsers themselves, so a new option is drawn as soon as
it is there.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrad import formats
from minigrad.cli import COMMANDS, main
from minigrad.cli import bench as bench_command
from minigrad.models import create

ODD = (
    "", " ", "\0", "a\0b", "\ud800", "\udcff.npz", "\x1b[2J", "ä\n\tb", "-", "--", "-1", "0", "1",
    "2", "00", "1.5", "1e308", "-1e308", "1e400", "nan", "inf", "-inf", "9" * 5000, "2147483648",
    "9223372036854775808", "١", "0x10", "1,", ",", "1,1", "1,-1", "1x3x32x32", "1x3x0x4",
    "1x1x1x1", "0x3x8x8", "1x3x99999999999x9", "3x32x32", "width=1e308", "width=-1", "width=0",
    "width=nan", "width=1e-300", "depth=1e9", "depth=-3", "=", "a=", "=1", "padding=no",
    "width=((((", "num_classes=-1", "output_stride=7", "dropout=2", "features_only=True",
    "groups=0", "bn_eps='x'", "self=1", "table='z'", "x" * 1000, "width=" + "(" * 5000,
)  # fmt: skip
NAMES = ("mobilenet_v2_0_35", "mobilenetv2_035", "squeezenext_1_0_23", "mnasnet_small", "resnet")
FILES = (
    "photo.png", "broken.png", "empty.pth", "folder", "fifo.jpg", "no/such.npz", "weights.npz",
    "cut.npz", "secret.npz", "link.npz", "loop", "labels.txt", "binary.json", "out.onnx",
    "out.svg", "out.npz", "out.pth", "sealed/out.npz", "/dev/full", "/dev/null", "/", "~", ".",
    "../..", "n" * 300 + ".npz", "out.safetensors",
)  # fmt: skip


# y = relu(x) of an x with four axes.
RELU = bytes.fromhex(
    "3a340a0c0a0178120179220452656c755a1f0a0178121a0a18080112140a0312014e0a0312014e0a"
    "0312014e0a0312014e62030a017942021011"
)


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """A folder with everything that FILES names."""
    here = tmp_path_factory.mktemp("typed")
    from PIL import Image

    Image.new("RGB", (9, 7), "red").save(here / "photo.png")
    (here / "broken.png").write_bytes((here / "photo.png").read_bytes()[:40])
    (here / "empty.pth").write_bytes(b"")
    (here / "folder").mkdir()
    (here / "loop").mkdir()
    (here / "loop" / "again").symlink_to(here / "loop")
    (here / "link.npz").symlink_to("nowhere.npz")
    os.mkfifo(here / "fifo.jpg")
    formats.save(here / "weights.npz", {"a\x1b[2Jb": np.zeros(3, np.float32)})
    formats.save(here / "net.npz", create("mobilenet_v2_0_35", num_classes=3, rng=0).state_dict())
    (here / "cut.npz").write_bytes((here / "weights.npz").read_bytes()[:99])
    (here / "secret.npz").write_bytes(b"secret")
    (here / "secret.npz").chmod(0)
    (here / "relu.onnx").write_bytes(RELU)
    np.save(here / "x.npy", np.ones((2, 3, 4, 5), np.float32))
    (here / "labels.txt").write_text("cat\ndog\n")
    (here / "binary.json").write_bytes(b"\xff\xfe[")
    (here / "sealed").mkdir(mode=0o500)
    before = Path.cwd()
    os.chdir(here)
    yield here
    os.chdir(before)


def actions(command):
    parser = argparse.ArgumentParser()
    importlib.import_module(f"minigrad.cli.{command}").configure(parser)
    return [a for a in parser._actions if a.dest != "help"]


values = st.sampled_from([*ODD, *NAMES, *FILES]) | st.text(max_size=20)
# What fits an argument, so that more than the parser is reached.
FITTING = {
    "model": NAMES[:-1],
    "network": ("lite0", "mobilenet"),
    "pattern": ("mobilenet_v2*", "lite"),
    "input": ("1x3x32x32", "2x3x33x47", "1x1x16x16", "1x3x1x1", "1x3x5x200"),
    "switches": ("width=0.5", "output_stride=8", "features_only=True", "dropout=0.1", "bn_eps=0",
                 "padding=same", "width=0.01", "expand_first=True"),
    "classes": ("1", "3", "1000"),
    "threads": ("1", "2"),
    "batch": ("1", "3"),
    "seconds": ("0.01",),
    "preset": ("torchvision", "timm", "slim", "caffe", "pytorchcv"),
    "top": ("1", "1000000"),
    "weights": ("mobilenet_v2_0_35", "weights.npz", "cut.npz"),
    "source": ("weights.npz", "net.npz"),
    "out": ("out.onnx", "out.npz", "out.pth", "out.safetensors"),
    "svg": ("out.svg",),
    "photos": ("photo.png", "folder", "loop", "broken.png", "fifo.jpg"),
    "backend": ("numpy", "cython"),  # one loop in Python for each tap takes hours
    "op": ("linear",),
    "folder": ("new", "folder", "sealed/new"),
    "results": ("folder", "nowhere"),
    "seed": ("0", "7"),
    "preparation": ("imagenet", "efficientnet_lite1"),
    "graph": ("relu.onnx",),
    "values": ("photo.png", "x.npy"),
    "shape": ("1x3x9x7", "1x3x2x3"),
    "output": ("new", "sealed/new"),
}  # fmt: skip


@st.composite
def command_lines(draw):
    """A command, some of its options in any order, and values that may or may not fit."""
    command = draw(st.sampled_from(sorted(COMMANDS)))
    words = ["--operation", "linear"] if command == "vectors" else []  # all of them take seconds
    for action in actions(command):
        if action.option_strings:
            if not draw(st.booleans()):
                continue
            words.append(draw(st.sampled_from(action.option_strings)))
            if action.nargs == 0:
                continue
        fitting = list(FITTING.get(action.dest, action.choices or ODD))
        words.append(draw(st.sampled_from(fitting) if draw(st.integers(0, 4)) else values))
    return [command, *words, *(draw(st.lists(values, max_size=1)) if draw(st.booleans()) else ())]


def is_answer(code, err):
    """Done, a verdict, or one sentence for each thing that went wrong."""
    assert code in (0, 1, 2), err
    assert "Traceback" not in err
    assert "fault of minigrad" not in err
    assert all(c.isprintable() or c == "\n" for c in err), "what a terminal would obey"
    assert max(map(len, err.splitlines()), default=0) < 2000
    assert code != 2 or err.startswith("minigrad")


@given(words=command_lines())
@settings(max_examples=300)
def test_any_command_line_is_an_answer_or_a_sentence(places, words, unmeasured):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(words)
    told = err.getvalue()
    if code == 2 and "--json" in words and not told:  # in the object of the photograph
        told = f"minigrad: {json.loads(out.getvalue())[-1]}"
    is_answer(code, told)
    assert not [p.name for p in places.iterdir() if p.name.endswith(".part")], words
    for name in ("out.onnx", "out.svg", "out.npz", "out.pth", "out.safetensors"):
        (places / name).unlink(missing_ok=True)


@pytest.fixture(scope="module")
def unmeasured():
    """What takes seconds, and is not about what was typed, is left out."""
    patch = pytest.MonkeyPatch()
    patch.setattr(bench_command, "_measured", lambda *_: iter(()))
    patch.setattr(bench_command, "_onnx", lambda *_: (None, "not asked"))
    yield patch
    patch.undo()


@pytest.mark.parametrize(
    "words",
    [
        ["summary", "mobilenet_v2", "--svg", ""],
        ["summary", "mobilenet_v2", "--set", "width=1e308"],
        ["summary", "mobilenet_v2", "--set", "depth=1e9"],
        ["summary", "efficientnet_b0", "--set", "depth=1e9"],
        ["bench", "mobilenet_v2", "--set", "width=1e6", "--seconds", "0.01"],
        ["bench", "mobilenet_v2", "--batch", "2147483647"],
        ["export", "mobilenet_v2", "a.onnx", "--set", "width=100000"],
        ["export", "mobilenet_v2", "a\0.onnx"],
        ["export", "mobilenet_v2", "\ud800.onnx", "--weights", "\ud800.npz"],
        ["convert", "a\0.npz", "b.npz"],
        ["convert", "secret.npz", "/proc/out.npz"],
        ["classify", "a\0.png"],
        ["classify", "--model", "x\ud800\x1b[2J"],
        ["models", "\ud800\x1b[2J"],
        ["weights", "\x1b[2J"],
    ],
)
def test_what_was_once_a_traceback_is_a_sentence(places, words, capsys):
    code = main(words)
    err = capsys.readouterr().err
    assert code == 2
    is_answer(code, err)
    assert err.count("\n") == 1


def run(*words, **options):
    environment = {**os.environ, "PYTHONPATH": str(Path(formats.__file__).parents[2])}
    return subprocess.run(
        [sys.executable, "-m", "minigrad", *words], stderr=subprocess.PIPE, text=True,
        env=environment, timeout=120, **options,
    )  # fmt: skip


@pytest.mark.parametrize("words", [["models", "lite"], ["weights"], ["models", "--json"]])
def test_a_closed_stdout_is_no_fault(words):
    program = f"import sys,os; os.close(1); os.execv({sys.executable!r}, [{sys.executable!r}, '-m', 'minigrad', *{words!r}])"  # noqa: E501
    environment = {**os.environ, "PYTHONPATH": str(Path(formats.__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True,
                          env=environment, timeout=120)  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def test_a_full_disk_under_stdout_is_one_sentence():
    with open("/dev/full", "w") as full:
        done = run("models", "lite", stdout=full)
    assert done.returncode == 2
    assert done.stderr == "minigrad: no space left on device\n"


@pytest.mark.parametrize("delay", [0.0, 0.02, 0.05, 0.1, 0.3])
def test_an_interrupt_at_any_time_says_nothing(delay, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(Path(formats.__file__).parents[2])}
    process = subprocess.Popen(
        [sys.executable, "-S", "-c", STARTED], env=environment, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout.readline() == "ready\n"
    time.sleep(delay)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode in (0, 130, -signal.SIGINT)
    assert err == ""


# Python itself starts before minigrad can see to it, so the clock runs from when it has: a
# thread looks for that.
STARTED = """
import site, sys
site.main()
import signal, threading, time

def watch():
    while signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        time.sleep(0.0002)
    print("ready", flush=True)

threading.Thread(target=watch, daemon=True).start()
sys.argv = ["minigrad", "models"]
from minigrad.cli import main
sys.exit(main())
"""


@pytest.mark.parametrize("command", [
    ["vectors", "\0"], ["judge", "\0", "results"], ["judge", "folder", "\0"],
    ["compare", "mobilenet_v2", "\0", "--input", "x.npy"],
    ["compare", "mobilenet_v2", "dump", "--input", "\0"],
    ["compare", "mobilenet_v2", "--onnx", "\0", "--input", "x.npy"],
])  # fmt: skip
def test_no_file_has_a_name_with_nul(command, capsys):
    assert main(command) == 2
    assert r"'\x00' is no name of a file" in capsys.readouterr().err
