"""A plan in words: its table, and the time of its steps."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from minigrad.engine.fuse import Note
from minigrad.engine.trace import Graph, Step
from minigrad.kernels.contract import classify

__all__ = ["Profile", "kernel_name", "macs", "table"]


def macs(step: Step) -> int:
    """Multiply-adds of a step's convolution or matrix product, taps on padding counted."""
    if "parts" in step.params:
        return sum(macs(part) for part in step.params["parts"].values())
    if step.op not in ("conv2d", "linear"):
        return 0
    w = step.inputs[1].shape
    total: int = math.prod(step.shape) * math.prod(w[1:])
    return total


def kernel_name(graph: Graph, step: Step) -> str:
    """What runs: kind, window, stride, and what is fused into it."""
    if "parts" in step.params:
        return _block_name(list(step.params["parts"].values()))
    parts = [step.op]
    if step.op == "conv2d":
        spec, w = step.params["spec"], step.inputs[1].shape
        parts = [classify(spec, w)]
        parts += [f"{w[2]}x{w[3]}"] if w[2:] != (1, 1) else []
        parts += [f"s{spec.stride[0]}"] if spec.stride != (1, 1) else []
        parts += [f"d{spec.dilation[0]}"] if spec.dilation != (1, 1) else []
    if "gate" in step.epilogue:
        parts.insert(0, "gate *")
    if "activation" in step.epilogue:
        parts.append(step.epilogue["activation"])
    if "residual" in step.epilogue:
        parts.append(f"+ {step.epilogue['residual']}")
    return " ".join(parts)


def _block_name(parts: Sequence[Step]) -> str:
    """A streamed block: its channels, its windows, the activation inside, what it adds."""
    channels = [parts[0].inputs[1].shape[1], *(part.shape[1] for part in parts)]
    kinds = [classify(part.params["spec"], part.inputs[1].shape) for part in parts]
    words = ["rows:", "-".join(str(c) for c, _ in groupby(channels))]
    if "depthwise" in (kinds[0], ""):
        words[1] = "-".join(str(part.shape[1]) for part in parts)
    for part in parts:
        w, spec = part.inputs[1].shape, part.params["spec"]
        words += [f"{w[2]}x{w[3]}"] if w[2:] != (1, 1) else []
        words += [f"s{spec.stride[0]}"] if spec.stride != (1, 1) else []
    words.append(parts[0].epilogue.get("activation", ""))
    words += [f"+ {parts[-1].epilogue['residual']}"] if "residual" in parts[-1].epilogue else []
    return " ".join(word for word in words if word)


def _size(value: float) -> str:
    return f"{value / 1024:.0f} KiB" if value < 10 * 1024**2 else f"{value / 1024**2:.1f} MiB"


def table(
    name: str,
    graph: Graph,
    notes: list[Note],
    offsets: Mapping[int, int],
    arena: int,
    live: int,
    scratch: int,
    unfused: int,
) -> str:
    """One line a step: number, layer, kernel, output, MACs, bytes, and its place in the arena."""
    total = sum(macs(step) for step in graph.steps.values())
    item = graph.dtype.itemsize
    lines = [
        f"{name} for {graph.shape} {graph.dtype}: {len(graph.steps)} steps, {total:,} MACs",
        f"activations: arena {_size(arena)}; at most {_size(live)} live at once, "
        f"{_size(unfused)} if no block were streamed",
        f"rows of streamed blocks: {_size(scratch)} a thread",
        f"{'':>3} {'layer':24} {'kernel':38} {'output':18} {'MACs':>11} {'KiB':>6} {'at KiB':>7}",
    ]
    for number, step in graph.steps.items():
        layer = step.layer if len(step.layer) <= 24 else "..." + step.layer[-21:]
        shape = "x".join(str(n) for n in step.shape)
        size = math.prod(step.shape) * item / 1024
        lines.append(
            f"{number:3} {layer:24} {kernel_name(graph, step):38} {shape:18} "
            f"{macs(step):11,} {size:6.0f} {offsets[number] / 1024:7.0f}"
        )
    return "\n".join([*lines, *_notes(notes)])


def _notes(notes: list[Note]) -> list[str]:
    """How often each rewrite was applied, and one sentence for each that was not."""
    counts: dict[str, int] = {}
    refused: dict[tuple[str, str], list[str]] = {}
    for note in notes:
        if note.applied:
            counts[note.rule] = counts.get(note.rule, 0) + 1
        else:
            refused.setdefault((note.rule, note.why), []).append(note.layer)
    lines = ["rewrites: " + ", ".join(f"{rule} {n}" for rule, n in counts.items())]
    for (rule, why), layers in refused.items():
        where = ", ".join(layers[:3]) + (f" and {len(layers) - 3} more" if len(layers) > 3 else "")
        lines.append(f"not applied: {rule} at {where}: {why}")
    return lines


class Profile:
    """How long each step of a plan takes.

    ``rows`` is a list of dicts (step, layer, kernel, shape, macs, bytes, us, gflops);
    ``str`` gives a table, ``json`` the rows, ``chrome_trace`` a trace for a browser.
    """

    def __init__(self, graph: Graph, times: Mapping[int, float]) -> None:
        self.rows: list[dict[str, Any]] = []
        for number, step in graph.steps.items():
            us = times[number]
            self.rows.append(
                {
                    "step": number,
                    "layer": step.layer,
                    "kernel": kernel_name(graph, step),
                    "shape": list(step.shape),
                    "macs": macs(step),
                    "bytes": math.prod(step.shape) * graph.dtype.itemsize,
                    "us": us,
                    "gflops": 2e-3 * macs(step) / us if us else 0.0,
                }
            )

    def __str__(self) -> str:
        total = sum(row["us"] for row in self.rows)
        lines = [f"{'':>3} {'layer':28} {'kernel':38} {'us':>9} {'share':>6} {'GFLOP/s':>8}"]
        for row in self.rows:
            lines.append(
                f"{row['step']:3} {row['layer'][-28:]:28} {row['kernel']:38} {row['us']:9.1f} "
                f"{row['us'] / total:6.1%} {row['gflops']:8.1f}"
            )
        return "\n".join([*lines, f"total {total:.0f} us"])

    def json(self) -> str:
        """The rows as JSON."""
        return json.dumps(self.rows)

    def chrome_trace(self) -> str:
        """The steps one after another in the trace event format that browsers display."""
        events, start = [], 0.0
        for row in self.rows:
            when = {"ph": "X", "pid": 0, "tid": 0, "ts": start, "dur": row["us"]}
            events.append({"name": row["layer"], "cat": row["kernel"], **when, "args": row})
            start += row["us"]
        return json.dumps({"traceEvents": events})
