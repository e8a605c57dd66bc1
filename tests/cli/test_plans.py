"""Plans on the command line: compile says what travels with one, classify and embed run it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

import minigrad as mg
from minigrad import formats
from minigrad.cli import main
from minigrad.kernels.cython.core import current_level, level, levels
from minigrad.vision import preparation_for, preprocess

NET, SIDE = "mobilenet_v2_0_35", 64


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Weights of a network of three classes, and photographs, one of them broken."""
    folder = tmp_path_factory.mktemp("plans")
    model = mg.models.create(NET, rng=3, num_classes=3).eval()
    formats.save(folder / "w.npz", model.state_dict())
    (folder / "labels.txt").write_text("cat\ndog\nhorse\n")
    (folder / "photos" / "inside").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in ("b.png", "inside/a.png"):
        Image.fromarray(rng.integers(0, 256, (90, 80, 3), np.uint8)).save(folder / "photos" / name)
    return folder


def run(capsys, *argv):
    code = main([*map(str, argv)])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.fixture(scope="module")
def plan(folder):
    argv = ["--weights", folder / "w.npz", "--labels", folder / "labels.txt", "--json"]
    argv += ["--input", f"1x3x{SIDE}x{SIDE}", "--force"]
    assert main(["compile", NET, "-o", str(folder / "net.plan"), *map(str, argv)]) == 0
    return folder / "net.plan"


def test_network_labels_and_preparation_travel_with_the_plan(plan, folder, capsys):
    stated = mg.models.Description.of(mg.load_plan(plan).metadata)
    assert (stated.network, stated.labels) == (NET, ("cat", "dog", "horse"))
    assert stated.preparation == preparation_for(NET)._replace(size=SIDE)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_classify_runs_the_plan_as_it_runs_the_network(layout, folder, capsys):
    path = folder / f"{layout}.plan"
    weights = ["--weights", folder / "w.npz"]
    assert run(capsys, "compile", NET, "-o", path, *weights, "--layout", layout)[0] == 0
    photos = folder / "photos"
    labels = ["--labels", folder / "labels.txt"]
    code, out, err = run(capsys, "classify", photos, "--plan", path, *labels, "--json")
    other = run(capsys, "classify", photos, "--model", NET, *weights, *labels, "--json")
    assert (code, err, other[0]) == (0, "", 0)
    assert [r["top"] for r in json.loads(out)] == [r["top"] for r in json.loads(other[1])]


def test_the_labels_of_the_plan_are_shown(plan, folder, capsys):
    code, out, _ = run(capsys, "classify", folder / "photos", "--plan", plan, "--json")
    assert code == 0
    assert {best["label"] for r in json.loads(out) for best in r["top"]} == {"cat", "dog", "horse"}


def test_embed_writes_the_features_of_each_photograph(plan, folder, capsys, tmp_path):
    out, photos = tmp_path / "vectors.npz", folder / "photos"
    code, told, err = run(capsys, "embed", photos, "-o", out, "--plan", plan)
    assert (code, err) == (0, "")
    assert told == f"wrote {out}: 2 vectors of 1280 from {NET}\n"
    with np.load(out) as file:
        names, vectors = file["names"], file["vectors"]
    assert names.tolist() == [str(photos / "b.png"), str(photos / "inside" / "a.png")]
    preparation = preparation_for(NET)._replace(size=SIDE)
    expected = [mg.load_plan(plan).features(preprocess(name, preparation)) for name in names]
    assert vectors.dtype == np.float32
    assert np.array_equal(vectors, np.concatenate(expected))


def test_embed_of_a_network_is_that_of_its_plan(folder, capsys, tmp_path):
    weights = ["--weights", folder / "w.npz"]
    path, photo = tmp_path / "net.plan", folder / "photos" / "b.png"
    assert run(capsys, "compile", NET, "-o", path, *weights)[0] == 0
    made = []
    for name, source in (("a", ["--model", NET, *weights]), ("b", ["--plan", path])):
        out = tmp_path / f"{name}.npz"
        assert run(capsys, "embed", photo, "-o", out, *source, "--threads", "1")[0] == 0
        made.append(np.load(out)["vectors"])
    assert np.array_equal(*made)


def test_a_photograph_that_cannot_be_read_is_told_and_left_out(plan, folder, capsys, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no photograph")
    argv = [broken, folder / "photos" / "b.png", "-o", tmp_path / "v.npz", "--plan", plan]
    code, told, err = run(capsys, "embed", *argv, "--json")
    assert (code, err.count("\n"), err.startswith("minigrad: ")) == (2, 1, True)
    said = json.loads(told)
    assert (said["shape"], [u["photo"] for u in said["unreadable"]]) == ([1, 1280], [str(broken)])
    assert np.load(tmp_path / "v.npz")["names"].tolist() == [str(folder / "photos" / "b.png")]
    code, _, err = run(capsys, "embed", broken, "-o", tmp_path / "none.npz", "--plan", plan)
    assert (code, (tmp_path / "none.npz").exists()) == (2, False)
    assert "no photograph could be read" in err


def test_a_plan_for_several_images_classifies_one(plan, folder, capsys, tmp_path):
    path, shape = tmp_path / "four.plan", f"4x3x{SIDE}x{SIDE}"
    argv = ["-o", path, "--weights", folder / "w.npz", "--input", shape, "--json"]
    argv += ["--labels", folder / "labels.txt"]
    code, out, _ = run(capsys, "compile", NET, *argv)
    assert (code, json.loads(out)["shape"]) == (0, [4, 3, SIDE, SIDE])
    tops = []
    for name in (path, plan):
        code, out, err = run(capsys, "classify", folder / "photos", "--plan", name, "--json")
        assert (code, err) == (0, "")
        tops.append([r["top"] for r in json.loads(out)])
    assert tops[0] == tops[1]


def test_a_plan_of_bytes_takes_pixels_and_numbers(plan, folder, capsys, tmp_path):
    path, shape = tmp_path / "bytes.plan", f"1x3x{SIDE}x{SIDE}"
    argv = ["-o", path, "--weights", folder / "w.npz", "--input", shape, "--bytes"]
    assert run(capsys, "compile", NET, *argv)[0] == 0
    pixels = np.random.default_rng(0).integers(0, 256, (1, 3, SIDE, SIDE)).astype(np.uint8)
    bytes_plan = mg.load_plan(path)
    numbers = bytes_plan.scaling(bytes_plan.scaling.turned(pixels))
    assert np.array_equal(bytes_plan(pixels), mg.load_plan(plan)(numbers))
    assert np.array_equal(bytes_plan(numbers), mg.load_plan(plan)(numbers))


def test_a_plan_of_several_inputs_is_no_plan_for_photographs(folder, capsys, tmp_path):
    path = tmp_path / "two.plan"
    mg.compile(lambda a, b: a + b, [(1, 3), (1, 3)]).save(path)
    code, _, err = run(capsys, "classify", folder / "photos", "--plan", path)
    assert (code, err.count("\n")) == (2, 1)
    assert "the plan of several inputs" in err


WRONG = {
    "a network as well": ["classify", "PHOTOS", "--plan", "PLAN", "--model", NET],
    "weights as well": ["classify", "PHOTOS", "--plan", "PLAN", "--weights", "w.npz"],
    "a backend": ["classify", "PHOTOS", "--plan", "PLAN", "--backend", "numpy"],
    "no such plan": ["classify", "PHOTOS", "--plan", "no/such.plan"],
    "no plan": ["classify", "PHOTOS", "--plan", "LABELS"],
    "another size": ["classify", "PHOTOS", "--plan", "PLAN", "--preparation", NET],
    "a name with NUL": ["classify", "PHOTOS", "--plan", "a\0b"],
    "vectors of no plan": ["embed", "PHOTOS", "-o", "v.npz", "--plan", "LABELS"],
    "vectors in another file": ["embed", "PHOTOS", "-o", "v.csv", "--plan", "PLAN"],
    "vectors of nothing": ["embed", "-o", "v.npz", "--plan", "PLAN"],
    "two batches": ["compile", NET, "-o", "a.plan", "--batch", "2", "--input", "1x3x64x64"],
    "no batch": ["compile", NET, "-o", "a.plan", "--batch", "0"],
    "labels of another number": ["compile", NET, "-o", "a.plan", "--labels", "LABELS"],
    "an unknown preparation": ["compile", NET, "-o", "a.plan", "--preparation", "imagenette"],
}


@pytest.mark.parametrize("name", WRONG)
def test_a_mistake_is_one_sentence_and_leaves_no_file(
    name, plan, folder, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    places = {"PLAN": plan, "PHOTOS": folder / "photos", "LABELS": folder / "labels.txt"}
    code, out, err = run(capsys, *(places.get(word, word) for word in WRONG[name]))
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wrote", levels())
def test_a_plan_of_another_instruction_set_is_a_sentence(wrote, folder, capsys, tmp_path):
    path = tmp_path / "net.plan"
    with level(wrote):
        assert run(capsys, "compile", NET, "-o", path, "--weights", folder / "w.npz")[0] == 0
    code, out, err = run(capsys, "classify", folder / "photos", "--plan", path, "--json")
    assert (code, len(json.loads(out))) == (0, 2)
    here = f"minigrad: {path} was packed for {wrote}, and this machine runs {current_level()}: "
    assert err.startswith("" if wrote == current_level() else here)
    assert err.count("\n") == (wrote != current_level())
