"""Write onnx_cases.zip: ONNX's conformance cases whose operators ``load_graph`` knows.

    python tests/golden/make_onnx_cases.py

Each case is its model, of opset 7 or newer, and the inputs and outputs of its data sets.  An
input that must be known when a network is built (a shape, a limit, a number of elements) is
stored as an initialiser of the model.  The version of the installed ``onnx`` is stored too.
"""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.backend.test.loader import load_model_tests

from minigrad.graphs.onnx_folding import FOLDED
from minigrad.graphs.onnx_operators import OPERATORS

HERE = Path(__file__).parent
KNOWN = {*OPERATORS, *FOLDED, "Constant"}
KINDS = ("node", "simple", "pytorch-operator", "pytorch-converted")
OLDEST = 7
LARGEST = 1 << 19  # bytes of a case


def models():
    """(name, model, data sets, rtol, atol) of every case."""
    for kind in KINDS:
        for case in load_model_tests(kind=kind):
            if case.model is not None:
                sets = case.data_sets
                yield case.name, case.model, sets, case.rtol, case.atol
                continue
            folder = Path(case.model_dir)
            model = onnx.load(folder / "model.onnx")
            sets = [stored(path, model) for path in sorted(folder.glob("test_data_set_*"))]
            yield case.name, model, sets, case.rtol, case.atol


def stored(folder, model):
    """The arrays of a data set on disk."""
    found = []
    for kind, values in (("input", model.graph.input), ("output", model.graph.output)):
        names = {t.name for t in model.graph.initializer}
        count = sum(v.name not in names for v in values) if kind == "input" else len(values)
        arrays = []
        for k in range(count):
            tensor = onnx.TensorProto()
            path = folder / f"{kind}_{k}.pb"
            if not path.exists():
                break
            try:
                tensor.ParseFromString(path.read_bytes())
                arrays.append(numpy_helper.to_array(tensor))
            except Exception:
                return None
        found.append(arrays)
    return found


def opset(model):
    return max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=0)


def operators(graph):
    for node in graph.node:
        yield node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"


def fixed(model):
    """The names of inputs that must be known when the network is built."""
    names = set()
    for node in model.graph.node:
        row = OPERATORS.get(node.op_type)
        computed = None if row is None else row.computed
        if computed is not None:
            names |= {
                name for i, name in enumerate(node.input) if i >= computed and i not in row.either
            }
    names |= {
        n for node in model.graph.node if node.op_type == "ConstantOfShape" for n in node.input
    }
    return names & {value.name for value in model.graph.input}


def frozen(model, inputs):
    """The model with those inputs as initialisers, and the arrays that are left."""
    initial = {t.name for t in model.graph.initializer}
    names = [v.name for v in model.graph.input if v.name not in initial]
    stays = fixed(model)
    left = []
    for name, array in zip(names, inputs, strict=False):
        if name in stays:
            model.graph.initializer.append(numpy_helper.from_array(np.asarray(array), name))
        else:
            left.append(np.asarray(array))
    kept = [v for v in model.graph.input if v.name not in stays]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    return model, left


def plain(arrays):
    return arrays is not None and all(
        isinstance(a, np.ndarray) and a.dtype.kind in "fiub" for a in arrays
    )


def main():
    warnings.simplefilter("ignore")
    index, seen = [], set()
    with zipfile.ZipFile(
        HERE / "onnx_cases.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=9
    ) as file:
        for name, model, sets, rtol, atol in models():
            known = set(operators(model.graph)) <= KNOWN and len(model.graph.node)
            if not known or opset(model) < OLDEST or not sets or name in seen or model.functions:
                continue
            for k, data in enumerate(sets):
                if data is None or not (plain(data[0]) and plain(data[1])):
                    continue
                again = onnx.ModelProto()
                again.CopyFrom(model)
                again, left = frozen(again, data[0])
                content = again.SerializeToString()
                if len(content) + sum(a.nbytes for a in (*data[0], *data[1])) > LARGEST:
                    continue
                seen.add(name)
                stem = f"{name}.{k}"
                arrays = {f"x{i}": a for i, a in enumerate(left)}
                arrays |= {f"y{i}": np.asarray(a) for i, a in enumerate(data[1])}
                buffer = io.BytesIO()
                np.savez(buffer, **arrays)
                for part, raw in ((f"{stem}.onnx", content), (f"{stem}.npz", buffer.getvalue())):
                    entry = zipfile.ZipInfo(part, (2026, 1, 1, 0, 0, 0))
                    file.writestr(entry, raw, zipfile.ZIP_DEFLATED, 9)
                index.append([stem, rtol, atol])
        entry = zipfile.ZipInfo("index.json", (2026, 1, 1, 0, 0, 0))
        text = json.dumps({"onnx": onnx.__version__, "cases": index})
        file.writestr(entry, text, zipfile.ZIP_DEFLATED, 9)
    print(len(index), "cases")


if __name__ == "__main__":
    main()
