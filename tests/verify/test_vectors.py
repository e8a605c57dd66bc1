"""Vectors on disk, and results in any language: C and JavaScript are compiled, run and judged."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad.cli import main
from minigrad.errors import FormatError, MinigradError
from minigrad.verify import vectors
from minigrad.verify.files import FORMATS, read_arrays, write_arrays
from minigrad.verify.operations import OPERATIONS

EXAMPLES = Path(__file__).parents[2] / "examples" / "judge"


def answer(folder: Path, results: Path, form: str, change: float = 1.0) -> None:
    """Our own results, and gradients, for a folder of vectors."""
    manifest = json.loads((folder / "manifest.json").read_text())
    results.mkdir()
    nhwc = manifest["layout"] == "NHWC"
    for entry in manifest["cases"]:
        given = read_arrays(folder, entry["case"], "float32")

        def nchw(a: Any) -> Any:
            return a.transpose(0, 3, 1, 2) if nhwc and a.ndim == 4 else a

        inputs = [nchw(given[k]) if k == "x" else given[k] for k in entry["inputs"]]
        words = {k: tuple(map(tuple, v)) if isinstance(v, list) and isinstance(v[0], list) else v
                 for k, v in entry["words"].items()}  # fmt: skip
        y, back = mg.vjp(lambda *a: OPERATIONS[entry["op"]](*a, **words), *map(mg.Tensor, inputs))  # noqa: B023
        grads = back(mg.Tensor(nchw(given["cotangent"])))
        found = {"y": y.numpy() * np.float32(change)}
        found |= {f"grad_{k}": g.numpy() for k, g in zip(entry["inputs"], grads, strict=True)}
        if nhwc:
            found = {k: v.transpose(0, 2, 3, 1) if k in ("y", "grad_x") else v
                     for k, v in found.items()}  # fmt: skip
        write_arrays(results, entry["case"], found, form)


@pytest.mark.newest
@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_our_own_results_and_gradients_are_right(tmp_path: Path, form: str, layout: str) -> None:
    count = vectors.write(tmp_path / "v", ["depthwise_conv2d"], layout=layout, form=form)
    answer(tmp_path / "v", tmp_path / "r", form)
    found = list(vectors.judge_folder(tmp_path / "v", tmp_path / "r"))
    assert len(found) == 4 * count
    assert not [j for j in found if j.wrong]


def test_a_result_that_is_off_is_wrong_and_the_exit_code_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    v, r = str(tmp_path / "v"), str(tmp_path / "r")
    assert main(["vectors", v, "--operation", "linear"]) == 0
    answer(tmp_path / "v", tmp_path / "r", "npy", change=1.00001)
    capsys.readouterr()
    assert main(["judge", v, r, "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["decision"] == "wrong"
    assert all(failure["part"] == "result" for failure in told["failures"])
    assert main(["judge", v, r]) == 1
    assert "linear-0000: linear: one number: normal, result" in capsys.readouterr().out


def test_missing_results_are_wrong_unless_they_may_be_missing(tmp_path: Path) -> None:
    v, r = tmp_path / "v", tmp_path / "r"
    vectors.write(v, ["relu"])
    answer(v, r, "npy")
    shutil.rmtree(r / "relu-0002")
    assert main(["judge", str(v), str(r)]) == 1
    assert main(["judge", str(v), str(r), "--allow-missing"]) == 0


def test_what_is_no_folder_of_vectors_is_told_in_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    v, r = tmp_path / "v", tmp_path / "r"
    assert main(["judge", str(v), str(r)]) == 2
    r.mkdir()
    assert main(["judge", str(v), str(r)]) == 2
    vectors.write(v, ["relu"])
    assert main(["judge", str(v), str(r)]) == 2
    assert "there are no results of these vectors" in capsys.readouterr().err
    with pytest.raises(MinigradError, match="the folder is not empty"):
        vectors.write(v, ["relu"])


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"version": 9}', '{"version": 1, "cases": [{"case": "../a"}]}']
)
def test_a_broken_manifest_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(FormatError, match="'manifest.json' is no manifest of vectors"):
        list(vectors.judge_folder(tmp_path, tmp_path))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("relu-0000/y.npy", b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'shape': (10**15,)}"),
        ("relu-0000/y.npy", b""),
        ("relu-0000/y.npy", b"\x80\x04cos\nsystem\n."),
        ("relu-0000.json", b'{"y": [1, 2]}'),
        ("relu-0000.json", b"[" * 100_000),
        ("relu-0000.safetensors", b"\x00"),
    ],
)
def test_a_broken_result_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    v, r = tmp_path / "v", tmp_path / "r"
    vectors.write(v, ["relu"])
    (r / name).parent.mkdir(parents=True)
    (r / name).write_bytes(content)
    assert main(["judge", str(v), str(r), "--allow-missing"]) == 2


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16", "tf32"])
def test_vectors_of_other_formats_are_judged_as_such(tmp_path: Path, dtype: str) -> None:
    v, r = tmp_path / "v", tmp_path / "r"
    vectors.write(v, ["linear"], dtype=dtype)
    r.mkdir()
    for entry in json.loads((v / "manifest.json").read_text())["cases"]:
        arrays = read_arrays(v, entry["case"], "float32")
        write_arrays(r, entry["case"], {"y": arrays["rounded"]}, "npy")
    found = list(vectors.judge_folder(v, r))
    assert not [j for j in found if j.wrong]


# --- examples ---------------------------------------------------------------------------


def program(tmp_path: Path, language: str, change: tuple[str, str] = ("", "")) -> list[str]:
    """The command of an example, compiled if need be, with one piece of its text changed."""
    source = (EXAMPLES / f"conv2d.{language}").read_text()
    assert change[0] in source
    path = tmp_path / f"kernel.{language}"
    path.write_text(source.replace(*change) if change[0] else source)
    if language == "js":
        return ["node", str(path)]
    subprocess.run(["cc", "-O2", "-o", str(tmp_path / "kernel"), str(path)], check=True)
    return [str(tmp_path / "kernel")]


TOOLS = {"c": "cc", "js": "node"}


@pytest.mark.newest
@pytest.mark.parametrize("language", TOOLS)
def test_the_example_is_right_and_a_bug_in_it_is_found(tmp_path: Path, language: str) -> None:
    if not shutil.which(TOOLS[language]):
        pytest.skip(f"{TOOLS[language]} is not installed")
    v, r = str(tmp_path / "v"), str(tmp_path / "r")
    main(["vectors", v, "--operation", "conv2d", "--format", "npy" if language == "c" else "json"])
    subprocess.run([*program(tmp_path, language), v, r], check=True)
    assert main(["judge", v, r]) == 0
    bug = ("row < h", "row < h - 1") if language == "c" else ("row >= h", "row >= h - 1")
    subprocess.run([*program(tmp_path, language, bug), v, r], check=True)
    assert main(["judge", v, r]) == 1


@pytest.mark.parametrize("language", TOOLS)
def test_an_example_has_fewer_than_60_lines(language: str) -> None:
    assert len((EXAMPLES / f"conv2d.{language}").read_text().splitlines()) < 60
