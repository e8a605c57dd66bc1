"""A plan in words: its table, and the time of its steps."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from minigrad.engine.design import Design
from minigrad.engine.graph import Block, Graph, Note, Step, is_conv
from minigrad.engine.memory import is_alias, live_peak, lives
from minigrad.engine.schedule import macs, map_bytes, weight_bytes
from minigrad.geometry import classify
from minigrad.sizes import kibibytes, size_text
from minigrad.tensor import Shape

__all__ = ["Profile", "kernel_name", "line", "table"]


def kernel_name(step: Step) -> str:
    """What runs: kind, window, stride, and what is fused into it."""
    if isinstance(step, Block):
        return _block_name(step.parts)
    if is_alias(step):
        return f"{step.op}: the same memory"
    words = [step.op]
    if is_conv(step):
        spec = step.params["spec"]
        words = [_kind(step), *_window(step)]
        words += [f"d{spec.dilation[0]}"] if spec.dilation != (1, 1) else []
    if step.epilogue.gate is not None:
        words.insert(0, "gate *")
    return " ".join(word for word in (*words, *_fused(step)) if word)


def _fused(step: Step) -> list[str]:
    """The activation of a step, and what it adds."""
    activation, residual, _, _, last, clamp = step.epilogue
    words = [activation or "", f"+ {residual.number}" if residual else ""]
    return words[::-1] if last else [words[0], f"{words[1]} {clamp or ''}".strip()]


def _block_name(parts: Sequence[Step]) -> str:
    """A streamed block: its channels, its windows, the activation inside, what it adds."""
    convs = [part for part in parts if part.op == "conv2d"]
    channels = [convs[0].filters.shape[1], *(part.shape[1] for part in convs)]
    words = ["rows:", "-".join(str(c) for c, _ in groupby(channels))]
    if _kind(convs[0]) == "depthwise":
        words[1] = "-".join(str(part.shape[1]) for part in convs)
    for part in parts:
        words += _window(part)
    words += [_fused(convs[0])[0], _fused(parts[-1])[1]]
    return " ".join(word for word in words if word)


def _window(part: Step) -> list[str]:
    """Its size, and its stride, where they are not one."""
    if part.op == "max_pool2d":
        kernel, stride, *_ = part.params["window"]
        words = ["max"]
    else:
        kernel, stride, words = part.filters.shape[2:], part.params["spec"].stride, []
    words += [f"{kernel[0]}x{kernel[1]}"] if tuple(kernel) != (1, 1) else []
    return words + ([f"s{stride[0]}"] if tuple(stride) != (1, 1) else [])


WIDTH = 120  # columns of a table


def line(plan: Design) -> str:
    """A plan in one line: its input, and how much there is to do."""
    graph = plan.graph
    total = sum(macs(step) for step in graph.steps.values())
    return f"{plan.name} for {graph.shape} {graph.dtype}: {len(graph.steps)} steps, {total:,} MACs"


def table(plan: Design) -> str:
    """One line a step: number, layer, kernel, output, MACs, bytes, and its place in the arena."""
    graph, schedule = plan.graph, plan.schedule
    lines = [
        line(plan),
        *_memory(plan),
        f"{'':>3} {'layer':24} {'kernel':45} {'output':16} {'MACs':>11} {'KiB':>6} {'at KiB':>6}",
    ]
    for number, step in graph.steps.items():
        if number == schedule.first_of_tail and len(schedule.head.graph.steps):
            lines.append(f"--- from here on {schedule.groups.sizes[0]} images at a time")
        lines.append(_line(step, schedule.offset(number)))
    return "\n".join([*lines, *(part for note in _notes(plan.notes) for part in wrap(note))])


def wrap(text: str) -> list[str]:
    """A sentence in lines of WIDTH, the later ones indented."""
    return textwrap.wrap(text, WIDTH, subsequent_indent="    ")


def _memory(plan: Design) -> list[str]:
    """What the activations take, and beside it what the paper's own split would."""
    one, schedule = plan.one_image, plan.schedule
    words = [
        f"activations: arena {size_text(schedule.arena_bytes)}",
        f"at most {size_text(schedule.live_bytes)} live at once, "
        f"{size_text(live_peak(lives(one)))} an image if no block were streamed",
    ]
    bound = split_bound(one)
    if bound:
        words.append(
            f"{size_text(bound)} is the bound of MobileNetV2's section 5.1 (split by channels)"
        )
    lines = [
        "; ".join(words),
        f"rows of streamed blocks: {size_text(plan.scratch_bytes)} a thread",
    ]
    if plan.graph.shape and plan.graph.shape[0] > 1:
        rest = schedule.arena_bytes - schedule.head_bytes
        lines.append(
            f"batch: {schedule.why}; arena {size_text(schedule.head_bytes)} for each thread's "
            f"image, {size_text(rest)} for the rest"
        )
    return [part for text in lines for part in wrap(text)]


def split_bound(graph: Graph) -> float:
    """The largest |x| + |y| + (|E| + |D|) / channels of the inverted residuals: 5.1 of the paper.

    x and y are a block's input and output, E and D its expanded map before and after the
    depthwise convolution; one channel of E and D is in memory at a time.  0 if there are none.
    """
    uses, most = graph.uses(), 0.0
    for number, step in graph.steps.items():
        if _kind(step) != "depthwise":
            continue
        last, maker = graph.steps.get(uses[number][-1]), graph.maker(step.source)
        if last is None or _kind(last) != "pointwise":
            continue
        expands = maker and _kind(maker) == "pointwise" and len(uses[maker.number]) == 1
        x = maker.source if maker and expands else step.source
        inner = (step.source.nbytes + step.output.nbytes) / step.shape[1]
        most = max(most, x.nbytes + last.output.nbytes + inner)
    return most


def _kind(step: Step | None) -> str:
    """The kind of a convolution; "" of anything else."""
    if step is None or not is_conv(step):
        return ""
    return classify(step.params["spec"], step.filters.shape)


def _line(step: Step, offset: int) -> str:
    layer = step.layer if len(step.layer) <= 24 else "..." + step.layer[-21:]
    shape = "x".join(str(n) for n in step.shape)
    return (
        f"{step.number:3} {layer:24} {kernel_name(step):45} {shape:16} "
        f"{macs(step):11,} {kibibytes(step.output.nbytes):>6} {kibibytes(offset):>6}"
    )


def _notes(notes: Sequence[Note]) -> list[str]:
    """How often each rewrite was applied; why, if it says so; and why each other was not."""
    counts: dict[str, int] = {}
    layers_by_reason: dict[tuple[str, bool, str], list[str]] = {}
    for note in notes:
        if note.applied:
            counts[note.rule] = counts.get(note.rule, 0) + 1
        if note.why:
            layers_by_reason.setdefault((note.rule, note.applied, note.why), []).append(note.layer)
    done = ", ".join(f"{rule} {n}" for rule, n in counts.items())
    lines = [f"rewrites: {done or 'none'}"]
    for (rule, applied, why), layers in layers_by_reason.items():
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
        moved = 2 * graph.input.nbytes
        self.rows: list[dict[str, Any]] = [
            self._row(0, "input", "in and out", graph.shape, 0, moved, times[0])
        ]
        for number, step in graph.steps.items():
            moved = 0 if is_alias(step) else map_bytes(step) + weight_bytes(step)
            kernel, us = kernel_name(step), times.get(number, 0.0)
            self.rows.append(
                self._row(number, step.layer, kernel, step.shape, macs(step), moved, us)
            )

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
                f"{row['macs']:11,} {kibibytes(row['bytes']):>6} {row['us']:8.1f} "
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
