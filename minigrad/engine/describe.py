"""A plan in words: its table, and the time of its steps."""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from minigrad.engine.fuse import Note
from minigrad.engine.memory import arena, is_alias
from minigrad.engine.schedule import macs
from minigrad.engine.trace import Graph, Step, is_conv
from minigrad.kernels.contract import classify
from minigrad.tensor import Shape

if TYPE_CHECKING:
    from minigrad.engine.plan import Plan

__all__ = ["Profile", "kernel_name", "table"]


def kernel_name(graph: Graph, step: Step) -> str:
    """What runs: kind, window, stride, and what is fused into it."""
    if "parts" in step.params:
        return _block_name(list(step.params["parts"].values()))
    if is_alias(graph, step):
        return f"{step.op}: the same memory"
    parts = [step.op]
    if is_conv(step):
        spec, w = step.params["spec"], step.inputs[1].shape
        parts = [classify(spec, w), *_window(step)]
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
    convs = [part for part in parts if part.op == "conv2d"]
    channels = [convs[0].inputs[1].shape[1], *(part.shape[1] for part in convs)]
    kinds = [classify(part.params["spec"], part.inputs[1].shape) for part in convs]
    words = ["rows:", "-".join(str(c) for c, _ in groupby(channels))]
    if "depthwise" in (kinds[0], ""):
        words[1] = "-".join(str(part.shape[1]) for part in convs)
    for part in parts:
        words += _window(part)
    words.append(convs[0].epilogue.get("activation", ""))
    words += [f"+ {parts[-1].epilogue['residual']}"] if "residual" in parts[-1].epilogue else []
    return " ".join(word for word in words if word)


def _window(part: Step) -> list[str]:
    """Its size, and its stride, where they are not one."""
    if part.op == "max_pool2d":
        kernel, stride, *_ = part.params["window"]
        words = ["max"]
    else:
        kernel, stride, words = part.inputs[1].shape[2:], part.params["spec"].stride, []
    words += [f"{kernel[0]}x{kernel[1]}"] if tuple(kernel) != (1, 1) else []
    return words + ([f"s{stride[0]}"] if tuple(stride) != (1, 1) else [])


def _size(value: float) -> str:
    return f"{value / 1024:.0f} KiB" if value < 10 * 1024**2 else f"{value / 1024**2:.1f} MiB"


WIDTH = 120  # columns of a table


def table(plan: Plan) -> str:
    """One line a step: number, layer, kernel, output, MACs, bytes, and its place in the arena."""
    graph = plan.graph
    total = sum(macs(graph, step) for step in graph.steps.values())
    lines = [
        f"{plan.name} for {graph.shape} {graph.dtype}: {len(graph.steps)} steps, {total:,} MACs",
        *_memory(plan),
        f"{'':>3} {'layer':24} {'kernel':45} {'output':16} {'MACs':>11} {'KiB':>6} {'at KiB':>6}",
    ]
    for number, step in graph.steps.items():
        if number == plan.schedule.first_of_tail and len(plan.schedule.head.steps):
            lines.append(f"--- from here on {max(plan.schedule.groups)} images at a time")
        lines.append(_line(plan, number, step))
    return "\n".join([*lines, *(part for note in _notes(plan.notes) for part in wrap(note))])


def wrap(text: str) -> list[str]:
    """A sentence in lines of WIDTH, the later ones indented."""
    return textwrap.wrap(text, WIDTH, subsequent_indent="    ")


def _memory(plan: Plan) -> list[str]:
    """What the activations take, and beside it what the paper's own split would."""
    one = plan.one_image
    words = [
        f"activations: arena {_size(plan.arena_bytes)}",
        f"at most {_size(plan.live_bytes)} live at once, "
        f"{_size(arena(one).live)} an image if no block were streamed",
    ]
    bound = split_bound(one)
    if bound:
        words.append(
            f"{_size(bound)} is the bound of MobileNetV2's section 5.1 (split by channels)"
        )
    rows = f"rows of streamed blocks: {_size(plan.scratch_bytes)} a thread"
    batch = [] if len(plan.graph.shape) < 1 or plan.graph.shape[0] < 2 else [
        f"batch: {plan.schedule.why}; arena {_size(plan.head_bytes)} for each thread's image, "
        f"{_size(plan.arena_bytes - plan.head_bytes)} for the rest"
    ]  # fmt: skip
    return [line for text in ("; ".join(words), rows, *batch) for line in wrap(text)]


def split_bound(graph: Graph) -> float:
    """The largest |x| + |y| + (|E| + |D|) / channels of the inverted residuals: 5.1 of the paper.

    x and y are a block's input and output, E and D its expanded map before and after the
    depthwise convolution, of which one channel is there at a time.  0 if there are none.
    """
    uses, item, most = graph.uses(), graph.dtype.itemsize, 0.0
    for number, step in graph.steps.items():
        if _kind(step) != "depthwise":
            continue
        last = graph.steps.get(uses[number][-1])
        maker = graph.steps.get(step.inputs[0])
        expands = _kind(maker) == "pointwise" and len(uses[step.inputs[0]]) == 1
        if _kind(last) == "pointwise":
            wide, made = graph.shape_of(step.inputs[0]), step.shape
            x = graph.shape_of(maker.inputs[0]) if expands and maker else wide
            y = last.shape if last else ()
            inner = (math.prod(wide) + math.prod(made)) / made[1]
            most = max(most, item * (math.prod(x) + math.prod(y) + inner))
    return most


def _kind(step: Step | None) -> str:
    return classify(step.params["spec"], step.inputs[1].shape) if step and is_conv(step) else ""


def _line(plan: Plan, number: int, step: Step) -> str:
    layer = step.layer if len(step.layer) <= 24 else "..." + step.layer[-21:]
    shape = "x".join(str(n) for n in step.shape)
    size = math.prod(step.shape) * plan.graph.dtype.itemsize / 1024
    kernel = kernel_name(plan.graph, step)
    return (
        f"{number:3} {layer:24} {kernel:45} {shape:16} "
        f"{macs(plan.graph, step):11,} {size:6.0f} {plan.offset(number) / 1024:6.0f}"
    )


def _notes(notes: list[Note]) -> list[str]:
    """How often each rewrite was applied; why, if it says so; and why each other was not."""
    counts: dict[str, int] = {}
    told: dict[tuple[str, bool, str], list[str]] = {}
    for note in notes:
        if note.applied:
            counts[note.rule] = counts.get(note.rule, 0) + 1
        if note.why:
            told.setdefault((note.rule, note.applied, note.why), []).append(note.layer)
    done = ", ".join(f"{rule} {n}" for rule, n in counts.items())
    lines = [f"rewrites: {done or 'none'}"]
    for (rule, applied, why), layers in told.items():
        where = ", ".join(layers[:3]) + (f" and {len(layers) - 3} more" if len(layers) > 3 else "")
        lines.append(f"{'' if applied else 'not applied: '}{rule} at {where}: {why}")
    return lines


class Profile:
    """How long each step of a plan takes.

    ``rows`` is a list of dicts (step, layer, kernel, shape, macs, bytes, us, gflops, and
    percent_of_peak); ``str`` gives a table, ``json`` the rows, ``chrome_trace`` a trace for a
    browser.  Bytes are those a step reads and writes, its weights among them.  Of a batch
    that runs image by image on several threads, a step has its share of the time.
    """

    def __init__(self, graph: Graph, times: Mapping[int, float], peak: float) -> None:
        self.peak = peak
        self.rows: list[dict[str, Any]] = [
            self._row(
                0,
                "input",
                "to channels-last",
                graph.shape,
                0,
                2 * _bytes(graph, graph.shape),
                times[0],
            )
        ]
        for number, step in graph.steps.items():
            moved = sum(_bytes(graph, shape) for shape in (step.shape, *_read(graph, step)))
            moved = 0 if is_alias(graph, step) else moved
            kernel, work, us = kernel_name(graph, step), macs(graph, step), times.get(number, 0.0)
            self.rows.append(self._row(number, step.layer, kernel, step.shape, work, moved, us))

    def _row(
        self, number: int, layer: str, kernel: str, shape: Shape, work: int, moved: int, us: float
    ) -> dict[str, Any]:
        gflops = 2e-3 * work / us if us else 0.0
        return {
            "step": number, "layer": layer, "kernel": kernel, "shape": list(shape), "macs": work,
            "bytes": moved, "us": us, "gflops": gflops, "percent_of_peak": 100 * gflops / self.peak,
        }  # fmt: skip

    def __str__(self) -> str:
        total = sum(row["us"] for row in self.rows)
        lines = [
            f"{'':>3} {'layer':24} {'kernel':36} {'output':16} {'MACs':>11} {'KiB':>6} "
            f"{'us':>8} {'share':>6} {'peak':>5}"
        ]
        for row in self.rows:
            shape = "x".join(str(n) for n in row["shape"])
            lines.append(
                f"{row['step']:3} {row['layer'][-24:]:24} {row['kernel'][:36]:36} {shape:16} "
                f"{row['macs']:11,} {row['bytes'] / 1024:6.0f} {row['us']:8.1f} "
                f"{row['us'] / total:6.1%} {row['percent_of_peak']:4.0f}%"
            )
        return "\n".join([*lines, f"total {total:.0f} us; peak {self.peak:.0f} GFLOP/s"])

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


def _bytes(graph: Graph, shape: Sequence[int]) -> int:
    return math.prod(shape) * graph.dtype.itemsize


def _read(graph: Graph, step: Step) -> list[Shape]:
    """The shapes of all that a step reads: values, and constants."""
    parts = step.params.get("parts", {0: step}).values()
    constants = [ref.shape for part in parts for ref in part.inputs if hasattr(ref, "shape")]
    return [*(graph.shape_of(ref) for ref in step.reads()), *constants]
