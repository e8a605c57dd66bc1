"""Writes tflite.npz: small TFLite files, inputs, and what LiteRT's reference kernels make of them.

Run in an environment with ai-edge-litert==2.3.0, numpy and minigrad (whose schema is used):

    PYTHONPATH=.:tests/graphs python tests/golden/make_tflite.py [FOLDER]

With the folder of the real files, what the reference kernels say of their stored inputs is kept
too, for those that are computed in integers.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from tflite_cases import CASES

PLACE = Path(__file__).with_name("tflite.npz")
INTEGERS = ("tf2_mobilenet_v2_1.0_224_ptq", "mobilenet_v2_1.0_224_quant", "vww_96_int8")


def prepared(content, kernels):
    engine = Interpreter(model_content=content, experimental_op_resolver_type=kernels)
    engine.allocate_tensors()
    return engine


def reference(content, arrays, ordinary=False):
    """The outputs of a file in their order, by the kernels that are the definition."""
    kernels = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    try:
        engine = prepared(content, kernels if ordinary else OpResolverType.BUILTIN_REF)
    except ValueError:  # a few operators have one kernel alone
        engine = prepared(content, kernels)
    for place, array in zip(engine.get_input_details(), arrays, strict=True):
        engine.set_tensor(place["index"], array)
    engine.invoke()
    return [engine.get_tensor(place["index"]) for place in engine.get_output_details()]


def real(folder):
    """{name-photograph: output} of the real files in integers."""
    found = {}
    for name in INTEGERS:
        for path in sorted((folder / "expected").glob(f"{name.replace('int8', 'float')}-*.npz")):
            with np.load(path) as stored:
                pixels = stored["pixels"]
            content = (folder / f"{name}.tflite").read_bytes()
            x = (pixels.astype(np.int16) - 128).astype(np.int8) if "int8" in name else pixels
            key = f"{name}-{path.stem.rsplit('-', 1)[1]}"
            found[key] = reference(content, [x])[0]
    return found


def main():
    stored = {}
    for name, case in CASES.items():
        content, arrays = case.content(), case.arrays(name)
        outputs = reference(content, arrays, case.ordinary)
        stored[f"{name}|file"] = np.frombuffer(content, np.uint8)
        stored |= {f"{name}|x{i}": x for i, x in enumerate(arrays)}
        stored |= {f"{name}|y{i}": y for i, y in enumerate(outputs)}
    if len(sys.argv) > 1:
        stored |= {f"real|{name}": y for name, y in real(Path(sys.argv[1])).items()}
    np.savez_compressed(PLACE, **stored)
    print(f"{len(CASES)} cases, {PLACE.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
