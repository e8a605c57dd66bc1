"""The judge: for our own kernels first, and for everybody else's.

    judge        one array, in the words of the public function
    examine      one function, over cases that are named and seeded
    judge_step   one step of a recorded network

and behind them, one idea a file:

    arithmetic   number formats: float32, float16, bfloat16, TF32, with their accumulators
    theorem      how far a correctly written sum of products may be from the exact value
    bounds       how many roundings each primitive has
    curves       the same of activations and softmax, and which formulas are allowed
    own          the smaller bound of our compiled kernels, whose sums are cut
    propagation  errors through a composition, and so through a gradient
    normwise     the wider bounds of Winograd's algorithm and the FFT
    integers     int8: exact or wrong
    operations   a call of a public function on anybody's arrays
    definitions  compositions that are judged too: the two blocks, a depthwise convolution
    judgement    ``judge`` itself
    verdict      the decision, with the theorem's premise
    patterns     what the wrong elements of an array share
    geometries   the sizes and words of the cases of every operation
    trials       a geometry, a way to draw the values, a seed: one case of ``examine``
    problems     a case with its arrays and the values that are expected of it
    runner       one case through somebody's function
    cheats       cached and constant outputs
    reduction    a failing case made small, and a script that reproduces it
    conventions  NaN, infinities, subnormal numbers: reported, never judged
    testing      cases for test suites: pytest_minigrad, and ``strategies.calls``
    files, vectors    cases on disk, and results that any language computed from them
    networks     a network judged layer by layer, from the run's own inputs
    onnx_runs, alignment     runs of ONNX files, and whose values theirs are
    comparison   the first layer of a run that is wrong
    cases        one table of cases for every primitive
    points       where they are evaluated
    strategies   random convolutions and pools, for property tests (needs hypothesis)

Nothing here knows a network.

What may be changed: how cases are drawn and shown. A bound is derived, never fitted
(``theorem``, ``bounds``, ``curves``); what is caught today stays caught (tests/mutants,
tests/verify).
"""

from minigrad.verify.examine import Report, examine
from minigrad.verify.judgement import judge
from minigrad.verify.verdict import Verdict, judge_step

__all__ = ["Report", "Verdict", "examine", "judge", "judge_step"]
