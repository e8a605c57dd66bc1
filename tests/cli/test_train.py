"""``minigrad train`` as it is typed: from folders to a file that classifies, in halves too."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import minigrad as mg
from minigrad.cli import main
from minigrad.errors import MinigradError
from minigrad.models.preparation import SIGNED

CLASSES = ("above", "below")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Two classes of 16 x 16: bright above, bright below."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for k, name in enumerate(CLASSES):
        (folder / name).mkdir()
        for n in range(20):
            image = rng.integers(0, 90, (16, 16), np.uint8)
            image[8 * k : 8 * k + 8] += 150
            Image.fromarray(image).save(folder / name / f"{n}.png")
    return folder


def train(pictures, out, *more):
    fixed = ("train", "--data", str(pictures), "--out", str(out), "--batch", "8", "--no-flip")
    return main([*fixed, *map(str, more)])


@pytest.fixture(scope="module")
def trained(pictures, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "out"
    assert train(pictures, out, "--epochs", 12, "--learning-rate", 0.05) == 0
    return out


def test_it_learns_and_writes_what_it_says(trained):
    rows = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == list(range(1, 13))
    assert max(row["val_accuracy"] for row in rows) == 1.0
    assert (trained / "curves.svg").read_text().startswith("<svg")
    with Image.open(trained / "curves.png") as image:
        assert image.format == "PNG"


def test_the_file_classifies_without_another_word(trained, pictures, capsys):
    weights = str(trained / "model.safetensors")
    photo = str(pictures / "below" / "0.png")
    command = ["classify", "--weights", weights, "--json"]
    assert main([*command, photo]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["top"][0]["label"] == "below"


def test_a_network_that_the_file_names_and_nobody_knows_is_one_sentence(tmp_path, capsys):
    path = tmp_path / "strange.safetensors"
    name = "\x1b[31m" + "n" * 500
    mg.formats.save(path, {"w": np.ones(2)}, metadata={"minigrad.network": name})
    assert main(["classify", "--weights", str(path)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "\x1b" not in error
    assert len(error) < 300


def test_the_preparation_in_the_file_is_the_one_of_validation(trained, pictures):
    model = mg.models.create("inverted_residual_small", weights=trained / "model.safetensors")
    photos = sorted((pictures / "above").glob("*.png"))[:3]
    x = mg.vision.preprocess(photos, model.preparation)
    assert x.shape == (3, 3, 16, 16)
    assert (model(mg.Tensor(x)).numpy().argmax(axis=1) == 0).all()


def test_json_has_the_confusion(pictures, tmp_path, capsys):
    assert train(pictures, tmp_path / "out", "--epochs", 1, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["classes"] == list(CLASSES)
    assert np.sum(found["confusion"]) == 4


def test_a_run_in_two_halves_ends_as_one(trained, pictures, tmp_path):
    out = tmp_path / "out"
    code = (
        "import sys, os, signal, minigrad.cli.train as t\n"
        "from minigrad.cli import main\n"
        "steps = iter(range(99))\n"
        "t._bar = lambda p: next(steps) == 17 and os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    command = ["train", "--data", pictures, "--out", out, "--batch", 8, "--no-flip", "--epochs", 12,
               "--learning-rate", 0.05]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, command)],
        env={**os.environ, "PYTHONPATH": str(Path(mg.__file__).parents[1])},
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 128 + signal.SIGINT
    assert "stopped and saved; `minigrad train --resume" in done.stderr
    assert main(["train", "--resume", str(out)]) == 0
    for name in ("model.safetensors", "run.safetensors"):
        whole, halves = (mg.load(folder / name) for folder in (trained, out))
        assert {k: v.tobytes() for k, v in whole.items()} == {
            k: v.tobytes() for k, v in halves.items()
        }


def pieces(folder):
    """The arrays and texts that a run leaves behind, bit by bit."""
    arrays = {
        name: {k: v.tobytes() for k, v in mg.load(folder / name).items()}
        for name in ("model.safetensors", "run.safetensors")
    }
    return arrays, [(folder / name).read_bytes() for name in ("metrics.jsonl", "curves.svg")]


@pytest.fixture(scope="module")
def twice(pictures, tmp_path_factory):
    out = tmp_path_factory.mktemp("twice") / "out"
    assert train(pictures, out, "--epochs", 2) == 0
    return out


KILL = """
import os, shutil, signal, sys
from minigrad.cli import main

def killed_before(write, command):
    child = os.fork()
    if child:
        assert os.wait4(child, 0)[1] == signal.SIGKILL
        return
    calls, replace = iter(range(99)), os.replace
    def last(*args):
        if next(calls) == write:
            os.kill(os.getpid(), signal.SIGKILL)
        replace(*args)
    os.replace = last
    main(command)
    os._exit(0)

assert main([*sys.argv[1:], "old", "--epochs", "1", "--seed", "9"]) == 0
for write in range(10):
    shutil.copytree("old", f"out{write}")
    killed_before(write, [*sys.argv[1:], f"out{write}", "--epochs", "2"])
"""


def test_a_command_killed_before_any_of_its_writes_goes_on_to_the_same_files(
    pictures, tmp_path, twice
):
    """Of two epochs, the first included; what an older run left there is not gone on with."""
    fixed = ["train", "--data", pictures, "--batch", 8, "--no-flip", "--out"]
    subprocess.run(
        [sys.executable, "-c", KILL, *map(str, fixed)],
        env={**os.environ, "PYTHONPATH": str(Path(mg.__file__).parents[1])},
        cwd=tmp_path, capture_output=True, check=True,
    )  # fmt: skip
    for write in range(10):
        out = tmp_path / f"out{write}"
        assert main(["train", "--resume", str(out)]) == 0
        if write:  # before the arguments were written, the older run is the one that is there
            assert pieces(out) == pieces(twice)


def test_of_equally_right_epochs_the_one_with_the_smallest_loss_is_written(
    pictures, trained, tmp_path, capsys
):
    """Two pictures of each class are kept apart, so that many epochs are equally right."""
    rows = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    best = max(row["val_accuracy"] for row in rows)
    loss = min(row["val_loss"] for row in rows if row["val_accuracy"] == best)
    for name in CLASSES:
        (tmp_path / name).mkdir()
        for picture in ("0.png", "18.png"):  # every tenth by name
            (tmp_path / name / picture).write_bytes((pictures / name / picture).read_bytes())
    weights = str(trained / "model.safetensors")
    assert main(["evaluate", "--weights", weights, str(tmp_path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["top1"], found["loss"]) == (best, pytest.approx(loss, rel=1e-3))


def test_frozen_norms_keep_their_statistics_and_the_rest_learns(pictures, tmp_path):
    before = mg.models.create("inverted_residual_small", num_classes=2, rng=0).state_dict()
    assert train(pictures, tmp_path / "out", "--freeze", "norms", "--epochs", 1) == 0
    after = mg.load(tmp_path / "out" / "model.safetensors")
    same = {k for k in before if np.array_equal(before[k], after[k])}
    assert same == {k for k in before if ".norm." in k or ".bn." in k}


@pytest.mark.parametrize("frozen", ["features", "blocks.0"])
def test_pretrained_weights_get_a_new_head_and_frozen_parts_stay(pictures, tmp_path, frozen):
    weights = tmp_path / "pretrained.safetensors"
    model = mg.models.create("inverted_residual_small", num_classes=7, rng=1)
    mg.formats.save(weights, model.state_dict())
    out = tmp_path / "out"
    options = ("--weights", weights, "--freeze", frozen, "--epochs", 1, "--layer-decay", 0.9)
    assert train(pictures, out, *options) == 0
    before, after = model.state_dict(), mg.load(out / "model.safetensors")
    assert after["classifier.weight"].shape == (2, 256)
    same = {k for k in before if np.array_equal(before[k], after[k])}
    kept = {k for k in before if not k.startswith("classifier")}
    if frozen == "features":
        assert same == kept
    else:
        assert {k for k in kept if k.startswith("blocks.0.")} <= same < kept


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--freeze", "tail"), "has no such part; it has features, norms, stem"),
        (("--model", "nothing"), "there is no network 'nothing'"),
        (("--weights", "missing.pth"), "missing.pth"),
        (("--freeze", ""), "has no such part"),
        (("--freeze", "features", "--freeze", "classifier"), "leaves nothing to train"),
        (("--learning-rate", "-1"), "expected a number of at least 0"),
        (("--recipe", "efficientnet", "--warmup", "0"), "sets the optimiser and its rates itself"),
        (("--learning-rate", "fast"), "expected a number of at least 0, got 'fast'"),
        (("--learning-rate", "nan"), "expected a number of at least 0"),
        (("--learning-rate", "inf"), "expected a number of at least 0"),
        (("--seed", "-1"), "expected an integer of at least 0, got '-1'"),
        (("--seed", "1" * 5000), "expected an integer of at least 0"),
        (("--average", "1"), "from 0 to below 1"),
        (("--label-smoothing", "1.5"), "from 0 to 1"),
        (("--learning-rate", "1e30", "--epochs", "1"), "lower the rate"),
        (("--model", "squeezenext_1_0_23", "--size", "32"), "reads? BGR|read BGR"),
        (("--shift", "17"), "an integer of 0 to 16, got '17'"),
        (("--shift", "1", "--size", "96"), "at most 64 pixels a side; these have 96"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(pictures, tmp_path, capsys, options, message):
    assert train(pictures, tmp_path / "out", *options) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert re.search(message, error), error


def test_data_that_is_none_is_one_sentence(tmp_path, capsys):
    assert main(["train"]) == 2
    assert "say with --data" in capsys.readouterr().err
    assert main(["train", "--data", str(tmp_path)]) == 2
    assert "no folder with photographs" in capsys.readouterr().err
    assert main(["train", "--resume", str(tmp_path)]) == 2
    assert "arguments.json" in capsys.readouterr().err


@pytest.mark.parametrize("shift", [0, 1, 3])
def test_a_training_picture_is_moved_by_up_to_the_pixels_that_are_asked_for(shift):
    from minigrad.cli.training_data import varied

    dot = np.zeros((16, 16, 1), np.uint8)
    dot[8, 8] = 255
    change = varied(SIGNED._replace(size=16), shift, flip=False)
    rng = np.random.default_rng(0)
    places = [np.argwhere(change(dot, rng)[0] == 1) for _ in range(60 * (shift + 1) ** 2)]
    moved = {(int(y) - 8, int(x) - 8) for ((y, x),) in places}
    steps = range(-shift, shift + 1)
    assert moved == {(y, x) for y in steps for x in steps}


def test_idx_files_and_parts_of_a_folder_are_found(pictures, tmp_path):
    from minigrad.cli.training_data import read_parts

    parts = read_parts(pictures)
    assert (len(parts.training), len(parts.validation)) == (36, 4)
    (tmp_path / "train").symlink_to(pictures)
    (tmp_path / "val").symlink_to(pictures)
    parts = read_parts(tmp_path)
    assert (len(parts.training), len(parts.validation)) == (40, 40)


def write_idx(path, array):
    sizes = b"".join(n.to_bytes(4, "big") for n in array.shape)
    path.write_bytes(bytes((0, 0, 8, array.ndim)) + sizes + array.tobytes())


@pytest.mark.parametrize(
    ("train_name", "test_name", "sizes"),
    [
        ("train-images-idx3-ubyte", "t10k-images-idx3-ubyte", (20, 6)),
        ("train-images.idx3-ubyte", "t10k-images.idx3-ubyte", (20, 6)),
        ("emnist-mnist-train-images-idx3-ubyte", "emnist-mnist-test-images-idx3-ubyte", (20, 6)),
        ("train-images-idx3-ubyte", "something-else", (18, 2)),
    ],
)
def test_idx_files_are_found_by_the_names_that_people_have(tmp_path, train_name, test_name, sizes):
    from minigrad.cli.training_data import read_parts

    for name, n in ((train_name, 20), (test_name, 6)):
        labels = name.replace("images", "labels").replace("idx3", "idx1")
        write_idx(tmp_path / name, np.full((n, 5, 4), n, np.uint8))
        write_idx(tmp_path / labels, np.arange(n, dtype=np.uint8) % 2)
    parts = read_parts(tmp_path)
    assert (len(parts.training), len(parts.validation)) == sizes
    assert parts.training[0].shape == (5, 4, 1)
    assert list(parts.training.labels[:2]) == [0, 1]


def test_two_sets_of_idx_files_in_a_folder_are_one_too_many(tmp_path):
    from minigrad.cli.training_data import read_parts

    for name in ("emnist-letters", "emnist-digits"):
        (tmp_path / f"{name}-train-images-idx3-ubyte").touch()
    with pytest.raises(MinigradError, match="keep one in the folder"):
        read_parts(tmp_path)
