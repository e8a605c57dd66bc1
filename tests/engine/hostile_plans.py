"""Plan files made to hurt: as many steps, values, inputs and numbers as a file may state."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import minigrad as mg
from minigrad.engine.outline import MOST_OUTPUTS, MOST_STEPS, VERSION
from minigrad.formats.safetensors import write_safetensors

__all__ = ["HOSTILE", "load_and_run", "plan_file"]

Step = list[Any]
LONGEST = 50
CONV = {"spec": [[1, 1], [[0, 0], [0, 0]], [1, 1], 1]}


def plan_file(
    steps: Sequence[Step], outputs: Sequence[str] | None = None, images: int = 9, **words: Any
) -> bytes:
    """A plan of these steps, for maps of (images, 4, 8, 8); w0 is a pointwise filter."""
    said = {
        "input": [images, 4, 8, 8], "dtype": "float32", "layout": "NCHW", "name": "net",
        "steps": steps, "outputs": outputs or [str(len(steps))],
        "returns_one": outputs is None, "isa": "avx512", "register": 64, "packed": {},
        "preparation": None, "inputs": [], **words,
    }  # fmt: skip
    file = io.BytesIO()
    metadata = {"minigrad.plan": VERSION, "minigrad.steps": json.dumps(said)}
    write_safetensors(file, {"w0": np.ones((4, 4, 1, 1), np.float32)}, metadata)
    return file.getvalue()


def step(op: str, *inputs: str | None, **params: Any) -> Step:
    return [op, list(inputs), params, "", ""]


def fused(x: str, **words: Any) -> Step:
    """A pointwise convolution with what is fused into it."""
    return [*step("conv2d", x, "w0", None, **CONV), words]


def chain(op: str, more: Sequence[str | None] = (), **params: Any) -> list[Step]:
    """The most steps that a file may have, each reading the one before."""
    return [step(op, str(k), *more, **params) for k in range(MOST_STEPS)]


def all_alive() -> bytes:
    """A thousand values that are needed together."""
    half = MOST_STEPS // 2
    steps = [step("relu", "0") for _ in range(half)]
    for k in range(2, half):
        steps.append(step("add", str(k), "1" if k == 2 else str(len(steps))))
    return plan_file(steps)


def all_shown() -> bytes:
    """As many outputs as there may be."""
    steps = [step("relu", "0") for _ in range(MOST_STEPS)]
    return plan_file(steps, [str(k + 1) for k in range(MOST_OUTPUTS)])


def all_joined() -> bytes:
    """As many concatenations of 64 maps as there may be."""
    steps = [step("relu", "0") for _ in range(64)]
    names = [str(k + 1) for k in range(64)]
    return plan_file(steps + [step("concat", *names, axis=1)] * (MOST_STEPS - 64))


def gates() -> bytes:
    """Squeeze and excitation, again and again."""
    steps: list[Step] = []
    x = "0"
    while len(steps) < MOST_STEPS - 5:
        at = len(steps)
        steps += [
            step("sum", x, axes=[2, 3], keepdims=True), step("sigmoid", str(at + 1)),
            step("broadcast_to", str(at + 2), x),
            step("mul", x, str(at + 3)), step("conv2d", str(at + 4), "w0", None, **CONV),
        ]  # fmt: skip
        x = str(len(steps))
    return plan_file(steps)


def taps(rows: int, each: int) -> bytes:
    """A map that is resized to so many rows of so many taps."""
    pixels = [[i % 8] * each for i in range(rows)]
    weights = [[0.5] * each] * rows
    columns = [8, [[i] for i in range(8)], [[1.0]] * 8]
    return plan_file([step("resample", "0", rows=[8, pixels, weights], columns=columns)])


def doubled(op: str, **params: Any) -> bytes:
    """A map that doubles with every step, to 2^50 times its size."""
    return plan_file([step(op, str(k), str(k), **params) for k in range(LONGEST)])


def packed(shape: Sequence[int], groups: int = 1) -> bytes:
    return plan_file([step("conv2d", "0", "w0", None, **CONV)], packed={"w0": [shape, groups]})


HOSTILE: dict[str, Callable[[], bytes]] = {
    "a chain of functions": lambda: plan_file(chain("relu")),
    "a chain of other functions": lambda: plan_file(chain("silu")),
    "a chain of sums": lambda: plan_file([step("add", str(k), str(k)) for k in range(MOST_STEPS)]),
    "a chain of convolutions": lambda: plan_file(chain("conv2d", ["w0", None], **CONV)),
    "a chain of fused convolutions": lambda: plan_file(
        [fused(str(k), activation="silu", residual=str(k)) for k in range(MOST_STEPS // 3)]),
    "a chain of fused parts": lambda: plan_file(
        [fused(str(k), activation="silu", residual=str(k), slope=None, clamp="relu")
         for k in range(MOST_STEPS // 5)]),
    "more fused than there may be steps": lambda: plan_file(
        [fused(str(k), activation="relu", residual=str(k)) for k in range(MOST_STEPS // 2)]),
    "a million things fused": lambda: plan_file(
        [fused("0", **{f"word {k}": k for k in range(100_000)})]),
    "a function of a million letters fused": lambda: plan_file(
        [fused("0", activation="relu" * 250_000)]),
    "a chain of slices": lambda: plan_file(
        chain("getitem", index=[{"slice": [None, None, None]}] * 4)),
    "a chain of pools": lambda: plan_file(
        chain("max_pool2d", window=[[3, 3], [1, 1], [[1, 1], [1, 1]], [1, 1], False])),
    "the most images": lambda: plan_file(chain("relu"), images=1 << 16),
    "more images": lambda: plan_file(chain("relu"), images=(1 << 16) + 1),
    "more steps": lambda: plan_file([*chain("relu"), step("relu", "0")]),
    "a thousand values at once": all_alive,
    "a thousand outputs": all_shown,
    "every value an output": lambda: plan_file(
        [step("relu", "0")] * MOST_STEPS, [str(k + 1) for k in range(MOST_STEPS)]
    ),
    "joins of 64 maps": all_joined,
    "a join of 65 maps": lambda: plan_file([step("concat", *["0"] * 65, axis=1)]),
    "gates": gates,
    "100,000 taps": lambda: taps(2_500, 40),
    "a row of 100,000 taps": lambda: taps(1, 100_000),
    "maps that double": lambda: doubled("concat", axis=1),
    "images that double": lambda: doubled("concat", axis=0),
    "a map of 2^60 numbers": lambda: plan_file([step("relu", "0")], input=[1 << 15] * 4),
    "a pad of 2^31": lambda: plan_file([step("pad", "0", pads=[[0, 2**31 - 1]] * 4, value=0.0)]),
    "a window of 2^31": lambda: plan_file([step(
        "avg_pool2d", "0", window=[[2**31 - 1] * 2, [1, 1], [[2**30] * 2] * 2, [1, 1], False],
        count_include_pad=True)]),
    "filters of 2^124 numbers": lambda: packed([2**31 - 1] * 4),
    "filters of 2^31 groups": lambda: packed([2**31 - 1, 1, 1, 1], 2**31 - 1),
    "filters that are not whole pages": lambda: packed([4, 4, 1, 1]),
    "a preparation of a million channels": lambda: plan_file(
        chain("relu"), preparation=[[0.5] * 100_000, [1.0] * 100_000, "RGB"]),
    "a million inputs": lambda: plan_file(
        chain("relu"), input=[100_000], inputs=[["", [1]]] * 100_000),
    "inputs of 2^124 numbers": lambda: plan_file(chain("relu"), inputs=[["", [2**31 - 1] * 4]]),
    "lists in lists": lambda: plan_file(json.loads("[" * 400 + "]" * 400)),
    "a step of a million inputs": lambda: plan_file([step("concat", *["0"] * 300_000, axis=1)]),
    "a long number": lambda: plan_file([step("clamp", "0", low=10**4000, high=10**4200)]),
    "a name of a million letters": lambda: plan_file(chain("relu"), name="n" * 1_000_000),
    "layers of a million letters": lambda: plan_file([["relu", ["0"], {}, "n" * 1_000_000, ""]]),
}  # fmt: skip


def load_and_run(path: str) -> int:
    """Load a plan and run it once if its batch is small; the bytes of its arrays."""
    plan = mg.load_plan(path)
    x = np.zeros(plan.graph.shape, np.float32) if plan.graph.shape[0] < 10 else None
    return 0 if x is None else sum(y.nbytes for y in plan.outputs(x, threads=1)) + plan.arena_bytes
