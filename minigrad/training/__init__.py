"""Training: steps, epochs, and a run that can be stopped at any moment and go on.

    loop          one step, one epoch, and fit: all epochs
    run           everything that a step changes, saved and loaded as one file
    compiled      a step recorded once, for one shape
    criterion     its loss, where it is a cross-entropy
    passes        forward and backward of a run, compiled or eager
    evaluation    loss, accuracy and confusion over a dataset
    watch         the layer in which a number stopped being one
    curves        loss and accuracy by epoch, as SVG and PNG

The same seed gives the same weights to the bit: batches depend on (seed, epoch) alone,
dropout on (seed, epoch, step), and no kernel on the number of threads.

What may be changed: what is shown and when. A run that was stopped goes on to the same bits
(tests/training).
"""

from minigrad.training.compiled import CompiledTraining, compile_training
from minigrad.training.curves import curves_png, curves_svg
from minigrad.training.evaluation import Evaluation, evaluate
from minigrad.training.loop import Interrupted, Progress, Settings, evaluate_run, fit
from minigrad.training.run import EpochRecord, Run
from minigrad.training.watch import DivergedError

__all__ = [
    "CompiledTraining",
    "DivergedError",
    "EpochRecord",
    "Evaluation",
    "Interrupted",
    "Progress",
    "Run",
    "Settings",
    "compile_training",
    "curves_png",
    "curves_svg",
    "evaluate",
    "evaluate_run",
    "fit",
]
