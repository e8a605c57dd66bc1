"""minigrad convert: every bit arrives, under the right name, or nothing is written."""

from __future__ import annotations

import json

import numpy as np
import pytest

from minigrad import Tensor, formats, no_grad
from minigrad.cli import main
from minigrad.kernels import unavailable
from minigrad.models import checkpoints, create

CASES = [
    ("mobilenet_v2_0_35", "torchvision"),
    ("mobilenet_v3_small", "timm"),
    ("mobilenet_v2_0_35", "pytorchcv"),
    ("efficientnet_lite0", "efficientnet_pytorch"),
    ("squeezenext_1_0_23", "pytorchcv"),
    ("mnasnet_small", "timm"),
]


def state_of(name, library, classes=11):
    """A network's weights as ``library`` names them, with a counter of batches."""
    model = create(name, preset=library, num_classes=classes, rng=3)
    state = dict(checkpoints.convert(model, library))
    counted = next(k for k in state if k.endswith("running_mean"))
    counter = {counted.replace("running_mean", "num_batches_tracked"): np.array(5)}
    return model, state, counter


def run(capsys, *argv):
    code = main(["convert", "--force", *map(str, argv)])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.mark.newest
@pytest.mark.parametrize(("name", "library"), CASES)
def test_there_and_back_is_the_same_bits_and_the_network_is_found(capsys, tmp_path, name, library):
    _, state, counter = state_of(name, library)
    a, b, c = tmp_path / "a.npz", tmp_path / "b.pth", tmp_path / "c.npz"
    formats.save(a, {**state, **counter})
    code, out, _ = run(capsys, a, b, "--to", "minigrad", "--json")
    told = json.loads(out)
    assert (code, told["model"], told["from"], told["left_out"]) == (0, name, library, 1)
    ours = create(name, preset=told["preset"], weights=b, num_classes=11)
    assert set(ours.state_dict()) == set(formats.load(b))
    same = ["--model", name] if library != "minigrad" else []
    formats.save(c, checkpoints.convert(ours, library))
    back = formats.load(c)
    assert back.keys() == state.keys()
    assert all(back[k].tobytes() == state[k].tobytes() for k in state)
    assert run(capsys, a, c, "--to", library, *same)[0] == 0
    again = formats.load(c)
    assert all(again[k].tobytes() == state[k].tobytes() for k in state)


@pytest.mark.skipif(
    bool(unavailable("cython")), reason="the bits of BLAS depend on where the weights lie"
)
def test_the_converted_network_computes_what_it_computed(capsys, tmp_path):
    model, state, _ = state_of("mobilenet_v2_0_35", "torchvision")
    formats.save(tmp_path / "a.pth", state)
    assert run(capsys, tmp_path / "a.pth", tmp_path / "b.npz", "--to", "timm")[0] == 0
    other = create("mobilenet_v2_0_35", preset="timm", weights=tmp_path / "b.npz", num_classes=11)
    x = Tensor(np.random.default_rng(0).standard_normal((1, 3, 32, 32), np.float32))
    with no_grad():
        np.testing.assert_array_equal(model.eval()(x).numpy(), other(x).numpy())


def test_without_to_the_names_stay_and_need_not_be_known(capsys, tmp_path):
    state = {"strange.name": np.arange(3, dtype=np.float32)}
    formats.save(tmp_path / "a.npz", state)
    code, out, _ = run(capsys, tmp_path / "a.npz", tmp_path / "b.safetensors")
    assert (code, "names unchanged" in out) == (0, True)
    np.testing.assert_array_equal(
        formats.load(tmp_path / "b.safetensors")["strange.name"], state["strange.name"]
    )


def test_what_the_other_library_computes_otherwise_is_said(capsys, tmp_path):
    _, state, _ = state_of("mobilenet_v3_small", "torchvision")
    formats.save(tmp_path / "a.npz", state)
    _, out, _ = run(capsys, tmp_path / "a.npz", tmp_path / "b.npz", "--to", "timm")
    assert "timm computes otherwise than torchvision" in out
    assert "bn_eps 0.001 becomes 1e-05" in out
    _, out, _ = run(capsys, tmp_path / "a.npz", tmp_path / "b.npz", "--to", "minigrad")
    assert "the file says that its preset is torchvision" in out


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["a.npz", "b.onnx"], "must end in .npz, .pth, .pt or .safetensors"),
        (["missing.npz", "b.npz"], "missing.npz: no such file"),
        (["a.npz", "b.npz", "--to", "pytorchcv"], "pytorchcv's mobilenet_v2_0_35 has other layers"),
        (["a.npz", "b.npz", "--to", "efficientnet_pytorch"], "has no mobilenet_v2_0_35"),
        (
            ["a.npz", "b.npz", "--to", "timm", "--model", "mobilenet_v2"],
            "these are not the weights",
        ),
        (["a.npz", "b.npz", "--to", "timm", "--model", "mobilenet"], "there is no network"),
        (["odd.npz", "b.npz", "--to", "timm"], "are of no library"),
    ],
)
def test_a_mistake_is_a_sentence_and_leaves_the_old_file(capsys, tmp_path, monkeypatch, argv, told):
    monkeypatch.chdir(tmp_path)
    _, state, _ = state_of("mobilenet_v2_0_35", "torchvision")
    formats.save("a.npz", state)
    formats.save("odd.npz", {"w": np.zeros(2, np.float32)})
    formats.save("b.npz", {"old": np.ones(1, np.float32)})
    code, out, err = run(capsys, *argv)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert told in err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.npz", "b.npz", "odd.npz"]
    assert list(formats.load("b.npz")) == ["old"]


def test_a_broken_source_is_told_by_its_name(capsys, tmp_path):
    (tmp_path / "a.pth").write_bytes(b"nothing")
    code, _, err = run(capsys, tmp_path / "a.pth", tmp_path / "b.npz")
    assert code == 2
    assert "a.pth" in err


def test_a_file_that_is_there_is_replaced_only_when_asked(capsys, tmp_path):
    a, b = tmp_path / "a.npz", tmp_path / "b.npz"
    formats.save(a, {"new": np.zeros(1, np.float32)})
    formats.save(b, {"old": np.ones(1, np.float32)})
    assert main(["convert", str(a), str(b)]) == 2
    assert "the file is there already; --force replaces it" in capsys.readouterr().err
    assert list(formats.load(b)) == ["old"]
    assert main(["convert", str(a), str(b), "--force"]) == 0
    assert f"wrote {b}: 1 arrays" in capsys.readouterr().out
    assert list(formats.load(b)) == ["new"]
