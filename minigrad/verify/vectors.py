"""Cases on disk for any language: ``write`` makes them, ``judge_folder`` judges what came back.

A folder of vectors holds

    manifest.json   the operation, words, shapes, dtypes and kind of every case
    conv2d.txt      convolutions once more, one a line, as integers that scanf reads:
                    case n c h w o i kh kw sh sw top bottom left right dh dw groups
    CASE            the inputs by the names of the parameters;  exact: the result in float64;
                    rounded: the same, correctly rounded;  bound: how far a result may be from
                    it;  cotangent;  and for each input X grad_X, grad_X_bound

and a folder of results, in any of the formats, CASE with ``y`` and, if there are gradients,
``grad_X``.  The judge reads the inputs from the folder of vectors and computes the rest again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minigrad.errors import FormatError, MinigradError
from minigrad.formats.writing import write_text
from minigrad.geometry import conv_spec
from minigrad.tensor import Array
from minigrad.verify.arithmetic import arithmetic
from minigrad.verify.files import read_arrays, write_arrays
from minigrad.verify.geometries import GEOMETRIES
from minigrad.verify.integers import FACTORS, floats, named
from minigrad.verify.operations import IMAGES, Judged, bind, images, to_nchw, to_nhwc
from minigrad.verify.problems import Problem
from minigrad.verify.runner import Runner
from minigrad.verify.trials import Trial, trials
from minigrad.verify.verdict import Verdict, decide

__all__ = ["Judgement", "judge_folder", "write"]

VERSION = 1
MANIFEST = "manifest.json"


class Judgement(NamedTuple):
    """The verdict on one array of results; None where it is missing or has the wrong shape."""

    case: str
    title: str
    part: str
    verdict: Verdict | None
    fault: str = ""

    @property
    def wrong(self) -> bool:
        """Whether it condemns the results."""
        return self.verdict is None or self.verdict.decision == "wrong"


def write(
    folder: Path,
    ops: Sequence[str] = (),
    *,
    dtype: str = "float32",
    accumulator: str | None = None,
    layout: str = "NCHW",
    form: str = "npy",
    seed: int = 0,
) -> int:
    """Write the vectors of some operations.

    Parameters
    ----------
    folder : Path
        Made if it is not there; it must be empty.
    ops : sequence of str
        All operations that have cases, if empty.
    dtype, accumulator, layout : str
        As in ``judge``.
    form : {"npy", "safetensors", "json"}
    seed : int

    Returns
    -------
    int
        How many cases were written.

    Raises
    ------
    MinigradError
        If the folder has something in it, or an operation has no cases.
    """
    for op in ops:
        images(op, layout)
    every = FACTORS if dtype == "int8" else GEOMETRIES
    chosen = [t for op in ops or every for t in trials(op, seed, dtype) if _turns(t, layout)]
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise MinigradError(f"{folder}: the folder is not empty")
    how = arithmetic(dtype, accumulator)
    runner = Runner(_no_kernel, dtype=dtype, accumulator=accumulator, layout=layout)
    cases: list[dict[str, Any]] = []
    lines: list[str] = []
    for number, trial in enumerate(chosen):
        name = f"{trial.op}-{number:04d}"
        put = Problem(trial, how)
        arrays = _arrays(put, runner)
        write_arrays(folder, name, arrays, form)
        cases.append(_case(name, put, arrays))
        lines += _convolution_line(name, put)
    sums = "int32" if dtype == "int8" else how.accumulator.name
    manifest = {"version": VERSION, "dtype": dtype, "accumulator": sums, "layout": layout,
                "format": form, "seed": seed, "cases": cases}  # fmt: skip
    write_text(folder / MANIFEST, json.dumps(manifest, indent=1))
    if lines:
        write_text(folder / "conv2d.txt", "".join(lines))
    return len(cases)


def _case(name: str, put: Problem, arrays: Mapping[str, Array]) -> dict[str, Any]:
    """What the manifest says of a case."""
    trial = put.trial
    dtypes = {k: "float32" if a.dtype.name == "bfloat16" else a.dtype.name
              for k, a in arrays.items()}  # fmt: skip
    return {
        "case": name, "title": trial.name, "op": trial.op, "words": trial.words,
        "inputs": list(put.arrays), "exact": trial.exact,
        "shapes": {k: list(a.shape) for k, a in arrays.items()}, "dtypes": dtypes,
    }  # fmt: skip


def _no_kernel(*_: Array) -> Array:
    raise NotImplementedError("vectors are written without a function")


def _turns(trial: Trial, layout: str) -> bool:
    """Operations without images have no other layout."""
    return layout == "NCHW" or trial.op in IMAGES


def _arrays(put: Problem, runner: Runner) -> dict[str, Array]:
    """Everything about one case, in the dtype and layout of the vectors."""
    images, result_is_image = IMAGES.get(put.trial.op, ((), False))

    def laid(array: Array, image: bool) -> Array:
        return to_nhwc(array) if image and runner.layout == "NHWC" else array

    result = put.result
    given = runner.given(put.trial, put.arrays)
    arrays = dict(zip(put.arrays, given, strict=True))
    arrays["exact"] = laid(result.exact, result_is_image)
    arrays["rounded"] = runner.cast(laid(put.how.output.round(result.exact), result_is_image))
    arrays["bound"] = laid(result.bound, result_is_image)
    if put.trial.integers:
        return arrays
    arrays["cotangent"] = runner.cast(laid(put.cotangent, result_is_image))
    for name in put.call.differentiable:
        if name.startswith("running_"):
            continue
        gradient = put.gradient(name)
        arrays[f"grad_{name}"] = laid(gradient.exact, name in images)
        arrays[f"grad_{name}_bound"] = laid(gradient.bound, name in images)
    return arrays


def _convolution_line(name: str, put: Problem) -> Iterator[str]:
    if put.trial.op not in ("conv2d", "depthwise_conv2d"):
        return
    x, w = put.arrays["x"].shape, put.arrays["w"].shape
    words = dict(put.trial.words)
    if put.trial.op == "depthwise_conv2d":
        words["groups"] = x[1]
    spec = conv_spec(x, w, **words)
    numbers = [*x, *w, *spec.stride, *spec.padding[0], *spec.padding[1], *spec.dilation]
    yield f"{name} {' '.join(map(str, numbers))} {spec.groups}\n"


def judge_folder(folder: Path, results: Path) -> Iterator[Judgement]:
    """Judge a folder of results against its folder of vectors.

    Parameters
    ----------
    folder, results : Path

    Yields
    ------
    Judgement
        One for the result of each case, and one for each gradient that is there.

    Raises
    ------
    FormatError
        If a manifest or a file cannot be read.
    """
    manifest = _manifest(folder)
    for entry in manifest["cases"]:
        yield from _judge_case(folder, results, manifest, entry)


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    if not path.is_file():
        raise FormatError(f"{folder} has no {MANIFEST}: minigrad vectors makes such folders")
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if manifest["version"] != VERSION:
            raise ValueError(f"version {manifest['version']!r}, expected {VERSION}")
        for entry in manifest["cases"]:
            name = entry["case"]
            if not isinstance(name, str) or Path(name).name != name or name in (".", ".."):
                raise ValueError(f"the case {str(name)[:40]!r} is no file name")
    except (KeyError, RecursionError, TypeError, ValueError) as error:
        raise FormatError(f"{path.name!r} is no manifest of vectors: {str(error)[:200]}") from None
    return manifest


def _judge_case(
    folder: Path, results: Path, manifest: dict[str, Any], entry: dict[str, Any]
) -> Iterator[Judgement]:
    case, title, dtype = entry["case"], entry["title"], manifest["dtype"]
    held = {"tf32": "float32", "bfloat16": "float32", "int8": "int64"}.get(dtype, dtype)
    given, found = read_arrays(folder, case, held), read_arrays(results, case, held)
    if "y" not in found:
        yield Judgement(case, title, "result", None, "there is no y")
    needed = entry["inputs"] if dtype == "int8" else [*entry["inputs"], "cotangent"]
    missing = [name for name in needed if name not in given]
    if missing:
        raise FormatError(f"case {case!r} of the vectors has no {missing[0]!r}")
    call = bind(entry["op"], [given[name] for name in entry["inputs"]], entry["words"],
                manifest["layout"])  # fmt: skip
    dtypes = call.dtypes
    if dtype == "int8":
        call = floats(call)
    images, result_is_image = IMAGES.get(entry["op"], ((), False))
    how = arithmetic(dtype, manifest["accumulator"])
    for name, y in found.items():
        wrt = name.removeprefix("grad_") if name.startswith("grad_") else None
        if name != "y" and (wrt not in call.differentiable or dtype == "int8"):
            continue
        turned = manifest["layout"] == "NHWC"
        dy = given.get("cotangent")
        if dy is not None and turned and result_is_image:
            dy = to_nchw(dy, "cotangent")
        judged: Judged = call.evaluate(how, wrt, dy)
        if entry["exact"]:
            judged = judged.rounded(how.output)
        image = turned and (result_is_image if wrt is None else wrt in images)
        part = "result" if wrt is None else f"gradient in {wrt}"
        values = to_nchw(y, name) if image and y.ndim == 4 else y
        if values.shape != judged.exact.shape:
            fault = f"{name} has shape {y.shape}, expected {judged.exact.shape} in NCHW"
            yield Judgement(case, title, part, None, fault)
        else:
            verdict = decide(np.asarray(values), judged, how)
            if dtype == "int8":
                verdict = named(call, dtypes, values, judged, verdict)
            yield Judgement(case, title, part, verdict)
