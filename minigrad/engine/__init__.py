"""Plans: a network recorded once, simplified, and run with nothing of Python in between.

Reading order:

    graph        values, constants, steps, blocks: what a network is here
    trace        a model recorded by its shape rules
    interpret    what the steps mean
    fuse         named rewrites: batch norms folded, activations, residuals and gates fused
    formulas     functions that others write in several steps
    lift         activations above the maps that are woven
    flat         what is the same at every pixel is multiplied once
    memory       a place for every value in one arena
    schedule     which steps of a batch see one image at a time
    blocks       whole blocks as steps that stream through cache
    moves        steps that move numbers, or join two arrays
    bind         a kernel for each step
    design       all these decisions, as data
    arena        a part bound to one memory, and the values at its edges
    execute      bound steps, and memory for each caller
    scaling      photographs of bytes as numbers
    batches      what a caller gives and gets
    plan         what a user calls
    several      plans of networks with several inputs
    weights      one copy of what all shapes share
    build        compile
    describe     a plan as a table, and the time of its steps
    packing      filters in the order of the kernels, as plan files have them
    files, outline, saved, loading    plans on disk
    loading_weights, loading_calls, loading_moves    its filters, and steps of less common kinds
    loading_shapes    a plan file for other shapes
    export, export_moves    the steps as an ONNX model
    tape         a training step recorded: forward by shape, backward by the chain rule
    combine      its passes over a map that can be one
    reuse        its values in one arena, over both passes
    unfused      compiled calls for its steps that stand alone
    sweeps       and for the others
    stepping     its two interpreters
    slab         one block of memory for many arrays

What may be changed: every decision of blocks, schedule, memory, moves and design, since
none shows in the bits: tests/test_bits.py and tests/engine hold them. Another number in
``files`` goes with another layout of saved plans (tests/engine/test_files.py).
"""

from typing import TYPE_CHECKING

from minigrad.demand import on_demand

if TYPE_CHECKING:
    from minigrad.engine.build import OpenPlan, compile
    from minigrad.engine.interpret import interpret
    from minigrad.engine.plan import Plan
    from minigrad.engine.several import JointPlan
    from minigrad.engine.trace import trace

__all__ = ["JointPlan", "OpenPlan", "Plan", "compile", "interpret", "trace"]

on_demand(
    __name__,
    {
        "minigrad.engine.build": "OpenPlan compile",
        "minigrad.engine.interpret": "interpret",
        "minigrad.engine.plan": "Plan",
        "minigrad.engine.several": "JointPlan",
        "minigrad.engine.trace": "trace",
    },
)
